//! What failures of a push mean: the exit code and the next step to try.

use crate::cli::answer::Failure;
use crate::cli::exit::Exit;
use crate::http::{Distrust, Scheme};
use crate::oci::causes;
use crate::registry::RegistryError;
use crate::registry::credentials::CredentialError;
use crate::registry::error::Kind as Trouble;
use crate::registry::helper::HelperError;
use crate::report::Verdict;
use crate::sync::{PlanError, SyncError};

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        if let Some(hint) = hanging_helper(&error) {
            return Self::new(Exit::Authentication, causes(&error), hint);
        }
        let (exit, hint) = match error.kind() {
            Trouble::Authentication => (
                Exit::Authentication,
                "log in with: signetfs login HOST (or docker login, podman login), or pass --username and --password-stdin",
            ),
            Trouble::Refused => (
                Exit::Refused,
                match &error {
                    RegistryError::OnlyTls { .. } => SPEAK_TLS,
                    RegistryError::Algorithm { .. } => {
                        "build the image with sha256 digests, which every registry takes, or push it to a registry that takes these"
                    }
                    _ => "the registry's own words say what it does not take",
                },
            ),
            Trouble::Network => (
                Exit::Network,
                match (error.distrust(), error.other_scheme()) {
                    (Some(distrust), _) => mend_trust(distrust),
                    (None, Some(Scheme::Http)) => SPEAK_PLAIN,
                    (None, Some(Scheme::Https)) => SPEAK_TLS,
                    (None, None) => {
                        "see whether the registry is up, then run the same command again: it goes on where it stopped"
                    }
                },
            ),
            Trouble::Corrupt => (
                Exit::Verdict(Verdict::Corrupt),
                "write the image into the layout again",
            ),
            Trouble::Local => {
                return Self::because(
                    &error,
                    "mend that, then run the same command again: it goes on where it stopped",
                );
            }
        };
        Self::new(exit, causes(&error), hint)
    }
}

/// Returns what to do about a credential helper that does not answer: logging in would ask the same helper.
fn hanging_helper(error: &RegistryError) -> Option<String> {
    let RegistryError::Credentials { source, .. } = error else {
        return None;
    };
    let CredentialError::Helper { place, source } = source else {
        return None;
    };
    let HelperError::Time { name, seconds } = source else {
        return None;
    };
    Some(format!(
        "see why docker-credential-{name} needs more than {seconds} s (a locked keyring?): docker-credential-{name} list; or take it out of {place}, or pass --username and --password-stdin"
    ))
}

/// What to do where the registry speaks plain HTTP. On this machine nobody needs it: there it is found out.
const SPEAK_PLAIN: &str = "the registry does not speak TLS. Give it a certificate; or, if anybody on the way may read and change what is sent, passwords too, pass --plain-http (verify, list and inspect: --insecure-registry), or list HOST:PORT in insecureRegistries of notation's config.json";
/// What to do where the registry speaks TLS and was spoken to in plain HTTP.
const SPEAK_TLS: &str = "the registry speaks TLS: leave out --plain-http (or --insecure-registry), and take it out of insecureRegistries of notation's config.json";

/// Returns what makes a server's certificate acceptable.
fn mend_trust(distrust: Distrust) -> &'static str {
    match distrust {
        Distrust::AuthorityAsServer => {
            "the registry serves an authority's own certificate (CA:TRUE), which TLS libraries refuse: make it a server certificate, as openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE does, and pass it with --ca-file"
        }
        Distrust::UnknownIssuer => {
            "if you trust who signed it, pass --ca-file FILE, or put it in /etc/docker/certs.d/HOST/ca.crt"
        }
        Distrust::OtherName => "write the registry by a name that its certificate has",
        Distrust::Expired => {
            "the registry needs a new certificate; see also whether the clock is right here"
        }
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        let words = causes(&error);
        let (exit, hint) = match error {
            SyncError::Registry(error) => return (*error).into(),
            SyncError::Source(error) => return error.into(),
            SyncError::File(_) => return Self::because(&error, "look at the folder of the layout"),
            SyncError::NotALayout { .. } => (
                Exit::CouldNot,
                "name a layout, an empty folder or a new one",
            ),
            SyncError::Plan(PlanError::Missing { .. }) | SyncError::Missing { .. } => (
                Exit::Verdict(Verdict::Missing),
                "copy the whole image into the layout; every part has to be there",
            ),
            SyncError::Plan(PlanError::Unsound { .. }) | SyncError::Size { .. } => (
                Exit::Verdict(Verdict::Corrupt),
                "write the image into the layout again",
            ),
            SyncError::Plan(PlanError::Limit) => (
                Exit::Verdict(Verdict::Limit),
                "push parts of the layout one by one",
            ),
            SyncError::Unverifiable { .. } => (
                Exit::Verdict(Verdict::Unsupported),
                "build the image with sha256 digests",
            ),
            SyncError::NotDiscoverable(_) => (
                Exit::NotDiscoverable,
                "the signature is stored but would not be found; run the same command again, or see the registry's settings for referrers and immutable tags",
            ),
            SyncError::Tag { .. } => (
                Exit::TagMoved,
                "look at the tag in the registry, then push under another one or run the same command again",
            ),
        };
        Self::new(exit, words, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_hangs_is_named_and_nobody_is_told_to_log_in() {
        let failure = |source| {
            Failure::from(RegistryError::Credentials {
                host: "r.example".to_owned(),
                source: CredentialError::Helper {
                    place: "/home/me/.docker/config.json".to_owned(),
                    source,
                },
            })
        };
        let name = "secretservice".to_owned();
        let hung = failure(HelperError::Time { name, seconds: 10 });
        for word in ["docker-credential-secretservice", "10 s", "config.json"] {
            assert!(hung.hint.contains(word), "{}", hung.hint);
        }
        assert!(!hung.hint.contains("log in"), "{}", hung.hint);
        let (name, problem) = ("pass".to_owned(), "it failed".to_owned());
        let failed = failure(HelperError::Answer { name, problem });
        assert!(failed.hint.contains("log in"), "{}", failed.hint);
        assert_eq!(
            (hung.exit, failed.exit),
            (Exit::Authentication, Exit::Authentication)
        );
    }
}
