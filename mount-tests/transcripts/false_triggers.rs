//! What must not sign and must not change a policy: copying onto the mount, restoring a backup, metadata, readers, other users.

use std::fs;
use std::os::unix::process::CommandExt;

use super::{POLICY, Scene, policy, policy_of, token};
use crate::support::{Ran, files_below, tool};

/// Checks that nothing is signed and the policies are what they were.
#[track_caller]
fn assert_untouched(scene: &Scene, told: &str) {
    assert_eq!(scene.entries(), 1, "{told}");
    let root = scene.user.path("mnt");
    assert_eq!(policy_of(&root), Some(policy("wabbit")), "{told}");
    assert_eq!(
        policy_of(&scene.user.config()),
        Some(policy("elsewhere")),
        "{told}"
    );
}

/// Returns a scene whose user has a policy of notation's, which nothing may change.
fn scene() -> Scene {
    let scene = Scene::new();
    fs::write(scene.user.config().join(POLICY), policy("elsewhere")).unwrap();
    scene
}

#[test]
fn copying_a_copy_back_signs_nothing() {
    let scene = scene();
    let Some(mount) = scene.mount(&[]) else {
        return;
    };
    scene.succeed("cp -a mnt copy && tar -C mnt -cf copy.tar .");
    let before = files_below(&scene.user.path("lay"));
    let is_root = super::is_root();
    // Content is read-only, so that whoever copies it fails; control files take or refuse what is written.
    for (needs, line, code, text) in [
        // Nothing differs yet. After the first refusal, the reason does. Who is not root makes folders writable first.
        (
            "rsync",
            "rsync -a copy/ mnt/",
            if is_root { 0 } else { 23 },
            if is_root { "" } else { "Read-only file system" },
        ),
        ("cp", "cp -a copy/. mnt", 1, "Read-only file system"),
        ("cp", "cp -rp copy/. mnt", 1, "Read-only file system"),
        (
            "cp",
            "cp -a --remove-destination copy/. mnt",
            1,
            "Operation not permitted",
        ),
        (
            "rsync",
            "rsync -aI copy/ mnt/",
            23,
            "Operation not permitted",
        ),
        (
            "rsync",
            "rsync -aI --inplace copy/ mnt/",
            23,
            "Read-only file system",
        ),
        ("tar", "tar -C mnt -xf copy.tar", 2, "Read-only file system"),
        (
            "tar",
            "tar -C mnt --overwrite -xf copy.tar",
            2,
            "Read-only file system",
        ),
        (
            "bsdtar",
            "bsdtar -C mnt -xf copy.tar",
            1,
            "Read-only file system",
        ),
    ] {
        if tool(needs).is_none() {
            continue;
        }
        let ran = scene.shell(line);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        assert!(ran.stderr.contains(text), "{line}: {ran:?}");
        assert_untouched(&scene, line);
        assert_eq!(token(&mount), "unsigned", "{line}");
        assert_eq!(files_below(&scene.user.path("lay")), before, "{line}");
    }
    assert_eq!(
        files_below(&mount.path("")).len(),
        files_below(&scene.user.path("copy")).len()
    );
}

#[test]
fn restoring_a_backup_signs_nothing() {
    let scene = scene();
    let Some(mount) = scene.mount(&[]) else {
        return;
    };
    if tool("restic").is_none() {
        return;
    }
    let restic = "RESTIC_REPOSITORY=repo RESTIC_PASSWORD=x RESTIC_CACHE_DIR=cache restic -q";
    scene.succeed(&format!(
        "{restic} init && {restic} backup mnt/sign mnt/trustpolicy.json mnt/index.json"
    ));
    let before = files_below(&scene.user.path("lay"));
    // It writes in place and then sets the times; the content of the layout refuses that.
    let ran = scene.shell(&format!("{restic} restore latest --target ."));
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("read-only file system"), "{ran:?}");
    assert_untouched(&scene, "restic restore");
    assert_eq!(files_below(&scene.user.path("lay")), before);
    assert_eq!(token(&mount), "unsigned");
}

