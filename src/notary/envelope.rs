//! Signature envelopes: parsed, then found intact; only an intact one can be judged.

use super::chain::ChainProblem;
use super::headers::{Headers, RawHeaders};
use super::key::Salt;
use super::{Certificate, Chain, ChainCache, ChainError, SignatureAlgorithm, cose, jws, payload};
use crate::oci::limits::ENVELOPE_BYTES_MAX;
use crate::oci::media_type;
use crate::oci::{Descriptor, UnixTime};

/// Lists the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvelopeFormat {
    /// JWS JSON, flattened.
    Jws,
    /// `COSE_Sign1`, tagged.
    Cose,
}

impl EnvelopeFormat {
    /// Returns the media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jws => media_type::JOSE_JSON,
            Self::Cose => media_type::COSE,
        }
    }

    /// Returns the format with this media type.
    #[must_use]
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        [Self::Jws, Self::Cose]
            .into_iter()
            .find(|format| format.media_type() == media_type)
    }

    /// Returns the word that flags and file names use: `jws` or `cose`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Jws => "jws",
            Self::Cose => "cose",
        }
    }
}

/// Lists the signing schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningScheme {
    /// `notary.x509`: the signing time is a claim.
    X509,
    /// `notary.x509.signingAuthority`: the signing time is authentic.
    SigningAuthority,
}

impl SigningScheme {
    /// Returns the name in envelopes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X509 => "notary.x509",
            Self::SigningAuthority => "notary.x509.signingAuthority",
        }
    }
}

/// Is a signed attribute that the specification does not define (or a verification plugin's).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The name (a COSE integer label in decimal).
    pub name: String,
    /// Whether it is marked critical.
    pub critical: bool,
    /// The value where it is text.
    pub text: Option<String>,
}

/// Is what was signed: the target artifact of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetArtifact {
    /// The descriptor; its annotations are the user metadata.
    pub descriptor: Descriptor,
}

/// Is an envelope that parses; nothing in it is to be believed.
#[derive(Debug, Clone)]
pub struct Envelope {
    parts: Parts,
}

/// Holds the parts of an envelope of either format, as received.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) format: EnvelopeFormat,
    /// What the protected header calls the algorithm.
    pub(super) algorithm: String,
    /// The bytes that the signature is over.
    pub(super) signed: Vec<u8>,
    pub(super) headers: RawHeaders,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
    /// DER, leaf first, not parsed yet; never empty.
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) agent: Option<String>,
    pub(super) timestamp: Option<Vec<u8>>,
}

/// Is an envelope whose signature holds, whose headers obey the rules and whose chain is a code signing chain. Only [`Envelope::check`] makes one.
#[derive(Debug, Clone)]
pub struct IntactEnvelope {
    /// The format.
    pub format: EnvelopeFormat,
    /// The signing scheme.
    pub scheme: SigningScheme,
    /// The signing time (authentic for the signing authority scheme).
    pub signing_time: UnixTime,
    /// The expiry, where given; reached means expired.
    pub expiry: Option<UnixTime>,
    /// The chain.
    pub chain: Chain,
    /// The payload's target, or why the payload could not be understood (judged last, as notation does).
    pub target: Result<TargetArtifact, String>,
    /// The payload bytes.
    pub payload: Vec<u8>,
    /// Extended attributes, signed.
    pub attributes: Vec<Attribute>,
    /// The signing agent, unsigned.
    pub agent: Option<String>,
    /// The RFC 3161 token, unsigned.
    pub timestamp: Option<Vec<u8>>,
    /// The raw signature.
    pub raw_signature: Vec<u8>,
}

/// Says why an envelope is not intact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntegrityError {
    /// The layer's media type is neither JWS nor COSE.
    #[error("signature envelope format {media_type:?} is not supported")]
    MediaType {
        /// The media type.
        media_type: String,
    },
    /// It does not parse.
    #[error("the envelope does not parse: {problem}")]
    Parse {
        /// Where and why.
        problem: String,
    },
    /// The signature does not hold.
    #[error("the signature does not verify with the key of the signing certificate")]
    Signature,
    /// A header breaks a rule.
    #[error("header {header:?}: {problem}")]
    Header {
        /// The header.
        header: String,
        /// Which rule.
        problem: String,
    },
    /// The chain breaks a rule.
    #[error("the certificate chain breaks a rule")]
    Chain(#[source] ChainError),
    /// The algorithm is not the one that the leaf key implies.
    #[error("algorithm {found} is not {expected}, which the signing certificate's key implies")]
    Algorithm {
        /// What the header says.
        found: String,
        /// What the key implies.
        expected: &'static str,
    },
}

