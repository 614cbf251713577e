//! Promises of docs/SEMANTICS.md that no other test of mounts holds.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value, json};
use signetfs::notary::Certificate;
use signetfs::sys::mount::extended_attribute;

use super::{Scene, errno, names, policy, until};
use crate::support::layouts::{self, Image, Layout, blob_path, index};
use crate::support::{own_program, states_below};

const EIO: i32 = 5;
const EACCES: i32 = 13;
const EFBIG: i32 = 27;
const EBADMSG: i32 = 74;

impl Scene {
    /// Puts the policy into force as notation's, before anything is mounted.
    fn configure(&self) {
        fs::copy(self.policy(), self.user.config().join("trustpolicy.json")).unwrap();
    }
}

/// Writes a layout with one image, tagged `v1`, whose layer takes hours to hash.
fn endless(root: &Path) -> Image {
    let mut layout = Layout::new(root);
    let digest = format!("sha256:{}", "1".repeat(64));
    let file = fs::File::create(blob_path(root, &digest)).unwrap();
    file.set_len(1 << 40).unwrap();
    let config = layout.descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let layer = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": 1_u64 << 40,
    });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer],
    });
    let mut entry = layout.document(media_type, &manifest);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    let text = |value: &Value| value["digest"].as_str().unwrap().to_owned();
    let image = Image {
        tag: "v1".to_owned(),
        digest: text(&entry),
        config: text(&config),
        layers: vec![digest],
        platforms: Vec::new(),
        attestations: Vec::new(),
    };
    layout.list(entry);
    image
}

#[test]
fn a_signature_folder_holds_envelope_checks_and_chain() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&[]);
    fs::copy(scene.policy(), mount.path("trustpolicy.json")).unwrap();
    assert!(scene.signatures(&mount).is_empty());
    scene.shell("touch mnt/sign && echo format=cose > mnt/sign", 0);
    let folder = mount
        .path("signatures")
        .join(scene.image.digest.replace(':', "-"));
    let shown = names(&folder);
    assert_eq!(shown.len(), 6, "{shown:?}");
    for (kind, media_type) in [
        (".jws", "application/jose+json"),
        (".cose", "application/cose"),
    ] {
        let envelope = shown.iter().find(|name| name.ends_with(kind)).unwrap();
        let hex = envelope.strip_suffix(kind).unwrap();
        let manifest = blob_path(&scene.layout(), &format!("sha256:{hex}"));
        let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
        assert_eq!(manifest["layers"][0]["mediaType"], media_type);
        let digest = manifest["layers"][0]["digest"].as_str().unwrap();
        let stored = fs::read(blob_path(&scene.layout(), digest)).unwrap();
        assert_eq!(fs::read(folder.join(envelope)).unwrap(), stored);
        let decoded = fs::read(folder.join(format!("{hex}.json"))).unwrap();
        let decoded: Value = serde_json::from_slice(&decoded).unwrap();
        let checks = decoded["checks"].as_array().unwrap();
        let checks: Vec<&str> = checks
            .iter()
            .map(|check| check["check"].as_str().unwrap())
            .collect();
        let all = [
            "integrity",
            "authenticity",
            "authenticTimestamp",
            "expiry",
            "revocation",
        ];
        assert_eq!(checks, all);
        assert_eq!(
            decoded["signedArtifact"]["digest"],
            scene.image.digest.as_str()
        );
        let chain = fs::read(folder.join(format!("{hex}.pem"))).unwrap();
        let own = fs::read(scene.user.config().join("localkeys/wabbit.crt")).unwrap();
        let parsed = |bytes: &[u8]| Certificate::parse_file(bytes).unwrap();
        assert_eq!(parsed(&chain), parsed(&own));
    }
}

#[test]
fn signatures_of_a_platform_decide_no_verdict() {
    let Some(scene) = Scene::with(layouts::buildx) else {
        return;
    };
    scene.configure();
    let platform = &scene.image.platforms[0];
    scene.user.succeed(&["sign", &format!("lay@{platform}")]);
    let mount = scene.mount(&[]);
    let of = |digest: &str| names(&mount.path("signatures").join(digest.replace(':', "-")));
    assert_eq!(of(platform).len(), 3);
    assert!(of(&scene.image.digest).is_empty());
    assert_eq!(mount.token(), "unsigned", "{}", mount.status());
}

