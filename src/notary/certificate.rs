//! One X.509 certificate: exact DER beside the few fields that the rules need.
//!
//! Parsing refuses what Go's parser refuses, as far as users meet it: notation never sees those certificates either.
//! Not here: what a certificate in some place of a chain must look like (`chain`), names as text (`dn`).

mod extensions;
mod parse;
mod second;
mod time;

use std::sync::{Arc, OnceLock};

use super::key::{CertificateSignature, PublicKey};
use crate::oci::limits::CERTIFICATE_BYTES_MAX;
use crate::oci::{Digest, UnixTime};

/// Is a parsed certificate. Equality is equality of the DER. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Arc<[u8]>,
    details: Arc<Details>,
    /// Start of validity (inclusive).
    pub not_before: UnixTime,
    /// End of validity (inclusive).
    pub not_after: UnixTime,
    /// The DER of the subject name.
    pub subject: Arc<[u8]>,
    /// The DER of the issuer name.
    pub issuer: Arc<[u8]>,
    /// Whether the AIA extension names an OCSP responder.
    pub has_ocsp: bool,
    /// Whether there is a CRL distribution point.
    pub has_crl: bool,
    /// Whether basicConstraints says CA.
    pub is_ca: bool,
}

/// Holds what the rules for chains look at.
#[derive(Debug)]
pub(super) struct Details {
    /// The bytes that the issuer signed.
    pub(super) signed: Vec<u8>,
    /// How.
    pub(super) algorithm: CertificateSignature,
    /// The issuer's signature.
    pub(super) signature: Vec<u8>,
    /// The DER of the subject's public key.
    pub(super) public_key: Vec<u8>,
    /// That key as it was read.
    pub(super) key: PublicKey,
    /// Whether the signature verifies with it, once somebody asked.
    pub(super) verifies_itself: OnceLock<bool>,
    /// The version as written in words: 1, 2 or 3.
    pub(super) version: u64,
    /// basicConstraints.
    pub(super) basic_constraints: Option<BasicConstraints>,
    /// keyUsage.
    pub(super) key_usage: Option<KeyUsage>,
    /// Uses that extKeyUsage lists.
    pub(super) extended_key_usage: Vec<ExtendedUse>,
}

/// Is the extension basicConstraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BasicConstraints {
    /// cA.
    pub(super) ca: bool,
    /// pathLenConstraint.
    pub(super) path_length: Option<u64>,
}

/// Is the extension keyUsage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyUsage {
    /// Whether it is marked critical.
    pub(super) critical: bool,
    /// Bit 0 is digitalSignature, bit 8 decipherOnly.
    pub(super) bits: u16,
}

impl KeyUsage {
    /// The bit digitalSignature.
    pub(super) const DIGITAL_SIGNATURE: u16 = 1;
    /// The bit keyCertSign.
    pub(super) const CERTIFICATE_SIGN: u16 = 1 << 5;
}

/// Lists the extended key uses that some rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtendedUse {
    /// anyExtendedKeyUsage.
    Any,
    /// serverAuth.
    ServerAuth,
    /// clientAuth.
    ClientAuth,
    /// codeSigning.
    CodeSigning,
    /// emailProtection.
    EmailProtection,
    /// timeStamping.
    TimeStamping,
    /// OCSPSigning.
    OcspSigning,
    /// Another.
    Other,
}

/// Says why bytes are not a certificate that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed certificate: {problem}")]
pub struct CertificateError {
    /// What is wrong.
    pub problem: String,
}

impl CertificateError {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
        }
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl Certificate {
    /// Parses one DER certificate.
    ///
    /// # Errors
    /// Refuses malformed DER, trailing bytes, duplicate extensions, more than `CERTIFICATE_BYTES_MAX`.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let (certificate, rest) = parse::one(der)?;
        if rest.is_empty() {
            Ok(certificate)
        } else {
            Err(CertificateError::new("bytes after its end"))
        }
    }

    /// Returns the certificates in PEM (text around blocks allowed) or in concatenated DER. The way trust store and chain files are read.
    ///
    /// # Errors
    /// Refuses any block that is not a certificate, and a file without one.
    pub fn parse_file(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let mut certificates = Vec::new();
        let blocks =
            super::pem::blocks(bytes).map_err(|error| CertificateError::new(error.to_string()))?;
        for block in blocks {
            let der = block
                .decode()
                .map_err(|error| CertificateError::new(error.to_string()))?;
            certificates.push(Self::parse(&der)?);
        }
        if certificates.is_empty() {
            certificates = parse::all(bytes)?;
        }
        if certificates.is_empty() {
            return Err(CertificateError::new("the file is empty"));
        }
        Ok(certificates)
    }

    /// Returns the DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the SHA-256 fingerprint of the DER.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// Returns the subject as notation prints it (Go's rendering), such as `CN=l,O=Notary,ST=WA,C=US`.
    #[must_use]
    pub fn subject_text(&self) -> String {
        super::dn::render(&self.subject)
    }

    /// Returns the issuer as notation prints it.
    #[must_use]
    pub fn issuer_text(&self) -> String {
        super::dn::render(&self.issuer)
    }

    /// Returns the certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        use base64ct::Encoding as _;
        let text = base64ct::Base64::encode_string(&self.der);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// Returns whether the certificate verifies with its own key and names itself as issuer.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
            && *self
                .details
                .verifies_itself
                .get_or_init(|| self.is_signed_with(&self.details.key))
    }

    /// Returns the public key.
    pub(super) fn key(&self) -> PublicKey {
        self.details.key.clone()
    }

    /// Returns whether the signature on this certificate verifies with a key.
    pub(super) fn is_signed_with(&self, key: &PublicKey) -> bool {
        key.verifies_certificate(
            &self.details.algorithm,
            &self.details.signed,
            &self.details.signature,
        )
    }

    /// Returns what the rules for chains look at.
    pub(super) fn details(&self) -> &Details {
        &self.details
    }
}

#[cfg(test)]
mod tests;
