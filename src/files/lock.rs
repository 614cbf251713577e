//! A lock file that is waited for, taken with flock and removed only by the process that made it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::read::is_irregular;
use super::{FileError, Folder};
use crate::sys::lock::try_lock;
use crate::sys::open::{Mounts, Purpose, open_beneath};
use crate::sys::stat::{Kind, Stat, device_parts, stat};

/// Is a held lock; dropping it gives it back.
#[derive(Debug)]
pub struct Lock<'a> {
    folder: &'a Folder,
    name: PathBuf,
    file: OwnedFd,
    created: bool,
}

/// How long a lock that is held is left alone before it is tried again.
const PAUSE: Duration = Duration::from_millis(2);

/// How often the list of locks is read before a holder goes unnamed.
const HOLDER_LOOKS: u32 = 8;

impl<'a> Lock<'a> {
    /// Takes the lock on the file `name`, made if it is not there, and waits for another holder up to `wait`.
    ///
    /// # Errors
    /// Names the holder where the wait was in vain.
    pub fn take(folder: &'a Folder, name: &Path, wait: Duration) -> Result<Self, FileError> {
        let deadline = Instant::now() + wait;
        loop {
            let Some((file, created)) = open_lock(folder, name)? else {
                continue;
            };
            let mut lock = Self {
                folder,
                name: name.to_owned(),
                file,
                created: false,
            };
            lock.wait_until(deadline, wait)?;
            // A holder that removed the file meanwhile left us with a lock on nothing.
            let held = stat(lock.file.as_fd()).map_err(FileError::io("examining", name))?;
            let named = folder.stat_at(name)?;
            if named.is_some_and(|named| same_file(&named, &held)) {
                // Only now: a file that another process locked first is not ours to remove.
                lock.created = created;
                return Ok(lock);
            }
        }
    }

    /// Returns whether the file was not there before.
    #[must_use]
    pub fn created(&self) -> bool {
        self.created
    }

    fn wait_until(&self, deadline: Instant, wait: Duration) -> Result<(), FileError> {
        loop {
            let locked =
                try_lock(self.file.as_fd()).map_err(FileError::io("locking", &self.name))?;
            if locked {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(FileError::Locked {
                    path: self.name.clone(),
                    holder: self.holder(),
                    seconds: wait.as_secs(),
                });
            }
            sleep(PAUSE);
        }
    }

    fn holder(&self) -> String {
        // The kernel hands the list over in pieces; a line is missed where other locks come and go between two of them.
        let pid = stat(self.file.as_fd()).ok().and_then(|stat| {
            (0..HOLDER_LOOKS)
                .find_map(|_| holder_in(&fs::read_to_string("/proc/locks").ok()?, &stat))
        });
        pid.map_or_else(
            || "another process".to_owned(),
            |pid| format!("process {pid}"),
        )
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Still locked here: nobody can lock the file between its removal and the end of the lock and take it for the named one.
        if self.created {
            let _ = self.folder.remove(&self.name);
        }
    }
}

/// Opens or makes the lock file; `None` where it vanished in between.
fn open_lock(folder: &Folder, name: &Path) -> Result<Option<(OwnedFd, bool)>, FileError> {
    let fd = folder.as_fd();
    match open_beneath(fd, name, Purpose::New { mode: 0o644 }, Mounts::Cross) {
        Ok(file) => return Ok(Some((file, true))),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(source) => return Err(FileError::io("making", name)(source)),
    }
    let not_regular = || FileError::NotRegular {
        path: name.to_owned(),
    };
    match open_beneath(fd, name, Purpose::Write, Mounts::Cross) {
        Ok(file) => {
            let stat = stat(file.as_fd()).map_err(FileError::io("examining", name))?;
            if stat.kind != Kind::File {
                return Err(not_regular());
            }
            Ok(Some((file, false)))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) if is_irregular(&error) || error.raw_os_error() == Some(libc::EISDIR) => {
            Err(not_regular())
        }
        Err(source) => Err(FileError::io("opening", name)(source)),
    }
}

pub(super) fn same_file(one: &Stat, other: &Stat) -> bool {
    one.device == other.device && one.inode == other.inode
}

/// Returns the process that holds a flock on the file, from the text of /proc/locks.
fn holder_in(locks: &str, stat: &Stat) -> Option<u32> {
    let (major, minor) = device_parts(stat.device);
    let file = format!("{major:02x}:{minor:02x}:{}", stat.inode);
    locks.lines().find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 4711 fd:00:1234 0 EOF`; a waiter's line begins with `1: -> FLOCK`.
        let mut words = line.split_whitespace().skip(1);
        if words.next()? != "FLOCK" {
            return None;
        }
        let pid = words.nth(2)?.parse().ok()?;
        (words.next()? == file && pid > 0).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "index.json.lock";

    #[test]
    fn removes_the_file_only_if_it_made_it() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let path = temporary.path().join(NAME);
        let lock = Lock::take(&folder, Path::new(NAME), Duration::ZERO).unwrap();
        assert!(lock.created() && path.exists());
        drop(lock);
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        let lock = Lock::take(&folder, Path::new(NAME), Duration::ZERO).unwrap();
        assert!(!lock.created());
        drop(lock);
        assert!(path.exists());
    }

    #[test]
    fn names_the_holder() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let _held = Lock::take(&folder, Path::new(NAME), Duration::ZERO).unwrap();
        let refused = Lock::take(&folder, Path::new(NAME), Duration::from_millis(5));
        let Err(FileError::Locked { holder, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(holder, format!("process {}", std::process::id()));
    }

    #[test]
    fn refuses_a_fifo_in_its_place_without_waiting() {
        let temporary = tempfile::tempdir().unwrap();
        let status = std::process::Command::new("mkfifo")
            .arg(temporary.path().join(NAME))
            .status();
        assert!(status.unwrap().success());
        let folder = Folder::open(temporary.path()).unwrap();
        let refused = Lock::take(&folder, Path::new(NAME), Duration::from_secs(1));
        assert!(matches!(refused, Err(FileError::NotRegular { .. })));
    }

    #[test]
    fn only_one_of_many_threads_holds_it() {
        let temporary = tempfile::tempdir().unwrap();
        let counter = temporary.path().join("counter");
        fs::write(&counter, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    let folder = Folder::open(temporary.path()).unwrap();
                    for _ in 0..50 {
                        let _lock =
                            Lock::take(&folder, Path::new(NAME), Duration::from_secs(60)).unwrap();
                        let count: u32 = fs::read_to_string(&counter).unwrap().parse().unwrap();
                        fs::write(&counter, (count + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&counter).unwrap(), "600");
    }
}
