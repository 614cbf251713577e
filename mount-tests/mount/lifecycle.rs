//! Mounting, unmounting, signals, dead mounts, mount points that are refused.

use std::fs;
use std::time::Duration;

use signetfs::sys::mount::{Unmount, unmount};

use super::{Scene, errno, is_mounted, until};
use crate::support::layouts::index;

const ENOTCONN: i32 = 107;

#[test]
fn umount_leaves_nothing() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    scene.user.succeed(&["umount", "mnt"]);
    assert!(!mount.is_mounted());
    mount.wait_for_end();
    scene.user.run(&["umount", "mnt"]).error(1);
}

#[test]
fn a_busy_mount_is_only_detached_when_asked() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    let held = fs::File::open(mount.path("index.json")).unwrap();
    scene.user.run(&["umount", "mnt"]).error(1);
    assert!(mount.is_mounted());
    scene.user.succeed(&["umount", "--lazy", "mnt"]);
    assert!(!mount.is_mounted());
    let mut bytes = [0; 10];
    std::os::unix::fs::FileExt::read_exact_at(&held, &mut bytes, 0).unwrap();
    drop(held);
    mount.wait_for_end();
}

#[test]
fn a_mount_that_somebody_looks_at_for_a_moment_is_unmounted() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    let held = fs::File::open(mount.path("index.json")).unwrap();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(held);
    });
    scene.user.succeed(&["umount", "mnt"]);
    assert!(!mount.is_mounted());
    holder.join().unwrap();
}

#[test]
fn signals_unmount() {
    let Some(scene) = Scene::new() else { return };
    for signal in ["TERM", "INT", "HUP"] {
        let mount = scene.mount(&[]);
        mount.signal(signal);
        mount.wait_for_end();
        assert!(!mount.is_mounted(), "{signal}");
    }
}

#[test]
fn a_dead_mount_is_cleaned_by_the_next() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    mount.signal("KILL");
    mount.wait_for_end();
    assert_eq!(errno(fs::metadata(&mount.point)), ENOTCONN);
    let again = scene.mount_at("lay", "mnt", &[]);
    assert_eq!(again.token(), "unsigned");
    again.end();
    assert!(!is_mounted(&mount.point), "the dead mount is still below");
}

#[test]
fn a_dead_mount_that_was_just_looked_at_is_cleaned_by_the_next() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    // The kernel keeps what it was told, and answers for the dead.
    fs::metadata(&mount.point).unwrap();
    mount.signal("KILL");
    mount.wait_for_end();
    let again = scene.mount_at("lay", "mnt", &[]);
    assert_eq!(again.token(), "unsigned");
    again.end();
    assert!(!is_mounted(&mount.point), "the dead mount is still below");
}

#[test]
fn a_dead_mount_can_be_unmounted() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    mount.signal("KILL");
    mount.wait_for_end();
    scene.user.succeed(&["umount", "mnt"]);
    assert!(!mount.is_mounted());
}

#[test]
fn a_layout_is_mounted_over_itself() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_at("lay", "lay", &[]);
    fs::copy(scene.policy(), mount.path("trustpolicy.json")).unwrap();
    scene.shell("touch lay/sign", 0);
    assert_eq!(mount.token(), "verified", "{}", mount.status());
    mount.end();
    assert_eq!(
        index(&scene.layout())["manifests"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert!(!scene.layout().join("verify-status").exists());
    // A stale copy below would look live once unmounted.
    fs::write(scene.layout().join("verify-status"), b"verified\n").unwrap();
    let refused = scene.user.run(&["mount", "lay", "lay"]);
    assert!(refused.error(1).contains("verify-status"), "{refused:?}");
}

#[test]
fn unfit_mount_points_are_refused() {
    let Some(scene) = Scene::new() else { return };
    fs::create_dir_all(scene.user.path("full/below")).unwrap();
    fs::create_dir_all(scene.user.path("lay/inside")).unwrap();
    fs::write(scene.user.path("file"), b"").unwrap();
    for (point, word) in [
        ("absent", "mkdir -p absent"),
        ("file", "empty folder"),
        ("full", "empty folder"),
        ("lay/inside", "outside the layout"),
        (".", "outside the layout"),
    ] {
        let ran = scene.user.run(&["mount", "lay", point]);
        ran.error(1);
        assert!(ran.stderr.contains(word), "{point}: {ran:?}");
        assert!(!is_mounted(&scene.user.path(point)), "{point}");
    }
    let mount = scene.mount(&[]);
    let ran = scene.user.run(&["mount", "lay", "mnt"]);
    assert!(ran.error(1).contains("already"), "{ran:?}");
    assert_eq!(mount.token(), "unsigned");
}

#[test]
fn requiring_verified_unmounts_what_is_not() {
    let Some(scene) = Scene::new() else { return };
    fs::create_dir(scene.user.path("mnt")).unwrap();
    let ran = scene
        .user
        .run(&["mount", "--require-verified", "lay", "mnt"]);
    assert_eq!(ran.code, 10, "{ran:?}");
    assert!(!is_mounted(&scene.user.path("mnt")));
    scene.user.with_key("new");
    scene.user.succeed(&["sign", "lay:v1"]);
    let mount = scene.mount(&["--require-verified"]);
    assert_eq!(mount.token(), "verified");
}

#[test]
fn nothing_holds_the_output_of_the_command() {
    let Some(scene) = Scene::new() else { return };
    fs::create_dir(scene.user.path("mnt")).unwrap();
    // A pipe ends when every writer closed it; the mount goes on.
    let program = crate::support::own_program();
    let ran = scene.shell(
        &format!("x=$({program} mount lay mnt 2>&1); echo \"[$x]\"; head -1 mnt/verify-status"),
        0,
    );
    assert_eq!(ran.stdout, "[]\nunsigned\n");
    unmount(&scene.user.path("mnt"), Unmount::Idle).unwrap();
}

#[test]
fn nothing_that_a_script_had_open_is_held() {
    let Some(scene) = Scene::new() else { return };
    fs::create_dir(scene.user.path("mnt")).unwrap();
    let program = crate::support::own_program();
    // A lock is held by whoever has the file open, and a pipe ends when nobody has.
    let ran = scene.shell(
        &format!("x=$(exec 7>lock 9>&1; flock 7; {program} mount lay mnt >out 2>&1); flock -n lock echo free"),
        0,
    );
    assert_eq!(ran.stdout, "free\n");
    unmount(&scene.user.path("mnt"), Unmount::Idle).unwrap();
}

#[test]
fn a_mount_in_the_foreground_serves_until_a_signal() {
    let Some(scene) = Scene::new() else { return };
    let point = scene.user.path("mnt");
    fs::create_dir(&point).unwrap();
    let mut child = scene
        .user
        .signetfs(&["mount", "--foreground", "lay", "mnt"])
        .spawn()
        .unwrap();
    until(|| is_mounted(&point));
    assert!(
        fs::read_to_string(point.join("verify-status"))
            .unwrap()
            .len()
            > 10
    );
    let sent = std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(sent.success());
    let status = child.wait().unwrap();
    assert!(status.success(), "{status:?}");
    assert!(!is_mounted(&point));
}

#[test]
fn a_foreign_mount_on_top_is_left_alone() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    scene.shell("mount -t tmpfs tmpfs mnt && touch mnt/foreign", 0);
    mount.signal("TERM");
    mount.wait_for_end();
    assert!(mount.path("foreign").exists());
    scene.shell("umount mnt", 0);
}
