//! The body of an upload: read straight from the blob's range, hashed on the way, its last bytes held back until the digest matches.
//!
//! A body cut short creates nothing (measured with every registry at hand), so a corrupt blob never comes to be.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::call::Reopen;
use super::upload::{Failed, Upload};
use crate::http::{Content, FileRange};
use crate::layout::Blob;
use crate::oci::Hasher;

/// Bytes that are held back until the digest of all is known.
pub const HELD_BACK_BYTES: u64 = 64 << 10;

/// Is a range of a blob as a body.
pub struct Part<'a> {
    /// The upload.
    pub upload: &'a Upload<'a>,
    /// Where it begins in the blob.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
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
            gives_places: false,
        })
    }
}

struct Reader<'a> {
    upload: &'a Upload<'a>,
    position: u64,
    end: u64,
    stage: Stage,
    gives_places: bool,
}

enum Stage {
    Unopened,
    Plain,
    /// Everything before the position went into the hasher.
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
        let read = self.checked(|reader| {
            reader.begin()?;
            reader.advance(buffer)
        })?;
        self.moved(read);
        Ok(read)
    }
}

impl Content for Reader<'_> {
    /// Gives places of a file: of bytes that are known to have their digest, or were hashed just now.
    fn next_range(&mut self, scratch: &mut [u8]) -> io::Result<Option<FileRange>> {
        if self.position >= self.end || self.upload.progress.cancelled() {
            return Ok(None);
        }
        self.checked(|reader| {
            reader.begin()?;
            reader.range(scratch)
        })
    }

    fn unreadable(&mut self, error: io::Error) {
        // What it returns would cut the connection, which is cut.
        let _ = self.upload.fail(Failed::from(error));
    }
}

impl Reader<'_> {
    /// Says to the upload why bytes cannot be had.
    fn checked<T>(&mut self, take: impl FnOnce(&mut Self) -> Result<T, Failed>) -> io::Result<T> {
        take(self).map_err(|failed| self.upload.fail(failed))
    }

    fn begin(&mut self) -> Result<(), Failed> {
        if matches!(self.stage, Stage::Unopened) {
            self.gives_places = self.upload.look();
            self.stage = match self.upload.hasher_at(self.position)? {
                None => Stage::Plain,
                Some(hasher) => Stage::Hashing(hasher),
            };
        }
        Ok(())
    }

    /// Returns the place of the next bytes, at most as many as `scratch` has, where they are a file's and may go this way.
    fn range(&mut self, scratch: &mut [u8]) -> Result<Option<FileRange>, Failed> {
        let Blob::File { file, offset, .. } = self.upload.blob else {
            return Ok(None);
        };
        let Some(offset) = offset
            .checked_add(self.position)
            .filter(|_| self.gives_places)
        else {
            return Ok(None);
        };
        let length = match self.stage {
            Stage::Plain => fitting(self.end.saturating_sub(self.position), scratch.len()),
            Stage::Hashing(_) if self.position < self.hold_from() => self.advance(scratch)?,
            _ => return Ok(None),
        };
        self.upload.handed.store(true, Ordering::Relaxed);
        self.moved(length);
        Ok(Some(FileRange {
            file: Arc::clone(file),
            offset,
            length,
        }))
    }

    fn hold_from(&self) -> u64 {
        self.upload.size().saturating_sub(HELD_BACK_BYTES)
    }

    fn moved(&mut self, count: usize) {
        let bytes = u64::try_from(count).unwrap_or(0);
        self.position = self.position.saturating_add(bytes);
        self.upload.gave(bytes, self.position);
    }

    fn advance(&mut self, buffer: &mut [u8]) -> Result<usize, Failed> {
        let hold_from = self.hold_from();
        if matches!(self.stage, Stage::Hashing(_)) && self.position >= hold_from {
            self.release()?;
        }
        let limit = match self.stage {
            Stage::Hashing(_) => hold_from.min(self.end),
            _ => self.end,
        };
        let wanted = fitting(limit.saturating_sub(self.position), buffer.len());
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
                let behind = self
                    .position
                    .saturating_add(u64::try_from(read).unwrap_or(0));
                if behind == self.end {
                    self.upload.remember(behind, hasher);
                }
                Ok(read)
            }
            Stage::Unopened | Stage::Plain => {
                nonzero(self.upload.blob.read_at(window, self.position)?)
            }
        }
    }

    /// Reads the rest of the blob and lets it go only if all of it has its digest.
    ///
    /// Where places were handed over, the file must not have changed either: what was sent is then what was hashed.
    fn release(&mut self) -> Result<(), Failed> {
        let Stage::Hashing(hasher) = &mut self.stage else {
            return Ok(());
        };
        let length = usize::try_from(self.upload.size().saturating_sub(self.position)).unwrap_or(0);
        let mut tail = vec![0; length];
        if self.upload.blob.read_at(&mut tail, self.position)? < length {
            return Err(Failed::Corrupt);
        }
        hasher.update(&tail);
        if hasher.clone().finish() != *self.upload.digest {
            return Err(Failed::Corrupt);
        }
        if self.upload.may_have_changed() {
            return Err(Failed::Changed);
        }
        self.upload.know();
        self.stage = Stage::Released(tail, self.position);
        Ok(())
    }
}

