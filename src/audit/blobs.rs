//! Looking at every blob of the closures, each once: by what is known of it, or by hashing it.

use std::collections::HashMap;
use std::sync::Arc;

use super::content::{Flaw, missing, pending, unverifiable};
use super::cores::{on_all_cores, on_all_cores_with};
use super::{Asked, Content, Seen};
use crate::layout::{Blob, HashError, Hashes, Identity, Known, Look};
use crate::oci::{Closure, Descriptor, Digest, Progress, causes};
use crate::report::Verdict;

/// Blobs that are open at a time.
const OPEN_BLOBS_MAX: usize = 128;

/// Blobs of fewer bytes are small: what the kernel is asked for each takes longer than hashing it.
const SMALL_BYTES: u64 = 8 << 10;

/// Small blobs that one core has open at a time.
const OPEN_SMALL_MAX: usize = 32;

/// Is what was found about each blob, by digest and size.
pub(super) type Blobs<'a> = HashMap<Stored<'a>, Option<Box<Flaw>>>;

/// Is a blob by digest and size, as descriptors name it.
type Stored<'a> = (&'a Digest, u64);

/// Is a blob, and what is wrong with it.
type Found<'a> = (Stored<'a>, Option<Box<Flaw>>);

/// Judges every blob of some closures, each once; says what was seen of those that were judged by what is known of them.
pub(super) fn judge_blobs<'a>(
    asked: &Asked<'_>,
    hashes: &Hashes,
    progress: &dyn Progress,
    closures: impl Iterator<Item = &'a Arc<Closure>>,
) -> (Blobs<'a>, Seen) {
    let mut blobs = Blobs::new();
    if asked.content == Content::Manifests {
        return (blobs, Seen::default());
    }
    let mut wanted = Vec::new();
    for descriptor in closures.flat_map(|closure| &closure.blobs) {
        let key = (&descriptor.digest, descriptor.size);
        if blobs.insert(key, None).is_none() {
            wanted.push(descriptor);
        }
    }
    if asked.content == Content::Known {
        let seen = look_up_all(asked, hashes, wanted, &mut blobs);
        return (blobs, seen);
    }
    // The largest go first, so that no core waits long for another at the end.
    wanted.sort_by_key(|descriptor| std::cmp::Reverse(descriptor.size));
    let large = wanted.partition_point(|descriptor| descriptor.size >= SMALL_BYTES);
    let (large, small) = wanted.split_at(large);
    let judge = |batch: &&[_]| judge_batch(asked, hashes, progress, batch);
    // Each batch of large ones keeps all cores at work by itself.
    for batch in large.chunks(OPEN_BLOBS_MAX) {
        blobs.extend(judge(&batch));
    }
    let batches: Vec<_> = small.chunks(OPEN_SMALL_MAX).collect();
    blobs.extend(on_all_cores(&batches, &judge).into_iter().flatten());
    (blobs, Seen::default())
}

/// Judges blobs by what is known of them.
fn look_up_all<'a>(
    asked: &Asked<'_>,
    hashes: &Hashes,
    mut wanted: Vec<&'a Descriptor>,
    blobs: &mut Blobs<'a>,
) -> Seen {
    wanted.sort_unstable_by(|one, other| one.digest.cmp(&other.digest));
    let look_at = |look: &mut Look, descriptor: &&Descriptor| {
        let blob = open(asked, descriptor).map_err(Box::new)?;
        let known = hashes.known_as(look, descriptor, &blob);
        known.ok_or_else(|| Box::new(pending()))
    };
    let found = on_all_cores_with(&wanted, Look::default, &look_at);
    let mut judged = wanted.iter();
    let state_of = |known: Result<Known, Box<Flaw>>| match (known, judged.next()) {
        (Ok(known), _) => known.state,
        (Err(flaw), descriptor) => {
            let key = descriptor.map(|descriptor| (&descriptor.digest, descriptor.size));
            blobs.extend(key.map(|key| (key, Some(flaw))));
            None
        }
    };
    // The states stand where the results stood.
    let states: Vec<Option<Identity>> = found.into_iter().map(state_of).collect();
    match asked.source.tells_states() {
        true => Seen::of(wanted.into_iter().cloned().collect(), states),
        false => Seen::default(),
    }
}

/// Hashes some blobs, and returns those that something is wrong with.
fn judge_batch<'a>(
    asked: &Asked<'_>,
    hashes: &Hashes,
    progress: &dyn Progress,
    batch: &[&'a Descriptor],
) -> Vec<Found<'a>> {
    let mut flaws = Vec::new();
    let mut jobs = Vec::new();
    let mut keys = Vec::new();
    for descriptor in batch {
        let key = (&descriptor.digest, descriptor.size);
        match open(asked, descriptor) {
            Err(flaw) => flaws.push((key, Some(Box::new(flaw)))),
            Ok(blob) => {
                jobs.push(((*descriptor).clone(), blob));
                keys.push(key);
            }
        }
    }
    if jobs.is_empty() {
        return flaws;
    }
    let results = hashes.verify_all(&jobs, progress);
    // A result that is not there must not pass.
    let missing = keys.len().saturating_sub(results.len());
    let found = results
        .into_iter()
        .map(|result| result.err().map(|error| flaw_of(&error)))
        .chain(std::iter::repeat_n(Some(pending()), missing));
    let wrong = keys
        .into_iter()
        .zip(found)
        .filter_map(|(key, flaw)| Some((key, Some(Box::new(flaw?)))));
    flaws.extend(wrong);
    flaws
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
            problem: format!(
                "it has {} bytes, its descriptor says {}",
                blob.size(),
                descriptor.size
            ),
        }),
        Ok(None) if descriptor.has_urls => Err(missing(
            "missing, external: its content is at other places only, which are never asked",
        )),
        Ok(None) => Err(missing("missing")),
        Err(error) => Err(Flaw {
            verdict: Verdict::Corrupt,
            check: "read",
            problem: causes(&error),
        }),
    }
}

fn flaw_of(error: &HashError) -> Flaw {
    let (verdict, check, problem) = match error {
        HashError::Cancelled { .. } => return pending(),
        HashError::Unverifiable { .. } => return unverifiable(),
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
    Flaw {
        verdict,
        check,
        problem,
    }
}
