//! A blob on its way: read straight from its range, hashed while it is sent, the last bytes held back until the digest matches.
//!
//! A body cut short creates nothing (measured with every registry at hand), so a corrupt blob never comes to be.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::call::Reopen;
use crate::http::{Content, FileRange};
use crate::layout::Blob;
use crate::oci::{Digest, Hasher, Progress};

/// Bytes that are held back until the digest of all is known.
pub const HELD_BACK_BYTES: u64 = 64 << 10;

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
    progress: &'a dyn Progress,
    state: Mutex<State>,
    failure: Mutex<Option<Failed>>,
    held: AtomicBool,
}

/// Says why a body was cut short by this side.
#[derive(Debug)]
pub enum Failed {
    /// The bytes have another digest.
    Corrupt,
    /// The bytes cannot be read.
    Read(io::Error),
    /// The work was given up.
    Cancelled,
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
            held: AtomicBool::new(false),
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

    /// Takes why this side cut a body short, where it did.
    pub fn take_failure(&self) -> Option<Failed> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Returns whether the bytes were already found to have their digest here.
    #[must_use]
    pub fn was_hashed(&self) -> bool {
        self.held.load(Ordering::Relaxed)
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
        self.hash_range(&mut hasher, 0, self.size())?;
        Ok(hasher.finish() == *self.digest)
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

    /// Returns a hasher that holds everything before `start`, and remembers it for the next part.
    fn hasher_at(&self, start: u64) -> io::Result<Option<Hasher>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.hash_range(&mut hasher, from, start)?;
        *state = State::Hashing(start, Box::new(hasher.clone()));
        Ok(Some(hasher))
    }

    fn fail(&self, failed: Failed) -> io::Error {
        let kind = match &failed {
            Failed::Corrupt => io::ErrorKind::InvalidData,
            Failed::Read(error) => error.kind(),
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

/// Is a range of a blob as a body.
pub struct Part<'a> {
    upload: &'a Upload<'a>,
    start: u64,
    end: u64,
}

impl Reopen for Part<'_> {
    fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    fn open(&self) -> Box<dyn Content + '_> {
        Box::new(Reader {
            upload: self.upload,
            position: self.start,
            end: self.end,
            stage: Stage::Unopened,
        })
    }
}

struct Reader<'a> {
    upload: &'a Upload<'a>,
    position: u64,
    end: u64,
    stage: Stage,
}

enum Stage {
    Unopened,
    Plain,
    Hashing(Hasher),
    /// The rest of the blob, its digest known to match, and where it begins.
    Released(Vec<u8>, u64),
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.end || buffer.is_empty() {
            return Ok(0);
        }
        if self.upload.progress.cancelled() {
            return Err(self.upload.fail(Failed::Cancelled));
        }
        let read = self
            .begin()
            .and_then(|()| self.advance(buffer))
            .map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => self.upload.fail(Failed::Corrupt),
                _ => self.upload.fail(Failed::Read(error)),
            })?;
        self.moved(read);
        Ok(read)
    }
}

impl Content for Reader<'_> {
    /// Gives places where the bytes are known to have their digest and are a file's.
    fn next_range(&mut self, most: usize) -> io::Result<Option<FileRange>> {
        if self.position >= self.end || self.upload.progress.cancelled() {
            return Ok(None);
        }
        self.begin()
            .map_err(|error| self.upload.fail(Failed::Read(error)))?;
        let (
            Stage::Plain,
            Blob::File {
                file,
                offset: start,
                ..
            },
        ) = (&self.stage, self.upload.blob)
        else {
            return Ok(None);
        };
        let Some(offset) = start.checked_add(self.position) else {
            return Ok(None);
        };
        let rest = self.end.saturating_sub(self.position);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(most);
        let file = Arc::clone(file);
        self.moved(length);
        Ok(Some(FileRange {
            file,
            offset,
            length,
        }))
    }

    fn unreadable(&mut self, error: io::Error) {
        // What it returns would cut the connection, which is cut.
        let _ = self.upload.fail(Failed::Read(error));
    }
}

