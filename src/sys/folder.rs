//! Operations on the entries of an open folder.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::open::{Purpose, open_beneath};
use super::{c_path, retry};

/// Returns the names in a folder without `.` and `..`, unsorted; stops after `entries_max + 1`.
///
/// # Errors
/// Returns what opendir(3) and readdir(3) return.
pub fn names(folder: BorrowedFd<'_>, entries_max: usize) -> io::Result<Vec<OsString>> {
    // A descriptor of its own: the position of a shared one would be shared too.
    let own = open_beneath(
        folder,
        Path::new("."),
        Purpose::Folder,
        super::open::Mounts::Cross,
    )?;
    let mut stream = Stream::new(own)?;
    let mut names = Vec::new();
    while names.len() <= entries_max {
        let Some(name) = stream.next_name()? else {
            break;
        };
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Is an open directory stream.
struct Stream(*mut libc::DIR);

impl Stream {
    fn new(folder: OwnedFd) -> io::Result<Self> {
        let raw = folder.into_raw_fd();
        // SAFETY: the stream takes the descriptor over.
        let stream = unsafe { libc::fdopendir(raw) };
        if stream.is_null() {
            let error = io::Error::last_os_error();
            // SAFETY: after a failure the descriptor is still ours alone.
            unsafe { libc::close(raw) };
            return Err(error);
        }
        Ok(Self(stream))
    }

    fn next_name(&mut self) -> io::Result<Option<OsString>> {
        // SAFETY: errno belongs to this thread; readdir leaves it alone at the end of the folder.
        unsafe { *libc::__errno_location() = 0 };
        // SAFETY: the stream is open, and used by this thread only.
        let entry = unsafe { libc::readdir(self.0) };
        if entry.is_null() {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(0) | None => Ok(None),
                Some(_) => Err(error),
            };
        }
        // SAFETY: the kernel ends each name with a zero byte, and it lives until the next call.
        let name = unsafe { CStr::from_ptr((&raw const (*entry).d_name).cast()) };
        Ok(Some(OsString::from_vec(name.to_bytes().to_vec())))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the stream is open, and nobody uses it afterwards.
        unsafe { libc::closedir(self.0) };
    }
}

/// Makes a folder.
///
/// # Errors
/// Returns what mkdirat(2) returns.
pub fn make_folder(folder: BorrowedFd<'_>, name: &Path, mode: u32) -> io::Result<()> {
    let name = c_path(name)?;
    // SAFETY: `name` outlives the call.
    retry(|| unsafe { libc::mkdirat(folder.as_raw_fd(), name.as_ptr(), mode) })?;
    Ok(())
}

/// Renames within one folder or between two; an existing file of the new name is replaced.
///
/// # Errors
/// Returns what renameat(2) returns.
pub fn rename(from: (BorrowedFd<'_>, &Path), to: (BorrowedFd<'_>, &Path)) -> io::Result<()> {
    let (old, new) = (c_path(from.1)?, c_path(to.1)?);
    // SAFETY: both names outlive the call.
    retry(|| unsafe {
        libc::renameat(
            from.0.as_raw_fd(),
            old.as_ptr(),
            to.0.as_raw_fd(),
            new.as_ptr(),
        )
    })?;
    Ok(())
}

/// Gives an open file without a name one in a folder; fails where the name exists.
///
/// # Errors
/// Returns what linkat(2) returns; ENOENT also where /proc is not mounted.
pub fn name_open(file: BorrowedFd<'_>, folder: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    let open = c_path(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))?;
    let name = c_path(name)?;
    // SAFETY: both names outlive the call.
    retry(|| unsafe {
        libc::linkat(
            libc::AT_FDCWD,
            open.as_ptr(),
            folder.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    })?;
    Ok(())
}

/// Removes a name that is not a folder.
///
/// # Errors
/// Returns what unlinkat(2) returns.
pub fn remove(folder: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    let name = c_path(name)?;
    // SAFETY: `name` outlives the call.
    retry(|| unsafe { libc::unlinkat(folder.as_raw_fd(), name.as_ptr(), 0) })?;
    Ok(())
}

/// Starts writing the bytes of an open file to the disk, without waiting. Only a hint: whoever needs them there calls fsync.
pub fn start_writing(file: BorrowedFd<'_>) {
    // SAFETY: the descriptor is open for the duration of the call.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Bytes of the longest target of a symlink.
const TARGET_BYTES_MAX: usize = 4096;

/// Returns the target of a symlink.
///
/// # Errors
/// Returns what readlinkat(2) returns.
pub fn link_target(folder: BorrowedFd<'_>, name: &Path) -> io::Result<PathBuf> {
    let name = c_path(name)?;
    let mut target = vec![0_u8; TARGET_BYTES_MAX];
    // SAFETY: the buffer has the length that is passed, and `name` outlives the call.
    let length = unsafe {
        libc::readlinkat(
            folder.as_raw_fd(),
            name.as_ptr(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    target.truncate(length);
    Ok(PathBuf::from(OsString::from_vec(target)))
}
