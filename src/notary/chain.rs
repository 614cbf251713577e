//! Certificate chains: the code signing rules of the signature specification, "Certificate Requirements", checked on signing and on verifying.

mod cache;

use std::sync::Arc;

use super::certificate::{ExtendedUse, KeyUsage};
use super::key::PublicKey;
use super::{Certificate, SignatureAlgorithm};
use crate::oci::UnixTime;
use crate::oci::limits::CHAIN_CERTIFICATES_MAX;

pub use cache::ChainCache;
pub(super) use cache::ChainProblem;

/// Is an ordered chain, leaf first, root last, that satisfies every rule except validity in time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Chain {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    certificates: Vec<Certificate>,
    algorithm: SignatureAlgorithm,
    key: PublicKey,
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        self.inner.certificates == other.inner.certificates
    }
}

impl Eq for Chain {}

/// Says which rule a chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No certificate.
    #[error("the certificate chain is empty")]
    Empty,
    /// More than `CHAIN_CERTIFICATES_MAX`.
    #[error("the certificate chain has more than {limit} certificates")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// A rule broken by one certificate.
    #[error("certificate {position} with subject {subject:?}: {problem}")]
    Certificate {
        /// Position in the chain, 0 for the leaf.
        position: usize,
        /// The subject, as notation prints it.
        subject: String,
        /// Which rule, in words.
        problem: String,
    },
    /// The leaf's key is none of the six types.
    #[error(
        "the signing certificate has a key of type {found}, which Notary Project signatures do not use"
    )]
    LeafKey {
        /// The type, such as `RSA 1024` or `Ed25519`.
        found: String,
    },
    /// At signing: a certificate is not valid at the time of signing.
    #[error(
        "certificate {position} with subject {subject:?} is valid from {not_before} to {not_after}, not at {at}"
    )]
    NotValidAt {
        /// Position in the chain.
        position: usize,
        /// The subject.
        subject: String,
        /// Start of validity.
        not_before: UnixTime,
        /// End of validity.
        not_after: UnixTime,
        /// The time asked for.
        at: UnixTime,
    },
}

impl Chain {
    /// Checks the rules, validity in time excepted.
    ///
    /// At most one signature is verified for each certificate; paths are never searched.
    ///
    /// # Errors
    /// Names the first rule broken, in notation's order.
    pub fn check(certificates: Vec<Certificate>) -> Result<Self, ChainError> {
        if certificates.len() > CHAIN_CERTIFICATES_MAX {
            return Err(ChainError::TooLong {
                limit: CHAIN_CERTIFICATES_MAX,
            });
        }
        let keys: Vec<PublicKey> = certificates.iter().map(Certificate::key).collect();
        let Some(key) = keys.first().cloned() else {
            return Err(ChainError::Empty);
        };
        let algorithm = match certificates.as_slice() {
            [only] => check_single(only, &key)?,
            _ => check_links(&certificates, &keys)?,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                certificates,
                algorithm,
                key,
            }),
        })
    }

    /// Checks that every certificate is valid at `at` (bounds inclusive).
    ///
    /// # Errors
    /// Names the first certificate that is not.
    pub fn valid_at(&self, at: UnixTime) -> Result<(), ChainError> {
        for (position, certificate) in self.certificates().iter().enumerate() {
            if at < certificate.not_before || at > certificate.not_after {
                return Err(ChainError::NotValidAt {
                    position,
                    subject: certificate.subject_text(),
                    not_before: certificate.not_before,
                    not_after: certificate.not_after,
                    at,
                });
            }
        }
        Ok(())
    }

    /// Returns the certificates, leaf first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.inner.certificates
    }

    /// Returns the leaf.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        self.inner
            .certificates
            .first()
            .expect("check refuses an empty chain")
    }

    /// Returns the algorithm that the leaf's key implies.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm
    }

    /// Returns the leaf's key, parsed once.
    pub(super) fn key(&self) -> &PublicKey {
        &self.inner.key
    }
}

/// Checks a chain of one: signed by itself, then the rules for leaves.
fn check_single(only: &Certificate, key: &PublicKey) -> Result<SignatureAlgorithm, ChainError> {
    if !only.is_self_signed() {
        return broken(
            0,
            only,
            "it is alone in the chain, but not signed by itself",
        );
    }
    check_leaf(only, key)
}

/// Checks a chain of two or more, in notation's order.
fn check_links(
    certificates: &[Certificate],
    keys: &[PublicKey],
) -> Result<SignatureAlgorithm, ChainError> {
    let mut algorithm = None;
    for (position, certificate) in certificates.iter().enumerate() {
        let next = position.saturating_add(1);
        match (certificates.get(next), keys.get(next)) {
            (Some(issuer), Some(issuer_key)) => {
                check_issued(position, certificate, issuer, issuer_key)?;
            }
            _ => {
                if !may_issue(certificate) || !certificate.is_self_signed() {
                    return broken(
                        position,
                        certificate,
                        "the root certificate is invalid or not self-signed; a chain must end with a valid self-signed root certificate",
                    );
                }
            }
        }
        match (position.checked_sub(1), keys.first()) {
            (None, Some(key)) => algorithm = Some(check_leaf(certificate, key)?),
            (None, None) => return Err(ChainError::Empty),
            (Some(below), _) => check_ca(position, certificate, below)?,
        }
    }
    algorithm.ok_or(ChainError::Empty)
}

