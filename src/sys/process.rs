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

#[cfg(target_env = "gnu")]
/// Bytes from which on memory is the kernel's own to give and to take back. Above what one read answers (1 MiB), so that no read
/// asks the kernel for its buffer; below every table of a large layout.
const LARGE_BYTES: libc::c_int = 2 << 20;

/// Tunes the allocator for a process that holds many small things for long, and large tables for a moment.
///
/// Threads share its parts: what one frees, another may then use. A large table goes back to the kernel when it is dropped, and
/// grows without a copy; glibc would raise the bound to the largest table dropped so far, and then tables leave holes in the heap
/// that stay. Called before there are other threads. Nothing depends on it.
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    for (option, value) in [
        (libc::M_ARENA_MAX, ARENAS),
        (libc::M_MMAP_THRESHOLD, LARGE_BYTES),
        // The end of the heap is kept for the next read.
        (libc::M_TRIM_THRESHOLD, 2 * LARGE_BYTES),
    ] {
        // SAFETY: it takes two numbers.
        let _ = unsafe { libc::mallopt(option, value) };
    }
}

/// Returns whether a thread is the first one of its process, so that both have its number; a thread that is not there is not.
#[must_use]
pub fn leads_process(thread: u32) -> bool {
    let Ok(number) = libc::pid_t::try_from(thread) else {
        return false;
    };
    // SAFETY: it takes numbers, and sends nothing: signal 0 only asks whether there is such a thread in such a process.
    let asked = unsafe { libc::syscall(libc::SYS_tgkill, number, number, 0) };
    asked == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Returns whether a thread is one of this process.
#[must_use]
pub fn is_own_thread(thread: u32) -> bool {
    let numbers = (
        libc::pid_t::try_from(std::process::id()),
        libc::pid_t::try_from(thread),
    );
    let (Ok(process), Ok(thread)) = numbers else {
        return false;
    };
    // SAFETY: it takes numbers, and sends nothing.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) == 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_of_this_process_is_its_own() {
        let number = || {
            let path = std::fs::read_link("/proc/thread-self").unwrap();
            path.file_name().unwrap().to_str().unwrap().parse().unwrap()
        };
        let here: u32 = number();
        let (finish, wait) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            tell.send(number()).unwrap();
            let _ = wait.recv();
        });
        assert!(is_own_thread(here));
        assert!(is_own_thread(told.recv().unwrap()));
        drop(finish);
        other.join().unwrap();
        for foreign in [0, 1, u32::MAX, 0x7fff_ffff] {
            assert!(!is_own_thread(foreign));
        }
    }

    #[test]
    fn only_the_first_thread_leads_its_process() {
        assert!(leads_process(std::process::id()));
        assert!(leads_process(1), "whoever it belongs to");
        let other = std::thread::spawn(|| {
            let path = std::fs::read_link("/proc/thread-self").unwrap();
            let number = path.file_name().unwrap().to_str().unwrap().to_owned();
            leads_process(number.parse().unwrap())
        });
        assert!(!other.join().unwrap());
        for absent in [0, u32::MAX, 0x7fff_ffff] {
            assert!(!leads_process(absent));
        }
    }
}
