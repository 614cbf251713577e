//! Tars as sources of commands and mounts: compressed, from standard input, changed underneath.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use signetfs::oci::Digest;

use crate::support::faults::Faults;
use crate::support::layouts::{Layout, buildx};
use crate::support::{Mount, Ran, User, files_below, fuse, tool};

/// Runs a tool that must succeed.
#[track_caller]
fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}");
}

/// Writes a folder as a tar.
fn pack(user: &User, layout: &str, tar: &str) {
    run(user.program("tar").args(["-C", layout, "-cf", tar, "."]));
}

/// Makes a signed layout, its tar, and compressed ones under names that do not say so; `None` where a tool is missing.
fn archives(user: &User) -> Option<[&'static str; 4]> {
    user.with_key("wabbit-networks.io");
    buildx(&user.path("hello"));
    user.succeed(&["sign", "hello:v1"]);
    pack(user, "hello", "hello.tar");
    let (gzip, zstd) = (tool("gzip")?, tool("zstd")?);
    for (tool, flags, name) in [
        (&gzip, &["-c"][..], "hello.gz"),
        (&zstd, &["-q", "-c"], "hello.zst"),
        (&zstd, &["-q", "-c", "-19", "--long=27"], "hello.oci"),
    ] {
        let output = fs::File::create(user.path(name)).unwrap();
        let mut command = user.program(tool);
        run(command.args(flags).arg("hello.tar").stdout(output));
    }
    Some(["hello.tar", "hello.gz", "hello.zst", "hello.oci"])
}

#[test]
fn compressed_tars_are_read_by_every_command() {
    let user = User::new();
    let Some(names) = archives(&user) else {
        return;
    };
    let before: Vec<_> = names.iter().map(|name| state(&user.path(name))).collect();
    for command in [
        &["verify", "--scope", "local/hello"][..],
        &["verify", "--scope", "local/hello", "--json"],
        &["list"],
        &["inspect"],
        &["fsck"],
    ] {
        let outputs = names.map(|name| {
            let ran = user.run(&[command, &[name]].concat());
            assert_eq!(ran.code, 0, "{command:?} {name}: {ran:?}");
            ran.stdout.replace(name, "NAME")
        });
        assert!(
            outputs.iter().all(|output| *output == outputs[0]),
            "{command:?}: {outputs:#?}"
        );
        assert!(outputs[0].len() > 20);
    }
    let after: Vec<_> = names.iter().map(|name| state(&user.path(name))).collect();
    assert_eq!(before, after, "an archive was changed");
    if !fuse() {
        return;
    }
    let expected = files_below(&user.path("hello"));
    for name in names {
        let mount = Mount::new(
            &user,
            name,
            "mnt",
            &["--scope", "local/hello", "--no-links"],
        )
        .unwrap();
        assert_eq!(
            mount.read("verify-status").lines().next(),
            Some("verified"),
            "{name}"
        );
        for (path, digest) in &expected {
            let bytes = fs::read(mount.path(path.to_str().unwrap())).unwrap();
            assert_eq!(Digest::of(&bytes), *digest, "{name}: {}", path.display());
        }
    }
}

/// Returns what must not change of an archive.
fn state(path: &Path) -> (Digest, std::time::SystemTime) {
    let bytes = fs::read(path).unwrap();
    (
        Digest::of(&bytes),
        fs::metadata(path).unwrap().modified().unwrap(),
    )
}

