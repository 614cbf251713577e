//! What a mount shows: the layout byte for byte, the synthetic files, true attributes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use signetfs::sys::mount::extended_attribute;

use super::{Scene, errno, names};
use crate::support::files_below;
use crate::support::layouts::{self, blob_path};

#[test]
fn shows_the_layout_byte_for_byte() {
    let Some(scene) = Scene::with(layouts::buildx) else {
        return;
    };
    let layout = scene.layout();
    fs::create_dir_all(layout.join("extra/deep")).unwrap();
    fs::write(layout.join("extra/deep/file"), b"extra").unwrap();
    fs::write(layout.join("index.json.lock"), b"").unwrap();
    symlink("extra/deep/file", layout.join("link")).unwrap();
    symlink("/etc/hostname", layout.join("outside")).unwrap();
    let mount = scene.mount(&[]);
    let mut shown = files_below(&mount.point);
    shown.retain(|path, _| !is_synthetic(path));
    let mut stored = files_below(&layout);
    stored.remove(Path::new("index.json.lock"));
    assert_eq!(shown, stored);
    assert_eq!(
        names(&mount.point),
        [
            "blobs",
            "extra",
            "images",
            "index.json",
            "link",
            "oci-layout",
            "outside",
            "sign",
            "signatures",
            "verify-status",
            "verify-status.json",
        ]
    );
}

#[test]
fn a_tar_shows_what_its_folder_shows() {
    let Some(scene) = Scene::with(layouts::buildx) else {
        return;
    };
    scene.shell("tar -C lay -cf lay.tar .", 0);
    let (folder, tar) = (
        scene.mount(&[]),
        scene.mount_at("lay.tar", "tar", &["--scope", "local/lay"]),
    );
    let stored = |point: &Path| {
        let mut files = files_below(point);
        files.retain(|path, _| !is_synthetic(path));
        files
    };
    assert_eq!(stored(&tar.point), stored(&folder.point));
    assert_eq!(tar.token(), folder.token());
    let blob = fs::metadata(blob_path(&tar.point, &scene.image.digest)).unwrap();
    assert_eq!((blob.uid(), blob.mode() & 0o7777), (0, 0o444));
    // A place that takes no signatures says so.
    fs::write(scene.user.path("lay.tar.signetfs"), "").unwrap();
    scene.shell("touch tar/sign", 1);
    let reason = fs::read_to_string(tar.path("sign")).unwrap();
    assert!(reason.starts_with("# not signed"), "{reason}");
    assert!(reason.contains("it is a symlink or no folder"), "{reason}");
    fs::remove_file(scene.user.path("lay.tar.signetfs")).unwrap();
    scene.shell("touch tar/sign", 0);
}

#[test]
fn a_copy_is_a_complete_signed_layout() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    scene.shell("cp -a mnt copy && tar -C mnt -cf copy.tar .", 0);
    let copied = files_below(&scene.user.path("copy"));
    assert_eq!(copied, files_below(&mount.point));
    mount.end();
    // The copy holds stale synthetic files, which are shadowed, never read back.
    for source in ["copy", "copy.tar"] {
        let mount = scene.mount_at(source, "again", &["--policy", "policy.json"]);
        assert_eq!(mount.token(), "verified", "{}", mount.status());
        assert!(mount.status().contains("policy=flag"), "{}", mount.status());
        mount.end();
    }
}

#[test]
fn every_size_is_true_and_reading_changes_nothing() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let before = attributes(&mount.point);
    for path in before.keys() {
        let path = mount.point.join(path);
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let size = fs::metadata(&path).unwrap().len();
            assert_eq!(u64::try_from(bytes.len()).unwrap(), size, "{path:?}");
        }
    }
    assert_eq!(attributes(&mount.point), before);
}

#[test]
fn inodes_and_times_survive_a_remount() {
    let Some(scene) = Scene::with(layouts::buildx) else {
        return;
    };
    scene.user.with_key("two");
    scene.user.succeed(&["sign", "lay:v1"]);
    let mount = scene.mount(&[]);
    assert_eq!(mount.token(), "verified", "{}", mount.status());
    let before = attributes(&mount.point);
    mount.end();
    let mount = scene.mount(&[]);
    assert_eq!(attributes(&mount.point), before);
    let inodes: std::collections::BTreeSet<u64> =
        before.values().map(|facts| facts.inode).collect();
    assert_eq!(
        inodes.len(),
        before.len(),
        "two files have one inode number"
    );
    assert!(inodes.iter().all(|inode| *inode < 1 << 53));
}

