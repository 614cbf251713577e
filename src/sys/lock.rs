//! Locks on whole files, as `flock(1)` and buildx take them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// Takes the exclusive lock of an open file without waiting; false where another open file has it.
///
/// # Errors
/// Returns what flock(2) returns.
pub fn try_lock(descriptor: BorrowedFd<'_>) -> io::Result<bool> {
    loop {
        // SAFETY: the descriptor is open for the duration of the call.
        let result =
            check(unsafe { libc::flock(descriptor.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) });
        return match result {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}
