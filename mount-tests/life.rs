//! The life of a mount as a user sees it: users other than root, mount(8) and fstab, terminals, pinned policies, counters.
//!
//! What would change the machine (another /dev/fuse, fuse.conf or PATH) happens in a mount name space of the test's own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use signetfs::oci::media_type::IMAGE_MANIFEST;

use crate::support::layouts::{self, Layout};
use crate::support::{Mount, Ran, User, fuse, own_program, tool};

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);
/// The user of these tests who is not root.
const UID: u32 = 1000;

/// What scripts in a name space begin with: a FUSE device for everybody, a program for everybody, nothing left mounted.
const PRELUDE: &str = r#"
set -u
here=$PWD
left() { awk -v here="$here/" '/ - fuse.signetfs / && index($5, here) == 1 { print $5 }' /proc/self/mountinfo; }
trap 'left | while read -r point; do umount -l "$point"; done' EXIT
mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse
u() { setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; }
fails() { local code=$1; shift; "$@"; local got=$?; [ $got = "$code" ] || { echo "$*: exit $got instead of $code"; exit 99; }; }
"#;

/// Returns a user with a layout and a key, everything owned by [`UID`]; nothing where this machine cannot mount.
fn other_user() -> Option<User> {
    if !fuse() || !is_root() {
        eprintln!("skip: acting as another user needs root");
        return None;
    }
    let user = scene();
    fs::copy(own_program(), user.path("signetfs")).unwrap();
    let status = user
        .program("chown")
        .args(["-R", &format!("{UID}:{UID}"), "."])
        .status()
        .unwrap();
    assert!(status.success());
    Some(user)
}

/// Returns a user with a layout `lay`, a key, and a policy file that trusts it and is not imported.
fn scene() -> User {
    let user = User::new();
    user.succeed(&["cert", "generate-test", "--default", "wabbit"]);
    layouts::single(&user.path("lay"));
    fs::write(user.path("policy.json"), policy("strict")).unwrap();
    for point in ["mnt", "mnt2"] {
        fs::create_dir(user.path(point)).unwrap();
    }
    user
}

fn policy(level: &str) -> String {
    format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"test","registryScopes":["*"],
        "signatureVerification":{{"level":"{level}"}},"trustStores":["ca:wabbit"],"trustedIdentities":["*"]}}]}}"#
    )
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;

    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Runs a script in a mount name space of its own.
