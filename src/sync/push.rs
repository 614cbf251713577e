//! The push, step by step.

use std::collections::HashSet;
use std::thread;

use super::ahead::{self, Candidates};
use super::content;
use super::discover::{self, Discovery};
use super::error::SyncError;
use super::plan::Plan;
use super::pool::Stoppable;
use super::tags;
use crate::layout::{Hashes, Source};
use crate::oci::{Digest, Progress};
use crate::registry::fallback::missing;
use crate::registry::{Counts, Registry};
use crate::report::Admitted;

/// Tells what happens to tags that name another image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagPolicy {
    /// They are moved.
    Move,
    /// They stop the push (`--tag-only-if-absent`).
    OnlyIfAbsent,
}

/// Is a push. It takes an admitted report, so that nothing is pushed that was not judged.
pub struct Push<'a> {
    /// What is pushed.
    pub plan: &'a Plan,
    /// Where bytes are.
    pub source: &'a dyn Source,
    /// What is known of them.
    pub hashes: &'a Hashes,
    /// Where it goes.
    pub registry: &'a Registry,
    /// Connections.
    pub jobs: usize,
    /// What happens to tags.
    pub tags: TagPolicy,
    /// The verdict that lets it go.
    pub admitted: &'a Admitted<'a>,
}

/// Counts what became of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent.
    pub sent: usize,
    /// Mounted from another repository.
    pub mounted: usize,
    /// There already.
    pub present: usize,
    /// Bytes sent.
    pub bytes: u64,
    /// Bytes hashed while sent.
    pub hashed: u64,
}

impl Tally {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent.saturating_add(other.sent),
            mounted: self.mounted.saturating_add(other.mounted),
            present: self.present.saturating_add(other.present),
            bytes: self.bytes.saturating_add(other.bytes),
            hashed: self.hashed.saturating_add(other.hashed),
        }
    }
}

/// Reports what a push did.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Whether everything was there already.
    pub up_to_date: bool,
    /// Blobs.
    pub blobs: Tally,
    /// Manifests.
    pub manifests: Tally,
    /// Referrers that were read back.
    pub referrers: usize,
    /// Subjects whose referrers are listed by tag.
    pub by_tag: usize,
    /// Writes of referrers tags.
    pub tag_writes: usize,
    /// Tags that were set.
    pub tags_set: Vec<String>,
    /// What was sent.
    pub counts: Counts,
}

/// Pushes.
///
/// # Errors
/// Says why it did not end well; no tag was set then, unless the error is about a later tag or a lost referrer.
pub fn push(push: &Push<'_>, progress: &dyn Progress) -> Result<Outcome, SyncError> {
    let progress = Stoppable::new(progress);
    let before = tags::read(push)?;
    let present_roots = roots(push, &before)?;
    let mut outcome = Outcome {
        referrers: push.plan.referrers.values().map(Vec::len).sum(),
        ..Outcome::default()
    };
    let all_tagged =
        before.iter().all(tags::Before::is_done) && present_roots.len() == push.plan.roots.len();
    if all_tagged && is_listed(push)? {
        outcome.up_to_date = true;
        outcome.blobs.present = push.plan.blobs.len();
        outcome.manifests.present = push.plan.manifests.len();
        outcome.counts = push.registry.counts();
        return Ok(outcome);
    }
    let mut discovery = send_all(push, &present_roots, (&mut outcome, &progress))?;
    discover::look_again(push, &mut discovery)?;
    outcome.tags_set = tags::set(push, &before)?;
    // The time that setting the tags took is one more chance to see a lost entry.
    if discovery.writes > 0 && discover::repair(push, &mut discovery)? {
        discover::look_again(push, &mut discovery)?;
    }
    outcome.by_tag = discovery.by_tag.len();
    outcome.tag_writes = discovery.writes;
    outcome.counts = push.registry.counts();
    Ok(outcome)
}

/// Sends what the registry lacks, and makes what refers to it discoverable.
fn send_all(
    push: &Push<'_>,
    roots: &HashSet<Digest>,
    (outcome, progress): (&mut Outcome, &Stoppable<'_>),
) -> Result<Discovery, SyncError> {
    let mut present = content::present(push, roots, progress)?;
    let needed = content::needed(push.plan, &present);
    progress.expect(needed.iter().map(|blob| blob.size).sum());
    outcome.blobs.present = push.plan.blobs.len().saturating_sub(needed.len());
    outcome.manifests.present = push
        .plan
        .manifests
        .iter()
        .filter(|manifest| present.contains(&manifest.digest))
        .count();
    let places = content::locate_all(push, &needed)?;
    let candidates = Candidates::of(push.plan, &present);
    let (small, large): (Vec<_>, Vec<_>) =
        needed.into_iter().partition(|blob| candidates.has(blob));
    let has_layers = !large.is_empty();
    let send_ahead = || match has_layers {
        true => ahead::send(push, &candidates, &present, (&places, progress)),
        false => Ok(None),
    };
    let (ahead, blobs) = if push.jobs == 1 {
        // One connection is what was asked for.
        (
            send_ahead()?,
            content::send_blobs(push, large, &places, progress)?,
        )
    } else {
        let (ahead, blobs) = thread::scope(|scope| {
            let ahead = scope.spawn(send_ahead);
            let blobs = content::send_blobs(push, large, &places, progress);
            (ahead.join(), blobs)
        });
        let blobs = blobs?;
        let ahead = ahead.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        (ahead, blobs)
    };
    outcome.blobs = outcome.blobs.plus(blobs);
    match &ahead {
        Some(ahead) => {
            let (blobs, manifests) = ahead.tallies;
            outcome.blobs = outcome.blobs.plus(blobs);
            outcome.manifests = outcome.manifests.plus(manifests);
            present.extend(ahead.manifests.iter().cloned());
        }
        None => {
            let blobs = content::send_blobs(push, small, &places, progress)?;
            outcome.blobs = outcome.blobs.plus(blobs);
        }
    }
    let rest = push
        .plan
        .manifests
        .iter()
        .filter(|manifest| !present.contains(&manifest.digest))
        .collect();
    let (again, manifests) = content::send_manifests(push, rest, progress)?;
    outcome.blobs = outcome.blobs.plus(again);
    outcome.manifests = outcome.manifests.plus(manifests);
    match ahead {
        // The look before the tags reads every list that was written.
        Some(ahead) if ahead.discovery.writes > 0 => Ok(ahead.discovery),
        _ => discover::ensure_all(push),
    }
}

/// Returns the roots that the registry has; a tag that names one already answers for it.
pub(super) fn roots(
    push: &Push<'_>,
    before: &[tags::Before],
) -> Result<HashSet<Digest>, SyncError> {
    let mut present = HashSet::new();
    for root in &push.plan.roots {
        let digest = &root.descriptor.digest;
        let tagged = before
            .iter()
            .any(|tag| tag.is_done() && tag.root == *digest);
        if tagged || push.registry.resolve(&digest.to_string())?.is_some() {
            present.insert(digest.clone());
        }
    }
    Ok(present)
}

/// Returns whether every referrer is discoverable as things are.
pub(super) fn is_listed(push: &Push<'_>) -> Result<bool, SyncError> {
    for (subject, wanted) in &push.plan.referrers {
        if !missing(push.registry.referrers(subject)?.entries(), wanted).is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}
