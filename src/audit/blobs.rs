//! Looking at every blob of the closures, each once: by what is known of it, or by hashing it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::content::{Flaw, missing, unverifiable};
use super::cores::{on_all_cores, on_all_cores_with};
use super::{Asked, Content, Seen};
use crate::layout::{Blob, HashError, Hashes, Look};
use crate::oci::rank::{Ranked, rank};
use crate::oci::{Closure, Descriptor, Progress, causes};
use crate::report::Verdict;

/// Blobs that are open at a time.
const OPEN_BLOBS_MAX: usize = 128;

/// Blobs of fewer bytes are small: what the kernel is asked for each takes longer than hashing it.
const SMALL_BYTES: u64 = 8 << 10;

/// Small blobs that one core has open at a time.
const OPEN_SMALL_MAX: usize = 32;

/// Is what was found about each blob, by digest and size.
#[derive(Default)]
pub(super) struct Blobs<'a> {
    /// The blobs, sorted by digest, those of one digest by size.
    wanted: Vec<Ranked<&'a Descriptor>>,
    /// What was found about each of them.
    found: Vec<Found>,
}

/// Tells what was found about a blob.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// It is what its descriptor says.
    Good,
    /// It was not hashed yet.
    Pending,
    /// Something is wrong with it.
    Wrong(Box<Flaw>),
}

impl From<Flaw> for Found {
    fn from(flaw: Flaw) -> Self {
        Self::Wrong(Box::new(flaw))
    }
}

impl<'a> Blobs<'a> {
    /// Takes every blob of some closures, each once; nothing is found about any of them yet.
    fn of(closures: impl Iterator<Item = &'a Arc<Closure>>) -> Self {
        let blobs = closures.flat_map(|closure| &closure.blobs);
        let blobs = blobs.map(|descriptor| (rank(&descriptor.digest), descriptor));
        let mut wanted: Vec<Ranked<&Descriptor>> = blobs.collect();
        wanted.sort_by(|(one_rank, one), (other_rank, other)| {
            one_rank.cmp(other_rank).then_with(|| order(one, other))
        });
        // Two ranks tell without fetching what they are of.
        wanted.dedup_by(|(one_rank, one), (other_rank, other)| {
            one_rank == other_rank && order(one, other).is_eq()
        });
        Self {
            found: vec![Found::Pending; wanted.len()],
            wanted,
        }
    }

    /// Returns what was found about a blob; nothing was about one that was not looked for.
    pub(super) fn found(&self, descriptor: &Descriptor) -> &Found {
        let wanted_rank = rank(&descriptor.digest);
        let place = self.wanted.binary_search_by(|(rank, wanted)| {
            let ranks = rank.cmp(&wanted_rank);
            ranks.then_with(|| order(wanted, descriptor))
        });
        let found = place.ok().and_then(|place| self.found.get(place));
        found.unwrap_or(&Found::Pending)
    }
}

fn order(one: &Descriptor, other: &Descriptor) -> Ordering {
    let digests = one.digest.cmp(&other.digest);
    digests.then_with(|| one.size.cmp(&other.size))
}

/// Judges every blob of some closures, each once; says what was seen of those that were judged by what is known of them.
pub(super) fn judge_blobs<'a>(
    asked: &Asked<'_>,
    hashes: &Hashes,
    progress: &dyn Progress,
    closures: impl Iterator<Item = &'a Arc<Closure>>,
) -> (Blobs<'a>, Seen) {
    if asked.content == Content::Manifests {
        return (Blobs::default(), Seen::default());
    }
    let mut blobs = Blobs::of(closures);
    if asked.content == Content::Known {
        let seen = look_up_all(asked, hashes, &mut blobs);
        return (blobs, seen);
    }
    let mut queue: Vec<(&Descriptor, usize)> = Vec::with_capacity(blobs.wanted.len());
    queue.extend(
        blobs
            .wanted
            .iter()
            .zip(0..)
            .map(|((_, blob), place)| (*blob, place)),
    );
    // The largest go first, so that no core waits long for another at the end.
    queue.sort_by_key(|(descriptor, _)| std::cmp::Reverse(descriptor.size));
    let large = queue.partition_point(|(descriptor, _)| descriptor.size >= SMALL_BYTES);
    let (large, small) = queue.split_at(large);
    let judge = |batch: &&[_]| judge_batch(asked, hashes, progress, batch);
    // Each batch of large ones keeps all cores at work by itself.
    for batch in large.chunks(OPEN_BLOBS_MAX) {
        note(&mut blobs.found, judge(&batch));
    }
    let batches: Vec<_> = small.chunks(OPEN_SMALL_MAX).collect();
    for found in on_all_cores(&batches, &judge) {
        note(&mut blobs.found, found);
    }
    (blobs, Seen::default())
}

