//! Why a registry did not do what it was asked: what, where, its own code and words.

use std::io;

use super::credentials::CredentialError;
use crate::http::{Distrust, Failure, HttpError, Scheme, UrlError};
use crate::oci::Digest;

/// Says why something could not be done at a registry. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The settings of the connection cannot be used.
    #[error("setting up the connection to {host}")]
    Setup {
        /// The host.
        host: String,
        /// Why.
        source: HttpError,
    },
    /// The registry wants (other) credentials.
    #[error("{doing}: {host} wants other credentials ({credential}): {answer}")]
    Unauthorized {
        /// What was tried.
        doing: String,
        /// The host.
        host: String,
        /// Where the credentials in use come from.
        credential: String,
        /// Its own words.
        answer: String,
    },
    /// The registry knows who asks and does not allow it.
    #[error("{doing}: {host} does not allow it ({credential}): {answer}")]
    Denied {
        /// What was tried.
        doing: String,
        /// The host.
        host: String,
        /// Where the credentials in use come from.
        credential: String,
        /// Its own words.
        answer: String,
    },
    /// Credentials cannot be read.
    #[error("finding credentials for {host}")]
    Credentials {
        /// The host.
        host: String,
        /// Why.
        source: CredentialError,
    },
    /// The registry names a token server that credentials are not sent to.
    #[error("{host} names the token server {realm}: {problem}")]
    Realm {
        /// The registry.
        host: String,
        /// The server, cut to 200 characters.
        realm: String,
        /// Why it is not used.
        problem: &'static str,
    },
    /// The registry refuses for good.
    #[error("{doing}: the registry answered {status}: {answer}")]
    Refused {
        /// What was tried.
        doing: String,
        /// The status.
        status: u16,
        /// Its own words.
        answer: String,
    },
    /// The registry keeps nothing under digests of this algorithm; all of them take sha256.
    /// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md#registered-algorithms>
    #[error("{doing}: the registry does not take {algorithm} digests: {answer}")]
    Algorithm {
        /// What was tried.
        doing: String,
        /// The algorithm.
        algorithm: &'static str,
        /// Its own words, or what it did instead.
        answer: String,
    },
    /// The registry wants TLS, and plain HTTP was spoken.
    #[error("{doing}: {host} wants TLS: {answer}")]
    OnlyTls {
        /// What was tried.
        doing: String,
        /// The host.
        host: String,
        /// Its own words, or what it did.
        answer: String,
    },
    /// The registry answers something the protocol does not have.
    #[error("{doing}: {problem}")]
    Unexpected {
        /// What was tried.
        doing: String,
        /// What is wrong.
        problem: String,
    },
    /// The registry answers a URL that is not followed.
    #[error("{doing}: the registry points elsewhere")]
    Elsewhere {
        /// What was tried.
        doing: String,
        /// Why it is not followed.
        source: UrlError,
    },
    /// The network failed, each time.
    #[error("{doing}: no answer after {}", attempts_in_words(*attempts))]
    Network {
        /// What was tried.
        doing: String,
        /// How often.
        attempts: u32,
        /// Why, the last time.
        source: HttpError,
    },
    /// The registry was busy or broken, each time.
    #[error("{doing}: still {status} after {}: {answer}", attempts_in_words(*attempts))]
    Exhausted {
        /// What was tried.
        doing: String,
        /// The status.
        status: u16,
        /// How often.
        attempts: u32,
        /// Its own words.
        answer: String,
    },
    /// A blob does not have the bytes that its name says: it was not sent.
    #[error("blob {digest} has other content: nothing of it was created in the registry")]
    Corrupt {
        /// The blob.
        digest: Digest,
    },
    /// A blob cannot be read.
    #[error("reading blob {digest}")]
    Read {
        /// The blob.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// Another part of the work failed, so this one was given up.
    #[error("{doing}: given up")]
    Cancelled {
        /// What was being done.
        doing: String,
    },
}

/// Lists what a failure means for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Credentials.
    Authentication,
    /// Refused.
    Refused,
    /// Network.
    Network,
    /// Local content.
    Corrupt,
    /// Anything local.
    Local,
}

fn attempts_in_words(attempts: u32) -> String {
    match attempts {
        1 => "1 attempt".to_owned(),
        _ => format!("{attempts} attempts"),
    }
}

impl RegistryError {
    /// Returns the same failure with the number of all tries, where it was one of several.
    #[must_use]
    pub fn after(mut self, tries: u32) -> Self {
        if let Self::Network { attempts, .. } | Self::Exhausted { attempts, .. } = &mut self {
            *attempts = tries;
        }
        self
    }

    /// Returns why the server's certificate is not accepted, where that is the failure.
    #[must_use]
    pub fn distrust(&self) -> Option<Distrust> {
        match self {
            Self::Network { source, .. } => source.distrust(),
            _ => None,
        }
    }

    /// Returns which of TLS and plain HTTP the registry speaks, where the other one was spoken to it.
    #[must_use]
    pub fn other_scheme(&self) -> Option<Scheme> {
        match self {
            Self::OnlyTls { .. } => Some(Scheme::Https),
            Self::Network { source, .. } => match source.failure() {
                Failure::NotTls => Some(Scheme::Http),
                Failure::OnlyTls => Some(Scheme::Https),
                Failure::Transient | Failure::Lasting => None,
            },
            _ => None,
        }
    }

    /// Returns what the failure means.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unauthorized { .. }
            | Self::Denied { .. }
            | Self::Credentials { .. }
            | Self::Realm { .. } => Kind::Authentication,
            Self::Refused { .. }
            | Self::Algorithm { .. }
            | Self::OnlyTls { .. }
            | Self::Unexpected { .. }
            | Self::Elsewhere { .. } => Kind::Refused,
            Self::Network { source, .. } if source.is_out_of_resources() => Kind::Local,
            Self::Network { .. } | Self::Exhausted { .. } => Kind::Network,
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::Setup { .. } | Self::Read { .. } | Self::Cancelled { .. } => Kind::Local,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_attempts_in_words() {
        let exhausted = RegistryError::Exhausted {
            doing: "asking".to_owned(),
            status: 503,
            attempts: 1,
            answer: "busy".to_owned(),
        };
        assert_eq!(
            exhausted.to_string(),
            "asking: still 503 after 1 attempt: busy"
        );
        let several = exhausted.after(5).to_string();
        assert_eq!(several, "asking: still 503 after 5 attempts: busy");
    }
}
