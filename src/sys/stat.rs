//! What the kernel says of a file, its mount and its file system.

use std::ffi::CStr;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use super::{c_path, retry};

/// Is a file time: seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// Tells what a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symlink.
    Link,
    /// A fifo, socket or device.
    Other,
}

/// Holds one statx result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// The device it is on.
    pub device: u64,
    /// The mount id that is never used twice, where the kernel has one (Linux 6.8).
    pub unique_mount: Option<NonZero<u64>>,
    /// The inode.
    pub inode: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Time,
    /// Change time.
    pub changed: Time,
}

/// Returns the stat of an open file.
///
/// # Errors
/// Returns what statx(2) returns.
pub fn stat(descriptor: BorrowedFd<'_>) -> io::Result<Stat> {
    statx(descriptor, c"", libc::AT_EMPTY_PATH)
}

/// Returns the stat of a path relative to `folder`; a symlink at its end is not followed.
///
/// # Errors
/// Returns what statx(2) returns.
pub fn stat_at(folder: BorrowedFd<'_>, path: &Path) -> io::Result<Stat> {
    statx(folder, &c_path(path)?, libc::AT_SYMLINK_NOFOLLOW)
}

/// Returns the stat of a path, symlinks followed, as the kernel has it at hand: a network or FUSE file system is not asked anew.
///
/// # Errors
/// Returns what statx(2) returns.
pub fn stat_path(path: &Path) -> io::Result<Stat> {
    // SAFETY: the number stands for the current directory and needs no owner.
    let here = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };
    statx(here, &c_path(path)?, libc::AT_STATX_DONT_SYNC)
}

/// Returns the device of an open file without asking a network or FUSE file system anew.
pub(super) fn device_at_hand(descriptor: BorrowedFd<'_>) -> io::Result<u64> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    statx(descriptor, c"", flags).map(|stat| stat.device)
}

fn statx(at: BorrowedFd<'_>, path: &CStr, flags: libc::c_int) -> io::Result<Stat> {
    let mask = libc::STATX_BASIC_STATS | libc::STATX_MNT_ID_UNIQUE;
    // SAFETY: all-zero is a valid `statx`.
    let mut buffer: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: `path` and `buffer` outlive the call.
    retry(|| unsafe {
        libc::statx(
            at.as_raw_fd(),
            path.as_ptr(),
            flags | libc::AT_NO_AUTOMOUNT,
            mask,
            &raw mut buffer,
        )
    })?;
    let time = |stamp: libc::statx_timestamp| Time {
        seconds: stamp.tv_sec,
        nanoseconds: stamp.tv_nsec,
    };
    let mode = u32::from(buffer.stx_mode);
    Ok(Stat {
        kind: match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Folder,
            libc::S_IFLNK => Kind::Link,
            _ => Kind::Other,
        },
        device: libc::makedev(buffer.stx_dev_major, buffer.stx_dev_minor),
        unique_mount: (buffer.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0)
            .then_some(buffer.stx_mnt_id)
            .and_then(NonZero::new),
        inode: buffer.stx_ino,
        mode: mode & 0o7777,
        uid: buffer.stx_uid,
        gid: buffer.stx_gid,
        links: buffer.stx_nlink,
        size: buffer.stx_size,
        modified: time(buffer.stx_mtime),
        changed: time(buffer.stx_ctime),
    })
}

/// Splits a device number into major and minor.
#[must_use]
pub fn device_parts(device: u64) -> (u32, u32) {
    (libc::major(device), libc::minor(device))
}

/// Lists the file systems whose leases and times mean what they say on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileSystem {
    /// ext2, ext3, ext4.
    Ext,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// F2FS.
    F2fs,
    /// tmpfs.
    Tmpfs,
    /// Any other, by its magic number.
    Other(u32),
}

/// Returns the file system that an open file is on.
///
/// # Errors
/// Returns what fstatfs(2) returns.
pub fn file_system(descriptor: BorrowedFd<'_>) -> io::Result<FileSystem> {
    // SAFETY: all-zero is a valid `statfs`.
    let mut buffer: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `buffer` outlives the call, and the descriptor is open.
    retry(|| unsafe { libc::fstatfs(descriptor.as_raw_fd(), &raw mut buffer) })?;
    // The magic numbers have 32 bits; the field is wider, and signed, on some machines.
    let magic = u32::try_from(i128::from(buffer.f_type) & 0xffff_ffff).unwrap_or_default();
    Ok(match magic {
        0xef53 => FileSystem::Ext,
        0x5846_5342 => FileSystem::Xfs,
        0x9123_683e => FileSystem::Btrfs,
        0xf2f5_2010 => FileSystem::F2fs,
        0x0102_1994 => FileSystem::Tmpfs,
        other => FileSystem::Other(other),
    })
}

/// Returns the time that the kernel would stamp on a file now. Only for telling how old a file time is.
#[must_use]
pub fn file_clock() -> Time {
    // SAFETY: all-zero is a valid `timespec`.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `now` outlives the call; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    Time {
        seconds: now.tv_sec,
        nanoseconds: u32::try_from(now.tv_nsec).unwrap_or_default(),
    }
}
