//! Signing: a survey, a signer and a request to an addition to the store.
//!
//! Not here: key files (`settings`), envelopes (`notary`), how files are written (`layout`). Policy plays no part: whoever
//! may sign is decided by the caller, and what is signed is decided by the request alone.

mod intact;
mod repeat;
mod select;

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) use intact::read_whole;

use crate::audit::{AuditError, Envelopes, Selection, Survey};
use crate::layout::{Addition, Committed, HashError, Hashes, SourceError, Store};
use crate::notary::{EnvelopeFormat, Payload, Sealed, SignError, Signer, Terms};
use crate::oci::{Descriptor, Digest, Progress, UnixTime};

/// Is what is asked to be signed.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which images.
    pub images: Selection,
    /// The envelope format.
    pub format: EnvelopeFormat,
    /// Seconds until expiry.
    pub expiry_seconds: Option<i64>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// Whether platform children are signed too.
    pub children: Children,
    /// Whether an image that already carries such a signature is left alone (`touch`) or gets another (the command).
    pub repeat: Repeat,
}

/// Tells whether the children of an index are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// Only the image itself.
    No,
    /// Every platform manifest below it too (attestations excepted).
    Recursive,
}

/// Tells what happens to an image that is already signed so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It is left alone.
    LeaveAlone,
    /// It gets another signature.
    Another,
}

/// Tells how many threads may hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling one does everything.
    One,
    /// As many as there are cores.
    Many,
}

/// Is everything that signing works with.
pub struct Job<'a> {
    /// Where the signatures go.
    pub store: &'a dyn Store,
    /// The layout as it was when the request arrived.
    pub survey: &'a Survey,
    /// The key.
    pub signer: &'a dyn Signer,
    /// What is asked.
    pub request: &'a Request,
    /// What was hashed before.
    pub hashes: &'a Hashes,
    /// How many threads may hash.
    pub threads: Threads,
}

/// Reports what was signed.
#[derive(Debug, Clone, Default)]
pub struct Signed {
    /// Artifacts that got a signature, with the digest of its manifest.
    pub added: Vec<(Descriptor, Digest)>,
    /// Artifacts left alone.
    pub left_alone: Vec<Descriptor>,
    /// What the commit did.
    pub committed: Committed,
}

/// Says why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The selection names nothing, or the layout cannot be read.
    #[error("selecting what to sign")]
    Audit(#[source] AuditError),
    /// The layout is not valid.
    #[error("the layout is not valid: {problem}")]
    Layout {
        /// What is wrong.
        problem: String,
    },
    /// There is no image.
    #[error("the layout has no image to sign")]
    Nothing,
    /// A name is on two digests.
    #[error("the tag {tag:?} is on two digests")]
    Ambiguous {
        /// The tag.
        tag: String,
    },
    /// Content of the closure is missing.
    #[error("blob {digest} is missing: an incomplete image is not signed")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// Content of the closure is corrupt.
    #[error("an image with corrupt content is not signed")]
    Corrupt(#[source] HashError),
    /// A manifest of the closure cannot be used.
    #[error("manifest {digest} cannot be signed: {problem}")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// Why.
        problem: String,
    },
    /// The key, chain or terms.
    #[error("sealing the signature")]
    Seal(#[source] SignError),
    /// The layout could not be read or written.
    #[error("adding the signature to the layout")]
    Store(#[source] SourceError),
}

/// Is one artifact that is to carry a signature.
#[derive(Debug, Clone)]
struct Artifact {
    /// Its descriptor: media type, digest and size.
    descriptor: Descriptor,
    /// The entry that index.json needs before notation and oras find the signature; `None` where it is listed.
    missing_entry: Option<Value>,
}

/// Signs what the request selects and adds the signatures in one commit.
///
/// # Errors
/// Says why nothing was signed; the layout is then unchanged.
pub fn sign(job: &Job<'_>, now: UnixTime, progress: &dyn Progress) -> Result<Signed, SigningError> {
    if let Some(problem) = &job.survey.invalid {
        return Err(SigningError::Layout {
            problem: problem.clone(),
        });
    }
    let artifacts = select::artifacts(job.survey, &job.request.images, job.request.children)?;
    intact::check(job, &artifacts, progress)?;
    let mut signed = Signed::default();
    let mut addition = Addition::default();
    for artifact in artifacts {
        intact::reread(job.store, &artifact.descriptor)?;
        addition.entries.extend(artifact.missing_entry);
        if job.request.repeat == Repeat::LeaveAlone
            && repeat::is_signed(job, &artifact.descriptor, now)?
        {
            signed.left_alone.push(artifact.descriptor);
            continue;
        }
        let sealed = seal(job, &artifact.descriptor, now)?;
        let digest = sealed.descriptor.digest.clone();
        add(&mut addition, sealed, &job.survey.envelopes);
        signed.added.push((artifact.descriptor, digest));
    }
    if !addition.entries.is_empty() {
        signed.committed = job.store.commit(&addition).map_err(SigningError::Store)?;
    }
    Ok(signed)
}

/// Seals one artifact: only its media type, digest and size are signed.
fn seal(job: &Job<'_>, artifact: &Descriptor, now: UnixTime) -> Result<Sealed, SigningError> {
    let payload = Payload {
        target: Descriptor::new(&artifact.media_type, artifact.digest.clone(), artifact.size),
        metadata: job.request.metadata.clone(),
    };
    let terms = Terms {
        format: job.request.format,
        expiry_seconds: job.request.expiry_seconds,
    };
    job.signer
        .seal(&payload, &terms, now)
        .map_err(SigningError::Seal)
}

/// Adds the three blobs of a signature, in notation's order, and its entry; what its envelope is need not be found out again.
fn add(addition: &mut Addition, sealed: Sealed, envelopes: &Envelopes) {
    let mut entry = sealed.descriptor.to_json();
    if let Some(members) = entry.as_object_mut() {
        let annotations = sealed
            .descriptor
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect();
        members.insert("annotations".to_owned(), Value::Object(annotations));
    }
    let digest = Digest::of(&sealed.envelope);
    envelopes.learn((&digest, sealed.format.media_type()), sealed.intact);
    addition.blobs.push((digest, sealed.envelope));
    let config = EMPTY_CONFIG.to_vec();
    // The first signature of an addition brings it, as its second blob.
    if !addition
        .blobs
        .iter()
        .take(2)
        .any(|(_, bytes)| *bytes == config)
    {
        addition.blobs.push((Digest::of(&config), config));
    }
    addition
        .blobs
        .push((sealed.descriptor.digest.clone(), sealed.manifest));
    addition.entries.push(entry);
}

/// The config blob of a signature manifest.
const EMPTY_CONFIG: &[u8] = b"{}";
