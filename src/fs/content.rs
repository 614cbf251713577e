//! Blobs: their bytes are bound to their digest. One data path per inode while any handle is open.
//!
//! *Passthrough* lets the kernel read a file whose hash stands by a read lease. *Checked* compares each chunk with its hash
//! before it is answered. Opening never waits for hashing; the first read does, on a worker.

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::handles::Handle;
use super::inputs::Reads;
use super::workers::lock;
use super::{Fs, FsError};
use crate::layout::{Blob, HashError, Identity, Lease, VerifiedBlob};
use crate::oci::{Descriptor, Digest, NoProgress};

/// Blobs smaller than this are read through the page cache of the mount.
pub const PASSTHROUGH_BYTES_MIN: u64 = 64 << 10;

/// Is what the kernel adapter got for a file that the kernel reads itself; dropped after the last handle.
pub type Backing = Arc<dyn Any + Send + Sync>;
/// Registers a file with the kernel.
pub type Register<'a> = &'a mut dyn FnMut(BorrowedFd<'_>) -> io::Result<Backing>;
/// Takes what a read gives, at once or later.
pub type Answer = Box<dyn FnOnce(Result<Vec<u8>, FsError>) + Send>;

type Outcome = Arc<Result<VerifiedBlob, Arc<HashError>>>;
type Waiter = Box<dyn FnOnce(&Outcome) + Send>;
/// Names a state of a blob's file.
type FileState = (u64, Option<Identity>);

/// Is an open handle on the checked path.
pub(super) struct ContentHandle {
    inode: u64,
    descriptor: Descriptor,
    blob: Blob,
    verified: OnceLock<VerifiedBlob>,
}

impl std::fmt::Debug for ContentHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ContentHandle")
            .field("inode", &self.inode)
            .finish()
    }
}

/// Tells how the kernel reads an opened blob.
pub enum Path {
    /// Itself.
    Passthrough(Backing),
    /// Through us; what it keeps of earlier handles is still right.
    Kept,
    /// Through us; what it keeps is dropped, because the file changed.
    Dropped,
}

struct OpenBlob {
    handles: usize,
    identity: Option<Identity>,
    /// The size of the largest of them.
    size: u64,
    backing: Option<Backing>,
}

/// Holds what is known about open blobs.
#[derive(Default)]
pub(super) struct Contents {
    open: Mutex<HashMap<u64, OpenBlob>>,
    /// The state of the file at the last opening of each inode.
    seen: Mutex<HashMap<u64, Option<Identity>>>,
    /// Reads that wait for the same hashing.
    waiting: Mutex<HashMap<FileState, Vec<Waiter>>>,
    passthrough: AtomicBool,
}

impl Fs {
    /// Allows the passthrough path: the kernel has it and this process may use it.
    pub fn allow_passthrough(&self) {
        let allowed = self.options.reads == Reads::Auto;
        self.contents.passthrough.store(allowed, Ordering::Release);
    }

    /// Tells which file system this is, before the first request is served.
    pub fn mounted_as(&self, device: Option<u64>) {
        if let Some(device) = device {
            self.inputs.avoid(device);
        }
    }

    /// Returns whether the passthrough path is in use (an attribute of the root tells it).
    #[must_use]
    pub fn uses_passthrough(&self) -> bool {
        self.contents.passthrough.load(Ordering::Acquire)
    }

