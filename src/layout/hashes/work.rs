//! Hashing: under a lease where there is one, once at a time, on all cores.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::pass::{Counted, Stop, hash};
use super::table::{Entry, Keep, Key};
use super::{HashError, Hashes, Lease, VerifiedBlob};
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

/// Says that an attempt proves nothing.
enum Attempt {
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
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = self.hash_now(job.descriptor, job.blob, job.algorithm, progress);
                **job.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
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

    /// Hashes a blob whose size is right, unless another thread is at it: then its result is waited for.
    pub(super) fn hash_now(
        &self,
        descriptor: &Descriptor,
        blob: &Blob,
        algorithm: Algorithm,
        progress: &dyn Progress,
    ) -> Result<VerifiedBlob, HashError> {
        let Some(key) = current_key(blob, algorithm) else {
            return self.hash_bytes(descriptor, blob, algorithm);
        };
        let _turn = self
            .turn(key, progress)
            .map_err(|stop| stopped(&descriptor.digest, stop))?;
        if let Some(result) = self.recall(descriptor, blob, algorithm) {
            progress.advance(blob.size());
            return result;
        }
        let mut counted = Counted::default();
        let result = self.attempts(blob, algorithm, progress, &mut counted);
        self.bytes_hashed
            .fetch_add(counted.hashed, Ordering::Relaxed);
        let (entry, stands) = result.map_err(|stop| stopped(&descriptor.digest, stop))?;
        Ok(VerifiedBlob {
            blob: blob.clone(),
            digest: conclude(descriptor, entry.digest)?,
            lease: entry.lease,
            stands,
            chunks: entry.chunks,
        })
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
        let Blob::File { file, .. } = blob else {
            return Err(Attempt::Again);
        };
        // Writers may come and go faster than this reads; the last time they are let be, and the result serves one look.
        let held = if is_last {
            Err(Refused::Writer)
        } else {
            self.lease(file)
        };
        let now = Timestamp::now();
        let before = current_key(blob, algorithm).ok_or(Attempt::Again)?;
        let stands = || held.as_ref().map_or(true, HeldLease::stands);
        let found = match hash(blob, algorithm, &stands, progress, counted) {
            Ok(found) => found,
            Err(Stop::Broken | Stop::Short) => return Err(Attempt::Again),
            Err(stop) => return Err(Attempt::Failed(stop)),
        };
        if current_key(blob, algorithm) != Some(before) || !stands() {
            return Err(Attempt::Again);
        }
        let entry = Entry {
            digest: found.digest,
            chunks: found.chunks.into(),
            lease: match held {
                Ok(_) => Lease::Granted,
                Err(Refused::Writer) => Lease::Writer,
                Err(Refused::Unavailable) => Lease::Unavailable,
            },
        };
        let stands = entry.lease != Lease::Writer && before.identity.changed.is_settled(now);
        if stands {
            let keep = self.keep(file, &before, entry.lease);
            self.table().insert(before, entry.clone(), keep);
        }
        Ok((entry, stands))
    }

    /// Returns whether a result that stands may be remembered.
    fn keep(&self, file: &Arc<OwnedFd>, key: &Key, lease: Lease) -> Keep {
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
        while !busy.insert(key) {
            if progress.cancelled() {
                return Err(Stop::Cancelled);
            }
            busy = self
                .finished
                .wait_timeout(busy, WAIT)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(Turn { hashes: self, key })
    }
}

/// Keeps others from hashing the same until it is dropped.
struct Turn<'a> {
    hashes: &'a Hashes,
    key: Key,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.hashes
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
        self.hashes.finished.notify_all();
    }
}

/// Returns the identity of an open file as it is now.
pub(super) fn identity(file: &OwnedFd) -> Option<Identity> {
    crate::files::stat_open(file.as_fd())
        .ok()
        .map(|stat| Identity::from(&stat))
}

fn current_key(blob: &Blob, algorithm: Algorithm) -> Option<Key> {
    let Blob::File {
        file, offset, size, ..
    } = blob
    else {
        return None;
    };
    Some(Key {
        identity: identity(file)?,
        offset: *offset,
        size: *size,
        algorithm,
    })
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
