//! `signetfs sync`: no signature is lost, nothing unsigned is ever visible, whatever the registry does.

mod auth;
mod counters;
mod doors;
mod faults;
mod hostile;
mod kill;
mod matrix;
mod peers;
mod pull;
mod race;
mod remote;

use std::collections::BTreeSet;

use crate::registry::{Behaviour, Logged, Registry};
use crate::support::layouts::{self, Image, blob_path};
use crate::support::{Ran, User};

/// Is a signed layout and what has to be found of it in a registry.
struct Signed {
    user: User,
    image: Image,
    /// The digests of the signature manifests of the image.
    signatures: Vec<String>,
}

/// Makes a layout `hello` with an image `v1` of one platform, signed twice.
fn signed() -> Signed {
    signed_with(|user| layouts::single(&user.path("hello")))
}

/// Makes a layout `hello` with an index of buildx's shape, signed twice, its platforms once.
fn signed_buildx() -> Signed {
    let made = signed_with(|user| layouts::buildx(&user.path("hello")));
    made.user.succeed(&[
        "sign",
        "--recursive",
        &format!("hello@{}", made.image.digest),
    ]);
    let signatures = signatures(&made.user, &made.image);
    Signed { signatures, ..made }
}

fn signed_with(layout: impl FnOnce(&User) -> Image) -> Signed {
    let user = User::new();
    user.with_key("wabbit-networks.io");
    let image = layout(&user);
    for format in ["jws", "cose"] {
        user.succeed(&[
            "sign",
            "--signature-format",
            format,
            &format!("hello@{}", image.digest),
        ]);
    }
    let signatures = signatures(&user, &image);
    assert_eq!(signatures.len(), 2);
    Signed {
        user,
        image,
        signatures,
    }
}

