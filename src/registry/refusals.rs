//! What an answer that is not the one hoped for means.

use super::answer::{Answer, ERROR_BYTES_MAX};
use super::call::Call;
use super::error::RegistryError;
use super::session::Registry;
use crate::http::{Response, Url};
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
        answer.refused(doing)
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

/// Returns the algorithm of a digest where it is not the one that every registry takes.
pub(super) fn other_algorithm(digest: &Digest) -> Option<&'static str> {
    match digest.algorithm() {
        Some(Algorithm::Sha256) | None => None,
        Some(other) => Some(other.name()),
    }
}
