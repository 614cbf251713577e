//! Blobs and manifests on their way: what the registry has is left alone, the rest is sent.

use std::collections::{HashMap, HashSet};

use super::error::SyncError;
use super::plan::{Plan, PlannedManifest};
use super::pool::{self, Stoppable, Weighed};
use super::push::{Push, Tally};
use crate::layout::Blob;
use crate::oci::{Descriptor, Digest, Progress};
use crate::registry::blobs::Uploaded;
use crate::registry::{RegistryError, Trusted, Upload};

impl Weighed for &PlannedManifest {
    fn bytes(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }
}

impl Weighed for &Descriptor {
    fn bytes(&self) -> u64 {
        self.size
    }
}

/// Returns the manifests that the registry has: those of closures whose root it has, and those it says it has.
pub(super) fn present(
    push: &Push<'_>,
    roots: &HashSet<Digest>,
    progress: &Stoppable<'_>,
) -> Result<HashSet<Digest>, SyncError> {
    let closures = &push.plan.closures;
    let mut present: HashSet<Digest> = roots
        .iter()
        .filter_map(|root| closures.get(root))
        .flatten()
        .cloned()
        .collect();
    let known_absent: HashSet<&Digest> = push
        .plan
        .roots
        .iter()
        .map(|root| &root.descriptor.digest)
        .filter(|digest| !roots.contains(digest))
        .collect();
    let asked = push
        .plan
        .manifests
        .iter()
        .filter(|manifest| {
            !present.contains(&manifest.digest) && !known_absent.contains(&manifest.digest)
        })
        .collect();
    let found = pool::run(
        asked,
        push.jobs,
        progress,
        &|manifest: &&PlannedManifest| {
            let there = push.registry.resolve(&manifest.digest.to_string())?;
            Ok::<_, SyncError>(there.map(|_| manifest.digest.clone()))
        },
    )?;
    present.extend(found.into_iter().flatten());
    Ok(present)
}

/// Returns the blobs of the manifests that the registry lacks.
pub(super) fn needed<'a>(plan: &'a Plan, present: &HashSet<Digest>) -> Vec<&'a Descriptor> {
    let wanted: HashSet<&Digest> = plan
        .manifests
        .iter()
        .filter(|manifest| !present.contains(&manifest.digest))
        .flat_map(|manifest| &manifest.blobs)
        .collect();
    plan.blobs
        .iter()
        .filter(|blob| wanted.contains(&blob.digest))
        .collect()
}

/// Is where each blob is in the layout, if it is.
pub(super) type Places<'a> = HashMap<&'a Digest, Option<Blob>>;

/// Finds all blobs; what does not even have the right size is found before anything is sent.
pub(super) fn locate_all<'a>(
    push: &Push<'_>,
    blobs: &[&'a Descriptor],
) -> Result<Places<'a>, SyncError> {
    blobs
        .iter()
        .map(|descriptor| Ok((&descriptor.digest, locate(push, descriptor)?)))
        .collect()
}

/// Sends the blobs that the registry lacks.
pub(super) fn send_blobs(
    push: &Push<'_>,
    blobs: Vec<&Descriptor>,
    places: &Places<'_>,
    progress: &Stoppable<'_>,
) -> Result<Tally, SyncError> {
    let results = pool::run(blobs, push.jobs, progress, &|descriptor: &&Descriptor| {
        let blob = places.get(&descriptor.digest).and_then(Option::as_ref);
        send_blob(push, descriptor, blob, progress)
    })?;
    Ok(results.into_iter().fold(Tally::default(), Tally::plus))
}

/// Returns where a blob is in the layout, if it is.
fn locate(push: &Push<'_>, descriptor: &Descriptor) -> Result<Option<Blob>, SyncError> {
    let digest = || descriptor.digest.clone();
    if descriptor.digest.algorithm().is_none() {
        return Err(SyncError::Unverifiable { digest: digest() });
    }
    let stored = push
        .source
        .blob(&descriptor.digest)
        .map_err(SyncError::Source)?;
    let embedded = || {
        descriptor
            .data
            .as_ref()
            .map(|data| Blob::Bytes(data.as_slice().into()))
    };
    let Some(blob) = stored.or_else(embedded) else {
        return Ok(None);
    };
    if blob.size() != descriptor.size {
        return Err(SyncError::Size {
            digest: digest(),
            expected: descriptor.size,
            found: blob.size(),
        });
    }
    Ok(Some(blob))
}

