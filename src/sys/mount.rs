//! Mounting and what a process that serves a mount needs: signals it waits for, a session, descriptors it hands on.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{c_path, check, retry};

/// The signals that a mount waits for: three that end it, and one that asks for its counters.
const SIGNALS: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1];
/// The most bytes an extended attribute of ours has.
const XATTR_BYTES_MAX: usize = 4096;

/// Is a signal that a mount waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It has to end.
    End,
    /// It has to write its counters (SIGUSR1).
    Report,
}

/// Tells what happens to a mount that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmount {
    /// The call is refused.
    Idle,
    /// It leaves the name space now and ends with its last user.
    Lazy,
}

/// Mounts a file system of type `kind` on the folder that `target` names, without devices, set-user-id and execution.
///
/// # Errors
/// Returns what mount(2) returns.
pub fn mount(source: &str, target: &Path, kind: &str, data: &str) -> io::Result<()> {
    let no_zero = |text: &str| {
        CString::new(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a zero byte"))
    };
    let (source, target) = (no_zero(source)?, c_path(target)?);
    let (kind, data) = (no_zero(kind)?, no_zero(data)?);
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_NOATIME;
    // SAFETY: all five pointers are to C strings that outlive the call.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    })?;
    Ok(())
}

/// Unmounts what is mounted on top at `target`.
///
/// # Errors
/// Returns what umount2(2) returns.
pub fn unmount(target: &Path, how: Unmount) -> io::Result<()> {
    let target = c_path(target)?;
    let flags = match how {
        Unmount::Idle => libc::UMOUNT_NOFOLLOW,
        Unmount::Lazy => libc::UMOUNT_NOFOLLOW | libc::MNT_DETACH,
    };
    // SAFETY: the path outlives the call.
    check(unsafe { libc::umount2(target.as_ptr(), flags) })?;
    Ok(())
}

fn signals() -> libc::sigset_t {
    // SAFETY: all-zero is valid memory for a set that `sigemptyset` then fills in.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: `set` outlives the calls, and the signals exist.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for signal in SIGNALS {
            libc::sigaddset(&raw mut set, signal);
        }
    }
    set
}

/// Blocks the signals that a mount waits for in this thread and in every thread it starts from now on.
///
/// # Errors
/// Returns what pthread_sigmask returns.
pub fn block_signals() -> io::Result<()> {
    let set = signals();
    // SAFETY: `set` outlives the call, and no old mask is asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Waits until one of the blocked signals arrives.
///
/// # Errors
/// Returns what sigwait returns.
pub fn wait_for_signal() -> io::Result<Signal> {
    let set = signals();
    let mut signal = 0;
    // SAFETY: both outlive the call.
    match unsafe { libc::sigwait(&raw const set, &raw mut signal) } {
        0 if signal == libc::SIGUSR1 => Ok(Signal::Report),
        0 => Ok(Signal::End),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Makes this process the leader of a session of its own, away from the terminal.
///
/// # Errors
/// Returns what setsid(2) returns.
pub fn new_session() -> io::Result<()> {
    // SAFETY: it takes no arguments.
    check(unsafe { libc::setsid() })?;
    Ok(())
}

/// Puts /dev/null in the place of standard input, output and error, so that nobody waits for their end.
///
/// # Errors
/// Returns what open(2) or dup2(2) returns.
pub fn silence_standard_streams() -> io::Result<()> {
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    for stream in 0..=2 {
        // SAFETY: `null` is open; the standard streams are nobody's `OwnedFd`.
        retry(|| unsafe { libc::dup2(null.as_raw_fd(), stream) })?;
    }
    Ok(())
}

/// Lets programs started from now on inherit a descriptor under its number.
///
/// # Errors
/// Returns what fcntl(2) returns.
pub fn inherit(descriptor: BorrowedFd<'_>) -> io::Result<RawFd> {
    // SAFETY: the descriptor is open.
    check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, 0) })?;
    Ok(descriptor.as_raw_fd())
}

/// Takes over a descriptor that the program was started with; it is not inherited further.
///
/// # Errors
/// Refuses a standard stream and a number that is not open.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: any number may be asked about.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and the caller read its number from what started this program, before anything was opened.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes every descriptor that the program was started with, but for the standard streams and one more.
///
/// Call it before anything is opened. A kernel that does not know the call (before Linux 5.9) leaves them open.
pub fn close_inherited_but(keep: RawFd) {
    let close = |first: RawFd, last: libc::c_uint| {
        if let Ok(first) = libc::c_uint::try_from(first)
            && first <= last
        {
            // SAFETY: the caller has opened nothing yet, so nobody owns a descriptor in this range.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    };
    let before = libc::c_uint::try_from(keep.saturating_sub(1));
    close(3, before.unwrap_or(0));
    close(keep.saturating_add(1).max(3), libc::c_uint::MAX);
}

/// Receives one descriptor from a socket.
///
/// # Errors
/// Returns what recvmsg(2) returns, and an error where the peer closed without sending one.
pub fn receive_descriptor(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0_u8; 1];
    let mut vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: byte.len(),
    };
    let mut control = [0_u64; 8];
    // SAFETY: all-zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of_val(&control);
    let received = loop {
        // SAFETY: the message points at buffers that outlive the call, with their true lengths.
        let received =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        let error = io::Error::last_os_error();
        if received >= 0 {
            break received;
        }
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    // SAFETY: `message` is as recvmsg left it.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if received == 0 || header.is_null() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: CMSG_FIRSTHDR returned a header within `control`.
    let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
    if level != libc::SOL_SOCKET || kind != libc::SCM_RIGHTS {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: a message of this type carries at least one descriptor, perhaps unaligned.
    let number = unsafe { libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned() };
    // SAFETY: the kernel made it for us just now.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Returns an extended attribute, or `None` where there is none of this name.
///
/// # Errors
/// Returns what getxattr(2) returns.
pub fn extended_attribute(path: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let path = c_path(path)?;
    let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut buffer = vec![0_u8; XATTR_BYTES_MAX];
    // SAFETY: the strings and the buffer outlive the call; the length is the buffer's.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENODATA | libc::EOPNOTSUPP) => Ok(None),
            _ => Err(error),
        };
    };
    buffer.truncate(length);
    Ok(Some(buffer))
}