#[track_caller]
fn apart(user: &User, script: &str) -> Ran {
    let text = format!("{PRELUDE}{script}");
    let seconds = PATIENCE.as_secs().to_string();
    let mut command = user.program("unshare");
    command.args(["-m", "timeout", "-k", "1", &seconds, "bash", "-c", &text]);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// Waits until something holds.
#[track_caller]
fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn users_other_than_root_mount_through_fusermount3() {
    let Some(user) = other_user() else { return };
    let ran = apart(
        &user,
        r#"
        u ./signetfs mount lay mnt || exit 1
        u head -n 1 mnt/verify-status
        u cp policy.json mnt/trustpolicy.json && u touch mnt/sign || exit 1
        u head -n 1 mnt/verify-status
        u ./signetfs status mnt | grep -E '^(reads|verdict)'
        u find mnt/blobs -type f | while read -r blob; do
            [ "$(u sha256sum <"$(echo "$blob" | sed s/mnt/lay/)")" = "$(u cat "$blob" | sha256sum)" ] || exit 1
        done
        u ./signetfs umount mnt && left
        u ./signetfs mount --foreground lay mnt & until [ "$(left)" ]; do sleep 0.1; done
        u fusermount3 -u mnt && wait $! && echo ended
        "#,
    );
    assert_eq!(
        ran.stdout,
        "unsigned\nverified\nreads: checked (passthrough takes root)\nverdict: verified\nended\n",
        "{ran:?}"
    );
}

#[test]
fn a_mount_of_another_user_says_whose_it_is() {
    let Some(user) = other_user() else { return };
    let ran = apart(
        &user,
        r#"
        u ./signetfs mount lay mnt || exit 1
        fails 1 cat mnt/verify-status 2>&1
        for command in status wait verify; do fails 40 ./signetfs $command mnt 2>&1; done
        ./signetfs umount mnt && left
        "#,
    );
    assert!(ran.stdout.contains("Permission denied"), "{ran:?}");
    let told = "belongs to uid 1000";
    assert_eq!(ran.stdout.matches(told).count(), 3, "{ran:?}");
    assert_eq!(ran.stdout.matches("--allow-root").count(), 3, "{ran:?}");
}

#[test]
fn what_fusermount3_refuses_names_what_to_do() {
    let Some(user) = other_user() else { return };
    let ran = apart(
        &user,
        r#"
        mkdir empty
        echo mount_max = 1000 >fuse.conf && mount --bind fuse.conf /etc/fuse.conf || exit 1
        fails 1 u env PATH="$here/empty" "$here/signetfs" mount lay mnt 2>&1
        fails 1 u ./signetfs mount --allow-other lay mnt 2>&1
        chmod 600 /dev/fuse
        fails 40 u ./signetfs mount lay mnt 2>&1
        left
        "#,
    );
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{ran:?}");
    for (pair, (error, hint)) in lines.chunks(2).zip([
        ("fusermount3 is not installed", "package fuse3"),
        ("allow_other", "user_allow_other into /etc/fuse.conf"),
        ("/dev/fuse: Permission denied", "chmod 666 /dev/fuse"),
    ]) {
        assert!(pair[0].starts_with("signetfs: error: mounting on "));
        assert!(pair[0].contains(error), "{pair:?}");
        assert!(pair[1].starts_with("signetfs: hint: "), "{pair:?}");
        assert!(pair[1].contains(hint), "{pair:?}");
    }
}

#[test]
fn allow_root_shows_the_mount_to_root_and_nobody_else() {
    let Some(user) = other_user() else { return };
    let ran = apart(
        &user,
        r#"
        chmod 755 "$here" lay mnt
        echo user_allow_other >fuse.conf && mount --bind fuse.conf /etc/fuse.conf || exit 1
        u ./signetfs mount --allow-root lay mnt || exit 1
        head -n 1 mnt/verify-status
        fails 1 setpriv --reuid 1001 --regid 1001 --clear-groups cat mnt/verify-status 2>/dev/null
        fails 1 setpriv --reuid 1001 --regid 1001 --clear-groups cat mnt/index.json 2>/dev/null
        # Looking is not signing.
        fails 1 touch mnt/sign 2>/dev/null
        u touch mnt/sign || exit 1
        u ./signetfs umount mnt && left
        u ./signetfs mount --allow-other lay mnt || exit 1
        setpriv --reuid 1001 --regid 1001 --clear-groups head -n 1 mnt/verify-status
        u ./signetfs umount mnt && left
        "#,
    );
    assert_eq!(ran.stdout, "unsigned\nno-policy\n", "{ran:?}");
}

#[test]
fn named_uids_sign_and_others_do_not() {
    let Some(user) = other_user() else { return };
    let ran = apart(
        &user,
        r#"
        chmod 755 "$here" lay mnt && chown -R 0:0 config
        ./signetfs mount --allow-other lay mnt && fails 1 u touch mnt/sign 2>/dev/null
        fails 1 u cp policy.json mnt/trustpolicy.json 2>/dev/null
        ./signetfs umount mnt || exit 1
        ./signetfs mount --allow-other --sign-uid 1000 lay mnt || exit 1
        u cp policy.json mnt/trustpolicy.json && u touch mnt/sign || exit 1
        u head -n 1 mnt/verify-status
        fails 1 setpriv --reuid 1001 --regid 1001 --clear-groups touch mnt/sign 2>/dev/null
        ./signetfs umount mnt && left
        "#,
    );
    assert_eq!(ran.stdout, "verified\n", "{ran:?}");
}

#[test]
fn mount_8_and_fstab_mount() {
    let Some(user) = other_user() else { return };
    let ran = apart(
        &user,
        r#"
        mount -t tmpfs tmpfs /usr/local/bin && ln -s "$here/signetfs" /usr/local/bin/signetfs || exit 1
        mount -t fuse.signetfs "$here/lay" mnt -o ro,scope=local/foo,_netdev || exit 1
        ./signetfs status mnt | grep -E '^(source|scope|verdict)' | sed "s:$here/::"
        fails 1 touch mnt/sign 2>/dev/null
        umount mnt && left
        fails 2 mount -t fuse.signetfs lay mnt -o bogus 2>&1
        fails 1 mount -t fuse.signetfs lay absent 2>/dev/null
        fails 10 mount -t fuse.signetfs lay mnt -o require_verified 2>/dev/null
        left
        echo "$here/lay $here/mnt fuse.signetfs noauto,nofail,_netdev,nodiratime,scope=local/foo,no_sign 0 0" >fstab
        mount -T fstab "$here/mnt" || exit 1
        [ ! -e mnt/sign ] && head -n 1 mnt/verify-status
        fails 1 mount -T fstab "$here/mnt" 2>/dev/null
        umount mnt && left
        "#,
    );
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let shown = ["source: lay", "scope: local/foo", "verdict: unsigned"];
    assert_eq!(lines[..3], shown, "{ran:?}");
    assert!(lines[3].contains("--bogus"), "{ran:?}");
    assert_eq!(lines[5..], ["unsigned"], "{ran:?}");
}

#[test]
fn a_mount_by_sudo_says_who_can_look() {
    if !fuse() || !is_root() {
        return;
    }
    let user = scene();
    for (flags, count) in [(&[][..], 1), (&["--allow-other"][..], 0)] {
        let mut command = user.signetfs(&["mount", "lay", "mnt"]);
        command.args(flags).env("SUDO_UID", "1000");
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        let hints = ran.stderr.matches("hint: mounted by sudo").count();
        assert_eq!(hints, count, "{ran:?}");
        user.succeed(&["umount", "mnt"]);
    }
}

#[test]
fn a_pinned_policy_follows_its_file() {
    let user = scene();
    user.succeed(&["sign", "lay:v1"]);
    let flags = ["--policy", "policy.json"];
    let Some(mount) = Mount::new(&user, "lay", "mnt", &flags) else {
        return;
    };
    let token = || {
        mount
            .read("verify-status")
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(token(), "verified");
    assert_eq!(mount.read("trustpolicy.json"), policy("strict"));
    let refused = fs::write(mount.path("trustpolicy.json"), policy("skip"));
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(1));
    let refused = fs::remove_file(mount.path("trustpolicy.json"));
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(1));
    fs::write(
        user.path("policy.json"),
        policy("skip").replace(
            "\"trustStores\":[\"ca:wabbit\"],\"trustedIdentities\":[\"*\"]",
            "\"trustStores\":[],\"trustedIdentities\":[]",
        ),
    )
    .unwrap();
    assert_eq!(token(), "skipped", "{}", mount.read("verify-status"));
    fs::write(user.path("policy.json"), "{").unwrap();
    assert_eq!(token(), "policy-invalid");
    fs::remove_file(user.path("policy.json")).unwrap();
    assert_eq!(token(), "policy-invalid");
    fs::write(user.path("policy.json"), policy("strict")).unwrap();
    assert_eq!(token(), "verified");
}

