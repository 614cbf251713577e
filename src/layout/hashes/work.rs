//! Hashing: under a lease where there is one, once at a time, on all cores.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::pair::{Unit, units};
use super::pass::{Counted, Found, Stop, Watch, hash};
use super::table::{Entry, Keep, Key};
use super::{HashError, Hashes, Lease, Look, VerifiedBlob};
use crate::files::{HeldLease, Refused};
use crate::layout::{Blob, Identity, Timestamp};
use crate::oci::{Algorithm, Descriptor, Digest, Progress};

/// How often hashing begins again because a writer came or the file changed; the last time nothing is waited for any more.
const ATTEMPTS_MAX: u32 = 4;
/// Below this many bytes altogether, more threads cost more than they save.
const INLINE_BYTES_MAX: u64 = 1 << 20;
/// How often one who waits for another's hashing looks whether it is cancelled.
const WAIT: Duration = Duration::from_millis(50);

/// Is one blob to be hashed and the place of its result.
pub(super) struct Job<'a> {
    pub(super) descriptor: &'a Descriptor,
    pub(super) blob: &'a Blob,
    pub(super) algorithm: Algorithm,
    pub(super) slot: Mutex<&'a mut Option<Result<VerifiedBlob, HashError>>>,
}

/// Is a hashing under way.
pub(super) struct Begun {
    pub(super) held: Result<HeldLease, Refused>,
    pub(super) at: Timestamp,
    pub(super) before: Key,
}

impl Begun {
    /// Returns whether the lease, if there is one, still stands.
    pub(super) fn stands(&self) -> bool {
        self.held.as_ref().map_or(true, HeldLease::stands)
    }

    /// Returns what the lease said.
    pub(super) fn lease(&self) -> Lease {
        match &self.held {
            Ok(_) => Lease::Granted,
            Err(Refused::Writer) => Lease::Writer,
            Err(Refused::Unavailable) => Lease::Unavailable,
        }
    }
}

/// Says that an attempt proves nothing.
pub(super) enum Attempt {
    /// It may be made again.
    Again,
    /// It failed for good.
    Failed(Stop),
}

impl Hashes {
    /// Runs jobs, the largest first, on as many threads as there are cores.
    pub(super) fn run(&self, mut jobs: Vec<Job<'_>>, progress: &dyn Progress) {
        let total = jobs
            .iter()
            .fold(0_u64, |sum, job| sum.saturating_add(job.blob.size()));
        jobs.sort_by_key(|job| std::cmp::Reverse(job.blob.size()));
        let threads = if total < INLINE_BYTES_MAX {
            1
        } else {
            thread::available_parallelism()
                .map_or(1, usize::from)
                .min(jobs.len())
        };
        let units = units(&jobs, threads);
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                match unit {
                    Unit::One(job) => self.hash_job(job, (progress, &mut Counted::default())),
                    Unit::Two(one, other) => self.hash_two([one, other], progress),
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                // Without another thread this one does all the work.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
    }

    /// Hashes the blob of one job.
    pub(super) fn hash_job(&self, job: &Job<'_>, watched: (&dyn Progress, &mut Counted)) {
        job.answer(self.hash_counted(job.descriptor, job.blob, job.algorithm, watched));
    }

    /// Hashes a blob whose size is right, unless another thread is at it: then its result is waited for.
    pub(super) fn hash_now(
        &self,
        descriptor: &Descriptor,
        blob: &Blob,
        algorithm: Algorithm,
        progress: &dyn Progress,
    ) -> Result<VerifiedBlob, HashError> {
        let mut counted = Counted::default();
        self.hash_counted(descriptor, blob, algorithm, (progress, &mut counted))
    }

    fn hash_counted(
        &self,
        descriptor: &Descriptor,
        blob: &Blob,
        algorithm: Algorithm,
        (progress, counted): (&dyn Progress, &mut Counted),
    ) -> Result<VerifiedBlob, HashError> {
        let Some(key) = current_key(blob, algorithm) else {
            return self.hash_bytes(descriptor, blob, algorithm);
        };
        let _turn = self
            .turn(key, progress)
            .map_err(|stop| stopped(&descriptor.digest, stop))?;
        if let Some(result) = self.recall(&mut Look::default(), descriptor, blob, algorithm) {
            progress.advance(blob.size());
            return result;
        }
        let result = self.attempts(blob, algorithm, progress, counted);
        self.bytes_hashed
            .fetch_add(counted.hashed, Ordering::Relaxed);
        let found = result.map_err(|stop| stopped(&descriptor.digest, stop))?;
        verified(descriptor, blob, found)
    }

    fn attempts(
        &self,
        blob: &Blob,
        algorithm: Algorithm,
        progress: &dyn Progress,
        counted: &mut Counted,
    ) -> Result<(Entry, bool), Stop> {
        for attempt in 1..=ATTEMPTS_MAX {
            let is_last = attempt == ATTEMPTS_MAX;
            match self.attempt(blob, algorithm, (progress, counted), is_last) {
                Ok(result) => return Ok(result),
                Err(Attempt::Failed(stop)) => return Err(stop),
                Err(Attempt::Again) => {}
            }
        }
        Err(Stop::Short)
    }

    /// Hashes a file once; the result is kept if it stands.
    fn attempt(
        &self,
        blob: &Blob,
        algorithm: Algorithm,
        (progress, counted): (&dyn Progress, &mut Counted),
        is_last: bool,
    ) -> Result<(Entry, bool), Attempt> {
        let begun = self.begin(blob, algorithm, is_last)?;
        let watch = Watch {
            stands: &|| begun.stands(),
            progress,
        };
        let found = hash(blob, algorithm, watch, counted);
        self.end(blob, begun, found)
    }

    /// Takes a lease and looks at the file.
    pub(super) fn begin(
        &self,
        blob: &Blob,
        algorithm: Algorithm,
        is_last: bool,
    ) -> Result<Begun, Attempt> {
        let Blob::File { file, .. } = blob else {
            return Err(Attempt::Again);
        };
        // Writers may come and go faster than this reads; the last time they are let be, and the result serves one look.
        let held = if is_last {
            Err(Refused::Writer)
        } else {
            self.lease(file)
        };
        let at = Timestamp::now();
        let before = current_key(blob, algorithm).ok_or(Attempt::Again)?;
        Ok(Begun { held, at, before })
    }

    /// Judges what a reading proves; the result is kept if it stands.
    pub(super) fn end(
        &self,
        blob: &Blob,
        begun: Begun,
        found: Result<Found, Stop>,
    ) -> Result<(Entry, bool), Attempt> {
        let found = match found {
            Ok(found) => found,
            Err(Stop::Broken | Stop::Short) => return Err(Attempt::Again),
            Err(stop) => return Err(Attempt::Failed(stop)),
        };
        let Blob::File { file, .. } = blob else {
            return Err(Attempt::Again);
        };
        let before = begun.before;
        if current_key(blob, before.algorithm) != Some(before) || !begun.stands() {
            return Err(Attempt::Again);
        }
        let entry = Entry {
            digest: found.digest,
            chunks: found.chunks.into(),
            lease: begun.lease(),
        };
        let stands = entry.lease != Lease::Writer && before.identity.changed.is_settled(begun.at);
        if stands {
            let keep = self.keep(file, &before, entry.lease);
            self.table().insert(before, entry.clone(), keep);
        }
        Ok((entry, stands))
    }

    /// Returns whether a result that stands may be remembered.
    pub(super) fn keep(&self, file: &Arc<OwnedFd>, key: &Key, lease: Lease) -> Keep {
        // What has no name is met by no later process.
        let is_named = crate::files::stat_open(file.as_fd()).is_ok_and(|stat| stat.links > 0);
        let remembered = lease == Lease::Granted
            && key.identity.mount.is_some()
            && is_named
            && self
                .store
                .as_ref()
                .is_some_and(|store| store.is_trustworthy(file.as_fd(), key.identity.device));
        if remembered {
            Keep::Remembered
        } else {
            Keep::Process
        }
    }

    /// Waits until nobody else hashes what `key` names.
    fn turn(&self, key: Key, progress: &dyn Progress) -> Result<Turn<'_>, Stop> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.keys.insert(key) {
            if progress.cancelled() {
                return Err(Stop::Cancelled);
            }
            busy.waiting = busy.waiting.saturating_add(1);
            busy = self
                .finished
                .wait_timeout(busy, WAIT)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            busy.waiting = busy.waiting.saturating_sub(1);
        }
        Ok(Turn { hashes: self, key })
    }

    /// Returns the turn for `key` if nobody else hashes it.
    pub(super) fn free_turn(&self, key: Key) -> Option<Turn<'_>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.keys.insert(key).then_some(Turn { hashes: self, key })
    }
}

