//! A folder held by a descriptor. Nothing below it is reached through a symlink.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::read::{is_absent, is_irregular};
use super::{FileError, OpenFile};
use crate::sys::folder::{link_target, make_folder, names, remove, rename};
use crate::sys::open::{Mounts, Purpose, open, open_beneath};
use crate::sys::stat::{Stat, stat, stat_at};

/// Is an open folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
}

impl Folder {
    /// Opens a folder by path, following symlinks.
    ///
    /// # Errors
    /// Returns what open(2) returns.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let fd = open(path, Purpose::Folder).map_err(FileError::io("opening", path))?;
        Ok(Self { fd })
    }

    /// Opens a folder below this one.
    ///
    /// # Errors
    /// Refuses symlinks on the way and everything but folders.
    pub fn folder(&self, path: &Path) -> Result<Option<Self>, FileError> {
        match open_beneath(self.fd.as_fd(), path, Purpose::Folder, Mounts::Cross) {
            Ok(fd) => Ok(Some(Self { fd })),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) if is_irregular(&error) || error.raw_os_error() == Some(libc::ENOTDIR) => {
                Err(not_regular(path))
            }
            Err(source) => Err(FileError::io("opening", path)(source)),
        }
    }

    /// Opens a regular file below this folder for reading, or returns `None` where nothing has this name.
    ///
    /// # Errors
    /// Refuses symlinks on the way and everything but regular files, without waiting for any of them.
    pub fn file(&self, path: &Path) -> Result<Option<OpenFile>, FileError> {
        match open_beneath(self.fd.as_fd(), path, Purpose::Read, Mounts::Cross) {
            Ok(fd) => OpenFile::new(fd, path).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) if is_irregular(&error) => Err(not_regular(path)),
            Err(source) => Err(FileError::io("opening", path)(source)),
        }
    }

    /// Returns the stat of this folder.
    ///
    /// # Errors
    /// Returns what statx(2) returns.
    pub fn stat(&self) -> Result<Stat, FileError> {
        stat(self.fd.as_fd()).map_err(FileError::io("examining", "."))
    }

    /// Returns the stat of a name below this folder, of a symlink itself, or `None` where nothing has it.
    ///
    /// Components before the last are followed where they are symlinks: only good for noticing changes, or for single names.
    ///
    /// # Errors
    /// Returns what statx(2) returns.
    pub fn stat_at(&self, path: &Path) -> Result<Option<Stat>, FileError> {
        match stat_at(self.fd.as_fd(), path) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if is_absent(&error) || is_irregular(&error) => Ok(None),
            Err(source) => Err(FileError::io("examining", path)(source)),
        }
    }

    /// Returns whether something is mounted on `name`, without asking what is mounted: it may be served by the caller.
    ///
    /// # Errors
    /// Returns what openat2(2) returns, but for absent names and symlinks, which are no mount points.
    pub fn is_mount_point(&self, name: &Path) -> Result<bool, FileError> {
        match open_beneath(self.fd.as_fd(), name, Purpose::Place, Mounts::Stay) {
            Ok(_) => Ok(false),
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => Ok(true),
            Err(error) if is_absent(&error) || is_irregular(&error) => Ok(false),
            Err(source) => Err(FileError::io("examining", name)(source)),
        }
    }

    /// Returns the names in this folder, sorted; `None` where there are more than `entries_max`.
    ///
    /// # Errors
    /// Returns what readdir(3) returns.
    pub fn names(&self, entries_max: usize) -> Result<Option<Vec<OsString>>, FileError> {
        let mut names =
            names(self.fd.as_fd(), entries_max).map_err(FileError::io("listing", "."))?;
        if names.len() > entries_max {
            return Ok(None);
        }
        names.sort_unstable();
        Ok(Some(names))
    }

    /// Returns the target of a symlink.
    ///
    /// # Errors
    /// Returns what readlinkat(2) returns.
    pub fn link_target(&self, name: &Path) -> Result<PathBuf, FileError> {
        link_target(self.fd.as_fd(), name).map_err(FileError::io("reading the link", name))
    }

    /// Makes a folder and returns whether it was not there.
    ///
    /// # Errors
    /// Returns what mkdirat(2) returns.
    pub fn make_folder(&self, name: &Path, mode: u32) -> Result<bool, FileError> {
        match make_folder(self.fd.as_fd(), name, mode) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(source) => Err(FileError::io("making the folder", name)(source)),
        }
    }

    /// Hands the folder over to an owner and group, where this process may.
    ///
    /// # Errors
    /// Returns what fchown(2) returns, but for EPERM.
    pub fn give(&self, uid: u32, gid: u32) -> Result<(), FileError> {
        super::replace::give(&self.fd, uid, gid).map_err(FileError::io("handing over", "."))
    }

    /// Renames a name of this folder to a name of `to`, replacing what has it.
    ///
    /// # Errors
    /// Returns what renameat(2) returns.
    pub fn rename(&self, from: &Path, to: &Self, name: &Path) -> Result<(), FileError> {
        rename((self.fd.as_fd(), from), (to.fd.as_fd(), name))
            .map_err(FileError::io("renaming a temporary file to", name))
    }

    /// Removes a file, symlink or other name that is not a folder; absent is fine.
    ///
    /// # Errors
    /// Returns what unlinkat(2) returns.
    pub fn remove(&self, name: &Path) -> Result<(), FileError> {
        match remove(self.fd.as_fd(), name) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                Err(FileError::io("removing", name)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes the names of this folder durable.
    ///
    /// # Errors
    /// Returns what fsync(2) returns.
    pub fn sync(&self) -> Result<(), FileError> {
        crate::sys::open::lend(self.fd.as_fd())
            .sync_all()
            .map_err(FileError::io("writing the folder", "."))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn not_regular(path: &Path) -> FileError {
    FileError::NotRegular {
        path: path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn refuses_what_is_not_regular_without_waiting() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        let status = Command::new("mkfifo").arg(path.join("fifo")).status();
        assert!(status.unwrap().success());
        let _socket = UnixListener::bind(path.join("socket")).unwrap();
        symlink("/dev/zero", path.join("device-link")).unwrap();
        symlink("loop", path.join("loop")).unwrap();
        fs::create_dir(path.join("folder")).unwrap();
        symlink("folder", path.join("folder-link")).unwrap();
        fs::write(path.join("folder/file"), "content").unwrap();
        let folder = Folder::open(path).unwrap();
        for name in [
            "fifo",
            "socket",
            "device-link",
            "loop",
            "folder",
            "folder-link/file",
        ] {
            let result = folder.file(Path::new(name));
            assert!(
                matches!(result, Err(FileError::NotRegular { .. })),
                "{name}: {result:?}"
            );
        }
        assert!(folder.file(Path::new("missing")).unwrap().is_none());
        let file = folder.file(Path::new("folder/file")).unwrap().unwrap();
        assert_eq!(file.read_bounded(7).unwrap(), b"content");
        assert!(matches!(
            file.read_bounded(6),
            Err(FileError::TooLarge { limit: 6, .. })
        ));
    }

    #[test]
    fn reads_a_file_that_grew_up_to_the_limit() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("file");
        fs::write(&path, "a").unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let file = folder.file(Path::new("file")).unwrap().unwrap();
        fs::write(&path, vec![b'b'; 10_000]).unwrap();
        assert_eq!(file.read_bounded(10_000).unwrap().len(), 10_000);
        assert!(matches!(
            file.read_bounded(9_999),
            Err(FileError::TooLarge { .. })
        ));
    }
}
