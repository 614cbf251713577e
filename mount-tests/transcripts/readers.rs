//! Tools that only read: searching, listing, archiving, watching, and those that know layouts.

use std::path::Path;

use super::{Scene, policy, token};
use crate::support::{files_below, tool};

/// Returns the names in a folder, sorted.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn shell_tools_read_the_mount() {
    for flags in [&[][..], &["--reads", "checked"]] {
        let scene = Scene::new();
        let Some(mount) = scene.mount(flags) else {
            return;
        };
        scene.succeed("touch mnt/sign && grep -qx verified mnt/verify-status");
        let before = scene.entries();
        for line in [
            "test $(find mnt -type f | wc -l) -gt 15",
            "grep -rq wabbit mnt",
            "test $(grep -c . mnt/verify-status) = $(wc -l < mnt/verify-status)",
            "test $(stat -c %s mnt/verify-status) = $(wc -c < mnt/verify-status)",
            "diff -r lay/blobs mnt/blobs && diff lay/oci-layout mnt/oci-layout && diff lay/index.json mnt/index.json",
            "for f in mnt/blobs/sha256/*; do test $(sha256sum < $f | cut -c -64) = ${f##*/} || exit 1; done",
            "for f in $(find mnt -type f); do dd status=none if=$f bs=77 | cmp - $f || exit 1; done",
            "tar -C mnt -cf t1.tar . && tar -C mnt -df t1.tar && mkdir t1 && tar -C t1 -xf t1.tar && diff -r t1 mnt",
            "head -c 5 mnt/verify-status; tail -n 1 mnt/verify-status; wc mnt/*.json; file -s mnt/* || true",
            "ls -lR mnt > list && du -s mnt && df mnt && test -s list",
            "find mnt -name '*.pem' | xargs openssl x509 -noout -in",
            "sync mnt/sign mnt/verify-status",
        ] {
            scene.succeed(line);
        }
        if tool("jq").is_some() {
            scene.succeed(
                "jq -e .images[0] mnt/verify-status.json && jq -e .manifests[0] mnt/index.json",
            );
            scene.succeed(
                "for f in $(find mnt/signatures -name '*.json'); do jq -e . $f || exit 1; done",
            );
        }
        if tool("bsdtar").is_some() {
            scene.succeed("mkdir t2 && bsdtar -C mnt -cf t2.tar . && bsdtar -C t2 -xf t2.tar && diff -r t2 mnt");
        }
        assert_eq!(scene.entries(), before);
        assert_eq!(token(&mount), "verified");
        assert_eq!(
            files_below(&scene.user.path("t1")),
            files_below(&mount.path(""))
        );
    }
}

#[test]
fn what_goes_through_the_mount_is_watched() {
    let scene = Scene::new();
    let Some(mount) = scene.mount(&[]) else {
        return;
    };
    if tool("inotifywait").is_none() {
        return;
    }
    let line = "inotifywait -m -t 20 -e close_write -e attrib mnt > events 2> watch & pid=$!
        until grep -q established watch; do sleep 0.05; done
        cp policy.json mnt/trustpolicy.json; touch mnt/sign
        for i in $(seq 100); do grep -q 'ATTRIB sign' events && break; sleep 0.05; done
        kill $pid; cat events";
    let events = scene.succeed(line);
    assert!(
        events.contains("CLOSE_WRITE,CLOSE trustpolicy.json"),
        "{events}"
    );
    assert!(events.contains("ATTRIB sign"), "{events}");
    assert_eq!(token(&mount), "verified");
}

#[test]
fn layout_tools_read_the_mount_as_a_layout() {
    let scene = Scene::new();
    let Some(mount) = scene.mount(&[]) else {
        return;
    };
    scene.succeed("touch mnt/sign");
    if tool("skopeo").is_some() {
        let raw = scene.succeed("skopeo inspect --raw oci:mnt:v1");
        assert_eq!(
            signetfs::oci::Digest::of(raw.as_bytes()).to_string(),
            scene.image.digest
        );
    }
    if tool("umoci").is_some() {
        assert_eq!(scene.succeed("umoci ls --layout mnt"), "v1\n");
    }
    if let Some(oras) = tool("oras") {
        let oras = oras.display();
        let found = scene.succeed(&format!("{oras} discover --oci-layout mnt:v1"));
        assert!(
            found.contains("application/vnd.cncf.notary.signature"),
            "{found}"
        );
        scene.succeed(&format!(
            "{oras} cp -r --from-oci-layout mnt:v1 --to-oci-layout copy:v1"
        ));
        std::fs::create_dir_all(scene.user.config()).unwrap();
        std::fs::write(
            scene.user.config().join("trustpolicy.json"),
            policy("wabbit"),
        )
        .unwrap();
        scene.user.succeed(&["verify", "copy"]);
    }
    assert_eq!(token(&mount), "verified");
}
