//! Private keys of the six types: read from PEM, wiped when dropped, never shown.
//!
//! Signing is ring's where it knows the key, else that of rsa and the curves: both need the same time whatever the key is.
//! Not here: where key files are and who may read them (`settings`), chains (`chain`).

use der::Decode as _;
use getrandom::SysRng;
use ring::rand::SystemRandom;
use ring::signature::{self as quick, EcdsaKeyPair, EcdsaSigningAlgorithm, RsaEncoding};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use sha2::{Sha256, Sha384, Sha512};
use signature::RandomizedSigner as _;
use zeroize::Zeroizing;

use super::key::PublicKey;
use super::{SignError, SignatureAlgorithm};

/// Is a private key of one of the six types. Wiped when dropped; never shown.
pub struct PrivateKey {
    secret: Secret,
    public: PublicKey,
    algorithm: SignatureAlgorithm,
}

enum Secret {
    /// Any RSA key, and the same key as ring knows it, if it does.
    Rsa(Box<rsa::PrivateKey>, Option<Box<quick::RsaKeyPair>>),
    /// P-256 or P-384 whose file holds the public key too.
    Ecdsa(Box<EcdsaKeyPair>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PrivateKey")
    }
}

fn refuse<T>(problem: impl Into<String>) -> Result<T, SignError> {
    Err(SignError::Key {
        problem: problem.into(),
    })
}

impl PrivateKey {
    /// Parses a PEM file: PKCS#8, PKCS#1 or SEC1. Text and other blocks around the key are passed over.
    ///
    /// # Errors
    /// Refuses encrypted keys, other key types and sizes, a file without a key.
    pub fn parse_pem(pem: &[u8]) -> Result<Self, SignError> {
        let blocks = super::pem::blocks(pem).map_err(|error| SignError::Key {
            problem: error.to_string(),
        })?;
        let Some(block) = blocks.iter().find(|block| is_private_key(block.label)) else {
            return refuse("the file holds no PEM block with a private key");
        };
        if block.label.starts_with(b"ENCRYPTED") || block.body.starts_with(b"Proc-Type:") {
            return refuse("it is encrypted, and encrypted keys are not supported");
        }
        match block.decode() {
            Ok(der) => Self::parse_der(&der),
            Err(error) => refuse(error.to_string()),
        }
    }

    /// Parses DER of any of the three kinds, whatever the label of its PEM block said.
    fn parse_der(der: &[u8]) -> Result<Self, SignError> {
        if let Ok(info) = pkcs8::PrivateKeyInfoRef::try_from(der) {
            return Self::parse_pkcs8(&info);
        }
        if let Ok(key) = sec1::EcPrivateKey::from_der(der) {
            let curve = key
                .parameters
                .and_then(|parameters| parameters.named_curve());
            return Self::on_curve(curve, &key);
        }
        Self::from_rsa(der)
    }

    fn parse_pkcs8(info: &pkcs8::PrivateKeyInfoRef<'_>) -> Result<Self, SignError> {
        match info.algorithm.oid {
            const_oid::db::rfc5912::RSA_ENCRYPTION => Self::from_rsa(info.private_key.as_bytes()),
            const_oid::db::rfc5912::ID_EC_PUBLIC_KEY => {
                match sec1::EcPrivateKey::from_der(info.private_key.as_bytes()) {
                    Ok(key) => Self::on_curve(info.algorithm.parameters_oid().ok(), &key),
                    Err(_) => refuse("the EC key is malformed"),
                }
            }
            const_oid::db::rfc8410::ID_ED_25519 => unused("Ed25519"),
            oid => unused(&oid.to_string()),
        }
    }

    fn from_rsa(der: &[u8]) -> Result<Self, SignError> {
        let Ok(key) = rsa::PrivateKey::from_pkcs1_der(der) else {
            return refuse("it is malformed, or not RSA 2048, 3072, 4096, P-256, P-384 or P-521");
        };
        let public = PublicKey::Rsa(key.to_public_key());
        // Refused: more than two primes, a short exponent, what the rsa crate had to work out by itself.
        let pair = quick::RsaKeyPair::from_der(der).ok().map(Box::new);
        Self::new(Secret::Rsa(Box::new(key), pair), public)
    }

    fn on_curve(
        curve: Option<der::oid::ObjectIdentifier>,
        key: &sec1::EcPrivateKey<'_>,
    ) -> Result<Self, SignError> {
        if let Some((pair, public)) = pair_on_curve(curve, key) {
            return Self::new(Secret::Ecdsa(Box::new(pair)), public);
        }
        let scalar = key.private_key;
        let secret = match curve {
            Some(const_oid::db::rfc5912::SECP_256_R_1) => {
                p256::ecdsa::SigningKey::from_slice(&padded::<32>(scalar)?[..]).map(|key| {
                    let public = PublicKey::P256(*key.verifying_key());
                    (Secret::P256(key), public)
                })
            }
            Some(const_oid::db::rfc5912::SECP_384_R_1) => {
                p384::ecdsa::SigningKey::from_slice(&padded::<48>(scalar)?[..]).map(|key| {
                    let public = PublicKey::P384(*key.verifying_key());
                    (Secret::P384(key), public)
                })
            }
            Some(const_oid::db::rfc5912::SECP_521_R_1) => {
                p521::ecdsa::SigningKey::from_slice(&padded::<66>(scalar)?[..]).map(|key| {
                    let public = PublicKey::P521(*key.verifying_key());
                    (Secret::P521(key), public)
                })
            }
            Some(other) => return unused(&format!("EC on curve {other}")),
            None => return refuse("the EC key names no curve"),
        };
        match secret {
            Ok((secret, public)) => Self::new(secret, public),
            Err(_) => refuse("the EC key is malformed"),
        }
    }