#[test]
fn reading_a_mount_writes_nothing_into_the_layout() {
    let Some(scene) = Scene::with(layouts::buildx) else {
        return;
    };
    fs::write(scene.layout().join("extra"), b"extra").unwrap();
    scene.configure();
    let before = states_below(&scene.layout());
    let mount = scene.mount(&[]);
    for line in [
        "cp -a mnt copy && tar -C mnt -cf copy.tar . && ls -laR mnt > list",
        "find mnt -type f -exec cat {} + > all; getfattr -Rd mnt > attributes 2>&1; true",
        "touch -d 2020-01-01 mnt/sign; touch mnt/index.json; rm -f mnt/oci-layout; mkdir mnt/ingest; true",
    ] {
        scene.shell(line, 0);
        assert_eq!(states_below(&scene.layout()), before, "{line}");
    }
    mount.end();
    assert_eq!(states_below(&scene.layout()), before);
}

#[test]
fn a_read_only_layout_is_judged_and_not_signed() {
    let Some(scene) = Scene::new() else { return };
    scene.configure();
    fs::create_dir(scene.user.path("mnt")).unwrap();
    let program = own_program();
    let line = format!(
        "mount --bind lay lay && mount -o remount,ro,bind lay && {program} mount lay mnt || exit 9
        head -n 1 mnt/verify-status; touch mnt/sign; echo $?; head -n 1 mnt/verify-status
        {program} umount mnt || exit 8
        # As with any FUSE file system, what served the mount ends a moment later.
        for i in $(seq 100); do umount -q lay && exit 0; sleep 0.1; done; exit 7"
    );
    let mut command = scene.user.program("unshare");
    command.args(["-m", "timeout", "-k", "1", "30", "bash", "-c", &line]);
    let ran = crate::support::Ran::of(command.output().unwrap());
    assert_eq!(ran.stdout, "unsigned\n1\nunsigned\n", "{ran:?}");
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_link_to_an_absent_blob_dangles() {
    let Some(scene) = Scene::new() else { return };
    let layer = &scene.image.layers[0];
    fs::remove_file(blob_path(&scene.layout(), layer)).unwrap();
    let mount = scene.mount(&["--policy", "policy.json"]);
    let hex = layer.split_once(':').unwrap().1;
    let link = mount.path("images/v1/layers").join(format!("00-{hex}"));
    assert!(link.is_symlink());
    assert_eq!(
        fs::read(&link).unwrap_err().kind(),
        std::io::ErrorKind::NotFound
    );
    assert_eq!(mount.token(), "missing", "{}", mount.status());
}

#[test]
fn an_open_passthrough_handle_sees_a_write_in_place_and_no_new_one_opens() {
    let Some(scene) = Scene::new() else { return };
    let layout = Layout::new(&scene.user.path("large"));
    let digest = layout.blob(&vec![7; 1 << 20]);
    let stored = blob_path(&layout.root, &digest);
    // A file that was just written is hashed for one look only.
    std::thread::sleep(std::time::Duration::from_millis(150));
    let mount = scene.mount_at("large", "mnt", &["--no-memory"]);
    let blob = blob_path(&mount.point, &digest);
    let mut byte = [0];
    let read = |file: &fs::File, byte: &mut [u8; 1]| file.read_exact_at(byte, 500_000);
    read(&fs::File::open(&blob).unwrap(), &mut byte).unwrap();
    let reads = extended_attribute(&mount.point, "user.signetfs.reads").unwrap();
    let held = fs::File::open(&blob).unwrap();
    if reads.as_deref() != Some(b"passthrough") {
        eprintln!("skip: no passthrough here (structural)");
        return;
    }
    read(&held, &mut byte).unwrap();
    assert_eq!(byte, [7]);
    let writer = fs::OpenOptions::new().write(true).open(&stored).unwrap();
    writer.write_all_at(b"X", 500_000).unwrap();
    drop(writer);
    read(&held, &mut byte).unwrap();
    assert_eq!(byte, *b"X");
    assert_eq!(errno(fs::File::open(&blob)), EIO);
    drop(held);
    // Now it opens, checked, and reads as what it is.
    until(|| fs::File::open(&blob).is_ok());
    assert_eq!(errno(fs::read(&blob)), EIO);
}

#[test]
fn open_does_not_wait_for_hashing() {
    let Some(scene) = Scene::with(endless) else {
        return;
    };
    let mount = scene.mount(&["--no-wait", "--no-memory"]);
    let file = fs::File::open(blob_path(&mount.point, &scene.image.layers[0])).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1 << 40);
    assert_eq!(mount.token(), "pending");
    drop(file);
    mount.end();
}