fn send_blob(
    push: &Push<'_>,
    descriptor: &Descriptor,
    blob: Option<&Blob>,
    progress: &Stoppable<'_>,
) -> Result<Tally, SyncError> {
    if push
        .registry
        .has_blob(&descriptor.digest, descriptor.size)?
    {
        progress.advance(descriptor.size);
        return Ok(Tally {
            present: 1,
            ..Tally::default()
        });
    }
    let digest = || descriptor.digest.clone();
    let Some(blob) = blob else {
        return Err(SyncError::Missing { digest: digest() });
    };
    let trusted = match push.hashes.known(descriptor, blob) {
        Some(_) => Trusted::Remembered,
        None => Trusted::Hashed,
    };
    let upload = Upload::new(&descriptor.digest, blob, trusted, progress)
        .ok_or_else(|| SyncError::Unverifiable { digest: digest() })?;
    let tally = Tally::default();
    Ok(match push.registry.upload(&upload)? {
        Uploaded::Mounted => Tally {
            mounted: 1,
            ..tally
        },
        Uploaded::Sent if trusted == Trusted::Remembered => Tally {
            sent: 1,
            bytes: descriptor.size,
            ..tally
        },
        Uploaded::Sent => Tally {
            sent: 1,
            bytes: descriptor.size,
            hashed: descriptor.size,
            ..tally
        },
    })
}

/// Puts manifests by digest, round after round; returns what became of blobs that had to be sent again, and of manifests.
pub(super) fn send_manifests(
    push: &Push<'_>,
    mut rest: Vec<&PlannedManifest>,
    progress: &Stoppable<'_>,
) -> Result<(Tally, Tally), SyncError> {
    let (mut blobs, mut manifests) = (Tally::default(), Tally::default());
    while let Some(round) = rest.first().map(|manifest| manifest.round) {
        let (now, later): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|manifest| manifest.round == round);
        manifests.sent = manifests.sent.saturating_add(now.len());
        let again = pool::run(now, push.jobs, progress, &|manifest: &&PlannedManifest| {
            put(push, manifest, progress)
        })?;
        blobs = again.into_iter().fold(blobs, Tally::plus);
        rest = later;
    }
    Ok((blobs, manifests))
}

/// Puts a manifest. A registry that has lost a part of it meanwhile is given the part again, once; returns what was.
fn put(
    push: &Push<'_>,
    manifest: &PlannedManifest,
    progress: &Stoppable<'_>,
) -> Result<Tally, SyncError> {
    let name = manifest.digest.to_string();
    let put = manifest.put(&name);
    match push.registry.put_manifest(&put) {
        Err(RegistryError::Refused { status, answer, .. }) if is_part_missing(status, &answer) => {
            let parts = push
                .plan
                .blobs
                .iter()
                .filter(|blob| manifest.blobs.contains(&blob.digest));
            let mut again = Tally::default();
            for part in parts {
                let blob = locate(push, part)?;
                // It was expected once and is done once more.
                progress.expect(part.size);
                again = again.plus(send_blob(push, part, blob.as_ref(), progress)?);
            }
            push.registry.put_manifest(&put)?;
            // Parts that are there were counted before.
            Ok(Tally {
                present: 0,
                ..again
            })
        }
        Err(other) => Err(other.into()),
        Ok(_) => Ok(Tally::default()),
    }
}

fn is_part_missing(status: u16, answer: &str) -> bool {
    matches!(status, 400 | 404)
        && [
            "MANIFEST_BLOB_UNKNOWN",
            "DIGEST_INVALID",
            "BLOB_UNKNOWN",
            "MANIFEST_UNKNOWN",
        ]
        .iter()
        .any(|code| answer.contains(code))
}
