//! What an answer that is not the one hoped for means.

use super::answer::{Answer, ERROR_BYTES_MAX};
use super::call::{Call, Place, Repeat};
use super::error::RegistryError;
use super::session::Registry;
use crate::http::{Method, Response, Scheme, Url};
use crate::oci::{Algorithm, Digest};

impl Registry {
    /// Returns the error for who is not let in.
    pub(super) fn unauthorized(
        &self,
        call: &Call<'_>,
        response: Response,
        url: Url,
    ) -> RegistryError {
        let answer = Answer::read(response, url, ERROR_BYTES_MAX).map(|answer| answer.words());
        RegistryError::Unauthorized {
            doing: call.doing.clone(),
            host: self.reference.host.clone(),
            credential: self.auth.source(),
            answer: answer.unwrap_or_default(),
        }
    }

    /// Returns the error for an answer that is not the one hoped for: 403 is about credentials, the rest about content.
    pub(super) fn refused(&self, doing: &str, answer: &Answer) -> RegistryError {
        if answer.status == 403 && answer.url.origin == *self.own_origin() {
            return RegistryError::Denied {
                doing: doing.to_owned(),
                host: self.reference.host.clone(),
                credential: self.auth.source(),
                answer: answer.words(),
            };
        }
        match self.wish_for_tls(answer) {
            Some(words) => RegistryError::OnlyTls {
                doing: doing.to_owned(),
                host: self.reference.host.clone(),
                answer: words,
            },
            None => answer.refused(doing),
        }
    }

    /// Returns how the registry says to plain HTTP that it wants TLS: servers of TLS answer 400 with words, some lead to https.
    fn wish_for_tls(&self, answer: &Answer) -> Option<String> {
        let own = self.own_origin();
        if own.scheme == Scheme::Https || answer.url.origin != *own {
            return None;
        }
        let leads = answer.location("").ok().flatten().is_some_and(|place| {
            place.origin.scheme == Scheme::Https && place.origin.host == own.host
        });
        match answer.status {
            301..=303 if leads => Some("it leads to https".to_owned()),
            400 if !answer.body.is_empty() => said_by_tls(&answer.words()),
            // An answer to HEAD has no words.
            400 => {
                let mut call = self.call(Method::Get, Place::Base, String::new());
                call.repeat = Repeat::No;
                let (response, url) = self.attempt(&call).ok()?;
                let asked = Answer::read(response, url, ERROR_BYTES_MAX).ok()?;
                said_by_tls(&asked.words()).filter(|_| asked.status == 400)
            }
            _ => None,
        }
    }

    /// Returns the same where a digest was part of what was asked: the registry may not know its algorithm.
    pub(super) fn refused_for(
        &self,
        digest: &Digest,
        doing: &str,
        answer: &Answer,
    ) -> RegistryError {
        match other_algorithm(digest).filter(|_| answer.may_be_about_a_digest()) {
            Some(algorithm) => RegistryError::Algorithm {
                doing: doing.to_owned(),
                algorithm,
                answer: format!("it answered {}: {}", answer.status, answer.words()),
            },
            None => self.refused(doing, answer),
        }
    }
}

/// Returns the words of a server of TLS that was spoken to in plain HTTP: those of Go, nginx and Apache.
fn said_by_tls(words: &str) -> Option<String> {
    let known = [
        "HTTP request to an HTTPS server",
        "HTTP request was sent to HTTPS port",
        "plain HTTP to an SSL-enabled server port",
    ];
    let found = known.iter().find(|known| words.contains(**known));
    found.map(|known| format!("{known:?} it says"))
}

/// Returns the algorithm of a digest where it is not the one that every registry takes.
pub(super) fn other_algorithm(digest: &Digest) -> Option<&'static str> {
    match digest.algorithm() {
        Some(Algorithm::Sha256) | None => None,
        Some(other) => Some(other.name()),
    }
}
