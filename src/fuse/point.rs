//! Whether a mount point may be mounted on: an empty folder, or the layout folder itself.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::attach;
use super::mount::{Busy, MountError};
use super::mountinfo;
use crate::layout::STANDARD_INPUT;
use crate::report::SYNTHETIC_NAMES;

/// Returns the mount point's real path, after cleaning up a dead mount of ours.
pub(super) fn check(point: &Path, layout: &Path) -> Result<PathBuf, MountError> {
    let real = real_path(point)?;
    if let Some(top) = top_at(&real)?
        && top.is_ours()
    {
        return Err(MountError::AlreadyMounted { path: real });
    }
    let metadata = fs::metadata(&real).map_err(|source| unreadable(point, source))?;
    if !metadata.is_dir() {
        return Err(MountError::NotAFolder {
            path: point.to_owned(),
        });
    }
    if layout == Path::new(STANDARD_INPUT) {
        return check_empty(point, real);
    }
    let layout_path = fs::canonicalize(layout).map_err(|source| unreadable(layout, source))?;
    let layout_metadata =
        fs::metadata(&layout_path).map_err(|source| unreadable(layout, source))?;
    let is_layout =
        (metadata.dev(), metadata.ino()) == (layout_metadata.dev(), layout_metadata.ino());
    if is_layout {
        return check_over_mount(real);
    }
    if real.starts_with(&layout_path) || layout_path.starts_with(&real) {
        return Err(MountError::Nested { path: real });
    }
    check_empty(point, real)
}

fn check_empty(point: &Path, real: PathBuf) -> Result<PathBuf, MountError> {
    let mut names = fs::read_dir(&real).map_err(|source| unreadable(point, source))?;
    match names.next() {
        Some(_) => Err(MountError::NotEmpty { path: real }),
        None => Ok(real),
    }
}

/// Refuses a mount point that holds what the serving process itself uses: it would wait for its own answers.
pub(super) fn keep_outside(point: &Path, own_paths: &[PathBuf]) -> Result<(), MountError> {
    for path in own_paths {
        if resolved(path).starts_with(point) {
            return Err(MountError::OwnPath { path: path.clone() });
        }
    }
    Ok(())
}

/// Returns a path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    path.ancestors()
        .find_map(|ancestor| {
            let real = fs::canonicalize(ancestor).ok()?;
            Some(real.join(path.strip_prefix(ancestor).ok()?))
        })
        .unwrap_or_else(|| path.to_owned())
}

/// Refuses to hide a stale copy of a synthetic file: once unmounted, it would be read as a live one.
fn check_over_mount(point: PathBuf) -> Result<PathBuf, MountError> {
    for name in SYNTHETIC_NAMES {
        if fs::symlink_metadata(point.join(name)).is_ok() {
            return Err(MountError::StaleName { path: point, name });
        }
    }
    Ok(point)
}

/// Returns the path without links, also where a dead mount is; a dead one of ours is unmounted.
fn real_path(point: &Path) -> Result<PathBuf, MountError> {
    match look_into(point) {
        Ok(()) => fs::canonicalize(point).map_err(|source| unreadable(point, source)),
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => clean(point),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MountError::Missing {
            path: point.to_owned(),
        }),
        Err(source) => Err(unreadable(point, source)),
    }
}

/// Looks at a mount point and asks who serves it: what the kernel keeps of a dead mount's root answers stat(2) for a while.
pub(super) fn look_into(point: &Path) -> io::Result<()> {
    fs::metadata(point)?;
    match fs::read_dir(point) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Err(error),
        // Whatever else is wrong with it is found later.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Unmounts a mount whose process is gone, if it was ours.
fn clean(point: &Path) -> Result<PathBuf, MountError> {
    let real = beside(point)?;
    match top_at(&real)? {
        Some(top) if top.is_ours() => {
            attach::detach(&real, Busy::Detach).map_err(|source| MountError::Unmount {
                path: real.clone(),
                source,
            })?;
            fs::metadata(&real).map_err(|source| unreadable(point, source))?;
            Ok(real)
        }
        _ => Err(MountError::Dead { path: real }),
    }
}

/// Returns the real path of a folder that itself cannot be looked at.
pub(super) fn beside(point: &Path) -> Result<PathBuf, MountError> {
    let absolute = std::path::absolute(point).map_err(|source| unreadable(point, source))?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Ok(absolute);
    };
    let parent = fs::canonicalize(parent).map_err(|source| unreadable(point, source))?;
    Ok(parent.join(name))
}

fn top_at(point: &Path) -> Result<Option<mountinfo::Mounted>, MountError> {
    mountinfo::top_at(point).map_err(|source| unreadable(Path::new("/proc/self/mountinfo"), source))
}

fn unreadable(path: &Path, source: io::Error) -> MountError {
    MountError::Look {
        path: path.to_owned(),
        source,
    }
}
