//! A file without a name: it is written once, then read, and gone with its last descriptor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::replace::TEMPORARY_PREFIX;
use super::{FileError, Folder, OpenFile};
use crate::sys::open::{Mounts, Purpose, open_beneath};
use crate::sys::stat::stat;

/// How many random names are tried.
const NAMES_MAX: u32 = 16;

/// Returns the folder for large temporary files: `$TMPDIR`, else /var/tmp (/tmp often is memory), else /tmp.
#[must_use]
pub fn spool_folder() -> PathBuf {
    match std::env::var_os("TMPDIR") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ if Path::new("/var/tmp").is_dir() => "/var/tmp".into(),
        _ => "/tmp".into(),
    }
}

/// Is a file that is being written and has no name.
#[derive(Debug)]
pub struct Unnamed {
    writer: File,
    reader: OpenFile,
}

impl Unnamed {
    /// Makes a file in a folder. It loses its name before the first byte is written, so a kill leaves at most an empty file.
    ///
    /// `O_TMPFILE` would do without a name, but not without a descriptor for writing, and some file systems lack it.
    ///
    /// # Errors
    /// Returns what the system calls return.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let plain = |error: FileError| match error {
            FileError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        };
        let folder = Folder::open(folder).map_err(plain)?;
        let mut attempts = 0;
        let (name, writer) = loop {
            let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
            let name = PathBuf::from(format!("{TEMPORARY_PREFIX}{random:016x}"));
            let purpose = Purpose::New { mode: 0o600 };
            match open_beneath(folder.as_fd(), &name, purpose, Mounts::Cross) {
                Ok(file) => break (name, File::from(file)),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && attempts < NAMES_MAX =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        };
        // A lease is granted only where nobody can write: the reader gets a descriptor of its own.
        let reader = folder.file(&name).map_err(plain);
        folder.remove(&name).map_err(plain)?;
        let reader = reader?.ok_or(io::ErrorKind::NotFound)?;
        let made = stat(writer.as_fd())?;
        if (made.device, made.inode) != (reader.stat.device, reader.stat.inode) {
            return Err(io::Error::other(
                "another process took the name of the file",
            ));
        }
        Ok(Self { writer, reader })
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// Returns what write(2) returns.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Ends the writing and returns the file for reading; messages call it `name`.
    ///
    /// # Errors
    /// Returns what statx(2) returns.
    pub fn finish(self, name: &Path) -> Result<OpenFile, FileError> {
        drop(self.writer);
        OpenFile::new(self.reader.file, name)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn leaves_no_name_and_no_writer_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Unnamed::new(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        file.append(b"some ").unwrap();
        file.append(b"bytes").unwrap();
        let file = file.finish(Path::new("x")).unwrap();
        assert_eq!(file.stat.links, 0);
        assert_eq!(file.read_bounded(100).unwrap(), b"some bytes");
        assert!(write(file.file.as_fd()).is_err());
    }

    fn write(file: std::os::fd::BorrowedFd<'_>) -> io::Result<usize> {
        let lent = crate::sys::open::lend(file);
        let mut lent: &File = &lent;
        lent.write(b"x")
    }

    #[test]
    fn says_why_a_folder_cannot_be_used() {
        assert!(Unnamed::new(Path::new("/nonexistent")).is_err());
    }
}
