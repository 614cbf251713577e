//! The file without a name that an archive is unpacked to, and how much may go into it.

use std::io;
use std::path::Path;

use super::UnpackError;
use crate::files::{FileError, OpenFile, Unnamed};
use crate::oci::Progress;
use crate::oci::limits::{SPOOL_BYTES_FREE, SPOOL_BYTES_MAX, SPOOL_RATIO_MAX};

/// What to do about an archive that becomes too large.
const UNPACK_YOURSELF: &str =
    "if you trust it, unpack it yourself (gzip -dk FILE, zstd -d FILE) and name the tar";

/// Takes unpacked bytes, within limits.
pub(super) struct Room<'a> {
    file: Unnamed,
    progress: &'a dyn Progress,
    written: u64,
    reported: u64,
}

impl<'a> Room<'a> {
    /// Makes the file in a folder.
    ///
    /// # Errors
    /// Returns what the system calls return.
    pub(super) fn new(folder: &Path, progress: &'a dyn Progress) -> io::Result<Self> {
        Ok(Self {
            file: Unnamed::new(folder)?,
            progress,
            written: 0,
            reported: 0,
        })
    }

    /// Adds bytes; `taken` compressed ones became all that was added so far.
    ///
    /// # Errors
    /// Refuses what becomes too large; says where there is no room.
    pub(super) fn add(&mut self, bytes: &[u8], taken: u64) -> Result<(), UnpackError> {
        let after = self.after(bytes);
        if after > SPOOL_BYTES_FREE && after / SPOOL_RATIO_MAX > taken {
            return Err(UnpackError::refused(
                format!("it unpacks to more than {SPOOL_RATIO_MAX} times its size"),
                UNPACK_YOURSELF,
            ));
        }
        self.progress.advance(taken.saturating_sub(self.reported));
        self.reported = self.reported.max(taken);
        self.add_plain(bytes)
    }

    /// Adds bytes that are read as they are.
    ///
    /// # Errors
    /// As [`Room::add`].
    pub(super) fn add_plain(&mut self, bytes: &[u8]) -> Result<(), UnpackError> {
        let after = self.after(bytes);
        if after > SPOOL_BYTES_MAX {
            return Err(UnpackError::refused(
                format!("it has more than {SPOOL_BYTES_MAX} bytes unpacked"),
                UNPACK_YOURSELF,
            ));
        }
        if self.progress.cancelled() {
            return Err(UnpackError::Cancelled);
        }
        self.file.append(bytes).map_err(UnpackError::Write)?;
        self.written = after;
        Ok(())
    }

    fn after(&self, bytes: &[u8]) -> u64 {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.written.saturating_add(count)
    }

    /// Returns the file for reading; nobody has it open for writing any more.
    ///
    /// # Errors
    /// Returns what the system calls return.
    pub(super) fn finish(self, name: &Path) -> Result<OpenFile, FileError> {
        self.file.finish(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::NoProgress;

    fn room(written: u64) -> Room<'static> {
        let mut room = Room::new(&std::env::temp_dir(), &NoProgress).unwrap();
        room.written = written;
        room
    }

    #[test]
    fn takes_as_much_as_the_limits_say_and_no_byte_more() {
        let mut full = room(SPOOL_BYTES_MAX - 1);
        assert!(full.add_plain(b"x").is_ok());
        assert!(full.add_plain(b"x").is_err());
        // Up to the first GiB nothing depends on the ratio.
        let mut dense = room(SPOOL_BYTES_FREE - 1);
        assert!(dense.add(b"x", 1).is_ok());
        let taken = SPOOL_BYTES_FREE / SPOOL_RATIO_MAX;
        assert!(dense.add(b"x", taken - 1).is_err());
        assert!(dense.add(b"x", taken).is_ok());
    }
}
