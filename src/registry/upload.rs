//! A blob on its way: what is known of it, over all the requests that it takes.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::body::Part;
use crate::layout::{Blob, Timestamp};
use crate::oci::{Digest, Hasher, Progress};

/// Tells whether the bytes are known to have their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    /// Remembered: not hashed again. The registry checks, as it always does.
    Remembered,
    /// Hashed while sent.
    Hashed,
}

/// Is a blob to be sent.
pub struct Upload<'a> {
    /// Its digest.
    pub digest: &'a Digest,
    /// Where its bytes are.
    pub blob: &'a Blob,
    pub(super) progress: &'a dyn Progress,
    state: Mutex<State>,
    failure: Mutex<Option<Failed>>,
    /// Whether places were handed over: what the file holds there may change before it is sent.
    pub(super) handed: AtomicBool,
    /// Whether all bytes are read and hashed from now on.
    reads_only: AtomicBool,
    /// How much of the blob was reported as done.
    reported: AtomicU64,
    /// How many bytes connections were given, those given again included.
    given: AtomicU64,
}

/// Says why a body was cut short by this side.
#[derive(Debug)]
pub enum Failed {
    /// The bytes have another digest.
    Corrupt,
    /// The bytes cannot be read.
    Read(io::Error),
    /// The file was changed after its bytes were hashed, maybe before they were sent; the next body is read instead.
    Changed,
    /// The work was given up.
    Cancelled,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A blob that ends early is not what its digest names.
            io::ErrorKind::UnexpectedEof => Self::Corrupt,
            _ => Self::Read(error),
        }
    }
}

enum State {
    /// Everything before this offset went into this hasher.
    Hashing(u64, Box<Hasher>),
    /// The bytes have their digest.
    Known,
}

impl<'a> Upload<'a> {
    /// Returns an upload; `None` where the digest cannot be verified.
    #[must_use]
    pub fn new(
        digest: &'a Digest,
        blob: &'a Blob,
        trusted: Trusted,
        progress: &'a dyn Progress,
    ) -> Option<Self> {
        let state = match trusted {
            Trusted::Remembered => State::Known,
            Trusted::Hashed => State::Hashing(0, Box::new(Hasher::new(digest.algorithm()?))),
        };
        Some(Self {
            digest,
            blob,
            progress,
            state: Mutex::new(state),
            failure: Mutex::default(),
            handed: AtomicBool::new(false),
            reads_only: AtomicBool::new(false),
            reported: AtomicU64::new(0),
            given: AtomicU64::new(0),
        })
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blob.size()
    }

    /// Returns a part of the blob as a body.
    #[must_use]
    pub fn part(&'a self, start: u64, end: u64) -> Part<'a> {
        Part {
            upload: self,
            start,
            end,
        }
    }

    /// Takes note that a connection was given bytes up to `end` of the blob.
    pub(super) fn gave(&self, bytes: u64, end: u64) {
        self.given.fetch_add(bytes, Ordering::Relaxed);
        self.reached(end);
    }

    /// Reports the blob as done up to `end`: each byte once, however often it is sent.
    pub(super) fn reached(&self, end: u64) {
        let before = self.reported.fetch_max(end, Ordering::Relaxed);
        self.progress.advance(end.saturating_sub(before));
    }

    /// Returns how many bytes connections were given, those given again included.
    pub(super) fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// Takes why this side cut a body short, where it did.
    pub fn take_failure(&self) -> Option<Failed> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Hashes the whole blob and says whether it has its digest.
    ///
    /// # Errors
    /// Returns what reading returns.
    pub fn matches_now(&self) -> io::Result<bool> {
        let Some(algorithm) = self.digest.algorithm() else {
            return Ok(false);
        };
        let mut hasher = Hasher::new(algorithm);
        match self.hash_range(&mut hasher, 0, self.size()) {
            Ok(()) => Ok(hasher.finish() == *self.digest),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds the bytes from `start` to `end` to a hasher.
    fn hash_range(&self, hasher: &mut Hasher, start: u64, end: u64) -> io::Result<()> {
        let mut buffer = vec![0; 128 << 10];
        let mut position = start;
        while position < end {
            let wanted = usize::try_from(end.saturating_sub(position))
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let window = buffer.get_mut(..wanted).unwrap_or_default();
            let read = self.blob.read_at(window, position)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hasher.update(window.get(..read).unwrap_or_default());
            position = position.saturating_add(u64::try_from(read).unwrap_or(0));
        }
        Ok(())
    }

    /// Looks at the file once as a body begins. Known bytes are hashed again where it changed meanwhile; returns whether places
    /// may be handed over: any write to the file from now on would show.
    ///
    /// What is written between this look and the first place shows at the end all the same: [`Upload::may_have_changed`] compares
    /// with the file as it was opened, not as it was here.
    pub(super) fn look(&self) -> bool {
        let is_settled = match self.blob {
            Blob::File { identity, .. } => identity.changed.is_settled(Timestamp::now()),
            Blob::Bytes(_) => false,
        };
        let may_hand = is_settled && !self.reads_only.load(Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = matches!(*state, State::Known);
        if !(may_hand || is_known) {
            return false;
        }
        let is_as_opened = self.blob.is_as_opened();
        if is_known
            && !is_as_opened
            && let Some(algorithm) = self.digest.algorithm()
        {
            *state = State::Hashing(0, Box::new(Hasher::new(algorithm)));
        }
        may_hand && is_as_opened
    }

    /// Returns whether the file changed after places in it were handed over, maybe before they were sent.
    pub(super) fn may_have_changed(&self) -> bool {
        self.handed.load(Ordering::Relaxed) && !self.blob.is_as_opened()
    }

    /// Has the next body read and hashed from the start; false where that was so already.
    pub(super) fn read_anew(&self) -> bool {
        let Some(algorithm) = self.digest.algorithm() else {
            return false;
        };
        if self.reads_only.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.remember(0, &Hasher::new(algorithm));
        self.handed.store(false, Ordering::Relaxed);
        true
    }

    /// Takes note that the bytes have their digest.
    pub(super) fn know(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Known;
    }

    /// Keeps a hasher that holds everything before `offset`, for the part that begins there.
    pub(super) fn remember(&self, offset: u64, hasher: &Hasher) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            State::Hashing(offset, Box::new(hasher.clone()));
    }

    /// Returns a hasher that holds everything before `start`; none where the bytes are known to have their digest.
    pub(super) fn hasher_at(&self, start: u64) -> io::Result<Option<Hasher>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Hashing(offset, hasher) = &*state else {
            return Ok(None);
        };
        let (from, mut hasher) = match *offset <= start {
            true => (*offset, Hasher::clone(hasher)),
            false => match self.digest.algorithm() {
                Some(algorithm) => (0, Hasher::new(algorithm)),
                None => return Ok(None),
            },
        };
        drop(state);
        self.hash_range(&mut hasher, from, start)?;
        Ok(Some(hasher))
    }

    pub(super) fn fail(&self, failed: Failed) -> io::Error {
        let kind = match &failed {
            Failed::Corrupt => io::ErrorKind::InvalidData,
            Failed::Read(error) => error.kind(),
            Failed::Changed => io::ErrorKind::Other,
            Failed::Cancelled => io::ErrorKind::Interrupted,
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
        // "Interrupted" would be tried again by readers.
        match kind {
            io::ErrorKind::Interrupted => io::ErrorKind::Other.into(),
            kind => kind.into(),
        }
    }
}
