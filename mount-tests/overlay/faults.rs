//! A kill or a full disk at every system call, while a tar is signed or exported.

use std::fs;

use super::{State, tar};
use crate::support::faults::Faults;
use crate::support::layouts;
use crate::support::{Ran, User, files_below};

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
        };
        let faults = Faults {
            user: &user,
            arguments: &["export", "hello", "out/out.tar"],
            prepare: &|| {
                fs::remove_dir_all(user.path("out")).unwrap();
                fs::create_dir(user.path("out")).unwrap();
            },
            check: &check,
        };
        faults.at_every_call(fault);
    }
}