    /// Opens a blob for reading, of which the kernel was told a size. Never waits for hashing.
    pub(super) fn open_blob(
        &self,
        (inode, shown): (u64, u64),
        digest: &Digest,
        register: Register<'_>,
    ) -> Result<(u64, Path), FsError> {
        let blob = self
            .source
            .blob(digest)
            .map_err(|error| FsError::Layout(Arc::new(error)))?
            .ok_or_else(|| {
                // It went since the snapshot was made; the next look reads the layout.
                self.doubt_content();
                FsError::NotFound
            })?;
        self.check_end(&blob, shown, digest)?;
        // Any media type will do: the digest and the stored size are what is compared.
        let descriptor = Descriptor::new("", digest.clone(), blob.size());
        let known = self.hashes.known(&descriptor, &blob);
        let backing = self.choose(inode, &blob, known.as_ref(), register)?;
        let now = blob.identity();
        let path = match backing {
            Some(backing) => {
                lock(&self.contents.seen).insert(inode, now);
                let number = self.handles.add(Handle::Passthrough);
                self.counters.passthrough();
                return Ok((number, Path::Passthrough(backing)));
            }
            None => match lock(&self.contents.seen).insert(inode, now) {
                Some(before) if before != now => Path::Dropped,
                _ => Path::Kept,
            },
        };
        let handle = ContentHandle {
            inode,
            descriptor,
            blob,
            verified: known.map(OnceLock::from).unwrap_or_default(),
        };
        self.counters.checked();
        Ok((self.handles.add(Handle::Content(Arc::new(handle))), path))
    }

    /// Checks what no read could tell: the kernel answers reads behind the size it was told without asking, as the end of the file.
    ///
    /// # Errors
    /// `StaleInode` where the file has another size by now: the kernel then asks for the name again. `Corrupt` where it is empty and
    /// should not be.
    fn check_end(&self, blob: &Blob, shown: u64, digest: &Digest) -> Result<(), FsError> {
        if blob.size() != shown {
            self.doubt_content();
            return Err(FsError::StaleInode);
        }
        if shown == 0 && !digest.matches(&[]) {
            let error = HashError::Digest {
                digest: digest.clone(),
                found: Box::new(Digest::of(&[])),
            };
            return Err(self.unsound(digest, Arc::new(error)));
        }
        Ok(())
    }

    /// Returns the size that an inode had when it was opened, as long as it is open: who reads it must not take where it was cut for
    /// its end.
    pub(super) fn size_while_open(&self, inode: u64) -> Option<u64> {
        let open = lock(&self.contents.open);
        open.get(&inode).map(|present| present.size)
    }

    /// Counts a handle, and chooses its data path: the one of the handles already open, else passthrough where it is safe.
    fn choose(
        &self,
        inode: u64,
        blob: &Blob,
        known: Option<&VerifiedBlob>,
        register: Register<'_>,
    ) -> Result<Option<Backing>, FsError> {
        let stands = known.is_some_and(|known| known.stands() && known.lease() == Lease::Granted);
        // Held while a descriptor is registered: both paths on one inode would make the kernel answer EIO for good.
        let mut open = lock(&self.contents.open);
        if let Some(present) = open.get_mut(&inode) {
            let is_same = present.identity == blob.identity();
            if present.backing.is_some() && !(stands && is_same) {
                let digest = known.map(|known| known.digest().clone());
                return Err(FsError::Changed {
                    digest: digest.unwrap_or_else(|| Digest::of(&[])),
                });
            }
            present.handles += 1;
            present.size = present.size.max(blob.size());
            return Ok(present.backing.clone());
        }
        let backing = match whole_file(blob) {
            Some(file) if stands && self.uses_passthrough() => self.register(file, register),
            _ => None,
        };
        let entry = OpenBlob {
            handles: 1,
            identity: blob.identity(),
            size: blob.size(),
            backing: backing.clone(),
        };
        open.insert(inode, entry);
        Ok(backing)
    }

    fn register(&self, file: BorrowedFd<'_>, register: Register<'_>) -> Option<Backing> {
        match register(file) {
            Ok(backing) => Some(backing),
            Err(error) => {
                log::info!("reading through the page cache instead of passthrough: {error}");
                if error.raw_os_error() == Some(libc::EPERM) {
                    self.contents.passthrough.store(false, Ordering::Release);
                }
                None
            }
        }
    }

    /// Counts a handle off.
    pub(super) fn close_blob(&self, inode: u64) {
        let mut open = lock(&self.contents.open);
        let Some(present) = open.get_mut(&inode) else {
            return;
        };
        present.handles = present.handles.saturating_sub(1);
        let closed = (present.handles == 0).then(|| open.remove(&inode));
        // Dropping the backing is a call into the kernel, so not under the lock.
        drop(open);
        drop(closed);
    }