fn note(all: &mut [Found], found: Vec<(usize, Found)>) {
    for (place, found) in found {
        if let Some(place) = all.get_mut(place) {
            *place = found;
        }
    }
}

/// Judges blobs by what is known of them.
fn look_up_all(asked: &Asked<'_>, hashes: &Hashes, blobs: &mut Blobs<'_>) -> Seen {
    let look_at = |look: &mut Look, descriptor: &Descriptor| {
        let blob = match open(asked, descriptor) {
            Ok(blob) => blob,
            Err(flaw) => return (Found::from(flaw), None),
        };
        match hashes.known_as(look, descriptor, &blob) {
            Some(known) => (Found::Good, known.state),
            None => (Found::Pending, None),
        }
    };
    let wanted = &blobs.wanted;
    if !asked.source.tells_states() {
        // Without the states, of which each takes more room than all else.
        let find = |look: &mut Look, (_, blob): &Ranked<&Descriptor>| look_at(look, blob).0;
        blobs.found = on_all_cores_with(wanted, Look::default, &find);
        return Seen::default();
    }
    let find = |look: &mut Look, (_, blob): &Ranked<&Descriptor>| look_at(look, blob);
    let found = on_all_cores_with(wanted, Look::default, &find);
    let (found, states) = found.into_iter().unzip();
    blobs.found = found;
    let descriptors = wanted.iter().map(|(_, descriptor)| (*descriptor).clone());
    Seen::of(descriptors.collect(), states)
}

/// Hashes some blobs, and returns what was found about each.
fn judge_batch(
    asked: &Asked<'_>,
    hashes: &Hashes,
    progress: &dyn Progress,
    batch: &[(&Descriptor, usize)],
) -> Vec<(usize, Found)> {
    let mut found = Vec::with_capacity(batch.len());
    let mut jobs = Vec::with_capacity(batch.len());
    let mut places = Vec::with_capacity(batch.len());
    for (descriptor, place) in batch {
        match open(asked, descriptor) {
            Err(flaw) => found.push((*place, Found::from(flaw))),
            Ok(blob) => {
                jobs.push(((*descriptor).clone(), blob));
                places.push(*place);
            }
        }
    }
    if jobs.is_empty() {
        return found;
    }
    // What has no result stays as it is, and that is pending.
    let results = hashes.verify_all(&jobs, progress).into_iter();
    let results = results.map(|result| match result {
        Ok(_) => Found::Good,
        Err(error) => found_by(&error),
    });
    found.extend(places.into_iter().zip(results));
    found
}

fn open(asked: &Asked<'_>, descriptor: &Descriptor) -> Result<Blob, Flaw> {
    if descriptor.digest.algorithm().is_none() {
        return Err(unverifiable());
    }
    match asked.source.blob(&descriptor.digest) {
        Ok(Some(blob)) if blob.size() == descriptor.size => Ok(blob),
        Ok(Some(blob)) => Err(Flaw {
            verdict: Verdict::Corrupt,
            check: "size",
            problem: Cow::Owned(format!(
                "it has {} bytes, its descriptor says {}",
                blob.size(),
                descriptor.size
            )),
        }),
        Ok(None) if descriptor.has_urls => Err(missing(
            "missing, external: its content is at other places only, which are never asked",
        )),
        Ok(None) => Err(missing("missing")),
        Err(error) => Err(Flaw {
            verdict: Verdict::Corrupt,
            check: "read",
            problem: Cow::Owned(causes(&error)),
        }),
    }
}

fn found_by(error: &HashError) -> Found {
    let (verdict, check, problem) = match error {
        HashError::Cancelled { .. } => return Found::Pending,
        HashError::Unverifiable { .. } => return unverifiable().into(),
        HashError::Size {
            expected, found, ..
        } => (
            Verdict::Corrupt,
            "size",
            format!("it has {found} bytes, its descriptor says {expected}"),
        ),
        HashError::Digest { found, .. } => (
            Verdict::Corrupt,
            "digest",
            format!("its content has the digest {found}"),
        ),
        HashError::Changed { .. } => (
            Verdict::Corrupt,
            "digest",
            "it changed while it was read".to_owned(),
        ),
        HashError::Read { .. } => (Verdict::Corrupt, "read", causes(error)),
    };
    Found::from(Flaw {
        verdict,
        check,
        problem: Cow::Owned(problem),
    })
}
