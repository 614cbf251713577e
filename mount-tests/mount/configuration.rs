//! Policies and stores that cannot be read for a moment, or lead where they should not.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use super::Scene;
use crate::support::layouts::blob_path;

/// As many open files as the serving process may have in a test.
const OPEN_FILES: usize = 128;

#[test]
fn a_store_that_leads_into_the_mount_makes_no_look_wait_for_itself() {
    let Some(scene) = Scene::new() else { return };
    scene.user.with_key("second");
    scene.user.succeed(&["sign", "lay:v1"]);
    let mount = scene.mount(&[]);
    let stores = scene.user.config().join("truststore/x509/ca");
    symlink(mount.path("blobs"), stores.join("other")).unwrap();
    // Not in this process: a look that waits for itself could not even be ended.
    let token = scene.shell("timeout -s KILL 10 head -1 mnt/verify-status", 0);
    assert_eq!(token.stdout, "verified\n");
}

#[test]
fn a_policy_that_leads_into_the_mount_is_refused_and_nobody_waits_for_it() {
    let Some(scene) = Scene::new() else { return };
    scene.user.with_key("second");
    scene.user.succeed(&["sign", "lay:v1"]);
    let (policy, link) = (scene.user.path("policy.json"), scene.user.path("link"));
    fs::copy(scene.user.config().join("trustpolicy.json"), &policy).unwrap();
    symlink(&policy, &link).unwrap();
    let mount = scene.mount(&["--policy", "link"]);
    assert_eq!(mount.decided(), "verified", "{}", mount.status());
    // The last is what the others ask for meanwhile: the kernel has one lookup of a name wait for another.
    for target in ["trustpolicy.json", "blobs/sha256/absent", "verify-status"] {
        fs::remove_file(&link).unwrap();
        symlink(mount.path(target), &link).unwrap();
        // Not in this process: a look that waits for itself could not even be ended. Several at once: each wants a thread.
        let looks = "for n in 1 2 3 4 5 6 7 8; do timeout -s KILL 20 head -1 mnt/verify-status & done; wait";
        let tokens = scene.shell(looks, 0).stdout;
        assert_eq!(tokens, "policy-invalid\n".repeat(8), "{target}");
    }
    fs::remove_file(&link).unwrap();
    symlink(&policy, &link).unwrap();
    assert_eq!(mount.decided(), "verified", "{}", mount.status());
}

/// Looks from several processes at once, each of which wants a thread; not from this one: a look that waits for itself could not even
/// be ended. The names are those that the settings are asked for too: the kernel has one lookup of a name wait for another.
const LOOKS: &str = "for n in 1 2 3 4; do for name in trustpolicy.json trustpolicy.oci.json signingkeys.json truststore verify-status; do \
    timeout -s KILL 20 cat mnt/$name >/dev/null 2>&1; test $? != 137 || echo hung; done & done; wait; \
    timeout -s KILL 20 head -1 mnt/verify-status";

#[test]
fn a_configuration_that_leads_into_the_mount_is_refused_and_nobody_waits_for_it() {
    let Some(scene) = Scene::new() else { return };
    scene.user.with_key("second");
    scene.user.succeed(&["sign", "lay:v1"]);
    let mount = scene.mount(&[]);
    assert_eq!(mount.decided(), "verified", "{}", mount.status());
    let config = scene.user.config();
    let away = scene.user.path("away");
    let parent = config.parent().unwrap().to_owned();
    for (place, token) in [
        (config.clone(), "policy-invalid\n"),
        (parent, "policy-invalid\n"),
        (config.join("truststore"), "untrusted\n"),
        (config.join("truststore/x509"), "untrusted\n"),
        (config.join("truststore/x509/ca"), "untrusted\n"),
    ] {
        for target in ["", "blobs", "absent", "verify-status"] {
            let what = format!("{} -> mnt/{target}", place.display());
            fs::rename(&place, &away).unwrap();
            symlink(mount.path(target), &place).unwrap();
            let looks = scene.shell(LOOKS, 0).stdout;
            assert_eq!(looks, token, "{what}");
            let touch = "timeout -s KILL 20 touch mnt/sign; test $? != 137 || echo hung";
            assert_eq!(scene.shell(touch, 0).stdout, "", "{what}");
            fs::remove_file(&place).unwrap();
            fs::rename(&away, &place).unwrap();
            assert_eq!(mount.decided(), "verified", "{what}: {}", mount.status());
        }
    }
}

