//! Opening below a folder without following anything.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, size_of};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use super::stat::device_at_hand;
use super::{c_path, retry};

/// Tells what a descriptor is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Reading a file; never waits for a fifo or a lease.
    Read,
    /// Reading or passing through a folder.
    Folder,
    /// Holding a place only (`O_PATH`).
    Place,
    /// Making a new file for writing; fails where the name exists.
    New {
        /// The permission bits before the umask.
        mode: u32,
    },
    /// Writing a new file in a folder that has no name there (`O_TMPFILE`).
    Unnamed,
    /// Writing an existing file (a lock), never waiting.
    Write,
}

impl Purpose {
    fn flags(self) -> libc::c_int {
        let purpose = match self {
            Self::Read => libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY,
            Self::Folder => libc::O_RDONLY | libc::O_DIRECTORY,
            Self::Place => libc::O_PATH,
            Self::New { .. } => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
            Self::Unnamed => libc::O_RDWR | libc::O_TMPFILE,
            Self::Write => libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOCTTY,
        };
        purpose | libc::O_CLOEXEC
    }

    fn mode(self) -> libc::mode_t {
        match self {
            Self::New { mode } => mode,
            Self::Unnamed => 0o600,
            Self::Read | Self::Folder | Self::Place | Self::Write => 0,
        }
    }
}

/// Tells whether mount points may be crossed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// They may.
    Cross,
    /// They may not: EXDEV.
    Stay,
}

/// Opens `path` as any program would, following symlinks.
///
/// # Errors
/// Returns what open(2) returns.
pub fn open(path: &Path, purpose: Purpose) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: `path` is a C string that outlives the call.
    let raw = retry(|| unsafe { libc::open(path.as_ptr(), purpose.flags(), purpose.mode()) })?;
    // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// How often a lookup that raced with a rename is tried again.
const RACES_MAX: u32 = 100;

/// Opens `path` below `folder`; a symlink anywhere on the way is ELOOP, leaving the folder is EXDEV.
///
/// # Errors
/// Returns what openat2(2) returns.
pub fn open_beneath(
    folder: BorrowedFd<'_>,
    path: &Path,
    purpose: Purpose,
    mounts: Mounts,
) -> io::Result<OwnedFd> {
    static NO_OPENAT2: AtomicBool = AtomicBool::new(false);
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        match openat2(folder, path, purpose, mounts) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                NO_OPENAT2.store(true, Ordering::Relaxed);
            }
            // Old seccomp filters answer unknown calls with EPERM.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            result => return result,
        }
    }
    open_by_components(folder, path, purpose, mounts)
}

fn openat2(
    folder: BorrowedFd<'_>,
    path: &Path,
    purpose: Purpose,
    mounts: Mounts,
) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: all-zero is a valid `open_how`.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from(purpose.flags().cast_unsigned());
    how.mode = u64::from(purpose.mode());
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    if mounts == Mounts::Stay {
        how.resolve |= libc::RESOLVE_NO_XDEV;
    }
    let mut races = 0;
    loop {
        // SAFETY: `path` and `how` outlive the call, and the size is that of `how`.
        let raw = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                folder.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        if let Ok(raw) = libc::c_int::try_from(raw)
            && raw >= 0
        {
            // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
            return Ok(unsafe { OwnedFd::from_raw_fd(raw) });
        }
        let error = io::Error::last_os_error();
        let again = match error.raw_os_error() {
            Some(libc::EINTR) => true,
            // A rename or mount elsewhere made the kernel unsure; also what a file under a foreign lease answers.
            Some(libc::EAGAIN) => races < RACES_MAX,
            _ => false,
        };
        if !again {
            return Err(error);
        }
        races += 1;
    }
}

