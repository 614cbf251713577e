//! A mount point as the source of a push: it stands for its layout, its policy and its scope.

use super::Scene;
use crate::registry::{Behaviour, Registry};

#[test]
fn a_mount_point_stands_for_its_layout_policy_and_scope() {
    let Some(scene) = Scene::new() else { return };
    let registry = Registry::start(Behaviour::default());
    let mount = scene.mount_verified();
    let (target, other) = (registry.at("app:v1"), registry.at("other:v1"));
    let push = |source: &str, target: &str| {
        scene
            .user
            .run(&["sync", "--plain-http", "--json", source, target])
    };
    // The policy was written into the mount only: the layout alone is not verified.
    push("lay:v1", &target).error(16);
    let ran = push("mnt:v1", &target);
    assert_eq!(ran.code, 0, "{ran:?}");
    let repository = registry.repository("app");
    assert_eq!(repository.tags["v1"], scene.image.digest);
    assert_eq!(repository.referrers(&scene.image.digest).len(), 1);
    // What the mount hashed is remembered, so that bytes come from the layout and are not hashed again.
    let again = push("mnt:v1", &other);
    assert_eq!(again.code, 0, "{again:?}");
    std::fs::remove_file(mount.path("trustpolicy.json")).unwrap();
    push("mnt:v1", &target).error(16);
}

#[test]
fn a_layout_mounted_over_is_read_through_the_mount() {
    let Some(scene) = Scene::new() else { return };
    let registry = Registry::start(Behaviour::default());
    scene.user.succeed(&["sign", "lay:v1"]);
    let policy = scene.policy().display().to_string();
    let _mount = scene.mount_at("lay", "lay", &["--policy", &policy]);
    let target = registry.at("app:v1");
    let ran = scene.user.run(&["sync", "--plain-http", "lay:v1", &target]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(registry.repository("app").tags["v1"], scene.image.digest);
}
