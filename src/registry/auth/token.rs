//! Requests for tokens. <https://distribution.github.io/distribution/spec/auth/token/>

use base64ct::{Base64, Encoding};

use crate::http::url::encode_query;
use crate::http::{Body, Client, HttpError, Method, Request, Response, Url};
use crate::registry::credentials::{Credential, CredentialKind};

/// Is a request for a token.
pub(super) struct TokenRequest {
    /// The token server.
    pub(super) url: Url,
    /// The service to name.
    pub(super) service: Option<String>,
    /// What is asked for.
    pub(super) scopes: Vec<String>,
}

impl TokenRequest {
    /// Sends the request; redirects are answers like any other.
    pub(super) fn ask(
        &self,
        credential: Option<&Credential>,
        client: &Client,
    ) -> Result<Response, HttpError> {
        match credential.map(|credential| &credential.kind) {
            Some(CredentialKind::Identity(token)) => self.exchange(token, client),
            Some(CredentialKind::Basic { user, password }) => {
                self.get(vec![("authorization", basic(user, password))], client)
            }
            _ => self.get(Vec::new(), client),
        }
    }

    fn get(
        &self,
        headers: Vec<(&'static str, String)>,
        client: &Client,
    ) -> Result<Response, HttpError> {
        let mut url = self.url.clone();
        if let Some(service) = &self.service {
            url = url.with_query("service", service);
        }
        for scope in &self.scopes {
            url = url.with_query("scope", scope);
        }
        client.send(Request {
            method: Method::Get,
            url: &url,
            headers: &headers,
            body: Body::None,
        })
    }

    /// Exchanges a refresh token. <https://distribution.github.io/distribution/spec/auth/oauth/>
    fn exchange(&self, token: &str, client: &Client) -> Result<Response, HttpError> {
        let scope = self.scopes.join(" ");
        let service = self.service.clone().unwrap_or_default();
        let form = format!(
            "grant_type=refresh_token&client_id=signetfs&service={}&scope={}&refresh_token={}",
            encode_query(&service),
            encode_query(&scope),
            encode_query(token)
        );
        client.send(Request {
            method: Method::Post,
            url: &self.url,
            headers: &[(
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            )],
            body: Body::Bytes(form.as_bytes()),
        })
    }
}

/// Returns the header of a user name and password.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        Base64::encode_string(format!("{user}:{password}").as_bytes())
    )
}

/// Returns whether the scopes asked for anyway include this one (order of actions aside).
pub(super) fn covers(scopes: &[String], scope: &str) -> bool {
    let Some((name, actions)) = scope.rsplit_once(':') else {
        return false;
    };
    scopes.iter().any(|known| {
        known
            .rsplit_once(':')
            .is_some_and(|(known_name, known_actions)| {
                known_name == name
                    && actions
                        .split(',')
                        .all(|action| known_actions.split(',').any(|known| known == action))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_once_for_what_is_covered() {
        let scopes = ["repository:a/b:pull,push".to_owned()];
        assert!(covers(&scopes, "repository:a/b:pull"));
        assert!(covers(&scopes, "repository:a/b:push,pull"));
        assert!(!covers(&scopes, "repository:a/b:delete"));
        assert!(!covers(&scopes, "repository:a:pull"));
        assert!(!covers(&scopes, "x"));
    }
}