/// Does the same on kernels without openat2: one component at a time, none of them a symlink.
fn open_by_components(
    folder: BorrowedFd<'_>,
    path: &Path,
    purpose: Purpose,
    mounts: Mounts,
) -> io::Result<OwnedFd> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::from_raw_os_error(libc::EXDEV));
            }
        }
    }
    let last = names.pop().unwrap_or(OsStr::new("."));
    let mut held: Option<OwnedFd> = None;
    for name in names {
        let at = held.as_ref().map_or(folder, AsFd::as_fd);
        let next = open_name(at, name, Purpose::Folder)?;
        held = Some(next);
    }
    let opened = open_name(held.as_ref().map_or(folder, AsFd::as_fd), last, purpose)?;
    // Without the kernel's help only mounts of another file system are noticed.
    if mounts == Mounts::Stay && device_at_hand(opened.as_fd())? != device_at_hand(folder)? {
        return Err(io::Error::from_raw_os_error(libc::EXDEV));
    }
    Ok(opened)
}

fn open_name(folder: BorrowedFd<'_>, name: &OsStr, purpose: Purpose) -> io::Result<OwnedFd> {
    let path = c_path(Path::new(name))?;
    let flags = purpose.flags() | libc::O_NOFOLLOW;
    // SAFETY: `path` is a C string that outlives the call.
    let raw =
        retry(|| unsafe { libc::openat(folder.as_raw_fd(), path.as_ptr(), flags, purpose.mode()) });
    match raw {
        // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
        Ok(raw) => Ok(unsafe { OwnedFd::from_raw_fd(raw) }),
        // O_DIRECTORY on a symlink is ENOTDIR; openat2 says ELOOP, and so does this.
        Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) && is_symlink(folder, name) => {
            Err(io::Error::from_raw_os_error(libc::ELOOP))
        }
        Err(error) => Err(error),
    }
}

fn is_symlink(folder: BorrowedFd<'_>, name: &OsStr) -> bool {
    super::stat::stat_at(folder, Path::new(name))
        .is_ok_and(|stat| stat.kind == super::stat::Kind::Link)
}

/// Lends a descriptor the methods of a `File`.
pub(crate) fn lend(descriptor: BorrowedFd<'_>) -> Lent<'_> {
    // SAFETY: `ManuallyDrop` never closes it, and the lifetime keeps the owner alive.
    let file = unsafe { File::from_raw_fd(descriptor.as_raw_fd()) };
    Lent {
        file: ManuallyDrop::new(file),
        owner: PhantomData,
    }
}

/// Is a `File` that does not own its descriptor.
pub(crate) struct Lent<'a> {
    file: ManuallyDrop<File>,
    owner: PhantomData<BorrowedFd<'a>>,
}

impl Deref for Lent<'_> {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn both_ways_of_opening_agree() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/file"), "x").unwrap();
        fs::write(folder.path().join("top"), "x").unwrap();
        symlink("a", folder.path().join("link")).unwrap();
        symlink("top", folder.path().join("file-link")).unwrap();
        symlink("/etc/passwd", folder.path().join("out")).unwrap();
        let held = open(folder.path(), Purpose::Folder).unwrap();
        for (path, expected) in [
            ("a/file", None),
            ("top", None),
            ("./a/file", None),
            ("link/file", Some(libc::ELOOP)),
            ("file-link", Some(libc::ELOOP)),
            ("out", Some(libc::ELOOP)),
            ("../x", Some(libc::EXDEV)),
            ("/etc/passwd", Some(libc::EXDEV)),
            ("missing", Some(libc::ENOENT)),
            ("top/x", Some(libc::ENOTDIR)),
        ] {
            let path = Path::new(path);
            let new = openat2(held.as_fd(), path, Purpose::Read, Mounts::Cross);
            let old = open_by_components(held.as_fd(), path, Purpose::Read, Mounts::Stay);
            for result in [new, old] {
                let code = result.err().and_then(|error| error.raw_os_error());
                assert_eq!(code, expected, "{}", path.display());
            }
        }
    }
}
