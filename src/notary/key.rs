//! Public keys: which algorithm one implies, and whether it verifies a signature.
//!
//! ring is asked first where it knows the algorithm (`quick`); what it does not accept is decided by rsa and the curves.
//! Not here: private keys (`private_key`), what a certificate may do (`chain`).

mod quick;

use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use signature::Verifier as _;
use signature::hazmat::PrehashVerifier as _;
use spki::SubjectPublicKeyInfoRef;

use super::{HashAlgorithm, SignatureAlgorithm};

/// Is a public key that can verify, or the name of what it is instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// RSA, 1024 to 8192 bits.
    Rsa(rsa::PublicKey),
    /// P-256.
    P256(p256::ecdsa::VerifyingKey),
    /// P-384.
    P384(p384::ecdsa::VerifyingKey),
    /// P-521.
    P521(p521::ecdsa::VerifyingKey),
    /// Ed25519; only CAs use it.
    Ed25519(ed25519_dalek::VerifyingKey),
    /// Anything else, which verifies nothing.
    Other(String),
    /// A key that Go does not parse, so that its certificate is refused: why.
    Refused(String),
}

/// Says which lengths of the salt of RSASSA-PSS are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Salt {
    /// Any length (JWS).
    Any,
    /// Exactly the length of the hash (COSE).
    AsHash,
}

/// Lists how certificates are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CertificateSignature {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(HashAlgorithm),
    /// RSASSA-PSS with MGF1 of the same hash and a salt of its length.
    RsaPss(HashAlgorithm),
    /// ECDSA.
    Ecdsa(HashAlgorithm),
    /// Ed25519.
    Ed25519,
    /// Anything else, such as SHA-1, which never verifies.
    Refused,
}

