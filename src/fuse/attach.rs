//! Attaching a connection to a folder and detaching it: mount(2) as root, else the system's fusermount3.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use super::mount::{Access, Busy};
use super::mountinfo::{FILE_SYSTEM_TYPE, source_word};
use crate::sys::mount::{self, Unmount};
use crate::sys::process;

/// Tells fusermount3 where to send the connection.
const HELPER_SOCKET: &str = "_FUSE_COMMFD";
/// The program that mounts for other users than root.
const HELPER: &str = "fusermount3";

/// How far the kernel reads ahead (its default: 128).
const READ_AHEAD_KIBIBYTES: &str = "2048";

/// Mounts a new connection on a folder and returns it.
pub(super) fn attach(point: &Path, layout: &Path, access: Access) -> io::Result<OwnedFd> {
    if process::effective_uid() == 0 {
        attach_as_root(point, layout, access)
    } else {
        attach_by_helper(point, layout, access)
    }
}

fn attach_as_root(point: &Path, layout: &Path, access: Access) -> io::Result<OwnedFd> {
    let device: OwnedFd = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")?
        .into();
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        process::effective_uid(),
        process::effective_gid(),
    );
    if access != Access::Owner {
        data.push_str(",allow_other");
    }
    mount::mount(&source_word(layout), point, FILE_SYSTEM_TYPE, &data)?;
    Ok(device)
}

fn attach_by_helper(point: &Path, layout: &Path, access: Access) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    let number = mount::inherit(theirs.as_fd())?;
    let mut options = format!(
        "nosuid,nodev,noexec,noatime,default_permissions,subtype=signetfs,fsname={}",
        source_word(layout)
    );
    if access != Access::Owner {
        options.push_str(",allow_other");
    }
    let child = Command::new(HELPER)
        .args(["-o", &options, "--"])
        .arg(point)
        .env(HELPER_SOCKET, number.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(helper_missing)?;
    drop(theirs);
    let received = mount::receive_descriptor(&ours);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(helper_error(&output.stderr));
    }
    received
}

/// Has the kernel read ahead further than it does by itself, so that two chunks are checked with one request, and two requests at once.
///
/// Only root may, and not in every container; without it all is as it was, slower.
pub(super) fn read_ahead(device: &str) {
    let path = format!("/sys/class/bdi/{device}/read_ahead_kb");
    if let Err(error) = std::fs::write(&path, READ_AHEAD_KIBIBYTES) {
        log::debug!("{path}: {error}");
    }
}

/// Unmounts what is on top at a path; the caller made sure that it is ours.
pub(super) fn detach(point: &Path, busy: Busy) -> io::Result<()> {
    if process::effective_uid() == 0 {
        let how = match busy {
            Busy::Refuse => Unmount::Idle,
            Busy::Detach => Unmount::Lazy,
        };
        return mount::unmount(point, how);
    }
    let mut command = Command::new(HELPER);
    command.arg("-u");
    if busy == Busy::Detach {
        command.arg("-z");
    }
    let output = command
        .arg("--")
        .arg(point)
        .stdin(Stdio::null())
        .output()
        .map_err(helper_missing)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("busy") {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    Err(helper_error(&output.stderr))
}

fn helper_missing(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(error.kind(), format!("{HELPER} is not installed"))
        }
        _ => error,
    }
}

/// Returns what the helper says as an error; it has no numbers for what it refuses.
fn helper_error(text: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(text);
    let refuses = [
        "ermission denied",
        "not permitted",
        "no write access",
        "not owned by user",
    ];
    let kind = match refuses.iter().any(|words| text.contains(words)) {
        true => io::ErrorKind::PermissionDenied,
        false => io::ErrorKind::Other,
    };
    io::Error::new(kind, crate::text::escape_line(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_helper_may_not_do_is_a_lack_of_permission() {
        for (text, kind) in [
            (
                "fusermount3: failed to open /dev/fuse: Permission denied",
                io::ErrorKind::PermissionDenied,
            ),
            (
                "fusermount3: mount failed: Operation not permitted",
                io::ErrorKind::PermissionDenied,
            ),
            (
                "fusermount3: user has no write access to mountpoint /mnt",
                io::ErrorKind::PermissionDenied,
            ),
            (
                "fusermount3: failed to access mountpoint /a: No such file or directory",
                io::ErrorKind::Other,
            ),
        ] {
            assert_eq!(helper_error(text.as_bytes()).kind(), kind, "{text}");
        }
    }
}
