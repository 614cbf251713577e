//! From DER to a [`Certificate`], element by element. RFC 5280 section 4.1, read as Go's crypto/x509 reads it.
//!
//! An own parser, because notation's verdict is Go's: lenient parsers let wrong tags and lengths pass where no signature
//! protects them, and in extensions that the rules for chains depend on.

use std::sync::{Arc, OnceLock};

use der::Decode as _;

use super::extensions::Extensions;
use super::{CERTIFICATE_BYTES_MAX, Certificate, CertificateError, Details, second, time};
use crate::notary::element::{ElementError, Reader, SEQUENCE, constructed, context};
use crate::notary::key::{CertificateSignature, PublicKey};
use crate::notary::{HashAlgorithm, dn};

/// Object identifiers of signature algorithms and hashes, as their content bytes.
mod oid {
    pub(super) const SHA256_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    pub(super) const SHA384_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
    pub(super) const SHA512_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];
    pub(super) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    pub(super) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    pub(super) const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
    pub(super) const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
    pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
}

/// Parses concatenated DER.
pub(super) fn all(bytes: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    let mut certificates = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (certificate, after) = one(rest)?;
        certificates.push(certificate);
        rest = after;
    }
    Ok(certificates)
}

/// Parses the certificate at the front of `bytes` and returns what follows it.
pub(super) fn one(bytes: &[u8]) -> Result<(Certificate, &[u8]), CertificateError> {
    let mut reader = Reader::new(bytes);
    let whole = reader.whole(SEQUENCE).map_err(at("certificate"))?;
    if whole.len() > CERTIFICATE_BYTES_MAX {
        return Err(CertificateError::new(format!(
            "it has more than {CERTIFICATE_BYTES_MAX} bytes"
        )));
    }
    let mut outer = Reader::new(whole)
        .within(SEQUENCE)
        .map_err(at("certificate"))?;
    let signed = outer.whole(SEQUENCE).map_err(at("signed part"))?;
    let algorithm = outer
        .expect_tag(SEQUENCE)
        .map_err(at("signature algorithm"))?;
    let signature = match outer.bit_string() {
        Ok((0, signature)) => signature,
        _ => return Err(CertificateError::new("malformed signature")),
    };
    outer.finish().map_err(at("certificate"))?;
    let fields = Fields::read(signed)?;
    if fields.algorithm != algorithm {
        return Err(CertificateError::new(
            "inner and outer signature algorithm do not match",
        ));
    }
    let certificate = fields.certificate(whole, signed, signature)?;
    second::agrees(&certificate)?;
    Ok((certificate, reader.rest()))
}

/// Holds the fields of the signed part, as slices where they are kept as they are.
struct Fields<'a> {
    version: u64,
    /// The content of the algorithm identifier.
    algorithm: &'a [u8],
    issuer: &'a [u8],
    validity: [crate::oci::UnixTime; 2],
    subject: &'a [u8],
    public_key: &'a [u8],
    extensions: Extensions,
}

impl<'a> Fields<'a> {
    fn read(signed: &'a [u8]) -> Result<Self, CertificateError> {
        let mut fields = Reader::new(signed)
            .within(SEQUENCE)
            .map_err(at("signed part"))?;
        let version = read_version(&mut fields).map_err(at("version"))?;
        let serial = fields.integer().map_err(at("serial number"))?;
        if serial.first().is_some_and(|first| first & 0x80 != 0) {
            return Err(CertificateError::new("negative serial number"));
        }
        let algorithm = fields
            .expect_tag(SEQUENCE)
            .map_err(at("signature algorithm"))?;
        let issuer = fields.whole(SEQUENCE).map_err(at("issuer"))?;
        let mut validity = fields.within(SEQUENCE).map_err(at("validity"))?;
        let validity = [time::read(&mut validity)?, time::read(&mut validity)?];
        let subject = fields.whole(SEQUENCE).map_err(at("subject"))?;
        let public_key = fields.whole(SEQUENCE).map_err(at("public key"))?;
        for name in [issuer, subject] {
            dn::check(name).map_err(|error| CertificateError::new(error.to_string()))?;
        }
        Ok(Self {
            version,
            algorithm,
            issuer,
            validity,
            subject,
            public_key,
            extensions: read_extensions(version, &mut fields)?,
        })
    }