fn signatures(user: &User, image: &Image) -> Vec<String> {
    let listed = user
        .run(&["list", "--json", &format!("hello@{}", image.digest)])
        .json();
    listed["images"][0]["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|digest| digest.as_str().unwrap().to_owned())
        .collect()
}

/// Pushes over plain HTTP, with patience measured for tests.
fn sync(user: &User, source: &str, target: &str, more: &[&str]) -> Ran {
    let mut arguments = vec![
        "sync",
        "--plain-http",
        "--json",
        "--timeout",
        "5",
        "--pause-max",
        "1",
        source,
        target,
    ];
    arguments.extend(more);
    user.run(&arguments)
}

/// Checks that a repository holds the image with all its signatures, byte for byte.
#[track_caller]
fn assert_complete(signed: &Signed, registry: &Registry, name: &str) {
    let repository = registry.repository(name);
    assert_eq!(repository.tags.get("v1"), Some(&signed.image.digest));
    let layout = signed.user.path("hello");
    let expected = std::fs::read(blob_path(&layout, &signed.image.digest)).unwrap();
    assert_eq!(repository.manifests[&signed.image.digest].1, expected);
    let by_api = registry.state.behaviour().referrers_api;
    let found: BTreeSet<String> = repository
        .discoverable(&signed.image.digest, by_api)
        .into_iter()
        .collect();
    for signature in &signed.signatures {
        assert!(
            found.contains(signature),
            "{signature} is not discoverable: {found:?}"
        );
    }
    for (digest, bytes) in &repository.blobs {
        assert_eq!(&std::fs::read(blob_path(&layout, digest)).unwrap(), bytes);
    }
}

/// Checks that no tag was set before every signature was discoverable.
#[track_caller]
fn assert_signed_when_tagged(signed: &Signed, log: &[Logged]) {
    for entry in log {
        let Some(discoverable) = &entry.discoverable else {
            continue;
        };
        for signature in &signed.signatures {
            assert!(
                discoverable.contains(signature),
                "tagged before {signature}: {entry:?}"
            );
        }
    }
}

#[test]
fn pushes_an_image_with_all_its_signatures() {
    for referrers_api in [true, false] {
        for made in [signed(), signed_buildx()] {
            let registry = Registry::start(Behaviour {
                referrers_api,
                page: 1,
                ..Behaviour::default()
            });
            let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
            assert_eq!(ran.code, 0, "{ran:?}");
            assert_complete(&made, &registry, "app");
            let log = registry.take_log();
            assert_signed_when_tagged(&made, &log);
            let tags = log
                .iter()
                .filter(|entry| entry.discoverable.is_some())
                .count();
            assert_eq!(tags, 1);
            assert_eq!(ran.json()["requests"], log.len());
        }
    }
}

#[test]
fn registries_that_notation_lists_as_insecure_are_spoken_to_in_plain_http() {
    let signed = signed();
    let user = &signed.user;
    let registry = Registry::start(Behaviour::default());
    // An upload to that address is refused for itself; so all of it is there before.
    let here = registry.at("hello:v1");
    assert_eq!(sync(user, "hello:v1", &here, &[]).code, 0);
    // The same machine under an address that is not known for it.
    let host = registry
        .at("")
        .trim_end_matches('/')
        .replace("127.0.0.1", "0.0.0.0");
    let target = format!("{host}/hello:v1");
    let push = || user.run(&["sync", "--attempts", "1", "hello:v1", &target]);
    let list =
        |document: &str| std::fs::write(user.config().join("config.json"), document).unwrap();
    push().error(32);
    // Another port is another registry; and what cannot be used lists none.
    let config = user.config().join("config.json").display().to_string();
    for (document, place) in [
        (
            r#"{"insecureRegistries":["0.0.0.0","0.0.0.0:1"]}"#.to_owned(),
            None,
        ),
        (
            format!("{{\n \"insecureRegistries\":\"{host}\"}}"),
            Some("at line 2 column 2"),
        ),
        (
            format!("{{\"insecureRegistries\":[\n\"{host}\"}}"),
            Some("at line 2 column"),
        ),
        (
            r#"{"signatureFormat":"pgp"}"#.to_owned(),
            Some("at line 1 column 2"),
        ),
    ] {
        list(&document);
        let mut ran = vec![push()];
        ran.push(user.run(&["sync", &target, "./never:v1", "--attempts", "1"]));
        for command in ["verify", "list", "inspect"] {
            ran.push(user.run(&[command, &target]));
        }
        for ran in ran {
            let error = ran.error(32);
            assert!(!error.contains("warning"), "{ran:?}");
            let warned = format!("signetfs: warning: malformed {config}: ");
            let line = ran.stderr.lines().find(|line| line.starts_with(&warned));
            let is_right = match place {
                None => line.is_none(),
                Some(place) => line.is_some_and(|line| line.contains(place)),
            };
            assert!(is_right, "{document}: {ran:?}");
            // What it costs is said wherever plain HTTP is advised.
            assert!(
                ran.stderr.contains("read and change what is sent")
                    && ran.stderr.contains("--plain-http")
                    && ran.stderr.contains("insecureRegistries"),
                "{ran:?}"
            );
        }
    }
    list(&format!(r#"{{"insecureRegistries":["x","{host}"]}}"#));
    let ran = push();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_complete(&signed, &registry, "hello");
    for command in ["verify", "list", "inspect"] {
        let ran = user.run(&[command, &target]);
        assert!(ran.stdout.contains(&signed.image.digest), "{ran:?}");
    }
    let ran = user.run(&["sync", &target, "./pulled:v1"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn asks_little_when_nothing_changed() {
    for referrers_api in [true, false] {
        let made = signed_buildx();
        let registry = Registry::start(Behaviour {
            referrers_api,
            ..Behaviour::default()
        });
        let first = sync(&made.user, "hello:v1", &registry.at("app:v1"), &[]);
        assert_eq!(first.code, 0, "{first:?}");
        registry.take_log();
        let again = sync(&made.user, "hello:v1", &registry.at("app:v1"), &[]);
        assert_eq!(again.code, 0, "{again:?}");
        assert_eq!(again.json()["upToDate"], true);
        let subjects: BTreeSet<String> = made
            .image
            .platforms
            .iter()
            .chain([&made.image.digest])
            .cloned()
            .collect();
        let log = registry.take_log();
        assert!(log.len() <= 3 + subjects.len(), "{log:?}");
        assert!(
            log.iter()
                .all(|entry| matches!(entry.method.as_str(), "GET" | "HEAD")),
            "{log:?}"
        );
        let check = sync(&made.user, "hello:v1", &registry.at("app:v1"), &["--check"]);
        assert_eq!(check.code, 0, "{check:?}");
    }
}

#[test]
fn repairs_a_lost_referrers_tag() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        referrers_api: false,
        ..Behaviour::default()
    });
    assert_eq!(
        sync(&made.user, "hello:v1", &registry.at("app"), &[]).code,
        0
    );
    registry.change("app", |repository| {
        repository.tags.retain(|tag, _| tag == "v1")
    });
    let check = sync(&made.user, "hello:v1", &registry.at("app"), &["--check"]);
    assert_eq!(check.code, 1, "{check:?}");
    assert_eq!(check.json()["referrers"].as_array().unwrap().len(), 2);
    let again = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_complete(&made, &registry, "app");
}

#[test]
fn keeps_what_other_writers_listed() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        referrers_api: false,
        ..Behaviour::default()
    });
    let (kept, gone) = (
        signetfs::oci::Digest::of(b"kept").to_string(),
        signetfs::oci::Digest::of(b"gone").to_string(),
    );
    let theirs = [
        serde_json::json!({"digest": kept, "size": "odd", "unknown": {"b": 1, "a": [null]}}),
        serde_json::json!({"mediaType": "x/y", "artifactType": "z"}),
    ];
    registry.change("app", |repository| {
        repository
            .manifests
            .insert(kept.clone(), ("x/y".to_owned(), b"kept".to_vec()));
        // The registry refuses lists with entries whose manifests are gone; those are nobody's any more.
        let with_gone = [
            theirs[0].clone(),
            serde_json::json!({"digest": gone}),
            theirs[1].clone(),
        ];
        repository.write_list(&made.image.digest, &with_gone);
    });
    assert_eq!(
        sync(&made.user, "hello:v1", &registry.at("app"), &[]).code,
        0
    );
    assert_complete(&made, &registry, "app");
    let repository = registry.repository("app");
    let (_, (_, bytes)) = repository
        .manifest(&made.image.digest.replace(':', "-"))
        .unwrap();
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(document["manifests"].as_array().unwrap()[..2], theirs);
    let exact = format!(r#"{{"digest":"{kept}","size":"odd","unknown":{{"b":1,"a":[null]}}}}"#);
    assert!(String::from_utf8_lossy(bytes).contains(&exact));
}

#[test]
fn sends_nothing_that_is_not_verified() {
    let user = User::new();
    user.with_key("wabbit-networks.io");
    layouts::single(&user.path("hello"));
    let registry = Registry::start(Behaviour::default());
    let ran = sync(&user, "hello:v1", &registry.at("app"), &[]);
    ran.error(10);
    assert_eq!(registry.take_log().len(), 0);
    let wrong = sync(
        &user,
        "hello:v1",
        &registry.at("app"),
        &["--allow", "expired"],
    );
    wrong.error(10);
    let allowed = sync(
        &user,
        "hello:v1",
        &registry.at("app"),
        &["--allow", "unsigned"],
    );
    assert_eq!(allowed.code, 0, "{allowed:?}");
    // Signed by a key that the policy does not trust.
    let stranger = User::new();
    stranger.with_key("somebody.else");
    crate::support::copy(&user.path("hello"), &stranger.path("hello"));
    stranger.succeed(&["sign", "hello:v1"]);
    crate::support::copy(&stranger.path("hello"), &user.path("theirs"));
    registry.take_log();
    sync(&user, "theirs:v1", &registry.at("other"), &[]).error(12);
    sync(&user, "hello:v9", &registry.at("other"), &[]).error(1);
    assert_eq!(registry.take_log().len(), 0);
}

#[test]
fn creates_no_blob_of_a_corrupt_layer() {
    for size in [3_000, 300_000, 3_000_000] {
        let made = signed_with(|user| {
            let mut layout = layouts::Layout::new(&user.path("hello"));

            layout.image("v1", &"x".repeat(size / 100))
        });
        let layer = &made.image.layers[1];
        let path = blob_path(&made.user.path("hello"), layer);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let registry = Registry::start(Behaviour::default());
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        assert!(ran.error(17).contains(layer.as_str()), "{ran:?}");
        let repository = registry.repository("app");
        assert!(!repository.blobs.contains_key(layer));
        assert!(repository.tags.is_empty() && repository.manifests.is_empty());
        // Another size is seen before anything is sent.
        std::fs::write(&path, b"short").unwrap();
        registry.take_log();
        sync(&made.user, "hello:v1", &registry.at("app"), &[]).error(17);
        assert!(
            registry
                .take_log()
                .iter()
                .all(|entry| entry.method == "HEAD")
        );
        std::fs::remove_file(&path).unwrap();
        sync(&made.user, "hello:v1", &registry.at("app"), &[]).error(18);
        assert!(registry.repository("app").tags.is_empty());
    }
}

#[test]
fn a_layer_that_the_registry_has_need_not_be_here() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let layer = &made.image.layers[0];
    let path = blob_path(&made.user.path("hello"), layer);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    registry.change("app", |repository| {
        drop(repository.blobs.insert(layer.clone(), bytes.clone()))
    });
    let ran = sync(
        &made.user,
        "hello:v1",
        &registry.at("app"),
        &["--allow", "missing"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn mounts_blobs_from_another_repository() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    assert_eq!(
        sync(&made.user, "hello:v1", &registry.at("first"), &[]).code,
        0
    );
    let ran = sync(
        &made.user,
        "hello:v1",
        &registry.at("second"),
        &["--mount-from", "nowhere", "--mount-from", "first"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["blobs"]["sent"], 0);
    assert!(ran.json()["blobs"]["mounted"].as_u64().unwrap() >= 4);
    assert_complete(&made, &registry, "second");
}

#[test]
fn takes_a_mount_that_nobody_asked_for() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        mounts_anonymously: true,
        ..Behaviour::default()
    });
    for (name, sent) in [("first", 6), ("second", 0)] {
        let ran = sync(&made.user, "hello:v1", &registry.at(name), &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.json()["blobs"]["sent"], sent, "{ran:?}");
        assert_complete(&made, &registry, name);
    }
}

