//! Writing a file so that a kill or a full disk at any call leaves the old one or the new one.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::{FileError, Folder, effective_gid, effective_uid};
use crate::sys::folder::{name_open, start_writing};
use crate::sys::lock::try_lock;
use crate::sys::open::{Mounts, Purpose, open_beneath};
use crate::sys::stat::{Kind, Stat, stat};

/// How the names of all our temporary files begin.
pub const TEMPORARY_PREFIX: &str = ".signetfs-";

/// Tells whose a new file is and who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewFile {
    /// The permission bits, whatever the umask says.
    pub mode: u32,
    /// Owner and group, given to them where this process may.
    pub owner: Option<(u32, u32)>,
}

/// Is a file that has no lasting name yet; dropping it removes it.
#[derive(Debug)]
pub struct Temporary<'a> {
    folder: &'a Folder,
    /// The temporary name.
    name: PathBuf,
    file: File,
    place: Place,
}

/// Tells under which name a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// None: it is gone with this process.
    Nowhere,
    /// The temporary one.
    Temporary,
    /// The lasting one.
    Lasting,
}

/// How many random names are tried.
const NAMES_MAX: u32 = 16;
/// How many digits a random name has.
const RANDOM_DIGITS: usize = 16;

impl<'a> Temporary<'a> {
    /// Writes `bytes` to a new file in `folder`. Its lock tells others that it is in use.
    ///
    /// # Errors
    /// Returns what the system calls return; nothing is left behind.
    pub fn write(folder: &'a Folder, bytes: &[u8], new: &NewFile) -> Result<Self, FileError> {
        let mut temporary = Self::make(folder)?;
        temporary
            .fill(bytes, new)
            .map_err(FileError::io("writing", &temporary.name))?;
        Ok(temporary)
    }

    /// Returns an empty new file in `folder`, filled piece by piece.
    ///
    /// # Errors
    /// Returns what the system calls return; nothing is left behind.
    pub fn empty(folder: &'a Folder) -> Result<Self, FileError> {
        Self::make(folder)
    }

    /// Returns an empty new file that has no name while it is filled, where the file system can do that: a kill leaves nothing.
    ///
    /// # Errors
    /// Returns what the system calls return; nothing is left behind.
    pub fn unnamed(folder: &'a Folder) -> Result<Self, FileError> {
        let Some(file) = open_unnamed(folder) else {
            return Self::make(folder);
        };
        let name = PathBuf::from("an unnamed file");
        // Before it has its first name: nobody is to take it for abandoned then.
        try_lock(file.as_fd()).map_err(FileError::io("locking", &name))?;
        Ok(Self {
            folder,
            name,
            file,
            place: Place::Nowhere,
        })
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// Returns what write(2) returns.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Hands the filled file over and sets its permission bits.
    ///
    /// # Errors
    /// Returns what the system calls return.
    pub fn finish(&mut self, new: &NewFile) -> Result<(), FileError> {
        self.fill(&[], new)
            .map_err(FileError::io("writing", &self.name))
    }

    /// Begins to make the bytes durable: files that all begin before the first is waited for share the wait.
    pub fn begin_sync(&self) {
        start_writing(self.file.as_fd());
    }

    /// Makes the bytes durable (one fsync). After an error the file is not to be used: its bytes may be lost.
    ///
    /// # Errors
    /// Returns what fsync(2) returns.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file
            .sync_all()
            .map_err(FileError::io("writing", &self.name))
    }

    fn make(folder: &'a Folder) -> Result<Self, FileError> {
        let mut attempts = 0;
        loop {
            let name = random_name()?;
            let purpose = Purpose::New { mode: 0o600 };
            match open_beneath(folder.as_fd(), &name, purpose, Mounts::Cross) {
                Ok(file) => {
                    let temporary = Self {
                        folder,
                        name,
                        file: file.into(),
                        place: Place::Temporary,
                    };
                    let is_locked = try_lock(temporary.file.as_fd())
                        .map_err(FileError::io("locking", &temporary.name))?;
                    // Whoever looks for leftovers may have come between, and have removed it.
                    if (is_locked && is_named(&temporary.file)) || attempts >= NAMES_MAX {
                        return Ok(temporary);
                    }
                    attempts += 1;
                }
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && attempts < NAMES_MAX =>
                {
                    attempts += 1;
                }
                Err(source) => return Err(FileError::io("making", name)(source)),
            }
        }
    }

