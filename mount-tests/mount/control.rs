//! `sign` and `trustpolicy.json` as shells, copying tools and editors use them.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;

use signetfs::sys::mount::extended_attribute;

use super::{Mount, Scene, policy};
use crate::support::layouts::{self, blob_path, index};
use crate::support::tool;

#[test]
fn a_policy_and_a_touch_make_it_verified() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    assert_eq!(mount.token(), "unsigned", "{}", mount.status());
    assert!(!mount.path("trustpolicy.json").exists());
    scene.shell("cp policy.json mnt/trustpolicy.json", 0);
    assert!(
        mount.status().contains("policy=mount"),
        "{}",
        mount.status()
    );
    assert_eq!(mount.token(), "unsigned");
    scene.shell("touch mnt/sign && grep -qx verified mnt/verify-status", 0);
    let files = scene.signatures(&mount);
    let kinds: Vec<&str> = files
        .iter()
        .map(|name| name.rsplit('.').next().unwrap())
        .collect();
    assert_eq!(kinds, ["json", "jws", "pem"]);
    // A policy for another CA, and back.
    scene.user.succeed(&["cert", "generate-test", "other"]);
    fs::write(mount.path("trustpolicy.json"), policy("other")).unwrap();
    assert_eq!(mount.token(), "untrusted", "{}", mount.status());
    fs::write(mount.path("trustpolicy.json"), policy("wabbit")).unwrap();
    assert_eq!(mount.token(), "verified");
    // Neither notation's configuration nor the layout holds the policy.
    assert!(!scene.user.config().join("trustpolicy.json").exists());
    assert!(!scene.layout().join("trustpolicy.json").exists());
}

#[test]
fn what_a_touch_did_shows_in_the_very_next_look() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    let blobs = mount.path("blobs/sha256");
    scene.shell("cp policy.json mnt/trustpolicy.json", 0);
    // The kernel keeps the times of folders for a second: what it was told before must not outlive the touch.
    let before = fs::metadata(&blobs).unwrap().modified().unwrap();
    let files = fs::read_dir(&blobs).unwrap().count();
    scene.shell("touch mnt/sign", 0);
    assert_ne!(fs::metadata(&blobs).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), files + 3);
    assert_eq!(scene.signatures(&mount).len(), 3);
    assert_eq!(mount.token(), "verified");
}

#[test]
fn touching_again_adds_nothing() {
    let Some(scene) = Scene::with(layouts::buildx) else {
        return;
    };
    let mount = scene.mount_verified();
    let before = index(&scene.layout());
    scene.shell(
        "for i in 1 2 3; do touch mnt/sign; done; touch -c mnt/sign; touch -m mnt/sign",
        0,
    );
    assert_eq!(index(&scene.layout()), before);
    assert_eq!(scene.signatures(&mount).len(), 3);
}

#[test]
fn only_a_time_change_to_now_signs() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    let before = index(&scene.layout());
    fs::write(scene.user.path("empty"), b"").unwrap();
    for line in [
        "touch -d 2020-01-01 mnt/sign",
        "touch -r policy.json mnt/sign",
        "touch -a mnt/sign",
        "chmod 600 mnt/sign && chmod 644 mnt/sign",
        "chown 0:0 mnt/sign",
        "cat mnt/sign; stat mnt/sign; ls -l mnt; cp mnt/sign copy; grep -r x mnt; true",
        ": > mnt/sign",
        "cp empty mnt/sign",
        "cp -a empty mnt/sign",
        "truncate -s 0 mnt/sign",
        "echo '# a restored reason' > mnt/sign",
    ] {
        scene.shell(line, 0);
        assert_eq!(index(&scene.layout()), before, "{line}");
    }
    if tool("rsync").is_some() {
        // rsync puts a new file in the place of the old one, which control files refuse.
        scene.shell("rsync -a policy.json mnt/sign", 23);
        scene.shell("rsync -a --inplace empty mnt/sign", 0);
        assert_eq!(index(&scene.layout()), before);
    }
    assert_eq!(mount.token(), "unsigned");
}

