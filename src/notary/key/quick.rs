//! Signatures that ring verifies: RSA of 2048 bits and more, P-256 and P-384, each with the hash that goes with it.
//!
//! Whatever is accepted here the crates of `key` accept too, only later: keys come parsed by them, lengths are exact, and the
//! salt of RSASSA-PSS is as long as the hash. A refusal here says nothing.

use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm};
use rsa::traits::PublicKeyParts as _;

use super::{CertificateSignature, PublicKey};
use crate::notary::{HashAlgorithm, SignatureAlgorithm};

/// Returns whether ring accepts the signature of an envelope.
pub(super) fn verifies(
    key: &PublicKey,
    algorithm: SignatureAlgorithm,
    message: &[u8],
    raw: &[u8],
) -> bool {
    match (key, algorithm) {
        (PublicKey::Rsa(key), SignatureAlgorithm::Ps256) => {
            rsa(key, pss(HashAlgorithm::Sha256), message, raw)
        }
        (PublicKey::Rsa(key), SignatureAlgorithm::Ps384) => {
            rsa(key, pss(HashAlgorithm::Sha384), message, raw)
        }
        (PublicKey::Rsa(key), SignatureAlgorithm::Ps512) => {
            rsa(key, pss(HashAlgorithm::Sha512), message, raw)
        }
        (PublicKey::P256(key), SignatureAlgorithm::Es256) => {
            let algorithm = &signature::ECDSA_P256_SHA256_FIXED;
            ecdsa(algorithm, &point256(key), message, raw)
        }
        (PublicKey::P384(key), SignatureAlgorithm::Es384) => {
            let algorithm = &signature::ECDSA_P384_SHA384_FIXED;
            ecdsa(algorithm, &point384(key), message, raw)
        }
        _ => false,
    }
}

/// Returns whether ring accepts the signature of a certificate.
pub(super) fn verifies_certificate(
    key: &PublicKey,
    algorithm: &CertificateSignature,
    signed: &[u8],
    raw: &[u8],
) -> bool {
    match (key, algorithm) {
        (PublicKey::Rsa(key), CertificateSignature::RsaPkcs1(hash)) => {
            rsa(key, pkcs1(*hash), signed, raw)
        }
        (PublicKey::Rsa(key), CertificateSignature::RsaPss(hash)) => {
            rsa(key, pss(*hash), signed, raw)
        }
        // The DER is read where it always was: two parsers need not be equally strict.
        (PublicKey::P256(key), CertificateSignature::Ecdsa(hash)) => {
            let algorithm: &'static dyn VerificationAlgorithm = match hash {
                HashAlgorithm::Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
                HashAlgorithm::Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
                HashAlgorithm::Sha512 => return false,
            };
            ::p256::ecdsa::Signature::from_der(raw).is_ok()
                && ecdsa(algorithm, &point256(key), signed, raw)
        }
        (PublicKey::P384(key), CertificateSignature::Ecdsa(hash)) => {
            let algorithm: &'static dyn VerificationAlgorithm = match hash {
                HashAlgorithm::Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
                HashAlgorithm::Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
                HashAlgorithm::Sha512 => return false,
            };
            ::p384::ecdsa::Signature::from_der(raw).is_ok()
                && ecdsa(algorithm, &point384(key), signed, raw)
        }
        _ => false,
    }
}

fn pss(hash: HashAlgorithm) -> &'static RsaParameters {
    match hash {
        HashAlgorithm::Sha256 => &signature::RSA_PSS_2048_8192_SHA256,
        HashAlgorithm::Sha384 => &signature::RSA_PSS_2048_8192_SHA384,
        HashAlgorithm::Sha512 => &signature::RSA_PSS_2048_8192_SHA512,
    }
}

fn pkcs1(hash: HashAlgorithm) -> &'static RsaParameters {
    match hash {
        HashAlgorithm::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        HashAlgorithm::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        HashAlgorithm::Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
    }
}

fn rsa(key: &rsa::PublicKey, parameters: &RsaParameters, message: &[u8], raw: &[u8]) -> bool {
    let components = RsaPublicKeyComponents {
        n: key.n_bytes(),
        e: key.e_bytes(),
    };
    components.verify(parameters, message, raw).is_ok()
}

fn point256(key: &::p256::ecdsa::VerifyingKey) -> Box<[u8]> {
    key.to_sec1_point(false).to_bytes()
}

fn point384(key: &::p384::ecdsa::VerifyingKey) -> Box<[u8]> {
    key.to_sec1_point(false).to_bytes()
}

fn ecdsa(
    algorithm: &'static dyn VerificationAlgorithm,
    point: &[u8],
    message: &[u8],
    raw: &[u8],
) -> bool {
    signature::UnparsedPublicKey::new(algorithm, point)
        .verify(message, raw)
        .is_ok()
}
