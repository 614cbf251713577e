//! Which blobs were hashed, how long that stands, and the memory of it across processes. docs/SEMANTICS.md.
//!
//! A result made under a read lease stands while fstat is unchanged and a lease is granted again; one made without leases
//! stands for this process while fstat is unchanged; one made beside a writer, or of a file that had just changed, serves one
//! look and is not kept. Results that do not match their descriptor are kept alike: a corrupt blob is hashed once.

mod chain;
mod look;
mod memory;
mod pair;
mod pass;
mod record;
mod shared;
mod table;
mod verified;
mod work;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub use look::{Known, Look};
pub use verified::{HashError, VerifiedBlob};

use super::{Blob, Identity};
use crate::files::{HeldLease, Refused};
use crate::oci::{Algorithm, Descriptor, NoProgress, Progress};
use memory::Store;
use pass::{Counted, Watch, hash};
use table::Table;
use work::{Busy, Job, check_size, conclude, stopped};

/// Bytes of the chunks whose chaining values are recorded.
pub const CHUNK_BYTES: u64 = 128 << 10;
/// The same as a length.
const CHUNK_LENGTH: usize = 128 << 10;

/// Tells what the kernel's read lease said when a blob was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Granted: nobody could write during the hashing; the result stands while fstat is unchanged and a lease is granted again.
    Granted,
    /// A writer has the file open: the result serves one look.
    Writer,
    /// No leases here: the result stands for this process while fstat is unchanged; never remembered.
    Unavailable,
}

/// Tells where hashes are remembered across processes.
#[derive(Debug, Clone)]
pub enum Memory {
    /// Nowhere (`--no-memory`).
    None,
    /// In this folder (`$XDG_CACHE_HOME/signetfs/hashes`), made when first needed.
    Folder(PathBuf),
}

/// Knows what was hashed. Shared by all threads.
#[derive(Debug)]
pub struct Hashes {
    table: Mutex<Table>,
    store: Option<Store>,
    busy: Mutex<Busy>,
    finished: Condvar,
    bytes_hashed: AtomicU64,
    leases_unavailable: AtomicBool,
}

impl Hashes {
    /// Returns an empty table that remembers in `memory`.
    #[must_use]
    pub fn new(memory: Memory) -> Self {
        Self {
            table: Mutex::default(),
            store: match memory {
                Memory::None => None,
                Memory::Folder(path) => Some(Store::new(path)),
            },
            busy: Mutex::default(),
            finished: Condvar::new(),
            bytes_hashed: AtomicU64::new(0),
            leases_unavailable: AtomicBool::new(false),
        }
    }

    /// Returns the blob as verified if an earlier result still stands; reads no content of files.
    #[must_use]
    pub fn known(&self, descriptor: &Descriptor, blob: &Blob) -> Option<VerifiedBlob> {
        self.known_by(&mut Look::default(), descriptor, blob)
    }

    /// Does the same; what was seen of the blob's file serves the next blob in it.
    #[must_use]
    pub fn known_by(
        &self,
        look: &mut Look,
        descriptor: &Descriptor,
        blob: &Blob,
    ) -> Option<VerifiedBlob> {
        let algorithm = check_size(descriptor, blob).ok()?;
        self.recall(look, descriptor, blob, algorithm)?.ok()
    }

    /// Returns how a blob is known, if an earlier result stands; reads no content of files.
    #[must_use]
    pub fn known_as(&self, look: &mut Look, descriptor: &Descriptor, blob: &Blob) -> Option<Known> {
        let algorithm = check_size(descriptor, blob).ok()?;
        let lease = self.recall_lease(look, descriptor, blob, algorithm)?;
        let is_leased = lease == Lease::Granted;
        Some(Known {
            state: is_leased.then(|| look.state_of(blob)).flatten(),
        })
    }

    /// Returns whether a file in this state turned out to hold other bytes than were hashed.
    #[must_use]
    pub fn is_distrusted(&self, state: &Identity) -> bool {
        self.table().is_distrusted(state)
    }

