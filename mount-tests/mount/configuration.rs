//! Policies and stores that cannot be read for a moment, or lead where they should not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::Scene;

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