#[test]
fn dry_run_writes_nothing_and_says_what_it_would() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        referrers_api: false,
        ..Behaviour::default()
    });
    let ran = sync(
        &made.user,
        "hello:v1",
        &registry.at("app:v2"),
        &["--dry-run"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    let plan = ran.json();
    assert_eq!(
        plan["tags"],
        serde_json::json!([{"tag": "v2", "now": null}])
    );
    assert_eq!(plan["manifests"].as_array().unwrap().len(), 3);
    assert!(
        registry
            .take_log()
            .iter()
            .all(|entry| matches!(entry.method.as_str(), "GET" | "HEAD"))
    );
}

#[test]
fn tags_are_moved_only_as_allowed() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let other = serde_json::json!({"schemaVersion": 2, "manifests": []})
        .to_string()
        .into_bytes();
    let digest = signetfs::oci::Digest::of(&other).to_string();
    registry.change("app", |repository| {
        repository.manifests.insert(
            digest.clone(),
            (
                signetfs::oci::media_type::IMAGE_INDEX.to_owned(),
                other.clone(),
            ),
        );
        repository.tags.insert("v1".to_owned(), digest.clone());
    });
    sync(
        &made.user,
        "hello:v1",
        &registry.at("app"),
        &["--tag-only-if-absent"],
    )
    .error(34);
    assert!(registry.repository("app").blobs.is_empty());
    registry.behave(|behaviour| behaviour.immutable_tags = true);
    sync(&made.user, "hello:v1", &registry.at("app"), &[]).error(34);
    assert_eq!(registry.repository("app").tags["v1"], digest);
    registry.behave(|behaviour| behaviour.immutable_tags = false);
    assert_eq!(
        sync(&made.user, "hello:v1", &registry.at("app"), &[]).code,
        0
    );
    assert_complete(&made, &registry, "app");
}

