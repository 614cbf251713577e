//! A file without a name: it is written once, then read, and gone with its last descriptor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use super::replace::{open_unnamed, random_name, remove_own_leftovers};
use super::{FileError, Folder, OpenFile};
use crate::sys::open::{Mounts, Purpose, open_beneath};
use crate::sys::stat::stat;

/// How many random names are tried.
const NAMES_MAX: u32 = 16;

/// In a folder with more entries nothing is looked for.
const LEFTOVERS_MAX: usize = 100_000;

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
    /// Makes a file in a folder. A kill leaves nothing; at most an empty file where the file system makes none without a name, which
    /// the next file there takes away.
    ///
    /// # Errors
    /// Returns what the system calls return.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let folder = Folder::open(folder).map_err(plain)?;
        if let Some(writer) = open_unnamed(&folder) {
            // A lease is granted only where nobody can write: the reader gets a descriptor of its own.
            let again = PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd()));
            if let Ok(reader) = File::open(&again) {
                let reader = OpenFile::new(reader.into(), &again).map_err(plain)?;
                return Self::of(writer, reader);
            }
        }
        Self::by_name(&folder)
    }

    /// Makes a file that has a name for a moment, and takes away those that kills left in that moment.
    fn by_name(folder: &Folder) -> io::Result<Self> {
        // Not worth an error, whatever keeps one there. Another process that is in its moment meanwhile takes another name.
        let _ = remove_own_leftovers(folder, LEFTOVERS_MAX);
        let mut attempts = 0;
        loop {
            match Self::unlinked(folder) {
                Err(error) if is_taken(&error) && attempts < NAMES_MAX => attempts += 1,
                result => return result,
            }
        }
    }

    /// Makes a file that loses its name before the first byte is written.
    fn unlinked(folder: &Folder) -> io::Result<Self> {
        let name = random_name().map_err(plain)?;
        let purpose = Purpose::New { mode: 0o600 };
        let writer = open_beneath(folder.as_fd(), &name, purpose, Mounts::Cross)?;
        let reader = folder.file(&name).map_err(plain);
        folder.remove(&name).map_err(plain)?;
        Self::of(writer.into(), reader?.ok_or(io::ErrorKind::NotFound)?)
    }

    fn of(writer: File, reader: OpenFile) -> io::Result<Self> {
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

/// Returns whether the name was there before, or was taken away at once by who looks for leftovers.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
    )
}

fn plain(error: FileError) -> io::Error {
    match error {
        FileError::Io { source, .. } => source,
        other => io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn leaves_no_name_and_no_writer_behind() {
        let folder = tempfile::tempdir().unwrap();
        let open = Folder::open(folder.path()).unwrap();
        for mut file in [
            Unnamed::new(folder.path()).unwrap(),
            Unnamed::unlinked(&open).unwrap(),
        ] {
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            file.append(b"some ").unwrap();
            file.append(b"bytes").unwrap();
            let file = file.finish(Path::new("x")).unwrap();
            assert_eq!(file.stat.links, 0);
            assert_eq!(file.read_bounded(100).unwrap(), b"some bytes");
            assert!(write(file.file.as_fd()).is_err());
        }
    }

    #[test]
    fn takes_away_what_a_kill_left() {
        let folder = tempfile::tempdir().unwrap();
        let open = Folder::open(folder.path()).unwrap();
        let left = folder.path().join(".signetfs-0123456789abcdef");
        std::fs::write(&left, b"").unwrap();
        let foreign = [".signetfs-mine", "other", ".signetfs-0123456789abcdeg"];
        for name in foreign {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let held = super::super::Temporary::empty(&open).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
        Unnamed::by_name(&open).unwrap();
        assert!(!left.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
        drop(held);
        for name in foreign {
            assert!(folder.path().join(name).exists(), "{name}");
        }
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