#[test]
fn a_second_mount_hashes_nothing_unless_told_to() {
    let Some(scene) = Scene::new() else { return };
    // Files that just changed are hashed for one look, and not remembered.
    std::thread::sleep(std::time::Duration::from_millis(150));
    let hashed = |flags: &[&str]| -> (u64, bool) {
        let mount = scene.mount(&[&["--stats", "stats.json"], flags].concat());
        let leases = mount.status().contains(" leases=yes ");
        mount.end();
        let text = fs::read(scene.user.path("stats.json")).unwrap();
        let counts: Value = serde_json::from_slice(&text).unwrap();
        (counts["bytesHashed"].as_u64().unwrap(), leases)
    };
    let (first, leases) = hashed(&[]);
    assert!(first > 1000, "{first}");
    if !leases {
        eprintln!("skip: this file system has no leases (structural)");
        return;
    }
    assert!(scene.user.path("cache/signetfs/hashes").exists());
    assert_eq!(hashed(&[]).0, 0);
    assert_eq!(hashed(&["--no-memory"]).0, first);
}

/// Adds, beside the only signature of the layout, one whose envelope is broken; returns the entry of the good one.
fn break_a_signature(root: &Path) -> Value {
    let mut listed = index(root);
    let entries = listed["manifests"].as_array_mut().unwrap();
    let good = entries.pop().unwrap();
    let read = |digest: &Value| fs::read(blob_path(root, digest.as_str().unwrap())).unwrap();
    let mut manifest: Value = serde_json::from_slice(&read(&good["digest"])).unwrap();
    let mut envelope: Value =
        serde_json::from_slice(&read(&manifest["layers"][0]["digest"])).unwrap();
    let signature = envelope["signature"].as_str().unwrap().to_owned();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    envelope["signature"] = json!(format!("{first}{}", &signature[1..]));
    let put = |document: &Value| -> Value {
        let bytes = document.to_string();
        let digest = signetfs::oci::Digest::of(bytes.as_bytes()).to_string();
        fs::write(blob_path(root, &digest), &bytes).unwrap();
        json!({ "digest": digest, "size": bytes.len() })
    };
    let merge = |into: &mut Value, from: Value| {
        for (name, value) in from.as_object().unwrap() {
            into[name] = value.clone();
        }
    };
    merge(&mut manifest["layers"][0], put(&envelope));
    let mut bad = good.clone();
    merge(&mut bad, put(&manifest));
    entries.push(bad);
    fs::write(root.join("index.json"), listed.to_string()).unwrap();
    good
}

#[test]
fn a_broken_signature_is_invalid_and_hides_no_good_one() {
    let Some(scene) = Scene::new() else { return };
    scene.configure();
    scene.user.succeed(&["sign", "lay:v1"]);
    let good = break_a_signature(&scene.layout());
    let mount = scene.mount(&[]);
    assert_eq!(mount.decided(), "invalid", "{}", mount.status());
    let mut listed = index(&scene.layout());
    listed["manifests"].as_array_mut().unwrap().push(good);
    fs::write(scene.layout().join("index.json"), listed.to_string()).unwrap();
    assert_eq!(mount.decided(), "verified", "{}", mount.status());
    assert!(
        mount.status().contains("signatures=1/2"),
        "{}",
        mount.status()
    );
}

