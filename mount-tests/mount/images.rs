//! `images/`: links into the layout, a `sign` and statuses of each image's own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use signetfs::sys::mount::extended_attribute;

use super::{Scene, errno, names};
use crate::support::layouts::{self, Image, Layout, blob_path};

/// Writes a layout with two images, tagged `v1` and `v2`; returns the first.
fn two(root: &Path) -> Image {
    let mut layout = Layout::new(root);
    let first = layout.image("v1", "one");
    layout.image("v2", "two");
    first
}

#[test]
fn links_lead_to_the_blobs() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&["--policy", "policy.json"]);
    let folder = mount.path("images/v1");
    let blob = |digest: &str| fs::read(blob_path(&mount.point, digest)).unwrap();
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(read("manifest.json"), blob(&scene.image.digest));
    assert_eq!(read("config.json"), blob(&scene.image.config));
    let layers = names(&folder.join("layers"));
    assert_eq!(layers.len(), scene.image.layers.len());
    for (name, digest) in layers.iter().zip(&scene.image.layers) {
        assert!(name.ends_with(digest.split_once(':').unwrap().1), "{name}");
        assert_eq!(read(&format!("layers/{name}")), blob(digest));
    }
    let line = "readlink mnt/images/v1/manifest.json && find mnt/images -type l | wc -l";
    let ran = scene.shell(line, 0);
    let hex = scene.image.digest.replace(':', "/");
    assert_eq!(ran.stdout, format!("../../blobs/{hex}\n5\n"));
    // No link dangles, signatures included.
    let ran = scene.shell("find -L mnt/images -type l; touch mnt/images/v1/sign", 0);
    assert_eq!(ran.stdout, "");
    assert_eq!(names(&folder.join("signatures")).len(), 3);
}

#[test]
fn a_buildx_index_shows_platforms_and_attestations() {
    let Some(scene) = Scene::with(layouts::buildx) else {
        return;
    };
    let mount = scene.mount(&["--policy", "policy.json"]);
    let folder = mount.path("images/v1");
    assert_eq!(
        names(&folder.join("platforms")),
        ["linux-amd64", "linux-arm64-v8"]
    );
    let mut hex: Vec<String> = scene
        .image
        .attestations
        .iter()
        .map(|digest| digest.split_once(':').unwrap().1.to_owned())
        .collect();
    hex.sort();
    assert_eq!(names(&folder.join("attestations")), hex);
    let manifest = folder.join("platforms/linux-amd64/manifest.json");
    let blob = blob_path(&mount.point, &scene.image.platforms[0]);
    assert_eq!(fs::read(manifest).unwrap(), fs::read(blob).unwrap());
    // A platform that is signed on its own shows its signatures.
    let platform = folder.join("platforms/linux-arm64-v8");
    assert!(!platform.join("signatures").exists());
    scene.shell("echo recursive > mnt/images/v1/sign", 0);
    assert_eq!(names(&platform.join("signatures")).len(), 3);
    assert_eq!(
        names(&mount.path("images")),
        ["v1"],
        "a platform is no image"
    );
    assert_eq!(mount.token(), "verified", "{}", mount.status());
}

#[test]
fn touching_one_sign_signs_that_image_alone() {
    let Some(scene) = Scene::with(two) else {
        return;
    };
    let mount = scene.mount(&["--policy", "policy.json"]);
    let first_line = |tag: &str| {
        let path = mount.path(&format!("images/{tag}/verify-status"));
        let text = fs::read_to_string(path).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(first_line("v1"), "unsigned");
    scene.shell("touch mnt/images/v1/sign", 0);
    assert_eq!((first_line("v1"), first_line("v2")), verdicts("unsigned"));
    assert_eq!(mount.token(), "unsigned");
    scene.shell("grep -qx verified mnt/images/v1/verify-status", 0);
    scene.shell("grep -qx verified mnt/images/v2/verify-status", 1);
    // A request says more about this image, and nothing about others.
    let refused = scene.shell("echo tag=v1 > mnt/images/v2/sign", 1);
    assert!(refused.stderr.contains("Bad message"), "{refused:?}");
    assert_eq!(first_line("v2"), "unsigned");
    scene.shell("echo format=cose > mnt/images/v2/sign", 0);
    assert_eq!((first_line("v1"), first_line("v2")), verdicts("verified"));
    assert_eq!(mount.token(), "verified", "{}", mount.status());
    // Corrupt content of one leaves the other as it is.
    let blob = blob_path(&scene.layout(), &scene.image.layers[0]);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, b"other").unwrap();
    assert_eq!(first_line("v1"), "corrupt");
    assert_eq!(first_line("v2"), "verified");
}

fn verdicts(second: &str) -> (String, String) {
    ("verified".to_owned(), second.to_owned())
}