#[test]
fn keys_that_lead_into_the_mount_sign_nothing_and_nobody_waits_for_them() {
    let Some(scene) = Scene::new() else { return };
    scene.user.with_key("second");
    let mount = scene.mount(&[]);
    assert_eq!(mount.decided(), "unsigned", "{}", mount.status());
    let config = scene.user.config();
    let away = scene.user.path("away");
    let list = fs::read_to_string(config.join("signingkeys.json")).unwrap();
    for place in [
        "signingkeys.json",
        "localkeys",
        "localkeys/second.key",
        "localkeys/second.crt",
    ] {
        for target in ["", "trustpolicy.json", "blobs", "sign", "absent"] {
            let what = format!("{place} -> mnt/{target}");
            let place = config.join(place);
            fs::rename(&place, &away).unwrap();
            symlink(mount.path(target), &place).unwrap();
            let touches = "for n in 1 2 3; do timeout -s KILL 20 touch mnt/sign 2>/dev/null; \
                case $? in 0) echo signed;; 137) echo hung;; esac & done; wait";
            assert_eq!(scene.shell(touches, 0).stdout, "", "{what}");
            assert_eq!(scene.shell(LOOKS, 0).stdout, "unsigned\n", "{what}");
            fs::remove_file(&place).unwrap();
            fs::rename(&away, &place).unwrap();
        }
    }
    // The list itself names files in the mount.
    for name in ["trustpolicy.json", "verify-status", "absent"] {
        let led = list.replace(
            &config.join("localkeys/second.crt").display().to_string(),
            &mount.path(name).display().to_string(),
        );
        assert_ne!(led, list);
        fs::write(config.join("signingkeys.json"), led).unwrap();
        let touch =
            "timeout -s KILL 20 touch mnt/sign 2>/dev/null; test $? = 1 || echo signed or hung";
        assert_eq!(scene.shell(touch, 0).stdout, "", "{name}");
        let why = fs::read_to_string(mount.path("sign")).unwrap();
        assert!(why.contains("leads into the mount"), "{why}");
    }
    fs::write(config.join("signingkeys.json"), &list).unwrap();
    scene.shell("timeout -s KILL 20 touch mnt/sign", 0);
    assert_eq!(mount.decided(), "verified", "{}", mount.status());
}

#[test]
fn what_could_not_be_read_for_lack_of_open_files_is_read_again_when_there_are() {
    let Some(scene) = Scene::new() else { return };
    scene.user.with_key("second");
    scene.user.succeed(&["sign", "lay:v1"]);
    let flags = "--reads checked";
    fs::create_dir(scene.user.path("mnt")).unwrap();
    let program = crate::support::own_program();
    scene.shell(
        &format!("ulimit -n {OPEN_FILES}; {program} mount {flags} lay mnt"),
        0,
    );
    let mount = scene.mounted("mnt");
    // So long that the names in the stores are remembered, and nothing is looked at only because it is new.
    sleep(Duration::from_millis(200));
    assert_eq!(mount.token(), "verified", "{}", mount.status());
    let blob = blob_path(&mount.point, &scene.image.layers[0]);
    let held: Vec<File> = (0..2 * OPEN_FILES)
        .map_while(|_| File::open(&blob).ok())
        .collect();
    assert!(held.len() < 2 * OPEN_FILES, "the files ran out");
    let policy = File::open(scene.user.config().join("trustpolicy.json")).unwrap();
    policy
        .set_modified(SystemTime::now() - Duration::from_secs(60))
        .unwrap();
    let status = mount.status();
    assert!(status.starts_with("policy-invalid\n"), "{status}");
    drop(held);
    assert_eq!(mount.decided(), "verified", "{}", mount.status());
}

#[test]
fn who_may_write_the_folders_of_the_configuration_is_followed() {
    let Some(scene) = Scene::new() else { return };
    scene.user.with_key("second");
    scene.user.succeed(&["sign", "lay:v1"]);
    let mount = scene.mount(&[]);
    assert_eq!(mount.token(), "verified", "{}", mount.status());
    let config = scene.user.config();
    for (folder, token) in [
        (config.join("truststore/x509"), "untrusted"),
        (config.join("truststore"), "untrusted"),
        (config, "policy-invalid"),
    ] {
        for (mode, token) in [(0o777, token), (0o700, "verified")] {
            fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(mount.token(), token, "{mode:o} {}", folder.display());
        }
    }
}
