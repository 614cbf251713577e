//! Signing: what is added, what survives, twelve at once, and a kill or a full disk at every system call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use signetfs::audit::{Selection, survey};
use signetfs::layout::{Directory, Hashes, Memory};
use signetfs::notary::EnvelopeFormat;
use signetfs::oci::{Digest, NoProgress, UnixTime};
use signetfs::settings::{ConfigDir, load_signer};
use signetfs::signing::{Children, Job, Repeat, Request, Signed, Threads, sign};

use crate::support::faults::Faults;
use crate::support::layouts::{self, Layout, blob_path, index};
use crate::support::{Ran, User, all_succeed, copy, files_below, own_program, rounds, tool};

#[test]
fn adds_one_untagged_entry_of_notations_shape() {
    let user = User::new();
    user.with_key("one");
    let hello = user.path("hello");
    layouts::single(&hello);
    let before = files_below(&hello);
    user.succeed(&["sign", "hello:v1"]);
    let entries = index(&hello)["manifests"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 2);
    let members: Vec<&String> = entries[1].as_object().unwrap().keys().collect();
    assert_eq!(members, ["mediaType", "digest", "size", "annotations"]);
    let annotations: Vec<&String> = entries[1]["annotations"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(
        annotations,
        [
            "io.cncf.notary.x509chain.thumbprint#S256",
            "org.opencontainers.image.created",
        ]
    );
    // Three blobs are new; nothing else is there, and nothing else changed.
    let mut after = files_below(&hello);
    for (path, digest) in &before {
        match path.ends_with("index.json") {
            true => drop(after.remove(path)),
            false => assert_eq!(after.remove(path).as_ref(), Some(digest), "{path:?}"),
        }
    }
    assert_eq!(after.len(), 3, "{after:?}");
    for path in after.keys() {
        use std::os::unix::fs::PermissionsExt;
        assert!(path.starts_with("blobs/sha256"), "{path:?}");
        let mode = std::fs::metadata(hello.join(path))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o444, "{path:?}");
    }
}

#[test]
fn keeps_unknown_fields_and_order_of_the_index() {
    let user = User::new();
    user.with_key("one");
    let mut layout = Layout::new(&user.path("hello"));
    layout.image("v2", "two");
    layout.image("v1", "one");
    let foreign = json!({
        "mediaType": "application/x-foreign",
        "zeta": [1, 2.50, null],
        "digest": layout.blob(b"foreign"),
        "size": 7,
        "alpha": { "b": 1, "a": 2 },
    });
    layout.list(foreign);
    layout.write_index(json!({ "x-first": { "b": true, "a": 1e3 }, "annotations": { "k": "v" } }));
    let before = index(&layout.root);
    user.succeed(&["sign", "hello:v1"]);
    let mut after = index(&layout.root);
    let added = after["manifests"].as_array_mut().unwrap().pop().unwrap();
    assert!(added["annotations"].is_object(), "{added}");
    assert_eq!(after.to_string(), before.to_string());
}

