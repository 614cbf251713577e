//! A mount, and a copy of one, under notation: a layout like any other, which it reads and cannot write.

use super::Both;
use crate::support::layouts;
use crate::support::{Mount, Ran, files_below};

const VERIFY: [&str; 4] = ["verify", "--oci-layout", "--scope", "local/hello"];

/// Checks that notation finds so many signatures in a layout, and verifies it.
#[track_caller]
fn accepted(both: &Both, layout: &str, digest: &str, signatures: usize) {
    let reference = format!("{layout}@{digest}");
    let said = both.they_succeed(&[&VERIFY[..], &[&reference]].concat());
    let line = format!("Successfully verified signature for {reference}\n");
    assert_eq!(said, line);
    let listed = both.print_the_same(&["list", "--oci-layout", &reference]);
    assert_eq!(listed.matches("sha256:").count(), 1 + signatures);
}

#[test]
fn notation_verifies_layout_mount_and_copy_after_a_touch() {
    let Some(both) = Both::with_key() else {
        return;
    };
    let image = layouts::buildx(&both.user.path("hello"));
    let Some(mount) = Mount::new(&both.user, "hello", "mnt", &[]) else {
        return;
    };
    let unsigned = both.print_the_same(&["list", "--oci-layout", "mnt:v1"]);
    assert!(unsigned.ends_with(" has no associated signature\n"));
    let shell = |line: &str| {
        let mut command = both.user.program("bash");
        let ran = Ran::of(command.args(["-c", line]).output().unwrap());
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
    };
    shell("touch mnt/sign");
    shell("mkdir copy && tar -C mnt -cf copy.tar . && tar -C copy -xf copy.tar");
    for layout in ["hello", "mnt", "copy"] {
        accepted(&both, layout, &image.digest, 1);
    }
    // Another signature, in the format that binds other bytes; it is found through the mount at once.
    shell("echo 'format=cose force' > mnt/sign");
    accepted(&both, "mnt", &image.digest, 2);
    drop(mount);
    accepted(&both, "hello", &image.digest, 2);
}

#[test]
fn a_mount_sees_what_notation_signs_and_refuses_to_be_signed_by_it() {
    let Some(both) = Both::with_key() else {
        return;
    };
    let image = layouts::single(&both.user.path("hello"));
    let Some(mount) = Mount::new(&both.user, "hello", "mnt", &[]) else {
        return;
    };
    assert!(mount.read("verify-status").starts_with("unsigned\n"));
    let before = files_below(&both.user.path("hello"));
    let refused = both.theirs(&["sign", "--oci-layout", "mnt:v1"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("read-only file system"),
        "{refused:?}"
    );
    assert_eq!(files_below(&both.user.path("hello")), before);
    for format in ["jws", "cose"] {
        let sign = ["sign", "--oci-layout", "--signature-format", format];
        both.they_succeed(&[&sign[..], &["hello:v1"]].concat());
    }
    let status = mount.read("verify-status");
    assert!(status.starts_with("verified\n"), "{status}");
    assert!(status.contains(" signatures=2/2 "), "{status}");
    accepted(&both, "mnt", &image.digest, 2);
}
