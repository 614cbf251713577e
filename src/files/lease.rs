//! Read leases shared by all users of one open file.
//!
//! The kernel keeps one lease per open file, so whoever is first takes it and whoever is last gives it back.
//! A lease proves only what the file system of this machine sees: elsewhere it is answered with [`Refused::Unavailable`].

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys::lease::{drop_lease, has_read_lease, set_read_lease};
use crate::sys::process::ignore_sigio;
use crate::sys::stat::{FileSystem, file_system};

/// Counts the holders by descriptor; an open file is kept open by its holders, so its number is not reused.
///
/// A lock is held while the kernel is asked, so each serves some of the descriptors only: threads that look at different files do
/// not wait for one another.
static HOLDERS: [Mutex<BTreeMap<RawFd, usize>>; LOCKS] =
    [const { Mutex::new(BTreeMap::new()) }; LOCKS];
/// Locks of the table of holders.
const LOCKS: usize = 16;

/// Is a granted read lease: while it stands, nobody has the file open or mapped for writing.
#[derive(Debug)]
pub struct HeldLease {
    file: Arc<OwnedFd>,
}

/// Says why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Somebody has the file open or mapped for writing.
    Writer,
    /// There are no leases for this user or on this file system.
    Unavailable,
}

impl HeldLease {
    /// Takes a read lease.
    ///
    /// # Errors
    /// Says why there is none.
    pub fn take(file: &Arc<OwnedFd>) -> Result<Self, Refused> {
        ignore_sigio();
        let mut holders = holders_of(file);
        let count = holders.entry(file.as_raw_fd()).or_insert(0);
        let result = if *count > 0 {
            if has_read_lease(file.as_fd()) {
                Ok(())
            } else {
                Err(Refused::Writer)
            }
        } else {
            first_lease(file)
        };
        if result.is_ok() {
            *count += 1;
        } else if *count == 0 {
            holders.remove(&file.as_raw_fd());
        }
        drop(holders);
        result.map(|()| Self { file: file.clone() })
    }

    /// Returns whether the lease still stands; once it does not, what was read meanwhile proves nothing.
    #[must_use]
    pub fn stands(&self) -> bool {
        has_read_lease(self.file.as_fd())
    }
}

/// Returns whether nobody wrote since a lease was asked for. Where there are no leases nobody can tell, and times decide alone.
#[must_use]
pub fn nobody_wrote(lease: &Result<HeldLease, Refused>) -> bool {
    match lease {
        Ok(lease) => lease.stands(),
        Err(refused) => *refused == Refused::Unavailable,
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        let mut holders = holders_of(&self.file);
        if let Some(count) = holders.get_mut(&self.file.as_raw_fd()) {
            *count -= 1;
            if *count == 0 {
                holders.remove(&self.file.as_raw_fd());
                drop_lease(self.file.as_fd());
            }
        }
    }
}

/// Locks the part of the table that counts the holders of a file.
fn holders_of(file: &OwnedFd) -> MutexGuard<'static, BTreeMap<RawFd, usize>> {
    let number = usize::try_from(file.as_raw_fd()).unwrap_or_default();
    let [first, ..] = &HOLDERS;
    let lock = HOLDERS.get(number % LOCKS).unwrap_or(first);
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_lease(file: &OwnedFd) -> Result<(), Refused> {
    match set_read_lease(file.as_fd()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return Err(Refused::Writer),
        Err(_) => return Err(Refused::Unavailable),
    }
    // On overlay and network file systems a lease says nothing about writers on the other side. On tmpfs a writable mapping
    // that was read first changes bytes without changing any time (measured), so nothing tells that it existed between two leases.
    if matches!(
        file_system(file.as_fd()),
        Ok(FileSystem::Ext | FileSystem::Xfs | FileSystem::Btrfs | FileSystem::F2fs)
    ) {
        return Ok(());
    }
    drop_lease(file.as_fd());
    Err(Refused::Unavailable)
}

/// Returns a temporary folder where leases are granted, or `None` where this machine has none (containers, tmpfs only).
#[cfg(test)]
pub(crate) fn folder_with_leases() -> Option<tempfile::TempDir> {
    let candidates = [std::env::temp_dir(), ".".into(), "/var/tmp".into()];
    candidates.iter().find_map(|candidate| {
        let folder = tempfile::tempdir_in(candidate).ok()?;
        let path = folder.path().join("probe");
        std::fs::write(&path, "").ok()?;
        let file = Arc::new(std::fs::File::open(&path).ok()?.into());
        HeldLease::take(&file).ok()?;
        std::fs::remove_file(path).ok()?;
        Some(folder)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    fn shared(path: &std::path::Path) -> Arc<OwnedFd> {
        Arc::new(File::open(path).unwrap().into())
    }

    #[test]
    fn a_writer_refuses_the_lease_and_a_reader_does_not() {
        let Some(temporary) = folder_with_leases() else {
            return;
        };
        let path = temporary.path().join("file");
        fs::write(&path, "x").unwrap();
        let file = shared(&path);
        let _reader = File::open(&path).unwrap();
        assert!(HeldLease::take(&file).is_ok());
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        assert_eq!(HeldLease::take(&file).unwrap_err(), Refused::Writer);
        drop(writer);
        assert!(HeldLease::take(&file).is_ok());
    }

    #[test]
    fn the_last_holder_of_an_open_file_gives_the_lease_back() {
        let Some(temporary) = folder_with_leases() else {
            return;
        };
        let path = temporary.path().join("file");
        fs::write(&path, "x").unwrap();
        let file = shared(&path);
        let first = HeldLease::take(&file).unwrap();
        let second = HeldLease::take(&file).unwrap();
        drop(first);
        assert!(second.stands());
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        assert!(options.open(&path).is_err(), "the writer must wait");
        assert!(!second.stands());
        assert_eq!(HeldLease::take(&file).unwrap_err(), Refused::Writer);
        drop(second);
        assert!(options.open(&path).is_ok());
    }

    #[test]
    fn holders_are_counted_by_file_whichever_lock_counts_them() {
        let Some(temporary) = folder_with_leases() else {
            return;
        };
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        // More files than locks: some share one.
        let files: Vec<_> = (0..3 * LOCKS)
            .map(|number| {
                let path = temporary.path().join(number.to_string());
                fs::write(&path, "x").unwrap();
                let file = shared(&path);
                let leases = [0, 1].map(|_| HeldLease::take(&file).unwrap());
                (path, leases)
            })
            .collect();
        for (path, [first, second]) in files {
            drop(first);
            assert!(second.stands());
            drop(second);
            assert!(options.open(&path).is_ok(), "nobody holds it any more");
        }
    }

    #[test]
    fn a_file_on_tmpfs_has_no_lease_that_proves_anything() {
        let Ok(temporary) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let path = temporary.path().join("file");
        fs::write(&path, "x").unwrap();
        let file = shared(&path);
        assert_eq!(HeldLease::take(&file).unwrap_err(), Refused::Unavailable);
        assert!(!has_read_lease(file.as_fd()));
    }
}