    fn fill(&mut self, bytes: &[u8], new: &NewFile) -> io::Result<()> {
        self.file.write_all(bytes)?;
        if let Some((uid, gid)) = new.owner {
            give(&self.file, uid, gid)?;
        }
        // After the owner, whose change clears some bits.
        self.file.set_permissions(Permissions::from_mode(new.mode))
    }

    /// Gives the file its name in `folder`, in place of what has it. Whoever needs the name to be durable syncs the folder.
    ///
    /// # Errors
    /// Returns what renameat(2) returns; the temporary file is gone then.
    pub fn rename(mut self, folder: &Folder, name: &Path) -> Result<Stat, FileError> {
        if self.place == Place::Nowhere {
            let temporary = random_name()?;
            name_open(self.file.as_fd(), self.folder.as_fd(), &temporary)
                .map_err(FileError::io("naming", name))?;
            self.name = temporary;
            self.place = Place::Temporary;
        }
        self.folder.rename(&self.name, folder, name)?;
        self.place = Place::Lasting;
        stat(self.file.as_fd()).map_err(FileError::io("examining", name))
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if self.place == Place::Temporary {
            let _ = self.folder.remove(&self.name);
        }
    }
}

/// Opens a new file that has no name and can get one later; nothing where the system cannot do that.
pub(super) fn open_unnamed(folder: &Folder) -> Option<File> {
    let place = Path::new(".");
    let file = open_beneath(folder.as_fd(), place, Purpose::Unnamed, Mounts::Cross).ok()?;
    // Without /proc there would be no way back to it.
    Path::new("/proc/self/fd").exists().then(|| file.into())
}

fn is_named(file: &File) -> bool {
    stat(file.as_fd()).is_ok_and(|stat| stat.links > 0)
}

pub(super) fn random_name() -> Result<PathBuf, FileError> {
    let random = getrandom::u64()
        .map_err(|error| io::Error::other(error.to_string()))
        .map_err(FileError::io("naming a temporary file in", "."))?;
    Ok(PathBuf::from(format!("{TEMPORARY_PREFIX}{random:016x}")))
}

/// Returns the permission bits that this process gives to new files (0666 less the umask).
#[must_use]
pub fn new_file_mode() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
    0o666 & !umask.unwrap_or(0o022)
}

/// Hands a file over where it is not theirs yet; a process that may not keeps it.
pub(super) fn give(file: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    let unchanged = |mine: u32, theirs: u32| (mine != theirs).then_some(theirs);
    let (owner, group) = (
        unchanged(effective_uid(), uid),
        unchanged(effective_gid(), gid),
    );
    for (owner, group) in [(owner, group), (None, group)] {
        if owner.is_none() && group.is_none() {
            return Ok(());
        }
        match fchown(&file, owner, group) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            result => return result,
        }
    }
    Ok(())
}

/// Removes temporary files that nobody holds any more; returns how many.
///
/// # Errors
/// Returns what listing the folder returns; a file that cannot be removed is left.
pub fn remove_leftovers(folder: &Folder, entries_max: usize) -> Result<usize, FileError> {
    let names = folder.names(entries_max)?.unwrap_or_default();
    Ok(names
        .iter()
        .filter(|name| remove_if_abandoned(folder, name))
        .count())
}

/// Removes a temporary file that nobody holds any more; returns whether it did.
#[must_use]
pub fn remove_if_abandoned(folder: &Folder, name: &OsStr) -> bool {
    name.as_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
        && is_abandoned(folder, name)
        && folder.remove(Path::new(name)).is_ok()
}

/// Removes what killed processes left of files like this one in a folder that holds other things too; returns how many.
///
/// Only names that are ours to the letter, of this user, and that nobody holds.
///
/// # Errors
/// Returns what listing the folder returns; a file that cannot be removed is left.
pub fn remove_own_leftovers(folder: &Folder, entries_max: usize) -> Result<usize, FileError> {
    let names = folder.names(entries_max)?.unwrap_or_default();
    let is_own = |name: &OsStr| {
        is_random_name(name)
            && folder
                .stat_at(Path::new(name))
                .is_ok_and(|stat| stat.is_some_and(|stat| stat.uid == effective_uid()))
    };
    Ok(names
        .iter()
        .filter(|name| is_own(name) && remove_if_abandoned(folder, name))
        .count())
}

