//! Which storage keeps file times honestly, so that what was learned of a file still holds for the next process.
//!
//! Not so are loop devices (their image can be changed with every time kept), tmpfs (a mapping changes bytes without changing
//! a time), removable and network media.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::sys::stat::{FileSystem, device_parts, file_system};

/// How many layers of device mapper and RAID are looked through.
const LAYERS_MAX: u32 = 8;

/// Returns whether an open file is on a local, fixed, known file system. `device` is its stat's.
#[must_use]
pub fn is_local_and_fixed(file: BorrowedFd<'_>, device: u64) -> bool {
    match file_system(file) {
        Ok(FileSystem::Ext | FileSystem::Xfs | FileSystem::F2fs) => {
            let (major, minor) = device_parts(device);
            is_fixed(Path::new(&format!("/sys/dev/block/{major}:{minor}")), 0)
        }
        // Its files have a device number of their own; all its disks on this machine have to do.
        Ok(FileSystem::Btrfs) => {
            let disks = btrfs_disks();
            !disks.is_empty() && disks.iter().all(|disk| is_fixed(disk, 0))
        }
        Ok(FileSystem::Tmpfs | FileSystem::Other(_)) | Err(_) => false,
    }
}

fn btrfs_disks() -> Vec<PathBuf> {
    entries(Path::new("/sys/fs/btrfs"))
        .iter()
        .flat_map(|file_system| entries(&file_system.join("devices")))
        .collect()
}

fn is_fixed(device: &Path, layer: u32) -> bool {
    let Ok(device) = fs::canonicalize(device) else {
        return false;
    };
    let disk = match device.parent() {
        Some(parent) if device.join("partition").exists() => parent,
        Some(_) | None => &device,
    };
    let name = disk.file_name().unwrap_or_default().to_string_lossy();
    let is_network = ["nbd", "rbd", "drbd"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    let is_removable = fs::read_to_string(disk.join("removable"))
        .map_or(true, |removable| removable.trim() != "0");
    if is_network || is_removable || disk.join("loop").exists() || name.starts_with("loop") {
        return false;
    }
    let layers_below = entries(&device.join("slaves"));
    layer < LAYERS_MAX && layers_below.iter().all(|below| is_fixed(below, layer + 1))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path())
                .collect::<Vec<_>>()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn device(root: &Path, name: &str, removable: &str) -> PathBuf {
        let path = root.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("removable"), removable).unwrap();
        path
    }

    #[test]
    fn knows_fixed_disks_from_others() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path();
        let disk = device(root, "sda", "0\n");
        let partition = disk.join("sda1");
        fs::create_dir(&partition).unwrap();
        fs::write(partition.join("partition"), "1").unwrap();
        let stick = device(root, "sdb", "1\n");
        let image = device(root, "loop0", "0\n");
        let network = device(root, "nbd0", "0\n");
        let mapped = device(root, "dm-0", "0\n");
        fs::create_dir(mapped.join("slaves")).unwrap();
        symlink(&partition, mapped.join("slaves/sda1")).unwrap();
        let mapped_image = device(root, "dm-1", "0\n");
        fs::create_dir(mapped_image.join("slaves")).unwrap();
        symlink(&image, mapped_image.join("slaves/loop0")).unwrap();
        assert!(is_fixed(&disk, 0) && is_fixed(&partition, 0) && is_fixed(&mapped, 0));
        for other in [stick, image, network, mapped_image, root.join("missing")] {
            assert!(!is_fixed(&other, 0), "{}", other.display());
        }
    }
}