#[test]
fn a_mount_without_sign_has_none() {
    let user = scene();
    for (flag, policy_writable) in [("--no-sign", true), ("--read-only", false)] {
        let Some(mount) = Mount::new(&user, "lay", "mnt", &[flag]) else {
            return;
        };
        assert!(!mount.path("sign").exists());
        assert!(fs::File::create(mount.path("sign")).is_err(), "{flag}");
        let written = fs::write(mount.path("trustpolicy.json"), policy("strict"));
        assert_eq!(written.is_ok(), policy_writable, "{flag}: {written:?}");
    }
}

#[test]
fn waiting_ends_with_the_first_verdict_or_the_timeout() {
    let user = scene();
    sparse(&user.path("big"), 2 << 30);
    let Some(mount) = Mount::new(&user, "big", "mnt", &["--no-wait", "--no-memory"]) else {
        return;
    };
    assert!(mount.read("verify-status").starts_with("pending\n"));
    user.run(&["wait", "mnt", "--timeout", "0s"]).error(26);
    user.succeed(&["wait", "mnt", "--timeout", "30s"]);
    assert!(mount.read("verify-status").starts_with("corrupt\n"));
    user.run(&["wait", "lay"]).error(1);
    user.run(&["status", "lay"]).error(1);
}

#[test]
fn giving_up_the_wait_gives_up_the_mount() {
    if !fuse() || !is_root() {
        return;
    }
    let user = scene();
    sparse(&user.path("big"), 1 << 40);
    let mut waiting = user
        .signetfs(&["mount", "--no-memory", "big", "mnt"])
        .spawn()
        .unwrap();
    until(|| daemon(&user.path("mnt")).is_some());
    let pid = daemon(&user.path("mnt")).unwrap();
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    until(|| !Path::new("/proc").join(&pid).exists());
    assert!(daemon(&user.path("mnt")).is_none());
}