    /// Reads a blob on the checked path; a blob not hashed yet is hashed first, on a worker.
    pub(super) fn read_blob(
        self: &Arc<Self>,
        handle: &Arc<ContentHandle>,
        (offset, size): (u64, usize),
        answer: Answer,
    ) {
        self.counters.read(size);
        if let Some(verified) = handle.verified.get() {
            return answer(self.read_verified(verified, offset, size));
        }
        let (fs, kept) = (Arc::clone(self), Arc::clone(handle));
        let waiter: Waiter = Box::new(move |outcome| {
            let read = match outcome.as_ref() {
                Ok(verified) => {
                    // Another waiter may have been first; both hold the same.
                    let _ = kept.verified.set(verified.clone());
                    fs.read_verified(verified, offset, size)
                }
                Err(error) => Err(fs.unsound(&kept.descriptor.digest, Arc::clone(error))),
            };
            answer(read);
        });
        self.hash_for(handle, waiter);
    }

    /// Adds a waiter for the hashing of a blob, and starts it where nobody did.
    fn hash_for(self: &Arc<Self>, handle: &Arc<ContentHandle>, waiter: Waiter) {
        let key = (handle.inode, handle.blob.identity());
        let mut waiting = lock(&self.contents.waiting);
        if let Some(waiters) = waiting.get_mut(&key) {
            waiters.push(waiter);
            return;
        }
        waiting.insert(key, vec![waiter]);
        drop(waiting);
        let (fs, handle) = (Arc::clone(self), Arc::clone(handle));
        self.workers.readers.run(move || {
            // Dropped waiters answer EIO, so a panic in hashing leaves nobody waiting.
            let waiters = Waiters { fs: &fs, key };
            let verified = fs
                .hashes
                .verify(&handle.descriptor, &handle.blob, &NoProgress);
            let outcome: Outcome = Arc::new(verified.map_err(Arc::new));
            for waiter in waiters.finish() {
                waiter(&outcome);
            }
        });
    }

    fn read_verified(
        &self,
        verified: &VerifiedBlob,
        offset: u64,
        size: usize,
    ) -> Result<Vec<u8>, FsError> {
        verified.read_checked(offset, size).map_err(|error| {
            self.hashes.distrust(verified.blob());
            self.unsound(verified.digest(), Arc::new(error))
        })
    }

    /// Returns the error for a blob that is not what its name says, and makes the status look again.
    fn unsound(&self, digest: &Digest, error: Arc<HashError>) -> FsError {
        log::warn!("{}", crate::oci::causes(&error));
        if self.current().counts_as_good(digest) {
            self.doubt_content();
        }
        FsError::Corrupt {
            digest: digest.clone(),
            source: error,
        }
    }
}

/// Takes the waiters of one hashing, or drops them.
struct Waiters<'a> {
    fs: &'a Fs,
    key: FileState,
}

impl Waiters<'_> {
    /// Takes the waiters to answer them. Whoever waits from now on waits for another hashing, and is not dropped with this one.
    fn finish(self) -> Vec<Waiter> {
        let waiters = self.take();
        std::mem::forget(self);
        waiters
    }

    fn take(&self) -> Vec<Waiter> {
        let mut waiting = lock(&self.fs.contents.waiting);
        waiting.remove(&self.key).unwrap_or_default()
    }
}

impl Drop for Waiters<'_> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Handle {
    /// Returns whether the handle is one on a blob.
    pub(super) fn is_blob(&self) -> bool {
        matches!(self, Self::Content(_) | Self::Passthrough)
    }
}

/// Returns the file of a blob that is a whole, large file.
fn whole_file(blob: &Blob) -> Option<BorrowedFd<'_>> {
    match blob {
        Blob::File {
            file,
            offset: 0,
            size,
            identity,
        } if *size == identity.size && *size >= PASSTHROUGH_BYTES_MIN => Some(file.as_fd()),
        _ => None,
    }
}