    fn new(secret: Secret, public: PublicKey) -> Result<Self, SignError> {
        match public.algorithm() {
            Some(algorithm) => Ok(Self {
                secret,
                public,
                algorithm,
            }),
            None => unused(&public.describe()),
        }
    }

    /// Returns the algorithm that the key implies.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Returns the public key.
    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message as envelopes need it: RSASSA-PSS with a salt of the hash's length, or ECDSA as `r||s`.
    ///
    /// The nonce of ECDSA is derived from key, message and fresh randomness, so that signing twice in one second gives two
    /// signatures, and a bad source of randomness does not give the key away.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut rng = SysRng;
        let crypto = |problem: String| SignError::Crypto { problem };
        match (&self.secret, self.algorithm) {
            (Secret::Rsa(_, Some(pair)), algorithm)
                if let Some(made) = sign_rsa(pair, algorithm, message) =>
            {
                Ok(made)
            }
            (Secret::Ecdsa(pair), _) => match pair.sign(&SystemRandom::new(), message) {
                Ok(made) => Ok(made.as_ref().to_vec()),
                Err(_) => Err(crypto("no randomness is to be had".to_owned())),
            },
            (Secret::Rsa(key, _), SignatureAlgorithm::Ps384) => key
                .pss_sign_with_rng::<Sha384, _>(&mut rng, message)
                .map_err(|error| crypto(error.to_string())),
            (Secret::Rsa(key, _), SignatureAlgorithm::Ps512) => key
                .pss_sign_with_rng::<Sha512, _>(&mut rng, message)
                .map_err(|error| crypto(error.to_string())),
            (Secret::Rsa(key, _), _) => key
                .pss_sign_with_rng::<Sha256, _>(&mut rng, message)
                .map_err(|error| crypto(error.to_string())),
            (Secret::P256(key), _) => {
                let made: Result<p256::ecdsa::Signature, _> =
                    key.try_sign_with_rng(&mut rng, message);
                made.map(|made| made.to_bytes().to_vec())
                    .map_err(|error| crypto(error.to_string()))
            }
            (Secret::P384(key), _) => {
                let made: Result<p384::ecdsa::Signature, _> =
                    key.try_sign_with_rng(&mut rng, message);
                made.map(|made| made.to_bytes().to_vec())
                    .map_err(|error| crypto(error.to_string()))
            }
            (Secret::P521(key), _) => {
                let made: Result<p521::ecdsa::Signature, _> =
                    key.try_sign_with_rng(&mut rng, message);
                made.map(|made| made.to_bytes().to_vec())
                    .map_err(|error| crypto(error.to_string()))
            }
        }
    }
}

/// Signs with ring, which verifies what it made; nothing where that fails.
fn sign_rsa(
    pair: &quick::RsaKeyPair,
    algorithm: SignatureAlgorithm,
    message: &[u8],
) -> Option<Vec<u8>> {
    let padding: &dyn RsaEncoding = match algorithm {
        SignatureAlgorithm::Ps384 => &quick::RSA_PSS_SHA384,
        SignatureAlgorithm::Ps512 => &quick::RSA_PSS_SHA512,
        _ => &quick::RSA_PSS_SHA256,
    };
    let mut made = vec![0; pair.public().modulus_len()];
    let signed = pair.sign(padding, &SystemRandom::new(), message, &mut made);
    signed.ok().map(|()| made)
}

/// Returns the key as ring knows it: on its curves, where the file holds the public key and the two belong together.
fn pair_on_curve(
    curve: Option<der::oid::ObjectIdentifier>,
    key: &sec1::EcPrivateKey<'_>,
) -> Option<(EcdsaKeyPair, PublicKey)> {
    let point = key.public_key?;
    let new = |algorithm: &'static EcdsaSigningAlgorithm, scalar: &[u8]| {
        let random = SystemRandom::new();
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, point, &random).ok()
    };
    match curve? {
        const_oid::db::rfc5912::SECP_256_R_1 => {
            let scalar = padded::<32>(key.private_key).ok()?;
            let pair = new(&quick::ECDSA_P256_SHA256_FIXED_SIGNING, &scalar[..])?;
            let public = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
            Some((pair, PublicKey::P256(public)))
        }
        const_oid::db::rfc5912::SECP_384_R_1 => {
            let scalar = padded::<48>(key.private_key).ok()?;
            let pair = new(&quick::ECDSA_P384_SHA384_FIXED_SIGNING, &scalar[..])?;
            let public = p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
            Some((pair, PublicKey::P384(public)))
        }
        _ => None,
    }
}

fn unused<T>(found: &str) -> Result<T, SignError> {
    refuse(format!(
        "it is of type {found}; Notary Project signatures use RSA 2048, 3072, 4096, P-256, P-384 and P-521"
    ))
}

/// Returns whether a label names a private key of some kind.
fn is_private_key(label: &[u8]) -> bool {
    label == b"PRIVATE KEY" || label.ends_with(b" PRIVATE KEY")
}

/// Returns a scalar with the leading zeros that some writers leave out.
fn padded<const N: usize>(scalar: &[u8]) -> Result<Zeroizing<[u8; N]>, SignError> {
    let mut bytes = Zeroizing::new([0; N]);
    let Some(start) = N.checked_sub(scalar.len()) else {
        return refuse("the EC key is malformed");
    };
    for (byte, value) in bytes.iter_mut().skip(start).zip(scalar) {
        *byte = *value;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