#[test]
fn a_terminal_sees_a_bar_that_goes_away() {
    if !fuse() || !is_root() {
        return;
    }
    let user = scene();
    sparse(&user.path("big"), 1 << 30);
    let line = format!("{} mount --no-memory big mnt", own_program());
    let output = user
        .program("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .output()
        .unwrap();
    user.succeed(&["umount", "mnt"]);
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let last = shown
        .rfind("hashing")
        .unwrap_or_else(|| panic!("{shown:?}"));
    assert!(shown[last..].contains("\u{1b}[2K"), "{shown:?}");
}

#[test]
fn the_end_of_a_mount_leaves_the_next_one_alone() {
    if !fuse() || !is_root() {
        return;
    }
    let user = scene();
    let point = user.path("mnt");
    // The kernel gives the next mount the number of the one before.
    for round in 0..20 {
        user.succeed(&["mount", "lay", "mnt"]);
        let before = daemon(&point).unwrap();
        user.succeed(&["umount", "mnt"]);
        user.succeed(&["mount", "lay", "mnt"]);
        until(|| !Path::new("/proc").join(&before).exists());
        assert!(daemon(&point).is_some(), "round {round}");
        user.succeed(&["umount", "mnt"]);
    }
}

#[test]
fn counters_are_written_on_request_and_at_the_end() {
    let user = scene();
    fs::write(user.path("lay/blobs/sha256/x"), b"").unwrap();
    let image = layouts::index(&user.path("lay"))["manifests"][0]["digest"].clone();
    let flags = ["--stats", "stats.json", "--reads", "checked", "--no-memory"];
    let Some(mount) = Mount::new(&user, "lay", "mnt", &flags) else {
        return;
    };
    let counts = || -> Option<serde_json::Value> {
        serde_json::from_slice(&fs::read(user.path("stats.json")).ok()?).ok()
    };
    let blob = layouts::blob_path(&user.path("mnt"), image.as_str().unwrap());
    assert_eq!(
        fs::read(&blob).unwrap().len() as u64,
        fs::metadata(&blob).unwrap().len()
    );
    fs::File::options()
        .append(true)
        .open(mount.path("sign"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let touched = user.program("touch").arg("mnt/sign").status().unwrap();
    assert!(touched.success());
    let pid = daemon(&user.path("mnt")).unwrap();
    let sent = user.program("kill").args(["-USR1", &pid]).status().unwrap();
    assert!(sent.success());
    until(|| counts().is_some());
    let first = counts().unwrap();
    assert_eq!(first["schema"], "signetfs.stats/1");
    assert_eq!(first["opens"]["checked"], 1, "{first}");
    assert_eq!(first["opens"]["passthrough"], 0, "{first}");
    assert_eq!(first["signatures"], 1, "{first}");
    let fsyncs = first["fsyncs"].as_u64().unwrap();
    assert!((1..=6).contains(&fsyncs), "{first}");
    assert!(first["bytesHashed"].as_u64().unwrap() > 1000, "{first}");
    fs::remove_file(user.path("stats.json")).unwrap();
    drop(mount);
    until(|| counts().is_some());
    assert_eq!(counts().unwrap()["signatures"], 1);
}

#[test]
fn a_large_blob_is_read_with_few_requests() {
    let user = User::new();
    let mut layout = layouts::Layout::new(&user.path("lay"));
    let image = layout.image("v1", &"x".repeat(100_000));
    let flags = ["--stats", "stats.json", "--reads", "checked"];
    let Some(mount) = Mount::new(&user, "lay", "mnt", &flags) else {
        return;
    };
    let device = fs::metadata(mount.path("")).unwrap().dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let setting = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    let present = fs::read_to_string(&setting).unwrap_or_default();
    if fs::write(&setting, &present).is_err() {
        eprintln!("skip: nobody may change {setting} here");
        return;
    }
    let blob = layouts::blob_path(&user.path("mnt"), &image.layers[0]);
    let size = fs::read(&blob).unwrap().len() as u64;
    assert!(size > 10_000_000);
    drop(mount);
    until(|| user.path("stats.json").exists());
    let stats = fs::read(user.path("stats.json")).unwrap();
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    let reads = stats["reads"]["checked"].as_u64().unwrap();
    // The kernel alone asks for 128 KiB at a time.
    assert!(reads < size / (256 << 10), "{stats}");
}

#[test]
fn a_touch_waits_for_six_fsyncs_and_for_five_beside_the_empty_config() {
    for (is_there, expected) in [(false, 6), (true, 5)] {
        let user = scene();
        let empty = signetfs::oci::Digest::of(b"{}");
        let empty = layouts::blob_path(&user.path("lay"), &empty.to_string());
        assert!(!empty.exists());
        if is_there {
            fs::write(&empty, b"{}").unwrap();
        }
        let Some(_mount) = Mount::new(&user, "lay", "mnt", &["--stats", "stats.json"]) else {
            return;
        };
        let pid = daemon(&user.path("mnt")).unwrap();
        let traced = user.path("fsyncs");
        let strace = tool("strace").map(|strace| {
            let mut strace = user.program(&strace);
            let strace = strace.args(["-f", "-qq", "-e", "trace=fsync,fdatasync,sync,syncfs"]);
            let strace = strace.arg("-o").arg(&traced).args(["-p", &pid]);
            let running = strace.spawn().unwrap();
            let is_attached = || {
                let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
                tasks.flatten().all(|task| {
                    let status = fs::read_to_string(task.path().join("status"));
                    status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
                })
            };
            until(is_attached);
            running
        });
        let touched = user.program("touch").arg("mnt/sign").status().unwrap();
        assert!(touched.success());
        if let Some(mut strace) = strace {
            let mut end = user.program("kill");
            assert!(end.arg(strace.id().to_string()).status().unwrap().success());
            strace.wait().unwrap();
            let calls = fs::read_to_string(&traced).unwrap();
            assert_eq!(
                calls.lines().filter(|line| line.contains("sync(")).count(),
                expected,
                "{calls}"
            );
        }
        let sent = user.program("kill").args(["-USR1", &pid]).status().unwrap();
        assert!(sent.success());
        let counts = || -> Option<serde_json::Value> {
            serde_json::from_slice(&fs::read(user.path("stats.json")).ok()?).ok()
        };
        until(|| counts().is_some());
        assert_eq!(counts().unwrap()["fsyncs"], expected, "{is_there}");
    }
}

/// Writes a layout with one layer that takes long to hash and is not what its digest says.
fn sparse(root: &Path, bytes: u64) {
    let mut layout = Layout::new(root);
    let config = layout.descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let digest = format!("sha256:{}", "1".repeat(64));
    let path = layouts::blob_path(root, &digest);
    fs::File::create(&path).unwrap().set_len(bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let layer = serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": bytes,
    });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": [layer],
    });
    let entry = layout.document(IMAGE_MANIFEST, &manifest);
    layout.list(entry);
}

/// Returns the process that serves a mount, if it is mounted.
fn daemon(point: &Path) -> Option<String> {
    let top = signetfs::fuse::mountinfo::top_at(point).unwrap()?;
    assert!(top.is_ours());
    let pid = signetfs::sys::mount::extended_attribute(point, "user.signetfs.pid").ok()??;
    Some(String::from_utf8(pid).unwrap())
}
