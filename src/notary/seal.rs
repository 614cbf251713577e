//! Sealing: payload and terms to an envelope and the manifest that stores it.

//!
//! The bytes are those that notation 1.3.2 writes, and every envelope is parsed and checked again before it is returned.
//! Not here: keys (`private_key`), where blobs and index entries go (`layout`).

mod manifest;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Certificate, Chain, ChainCache, ChainError, Envelope, EnvelopeFormat, IntactEnvelope,
    PrivateKey, payload,
};
use crate::oci::{Descriptor, UnixTime};

/// Is what gets signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The target; only media type, digest and size are used.
    pub target: Descriptor,
    /// The user metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Are the terms of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The format.
    pub format: EnvelopeFormat,
    /// Seconds until expiry, where wanted.
    pub expiry_seconds: Option<i64>,
}

/// Is a signature ready to be stored. The envelope was parsed and checked again before this was made.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The format.
    pub format: EnvelopeFormat,
    /// The envelope.
    pub envelope: Vec<u8>,
    /// What its bytes were found to be when they were parsed and checked again.
    pub intact: Arc<IntactEnvelope>,
    /// The signature manifest, exactly as notation 1.3.2 writes it.
    pub manifest: Vec<u8>,
    /// The descriptor of the manifest, its annotations included (for index.json).
    pub descriptor: Descriptor,
}

/// Says why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key file cannot be understood.
    #[error("the private key cannot be used: {problem}")]
    Key {
        /// Why, such as "it is encrypted".
        problem: String,
    },
    /// Key and certificate do not belong together.
    #[error("the private key does not match the signing certificate")]
    Mismatch,
    /// The chain breaks a rule or is not valid now.
    #[error("the certificate chain cannot sign")]
    Chain(#[source] ChainError),
    /// Metadata or expiry breaks a rule; notation's words.
    #[error("{problem}")]
    Terms {
        /// Which.
        problem: String,
    },
    /// The library refused to sign.
    #[error("signing: {problem}")]
    Crypto {
        /// Why.
        problem: String,
    },
    /// The sealed envelope did not verify.
    #[error("the new envelope does not verify")]
    SelfCheck,
}

/// Signs payloads.
pub trait Signer: Send + Sync {
    /// Returns the chain, known before sealing where the key has one.
    ///
    /// # Errors
    /// Says why the chain cannot sign.
    fn chain(&self) -> Result<Option<Chain>, SignError>;
    /// Seals a payload.
    ///
    /// # Errors
    /// Says why nothing was sealed.
    fn seal(&self, payload: &Payload, terms: &Terms, now: UnixTime) -> Result<Sealed, SignError>;
}

/// Signs with a key in memory.
#[derive(Debug)]
pub struct LocalSigner {
    key: PrivateKey,
    chain: Chain,
}

/// The prefix of metadata keys that users may not take.
const RESERVED_PREFIX: &str = "io.cncf.notary";

/// The last second of year 9999; RFC 3339 goes no further.
const LAST_SECOND: i64 = 253_402_300_799;

impl LocalSigner {
    /// Joins a key and its chain, leaf first.
    ///
    /// # Errors
    /// Refuses a key that does not match the leaf, and a chain that breaks a rule.
    pub fn new(key: PrivateKey, certificates: Vec<Certificate>) -> Result<Self, SignError> {
        let chain = Chain::check(certificates).map_err(SignError::Chain)?;
        Self::with_chain(key, chain)
    }

    /// Joins a key and its chain, which was checked before.
    ///
    /// # Errors
    /// Refuses a key that does not match the leaf.
    pub fn with_chain(key: PrivateKey, chain: Chain) -> Result<Self, SignError> {
        if chain.key() != key.public() {
            return Err(SignError::Mismatch);
        }
        Ok(Self { key, chain })
    }
}

impl Signer for LocalSigner {
    fn chain(&self) -> Result<Option<Chain>, SignError> {
        Ok(Some(self.chain.clone()))
    }

    fn seal(&self, payload: &Payload, terms: &Terms, now: UnixTime) -> Result<Sealed, SignError> {
        check_metadata(&payload.metadata)?;
        let expiry = expiry(terms, now)?;
        self.chain.valid_at(now).map_err(SignError::Chain)?;
        let content = payload::write(terms.format, &payload.target, &payload.metadata);
        let draft = write::Draft {
            payload: content.as_bytes(),
            chain: &self.chain,
            signing_time: now,
            expiry,
        };
        let envelope = match terms.format {
            EnvelopeFormat::Jws => write::jws(&draft, &self.key)?,
            EnvelopeFormat::Cose => write::cose(&draft, &self.key)?,
        };
        let intact = check_own(&envelope, terms.format, &draft, payload)?;
        let (manifest, descriptor) =
            manifest::write(terms.format, &envelope, &payload.target, &self.chain, now);
        Ok(Sealed {
            format: terms.format,
            envelope,
            intact: Arc::new(intact),
            manifest,
            descriptor,
        })
    }
}

/// Checks the rules on user metadata.
fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), SignError> {
    for (key, value) in metadata {
        let problem = if key.starts_with(RESERVED_PREFIX) {
            format!(
                "error adding user metadata: metadata key {key} has reserved prefix {RESERVED_PREFIX}"
            )
        } else if key.is_empty() || value.is_empty() {
            format!("error adding user metadata: {key:?}={value:?} has an empty key or value")
        } else {
            continue;
        };
        return Err(SignError::Terms { problem });
    }
    Ok(())
}

/// Returns the expiry; a duration of zero means none, as in notation.
fn expiry(terms: &Terms, now: UnixTime) -> Result<Option<UnixTime>, SignError> {
    let refuse = |problem: &str| {
        Err(SignError::Terms {
            problem: problem.to_owned(),
        })
    };
    match terms.expiry_seconds {
        None | Some(0) => Ok(None),
        Some(seconds) if seconds < 0 => refuse("expiry duration cannot be a negative value"),
        Some(seconds) => match now.plus(seconds) {
            expiry if expiry.0 > LAST_SECOND => refuse("the expiry is after year 9999"),
            expiry => Ok(Some(expiry)),
        },
    }
}

/// Reads a new envelope as a verifier will and compares everything with what was meant.
fn check_own(
    envelope: &[u8],
    format: EnvelopeFormat,
    draft: &write::Draft<'_>,
    payload: &Payload,
) -> Result<IntactEnvelope, SignError> {
    let intact = Envelope::parse(format.media_type(), envelope)
        .and_then(|envelope| envelope.check_with(&ChainCache::with_checked(draft.chain)))
        .map_err(|_| SignError::SelfCheck)?;
    let same = intact.payload == draft.payload
        && intact.chain == *draft.chain
        && intact.signing_time == draft.signing_time
        && intact.expiry == draft.expiry
        && intact.attributes.is_empty()
        && intact.target.as_ref().is_ok_and(|target| {
            target.descriptor.same_content(&payload.target)
                && target.descriptor.annotations == payload.metadata
        });
    if same {
        Ok(intact)
    } else {
        Err(SignError::SelfCheck)
    }
}

#[cfg(test)]
mod tests;