#[test]
fn modes_are_the_layouts_without_write_bits() {
    let Some(scene) = Scene::new() else { return };
    let index = scene.layout().join("index.json");
    fs::set_permissions(&index, fs::Permissions::from_mode(0o640)).unwrap();
    let mount = scene.mount(&[]);
    let mode = |name: &str| fs::symlink_metadata(mount.path(name)).unwrap().mode() & 0o7777;
    assert_eq!(mode("index.json"), 0o440);
    assert_eq!(mode("verify-status"), 0o444);
    assert_eq!(mode("sign"), 0o644);
    assert_eq!(mode("") & 0o200, 0o200);
}

#[test]
fn content_is_read_only_with_the_errno_for_it() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let blob = blob_path(&mount.point, &scene.image.digest);
    let open = |path: &Path| fs::OpenOptions::new().write(true).open(path);
    assert_eq!(errno(open(&blob)), libc_errno("EROFS"));
    assert_eq!(errno(open(&mount.path("index.json"))), libc_errno("EROFS"));
    assert_eq!(
        errno(open(&mount.path("verify-status"))),
        libc_errno("EACCES")
    );
    let signature = scene.signatures(&mount).remove(0);
    let folder = scene.image.digest.replace(':', "-");
    let signature = mount.path("signatures").join(folder).join(signature);
    assert_eq!(errno(open(&signature)), libc_errno("EROFS"));
    assert_eq!(
        errno(fs::write(mount.path("other"), b"x")),
        libc_errno("EROFS")
    );
    assert_eq!(
        errno(fs::create_dir(mount.path("folder"))),
        libc_errno("EROFS")
    );
    assert_eq!(errno(symlink("x", mount.path("link"))), libc_errno("EROFS"));
    assert_eq!(errno(fs::remove_file(&blob)), libc_errno("EROFS"));
    assert_eq!(
        errno(fs::remove_file(mount.path("sign"))),
        libc_errno("EPERM")
    );
    assert_eq!(
        errno(fs::remove_file(mount.path("verify-status"))),
        libc_errno("EPERM")
    );
    assert_eq!(
        errno(fs::rename(mount.path("sign"), mount.path("x~"))),
        libc_errno("EPERM")
    );
    assert_eq!(
        errno(fs::rename(&blob, mount.path("x~"))),
        libc_errno("EROFS")
    );
    assert_eq!(mount.token(), "verified");
}

#[test]
fn attributes_tell_the_mount_and_the_digests() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let fact = |name: &str| {
        let value = extended_attribute(&mount.point, &format!("user.signetfs.{name}")).unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    };
    assert_eq!(fact("source"), Some(scene.layout().display().to_string()));
    assert_eq!(fact("scope").as_deref(), Some("local/lay"));
    assert_eq!(fact("policy").as_deref(), Some("mount"));
    assert_eq!(fact("nonsense"), None);
    let layer = blob_path(&mount.point, &scene.image.layers[0]);
    let checksum = extended_attribute(&layer, "user.checksum.sha256")
        .unwrap()
        .unwrap();
    let (_, hex) = scene.image.layers[0].split_once(':').unwrap();
    assert_eq!(checksum, hex.as_bytes());
    assert_eq!(
        extended_attribute(&layer, "security.selinux").unwrap(),
        None
    );
}

/// Is what stat says of one file, as far as backup tools look at it.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Returns what stat says of everything in a mount.
fn attributes(point: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut open = vec![point.to_owned()];
    while let Some(path) = open.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        let facts = Facts {
            inode: stat.ino(),
            size: stat.size(),
            mode: stat.mode(),
            modified: (stat.mtime(), stat.mtime_nsec()),
            changed: (stat.ctime(), stat.ctime_nsec()),
        };
        found.insert(path.strip_prefix(point).unwrap().to_owned(), facts);
    }
    found
}

fn is_synthetic(path: &Path) -> bool {
    let first = path.components().next().unwrap().as_os_str();
    signetfs::report::SYNTHETIC_NAMES
        .iter()
        .any(|name| first == *name)
}

/// Returns the number of an errno by its name.
fn libc_errno(name: &str) -> i32 {
    match name {
        "EPERM" => 1,
        "EACCES" => 13,
        "EROFS" => 30,
        _ => panic!("{name}"),
    }
}