#[test]
fn a_request_line_says_what_to_sign() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    fs::copy(scene.policy(), mount.path("trustpolicy.json")).unwrap();
    let refused = scene.shell("echo 'tag=v1 sideways' > mnt/sign", 1);
    assert!(refused.stderr.contains("Bad message"), "{refused:?}");
    let reason = fs::read_to_string(mount.path("sign")).unwrap();
    assert!(
        reason.starts_with("# ") && reason.contains("sideways"),
        "{reason}"
    );
    scene.shell("echo 'tag=v1 format=cose annotation.build=7' > mnt/sign", 0);
    assert_eq!(fs::read(mount.path("sign")).unwrap(), b"");
    assert_eq!(mount.token(), "verified", "{}", mount.status());
    assert!(
        scene
            .signatures(&mount)
            .iter()
            .any(|name| name.ends_with(".cose"))
    );
    // Without a line end, a close acts.
    scene.shell("printf 'key=wabbit force' > mnt/sign", 0);
    assert!(
        scene
            .signatures(&mount)
            .iter()
            .any(|name| name.ends_with(".jws"))
    );
}

#[test]
fn a_touch_signs_in_the_preferred_format() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    let preferences = scene.user.config().join("config.json");
    fs::write(&preferences, r#"{"signatureFormat":"pgp"}"#).unwrap();
    scene.shell("touch mnt/sign", 1);
    let reason = fs::read_to_string(mount.path("sign")).unwrap();
    assert!(reason.contains("\"pgp\" is not supported"), "{reason}");
    fs::write(&preferences, r#"{"signatureFormat":"COSE"}"#).unwrap();
    scene.shell("touch mnt/sign", 0);
    let formats = |mount: &_| -> Vec<bool> {
        let names = scene.signatures(mount);
        names.iter().map(|name| name.ends_with(".cose")).collect()
    };
    assert_eq!(formats(&mount).iter().filter(|cose| **cose).count(), 1);
    assert!(!scene.signatures(&mount).iter().any(|n| n.ends_with(".jws")));
    scene.shell("echo format=jws > mnt/sign", 0);
    assert!(scene.signatures(&mount).iter().any(|n| n.ends_with(".jws")));
}

#[test]
fn a_refused_policy_fails_the_command_and_changes_nothing() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let cut = scene.user.path("cut.json");
    fs::write(&cut, &policy("wabbit")[..60]).unwrap();
    fs::write(
        scene.user.path("rule.json"),
        policy("wabbit").replace("strict", "severe"),
    )
    .unwrap();
    for (shell, line, told) in [
        ("bash", "echo bad > mnt/trustpolicy.json", true),
        ("dash", "echo bad > mnt/trustpolicy.json", false),
        (
            "bash",
            "echo '{\"version\": 1}' > mnt/trustpolicy.json",
            true,
        ),
        ("bash", "cat cut.json > mnt/trustpolicy.json", true),
        ("bash", "cp cut.json mnt/trustpolicy.json", true),
        ("bash", "cp rule.json mnt/trustpolicy.json", true),
        ("bash", "tee mnt/trustpolicy.json < rule.json", true),
        ("bash", "dd if=rule.json of=mnt/trustpolicy.json", true),
        ("bash", "echo more >> mnt/trustpolicy.json", true),
    ] {
        let ran = scene.shell_of(shell, line);
        assert_ne!(ran.code, 0, "{line}");
        assert!(
            !told || ran.stderr.contains("Bad message"),
            "{line}: {ran:?}"
        );
        assert_eq!(mount.token(), "verified", "{line}: {}", mount.status());
        assert!(
            !mount.status().contains("refused=-"),
            "{line}: {}",
            mount.status()
        );
        let reason = fs::read_to_string(mount.path("sign")).unwrap();
        assert!(
            reason.starts_with("# trust policy refused"),
            "{line}: {reason}"
        );
        assert_eq!(policy_text(&mount), policy("wabbit"), "{line}");
    }
    // A close that nobody looks at still tells its reason.
    scene.shell_of(
        "bash",
        "head -c 60 policy.json | { read -r -d '' x; printf %s \"$x\"; } > mnt/trustpolicy.json",
    );
    assert_eq!(mount.token(), "verified");
    assert!(mount.status().contains("incomplete"), "{}", mount.status());
    scene.shell("cp policy.json mnt/trustpolicy.json", 0);
    assert!(mount.status().contains("refused=-"), "{}", mount.status());
}

