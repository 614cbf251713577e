//! A kill or a full disk at every system call, while a tar is signed or exported.

use std::fs;

use serde_json::json;
use signetfs::oci::media_type::IMAGE_MANIFEST;
use signetfs::oci::{Algorithm, Hasher};

use super::{State, tar};
use crate::support::faults::Faults;
use crate::support::layouts::{self, Layout, blob_path};
use crate::support::{Ran, User, files_below, own_program, tool};

#[test]
fn a_kill_while_a_tar_is_signed_leaves_the_old_or_the_new_state() {
    at_every_call_of_sign("signal=KILL");
}

#[test]
fn a_full_disk_while_a_tar_is_signed_leaves_the_old_or_the_new_state() {
    at_every_call_of_sign("error=ENOSPC");
}

/// The first signature makes the overlay too: both are there, or neither counts.
fn at_every_call_of_sign(fault: &str) {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    tar(&user, "hello", "hello.tar");
    let before = State::of(&user.path("hello.tar"));
    let overlay = user.path("hello.tar.signetfs");
    let check = |ran: &Ran, place: &str| {
        let arguments = ["verify", "--no-memory", "hello.tar:v1"];
        let verified = user.run(&arguments);
        match verified.code {
            0 => {}
            10 => assert_ne!(ran.code, 0, "{place}: success was reported"),
            _ => panic!("{place}: {verified:?}"),
        }
        assert!(
            !verified.stderr.contains("ignored"),
            "{place}: {verified:?}"
        );
        let again = user.run(&["sign", "--no-memory", "hello.tar:v1"]);
        assert_eq!(again.code, 0, "{place}: {again:?}");
        let verified = user.run(&arguments);
        assert_eq!(verified.code, 0, "{place}: {verified:?}");
        for path in files_below(&overlay).keys() {
            let name = path.file_name().unwrap().to_string_lossy();
            let known = path.starts_with("blobs")
                || ["index.json", "oci-layout", "index.json.lock"].contains(&&*name);
            assert!(known, "{place}: {path:?}");
        }
        assert_eq!(State::of(&user.path("hello.tar")), before, "{place}");
    };
    let faults = Faults {
        user: &user,
        arguments: &["sign", "--jobs", "1", "--no-memory", "hello.tar:v1"],
        environment: &[],
        prepare: &|| {
            let _ = fs::remove_dir_all(&overlay);
        },
        check: &check,
    };
    faults.at_every_call(fault);
}

#[test]
fn a_kill_or_a_full_disk_leaves_no_part_of_an_export() {
    for fault in ["signal=KILL", "error=ENOSPC"] {
        let user = User::new();
        layouts::single(&user.path("hello"));
        user.succeed(&["export", "hello", "whole.tar"]);
        let whole = fs::read(user.path("whole.tar")).unwrap();
        fs::create_dir(user.path("out")).unwrap();
        let output = user.path("out/out.tar");
        let check = |ran: &Ran, place: &str| {
            match fs::read(&output) {
                Ok(bytes) => assert!(bytes == whole, "{place}"),
                Err(_) => assert_ne!(ran.code, 0, "{place}: success was reported"),
            }
            // Only between its first name and its last can a kill leave the whole archive under the first.
            for path in files_below(&user.path("out")).keys() {
                let is_between = place.contains("KILL at rename");
                assert!(path.ends_with("out.tar") || is_between, "{place}: {path:?}");
            }
            // The next export works, and takes that away.
            user.succeed(&["export", "hello", "out/out.tar"]);
            assert!(fs::read(&output).unwrap() == whole, "{place}");
            let left = files_below(&user.path("out"));
            assert_eq!(left.len(), 1, "{place}: {left:?}");
        };
        let faults = Faults {
            user: &user,
            arguments: &["export", "hello", "out/out.tar"],
            environment: &[],
            prepare: &|| {
                fs::remove_dir_all(user.path("out")).unwrap();
                fs::create_dir(user.path("out")).unwrap();
            },
            check: &check,
        };
        faults.at_every_call(fault);
    }
}

/// Bytes of the layer of a large image; on the disk it takes none.
const LARGE_BYTES: u64 = 200 << 20;

/// Writes a layout `large` with one image of one large layer.
fn large(user: &User) {
    let mut layout = Layout::new(&user.path("large"));
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let zeros = vec![0; 1 << 20];
    for _ in 0..LARGE_BYTES >> 20 {
        hasher.update(&zeros);
    }
    let digest = hasher.finish().to_string();
    let file = fs::File::create(blob_path(&layout.root, &digest)).unwrap();
    file.set_len(LARGE_BYTES).unwrap();
    let config = layout.descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let layer = json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": LARGE_BYTES });
    let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": [layer] });
    let mut entry = layout.document(IMAGE_MANIFEST, &manifest);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    layout.list(entry);
}

#[test]
fn a_large_export_that_ends_in_the_middle_leaves_the_old_file_or_none() {
    let Some(strace) = tool("strace") else {
        return;
    };
    let user = User::new();
    large(&user);
    fs::create_dir(user.path("out")).unwrap();
    let output = user.path("out/out.tar");
    for old in [None, Some("what was there")] {
        for (fault, code) in [("signal=KILL", 137), ("error=ENOSPC", 41), ("error=EIO", 1)] {
            if let Some(old) = old {
                fs::write(&output, old).unwrap();
            }
            let inject = format!("inject=write:{fault}:when=100");
            let mut command = user.program(&strace);
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-e"]);
            command.args([&inject, own_program(), "export", "large", "out/out.tar"]);
            let ran = Ran::of(command.output().unwrap());
            assert_eq!(ran.code, code, "{fault}: {ran:?}");
            let left = fs::read_to_string(&output).ok();
            assert_eq!(left.as_deref(), old, "{fault}");
            let left = files_below(&user.path("out")).len();
            assert_eq!(left, usize::from(old.is_some()), "{fault}");
        }
    }
    user.succeed(&["export", "large", "out/out.tar"]);
    assert_eq!(user.run(&["verify", "out/out.tar"]).code, 10);
    user.succeed(&["fsck", "out/out.tar"]);
}

#[test]
fn an_export_that_finds_no_room_leaves_the_old_file_and_can_be_tried_again() {
    let user = User::new();
    large(&user);
    fs::create_dir(user.path("small")).unwrap();
    let script = "mount -t tmpfs -o size=50m none small && echo old > small/out.tar || exit 99
        \"$0\" export large small/out.tar; echo $?; ls -A small; cat small/out.tar
        mount -o remount,size=300m small && \"$0\" export large small/out.tar && ls -A small && \"$0\" fsck small/out.tar > fsck";
    let mut command = user.program("unshare");
    command.args(["-rm", "bash", "-c", script, own_program()]);
    let ran = Ran::of(command.output().unwrap());
    if ran.stderr.contains("unshare:") || ran.stderr.contains("mount:") {
        assert!(!crate::support::ci(), "{ran:?}");
        eprintln!("skip: no mounts in namespaces here");
        return;
    }
    assert_eq!(ran.stdout, "41\nout.tar\nold\nout.tar\n", "{ran:?}");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("No space left"), "{ran:?}");
}

#[test]
fn a_pipe_that_nobody_reads_any_more_ends_a_large_export() {
    let user = User::new();
    large(&user);
    let script =
        "timeout -k 1 60 \"$0\" export large - | head -c 5000000 | wc -c; echo ${PIPESTATUS[0]}";
    let mut command = user.program("bash");
    let ran = Ran::of(
        command
            .args(["-c", script, own_program()])
            .output()
            .unwrap(),
    );
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("5000000\n1\n", "")
    );
}
