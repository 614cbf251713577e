//! Conversions between fuser's types and ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, FopenFlags, INodeNo, Request, TimeOrNow};

use crate::fs::content::Path;
use crate::fs::create::Existing;
use crate::fs::open::{Data, Mode};
use crate::fs::setattr::NewTime;
use crate::fs::{Caller, Kind, Lifetime, Stat};
use crate::layout::Timestamp;
use crate::sys::process::leads_process;

/// How long the kernel keeps what it knows of a blob.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// How long it keeps what it knows of the folders that every path to a blob leads through.
const SHORT: Duration = Duration::from_secs(1);
/// The bytes of a block in `st_blocks`.
const BLOCK_BYTES: u64 = 512;

pub(super) fn caller(request: &Request) -> Caller {
    Caller {
        uid: request.uid(),
        gid: request.gid(),
        pid: request.pid(),
    }
}

/// Returns the process (thread group) of a thread; the thread itself where it cannot be told.
pub(super) fn process(pid: u32) -> u32 {
    if leads_process(pid) {
        return pid;
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(pid)
}

pub(super) fn lifetime(stat: &Stat) -> Duration {
    match stat.lifetime {
        Lifetime::None => Duration::ZERO,
        Lifetime::Short => SHORT,
        Lifetime::Long => LONG,
    }
}

pub(super) fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::Link => FileType::Symlink,
        Kind::File => FileType::RegularFile,
    }
}

/// Returns the attributes that a lookup answers: their number is the one that the kernel asks about later.
pub(super) fn entry(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.number),
        ..attributes(stat)
    }
}

pub(super) fn attributes(stat: &Stat) -> FileAttr {
    let attributes = &stat.attributes;
    let modified = system_time(attributes.modified);
    FileAttr {
        ino: INodeNo(stat.inode),
        size: attributes.size,
        blocks: attributes.size.div_ceil(BLOCK_BYTES),
        atime: modified,
        mtime: modified,
        ctime: system_time(attributes.changed),
        crtime: UNIX_EPOCH,
        kind: kind(stat.kind),
        perm: attributes.mode,
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    let nanoseconds = Duration::from_nanos(u64::from(time.nanoseconds));
    whole
        .and_then(|whole| whole.checked_add(nanoseconds))
        .unwrap_or(UNIX_EPOCH)
}

pub(super) fn new_time(time: TimeOrNow) -> NewTime {
    match time {
        TimeOrNow::Now => NewTime::Now,
        TimeOrNow::SpecificTime(time) => NewTime::At(timestamp(time)),
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp {
            seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: after.subsec_nanos(),
        },
        Err(before) => Timestamp {
            seconds: i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |past| -past),
            nanoseconds: 0,
        },
    }
}

/// Returns what a handle is opened for.
pub(super) fn mode(flags: i32) -> Mode {
    let reads = flags & libc::O_ACCMODE == libc::O_RDONLY;
    match (flags & libc::O_TRUNC != 0, flags & libc::O_APPEND != 0) {
        (true, _) => Mode::Truncate,
        (false, _) if reads => Mode::Read,
        (false, true) => Mode::Append,
        (false, false) => Mode::Write,
    }
}

/// Returns what creating does where the name is taken.
pub(super) fn existing(flags: i32) -> Existing {
    match flags & libc::O_EXCL {
        0 => Existing::Take,
        _ => Existing::Refuse,
    }
}

/// Returns the flags of an opened handle.
///
/// A read handle sends no FLUSH: every process that inherited it would send one when it exits. A write handle of a
/// control file is direct, so that each write is answered before the program goes on.
pub(super) fn open_flags(data: &Data) -> FopenFlags {
    match data {
        Data::Bound => FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH,
        Data::Version => FopenFlags::FOPEN_NOFLUSH | FopenFlags::FOPEN_KEEP_CACHE,
        Data::Reading | Data::Blob(Path::Dropped | Path::Passthrough(_)) => {
            FopenFlags::FOPEN_NOFLUSH
        }
        Data::Blob(Path::Kept) => FopenFlags::FOPEN_NOFLUSH | FopenFlags::FOPEN_KEEP_CACHE,
        Data::Direct => FopenFlags::FOPEN_DIRECT_IO,
        Data::Scratch | Data::Folder => FopenFlags::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_follow_the_flags() {
        for (flags, expected) in [
            (libc::O_RDONLY, Mode::Read),
            (libc::O_WRONLY, Mode::Write),
            (libc::O_RDWR, Mode::Write),
            (libc::O_WRONLY | libc::O_APPEND, Mode::Append),
            (libc::O_WRONLY | libc::O_TRUNC, Mode::Truncate),
            // Whoever truncates writes, whatever else is said.
            (libc::O_RDONLY | libc::O_TRUNC, Mode::Truncate),
        ] {
            assert_eq!(mode(flags), expected, "{flags:#o}");
        }
    }

    #[test]
    fn times_before_1970_survive() {
        let time = Timestamp {
            seconds: -2,
            nanoseconds: 500,
        };
        let converted = system_time(time);
        let before = UNIX_EPOCH.duration_since(converted).unwrap();
        assert_eq!(before, Duration::new(1, 999_999_500));
    }

    #[test]
    fn a_thread_belongs_to_its_process() {
        let own = std::process::id();
        assert_eq!(process(own), own);
        assert_eq!(process(0), 0);
    }
}