#[test]
fn every_way_of_writing_a_policy_works() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let other = policy("elsewhere");
    fs::write(scene.user.path("other.json"), &other).unwrap();
    for line in [
        "cp other.json mnt/trustpolicy.json",
        "cp -a other.json mnt/trustpolicy.json",
        "cp --remove-destination other.json mnt/trustpolicy.json",
        "cat other.json > mnt/trustpolicy.json",
        "dash -c 'cat other.json > mnt/trustpolicy.json'",
        "echo \"$(cat other.json)\" > mnt/trustpolicy.json",
        "cp other.json moved && mv moved mnt/trustpolicy.json",
        "cp other.json mnt/trustpolicy.json.tmp && mv mnt/trustpolicy.json.tmp mnt/trustpolicy.json",
        "install -m 644 other.json mnt/trustpolicy.json",
        "tee mnt/trustpolicy.json < other.json > /dev/null",
        "dd if=other.json of=mnt/trustpolicy.json conv=fsync",
        "{ head -c 40 other.json; tail -c +41 other.json; } > mnt/trustpolicy.json",
        "truncate -s 0 mnt/trustpolicy.json; cat other.json >> mnt/trustpolicy.json",
        "sed -i s/wabbit/elsewhere/g mnt/trustpolicy.json",
        "rm mnt/trustpolicy.json; cp other.json mnt/trustpolicy.json",
    ] {
        scene.shell(line, 0);
        assert_eq!(policy_text(&mount), other, "{line}");
        assert_eq!(mount.token(), "untrusted", "{line}: {}", mount.status());
        scene.shell("cp policy.json mnt/trustpolicy.json", 0);
        assert_eq!(mount.token(), "verified", "{line}: {}", mount.status());
    }
    if tool("rsync").is_some() {
        for line in [
            "rsync -aI other.json mnt/trustpolicy.json",
            "rsync -aI --inplace other.json mnt/trustpolicy.json",
        ] {
            scene.shell(line, 0);
            assert_eq!(policy_text(&mount), other, "{line}");
            scene.shell("cp policy.json mnt/trustpolicy.json", 0);
        }
    }
    if tool("vim").is_some() {
        scene.shell(
            "vim -es -u NONE -c '%s/wabbit/elsewhere/g' -c wq mnt/trustpolicy.json",
            0,
        );
        assert_eq!(mount.token(), "untrusted", "{}", mount.status());
    }
}

#[test]
fn removing_the_policy_leaves_none() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    scene.shell("rm mnt/trustpolicy.json", 0);
    assert!(!mount.path("trustpolicy.json").exists());
    assert_eq!(mount.token(), "no-policy", "{}", mount.status());
    scene.shell("cp policy.json mnt/trustpolicy.json", 0);
    assert_eq!(mount.token(), "verified");
    scene.shell(": > mnt/trustpolicy.json", 0);
    super::until(|| mount.token() == "no-policy");
}

#[test]
fn a_pinned_policy_cannot_be_written() {
    let Some(scene) = Scene::new() else { return };
    for flags in [&["--policy", "policy.json"][..], &["--read-only"]] {
        let mount = scene.mount(flags);
        for line in [
            "cp policy.json mnt/trustpolicy.json",
            "rm mnt/trustpolicy.json",
            "echo x > mnt/trustpolicy.json",
        ] {
            let ran = scene.shell(line, 1);
            let is_absent = flags[0] == "--read-only" && line.starts_with("rm");
            assert!(
                is_absent || ran.stderr.contains("not permitted"),
                "{flags:?} {line}: {ran:?}"
            );
        }
        assert_eq!(mount.path("sign").exists(), flags[0] != "--read-only");
        mount.end();
    }
    // It follows its file.
    let mount = scene.mount(&["--policy", "policy.json"]);
    fs::write(scene.policy(), policy("elsewhere")).unwrap();
    assert_eq!(policy_text(&mount), policy("elsewhere"));
}