#[test]
fn several_tags_go_with_one_request_where_the_registry_can() {
    for (tag_parameter, puts) in [(true, 1), (false, 4)] {
        let made = signed();
        let layout = made.user.path("hello");
        let mut index = layouts::index(&layout);
        let entries = index["manifests"].as_array_mut().unwrap();
        let named = entries
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == "v1")
            .unwrap()
            .clone();
        for tag in ["latest", "v1.0"] {
            let mut entry = named.clone();
            entry["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
            entries.push(entry);
        }
        std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
        let registry = Registry::start(Behaviour {
            tag_parameter,
            ..Behaviour::default()
        });
        let ran = sync(&made.user, "hello", &registry.at("app"), &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_complete(&made, &registry, "app");
        let log = registry.take_log();
        assert_signed_when_tagged(&made, &log);
        let repository = registry.repository("app");
        for tag in ["v1", "latest", "v1.0"] {
            assert_eq!(repository.tags.get(tag), Some(&made.image.digest), "{tag}");
        }
        let is_tagging = |entry: &&Logged| {
            entry.method == "PUT"
                && entry.target.contains("/manifests/")
                && (entry.target.contains("tag=") || !entry.target.contains("sha256:"))
        };
        assert_eq!(log.iter().filter(is_tagging).count(), puts, "{log:?}");
        // A refusal of all is told of the one tag that cannot be moved.
        let other = layouts::Layout::new(&made.user.path("other")).image("v1", "other");
        registry.change("app", |repository| {
            repository.tags.remove("latest");
            repository
                .tags
                .insert("v1.0".to_owned(), other.digest.clone());
            repository
                .tags
                .insert("v1".to_owned(), other.digest.clone());
            repository
                .manifests
                .insert(other.digest.clone(), ("x/y".to_owned(), b"{}".to_vec()));
        });
        registry.behave(|behaviour| behaviour.immutable_tags = true);
        let ran = sync(&made.user, "hello", &registry.at("app"), &[]);
        assert!(ran.error(34).contains("v1"), "{ran:?}");
        assert_eq!(registry.repository("app").tags["v1"], other.digest);
    }
}

#[test]
fn usage_errors_are_told_before_anything_is_sent() {
    let user = User::new();
    user.with_key("wabbit-networks.io");
    layouts::single(&user.path("hello"));
    for (source, target) in [
        ("hello:v1", "nohost"),
        ("hello:v1", "127.0.0.1:1/UPPER:v1"),
        ("hello:v1", "127.0.0.1:1/a:b:c"),
        ("hello:v1", "127.0.0.1:1/a?x=y:v1"),
        ("hello:v1", "127.0.0.1:1/a@sha256:00"),
    ] {
        sync(&user, source, target, &[]).error(2);
    }
    sync(&user, "hello:v1", "127.0.0.1:1/a:v1", &["--allow", "fine"]).error(2);
    sync(
        &user,
        "hello:v1",
        "127.0.0.1:1/a:v1",
        &["--mount-from", "a b"],
    )
    .error(2);
}

#[test]
fn says_when_notation_will_refuse_there() {
    let made = signed();
    let policy = made.user.config().join("trustpolicy.json");
    let text = std::fs::read_to_string(&policy).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut narrow = document.clone();
    narrow["trustPolicies"][0]["registryScopes"] = serde_json::json!(["local/hello"]);
    std::fs::write(&policy, narrow.to_string()).unwrap();
    let registry = Registry::start(Behaviour::default());
    let target = registry.at("app");
    let warned = sync(&made.user, "hello:v1", &target, &[]);
    assert_eq!(warned.code, 0, "{warned:?}");
    assert!(
        warned
            .stderr
            .contains(&format!("no statement for {target}")),
        "{warned:?}"
    );
    narrow["trustPolicies"][0]["registryScopes"] = serde_json::json!(["local/hello", target]);
    std::fs::write(&policy, narrow.to_string()).unwrap();
    assert!(
        !sync(&made.user, "hello:v1", &target, &[])
            .stderr
            .contains("no statement")
    );
}
