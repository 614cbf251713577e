//! Registry references where a layout could stand: verified, listed and inspected without a copy.

use serde_json::json;
use signetfs::oci::Digest;
use signetfs::oci::media_type::IMAGE_MANIFEST;

use super::{signed, signed_buildx, sync};
use crate::registry::{Behaviour, Fault, Registry, What};
use crate::support::{User, layouts};

fn verify(user: &User, reference: &str, more: &[&str]) -> crate::support::Ran {
    let mut arguments = vec!["verify", "--insecure-registry"];
    arguments.extend(more);
    arguments.push(reference);
    user.run(&arguments)
}

#[test]
fn verifies_lists_and_inspects_what_is_in_a_registry() {
    for referrers_api in [true, false] {
        let made = signed_buildx();
        let registry = Registry::start(Behaviour {
            referrers_api,
            page: 1,
            ..Behaviour::default()
        });
        let place = registry.at("app");
        let pushed = sync(&made.user, "hello:v1", &place, &["--verify-remote"]);
        assert_eq!(pushed.code, 0, "{pushed:?}");
        for reference in [
            format!("{place}:v1"),
            format!("{place}@{}", made.image.digest),
            format!("{place}@{}", made.image.platforms[0]),
        ] {
            let ran = verify(&made.user, &reference, &[]);
            assert_eq!(ran.code, 0, "{reference}: {ran:?}");
            assert!(
                ran.stdout.starts_with(&format!(
                    "Successfully verified signature for {place}@sha256:"
                )),
                "{ran:?}"
            );
        }
        let reference = format!("{place}:v1");
        let listed = made
            .user
            .succeed(&["list", "--insecure-registry", &reference]);
        let inspected = made
            .user
            .succeed(&["inspect", "--insecure-registry", &reference]);
        for signature in &made.signatures {
            assert!(listed.contains(signature.as_str()), "{listed}");
            assert!(inspected.contains(signature.as_str()), "{inspected}");
        }
        verify(&made.user, &format!("{place}:v2"), &[]).error(1);
        verify(&made.user, &place, &[]).error(2);
        let json = verify(&made.user, &reference, &["--json"]).json();
        assert!(json.to_string().contains("\"manifests\""), "{json}");
    }
}

#[test]
fn finds_nothing_signed_that_is_not() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("app");
    assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
    let reference = format!("{place}:v1");
    // Another user trusts another key.
    let stranger = User::new();
    stranger.with_key("somebody.else");
    verify(&stranger, &reference, &[]).error(12);
    // A list that names other images, under names that would be images.
    registry.behave(|behaviour| behaviour.referrers_api = false);
    let other = layouts::Layout::new(&made.user.path("other")).image("v1", "other");
    let bytes = std::fs::read(layouts::blob_path(&made.user.path("other"), &other.digest)).unwrap();
    registry.change("app", |repository| {
        repository.manifests.insert(
            other.digest.clone(),
            (IMAGE_MANIFEST.to_owned(), bytes.clone()),
        );
        let named = json!({"mediaType": IMAGE_MANIFEST, "digest": other.digest, "size": bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": "v1"}});
        repository.write_list(&made.image.digest, &[named]);
    });
    verify(&made.user, &reference, &[]).error(10);
    // Manifests whose bytes are others than their digests name.
    registry.behave(|behaviour| behaviour.referrers_api = true);
    registry.change("app", |repository| {
        for signature in &made.signatures {
            let (_, bytes) = repository.manifests.get_mut(signature).unwrap();
            bytes.push(b' ');
        }
    });
    let ran = verify(&made.user, &reference, &[]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains("Successfully"), "{ran:?}");
}

#[test]
fn a_registry_that_serves_other_bytes_is_not_blamed_on_the_signer() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("app");
    assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
    let reference = format!("{place}:v1");
    // Compressed on the way, although it was not asked for.
    registry.fault(Fault {
        method: "GET",
        target: "/manifests/",
        after: 0,
        times: 9,
        what: What::Answer(200, vec![("content-encoding", "gzip".to_owned())], "\x1f"),
    });
    let encoded = verify(&made.user, &reference, &[]);
    let words = encoded.error(31);
    assert!(words.contains("encoded (gzip)"), "{words}");
    registry.heal();
    // Compressed where it is stored: of the digest that is asked for, and no document.
    let squeezed = b"\x1f\x8b\x08\0anything".to_vec();
    let digest = Digest::of(&squeezed).to_string();
    registry.change("app", |repository| {
        let stored = (IMAGE_MANIFEST.to_owned(), squeezed.clone());
        repository.manifests.insert(digest.clone(), stored);
        repository
            .tags
            .insert("squeezed".to_owned(), digest.clone());
    });
    let ran = verify(&made.user, &format!("{place}:squeezed"), &[]);
    ran.error(17);
    assert!(ran.stderr.contains("compressed by gzip"), "{ran:?}");
    registry.change("app", |repository| {
        // The envelopes of both forms; layers are not read here.
        for bytes in repository.blobs.values_mut() {
            bytes.pop();
            bytes.push(b' ');
        }
    });
    let ran = verify(&made.user, &reference, &[]);
    ran.error(11);
    assert!(
        ran.stderr.contains("the registry does not serve"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("sign again"), "{ran:?}");
}

#[test]
fn bounds_what_it_reads() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("app");
    assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
    let large = vec![b' '; 5 << 20];
    let digest = Digest::of(&large).to_string();
    registry.change("app", |repository| {
        repository
            .manifests
            .insert(digest.clone(), (IMAGE_MANIFEST.to_owned(), large.clone()));
        repository.tags.insert("large".to_owned(), digest.clone());
    });
    let ran = verify(&made.user, &format!("{place}:large"), &[]);
    assert_eq!(ran.code, 32, "{ran:?}");
    registry.fault(Fault {
        method: "GET",
        target: "/referrers/",
        after: 0,
        times: 9,
        what: What::Answer(200, vec![], "<html>"),
    });
    verify(&made.user, &format!("{place}:v1"), &[]).error(10);
}

#[test]
fn an_answer_that_does_not_come_proves_no_signature_broken() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("app:v1");
    assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
    let fault = |what| {
        registry.fault(Fault {
            method: "GET",
            target: "/blobs/",
            after: 0,
            // One passing signature would suffice.
            times: made.signatures.len(),
            what,
        });
    };
    fault(What::CutReply(50));
    let cut = sync(&made.user, &place, "./back:v1", &["--attempts", "1"]);
    assert!(cut.error(32).contains("reading blob"), "{cut:?}");
    fault(What::Answer(403, vec![], "{}"));
    verify(&made.user, &place, &[]).error(30);
    assert!(!made.user.path("back").exists());
    assert_eq!(sync(&made.user, &place, "./back:v1", &[]).code, 0);
}
