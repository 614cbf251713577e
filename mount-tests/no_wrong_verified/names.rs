//! Names, indexes and documents that point elsewhere.

use std::os::unix::ffi::OsStrExt;

use serde_json::json;
use signetfs::oci::media_type::{IMAGE_INDEX, IMAGE_MANIFEST};
use signetfs::report::Verdict;

use super::{signed, status, verdict};
use crate::support::User;
use crate::support::layouts::{self, Layout, blob_path, index};

/// Adds an entry to the index of a layout that is already signed.
fn list(root: &std::path::Path, entry: serde_json::Value) {
    let mut index = index(root);
    index["manifests"].as_array_mut().unwrap().push(entry);
    std::fs::write(root.join("index.json"), index.to_string()).unwrap();
}

/// Stores a manifest with the config and layers of an unsigned image; returns its descriptor.
fn hostile(root: &std::path::Path) -> serde_json::Value {
    let other = tempfile::tempdir().unwrap();
    let image = Layout::new(other.path()).image("evil", "evil");
    for digest in [&image.digest, &image.config]
        .into_iter()
        .chain(&image.layers)
    {
        std::fs::copy(blob_path(other.path(), digest), blob_path(root, digest)).unwrap();
    }
    let size = std::fs::metadata(blob_path(root, &image.digest))
        .unwrap()
        .len();
    json!({ "mediaType": IMAGE_MANIFEST, "digest": image.digest, "size": size })
}

/// Stores a document in a layout; returns its descriptor.
fn store(
    root: &std::path::Path,
    media_type: &str,
    document: &serde_json::Value,
) -> serde_json::Value {
    let bytes = document.to_string();
    let digest = signetfs::oci::Digest::of(bytes.as_bytes()).to_string();
    std::fs::write(blob_path(root, &digest), &bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

#[test]
fn a_stale_status_in_the_layout_is_never_read() {
    let user = User::new();
    user.with_key("one");
    let root = user.path("hello");
    layouts::single(&root);
    for name in ["verify-status", "verify-status.json", "sign"] {
        std::fs::write(root.join(name), "verified\n").unwrap();
    }
    std::fs::write(root.join("trustpolicy.json"), skip_everything()).unwrap();
    let (verdict, text) = status(&user, &["verify", "hello"]);
    assert_eq!(verdict, Verdict::Unsigned);
    assert!(!text.lines().any(|line| line == "verified"), "{text}");
    assert!(text.contains("policy=config "), "{text}");
}

/// A policy that a layout may bring along: nothing trusted is read from a layout.
fn skip_everything() -> String {
    json!({
        "version": "1.0",
        "trustPolicies": [{ "name": "all", "registryScopes": ["*"], "signatureVerification": { "level": "skip" } }],
    })
    .to_string()
}

#[test]
fn a_docker_archive_index_with_other_blobs_is_ambiguous() {
    let (user, root, image) = signed();
    let layout = Layout::new(&user.path("other"));
    // The archive's index agrees: all is well.
    let archive = |image: &layouts::Image| {
        layout.docker_archive(&[image]);
        std::fs::copy(user.path("other/manifest.json"), root.join("manifest.json")).unwrap();
    };
    archive(&image);
    assert_eq!(verdict(&user, "hello"), Verdict::Verified);
    let descriptor = hostile(&root);
    let mut evil = image.clone();
    evil.config = descriptor["digest"].as_str().unwrap().to_owned();
    archive(&evil);
    assert_eq!(verdict(&user, "hello"), Verdict::Ambiguous);
    assert_eq!(user.run(&["verify", "hello:v1"]).code, 22);
}

#[test]
fn a_folder_of_any_name_that_docker_loads_is_ambiguous() {
    let (user, root, _) = signed();
    let named = |name: &[u8]| root.join(std::ffi::OsStr::from_bytes(name));
    let names = [&b"named"[..], b"\xff", b"blobs", b"ingest", b".umoci-1"];
    for name in names {
        let folder = named(name);
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["json", "layer.tar"] {
            std::fs::write(folder.join(file), "{}").unwrap();
        }
        assert_eq!(verdict(&user, "hello"), Verdict::Ambiguous, "{name:?}");
        for file in ["json", "layer.tar"] {
            std::fs::remove_file(folder.join(file)).unwrap();
        }
        assert_eq!(verdict(&user, "hello"), Verdict::Verified, "{name:?}");
    }
}

#[test]
fn a_docker_archive_index_that_mixes_signed_pieces_is_ambiguous() {
    let user = User::new();
    user.with_key("one");
    let mut layout = Layout::new(&user.path("hello"));
    let one = layout.image("v1", "one");
    let two = layout.image("v2", "two");
    user.succeed(&["sign", "hello:v1"]);
    user.succeed(&["sign", "hello:v2"]);
    layout.docker_archive(&[&one, &two]);
    assert_eq!(verdict(&user, "hello"), Verdict::Verified);
    let mixed =
        |config: &layouts::Image, layers: &layouts::Image, tag: &layouts::Image| layouts::Image {
            tag: tag.tag.clone(),
            config: config.config.clone(),
            layers: layers.layers.clone(),
            ..one.clone()
        };
    for wrong in [
        mixed(&one, &two, &one),
        mixed(&two, &one, &one),
        // Both whole, but under the other's name.
        mixed(&two, &two, &one),
    ] {
        layout.docker_archive(&[&wrong]);
        assert_eq!(verdict(&user, "hello"), Verdict::Ambiguous, "{wrong:?}");
    }
}

#[test]
fn an_untagged_image_counts() {
    let (user, root, _) = signed();
    list(&root, hostile(&root));
    let (verdict, text) = status(&user, &["verify", "hello"]);
    assert_eq!(verdict, Verdict::Unsigned);
    assert!(text.contains("\npass "), "{text}");
    // One image by its name is as it was.
    assert_eq!(user.run(&["verify", "hello:v1"]).code, 0);
}

#[test]
fn a_tagged_manifest_with_a_subject_is_an_image_all_the_same() {
    let (user, root, image) = signed();
    let descriptor = hostile(&root);
    let bytes = std::fs::read(blob_path(&root, descriptor["digest"].as_str().unwrap())).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    manifest["subject"] = json!({ "mediaType": IMAGE_MANIFEST, "digest": image.digest, "size": 1 });
    let mut entry = store(&root, IMAGE_MANIFEST, &manifest);
    for name in [
        "org.opencontainers.image.ref.name",
        "io.containerd.image.name",
    ] {
        entry["annotations"] = json!({ name: "v2" });
        let before = std::fs::read(root.join("index.json")).unwrap();
        list(&root, entry.clone());
        assert_eq!(verdict(&user, "hello"), Verdict::Unsigned, "{name}");
        std::fs::write(root.join("index.json"), before).unwrap();
    }
}

#[test]
fn a_hostile_image_below_an_untagged_index_with_a_subject_is_an_image() {
    let (user, root, image) = signed();
    let evil = hostile(&root);
    let subject = json!({ "mediaType": IMAGE_MANIFEST, "digest": image.digest, "size": 1 });
    let document = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [evil], "subject": subject });
    let referrer = store(&root, IMAGE_INDEX, &document);
    list(&root, referrer);
    list(&root, evil);
    assert_eq!(verdict(&user, "hello"), Verdict::Unsigned);
}

