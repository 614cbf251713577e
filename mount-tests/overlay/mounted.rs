//! A tar that is mounted shows itself with its overlay, and a copy of the mount is a whole signed layout.

use std::fs;
use std::os::unix::fs::symlink;

use signetfs::sys::mount::extended_attribute;

use super::{Scene, State, signatures};
use crate::registry::{Behaviour, Registry};
use crate::support::layouts;
use crate::support::notation::programs;
use crate::support::{Mount, files_below};

#[test]
fn a_copy_of_a_signed_tar_mount_is_a_signed_layout() {
    let scene = Scene::with(layouts::buildx);
    let user = &scene.user;
    let Some(mount) = Mount::new(user, "hello.tar", "mnt", &["--scope", "local/hello"]) else {
        return;
    };
    let overlay = extended_attribute(&user.path("mnt"), "user.signetfs.overlay").unwrap();
    let expected = scene
        .user
        .path("")
        .canonicalize()
        .unwrap()
        .join("hello.tar.signetfs");
    assert_eq!(overlay.unwrap(), expected.as_os_str().as_encoded_bytes());
    assert!(mount.read("verify-status").starts_with("unsigned\n"));
    assert!(!scene.overlay().exists(), "mounting makes nothing");
    let facts = user.succeed(&["status", "mnt"]);
    let reads = "reads: checked (an archive is one file)\n";
    assert!(facts.contains(reads), "{facts}");
    let touched = user.program("touch").arg("mnt/sign").status().unwrap();
    assert!(touched.success());
    assert!(mount.read("verify-status").starts_with("verified\n"));
    scene.is_untouched();
    let status = mount.read("verify-status");
    let mut command = user.program("tar");
    command.args(["-C", "mnt", "-cf", "signed.tar", "."]);
    assert!(command.status().unwrap().success());
    user.succeed(&["export", "mnt", "mounted.tar"]);
    let shown = files_below(&user.path("mnt"));
    drop(mount);
    // After a remount it is the same, byte for byte.
    let mount = Mount::new(user, "hello.tar", "mnt", &["--scope", "local/hello"]).unwrap();
    assert_eq!(mount.read("verify-status"), status);
    assert_eq!(files_below(&user.path("mnt")), shown);
    drop(mount);
    user.succeed(&["export", "hello.tar", "direct.tar"]);
    assert!(
        fs::read(user.path("mounted.tar")).unwrap() == fs::read(user.path("direct.tar")).unwrap()
    );
    // The copy stands alone: for us, packed and unpacked, and for notation.
    fs::rename(scene.overlay(), user.path("away")).unwrap();
    user.succeed(&["verify", "--scope", "local/hello", "signed.tar"]);
    fs::create_dir(user.path("copy")).unwrap();
    let mut command = user.program("tar");
    command.args(["-C", "copy", "-xf", "signed.tar"]);
    assert!(command.status().unwrap().success());
    user.succeed(&["verify", "copy:v1"]);
    let reference = format!("copy@{}", scene.image.digest);
    let verify = ["verify", "--oci-layout", "--scope", "local/hello"];
    for program in programs() {
        let ran = user.notation(&program, &[&verify[..], &[&reference]].concat());
        assert_eq!(ran.code, 0, "{program:?}: {ran:?}");
    }
}

