//! Whether the standard output was open when this process was started.
//!
//! Before `main`, the runtime opens /dev/null in place of a standard descriptor that is closed, so that no other file gets its number.
//! Writing there succeeds, and an answer would be lost without an error. Afterwards this cannot be told from a /dev/null that the
//! caller opened for reading and writing, as some do; so it is looked at before.

use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Called by the loader before the runtime begins.
#[used]
// SAFETY: the section holds addresses of functions that take nothing here and return nothing.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: F_GETFD takes no memory.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    WAS_CLOSED.store(flags == -1, Ordering::Relaxed);
}

/// Returns whether the standard output was closed when this process was started.
#[must_use]
pub fn stdout_was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}