/// Checks that a certificate that is not the last was issued by the next one, not by itself.
fn check_issued(
    position: usize,
    certificate: &Certificate,
    issuer: &Certificate,
    issuer_key: &PublicKey,
) -> Result<(), ChainError> {
    if may_issue(certificate) && certificate.is_self_signed() {
        return broken(
            position,
            certificate,
            "it is self-signed; only the last certificate of a chain may be",
        );
    }
    let issued = may_issue(issuer)
        && certificate.issuer == issuer.subject
        && certificate.is_signed_with(issuer_key);
    if issued {
        Ok(())
    } else {
        broken(
            position,
            certificate,
            &format!("it is not issued by {:?}", issuer.subject_text()),
        )
    }
}

/// Returns whether Go lets a certificate issue others: a CA where its version can say so, keyCertSign where it says anything.
fn may_issue(certificate: &Certificate) -> bool {
    let details = certificate.details();
    let ca = match details.basic_constraints {
        Some(basic) => basic.ca,
        None => details.version != 3,
    };
    let signs = details
        .key_usage
        .is_none_or(|usage| usage.bits == 0 || usage.bits & KeyUsage::CERTIFICATE_SIGN != 0);
    ca && signs
}

/// Checks the rules for leaves and returns what the key implies.
fn check_leaf(leaf: &Certificate, key: &PublicKey) -> Result<SignatureAlgorithm, ChainError> {
    let details = leaf.details();
    if leaf.is_ca {
        return broken(
            0,
            leaf,
            "if the basic constraints extension is present, the ca field must be set to false",
        );
    }
    let usage = key_usage(0, leaf)?;
    if usage.bits & KeyUsage::DIGITAL_SIGNATURE == 0 {
        return broken(
            0,
            leaf,
            "the key usage must have the bit positions for \"Digital Signature\" set",
        );
    }
    for (bit, name) in FORBIDDEN_LEAF_USAGE {
        if usage.bits & (1 << bit) != 0 {
            return broken(
                0,
                leaf,
                &format!("the key usage must be \"Digital Signature\" only, but found {name:?}"),
            );
        }
    }
    for extended in &details.extended_key_usage {
        let name = match extended {
            ExtendedUse::Any => "any",
            ExtendedUse::ServerAuth => "ServerAuth",
            ExtendedUse::ClientAuth => "ClientAuth",
            ExtendedUse::EmailProtection => "EmailProtection",
            ExtendedUse::TimeStamping => "Timestamping",
            ExtendedUse::OcspSigning => "OCSPSigning",
            ExtendedUse::CodeSigning | ExtendedUse::Other => continue,
        };
        return broken(
            0,
            leaf,
            &format!("extended key usage must not contain {name} eku"),
        );
    }
    key.algorithm().ok_or_else(|| ChainError::LeafKey {
        found: key.describe(),
    })
}

/// Bits of keyUsage that a leaf must not have; contentCommitment (1) is allowed.
const FORBIDDEN_LEAF_USAGE: [(u16, &str); 7] = [
    (2, "KeyEncipherment"),
    (3, "DataEncipherment"),
    (4, "KeyAgreement"),
    (5, "CertSign"),
    (6, "CRLSign"),
    (7, "EncipherOnly"),
    (8, "DecipherOnly"),
];

/// Checks the rules for CAs; `below` is the number of CAs between this one and the leaf.
fn check_ca(position: usize, certificate: &Certificate, below: usize) -> Result<(), ChainError> {
    let Some(basic) = certificate
        .details()
        .basic_constraints
        .filter(|basic| basic.ca)
    else {
        return broken(
            position,
            certificate,
            "ca field in basic constraints must be present and set to true",
        );
    };
    if let Some(length) = basic.path_length
        && u64::try_from(below).is_ok_and(|below| length < below)
    {
        return broken(
            position,
            certificate,
            &format!(
                "expected path length of {below} but certificate has path length {length} instead"
            ),
        );
    }
    if key_usage(position, certificate)?.bits & KeyUsage::CERTIFICATE_SIGN == 0 {
        return broken(
            position,
            certificate,
            "key usage must have the bit positions for key cert sign set",
        );
    }
    Ok(())
}

/// Returns keyUsage, which must be there and critical.
fn key_usage(position: usize, certificate: &Certificate) -> Result<KeyUsage, ChainError> {
    match certificate.details().key_usage {
        None => broken(position, certificate, "key usage extension must be present"),
        Some(usage) if !usage.critical => broken(
            position,
            certificate,
            "key usage extension must be marked critical",
        ),
        Some(usage) => Ok(usage),
    }
}

fn broken<T>(position: usize, certificate: &Certificate, problem: &str) -> Result<T, ChainError> {
    Err(ChainError::Certificate {
        position,
        subject: certificate.subject_text(),
        problem: problem.to_owned(),
    })
}

#[cfg(test)]
mod tests;