impl Envelope {
    /// Parses an envelope by its layer's media type.
    ///
    /// # Errors
    /// Refuses what two readers could understand differently; see docs/COMPATIBILITY.md for where this is stricter than notation.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, IntegrityError> {
        let Some(format) = EnvelopeFormat::from_media_type(media_type) else {
            return Err(IntegrityError::MediaType {
                media_type: media_type.to_owned(),
            });
        };
        if u64::try_from(bytes.len()).is_ok_and(|length| length > ENVELOPE_BYTES_MAX) {
            return Err(IntegrityError::Parse {
                problem: format!("it has more than {ENVELOPE_BYTES_MAX} bytes"),
            });
        }
        let parts = match format {
            EnvelopeFormat::Jws => jws::parse(bytes)?,
            EnvelopeFormat::Cose => cose::parse(bytes)?,
        };
        Ok(Self { parts })
    }

    /// Checks signature, headers and chain rules.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn check(self) -> Result<IntactEnvelope, IntegrityError> {
        self.check_with(&ChainCache::new())
    }

    /// Checks as [`Envelope::check`] does, with a cache of chains that other envelopes were checked with.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn check_with(self, chains: &ChainCache) -> Result<IntactEnvelope, IntegrityError> {
        let Self { parts } = self;
        let known = chains.known(&parts.certificates);
        match &known {
            Some(Ok(chain)) => parts.check_signature(chain.key())?,
            _ => parts.check_signature(&parts.leaf(chains)?.key())?,
        }
        let headers = parts.headers.read()?;
        let chain = known
            .unwrap_or_else(|| chains.check(&parts.certificates))
            .map_err(IntegrityError::from)?;
        parts.check_algorithm(chain.algorithm())?;
        if headers.content_type != media_type::NOTARY_PAYLOAD {
            return Err(IntegrityError::Header {
                header: "content type".to_owned(),
                problem: format!(
                    "{:?} is not {:?}",
                    headers.content_type,
                    media_type::NOTARY_PAYLOAD
                ),
            });
        }
        Ok(parts.intact(headers, chain))
    }
}

impl Parts {
    /// Parses the signing certificate.
    fn leaf(&self, chains: &ChainCache) -> Result<Certificate, IntegrityError> {
        let leaf = self.certificates.first().map_or(&[][..], Vec::as_slice);
        chains.parse(leaf).map_err(|error| IntegrityError::Parse {
            problem: format!("the signing certificate: {error}"),
        })
    }

    /// Checks the signature under the algorithm that the header names, whatever the key implies.
    fn check_signature(&self, key: &super::key::PublicKey) -> Result<(), IntegrityError> {
        let salt = match self.format {
            EnvelopeFormat::Jws => Salt::Any,
            EnvelopeFormat::Cose => Salt::AsHash,
        };
        let named = SignatureAlgorithm::ALL
            .into_iter()
            .find(|algorithm| self.name_of(*algorithm) == self.algorithm);
        match named {
            Some(algorithm) if key.verifies(algorithm, &self.signed, &self.signature, salt) => {
                Ok(())
            }
            Some(_) => Err(IntegrityError::Signature),
            None => Err(IntegrityError::Header {
                header: "alg".to_owned(),
                problem: format!(
                    "{:?} is not an algorithm of Notary Project signatures",
                    self.algorithm
                ),
            }),
        }
    }

    fn check_algorithm(&self, implied: SignatureAlgorithm) -> Result<(), IntegrityError> {
        if self.algorithm == self.name_of(implied) {
            return Ok(());
        }
        Err(IntegrityError::Algorithm {
            found: self.algorithm.clone(),
            expected: implied.jws_name(),
        })
    }

    /// Returns how this format spells an algorithm.
    fn name_of(&self, algorithm: SignatureAlgorithm) -> String {
        match self.format {
            EnvelopeFormat::Jws => algorithm.jws_name().to_owned(),
            EnvelopeFormat::Cose => algorithm.cose_number().to_string(),
        }
    }

    fn intact(self, headers: Headers, chain: Chain) -> IntactEnvelope {
        IntactEnvelope {
            format: self.format,
            scheme: headers.scheme,
            signing_time: headers.signing_time,
            expiry: headers.expiry,
            chain,
            target: payload::read(&self.payload),
            payload: self.payload,
            attributes: headers.attributes,
            agent: self.agent,
            timestamp: self.timestamp,
            raw_signature: self.signature,
        }
    }
}

impl IntegrityError {
    /// Returns the error for bytes that do not parse.
    pub(super) fn parse(problem: impl Into<String>) -> Self {
        Self::Parse {
            problem: problem.into(),
        }
    }

    /// Returns the error for a header that breaks a rule.
    pub(super) fn header(header: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Header {
            header: header.into(),
            problem: problem.into(),
        }
    }
}

impl From<ChainProblem> for IntegrityError {
    fn from(problem: ChainProblem) -> Self {
        match problem {
            ChainProblem::Parse(error) => Self::parse(error.to_string()),
            ChainProblem::Rule(error) => Self::Chain(error),
        }
    }
}

impl IntactEnvelope {
    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.chain.algorithm()
    }
}

#[cfg(test)]
mod tests;