#[test]
fn lists_platform_children_before_it_signs_them() {
    let user = User::new();
    user.with_key("one");
    let hello = user.path("hello");
    let image = layouts::buildx(&hello);
    let child = &image.platforms[1];
    user.succeed(&["sign", &format!("hello@{child}")]);
    let entries = index(&hello)["manifests"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 3, "{entries:?}");
    let listed = entries
        .iter()
        .find(|entry| entry["digest"] == child.as_str())
        .unwrap();
    assert_eq!(
        listed["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(listed["platform"]["variant"], "v8");
    assert!(listed.get("annotations").is_none(), "{listed}");
    user.succeed(&["verify", &format!("hello@{child}")]);
    let inspected = user
        .run(&["inspect", "-o", "json", &format!("hello@{child}")])
        .json();
    assert_eq!(
        inspected["Signatures"][0]["signedArtifact"]["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    // The index itself was not signed.
    user.run(&["verify", "hello:v1"]).error(10);
}

#[test]
fn signs_every_platform_and_no_attestation_when_asked_to() {
    let user = User::new();
    user.with_key("one");
    let hello = user.path("hello");
    let image = layouts::buildx(&hello);
    let signed = user.succeed(&["sign", "--recursive", "hello:v1"]);
    let expected: String = [&image.digest, &image.platforms[0], &image.platforms[1]]
        .map(|digest| format!("Successfully signed hello@{digest}\n"))
        .concat();
    assert_eq!(signed, expected);
    for digest in [&image.digest, &image.platforms[0], &image.platforms[1]] {
        user.succeed(&["verify", &format!("hello@{digest}")]);
    }
    for digest in &image.attestations {
        let listed = user.run(&["list", &format!("hello@{digest}")]);
        assert!(!listed.stdout.contains("notary.signature"), "{listed:?}");
    }
}

#[test]
fn signs_only_whole_images() {
    let user = User::new();
    user.with_key("one");
    let hello = user.path("hello");
    let image = layouts::single(&hello);
    let layer = blob_path(&hello, &image.layers[1]);
    let bytes = std::fs::read(&layer).unwrap();
    let mut flipped = bytes.clone();
    flipped[5] ^= 1;
    let cases: [(i32, Option<&[u8]>); 3] = [(18, None), (17, Some(&flipped)), (17, Some(b"short"))];
    for (code, content) in cases {
        match content {
            Some(content) => std::fs::write(&layer, content).unwrap(),
            None => std::fs::remove_file(&layer).unwrap(),
        }
        let before = files_below(&hello);
        user.run(&["sign", "--no-memory", "hello:v1"]).error(code);
        assert_eq!(before, files_below(&hello));
    }
    std::fs::write(&layer, bytes).unwrap();
    user.succeed(&["sign", "hello:v1"]);
}

#[test]
fn signs_nothing_where_one_image_gives_another_size_for_what_a_sound_one_has() {
    let user = User::new();
    user.with_key("one");
    let mut layout = Layout::new(&user.path("hello"));
    let sound = layout.image("sound", "one");
    let manifest = std::fs::read(blob_path(&layout.root, &sound.digest)).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let size = manifest["layers"][0]["size"].as_u64().unwrap();
    manifest["layers"][0]["size"] = serde_json::json!(size + 1);
    let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
    let mut entry = layout.document(&media_type, &manifest);
    entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "longer" });
    layout.list(entry);
    let before = files_below(&layout.root);
    for reference in ["hello", "hello:longer"] {
        user.run(&["sign", reference]).error(17);
        assert_eq!(before, files_below(&layout.root));
    }
    user.succeed(&["sign", "hello:sound"]);
}

#[test]
fn refuses_a_tag_on_two_digests() {
    let user = User::new();
    user.with_key("one");
    let mut layout = Layout::new(&user.path("hello"));
    let image = layout.image("v1", "one");
    layout.image("v1", "two");
    let before = files_below(&layout.root);
    user.run(&["sign", "hello:v1"]).error(22);
    user.run(&["sign", "hello"]).error(22);
    assert_eq!(before, files_below(&layout.root));
    user.succeed(&["sign", &format!("hello@{}", image.digest)]);
}

/// Signs through the library as a touch does.
fn touch(user: &User, layout: &Path, change: impl FnOnce(&mut Request), now: UnixTime) -> Signed {
    let mut request = Request {
        images: Selection::All,
        format: EnvelopeFormat::Jws,
        expiry_seconds: None,
        metadata: BTreeMap::new(),
        children: Children::No,
        repeat: Repeat::LeaveAlone,
    };
    change(&mut request);
    let config = ConfigDir::find(Some(&user.config()), &|_| None);
    let (signer, _) = load_signer(&config, None).unwrap();
    let directory = Directory::open(layout).unwrap();
    let hashes = Hashes::new(Memory::None);
    let job = Job {
        store: &directory,
        survey: &survey(&directory).unwrap(),
        signer: &signer,
        request: &request,
        hashes: &hashes,
        threads: Threads::Many,
    };
    sign(&job, now, &NoProgress).unwrap()
}

#[test]
fn leaves_an_image_alone_that_is_signed_so() {
    let user = User::new();
    user.with_key("one");
    let hello = user.path("hello");
    layouts::single(&hello);
    let now = signetfs::clock::now();
    let added = |signed: &Signed| (signed.added.len(), signed.left_alone.len());
    let metadata = |request: &mut Request| {
        request.metadata = BTreeMap::from([("buildId".to_owned(), "101".to_owned())]);
    };
    let expiring = |request: &mut Request| request.expiry_seconds = Some(3600);
    assert_eq!(added(&touch(&user, &hello, |_| {}, now)), (1, 0));
    let before = files_below(&hello);
    let again = touch(&user, &hello, |_| {}, now);
    assert_eq!(added(&again), (0, 1));
    assert_eq!(again.committed.fsyncs, 0);
    assert_eq!(before, files_below(&hello));
    // Another format, metadata or expiry is another signature, once.
    for _ in 0..2 {
        let cose = touch(
            &user,
            &hello,
            |request| request.format = EnvelopeFormat::Cose,
            now,
        );
        assert_eq!(added(&cose).0 + added(&cose).1, 1);
        touch(&user, &hello, metadata, now);
        touch(&user, &hello, expiring, now);
    }
    assert_eq!(index(&hello)["manifests"].as_array().unwrap().len(), 5);
    // An expired signature does not count; nor does one by another key.
    assert_eq!(
        added(&touch(&user, &hello, expiring, now.plus(3601))),
        (1, 0)
    );
    user.succeed(&["cert", "generate-test", "--default", "two"]);
    // The new certificate is valid from now on only.
    let now = signetfs::clock::now();
    assert_eq!(added(&touch(&user, &hello, |_| {}, now)), (1, 0));
    // A broken signature does not count.
    for (path, digest) in files_below(&hello) {
        if std::fs::read(hello.join(&path))
            .unwrap()
            .starts_with(b"{\"payload\"")
        {
            assert!(path.ends_with(digest.hex()));
            std::fs::remove_file(hello.join(path)).unwrap();
        }
    }
    assert_eq!(added(&touch(&user, &hello, |_| {}, now)), (1, 0));
}

#[test]
fn the_command_always_adds_a_signature() {
    let user = User::new();
    user.with_key("one");
    let hello = user.path("hello");
    layouts::single(&hello);
    user.succeed(&["sign", "hello:v1"]);
    user.succeed(&["sign", "hello:v1"]);
    assert_eq!(index(&hello)["manifests"].as_array().unwrap().len(), 3);
}

/// One command adds more files than it may have open.
#[test]
fn signs_more_images_than_files_may_be_open() {
    let user = User::new();
    user.with_key("one");
    let mut layout = Layout::new(&user.path("many"));
    for number in 0..200 {
        layout.image(&format!("v{number}"), &number.to_string());
    }
    let script = "ulimit -n 320; exec \"$0\" sign many";
    let mut command = user.program("sh");
    let signed = Ran::of(
        command
            .args(["-c", script, own_program()])
            .output()
            .unwrap(),
    );
    assert_eq!(signed.code, 0, "{signed:?}");
    let entries = index(&layout.root)["manifests"].as_array().unwrap().len();
    assert_eq!(entries, 400);
    assert_eq!(user.run(&["verify", "many"]).code, 0);
    assert_eq!(user.run(&["fsck", "many"]).code, 0);
}

#[test]
fn twelve_signers_of_twelve_images_lose_nothing() {
    let user = User::new();
    user.with_key("one");
    for round in 0..rounds(100) {
        let name = format!("twelve-{round}");
        let mut layout = Layout::new(&user.path(&name));
        let images: Vec<_> = (0..12)
            .map(|number| layout.image(&format!("v{number}"), &format!("{number}")))
            .collect();
        let commands = images
            .iter()
            .map(|image| user.signetfs(&["sign", &format!("{name}@{}", image.digest)]))
            .collect();
        all_succeed(commands);
        let verified = user.run(&["verify", &name]);
        assert_eq!(verified.code, 0, "round {round}: {verified:?}");
        let entries = index(&layout.root)["manifests"].as_array().unwrap().len();
        assert_eq!(entries, 24, "round {round}");
    }
}

#[test]
fn twelve_keys_on_one_image_lose_nothing() {
    let user = User::new();
    let keys: Vec<String> = (0..12).map(|number| format!("key{number}")).collect();
    all_succeed(vec![user.signetfs(&["cert", "generate-test", "key0"])]);
    all_succeed(
        keys.iter()
            .skip(1)
            .map(|key| user.signetfs(&["cert", "generate-test", key]))
            .collect(),
    );
    for round in 0..rounds(100) {
        let name = format!("one-{round}");
        let image = layouts::single(&user.path(&name));
        let reference = format!("{name}@{}", image.digest);
        let commands = keys
            .iter()
            .map(|key| user.signetfs(&["sign", "-k", key, &reference]))
            .collect();
        all_succeed(commands);
        let listed = user.run(&["list", "--json", &name]).json();
        let signatures = listed["images"][0]["signatures"].as_array().unwrap();
        assert_eq!(signatures.len(), 12, "round {round}");
    }
}

#[test]
fn a_kill_at_any_call_leaves_the_old_or_the_new_layout() {
    at_every_call_of_sign("signal=KILL");
}

#[test]
fn a_full_disk_at_any_call_leaves_the_old_or_the_new_layout() {
    at_every_call_of_sign("error=ENOSPC");
}

/// Runs `sign` once for each occurrence of each call, with `fault` injected there.
fn at_every_call_of_sign(fault: &str) {
    let user = User::new();
    user.with_key("one");
    let fresh = user.path("fresh");
    layouts::single(&fresh);
    let before = files_below(&fresh);
    let faults = Faults {
        user: &user,
        arguments: &["sign", "--jobs", "1", "--no-memory", "hello:v1"],
        environment: &[],
        prepare: &|| {
            let layout = user.path("hello");
            let _ = std::fs::remove_dir_all(&layout);
            copy(&fresh, &layout);
        },
        check: &|ran, place| check_after_fault(&user, &before, ran, place),
    };
    faults.at_every_call(fault);
}

/// Checks that the layout is the old one or the new one, and that signing works afterwards.
fn check_after_fault(user: &User, before: &BTreeMap<PathBuf, Digest>, ran: &Ran, place: &str) {
    let layout = user.path("hello");
    let after = files_below(&layout);
    for (path, digest) in before {
        if !path.ends_with("index.json") {
            assert_eq!(after.get(path), Some(digest), "{place}: {path:?}");
        }
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        let name = path.file_name().unwrap().to_string_lossy();
        let known = path.starts_with("blobs")
            || name == "index.json.lock"
            || name.starts_with(".signetfs-");
        assert!(known, "{place}: {path:?}");
    }
    let entries = index(&layout)["manifests"].as_array().map_or(0, Vec::len);
    let verified = user.run(&["verify", "--no-memory", "hello:v1"]);
    match verified.code {
        0 => assert_eq!(entries, 2, "{place}"),
        10 => {
            assert_eq!(entries, 1, "{place}");
            assert_ne!(ran.code, 0, "{place}: success was reported");
        }
        _ => panic!("{place}: {verified:?}"),
    }
    let again = user.run(&["sign", "--no-memory", "hello:v1"]);
    assert_eq!(again.code, 0, "{place}: {again:?}");
    let verified = user.run(&["verify", "--no-memory", "hello:v1"]);
    assert_eq!(verified.code, 0, "{place}: {verified:?}");
}

#[test]
fn verifying_and_listing_open_no_socket() {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    user.succeed(&["sign", "hello:v1"]);
    if let Some(strace) = tool("strace") {
        for arguments in [
            ["verify", "hello"],
            ["verify", "hello:v1"],
            ["list", "hello"],
        ] {
            let log = user.path("strace.log");
            let mut command = user.program(&strace);
            command
                .args(["-f", "-qq", "-o"])
                .arg(&log)
                .args(["-e", "trace=network"]);
            let ran = Ran::of(command.arg(own_program()).args(arguments).output().unwrap());
            assert_eq!(ran.code, 0, "{ran:?}");
            let text = std::fs::read_to_string(&log).unwrap();
            let calls: Vec<&str> = text.lines().filter(|line| line.contains('(')).collect();
            assert!(calls.is_empty(), "{arguments:?}: {calls:?}");
        }
    }
    if let Some(unshare) = tool("unshare") {
        let mut command = user.program(unshare);
        command.args(["-rn", own_program(), "verify", "hello"]);
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

#[test]
fn a_key_is_in_no_core_dump() {
    let Some(strace) = tool("strace") else {
        return;
    };
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    let log = user.path("strace.log");
    let mut command = user.program(strace);
    command
        .args(["-f", "-qq", "-o"])
        .arg(&log)
        .args(["-e", "trace=prctl,openat,openat2"]);
    let ran = Ran::of(
        command
            .args([own_program(), "sign", "hello:v1"])
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = std::fs::read_to_string(log).unwrap();
    let line = |word: &str| text.lines().position(|line| line.contains(word));
    let forbidden = line("PR_SET_DUMPABLE").unwrap();
    assert!(forbidden < line("one.key").unwrap(), "{text}");
}

#[test]
fn reports_signatures_in_json() {
    let user = User::new();
    user.with_key("one");
    let hello = user.path("hello");
    let image = layouts::single(&hello);
    let signed = user.run(&["sign", "--json", "hello"]).json();
    let entry = &signed["signed"][0];
    assert_eq!(entry["digest"], image.digest.as_str());
    let listed: Vec<Value> = index(&hello)["manifests"].as_array().unwrap().clone();
    assert_eq!(entry["signature"], listed[1]["digest"]);
}
