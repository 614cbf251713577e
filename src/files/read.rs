//! Reading files that others control: regular files only, whole files only up to a limit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FileError, HeldLease, Refused};
use crate::sys::open::{Purpose, lend, open};
use crate::sys::stat::{Kind, Stat, stat};

/// Is an open regular file and its stat when it was opened.
#[derive(Debug)]
pub struct OpenFile {
    /// The descriptor, read-only.
    pub file: OwnedFd,
    /// Its stat.
    pub stat: Stat,
    path: PathBuf,
}

impl OpenFile {
    /// Takes an open descriptor for what is named `path`.
    ///
    /// # Errors
    /// Refuses everything but a regular file.
    pub fn new(file: OwnedFd, path: &Path) -> Result<Self, FileError> {
        let stat = stat(file.as_fd()).map_err(FileError::io("examining", path))?;
        if stat.kind != Kind::File {
            return Err(FileError::NotRegular {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            file,
            stat,
            path: path.to_owned(),
        })
    }

    /// Returns the whole content if it has no more than `limit` bytes.
    ///
    /// # Errors
    /// Refuses larger files; returns what pread returns.
    pub fn read_bounded(&self, limit: u64) -> Result<Vec<u8>, FileError> {
        let too_large = || FileError::TooLarge {
            path: self.path.clone(),
            limit,
        };
        if self.stat.size > limit {
            return Err(too_large());
        }
        let fail = |source| FileError::Io {
            operation: "reading",
            path: self.path.clone(),
            source,
        };
        // One byte more than expected: a file that grew is read on, up to the limit.
        let capacity = usize::try_from(self.stat.size.saturating_add(1))
            .map_err(|_| fail(io::ErrorKind::OutOfMemory.into()))?;
        let mut bytes = vec![0; capacity];
        let mut filled = 0;
        loop {
            let rest = bytes.get_mut(filled..).unwrap_or_default();
            let offset = u64::try_from(filled).unwrap_or(u64::MAX);
            let count = read_at(self.file.as_fd(), rest, offset).map_err(fail)?;
            filled += count;
            if filled < bytes.len() {
                bytes.truncate(filled);
                return Ok(bytes);
            }
            let filled_bytes = u64::try_from(filled).unwrap_or(u64::MAX);
            if filled_bytes > limit {
                return Err(too_large());
            }
            let more = filled_bytes.max(4096).min(limit - filled_bytes + 1);
            bytes.resize(filled + usize::try_from(more).unwrap_or(1), 0);
        }
    }

    /// Takes a read lease, as [`HeldLease::take`].
    ///
    /// # Errors
    /// Says why there is none; a writer is assumed where the descriptor cannot be copied.
    pub fn lease(&self) -> Result<HeldLease, Refused> {
        let file = self.file.try_clone().map_err(|_| Refused::Writer)?;
        HeldLease::take(&Arc::new(file))
    }

    /// Returns the stat as it is now.
    ///
    /// # Errors
    /// Returns what statx returns.
    pub fn stat_now(&self) -> Result<Stat, FileError> {
        stat(self.file.as_fd()).map_err(FileError::io("examining", &self.path))
    }
}

/// Fills `buffer` from `offset`; short only at the end of the file.
///
/// # Errors
/// Returns what pread returns.
pub fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let file = lend(file);
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let position = u64::try_from(filled)
            .ok()
            .and_then(|filled| offset.checked_add(filled))
            .ok_or(io::ErrorKind::InvalidInput)?;
        match file.read_at(rest, position) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Returns where the next read(2) of a descriptor would begin.
///
/// # Errors
/// Returns what lseek(2) returns, such as for a pipe.
pub fn position(file: BorrowedFd<'_>) -> io::Result<u64> {
    let file = lend(file);
    let mut file: &std::fs::File = &file;
    io::Seek::stream_position(&mut file)
}

/// Opens a file for reading, or returns `None` where there is none. Symlinks are followed, as for any program.
///
/// # Errors
/// Refuses what is not a regular file, without waiting for it.
pub fn open_path(path: &Path) -> Result<Option<OpenFile>, FileError> {
    match open(path, Purpose::Read) {
        Ok(file) => OpenFile::new(file, path).map(Some),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) if is_irregular(&error) => Err(FileError::NotRegular {
            path: path.to_owned(),
        }),
        Err(source) => Err(FileError::io("opening", path)(source)),
    }
}

/// Returns the content and stat of a file, or `None` where there is none. Symlinks are followed, as for any program.
///
/// # Errors
/// Refuses what is not a regular file or has more than `limit` bytes.
pub fn read_path(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, Stat)>, FileError> {
    match open_path(path)? {
        Some(file) => Ok(Some((file.read_bounded(limit)?, file.stat))),
        None => Ok(None),
    }
}

/// Returns whether an open failed because nothing has this name.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// Returns whether an open failed because a symlink, socket or device without driver has this name.
pub(super) fn is_irregular(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ELOOP | libc::ENXIO | libc::ENODEV)
    )
}
