//! Referrers that go ahead of their image, where only the referrers tag lists them.
//!
//! That tag has to be looked at again some time after it was written (`discover`). Written first, it has been there long enough by
//! the time the layers have arrived, and nobody waits. The specification lets a subject come later; what a registry refuses
//! goes in the usual order. <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests-with-subject>

use std::collections::HashSet;

use super::content::{self, Places};
use super::discover::{self, Discovery};
use super::error::SyncError;
use super::plan::{Plan, PlannedManifest};
use super::pool::Stoppable;
use super::push::{Push, Tally};
use crate::oci::{Descriptor, Digest, Progress as _};
use crate::registry::RegistryError;
use crate::registry::referrers::Listing;

/// Bytes of blobs up to which referrers go ahead: larger ones would make the image wait instead.
const AHEAD_BYTES_MAX: u64 = 1 << 20;

/// Is what went ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The manifests that are there now.
    pub manifests: HashSet<Digest>,
    /// What became of blobs and of manifests.
    pub tallies: (Tally, Tally),
    /// What is listed now.
    pub discovery: Discovery,
}

/// Is what may go ahead.
pub(super) struct Candidates<'a> {
    manifests: HashSet<Digest>,
    blobs: Vec<&'a Descriptor>,
}

impl<'a> Candidates<'a> {
    /// Returns what refers to the images, where it is small; nothing otherwise.
    pub(super) fn of(plan: &'a Plan, present: &HashSet<Digest>) -> Self {
        let manifests = referring(plan);
        let blobs = blobs(plan, &manifests, present);
        let bytes: u64 = blobs.iter().map(|blob| blob.size).sum();
        match bytes <= AHEAD_BYTES_MAX {
            true => Self { manifests, blobs },
            false => Self {
                manifests: HashSet::new(),
                blobs: Vec::new(),
            },
        }
    }

    /// Returns whether a blob is among them.
    pub(super) fn has(&self, blob: &Descriptor) -> bool {
        self.blobs
            .iter()
            .any(|candidate| candidate.digest == blob.digest)
    }
}

/// Sends what refers to the images and lists it, where that saves waiting; `None` where nothing went ahead.
pub(super) fn send(
    push: &Push<'_>,
    candidates: &Candidates<'_>,
    present: &HashSet<Digest>,
    (places, progress): (&Places<'_>, &Stoppable<'_>),
) -> Result<Option<Ahead>, SyncError> {
    let Some(subject) = push.plan.referrers.keys().next() else {
        return Ok(None);
    };
    let is_by_tag = !candidates.manifests.is_empty()
        && matches!(push.registry.referrers(subject)?, Listing::Tag(_))
        && push.registry.lists_by_tag_only();
    if !is_by_tag {
        return Ok(None);
    }
    // A refusal here ends this attempt and not the push.
    let own = Stoppable::new(progress);
    match send_now(push, candidates, present, (places, &own)) {
        Ok(ahead) => Ok(Some(ahead)),
        Err(error) if is_refusal(&error) => {
            // The same blobs are done once more in the usual order.
            progress.expect(own.advanced());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_refusal(error: &SyncError) -> bool {
    match error {
        SyncError::Registry(error) => matches!(
            **error,
            RegistryError::Refused { .. } | RegistryError::Denied { .. }
        ),
        _ => false,
    }
}

fn send_now(
    push: &Push<'_>,
    candidates: &Candidates<'_>,
    present: &HashSet<Digest>,
    (places, progress): (&Places<'_>, &Stoppable<'_>),
) -> Result<Ahead, SyncError> {
    let blobs = candidates.blobs.clone();
    let of_blobs = content::send_blobs(push, blobs, places, progress)?;
    match list_now(push, &candidates.manifests, present, progress) {
        Ok(ahead) => Ok(Ahead {
            tallies: (of_blobs.plus(ahead.tallies.0), ahead.tallies.1),
            ..ahead
        }),
        // The blobs are there all the same; only they went ahead.
        Err(error) if is_refusal(&error) => Ok(Ahead {
            tallies: (of_blobs, Tally::default()),
            ..Ahead::default()
        }),
        Err(error) => Err(error),
    }
}

/// Sends the manifests and has them listed.
fn list_now(
    push: &Push<'_>,
    manifests: &HashSet<Digest>,
    present: &HashSet<Digest>,
    progress: &Stoppable<'_>,
) -> Result<Ahead, SyncError> {
    let chosen = push
        .plan
        .manifests
        .iter()
        .filter(|manifest| manifests.contains(&manifest.digest))
        .filter(|manifest| !present.contains(&manifest.digest))
        .collect();
    let tallies = content::send_manifests(push, chosen, progress)?;
    Ok(Ahead {
        manifests: manifests.clone(),
        tallies,
        discovery: discover::ensure_all(push)?,
    })
}

/// Returns the manifests that are listed as referrers, and the children of those that are indexes.
fn referring(plan: &Plan) -> HashSet<Digest> {
    let entries = plan.referrers.values().flatten();
    let mut found: HashSet<Digest> = entries.map(|entry| entry.digest.clone()).collect();
    let by_digest = |digest: &Digest| {
        let mut manifests = plan.manifests.iter();
        manifests.find(|manifest| manifest.digest == *digest)
    };
    let mut open: Vec<&PlannedManifest> = found.iter().filter_map(by_digest).collect();
    while let Some(manifest) = open.pop() {
        for child in manifest.blobs.iter().filter_map(by_digest) {
            if found.insert(child.digest.clone()) {
                open.push(child);
            }
        }
    }
    found
}

fn blobs<'a>(
    plan: &'a Plan,
    manifests: &HashSet<Digest>,
    present: &HashSet<Digest>,
) -> Vec<&'a Descriptor> {
    let others = plan
        .manifests
        .iter()
        .map(|manifest| &manifest.digest)
        .filter(|digest| !manifests.contains(digest));
    let there = present.iter().chain(others).cloned().collect();
    content::needed(plan, &there)
}
