//! Notary Project signatures: envelopes, certificate chains, trust policies, judging, sealing.
//!
//! Pure: bytes and a time in, values out. A refused signature is data (`Outcome`), an `Err` means "could not decide".
//! Not here: where envelopes, stores and keys are (`layout`, `settings`).

pub mod algorithm;
pub mod anchors;
mod cbor;
pub mod certificate;
pub mod chain;
mod cose;
pub mod dn;
mod element;
pub mod envelope;
mod headers;
mod identity;
pub mod judge;
mod jws;
mod key;
pub mod outcome;
mod payload;
mod pem;
pub mod policy;
mod private_key;
pub mod seal;
#[cfg(test)]
mod testing;
mod words;

pub use algorithm::{HashAlgorithm, SignatureAlgorithm};
pub use anchors::{Anchors, AnchorsError, StoreName, StoreType};
pub use certificate::{Certificate, CertificateError};
pub use chain::{Chain, ChainCache, ChainError};
pub use envelope::{
    Attribute, Envelope, EnvelopeFormat, IntactEnvelope, IntegrityError, SigningScheme,
    TargetArtifact,
};
pub use judge::{Evidence, Judgement, Need, Question, judge, needs};
pub use outcome::{Check, CheckKind, Outcome, Reason};
pub use policy::{Action, Level, Policy, PolicyError, Statement, TimestampRule};
pub use private_key::PrivateKey;
pub use seal::{LocalSigner, Payload, Sealed, SignError, Signer, Terms};