impl Job<'_> {
    /// Gives the job its result.
    pub(super) fn answer(&self, result: Result<VerifiedBlob, HashError>) {
        **self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

/// Returns a blob as verified, if what was found is what its descriptor says.
pub(super) fn verified(
    descriptor: &Descriptor,
    blob: &Blob,
    (entry, stands): (Entry, bool),
) -> Result<VerifiedBlob, HashError> {
    Ok(VerifiedBlob {
        blob: blob.clone(),
        digest: conclude(descriptor, entry.digest)?,
        lease: entry.lease,
        stands,
        chunks: entry.chunks,
    })
}

/// Says what is being hashed.
#[derive(Debug, Default)]
pub(super) struct Busy {
    keys: HashSet<Key>,
    /// Those who wait for another's hashing.
    waiting: usize,
}

/// Keeps others from hashing the same until it is dropped.
pub(super) struct Turn<'a> {
    hashes: &'a Hashes,
    key: Key,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let busy = &self.hashes.busy;
        let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.keys.remove(&self.key);
        // Waking nobody is a system call too.
        if busy.waiting > 0 {
            self.hashes.finished.notify_all();
        }
    }
}

pub(super) fn current_key(blob: &Blob, algorithm: Algorithm) -> Option<Key> {
    let Blob::File { file, .. } = blob else {
        return None;
    };
    Key::of(blob, Identity::now(file)?, algorithm)
}

/// Returns the algorithm to hash with, if the size is right.
pub(super) fn check_size(descriptor: &Descriptor, blob: &Blob) -> Result<Algorithm, HashError> {
    let digest = &descriptor.digest;
    let Some(algorithm) = digest.algorithm() else {
        return Err(HashError::Unverifiable {
            digest: digest.clone(),
        });
    };
    if blob.size() != descriptor.size {
        return Err(HashError::Size {
            digest: digest.clone(),
            expected: descriptor.size,
            found: blob.size(),
        });
    }
    Ok(algorithm)
}

/// Compares what was found with what is expected.
pub(super) fn conclude(descriptor: &Descriptor, found: Digest) -> Result<Digest, HashError> {
    if found == descriptor.digest {
        Ok(found)
    } else {
        Err(HashError::Digest {
            digest: descriptor.digest.clone(),
            found: Box::new(found),
        })
    }
}

/// Says of which blob hashing ended early.
pub(super) fn stopped(digest: &Digest, stop: Stop) -> HashError {
    let digest = digest.clone();
    match stop {
        Stop::Broken | Stop::Short => HashError::Changed { digest },
        Stop::Cancelled => HashError::Cancelled { digest },
        Stop::Read(source) => HashError::Read { digest, source },
    }
}
