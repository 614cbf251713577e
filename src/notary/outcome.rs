//! What judging a signature gives: five checks, each passed, failed with a reason, or skipped.

use super::words::{quote, rfc1123};
use super::{Action, AnchorsError, IntegrityError, SigningScheme};
use crate::oci::UnixTime;

/// Lists the five checks, in notation's order of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// The envelope is intact and signs this artifact.
    Integrity,
    /// The chain is anchored in a trust store and the identity is trusted.
    Authenticity,
    /// The chain was valid at an authentic time.
    AuthenticTimestamp,
    /// The signature has not expired.
    Expiry,
    /// No certificate is revoked.
    Revocation,
}

impl CheckKind {
    /// Returns the name in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Authenticity => "authenticity",
            Self::AuthenticTimestamp => "authenticTimestamp",
            Self::Expiry => "expiry",
            Self::Revocation => "revocation",
        }
    }
}

/// Is what one check gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It holds.
    Passed,
    /// It does not hold. Boxed: nearly all checks of a large layout pass.
    Failed(Box<Reason>),
    /// It was not asked for, or an earlier enforced check failed.
    Skipped,
}

/// Says why a check failed, with the numbers inside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The signature manifest or envelope cannot be used (blob missing or corrupt, wrong number of layers, ...).
    #[error("{problem}")]
    Manifest {
        /// What is wrong.
        problem: String,
    },
    /// The envelope is not intact.
    #[error("{0}")]
    Envelope(IntegrityError),
    /// The payload does not parse.
    #[error("the payload cannot be understood: {problem}")]
    Payload {
        /// Why.
        problem: String,
    },
    /// The payload names another artifact.
    #[error("content descriptor mismatch: the signature is for {signed}")]
    OtherArtifact {
        /// Digest, size and type that were signed.
        signed: String,
    },
    /// Requested user metadata is absent or has another value.
    #[error("unable to find specified metadata in the signature")]
    Metadata,
    /// The signature needs a verification plugin.
    #[error("the signature needs the verification plugin {plugin:?}")]
    Plugin {
        /// Its name.
        plugin: String,
    },
    /// An unknown attribute is marked critical.
    #[error("the critical attribute {attribute:?} is unknown")]
    CriticalAttribute {
        /// Its name.
        attribute: String,
    },
    /// No needed type of trust store is listed.
    #[error("no trusted certificates are found to verify authenticity")]
    NoStore,
    /// A trust store cannot be used.
    #[error("{0}")]
    Store(AnchorsError),
    /// No certificate of the chain is in a trust store.
    #[error("the signature's certificate chain does not contain any trusted certificate")]
    NotAnchored,
    /// No trusted identity matches; notation's words.
    #[error("{problem}")]
    Identity {
        /// What was compared.
        problem: String,
    },
    /// The signature has expired.
    #[error("digital signature has expired on \"{}\"", rfc1123(*expiry))]
    Expired {
        /// The expiry.
        expiry: UnixTime,
        /// The time of judging.
        now: UnixTime,
    },
    /// A certificate is not valid at the time that counts: now, or the authentic signing time.
    #[error("{}", not_valid(*scheme, subject, (*not_before, *not_after), *at))]
    NotValidAt {
        /// The signing scheme, which decides what time counts.
        scheme: SigningScheme,
        /// Its subject.
        subject: String,
        /// Start of validity.
        not_before: UnixTime,
        /// End of validity.
        not_after: UnixTime,
        /// The time that counts.
        at: UnixTime,
    },
    /// The envelope has no timestamp and the policy wants one.
    #[error("no timestamp countersignature was found in the signature envelope")]
    NoTimestamp,
    /// Checking timestamps is not implemented in this version.
    #[error("timestamp countersignatures cannot be checked by this version")]
    TimestampUnsupported,
    /// Revocation cannot be decided offline.
    #[error(
        "signing certificate with subject {} revocation status is unknown",
        quote(subject)
    )]
    RevocationUnknown {
        /// Its subject.
        subject: String,
    },
    /// A certificate is revoked.
    #[error("signing certificate with subject {} is revoked", quote(subject))]
    Revoked {
        /// Its subject.
        subject: String,
    },
}

/// Holds the five checks and what the policy wanted of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Check, what it gave, what the policy wants. Always five, in the order of [`CheckKind`].
    pub checks: [(CheckKind, Check, Action); 5],
}

impl Outcome {
    /// Returns whether notation would accept: no enforced check failed (integrity always counts).
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.refusal().is_none()
    }

    /// Returns whether every check that is not skipped by policy passed.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.checks.iter().all(|(_, check, action)| match check {
            Check::Passed => true,
            Check::Skipped => *action == Action::Skip,
            Check::Failed(_) => false,
        })
    }

    /// Returns the first enforced failure, in the order of work.
    #[must_use]
    pub fn refusal(&self) -> Option<(CheckKind, &Reason)> {
        ORDER_OF_WORK.into_iter().find_map(|kind| {
            self.checks.iter().find_map(|(known, check, action)| {
                let enforced = *action == Action::Enforce || kind == CheckKind::Integrity;
                match check {
                    Check::Failed(reason) if *known == kind && enforced => Some((kind, &**reason)),
                    _ => None,
                }
            })
        })
    }
}

/// The checks in the order in which notation does them; policies list them in another.
const ORDER_OF_WORK: [CheckKind; 5] = [
    CheckKind::Integrity,
    CheckKind::Authenticity,
    CheckKind::Expiry,
    CheckKind::AuthenticTimestamp,
    CheckKind::Revocation,
];

/// Says that a certificate is not valid at the time that counts for its scheme.
fn not_valid(
    scheme: SigningScheme,
    subject: &str,
    (not_before, not_after): (UnixTime, UnixTime),
    at: UnixTime,
) -> String {
    let subject = quote(subject);
    match scheme {
        SigningScheme::SigningAuthority => format!(
            "certificate {subject} was not valid when the digital signature was produced at \"{}\"",
            rfc1123(at)
        ),
        SigningScheme::X509 if at < not_before => format!(
            "verification time is before certificate {subject} validity period, it will be valid from \"{}\"",
            rfc1123(not_before)
        ),
        SigningScheme::X509 => format!(
            "verification time is after certificate {subject} validity period, it was expired at \"{}\"",
            rfc1123(not_after)
        ),
    }
}

#[cfg(test)]
mod tests;
