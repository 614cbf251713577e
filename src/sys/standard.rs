//! The standard descriptors as this process was started with them.
//!
//! One that is closed gets /dev/null in its place, so that no other file gets its number. Writing there succeeds, and an answer would be
//! lost without an error. Afterwards this cannot be told from a /dev/null that the caller opened for reading and writing, as some do;
//! so it is looked at before.

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Opens /dev/null in place of every standard descriptor that is closed. Called before anything else is opened.
pub(super) fn fill() {
    for number in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: F_GETFD takes no memory.
        let is_open = unsafe { libc::fcntl(number, libc::F_GETFD) } != -1;
        if is_open {
            continue;
        }
        if number == libc::STDOUT_FILENO {
            STDOUT_WAS_CLOSED.store(true, Ordering::Relaxed);
        }
        // SAFETY: the name ends with a zero byte. The lowest number that is free is this one.
        let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        if opened != number {
            std::process::abort();
        }
    }
}

/// Returns whether the standard output was closed when this process was started.
#[must_use]
pub fn stdout_was_closed() -> bool {
    STDOUT_WAS_CLOSED.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_null_device_takes_the_place_of_what_is_closed() {
        let mut command = Command::new("readlink");
        command.args(["/proc/self/fd/0", "/proc/self/fd/2"]);
        let close_and_fill = || {
            // SAFETY: they take numbers.
            unsafe {
                (
                    libc::close(libc::STDIN_FILENO),
                    libc::close(libc::STDERR_FILENO),
                )
            };
            fill();
            Ok(())
        };
        // SAFETY: the function calls the kernel only.
        unsafe { command.pre_exec(close_and_fill) };
        let output = command.output().unwrap();
        let found = String::from_utf8(output.stdout).unwrap();
        assert_eq!(found, "/dev/null\n/dev/null\n");
    }
}