#[test]
fn metadata_and_readers_sign_nothing() {
    let scene = scene();
    let Some(mount) = scene.mount(&[]) else {
        return;
    };
    fs::write(scene.user.path("empty"), b"").unwrap();
    for line in [
        "touch -r policy.json mnt/sign",
        "touch -d 2020-01-01 mnt/sign",
        "touch -d @$(date +%s) mnt/sign",
        "touch -a mnt/sign",
        "chmod 600 mnt/sign && chmod 644 mnt/sign",
        "chown 0:0 mnt/sign",
        "touch -r empty mnt/trustpolicy.json; chmod 600 mnt/trustpolicy.json; chown 0:0 mnt/trustpolicy.json",
        "touch mnt/trustpolicy.json",
        "cp -a empty mnt/sign && cp -p empty mnt/sign && cp empty mnt/sign",
        ": > mnt/sign; : >> mnt/sign; truncate -s 0 mnt/sign; exec 5<>mnt/sign",
        "printf '\\n# a reason of another day\\n\\n' > mnt/sign",
        "flock mnt/sign true && flock mnt/trustpolicy.json true",
        "grep -r anything mnt; find mnt -newer empty; tar -C mnt -cf t.tar .",
        "find mnt -xdev -print0 | xargs -0 stat > list; ls -laR mnt; du -a mnt; cat mnt/sign",
        "find mnt -type f -exec sha256sum {} +",
    ] {
        scene.succeed(&format!("{line}; true"));
        assert_untouched(&scene, line);
        assert_eq!(token(&mount), "unsigned", "{line}");
    }
    for (line, code, text) in [
        ("cp empty mnt/verify-status", 1, "Permission denied"),
        (": > mnt/verify-status.json", 1, "Permission denied"),
        ("rm mnt/verify-status", 1, "Operation not permitted"),
        ("rm mnt/sign", 1, "Operation not permitted"),
        ("mv mnt/sign mnt/sign~", 1, "Operation not permitted"),
        ("mv empty mnt/sign", 1, "Operation not permitted"),
        ("touch mnt/index.json", 1, "Read-only file system"),
        ("touch mnt/new", 1, "Read-only file system"),
        ("mkdir mnt/new", 1, "Read-only file system"),
        ("ln -s x mnt/new", 1, "Read-only file system"),
        ("rm mnt/index.json", 1, "Read-only file system"),
        ("echo x > mnt/index.json", 1, "Read-only file system"),
        ("chmod 777 mnt/index.json", 1, "Read-only file system"),
        ("rmdir mnt/blobs", 1, "Read-only file system"),
        ("ln -sf x mnt/sign", 1, "Read-only file system"),
    ] {
        let ran = scene.shell(line);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        // The kernel looks at modes first, for those who are not root.
        let by_mode = !super::is_root() && ran.stderr.contains("Permission denied");
        assert!(by_mode || ran.stderr.contains(text), "{line}: {ran:?}");
        assert_untouched(&scene, line);
    }
}

#[test]
fn another_user_signs_nothing() {
    let scene = scene();
    scene.succeed("chmod 755 . && chmod 644 policy.json");
    let Some(mount) = scene.mount(&["--allow-other"]) else {
        return;
    };
    let other = |line: &str| {
        let mut command = scene.user.program("timeout");
        command
            .args(["60", "bash", "-c", line])
            .uid(65534)
            .gid(65534);
        Ran::of(command.output().unwrap())
    };
    for line in [
        "touch mnt/sign",
        "touch -c mnt/sign",
        "touch -d 2020-01-01 mnt/sign",
        "echo tag=v1 > mnt/sign",
        "cp policy.json mnt/trustpolicy.json",
        "mv -f mnt/trustpolicy.json mnt/trustpolicy.json~",
        "rm -f mnt/trustpolicy.json",
        "sed -i s/strict/audit/ mnt/trustpolicy.json",
        ": > mnt/verify-status",
        "chmod 666 mnt/sign",
    ] {
        let ran = other(line);
        assert_ne!(ran.code, 0, "{line}: {ran:?}");
        let refused = ran.stderr.contains("denied") || ran.stderr.contains("not permitted");
        assert!(refused, "{line}: {ran:?}");
        assert_untouched(&scene, line);
    }
    let ran = other("grep -qx unsigned mnt/verify-status && tar -C mnt -c . | wc -c");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_untouched(&scene, "readers");
    assert_eq!(token(&mount), "unsigned");
}

#[test]
fn a_thousand_touches_make_one_signature() {
    let scene = Scene::new();
    let Some(mount) = scene.mount(&[]) else {
        return;
    };
    scene.succeed("seq 1000 | xargs -P 8 -n 50 sh -c 'for i in \"$@\"; do touch mnt/sign || exit 255; done' sh");
    assert_eq!(scene.entries(), 2);
    assert_eq!(token(&mount), "verified");
}
