//! What a push would do: asked of the registry, nothing written (`--dry-run`, `--check`).

use super::content;
use super::error::SyncError;
use super::pool::Stoppable;
use super::push::{Push, roots};
use super::tags;
use crate::oci::{Digest, NoProgress};
use crate::registry::fallback::missing;

/// Is what differs between a layout and a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Blobs that would be sent, with their sizes.
    pub blobs: Vec<(Digest, u64)>,
    /// Manifests that would be sent.
    pub manifests: Vec<Digest>,
    /// Referrers that are not listed, with their subjects.
    pub unlisted: Vec<(Digest, Digest)>,
    /// Tags that would be set, with what they name now.
    pub tags: Vec<(String, Option<Digest>)>,
}

impl Comparison {
    /// Returns whether there is nothing to do.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares.
///
/// # Errors
/// Says why the registry did not answer.
pub fn compare(push: &Push<'_>) -> Result<Comparison, SyncError> {
    let progress = Stoppable::new(&NoProgress);
    let before = tags::read(push)?;
    let present = content::present(push, &roots(push, &before)?, &progress)?;
    let mut comparison = Comparison::default();
    for blob in content::needed(push.plan, &present) {
        if !push.registry.has_blob(&blob.digest, blob.size)? {
            comparison.blobs.push((blob.digest.clone(), blob.size));
        }
    }
    let manifests = push.plan.manifests.iter().map(|manifest| &manifest.digest);
    comparison.manifests = manifests
        .filter(|digest| !present.contains(digest))
        .cloned()
        .collect();
    for (subject, wanted) in &push.plan.referrers {
        let listing = push.registry.referrers(subject)?;
        let lost = missing(listing.entries(), wanted);
        comparison.unlisted.extend(
            lost.into_iter()
                .map(|entry| (entry.digest.clone(), subject.clone())),
        );
    }
    let tags = before.into_iter().filter(|tag| !tag.is_done());
    comparison.tags = tags.map(|tag| (tag.tag, tag.named)).collect();
    Ok(comparison)
}
