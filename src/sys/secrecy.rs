//! What keeps a private key in the memory of this process.

use std::io;

use super::check;

/// Forbids core dumps and debuggers of the same user: called before a private key is read.
///
/// # Errors
/// Returns what prctl(2) returns.
pub fn forbid_core_dumps() -> io::Result<()> {
    // SAFETY: PR_SET_DUMPABLE takes a number and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(|_| ())
}