#[test]
fn a_descriptor_held_while_the_tag_moves_signs_nothing() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&["--policy", "policy.json"]);
    let held = fs::OpenOptions::new()
        .append(true)
        .open(mount.path("images/v1/sign"))
        .unwrap();
    // The tag moves to another image.
    let mut layout = Layout::new(&scene.layout());
    layout.image("v1", "other");
    assert_eq!(mount.decided(), "unsigned");
    let index = fs::read(scene.layout().join("index.json")).unwrap();
    let stale = 116;
    let now = std::time::SystemTime::now();
    assert_eq!(errno(held.set_modified(now)), stale);
    assert_eq!(
        errno(std::io::Write::write(&mut &held, b"format=cose\n")),
        stale
    );
    assert_eq!(fs::read(scene.layout().join("index.json")).unwrap(), index);
    scene.shell("touch mnt/images/v1/sign", 0);
    assert_eq!(mount.token(), "verified", "{}", mount.status());
}

#[test]
fn hostile_tags_stay_below_images() {
    let hostile = ["../../escape", "..", "new\nline", "/etc/passwd"];
    let make: fn(&Path) -> Image = |root| {
        let mut layout = Layout::new(root);
        for tag in ["../../escape", "..", "new\nline"] {
            layout.image(tag, tag);
        }
        layout.image("/etc/passwd", "four")
    };
    let Some(scene) = Scene::with(make) else {
        return;
    };
    let mount = scene.mount(&["--policy", "policy.json"]);
    let shown = names(&mount.path("images"));
    assert_eq!(
        shown,
        [
            "%2E.",
            "%2E.%2F..%2Fescape",
            "%2Fetc%2Fpasswd",
            "new%0Aline"
        ]
    );
    let mut raw: Vec<String> = shown
        .iter()
        .map(|name| {
            let path = mount.path("images").join(name);
            let value = extended_attribute(&path, "user.oci.ref.name").unwrap();
            String::from_utf8(value.unwrap()).unwrap()
        })
        .collect();
    raw.sort();
    let mut expected = hostile.map(str::to_owned);
    expected.sort();
    assert_eq!(raw, expected);
    scene.shell("touch mnt/images/%2E./sign", 0);
    let text = fs::read_to_string(mount.path("images/%2E./verify-status")).unwrap();
    assert!(text.starts_with("verified\n"), "{text}");
}

#[test]
fn blobs_tell_their_media_type() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    let blob = blob_path(&mount.point, &scene.image.config);
    let value = extended_attribute(&blob, "user.oci.media-type").unwrap();
    let expected = b"application/vnd.oci.image.config.v1+json";
    assert_eq!(value.as_deref(), Some(&expected[..]));
    assert_eq!(
        extended_attribute(&mount.path("images/v1"), "user.oci.media-type").unwrap(),
        None
    );
}

#[test]
fn a_copy_with_links_is_the_same_layout() {
    let Some(scene) = Scene::with(layouts::buildx) else {
        return;
    };
    let mount = scene.mount_verified();
    let before = names(&mount.path("images/v1"));
    let inodes = |point: &Path| -> Vec<u64> {
        let ran = scene.shell(
            &format!("find {} | sort", point.join("images").display()),
            0,
        );
        let inode = |path: &str| fs::symlink_metadata(path).unwrap().ino();
        ran.stdout.lines().map(inode).collect()
    };
    let numbers = inodes(&mount.point);
    scene.shell("cp -a mnt copy", 0);
    let copied = scene.user.path("copy/images/v1/manifest.json");
    assert!(copied.is_symlink() || scene.user.path("copy/images/v1/index.json").is_symlink());
    mount.end();
    // A second mount shows the same inodes; a mount of the copy shows the same tree.
    let again = scene.mount(&["--policy", "policy.json"]);
    assert_eq!(inodes(&again.point), numbers);
    again.end();
    let mount = scene.mount_at("copy", "again", &["--policy", "policy.json"]);
    assert_eq!(mount.token(), "verified", "{}", mount.status());
    assert!(mount.status().contains("extras=0"), "{}", mount.status());
    assert_eq!(names(&mount.path("images/v1")), before);
}

#[test]
fn no_links_removes_the_folder_and_content_is_read_only() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&["--no-links"]);
    assert!(!mount.path("images").exists());
    mount.end();
    let mount = scene.mount(&["--no-sign"]);
    assert!(!mount.path("images/v1/sign").exists());
    mount.end();
    let mount = scene.mount(&[]);
    let (eperm, eacces, erofs) = (1, 13, 30);
    for (path, expected) in [
        ("images/v1/sign", eperm),
        ("images/v1/verify-status", eperm),
        ("images/v1/manifest.json", erofs),
    ] {
        assert_eq!(errno(fs::remove_file(mount.path(path))), expected, "{path}");
    }
    let writing = fs::write(mount.path("images/v1/verify-status"), b"verified\n");
    assert_eq!(errno(writing), eacces);
    assert_eq!(errno(fs::write(mount.path("images/v1/x"), b"")), erofs);
}