    /// Returns the blob as verified: by an earlier result that stands, else by hashing it now.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn verify(
        &self,
        descriptor: &Descriptor,
        blob: &Blob,
        progress: &dyn Progress,
    ) -> Result<VerifiedBlob, HashError> {
        self.verify_by(&mut Look::default(), descriptor, blob, progress)
    }

    /// Does the same; what was seen of the blob's file serves the next look at it.
    ///
    /// # Errors
    /// As [`Hashes::verify`].
    pub fn verify_by(
        &self,
        look: &mut Look,
        descriptor: &Descriptor,
        blob: &Blob,
        progress: &dyn Progress,
    ) -> Result<VerifiedBlob, HashError> {
        let algorithm = check_size(descriptor, blob)?;
        if let Some(result) = self.recall(look, descriptor, blob, algorithm) {
            return result;
        }
        progress.expect(blob.size());
        self.hash_now(descriptor, blob, algorithm, progress)
    }

    /// Verifies many blobs on all cores, results in the order of the jobs.
    #[must_use]
    pub fn verify_all(
        &self,
        jobs: &[(Descriptor, Blob)],
        progress: &dyn Progress,
    ) -> Vec<Result<VerifiedBlob, HashError>> {
        let mut results: Vec<_> = jobs.iter().map(|_| None).collect();
        let mut pending = Vec::new();
        let mut look = Look::default();
        for (slot, (descriptor, blob)) in results.iter_mut().zip(jobs) {
            match check_size(descriptor, blob) {
                Err(error) => *slot = Some(Err(error)),
                Ok(algorithm) => match self.recall(&mut look, descriptor, blob, algorithm) {
                    Some(result) => *slot = Some(result),
                    None => {
                        progress.expect(blob.size());
                        let slot = Mutex::new(slot);
                        pending.push(Job {
                            descriptor,
                            blob,
                            algorithm,
                            slot,
                        });
                    }
                },
            }
        }
        drop(look);
        let alone = self.hash_shared(pending, progress);
        self.run(alone, progress);
        let cancelled = |(descriptor, _): &(Descriptor, Blob)| HashError::Cancelled {
            digest: descriptor.digest.clone(),
        };
        // Every job was run; a slot that is empty all the same must not pass for a result.
        results
            .into_iter()
            .zip(jobs)
            .map(|(result, job)| result.unwrap_or_else(|| Err(cancelled(job))))
            .collect()
    }

    /// Writes what may be remembered to the memory's folder.
    ///
    /// # Errors
    /// Returns why the file could not be replaced; nothing depends on it.
    pub fn save(&self) -> io::Result<()> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let fresh = self.table().take_fresh();
        store.save(fresh)
    }

    /// Returns the number of bytes hashed since the start (a counter for tests).
    #[must_use]
    pub fn bytes_hashed(&self) -> u64 {
        self.bytes_hashed.load(Ordering::Relaxed)
    }

    /// Returns whether any blob was judged where no leases are to be had.
    #[must_use]
    pub fn leases_unavailable(&self) -> bool {
        self.leases_unavailable.load(Ordering::Relaxed)
    }

    /// Forgets what is known of a blob whose bytes turned out to be others, so that the next look at it hashes it.
    ///
    /// It takes a disk that rots, or a file system without leases on which somebody writes through a mapping.
    pub fn distrust(&self, blob: &Blob) {
        let Blob::File { file, .. } = blob else {
            return;
        };
        if let Some(identity) = Identity::now(file) {
            self.table().distrust(identity);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a lease for one look.
    fn lease(&self, file: &Arc<OwnedFd>) -> Result<HeldLease, Refused> {
        let lease = HeldLease::take(file);
        if matches!(lease, Err(Refused::Unavailable)) {
            self.leases_unavailable.store(true, Ordering::Relaxed);
        }
        lease
    }

    /// Hashes bytes in memory, which nobody can change.
    fn hash_bytes(
        &self,
        descriptor: &Descriptor,
        blob: &Blob,
        algorithm: Algorithm,
    ) -> Result<VerifiedBlob, HashError> {
        let mut counted = Counted::default();
        let watch = Watch {
            stands: &|| true,
            progress: &NoProgress,
        };
        let found = hash(blob, algorithm, watch, &mut counted);
        self.bytes_hashed
            .fetch_add(counted.hashed, Ordering::Relaxed);
        let found = found.map_err(|stop| stopped(&descriptor.digest, stop))?;
        Ok(VerifiedBlob {
            blob: blob.clone(),
            digest: conclude(descriptor, found.digest)?,
            lease: Lease::Granted,
            stands: true,
            chunks: Arc::default(),
        })
    }
}

#[cfg(test)]
mod tests;
