//! Who we are: answers challenges, keeps tokens, renews them before and after they expire.
//! <https://distribution.github.io/distribution/spec/auth/token/>
//!
//! A secret goes to the registry's own origin or to a token server that passed `check_realm`, and nowhere else.

mod realm;
mod token;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use realm::check_realm;
use token::{TokenRequest, basic, covers};

use super::challenge::Challenge;
use super::credentials::{Credential, CredentialKind, Finder};
use super::error::RegistryError;
use crate::http::{Client, Origin, Response, Url};

/// Bytes of a token server's answer.
const TOKEN_BYTES_MAX: u64 = 64 << 10;
/// How long a token is good for where the server does not say.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);
/// How long before its end a token is renewed; half its life where that is shorter.
const MARGIN: Duration = Duration::from_secs(10);
/// How often a token server is asked.
const TOKEN_ATTEMPTS: u32 = 3;

/// Is where and for what credentials are found.
pub struct Auth {
    finder: Finder,
    host: String,
    repository: String,
    scopes: Vec<String>,
    /// A token server that is trusted with this registry's credentials whatever its name.
    trusted_realm_host: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts renewals, so that one failure renews once.
    generation: u64,
    held: Option<Held>,
    /// Where the credentials in use come from.
    source: Option<String>,
}

struct Held {
    header: String,
    renew: Option<(Instant, Challenge)>,
}

/// Is the header to send, and which renewal it belongs to.
#[derive(Default)]
pub struct Ticket {
    /// The value of `Authorization`.
    pub header: Option<String>,
    /// The renewal.
    pub generation: u64,
}

/// Is how the token server is reached.
pub struct Channel<'a> {
    /// The client.
    pub client: &'a Client,
    /// The registry's own origin.
    pub origin: &'a Origin,
}