impl Reader<'_> {
    fn begin(&mut self) -> io::Result<()> {
        if matches!(self.stage, Stage::Unopened) {
            self.stage = match self.upload.hasher_at(self.position)? {
                None => Stage::Plain,
                Some(hasher) => Stage::Hashing(hasher),
            };
        }
        Ok(())
    }

    fn moved(&mut self, count: usize) {
        let bytes = u64::try_from(count).unwrap_or(0);
        self.position = self.position.saturating_add(bytes);
        self.upload.progress.advance(bytes);
    }

    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let hold_from = self.upload.size().saturating_sub(HELD_BACK_BYTES);
        if matches!(self.stage, Stage::Hashing(_)) && self.position >= hold_from {
            self.release()?;
        }
        let limit = match self.stage {
            Stage::Hashing(_) => hold_from.min(self.end),
            _ => self.end,
        };
        let wanted = usize::try_from(limit.saturating_sub(self.position))
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let window = buffer.get_mut(..wanted).unwrap_or_default();
        match &mut self.stage {
            Stage::Released(tail, start) => {
                let skip =
                    usize::try_from(self.position.saturating_sub(*start)).unwrap_or(usize::MAX);
                let source = tail.get(skip..).unwrap_or_default();
                let count = source.len().min(window.len());
                for (to, from) in window.iter_mut().zip(source) {
                    *to = *from;
                }
                nonzero(count)
            }
            Stage::Hashing(hasher) => {
                let read = nonzero(self.upload.blob.read_at(window, self.position)?)?;
                hasher.update(window.get(..read).unwrap_or_default());
                Ok(read)
            }
            Stage::Unopened | Stage::Plain => {
                nonzero(self.upload.blob.read_at(window, self.position)?)
            }
        }
    }

    /// Reads the rest of the blob and lets it go only if all of it has its digest.
    fn release(&mut self) -> io::Result<()> {
        let Stage::Hashing(hasher) = &mut self.stage else {
            return Ok(());
        };
        let length = usize::try_from(self.upload.size().saturating_sub(self.position)).unwrap_or(0);
        let mut tail = vec![0; length];
        if self.upload.blob.read_at(&mut tail, self.position)? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&tail);
        if hasher.clone().finish() != *self.upload.digest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        *self
            .upload
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = State::Known;
        self.upload.held.store(true, Ordering::Relaxed);
        self.stage = Stage::Released(tail, self.position);
        Ok(())
    }
}

fn nonzero(read: usize) -> io::Result<usize> {
    match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::oci::NoProgress;

    fn blob(length: usize) -> (Digest, Blob) {
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        (Digest::of(&bytes), Blob::Bytes(Arc::from(bytes)))
    }

    fn read_all(upload: &Upload<'_>, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        upload.part(start, end).open().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn sends_sound_blobs_whole() {
        for length in [0, 1, 100, 65_536, 65_537, 300_000] {
            let (digest, blob) = blob(length);
            for trusted in [Trusted::Hashed, Trusted::Remembered] {
                let upload = Upload::new(&digest, &blob, trusted, &NoProgress).unwrap();
                let sent = read_all(&upload, 0, upload.size()).unwrap();
                assert!(digest.matches(&sent), "{length}");
            }
        }
    }

    #[test]
    fn never_lets_the_end_of_a_corrupt_blob_go() {
        for length in [1_usize, 65_536, 300_000] {
            let (_, blob) = blob(length);
            let other = Digest::of(b"other");
            let upload = Upload::new(&other, &blob, Trusted::Hashed, &NoProgress).unwrap();
            let part = upload.part(0, upload.size());
            let mut sent = Vec::new();
            let result = part.open().read_to_end(&mut sent);
            assert!(result.is_err());
            assert!(
                sent.len() <= length.saturating_sub(65_536),
                "{length}: {}",
                sent.len()
            );
            assert!(matches!(upload.take_failure(), Some(Failed::Corrupt)));
        }
    }

    #[test]
    fn parts_add_up_and_are_checked_as_a_whole() {
        let (digest, blob) = blob(300_000);
        let upload = Upload::new(&digest, &blob, Trusted::Hashed, &NoProgress).unwrap();
        let mut sent = Vec::new();
        for (start, end) in [
            (0, 100_000),
            (100_000, 200_000),
            (200_000, 299_999),
            (299_999, 300_000),
        ] {
            sent.extend(read_all(&upload, start, end).unwrap());
        }
        assert!(digest.matches(&sent));
        // A part sent again after a lost answer.
        assert_eq!(
            read_all(&upload, 100_000, 200_000).unwrap(),
            &sent[100_000..200_000]
        );
    }

    #[test]
    fn a_resumed_body_still_covers_the_part_sent_before() {
        let (digest, blob) = blob(300_000);
        let Blob::Bytes(bytes) = &blob else { panic!() };
        let mut flipped = bytes.to_vec();
        flipped[10] ^= 1;
        let flipped = Blob::Bytes(Arc::from(flipped));
        let upload = Upload::new(&digest, &flipped, Trusted::Hashed, &NoProgress).unwrap();
        assert!(read_all(&upload, 200_000, 300_000).is_err());
        let upload = Upload::new(&digest, &blob, Trusted::Hashed, &NoProgress).unwrap();
        assert_eq!(read_all(&upload, 200_000, 300_000).unwrap().len(), 100_000);
    }
}
