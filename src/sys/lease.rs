//! Read leases, which prove that nobody has a file open or mapped for writing.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// Asks for a read lease on an open file.
///
/// # Errors
/// EAGAIN where somebody has it open for writing, EACCES or EINVAL where there are no leases.
pub fn set_read_lease(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open for the duration of the call.
    check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) })?;
    Ok(())
}

/// Gives the lease of an open file back.
pub fn drop_lease(descriptor: BorrowedFd<'_>) {
    // SAFETY: the descriptor is open for the duration of the call. There is nothing to do about a failure: no lease, no harm.
    unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
}

/// Returns whether the read lease of an open file still stands and nobody is waiting for it to end.
#[must_use]
pub fn has_read_lease(descriptor: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is open for the duration of the call.
    let held = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETLEASE) };
    held == libc::F_RDLCK
}