/// Returns whether a name is one of [`random_name`].
fn is_random_name(name: &OsStr) -> bool {
    let rest = name.as_bytes().strip_prefix(TEMPORARY_PREFIX.as_bytes());
    rest.is_some_and(|rest| {
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        rest.len() == RANDOM_DIGITS && rest.iter().all(is_hex)
    })
}

fn is_abandoned(folder: &Folder, name: &OsStr) -> bool {
    let Ok(file) = open_beneath(
        folder.as_fd(),
        Path::new(name),
        Purpose::Write,
        Mounts::Cross,
    ) else {
        return false;
    };
    stat(file.as_fd()).is_ok_and(|stat| stat.kind == Kind::File)
        && try_lock(file.as_fd()).is_ok_and(|locked| locked)
}

/// Replaces the file at `path` whole and durably, by a temporary file beside it; returns the number of fsyncs.
///
/// # Errors
/// Returns what the system calls return; the old file is intact then.
pub fn replace_path(path: &Path, bytes: &[u8], new: &NewFile) -> Result<usize, FileError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(FileError::io("writing", path)(source));
    };
    let folder = Folder::open(parent)?;
    let temporary = Temporary::write(&folder, bytes, new)?;
    temporary.sync()?;
    temporary.rename(&folder, Path::new(name))?;
    folder.sync()?;
    Ok(2)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const NEW: NewFile = NewFile {
        mode: 0o640,
        owner: None,
    };

    #[test]
    fn replaces_the_name_and_leaves_other_links_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::hard_link(&path, temporary.path().join("other")).unwrap();
        assert_eq!(replace_path(&path, b"new", &NEW).unwrap(), 2);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read(temporary.path().join("other")).unwrap(), b"old");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 2);
    }

    #[test]
    fn removes_abandoned_temporaries_only() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        fs::write(temporary.path().join(".signetfs-dead"), "").unwrap();
        fs::create_dir(temporary.path().join(".signetfs-folder")).unwrap();
        let alive = Temporary::write(&folder, b"x", &NEW).unwrap();
        assert_eq!(remove_leftovers(&folder, 100).unwrap(), 1);
        alive.rename(&folder, Path::new("alive")).unwrap();
        assert!(temporary.path().join("alive").exists());
    }

    #[test]
    fn removes_only_its_own_names_where_others_have_files() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let left = random_name().unwrap();
        fs::write(temporary.path().join(&left), "").unwrap();
        let others = [".signetfs-notes", ".signetfs-0123456789abcdeF", "x"];
        for name in others {
            fs::write(temporary.path().join(name), "").unwrap();
        }
        let alive = Temporary::write(&folder, b"x", &NEW).unwrap();
        let mut named = Temporary::unnamed(&folder).unwrap();
        named.append(b"x").unwrap();
        // As `rename` does, up to the moment before its last call.
        name_open(named.file.as_fd(), folder.as_fd(), &random_name().unwrap()).unwrap();
        assert_eq!(remove_own_leftovers(&folder, 100).unwrap(), 1);
        assert!(!temporary.path().join(left).exists());
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 5);
        drop(alive);
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 4);
    }

    #[test]
    fn an_unnamed_file_is_seen_when_it_is_whole() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        fs::write(temporary.path().join("file"), "old").unwrap();
        let mut file = Temporary::unnamed(&folder).unwrap();
        file.append(b"new").unwrap();
        file.finish(&NEW).unwrap();
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
        file.rename(&folder, Path::new("file")).unwrap();
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
        assert_eq!(fs::read(temporary.path().join("file")).unwrap(), b"new");
        drop(Temporary::unnamed(&folder).unwrap());
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    }

    #[test]
    fn leaves_nothing_when_it_fails() {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir(temporary.path().join("taken")).unwrap();
        let refused = replace_path(&temporary.path().join("taken"), b"x", &NEW);
        assert!(refused.is_err());
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    }
}
