//! Pulling: an image with all its signatures comes into a layout that every tool reads, or nothing of it is listed.

use serde_json::json;
use signetfs::oci::Digest;
use signetfs::oci::media_type::IMAGE_MANIFEST;

use super::doors::{ALL, start};
use super::{Signed, signed, signed_buildx, signed_with, sync};
use crate::registry::{Behaviour, Fault, Registry, What};
use crate::support::layouts::{self, blob_path, index};
use crate::support::notation::programs;
use crate::support::{User, files_below};

/// Checks that a pulled layout holds the image and all its signatures.
#[track_caller]
fn assert_pulled(made: &Signed, name: &str) {
    let verified = made.user.run(&["verify", "--scope", "local/hello", name]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let listed = made
        .user
        .run(&["list", "--json", &format!("{name}:v1")])
        .json();
    let signatures = listed["images"][0]["signatures"].as_array().unwrap().len();
    assert_eq!(signatures, made.signatures.len());
    let (from, to) = (
        files_below(&made.user.path("hello/blobs")),
        files_below(&made.user.path(name).join("blobs")),
    );
    assert_eq!(from, to);
}

#[test]
fn brings_back_exactly_what_was_pushed() {
    for made in [signed(), signed_buildx()] {
        for referrers_api in [true, false] {
            let registry = Registry::start(Behaviour {
                referrers_api,
                page: 1,
                ..Behaviour::default()
            });
            let place = registry.at("app:v1");
            assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
            let name = format!("back-{referrers_api}");
            let ran = sync(&made.user, &place, &name, &[]);
            assert_eq!(ran.code, 0, "{ran:?}");
            assert_pulled(&made, &name);
            // Again: nothing to do, nothing changes.
            let before = files_below(&made.user.path(&name));
            let again = sync(&made.user, &place, &name, &[]);
            assert_eq!(again.json()["blobs"]["fetched"], 0, "{again:?}");
            assert_eq!(before, files_below(&made.user.path(&name)));
        }
    }
}

#[test]
fn makes_no_folder_of_the_name_of_a_registry_or_an_archive() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("app:v1");
    assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
    std::fs::write(made.user.path("file"), "").unwrap();
    let before = files_below(&made.user.path("."));
    for target in [
        &registry.at("other:v1")[..],
        "registry.example/app",
        "new.tar",
        "./new.tgz:v1",
        "file",
    ] {
        sync(&made.user, &place, target, &[]).error(2);
    }
    assert_eq!(before, files_below(&made.user.path(".")));
    // Who says that it is a path means one.
    assert_eq!(sync(&made.user, &place, "./a.b/c:v1", &[]).code, 0);
    assert!(made.user.path("a.b/c/index.json").exists());
}

#[test]
fn the_verifier_of_notation_accepts_a_pulled_layout() {
    let notations = programs();
    for program in ALL {
        let Some(served) = start(program, "") else {
            continue;
        };
        let made = signed_buildx();
        let place = format!("{}/hello:v1", served.address);
        assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
        assert_eq!(sync(&made.user, &place, "back", &[]).code, 0);
        for digest in made.image.platforms.iter().chain([&made.image.digest]) {
            let reference = format!("back@{digest}");
            let verify = ["verify", "--oci-layout", "--scope", "local/hello"];
            for notation in &notations {
                let arguments = [&verify[..], &[&reference]].concat();
                let ran = made.user.notation(notation, &arguments);
                assert_eq!(ran.code, 0, "{program:?} {notation:?} {digest}: {ran:?}");
            }
        }
    }
}

#[test]
fn lists_nothing_of_what_does_not_verify() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("app:v1");
    assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
    let stranger = User::new();
    stranger.with_key("somebody.else");
    sync(&stranger, &place, "back", &[]).error(12);
    assert!(!stranger.path("back").exists());
    // A blob with other content, and one that is gone.
    let layer = &made.image.layers[0];
    registry.change("app", |repository| {
        repository.blobs.get_mut(layer).unwrap()[7] ^= 1
    });
    assert!(
        sync(&made.user, &place, "back", &[])
            .error(31)
            .contains(layer.as_str())
    );
    registry.change("app", |repository| drop(repository.blobs.remove(layer)));
    sync(&made.user, &place, "back", &[]).error(18);
    assert!(!blob_path(&made.user.path("back"), layer).exists());
    assert_eq!(index(&made.user.path("back"))["manifests"], json!([]));
    let left: Vec<_> = files_below(&made.user.path("back"))
        .into_keys()
        .filter(|path| path.to_string_lossy().contains(".signetfs-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn goes_on_where_a_download_broke_off() {
    let made = signed_with(|user| {
        layouts::Layout::new(&user.path("hello")).image("v1", &"x".repeat(20_000))
    });
    for resumes in [true, false] {
        let registry = Registry::start(Behaviour {
            resumes,
            ..Behaviour::default()
        });
        let place = registry.at("app:v1");
        assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
        registry.take_log();
        for share in [0, 1, 50, 99] {
            registry.fault(Fault {
                method: "GET",
                target: "/blobs/",
                after: 3,
                times: 1,
                what: What::CutReply(share),
            });
        }
        let name = format!("back-{resumes}");
        let ran = sync(&made.user, &place, &name, &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_pulled(&made, &name);
    }
}

#[test]
fn names_of_others_make_no_images() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("app:v1");
    assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
    let subject = made.user.path("hello");
    let size = std::fs::metadata(blob_path(&subject, &made.image.digest))
        .unwrap()
        .len();
    let hostile = json!({"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "artifactType": "a/b",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2},
        "layers": [], "subject": {"mediaType": IMAGE_MANIFEST, "digest": made.image.digest, "size": size},
        "annotations": {"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": "evil"}});
    let bytes = hostile.to_string().into_bytes();
    registry.change("app", |repository| {
        repository
            .blobs
            .insert(Digest::of(b"{}").to_string(), b"{}".to_vec());
        repository.manifests.insert(
            Digest::of(&bytes).to_string(),
            (IMAGE_MANIFEST.to_owned(), bytes.clone()),
        );
    });
    assert_eq!(sync(&made.user, &place, "back", &[]).code, 0);
    let text = index(&made.user.path("back")).to_string();
    assert!(!text.contains("latest") && !text.contains("evil"), "{text}");
}

#[test]
fn never_puts_a_tag_on_two_images_or_writes_into_a_foreign_folder() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("app:v1");
    assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
    layouts::Layout::new(&made.user.path("taken")).image("v1", "other");
    sync(&made.user, &place, "taken", &[]).error(34);
    assert_eq!(sync(&made.user, &place, "taken:v2", &[]).code, 0);
    std::fs::create_dir(made.user.path("full")).unwrap();
    std::fs::write(made.user.path("full/file"), "mine").unwrap();
    sync(&made.user, &place, "full", &[]).error(1);
    assert_eq!(files_below(&made.user.path("full")).len(), 1);
    sync(&made.user, &registry.at("app"), "back", &[]).error(2);
    sync(&made.user, &registry.at("app:v9"), "back", &[]).error(1);
}