#[test]
fn other_users_neither_sign_nor_write_the_policy() {
    let Some(scene) = Scene::new() else { return };
    scene.shell("chmod 755 .", 0);
    let mount = scene.mount(&["--allow-other"]);
    let before = index(&scene.layout());
    for line in [
        "touch mnt/sign",
        "echo > mnt/sign",
        "cp policy.json mnt/trustpolicy.json",
        "echo x > mnt/x~",
    ] {
        let mut command = scene.user.program("timeout");
        command
            .args(["30", "bash", "-c", line])
            .uid(65534)
            .gid(65534);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("denied"), "{line}: {text}");
    }
    assert_eq!(index(&scene.layout()), before);
    assert!(!mount.path("trustpolicy.json").exists());
    let mut command = scene.user.program("cat");
    command.arg("mnt/verify-status").uid(65534).gid(65534);
    assert!(command.output().unwrap().stdout.starts_with(b"unsigned"));
}

#[test]
fn a_listed_user_may_sign() {
    let Some(scene) = Scene::new() else { return };
    scene.shell("chmod 755 .", 0);
    let mount = scene.mount(&["--allow-other", "--sign-uid", "65534"]);
    fs::copy(scene.policy(), mount.path("trustpolicy.json")).unwrap();
    let mut command = scene.user.program("touch");
    command.arg("mnt/sign").uid(65534).gid(65534);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(mount.token(), "verified");
}

#[test]
fn a_mount_that_read_a_key_leaves_no_core() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    let pid = extended_attribute(&mount.path(""), "user.signetfs.pid");
    let pid = String::from_utf8(pid.unwrap().unwrap()).unwrap();
    scene.shell("touch mnt/sign", 0);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let words: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(words, ["1", "1", "bytes"]);
}

#[test]
fn without_a_key_the_errno_and_the_reason_say_so() {
    let Some(scene) = Scene::new() else { return };
    fs::remove_dir_all(scene.user.config()).unwrap();
    let mount = scene.mount(&[]);
    let ran = scene.shell("touch mnt/sign", 1);
    assert!(ran.stderr.contains("Required key not available"), "{ran:?}");
    assert!(
        fs::read_to_string(mount.path("sign"))
            .unwrap()
            .starts_with("# no signing key")
    );
    assert!(
        mount.status().contains("refused=no\\x20signing\\x20key"),
        "{}",
        mount.status()
    );
}

#[test]
fn a_key_inside_the_layout_is_not_used() {
    let Some(scene) = Scene::new() else { return };
    let keys = scene.layout().join("keys");
    fs::rename(scene.user.config().join("localkeys"), &keys).unwrap();
    let file = |name: &str| keys.join(name).display().to_string();
    scene.user.succeed(&[
        "key",
        "add",
        "two",
        "--default",
        "--key",
        &file("wabbit.key"),
        "--cert",
        &file("wabbit.crt"),
    ]);
    let mount = scene.mount(&[]);
    let ran = scene.shell("touch mnt/sign", 1);
    assert!(ran.stderr.contains("Required key not available"), "{ran:?}");
    let reason = fs::read_to_string(mount.path("sign")).unwrap();
    assert!(reason.contains("is inside the layout"), "{reason}");
    // Not by another way to the same file either.
    std::os::unix::fs::symlink(&keys, scene.user.config().join("localkeys")).unwrap();
    scene.shell("echo key=wabbit > mnt/sign", 1);
    assert_eq!(mount.token(), "unsigned");
}

#[test]
fn a_broken_image_is_not_signed() {
    let Some(scene) = Scene::new() else { return };
    fs::write(blob_path(&scene.layout(), &scene.image.layers[0]), b"other").unwrap();
    let mount = scene.mount(&[]);
    assert_eq!(mount.decided(), "corrupt");
    let ran = scene.shell("touch mnt/sign", 1);
    assert!(ran.stderr.contains("Input/output error"), "{ran:?}");
    assert_eq!(
        index(&scene.layout())["manifests"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn an_open_status_keeps_what_it_was_opened_with() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    fs::copy(scene.policy(), mount.path("trustpolicy.json")).unwrap();
    let mut held = fs::File::open(mount.path("verify-status")).unwrap();
    let mut text = String::new();
    held.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("unsigned\n"), "{text}");
    scene.shell("touch mnt/sign", 0);
    held.seek(SeekFrom::Start(0)).unwrap();
    text.clear();
    held.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("unsigned\n"), "{text}");
    assert_eq!(mount.token(), "verified");
}

fn policy_text(mount: &Mount) -> String {
    let text = fs::read_to_string(mount.path("trustpolicy.json")).unwrap();
    text.trim_end().to_owned()
}