#[test]
fn blobs_of_a_tar_carry_their_checksum_and_media_type() {
    let user = User::new();
    if archives(&user).is_none() || !fuse() {
        return;
    }
    let Some(getfattr) = tool("getfattr") else {
        return;
    };
    for name in ["hello.tar", "hello.gz"] {
        let mount = Mount::new(&user, name, "mnt", &["--scope", "local/hello"]).unwrap();
        let index = fs::read_to_string(mount.path("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_str(&index).unwrap();
        let entry = &index["manifests"][0];
        let hex = entry["digest"].as_str().unwrap().replace("sha256:", "");
        let blob = format!("blobs/sha256/{hex}");
        fs::read(mount.path(&blob)).unwrap();
        for (attribute, expected) in [
            ("user.checksum.sha256", hex.as_str()),
            ("user.oci.media-type", entry["mediaType"].as_str().unwrap()),
        ] {
            let output = user
                .program(&getfattr)
                .args(["--only-values", "-n", attribute])
                .arg(mount.path(&blob))
                .output()
                .unwrap();
            assert_eq!(Ran::of(output).stdout, expected, "{name}");
        }
    }
}

/// Runs the program with a file, or what a program would pipe, on standard input.
fn with_stdin(user: &User, arguments: &[&str], bytes: &[u8], is_pipe: bool) -> Ran {
    let mut command = user.signetfs(arguments);
    if !is_pipe {
        let path = user.path("input");
        fs::write(&path, bytes).unwrap();
        return Ran::of(
            command
                .stdin(fs::File::open(path).unwrap())
                .output()
                .unwrap(),
        );
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_owned();
    let writer = std::thread::spawn(move || {
        // Who refuses early closes early.
        let _ = stdin.write_all(&bytes);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran::of(output)
}

#[test]
fn standard_input_is_a_layout_too() {
    let user = User::new();
    let Some(names) = archives(&user) else {
        return;
    };
    let scope = ["--scope", "local/hello"];
    let expected = user.succeed(&["verify", "--scope", "local/hello", "hello.tar"]);
    for name in names {
        let bytes = fs::read(user.path(name)).unwrap();
        for is_pipe in [false, true] {
            let verified = with_stdin(
                &user,
                &[&["verify", "-"], &scope[..]].concat(),
                &bytes,
                is_pipe,
            );
            assert_eq!((verified.code, &verified.stdout), (0, &expected), "{name}");
            let listed = with_stdin(&user, &["list", "-"], &bytes, is_pipe);
            assert!(listed.stdout.starts_with("-@sha256:"), "{listed:?}");
            let checked = with_stdin(&user, &["fsck", "-"], &bytes, is_pipe);
            assert!(
                checked.stdout.ends_with("problems=0 notes=0\n"),
                "{checked:?}"
            );
            if is_pipe && fuse() {
                mount_stdin(&user, &bytes);
            }
        }
    }
    for command in ["verify", "mount"] {
        let arguments = [
            &[command, "-"][..],
            if command == "mount" { &["mnt"] } else { &[] },
        ]
        .concat();
        let refused = with_stdin(&user, &arguments, b"", true);
        let error = refused.error(2);
        assert!(error.contains("no name that a scope"), "{refused:?}");
        assert!(refused.stderr.contains("--scope local/"), "{refused:?}");
    }
    let refused = with_stdin(
        &user,
        &["sign", "-"],
        &fs::read(user.path("hello.tar")).unwrap(),
        true,
    );
    assert_ne!(refused.code, 0, "{refused:?}");
}

fn mount_stdin(user: &User, bytes: &[u8]) {
    fs::create_dir_all(user.path("mnt")).unwrap();
    let mounted = with_stdin(
        user,
        &["mount", "-", "mnt", "--scope", "local/hello"],
        bytes,
        true,
    );
    assert_eq!(mounted.code, 0, "{mounted:?}");
    let status = fs::read_to_string(user.path("mnt/verify-status"));
    user.succeed(&["umount", "mnt"]);
    assert_eq!(status.unwrap().lines().next(), Some("verified"));
}

#[test]
fn an_image_on_standard_input_is_named_without_a_double_dash() {
    let user = User::new();
    if archives(&user).is_none() {
        return;
    }
    let bytes = fs::read(user.path("hello.gz")).unwrap();
    let scope = ["--scope", "local/hello"];
    let verified = with_stdin(
        &user,
        &[&["verify", "-:v1"], &scope[..]].concat(),
        &bytes,
        true,
    );
    assert_eq!(verified.code, 0, "{verified:?}");
    let absent = with_stdin(&user, &["list", "-:v2"], &bytes, true);
    assert!(absent.error(1).contains("v2"), "{absent:?}");
    let mistyped = with_stdin(&user, &["verify", "--scop", "x", "-:v1"], &bytes, true);
    assert!(mistyped.error(2).contains("argument"), "{mistyped:?}");
}

#[test]
fn only_the_rest_of_standard_input_is_read() {
    let user = User::new();
    if archives(&user).is_none() {
        return;
    }
    let script = "(head -c 5 > /dev/null; exec \"$0\" list -) < hello.tar";
    let output = user
        .program("bash")
        .args(["-c", script, crate::support::own_program()])
        .output();
    let ran = Ran::of(output.unwrap());
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[test]
fn a_full_disk_ends_the_unpacking_with_its_own_exit_code() {
    let user = User::new();
    let mut layout = Layout::new(&user.path("hello"));
    layout.blob(&vec![7; 4 << 20]);
    layout.image("v1", "seed");
    pack(&user, "hello", "hello.tar");
    let Some(gzip) = tool("gzip") else {
        return;
    };
    run(user.program(gzip).args(["-k", "hello.tar"]));
    fs::create_dir(user.path("small")).unwrap();
    let script = "mount -t tmpfs -o size=1m none small && TMPDIR=small \"$0\" list hello.tar.gz; code=$?; ls -A small; exit $code";
    let output = user
        .program("unshare")
        .args(["-rm", "bash", "-c", script, crate::support::own_program()])
        .output()
        .unwrap();
    let ran = Ran::of(output);
    if ran.stderr.contains("unshare:") || ran.stderr.contains("mount:") {
        assert!(!crate::support::ci(), "{ran:?}");
        eprintln!("skip: no mounts in namespaces here");
        return;
    }
    assert!(
        ran.error(41)
            .starts_with("unpacking into small: No space left"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("TMPDIR"), "{ran:?}");
    assert_eq!(ran.stdout, "", "something stays in the folder");
}

#[test]
fn a_kill_or_a_full_disk_while_a_tar_is_unpacked_leaves_nothing() {
    for fault in ["signal=KILL", "error=ENOSPC"] {
        let user = User::new();
        if archives(&user).is_none() {
            return;
        }
        let spool = user.path("spool");
        fs::create_dir(&spool).unwrap();
        let check = |_: &Ran, place: &str| {
            let left = files_below(&spool);
            assert!(left.is_empty(), "{place}: {left:?}");
        };
        let faults = Faults {
            user: &user,
            arguments: &["fsck", "hello.gz"],
            environment: &[("TMPDIR", "spool")],
            prepare: &|| {},
            check: &check,
        };
        faults.at_every_call_of_a_reader(fault);
    }
}

/// Writes into a pipe until nobody reads it any more, and returns whether that came to be.
fn nobody_reads(pipe: &mut impl Write) -> bool {
    let waiting = std::time::Instant::now();
    while waiting.elapsed().as_secs() < 20 {
        match pipe.write_all(&[0; 4096]) {
            Ok(()) => std::thread::sleep(std::time::Duration::from_millis(1)),
            Err(error) => return error.kind() == std::io::ErrorKind::BrokenPipe,
        }
    }
    false
}

#[test]
fn a_kill_while_standard_input_is_read_leaves_nothing() {
    let user = User::new();
    if archives(&user).is_none() {
        return;
    }
    for folder in ["spool", "mnt"] {
        fs::create_dir(user.path(folder)).unwrap();
    }
    let empty = || fs::read_dir(user.path("spool")).unwrap().count() == 0;
    let tar = fs::read(user.path("hello.tar")).unwrap();
    let scope = ["--scope", "local/hello"];
    for arguments in [&["verify", "-"][..], &["fsck", "-"], &["mount", "-", "mnt"]] {
        let is_mount = arguments[0] == "mount";
        if is_mount && !fuse() {
            continue;
        }
        let flags = if arguments[0] == "fsck" {
            &[][..]
        } else {
            &scope
        };
        let mut child = user
            .signetfs(&[arguments, flags].concat())
            .env("TMPDIR", "spool")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // More than a pipe holds, so that a part of it was read.
        for _ in 0..40 {
            stdin.write_all(&tar[..4096]).unwrap();
        }
        assert!(child.try_wait().unwrap().is_none(), "{arguments:?}");
        assert!(empty(), "{arguments:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(nobody_reads(&mut stdin), "{arguments:?} is still read");
        assert!(empty(), "{arguments:?}");
        if is_mount {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!mounts.contains(user.path("mnt").to_str().unwrap()));
        }
    }
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let user = User::new();
    if archives(&user).is_none() {
        return;
    }
    let mut command = user.signetfs(&["list", "hello.gz"]);
    let ran = Ran::of(command.env("TMPDIR", "/nonexistent").output().unwrap());
    assert!(
        ran.error(1).contains("unpacking into /nonexistent"),
        "{ran:?}"
    );
}

/// Waits until a mount has judged, and returns the verdict. What was true before is never seen meanwhile.
fn verdict(user: &User, mount: &Mount<'_>) -> String {
    let at_once = mount.read("verify-status");
    let at_once = at_once.lines().next().unwrap();
    user.run(&["wait", &mount.point]);
    let then = mount.read("verify-status");
    let then = then.lines().next().unwrap();
    assert!(at_once == "pending" || at_once == then, "{at_once}, {then}");
    then.to_owned()
}

/// Makes a tar with one image of a large layer, and returns its digest and where its bytes are.
fn large(user: &User) -> (String, u64) {
    let mut layout = Layout::new(&user.path("large"));
    let bytes: Vec<u8> = (0..600_000_u32)
        .map(|number| (number / 7 * 31) as u8)
        .collect();
    let layer = layout.descriptor("application/vnd.oci.image.layer.v1.tar", &bytes);
    let config = layout.descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let document = serde_json::json!({"schemaVersion": 2, "mediaType": manifest, "config": config, "layers": [layer]});
    let mut entry = layout.document(manifest, &document);
    entry["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "v1"});
    layout.list(entry);
    user.with_key("wabbit-networks.io");
    user.succeed(&["sign", "large:v1"]);
    pack(user, "large", "large.tar");
    let hex = layer["digest"].as_str().unwrap().replace("sha256:", "");
    let tar = fs::read(user.path("large.tar")).unwrap();
    let name = format!("./blobs/sha256/{hex}");
    let header = (0..tar.len() / 512)
        .find(|block| tar[block * 512..].starts_with(name.as_bytes()))
        .unwrap();
    (hex, header as u64 * 512 + 512)
}

#[test]
fn a_tar_that_is_written_into_never_gives_other_bytes() {
    let user = User::new();
    let (hex, start) = large(&user);
    if !fuse() {
        return;
    }
    let mount = Mount::new(&user, "large.tar", "mnt", &["--stats", "stats"]).unwrap();
    assert_eq!(mount.read("verify-status").lines().next(), Some("verified"));
    let path = mount.path(&format!("blobs/sha256/{hex}"));
    let mut head = vec![0; 4096];
    let open = fs::File::open(&path).unwrap();
    open.read_exact_at(&mut head, 0).unwrap();
    // In place, its time put back, as a careful attacker would.
    let tar = fs::File::options()
        .write(true)
        .open(user.path("large.tar"))
        .unwrap();
    let modified = tar.metadata().unwrap().modified().unwrap();
    tar.write_all_at(&[0xee; 16], start + 400_000).unwrap();
    tar.set_times(fs::FileTimes::new().set_modified(modified))
        .unwrap();
    drop(tar);
    let mut other = vec![0; 16];
    let held = open.read_exact_at(&mut other, 400_000);
    assert!(
        held.is_err() || other != [0xee; 16],
        "a held handle gave other bytes"
    );
    let read = fs::read(&path);
    assert_eq!(
        read.unwrap_err().raw_os_error(),
        Some(5),
        "a new handle gave other bytes"
    );
    assert_eq!(verdict(&user, &mount), "corrupt");
    drop(open);
    drop(mount);
    // They are written once the mount has ended.
    let waiting = std::time::Instant::now();
    while !super::is_there(&user.path("stats")) && waiting.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let stats = fs::read_to_string(user.path("stats")).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    // The kernel would read a whole file itself, and not only the blob.
    assert_eq!(stats["opens"]["passthrough"], 0, "{stats}");
}

#[test]
fn a_tar_that_is_cut_or_replaced_gives_an_error_or_a_new_verdict() {
    let user = User::new();
    let (hex, start) = large(&user);
    if !fuse() {
        return;
    }
    fs::copy(user.path("large.tar"), user.path("whole.tar")).unwrap();
    let mount = Mount::new(&user, "large.tar", "mnt", &[]).unwrap();
    let path = mount.path(&format!("blobs/sha256/{hex}"));
    let open = fs::File::open(&path).unwrap();
    let tar = fs::File::options()
        .write(true)
        .open(user.path("large.tar"))
        .unwrap();
    tar.set_len(start + 300_000).unwrap();
    let mut rest = Vec::new();
    let cut = (&open).read_to_end(&mut rest);
    assert_eq!(cut.unwrap_err().raw_os_error(), Some(5));
    assert_eq!(verdict(&user, &mount), "layout-invalid");
    let status = mount.read("verify-status");
    assert!(status.contains("cut off"), "{status}");
    fs::rename(user.path("whole.tar"), user.path("large.tar")).unwrap();
    assert_eq!(verdict(&user, &mount), "verified");
    assert_eq!(Digest::of(&fs::read(&path).unwrap()).hex(), hex);
    let other = User::new();
    buildx(&other.path("hello"));
    pack(&other, "hello", "hello.tar");
    fs::copy(other.path("hello.tar"), user.path("next.tar")).unwrap();
    fs::rename(user.path("next.tar"), user.path("large.tar")).unwrap();
    assert_eq!(verdict(&user, &mount), "unsigned");
    assert!(!super::is_there(&path));
}

#[test]
fn a_compressed_tar_that_is_replaced_gives_a_new_verdict() {
    let user = User::new();
    let Some(gzip) = tool("gzip") else {
        return;
    };
    let (hex, _) = large(&user);
    if !fuse() {
        return;
    }
    run(user.program(&gzip).arg("large.tar"));
    let mount = Mount::new(&user, "large.tar.gz", "mnt", &["--scope", "local/large"]).unwrap();
    let path = mount.path(&format!("blobs/sha256/{hex}"));
    let open = fs::File::open(&path).unwrap();
    fs::write(user.path("large.tar.gz"), b"\x1f\x8b\x08\0").unwrap();
    let mut bytes = Vec::new();
    (&open).read_to_end(&mut bytes).unwrap();
    assert_eq!(
        Digest::of(&bytes).hex(),
        hex,
        "what was unpacked stays as it was verified"
    );
    assert_eq!(verdict(&user, &mount), "layout-invalid");
    let status = mount.read("verify-status");
    assert!(status.contains("ends early"), "{status}");
}
