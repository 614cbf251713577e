//! A blob is always a range of a descriptor, or bytes.

use std::hash::{Hash, Hasher};
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::files::{self, OpenFile, Stat, Time};

/// Is a file time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// File times younger than this may be given again to a later change: the kernel's clock for them ticks slowly.
const SETTLED_NANOSECONDS: i128 = 100_000_000;
/// A time without a part of a second may come from a file system that keeps whole seconds (ext4 with inodes of 128 bytes, ext3),
/// or every other one (FAT): a change later in them gets the same time.
const COARSEST_NANOSECONDS: i128 = 2_000_000_000;

impl Timestamp {
    /// Returns the time that the kernel would stamp on a file now.
    #[must_use]
    pub fn now() -> Self {
        files::file_clock().into()
    }

    /// Returns whether a file last changed at this time would get another time if it were changed at `now` or later.
    #[must_use]
    pub fn is_settled(self, now: Self) -> bool {
        let nanoseconds =
            |time: Self| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
        let tick = match self.nanoseconds {
            0 => COARSEST_NANOSECONDS,
            _ => 0,
        };
        nanoseconds(now) - nanoseconds(self) >= tick + SETTLED_NANOSECONDS
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        Self {
            seconds: time.seconds,
            nanoseconds: time.nanoseconds,
        }
    }
}

/// Identifies the state of a file: what changes when anybody writes it through a file system that keeps times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The device.
    pub device: u64,
    /// The unique mount id (STATX_MNT_ID_UNIQUE), where the kernel has one.
    pub mount: Option<NonZero<u64>>,
    /// The inode.
    pub inode: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// The modification time.
    pub modified: Timestamp,
    /// The change time.
    pub changed: Timestamp,
}

impl Identity {
    /// Returns the identity of an open file as it is now; `None` where the system does not tell.
    #[must_use]
    pub fn now(file: &OwnedFd) -> Option<Self> {
        files::stat_open(file.as_fd())
            .ok()
            .map(|stat| Self::from(&stat))
    }

    /// Returns all of it as numbers; a mount id that is not known is 0.
    #[must_use]
    pub fn numbers(&self) -> [u64; 8] {
        [
            self.device,
            self.mount.map_or(0, NonZero::get),
            self.inode,
            self.size,
            self.modified.seconds.cast_unsigned(),
            u64::from(self.modified.nanoseconds),
            self.changed.seconds.cast_unsigned(),
            u64::from(self.changed.nanoseconds),
        ]
    }
}

impl Hash for Identity {
    /// Writes all of it in one piece: the states of files are looked up for every blob.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 64];
        for (place, number) in bytes.as_chunks_mut().0.iter_mut().zip(self.numbers()) {
            *place = number.to_ne_bytes();
        }
        state.write(&bytes);
    }
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.device,
            mount: stat.unique_mount,
            inode: stat.inode,
            size: stat.size,
            modified: stat.modified.into(),
            changed: stat.changed.into(),
        }
    }
}

/// Is where the bytes of a blob are.
#[derive(Debug, Clone)]
pub enum Blob {
    /// A range of an open file (opened read-only).
    File {
        /// The open file; a tar's is shared by its blobs.
        file: Arc<OwnedFd>,
        /// Where the blob begins.
        offset: u64,
        /// How many bytes it has.
        size: u64,
        /// The file's identity when it was opened.
        identity: Identity,
    },
    /// Bytes in memory.
    Bytes(Arc<[u8]>),
}

impl Blob {
    /// Returns a whole open file as a blob.
    #[must_use]
    pub fn of_file(open: OpenFile) -> Self {
        Self::File {
            identity: Identity::from(&open.stat),
            size: open.stat.size,
            offset: 0,
            file: Arc::new(open.file),
        }
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }

    /// Returns the state of the file when it was opened; bytes in memory have none.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        match self {
            Self::File { identity, .. } => Some(*identity),
            Self::Bytes(_) => None,
        }
    }

    /// Returns whether the file still has the identity that it had when it was opened. Bytes in memory always are as they were.
    #[must_use]
    pub fn is_as_opened(&self) -> bool {
        match self {
            Self::File { file, identity, .. } => Identity::now(file) == Some(*identity),
            Self::Bytes(_) => true,
        }
    }

    /// Reads at `offset` within the blob; short only at its end, or at the end of a file that was cut meanwhile.
    ///
    /// # Errors
    /// Returns what pread returns.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let available = self.size().saturating_sub(offset);
        let wanted = usize::try_from(available)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        if buffer.is_empty() {
            return Ok(0);
        }
        match self {
            Self::File {
                file,
                offset: start,
                ..
            } => {
                let position = start
                    .checked_add(offset)
                    .ok_or(io::ErrorKind::InvalidInput)?;
                files::read_at(file.as_fd(), buffer, position)
            }
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                if let Some(source) = bytes.get(start..).and_then(|rest| rest.get(..wanted)) {
                    buffer.copy_from_slice(source);
                }
                Ok(wanted)
            }
        }
    }

    /// Returns the whole content if it has no more than `limit` bytes.
    ///
    /// # Errors
    /// `FileTooLarge` above the limit, `UnexpectedEof` where a file was cut meanwhile, and what pread returns.
    pub fn read_all(&self, limit: u64) -> io::Result<Vec<u8>> {
        if self.size() > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let length = usize::try_from(self.size()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; length];
        if self.read_at(&mut bytes, 0)? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_within_its_range() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("file");
        std::fs::write(&path, "..inside..").unwrap();
        let open = files::Folder::open(temporary.path())
            .unwrap()
            .file(std::path::Path::new("file"))
            .unwrap()
            .unwrap();
        let identity = Identity::from(&open.stat);
        let file = Blob::File {
            file: Arc::new(open.file),
            offset: 2,
            size: 6,
            identity,
        };
        for blob in [file, Blob::Bytes(Arc::from(*b"inside"))] {
            assert_eq!(blob.size(), 6);
            let mut buffer = [0; 10];
            assert_eq!(blob.read_at(&mut buffer, 2).unwrap(), 4);
            assert_eq!(&buffer[..4], b"side");
            assert_eq!(blob.read_at(&mut buffer, 6).unwrap(), 0);
            assert_eq!(blob.read_at(&mut buffer, u64::MAX).unwrap(), 0);
            assert_eq!(blob.read_all(6).unwrap(), b"inside");
            assert!(blob.read_all(5).is_err());
        }
    }

    #[test]
    fn a_time_settles_after_a_tenth_of_a_second() {
        let at = |seconds, nanoseconds| Timestamp {
            seconds,
            nanoseconds,
        };
        assert!(!at(5, 1).is_settled(at(5, 100_000_000)));
        assert!(at(5, 1).is_settled(at(5, 100_000_001)));
        assert!(at(4, 950_000_000).is_settled(at(5, 50_000_000)));
        assert!(!at(9, 0).is_settled(at(5, 0)));
    }

    #[test]
    fn a_time_in_whole_seconds_settles_when_they_are_over() {
        let at = |seconds, nanoseconds| Timestamp {
            seconds,
            nanoseconds,
        };
        assert!(!at(5, 0).is_settled(at(5, 999_999_999)));
        assert!(!at(4, 0).is_settled(at(6, 99_999_999)));
        assert!(at(4, 0).is_settled(at(6, 100_000_000)));
    }
}