#[test]
fn a_problem_says_where_it_is_and_what_to_do() {
    let Some(scene) = Scene::new() else { return };
    let layer = &scene.image.layers[1];
    fs::remove_file(blob_path(&scene.layout(), layer)).unwrap();
    let mount = scene.mount(&["--policy", "policy.json"]);
    let status = mount.status();
    let path = format!("blobs/{}", layer.replace(':', "/"));
    let start = format!("  missing {path} {layer} ");
    let line = status.lines().find(|line| line.starts_with(&start));
    let (check, hint) = line.expect(&status).split_once("; ").expect(&status);
    assert!(check.contains(": ") && !hint.is_empty(), "{status}");
}

#[test]
fn the_command_prints_the_bytes_of_the_files() {
    let Some(scene) = Scene::with(layouts::buildx) else {
        return;
    };
    scene.configure();
    for sign in [false, true] {
        if sign {
            scene.user.succeed(&["sign", "lay:v1"]);
        }
        let mount = scene.mount(&[]);
        let text = scene.user.run(&["verify", "lay"]).stdout;
        assert_eq!(text, mount.status());
        let json = scene.user.run(&["verify", "--json", "lay"]).stdout;
        let shown = fs::read_to_string(mount.path("verify-status.json")).unwrap();
        assert_eq!(json, shown);
        mount.end();
    }
}

#[test]
fn a_status_and_another_users_sign_are_eacces() {
    let Some(scene) = Scene::new() else { return };
    scene.shell("chmod 755 .", 0);
    let mount = scene.mount(&["--allow-other"]);
    for name in [
        "verify-status",
        "verify-status.json",
        "images/v1/verify-status",
    ] {
        let path = mount.path(name);
        let open = fs::OpenOptions::new().write(true).open(&path);
        assert_eq!(errno(open), EACCES, "{name}");
        let cut = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path);
        assert_eq!(errno(cut), EACCES, "{name}");
    }
    let line = r#"utime(undef, undef, "mnt/sign") or print $!+0, "\n";
        open(F, ">>", "mnt/trustpolicy.json") or print $!+0, "\n";"#;
    let mut command = scene.user.program("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["/usr/bin/perl", "-e", line]);
    let ran = crate::support::Ran::of(command.output().unwrap());
    assert_eq!(ran.stdout, "13\n13\n", "{ran:?}");
}

#[test]
fn a_malformed_policy_is_ebadmsg_and_a_large_one_efbig() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let path = mount.path("trustpolicy.json");
    let severe = policy("wabbit").replace("strict", "severe");
    for text in ["bad", "{\"version\" 1}", &severe] {
        assert_eq!(errno(fs::write(&path, text)), EBADMSG, "{text}");
    }
    let large = vec![b' '; (1 << 20) + 1];
    assert_eq!(errno(fs::write(&path, large)), EFBIG);
    let line = vec![b'x'; (64 << 10) + 1];
    assert_eq!(errno(fs::write(mount.path("sign"), line)), EFBIG);
    assert_eq!(
        errno(fs::write(mount.path("sign"), "tag=v1 loudly\n")),
        EBADMSG
    );
    assert_eq!(mount.token(), "verified", "{}", mount.status());
}

#[test]
fn signing_what_is_still_hashed_is_ebusy() {
    let Some(scene) = Scene::with(endless) else {
        return;
    };
    let mount = scene.mount(&["--no-wait", "--no-memory"]);
    let before = files_below_index(&scene);
    let ran = scene.shell("touch mnt/sign", 1);
    assert!(ran.stderr.contains("Device or resource busy"), "{ran:?}");
    assert_eq!(files_below_index(&scene), before);
    mount.end();
}

/// Returns index.json and the names of all blobs: what signing changes. The endless one is not read.
fn files_below_index(scene: &Scene) -> (Value, Vec<String>) {
    let folder = scene.layout().join("blobs/sha256");
    (index(&scene.layout()), names(&folder))
}
