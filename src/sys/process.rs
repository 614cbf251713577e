//! What concerns the whole process: its user, its signals, its limits.

use std::io;
use std::sync::Once;

use super::check;

/// Returns the effective user id.
#[must_use]
pub fn effective_uid() -> u32 {
    // SAFETY: it cannot fail.
    unsafe { libc::geteuid() }
}

/// Returns the effective group id.
#[must_use]
pub fn effective_gid() -> u32 {
    // SAFETY: it cannot fail.
    unsafe { libc::getegid() }
}

#[cfg(target_env = "gnu")]
/// Parts that the allocator divides memory into at most.
const ARENAS: libc::c_int = 2;

/// Keeps the allocator from giving every thread a part of its own: what one thread frees, another may then use.
///
/// Called before there are other threads. Nothing depends on it.
pub fn share_memory_between_threads() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}

/// Ignores SIGIO, which announces that a lease is being broken and would end the process.
pub fn ignore_sigio() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    });
}

/// Tells what becomes of this process when the one that started it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bond {
    /// It is killed.
    Ends,
    /// Nothing.
    GoesOn,
}

/// Sets what becomes of this process when the one that started it ends; that one may have ended before.
///
/// # Errors
/// Returns what prctl(2) returns.
pub fn bind_to_parent(bond: Bond) -> io::Result<()> {
    let signal = match bond {
        Bond::Ends => libc::SIGKILL,
        Bond::GoesOn => 0,
    };
    // SAFETY: it takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) }).map(|_| ())
}

/// Raises the number of files that may be open to the hard limit, and returns it.
///
/// # Errors
/// Returns what getrlimit(2) and setrlimit(2) return.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` outlives the call.
        check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    }
    Ok(limit.rlim_cur)
}