#[test]
fn one_tag_on_two_digests_is_ambiguous_even_if_both_are_signed() {
    let user = User::new();
    user.with_key("one");
    let mut layout = Layout::new(&user.path("hello"));
    layout.image("v1", "one");
    layout.image("v2", "two");
    user.succeed(&["sign", "hello:v1"]);
    user.succeed(&["sign", "hello:v2"]);
    let mut index = index(&layout.root);
    for entry in index["manifests"].as_array_mut().unwrap() {
        if let Some(name) = entry.pointer_mut("/annotations/org.opencontainers.image.ref.name") {
            *name = json!("v1");
        }
    }
    std::fs::write(layout.root.join("index.json"), index.to_string()).unwrap();
    assert_eq!(verdict(&user, "hello"), Verdict::Ambiguous);
    assert_eq!(user.run(&["verify", "hello:v1"]).code, 22);
}

#[test]
fn an_untrusted_signer_under_audit_is_accepted_and_no_more() {
    let (user, _, _) = signed();
    let other = User::new();
    other.with_key("stranger");
    other.succeed(&[
        "policy",
        "init",
        "--force",
        "--level",
        "audit",
        "--trust-store",
        "ca:stranger",
    ]);
    let layout = user.path("hello");
    let (verdict, text) = status(&other, &["verify", layout.to_str().unwrap()]);
    assert_eq!(verdict, Verdict::Accepted);
    assert!(!text.contains("verified"), "{text}");
    assert!(text.contains("\n  accepted "), "{text}");
}

#[test]
fn an_index_around_a_signed_image_is_not_signed_by_it() {
    let (user, root, image) = signed();
    let size = std::fs::metadata(blob_path(&root, &image.digest))
        .unwrap()
        .len();
    let child = json!({ "mediaType": IMAGE_MANIFEST, "digest": image.digest, "size": size });
    let document = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [child, hostile(&root)] });
    let mut entry = store(&root, IMAGE_INDEX, &document);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "v2" });
    list(&root, entry);
    assert_eq!(verdict(&user, "hello"), Verdict::Unsigned);
}
