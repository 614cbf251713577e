//! Two blobs at once on one core, where there are enough of them to keep all cores busy so.

use std::sync::atomic::Ordering;

use super::pass::{Counted, Found, Pass, Stop, Watch, hash_both};
use super::work::{Begun, Job, current_key, verified};
use super::{CHUNK_BYTES, Hashes};
use crate::oci::{Algorithm, Progress};

/// Below this many bytes a blob is not worth a partner.
const PAIRED_BYTES_MIN: u64 = 8 * CHUNK_BYTES;

/// Is what one thread does at a time.
pub(super) enum Unit<'a, 'b> {
    One(&'a Job<'b>),
    Two(&'a Job<'b>, &'a Job<'b>),
}

impl Unit<'_, '_> {
    /// Returns how long it takes, in bytes that are hashed alone.
    fn cost(&self) -> u64 {
        match self {
            Self::One(job) => job.blob.size(),
            Self::Two(one, other) => {
                let (one, other) = (one.blob.size(), other.blob.size());
                let both = one.min(other).saturating_mul(2);
                (both / 4 * 3).saturating_add(one.abs_diff(other))
            }
        }
    }
}

/// Divides jobs, the largest first, in the way that all threads together are done with first.
pub(super) fn units<'a, 'b>(jobs: &'a [Job<'b>], threads: usize) -> Vec<Unit<'a, 'b>> {
    let alone = || jobs.iter().map(Unit::One).collect::<Vec<_>>();
    let mut units = Vec::new();
    for two in jobs.chunks(2) {
        match two {
            [one, other] if is_worth(one) && is_worth(other) => units.push(Unit::Two(one, other)),
            few => units.extend(few.iter().map(Unit::One)),
        }
    }
    if duration(&units, threads) < duration(&alone(), threads) {
        units
    } else {
        alone()
    }
}

fn is_worth(job: &Job<'_>) -> bool {
    job.algorithm == Algorithm::Sha256 && job.blob.size() >= PAIRED_BYTES_MIN
}

/// Returns when the last of the threads is done, each taking the next unit when it has nothing to do.
fn duration(units: &[Unit<'_, '_>], threads: usize) -> u64 {
    let mut ends = vec![0_u64; threads.max(1)];
    for unit in units {
        if let Some(first) = ends.iter_mut().min() {
            *first = first.saturating_add(unit.cost());
        }
    }
    ends.into_iter().max().unwrap_or(0)
}

impl Hashes {
    /// Hashes two blobs, at once where nothing is known of either and nobody else is at it.
    pub(super) fn hash_two<'b>(&self, jobs: [&Job<'b>; 2], progress: &dyn Progress) {
        let mut counted = [Counted::default(), Counted::default()];
        let done = self.try_two(jobs, progress, &mut counted);
        // What was not hashed, or proves nothing, is hashed alone, as often as it takes.
        for ((job, counted), done) in jobs.into_iter().zip(&mut counted).zip(done) {
            if !done {
                self.hash_job(job, (progress, counted));
            }
        }
    }

    /// Makes one attempt at both, and returns which have their result.
    fn try_two<'b>(
        &self,
        jobs: [&Job<'b>; 2],
        progress: &dyn Progress,
        counted: &mut [Counted; 2],
    ) -> [bool; 2] {
        let keys = jobs.map(|job| current_key(job.blob, job.algorithm));
        let [Some(first), Some(second)] = keys else {
            return [false; 2];
        };
        let turn = self.free_turn(first);
        let (Some(_turn), Some(_other_turn)) = (turn, self.free_turn(second)) else {
            return [false; 2];
        };
        // Another thread may have found it meanwhile.
        if self.entry(&first).is_some() || self.entry(&second).is_some() {
            return [false; 2];
        }
        let begun = jobs.map(|job| self.begin(job.blob, job.algorithm, false).ok());
        let [Some(one), Some(other)] = begun else {
            return [false; 2];
        };
        let [found, other_found] = read_two(jobs, [&one, &other], progress, counted);
        for counted in counted {
            self.bytes_hashed
                .fetch_add(std::mem::take(&mut counted.hashed), Ordering::Relaxed);
        }
        let settle = |job: &Job<'b>, begun, found| match self.end(job.blob, begun, found) {
            Ok(found) => {
                job.answer(verified(job.descriptor, job.blob, found));
                true
            }
            Err(_) => false,
        };
        let [first, second] = jobs;
        [
            settle(first, one, found),
            settle(second, other, other_found),
        ]
    }
}

fn read_two(
    [one, other]: [&Job<'_>; 2],
    [first, second]: [&Begun; 2],
    progress: &dyn Progress,
    [left, right]: &mut [Counted; 2],
) -> [Result<Found, Stop>; 2] {
    let (stands, other_stands) = (|| first.stands(), || second.stands());
    let watch = |stands| Watch { stands, progress };
    let passes = (
        Pass::new(one.blob, one.algorithm, watch(&stands), left),
        Pass::new(other.blob, other.algorithm, watch(&other_stands), right),
    );
    match passes {
        (Ok(pass), Ok(other_pass)) => hash_both(pass, other_pass),
        _ => [Err(Stop::Short), Err(Stop::Short)],
    }
}

#[cfg(test)]
mod tests;
