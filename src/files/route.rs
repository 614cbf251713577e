//! Where a path leads, found out step by step: nothing behind a certain file system is asked for anything.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Symlinks that the kernel follows in one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Returns whether a path, its symlinks followed, touches the file system with this device number.
///
/// That file system is asked about its root only, never for a name in it: a mount that looks where its own settings lead would
/// wait for itself. A path that leads nowhere touches nothing.
#[must_use]
pub fn touches(path: &Path, device: u64) -> bool {
    let Ok(absolute) = std::path::absolute(path) else {
        return false;
    };
    let mut at = PathBuf::from("/");
    let mut left = steps(&absolute);
    let mut links: usize = 0;
    while let Some(step) = left.pop_front() {
        if step == ".." {
            at.pop();
            continue;
        }
        at.push(step);
        let Ok(metadata) = fs::symlink_metadata(&at) else {
            return false;
        };
        if metadata.dev() == device {
            return true;
        }
        if metadata.is_symlink() {
            links += 1;
            let target = match fs::read_link(&at) {
                Ok(target) if links <= LINKS_MAX => target,
                _ => return false,
            };
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            let rest = std::mem::replace(&mut left, steps(&target));
            left.extend(rest);
        }
    }
    false
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let components = path.components();
    let steps = components.filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_where_they_lead() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let here = fs::metadata(place.path()).unwrap().dev();
        let proc = fs::metadata("/proc").unwrap().dev();
        fs::write(path("file"), "").unwrap();
        fs::create_dir(path("folder")).unwrap();
        symlink("/proc/self/status", path("far")).unwrap();
        symlink("../far", path("folder/over")).unwrap();
        symlink("folder/../folder/over", path("twice")).unwrap();
        symlink("circle", path("circle")).unwrap();
        for name in ["far", "folder/over", "twice", "folder/../far"] {
            assert!(touches(&path(name), proc), "{name}");
        }
        for name in ["file", "folder", "circle", "absent", "file/below"] {
            assert!(!touches(&path(name), proc), "{name}");
        }
        assert!(touches(&path("file"), here));
    }
}