/// Returns how many of the bytes that are left go into so much room.
fn fitting(left: u64, room: usize) -> usize {
    usize::try_from(left).map_or(room, |left| left.min(room))
}

/// A blob that ends early is not what its digest names.
fn nonzero(read: usize) -> Result<usize, Failed> {
    match read {
        0 => Err(Failed::Corrupt),
        read => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use super::super::upload::Trusted;
    use super::*;
    use crate::oci::{Digest, NoProgress};

    fn blob(length: usize) -> (Digest, Blob) {
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        (Digest::of(&bytes), Blob::Bytes(Arc::from(bytes)))
    }

    fn read_all(upload: &Upload<'_>, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        upload.part(start, end).open().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[derive(Default)]
    struct Done(std::sync::atomic::AtomicU64);

    impl crate::oci::Progress for Done {
        fn expect(&self, _bytes: u64) {}
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    #[test]
    fn reports_each_byte_once_however_often_it_is_sent() {
        let (digest, blob) = blob(300_000);
        let done = Done::default();
        let reported = || done.0.load(Ordering::Relaxed);
        let upload = Upload::new(&digest, &blob, Trusted::Hashed, &done).unwrap();
        // A cut, the same part again, a resumed part that goes back, all of it anew.
        for (start, end, expected) in [
            (0, 150_000, 150_000),
            (0, 150_000, 150_000),
            (100_000, 200_000, 200_000),
            (0, 300_000, 300_000),
        ] {
            read_all(&upload, start, end).unwrap();
            assert_eq!(reported(), expected, "{start}-{end}");
        }
        assert_eq!(upload.given(), 150_000 + 150_000 + 100_000 + 300_000);
        upload.reached(300_000);
        assert_eq!(reported(), 300_000);
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

    /// Returns the blob of a file whose times have settled.
    fn stored(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf, Blob) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blob");
        std::fs::write(&path, bytes).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(150));
        let open = crate::files::open_path(&path).unwrap().unwrap();
        (folder, path, Blob::of_file(open))
    }

    /// Takes a body as a connection of plain HTTP does; returns its bytes and how many of them came as places.
    fn take_all(body: &mut dyn Content) -> io::Result<(Vec<u8>, usize)> {
        let (mut bytes, mut placed) = (Vec::new(), 0);
        let mut buffer = vec![0; 100_000];
        loop {
            if let Some(range) = body.next_range(&mut buffer)? {
                let mut window = vec![0; range.length];
                crate::files::read_at(range.file.as_fd(), &mut window, range.offset)?;
                placed += range.length;
                bytes.extend(window);
                continue;
            }
            match body.read(&mut buffer)? {
                0 => return Ok((bytes, placed)),
                read => bytes.extend(&buffer[..read]),
            }
        }
    }

    #[test]
    fn places_are_handed_over_once_they_are_hashed_and_the_end_is_read() {
        let bytes: Vec<u8> = (0..300_000).map(|n| (n % 251) as u8).collect();
        let (_folder, _, blob) = stored(&bytes);
        let digest = Digest::of(&bytes);
        let upload = Upload::new(&digest, &blob, Trusted::Hashed, &NoProgress).unwrap();
        let taken = take_all(&mut *upload.part(0, 300_000).open()).unwrap();
        assert_eq!(taken, (bytes, 300_000 - 65_536));

        let other = Digest::of(b"other");
        let upload = Upload::new(&other, &blob, Trusted::Hashed, &NoProgress).unwrap();
        take_all(&mut *upload.part(0, 300_000).open()).unwrap_err();
        assert!(matches!(upload.take_failure(), Some(Failed::Corrupt)));
    }

    #[test]
    fn a_file_that_changed_behind_the_hashing_is_read_anew() {
        let bytes = vec![7; 300_000];
        let (_folder, path, blob) = stored(&bytes);
        let digest = Digest::of(&bytes);
        let upload = Upload::new(&digest, &blob, Trusted::Hashed, &NoProgress).unwrap();
        {
            let part = upload.part(0, 300_000);
            let mut body = part.open();
            assert!(body.next_range(&mut [0; 1000]).unwrap().is_some());
            std::fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .write_at(&[7], 10)
                .unwrap();
            take_all(&mut *body).unwrap_err();
        }
        assert!(matches!(upload.take_failure(), Some(Failed::Changed)));
        assert!(upload.read_anew());
        let taken = take_all(&mut *upload.part(0, 300_000).open()).unwrap();
        assert_eq!(taken, (bytes, 0));
    }

    #[test]
    fn bytes_that_were_known_are_hashed_again_once_their_file_changed() {
        let bytes = vec![7; 300_000];
        let digest = Digest::of(&bytes);
        for trusted in [Trusted::Remembered, Trusted::Hashed] {
            let (_folder, path, blob) = stored(&bytes);
            let upload = Upload::new(&digest, &blob, trusted, &NoProgress).unwrap();
            if trusted == Trusted::Hashed {
                take_all(&mut *upload.part(0, 300_000).open()).unwrap();
                assert!(!upload.may_have_changed());
            }
            let file = std::fs::OpenOptions::new().write(true).open(&path);
            file.unwrap().write_at(&[8], 299_999).unwrap();
            assert_eq!(upload.may_have_changed(), trusted == Trusted::Hashed);
            take_all(&mut *upload.part(100_000, 300_000).open()).unwrap_err();
            assert!(matches!(upload.take_failure(), Some(Failed::Corrupt)));
            std::fs::write(&path, &bytes).unwrap();
            if trusted == Trusted::Hashed {
                // Whatever is sent now: what was sent of the places before may be other bytes.
                take_all(&mut *upload.part(0, 300_000).open()).unwrap_err();
                assert!(matches!(upload.take_failure(), Some(Failed::Changed)));
                assert!(upload.read_anew());
            }
            let taken = take_all(&mut *upload.part(0, 300_000).open()).unwrap();
            assert_eq!(taken, (bytes.clone(), 0));
        }
    }

    #[test]
    fn a_file_that_ends_early_is_corrupt() {
        let bytes = vec![7; 300_000];
        let (_folder, path, blob) = stored(&bytes);
        let digest = Digest::of(&bytes);
        let upload = Upload::new(&digest, &blob, Trusted::Hashed, &NoProgress).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path);
        file.unwrap().set_len(100_000).unwrap();
        take_all(&mut *upload.part(0, 300_000).open()).unwrap_err();
        assert!(matches!(upload.take_failure(), Some(Failed::Corrupt)));
        assert!(!upload.matches_now().unwrap());
    }

    #[test]
    fn a_file_whose_times_may_be_given_again_is_read() {
        let bytes = vec![7; 300_000];
        let (_folder, path, _) = stored(&bytes);
        std::fs::write(&path, &bytes).unwrap();
        let open = crate::files::open_path(&path).unwrap().unwrap();
        let (digest, blob) = (Digest::of(&bytes), Blob::of_file(open));
        let upload = Upload::new(&digest, &blob, Trusted::Hashed, &NoProgress).unwrap();
        let taken = take_all(&mut *upload.part(0, 300_000).open()).unwrap();
        assert_eq!(taken, (bytes, 0));
    }
}
