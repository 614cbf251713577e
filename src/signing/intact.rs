//! Only whole images are signed: every blob of the closure has the right size and digest.
//!
//! Not here: hashing itself (`layout::Hashes`).

use std::collections::HashSet;

use super::{Artifact, Job, SigningError, Threads};
use crate::layout::{Blob, HashError, Store};
use crate::oci::graph::Node;
use crate::oci::limits::MANIFEST_BYTES_MAX;
use crate::oci::{Closure, Descriptor, Digest, Graph, Progress};

/// Blobs that are open at a time.
const OPEN_BLOBS_MAX: usize = 256;

/// Checks the closures of all artifacts, each blob once.
///
/// # Errors
/// Names the first blob or manifest that does not hold.
pub(super) fn check(
    job: &Job<'_>,
    artifacts: &[Artifact],
    progress: &dyn Progress,
) -> Result<(), SigningError> {
    let graph = &job.survey.graph;
    // A digest by each size that is given for it: only one can be right.
    let mut seen: HashSet<(Digest, u64)> = HashSet::new();
    let mut wanted = Vec::new();
    for artifact in artifacts {
        let closure = graph.closure(&artifact.descriptor);
        sound(graph, &artifact.descriptor, &closure)?;
        for descriptor in closure.manifests.into_iter().chain(closure.blobs) {
            if seen.insert((descriptor.digest.clone(), descriptor.size)) {
                wanted.push(descriptor);
            }
        }
    }
    // Small ones together, so that all cores have work and few files are open.
    wanted.sort_by_key(|descriptor| std::cmp::Reverse(descriptor.size));
    for batch in wanted.chunks(OPEN_BLOBS_MAX) {
        check_batch(job, batch, progress)?;
    }
    Ok(())
}

fn check_batch(
    job: &Job<'_>,
    batch: &[Descriptor],
    progress: &dyn Progress,
) -> Result<(), SigningError> {
    let jobs = batch
        .iter()
        .map(|descriptor| Ok((descriptor.clone(), stored(job.store, descriptor)?)))
        .collect::<Result<Vec<_>, SigningError>>()?;
    for (descriptor, blob) in &jobs {
        if blob.size() != descriptor.size {
            return Err(SigningError::Corrupt(HashError::Size {
                digest: descriptor.digest.clone(),
                expected: descriptor.size,
                found: blob.size(),
            }));
        }
    }
    hash(job, &jobs, progress)
}

fn hash(
    job: &Job<'_>,
    jobs: &[(Descriptor, Blob)],
    progress: &dyn Progress,
) -> Result<(), SigningError> {
    match job.threads {
        Threads::Many => {
            for result in job.hashes.verify_all(jobs, progress) {
                result.map_err(SigningError::Corrupt)?;
            }
        }
        Threads::One => {
            for (descriptor, blob) in jobs {
                job.hashes
                    .verify(descriptor, blob, progress)
                    .map_err(SigningError::Corrupt)?;
            }
        }
    }
    Ok(())
}

/// Checks that every manifest of the closure is there, holds and parses.
fn sound(graph: &Graph, artifact: &Descriptor, closure: &Closure) -> Result<(), SigningError> {
    let refuse = |digest: &Digest, problem: &str| {
        Err(SigningError::Manifest {
            digest: digest.clone(),
            problem: problem.to_owned(),
        })
    };
    if closure.limit {
        return refuse(&artifact.digest, "a limit on manifests was reached");
    }
    if let Some(digest) = closure.conflicting.first() {
        return refuse(digest, "two descriptors give different sizes for it");
    }
    for manifest in &closure.manifests {
        let digest = &manifest.digest;
        match graph.node(digest) {
            Some(Node::Present { .. }) => {}
            Some(Node::Missing) | None => {
                return Err(SigningError::Missing {
                    digest: digest.clone(),
                });
            }
            Some(Node::Corrupt(problem) | Node::Unreadable(problem)) => {
                return refuse(digest, problem);
            }
            Some(Node::Unverifiable) => return refuse(digest, "its digest cannot be verified"),
            Some(Node::TooLarge) => return refuse(digest, "it is too large"),
            Some(Node::Malformed(error)) => return refuse(digest, &error.to_string()),
        }
    }
    Ok(())
}

/// Reads and hashes a manifest once more at the moment of signing.
///
/// # Errors
/// Says what no longer holds.
pub(super) fn reread(store: &dyn Store, artifact: &Descriptor) -> Result<(), SigningError> {
    let blob = stored(store, artifact)?;
    let bytes = read_whole(&blob, artifact, MANIFEST_BYTES_MAX)?;
    if artifact.digest.matches(&bytes) {
        return Ok(());
    }
    Err(SigningError::Corrupt(HashError::Changed {
        digest: artifact.digest.clone(),
    }))
}

/// Returns where a blob is stored.
///
/// # Errors
/// Refuses one that is not there.
pub(super) fn stored(store: &dyn Store, descriptor: &Descriptor) -> Result<Blob, SigningError> {
    store
        .blob(&descriptor.digest)
        .map_err(SigningError::Store)?
        .ok_or_else(|| SigningError::Missing {
            digest: descriptor.digest.clone(),
        })
}

/// Reads a blob whole if it has exactly the size that its descriptor gives, and no more than `limit`.
///
/// # Errors
/// Refuses another size, and what cannot be read.
pub(crate) fn read_whole(
    blob: &Blob,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, SigningError> {
    let size = blob.size();
    if size != descriptor.size || size > limit {
        return Err(SigningError::Corrupt(HashError::Size {
            digest: descriptor.digest.clone(),
            expected: descriptor.size.min(limit),
            found: size,
        }));
    }
    let failed = |source| {
        SigningError::Corrupt(HashError::Read {
            digest: descriptor.digest.clone(),
            source,
        })
    };
    let length = usize::try_from(size)
        .map_err(|_| failed(std::io::Error::from(std::io::ErrorKind::FileTooLarge)))?;
    let mut bytes = vec![0; length];
    let mut done = 0_usize;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let offset = u64::try_from(done).unwrap_or(u64::MAX);
        match blob.read_at(rest, offset).map_err(failed)? {
            0 => {
                return Err(failed(std::io::Error::from(
                    std::io::ErrorKind::UnexpectedEof,
                )));
            }
            count => done = done.saturating_add(count),
        }
    }
    Ok(bytes)
}