#[test]
fn a_mount_follows_the_tar_and_the_overlay() {
    let scene = Scene::new();
    let user = &scene.user;
    let Some(mount) = Mount::new(user, "hello.tar", "mnt", &["--scope", "local/hello"]) else {
        return;
    };
    assert!(mount.read("verify-status").starts_with("unsigned\n"));
    // Somebody else signs the tar.
    user.succeed(&["sign", "hello.tar:v1"]);
    assert!(mount.read("verify-status").starts_with("verified\n"));
    assert_eq!(mount.read("index.json").matches("thumbprint").count(), 1);
    let before = mount.read("index.json");
    fs::rename(scene.overlay(), user.path("away")).unwrap();
    assert!(mount.read("verify-status").starts_with("unsigned\n"));
    assert_eq!(mount.read("index.json").matches("thumbprint").count(), 0);
    fs::rename(user.path("away"), scene.overlay()).unwrap();
    assert!(mount.read("verify-status").starts_with("verified\n"));
    assert_eq!(mount.read("index.json"), before);
    // The tar is built again: never the old verdict for the new image.
    scene.rebuild();
    let index = mount.read("index.json");
    assert!(!index.contains(&scene.image.digest), "{index}");
    user.succeed(&["wait", "mnt"]);
    let status = mount.read("verify-status");
    assert!(status.starts_with("unsigned\n"), "{status}");
    assert!(
        status.contains("is not in the layout; it is ignored"),
        "{status}"
    );
    let touched = user.program("touch").arg("mnt/sign").status().unwrap();
    assert!(touched.success());
    assert!(mount.read("verify-status").starts_with("verified\n"));
}

#[test]
fn a_touch_signs_nothing_beside_a_tar_that_is_elsewhere() {
    for typed in ["link.tar", "hello.tar"] {
        let scene = Scene::new();
        let user = &scene.user;
        fs::copy(user.path("hello.tar"), user.path("other.tar")).unwrap();
        symlink("hello.tar", user.path("link.tar")).unwrap();
        let Some(_mount) = Mount::new(user, typed, "mnt", &[]) else {
            return;
        };
        let touch = || user.program("touch").arg("mnt/sign").status().unwrap();
        if typed == "link.tar" {
            fs::remove_file(user.path(typed)).unwrap();
            symlink("other.tar", user.path(typed)).unwrap();
        } else {
            fs::rename(user.path(typed), user.path("renamed.tar")).unwrap();
        }
        assert!(!touch().success(), "{typed}");
        for place in ["hello.tar", "other.tar", "renamed.tar", "link.tar"] {
            let place = user.path(&format!("{place}.signetfs"));
            assert!(!place.exists(), "{typed}: {place:?}");
        }
        if typed == "hello.tar" {
            fs::rename(user.path("renamed.tar"), user.path(typed)).unwrap();
            assert!(touch().success());
            assert_eq!(signatures(user, typed), 1);
        }
    }
}

#[test]
fn sync_and_export_take_a_mount_for_its_layout_and_overlay() {
    let scene = Scene::new();
    let user = &scene.user;
    let registry = Registry::start(Behaviour::default());
    let flags = ["--overlay", "named", "--scope", "local/hello"];
    let Some(_mount) = Mount::new(user, "hello.tar", "mnt", &flags) else {
        return;
    };
    let touched = user.program("touch").arg("mnt/sign").status().unwrap();
    assert!(touched.success());
    assert!(!scene.overlay().exists());
    let target = registry.at("app:v1");
    let ran = user.run(&["sync", "--plain-http", "mnt:v1", &target]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let repository = registry.repository("app");
    assert_eq!(repository.referrers(&scene.image.digest).len(), 1);
    user.succeed(&["export", "mnt", "one.tar"]);
    user.succeed(&["export", "--overlay", "named", "hello.tar", "two.tar"]);
    assert_eq!(
        State::of(&user.path("one.tar")).digest,
        State::of(&user.path("two.tar")).digest
    );
    scene.is_untouched();
}

#[test]
fn a_folder_is_mounted_over_with_its_overlay_beside() {
    let scene = Scene::new();
    let user = &scene.user;
    let before = files_below(&user.path("hello"));
    let Some(mount) = Mount::new(user, "hello", "hello", &["--overlay", "new"]) else {
        return;
    };
    let touched = user.program("touch").arg("hello/sign").status().unwrap();
    assert!(touched.success());
    assert!(mount.read("verify-status").starts_with("verified\n"));
    user.succeed(&["export", "hello", "over.tar"]);
    drop(mount);
    assert_eq!(files_below(&user.path("hello")), before);
    user.succeed(&["export", "--overlay", "new", "hello", "plain.tar"]);
    assert_eq!(
        State::of(&user.path("over.tar")).digest,
        State::of(&user.path("plain.tar")).digest
    );
}