const SECP224R1: &str = "1.3.132.0.33";

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo`. Never fails: what cannot be used is `Other`.
    pub(super) fn from_spki(der: &[u8]) -> Self {
        let Ok(spki) = SubjectPublicKeyInfoRef::try_from(der) else {
            return Self::Refused("malformed".to_owned());
        };
        let malformed = |kind: &str| Self::Refused(format!("malformed {kind} key"));
        match spki.algorithm.oid {
            const_oid::db::rfc5912::RSA_ENCRYPTION => {
                let bits = spki
                    .subject_public_key
                    .as_bytes()
                    .and_then(rsa_modulus_bits);
                match (rsa::PublicKey::try_from(spki), bits) {
                    (Ok(key), _) => Self::Rsa(key),
                    (Err(_), Some(bits)) if !(1024..=8192).contains(&bits) => {
                        Self::Other(format!("RSA {bits}"))
                    }
                    (Err(_), _) => malformed("RSA"),
                }
            }
            // Go reads uncompressed points only.
            const_oid::db::rfc5912::ID_EC_PUBLIC_KEY
                if spki
                    .subject_public_key
                    .as_bytes()
                    .and_then(|point| point.first())
                    != Some(&4) =>
            {
                malformed("EC")
            }
            const_oid::db::rfc5912::ID_EC_PUBLIC_KEY => {
                match spki.algorithm.parameters_oid().ok() {
                    Some(const_oid::db::rfc5912::SECP_256_R_1) => {
                        p256::ecdsa::VerifyingKey::try_from(spki)
                            .map_or_else(|_| malformed("P-256"), Self::P256)
                    }
                    Some(const_oid::db::rfc5912::SECP_384_R_1) => {
                        p384::ecdsa::VerifyingKey::try_from(spki)
                            .map_or_else(|_| malformed("P-384"), Self::P384)
                    }
                    Some(const_oid::db::rfc5912::SECP_521_R_1) => {
                        p521::ecdsa::VerifyingKey::try_from(spki)
                            .map_or_else(|_| malformed("P-521"), Self::P521)
                    }
                    Some(curve) if curve.to_string() == SECP224R1 => {
                        Self::Other("P-224".to_owned())
                    }
                    Some(curve) => Self::Refused(format!("unsupported elliptic curve {curve}")),
                    None => malformed("EC"),
                }
            }
            const_oid::db::rfc8410::ID_ED_25519 => spki
                .subject_public_key
                .as_bytes()
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                .and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok())
                .map_or_else(|| malformed("Ed25519"), Self::Ed25519),
            oid => Self::Other(format!("{oid}")),
        }
    }

    /// Returns what the key is, such as `RSA 2048`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Rsa(key) => format!("RSA {}", key.n().bit_width_vartime()),
            Self::P256(_) => "P-256".to_owned(),
            Self::P384(_) => "P-384".to_owned(),
            Self::P521(_) => "P-521".to_owned(),
            Self::Ed25519(_) => "Ed25519".to_owned(),
            Self::Other(name) | Self::Refused(name) => name.clone(),
        }
    }

    /// Returns the algorithm that the key implies as a leaf's, where it is one of the six types.
    ///
    /// The size of an RSA key counts in whole bytes, as notation counts it.
    pub(super) fn algorithm(&self) -> Option<SignatureAlgorithm> {
        match self {
            Self::Rsa(key) => match key.n().bit_width_vartime().div_ceil(8) {
                256 => Some(SignatureAlgorithm::Ps256),
                384 => Some(SignatureAlgorithm::Ps384),
                512 => Some(SignatureAlgorithm::Ps512),
                _ => None,
            },
            Self::P256(_) => Some(SignatureAlgorithm::Es256),
            Self::P384(_) => Some(SignatureAlgorithm::Es384),
            Self::P521(_) => Some(SignatureAlgorithm::Es512),
            Self::Ed25519(_) | Self::Other(_) | Self::Refused(_) => None,
        }
    }

    /// Returns whether the signature of an envelope verifies under the algorithm that its header names.
    pub(super) fn verifies(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        raw: &[u8],
        salt: Salt,
    ) -> bool {
        quick::verifies(self, algorithm, message, raw)
            || self.verifies_by_crates(algorithm, message, raw, salt)
    }

    fn verifies_by_crates(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        raw: &[u8],
        salt: Salt,
    ) -> bool {
        match (self, algorithm) {
            (Self::Rsa(key), SignatureAlgorithm::Ps256) => pss::<Sha256>(key, message, raw, salt),
            (Self::Rsa(key), SignatureAlgorithm::Ps384) => pss::<Sha384>(key, message, raw, salt),
            (Self::Rsa(key), SignatureAlgorithm::Ps512) => pss::<Sha512>(key, message, raw, salt),
            (Self::P256(key), SignatureAlgorithm::Es256) => p256::ecdsa::Signature::from_slice(raw)
                .is_ok_and(|raw| key.verify(message, &raw).is_ok()),
            (Self::P384(key), SignatureAlgorithm::Es384) => p384::ecdsa::Signature::from_slice(raw)
                .is_ok_and(|raw| key.verify(message, &raw).is_ok()),
            (Self::P521(key), SignatureAlgorithm::Es512) => p521::ecdsa::Signature::from_slice(raw)
                .is_ok_and(|raw| key.verify(message, &raw).is_ok()),
            _ => false,
        }
    }

    /// Returns whether the signature of a certificate verifies.
    pub(super) fn verifies_certificate(
        &self,
        algorithm: &CertificateSignature,
        signed: &[u8],
        raw: &[u8],
    ) -> bool {
        quick::verifies_certificate(self, algorithm, signed, raw)
            || self.verifies_certificate_by_crates(algorithm, signed, raw)
    }

    fn verifies_certificate_by_crates(
        &self,
        algorithm: &CertificateSignature,
        signed: &[u8],
        raw: &[u8],
    ) -> bool {
        match (self, algorithm) {
            (Self::Rsa(key), CertificateSignature::RsaPkcs1(hash)) => match hash {
                HashAlgorithm::Sha256 => key.pkcs1v15_verify::<Sha256>(signed, raw).is_ok(),
                HashAlgorithm::Sha384 => key.pkcs1v15_verify::<Sha384>(signed, raw).is_ok(),
                HashAlgorithm::Sha512 => key.pkcs1v15_verify::<Sha512>(signed, raw).is_ok(),
            },
            (Self::Rsa(key), CertificateSignature::RsaPss(hash)) => match hash {
                HashAlgorithm::Sha256 => pss::<Sha256>(key, signed, raw, Salt::AsHash),
                HashAlgorithm::Sha384 => pss::<Sha384>(key, signed, raw, Salt::AsHash),
                HashAlgorithm::Sha512 => pss::<Sha512>(key, signed, raw, Salt::AsHash),
            },
            (Self::P256(key), CertificateSignature::Ecdsa(hash)) => {
                p256::ecdsa::Signature::from_der(raw)
                    .is_ok_and(|raw| key.verify_prehash(&hash_of(*hash, signed), &raw).is_ok())
            }
            (Self::P384(key), CertificateSignature::Ecdsa(hash)) => {
                p384::ecdsa::Signature::from_der(raw)
                    .is_ok_and(|raw| key.verify_prehash(&hash_of(*hash, signed), &raw).is_ok())
            }
            (Self::P521(key), CertificateSignature::Ecdsa(hash)) => {
                p521::ecdsa::Signature::from_der(raw)
                    .is_ok_and(|raw| key.verify_prehash(&hash_of(*hash, signed), &raw).is_ok())
            }
            (Self::Ed25519(key), CertificateSignature::Ed25519) => {
                ed25519_dalek::Signature::from_slice(raw)
                    .is_ok_and(|raw| key.verify(signed, &raw).is_ok())
            }
            _ => false,
        }
    }
}

fn pss<D>(key: &rsa::PublicKey, message: &[u8], raw: &[u8], salt: Salt) -> bool
where
    D: sha2::Digest + sha2::digest::FixedOutputReset,
{
    // The crate compares lengths as numbers; a signature must have exactly the bytes of the modulus.
    if raw.len() != key.size() {
        return false;
    }
    match salt {
        Salt::AsHash => key.pss_verify::<D>(message, raw).is_ok(),
        Salt::Any => rsa::pss::Signature::try_from(raw).is_ok_and(|raw| {
            rsa::pss::VerifyingKey::<D>::new_with_auto_salt_len(key.clone())
                .verify(message, &raw)
                .is_ok()
        }),
    }
}

fn hash_of(hash: HashAlgorithm, message: &[u8]) -> Vec<u8> {
    match hash {
        HashAlgorithm::Sha256 => Sha256::digest(message).to_vec(),
        HashAlgorithm::Sha384 => Sha384::digest(message).to_vec(),
        HashAlgorithm::Sha512 => Sha512::digest(message).to_vec(),
    }
}

/// Returns the bits of the modulus of a PKCS#1 public key, of any size.
fn rsa_modulus_bits(der: &[u8]) -> Option<u64> {
    use der::Decode as _;
    let key = rsa::pkcs1::RsaPublicKeyRef::from_der(der).ok()?;
    let bytes = key.modulus.as_bytes();
    let first = bytes.first()?;
    let bits = u64::try_from(bytes.len()).ok()?.checked_mul(8)?;
    bits.checked_sub(first.leading_zeros().into())
}

#[cfg(test)]
mod tests;