    fn certificate(
        self,
        whole: &[u8],
        signed: &[u8],
        signature: &[u8],
    ) -> Result<Certificate, CertificateError> {
        let Self { extensions, .. } = self;
        let [not_before, not_after] = self.validity;
        let key = PublicKey::from_spki(self.public_key);
        if let PublicKey::Refused(problem) = &key {
            return Err(CertificateError::new(format!("public key: {problem}")));
        }
        Ok(Certificate {
            der: Arc::from(whole),
            not_before,
            not_after,
            subject: Arc::from(self.subject),
            issuer: Arc::from(self.issuer),
            has_ocsp: extensions.has_ocsp,
            has_crl: extensions.has_crl,
            is_ca: extensions.basic_constraints.is_some_and(|basic| basic.ca),
            details: Arc::new(Details {
                signed: signed.to_vec(),
                algorithm: signature_algorithm(self.algorithm)
                    .map_err(at("signature algorithm"))?,
                signature: signature.to_vec(),
                public_key: self.public_key.to_vec(),
                key,
                verifies_itself: OnceLock::new(),
                version: self.version,
                basic_constraints: extensions.basic_constraints,
                key_usage: extensions.key_usage,
                extended_key_usage: extensions.extended_key_usage,
            }),
        })
    }
}

/// Returns the version in words: 1, 2 or 3.
fn read_version(fields: &mut Reader<'_>) -> Result<u64, ElementError> {
    let Some(content) = fields.optional(constructed(0))? else {
        return Ok(1);
    };
    let mut content = Reader::new(content);
    let version = content.small_integer()?;
    content.finish()?;
    match version {
        0..=2 => Ok(version.saturating_add(1)),
        _ => Err(crate::notary::element::refused("an unknown version")),
    }
}

/// Reads what follows the public key: unique identifiers from version 2, extensions in version 3.
fn read_extensions(version: u64, fields: &mut Reader<'_>) -> Result<Extensions, CertificateError> {
    let mut extensions = Extensions::default();
    if version > 1 {
        for number in [1, 2] {
            fields
                .optional(context(number))
                .map_err(at("unique identifier"))?;
        }
    }
    if version > 2
        && let Some(content) = fields.optional(constructed(3)).map_err(at("extensions"))?
    {
        extensions.read(content)?;
    }
    fields.finish().map_err(at("signed part"))?;
    Ok(extensions)
}

/// Returns how a certificate is signed.
fn signature_algorithm(identifier: &[u8]) -> Result<CertificateSignature, ElementError> {
    let mut reader = Reader::new(identifier);
    let name = reader.identifier()?;
    let parameters = reader.rest();
    if !reader.is_empty() {
        reader.element()?;
    }
    Ok(match name {
        oid::SHA256_RSA => CertificateSignature::RsaPkcs1(HashAlgorithm::Sha256),
        oid::SHA384_RSA => CertificateSignature::RsaPkcs1(HashAlgorithm::Sha384),
        oid::SHA512_RSA => CertificateSignature::RsaPkcs1(HashAlgorithm::Sha512),
        oid::ECDSA_SHA256 => CertificateSignature::Ecdsa(HashAlgorithm::Sha256),
        oid::ECDSA_SHA384 => CertificateSignature::Ecdsa(HashAlgorithm::Sha384),
        oid::ECDSA_SHA512 => CertificateSignature::Ecdsa(HashAlgorithm::Sha512),
        oid::ED25519 if parameters.is_empty() => CertificateSignature::Ed25519,
        oid::RSA_PSS => {
            pss_hash(parameters).map_or(CertificateSignature::Refused, CertificateSignature::RsaPss)
        }
        _ => CertificateSignature::Refused,
    })
}

/// Returns the hash of RSASSA-PSS parameters that Go accepts: one SHA-2 for both uses, a salt of its length.
fn pss_hash(parameters: &[u8]) -> Option<HashAlgorithm> {
    use const_oid::db::rfc5912::{ID_MGF_1, ID_SHA_256, ID_SHA_384, ID_SHA_512};
    let parameters = rsa::pkcs1::RsaPssParams::<der::Any>::from_der(parameters).ok()?;
    let hash = parameters.hash.oid;
    let mask = parameters.mask_gen.parameters.as_ref()?.oid;
    if parameters.mask_gen.oid != ID_MGF_1 || mask != hash {
        return None;
    }
    match (hash, parameters.salt_len) {
        (ID_SHA_256, 32) => Some(HashAlgorithm::Sha256),
        (ID_SHA_384, 48) => Some(HashAlgorithm::Sha384),
        (ID_SHA_512, 64) => Some(HashAlgorithm::Sha512),
        _ => None,
    }
}

/// Returns the error of a field.
fn at(field: &str) -> impl Fn(ElementError) -> CertificateError {
    move |error| CertificateError::new(format!("{field}: {error}"))
}