impl Auth {
    /// Returns the state for one repository; `scopes` is asked for at once.
    #[must_use]
    pub fn new(
        finder: Finder,
        place: (&str, &str),
        scopes: Vec<String>,
        trusted_realm_host: Option<String>,
    ) -> Self {
        Self {
            finder,
            host: place.0.to_owned(),
            repository: place.1.to_owned(),
            scopes,
            trusted_realm_host,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns where the credentials in use come from, in words.
    #[must_use]
    pub fn source(&self) -> String {
        in_words(self.state().source.as_deref())
    }

    /// Returns what to send now, renewing a token that is about to expire.
    ///
    /// # Errors
    /// Says why no token could be had.
    pub fn ticket(&self, channel: &Channel<'_>) -> Result<Ticket, RegistryError> {
        let mut state = self.state();
        let due = state.held.as_ref().and_then(|held| held.renew.as_ref());
        if let Some((end, challenge)) = due
            && Instant::now() >= *end
        {
            let challenge = challenge.clone();
            self.answer(&mut state, &challenge, channel)?;
        }
        Ok(Ticket {
            header: state.held.as_ref().map(|held| held.header.clone()),
            generation: state.generation,
        })
    }

    /// Answers a challenge, unless another thread has done so since `generation`.
    ///
    /// # Errors
    /// Says why there is nothing to answer with.
    pub fn renew(
        &self,
        challenge: &Challenge,
        generation: u64,
        channel: &Channel<'_>,
    ) -> Result<(), RegistryError> {
        let mut state = self.state();
        if state.generation != generation {
            return Ok(());
        }
        self.answer(&mut state, challenge, channel)
    }

    fn answer(
        &self,
        state: &mut State,
        challenge: &Challenge,
        channel: &Channel<'_>,
    ) -> Result<(), RegistryError> {
        let found = self.finder.find(&self.host, &self.repository);
        let credential = found.map_err(|source| RegistryError::Credentials {
            host: self.host.clone(),
            source,
        })?;
        state.source = credential
            .as_ref()
            .map(|credential| credential.source.clone());
        let kind = credential.as_ref().map(|credential| &credential.kind);
        state.held = match (challenge, kind) {
            (_, Some(CredentialKind::Bearer(token))) => Some(Held {
                header: format!("Bearer {token}"),
                renew: None,
            }),
            (Challenge::Basic, Some(CredentialKind::Basic { user, password })) => Some(Held {
                header: basic(user, password),
                renew: None,
            }),
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { .. }, _) => {
                Some(self.token(challenge, credential.as_ref(), channel)?)
            }
        };
        state.generation = state.generation.wrapping_add(1);
        Ok(())
    }

    fn token(
        &self,
        challenge: &Challenge,
        credential: Option<&Credential>,
        channel: &Channel<'_>,
    ) -> Result<Held, RegistryError> {
        let Challenge::Bearer {
            realm,
            service,
            scopes,
        } = challenge
        else {
            return Err(self.realm_error("", "it is none"));
        };
        let url =
            Url::parse(realm).map_err(|_| self.realm_error(realm, "it is not a usable URL"))?;
        let problem = check_realm(
            channel.origin,
            &url.origin,
            credential.is_some(),
            self.trusted_realm_host.as_deref(),
        );
        if let Err(problem) = problem {
            return Err(self.realm_error(&url.public(), problem));
        }
        let mut wanted = self.scopes.clone();
        wanted.extend(
            scopes
                .iter()
                .filter(|scope| !covers(&self.scopes, scope))
                .cloned(),
        );
        let form = TokenRequest {
            url,
            service: service.clone(),
            scopes: wanted,
        };
        for attempt in 1..=TOKEN_ATTEMPTS {
            match form.ask(credential, channel.client) {
                Ok(response) if !crate::http::retry::is_transient(response.status) => {
                    return self.understand(response, challenge, credential);
                }
                Ok(response) => response.discard(),
                Err(source) if attempt == TOKEN_ATTEMPTS => {
                    return Err(RegistryError::Network {
                        doing: format!("asking {} for a token", form.url.public()),
                        attempts: attempt,
                        source,
                    });
                }
                Err(_) => {}
            }
            std::thread::sleep(crate::http::retry::jittered(Duration::from_millis(300)));
        }
        Err(RegistryError::Exhausted {
            doing: format!("asking {} for a token", form.url.public()),
            status: 503,
            attempts: TOKEN_ATTEMPTS,
            answer: "the token server is not available".to_owned(),
        })
    }

    fn understand(
        &self,
        response: Response,
        challenge: &Challenge,
        credential: Option<&Credential>,
    ) -> Result<Held, RegistryError> {
        let refused = |status, answer: &str| RegistryError::Unauthorized {
            doing: format!("asking for a token (status {status})"),
            host: self.host.clone(),
            credential: in_words(credential.map(|credential| credential.source.as_str())),
            answer: answer.to_owned(),
        };
        let status = response.status;
        if status != 200 {
            response.discard();
            return Err(refused(status, "the token server gives none"));
        }
        let body = response.into_bytes(TOKEN_BYTES_MAX);
        let document: Option<Value> = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok());
        let text = |name: &str| {
            document
                .as_ref()?
                .get(name)?
                .as_str()
                .filter(|text| !text.is_empty())
        };
        let Some(token) = text("token").or_else(|| text("access_token")) else {
            return Err(refused(status, "the token server's answer holds no token"));
        };
        let clean = token.bytes().all(|byte| byte.is_ascii_graphic());
        if !clean {
            return Err(refused(
                status,
                "the token has characters that headers do not have",
            ));
        }
        let lifetime = document
            .as_ref()
            .and_then(|document| document.get("expires_in")?.as_u64())
            .map_or(LIFETIME_DEFAULT, Duration::from_secs);
        let usable = lifetime.saturating_sub(MARGIN.min(lifetime / 2));
        let end = Instant::now()
            .checked_add(usable)
            .unwrap_or_else(Instant::now);
        Ok(Held {
            header: format!("Bearer {token}"),
            renew: Some((end, challenge.clone())),
        })
    }

    fn realm_error(&self, realm: &str, problem: &'static str) -> RegistryError {
        RegistryError::Realm {
            host: self.host.clone(),
            realm: crate::text::escape_line(&realm.chars().take(200).collect::<String>()),
            problem,
        }
    }
}

fn in_words(source: Option<&str>) -> String {
    match source {
        Some(source) => format!("credentials from {source}"),
        None => "no credentials were found".to_owned(),
    }
}
