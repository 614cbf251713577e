//! What a push costs, counted: requests for each blob, and memory that does not grow with what is sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};
use signetfs::oci::{Algorithm, Hasher};

use super::{assert_complete, signed_with, sync};
use crate::registry::{Behaviour, Registry};
use crate::support::{User, layouts};

/// Lists an image of some layers as `v1`.
fn image(mut layout: layouts::Layout, layers: &[Value]) -> layouts::Image {
    let config = layout.descriptor(
        "application/vnd.oci.image.config.v1+json",
        br#"{"architecture":"amd64","os":"linux"}"#,
    );
    let digest = |value: &Value| value["digest"].as_str().unwrap().to_owned();
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    let mut entry = layout.document(MANIFEST, &manifest);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let made = layouts::Image {
        tag: "v1".to_owned(),
        digest: digest(&entry),
        config: digest(&config),
        layers: layers.iter().map(digest).collect(),
        platforms: Vec::new(),
        attestations: Vec::new(),
    };
    layout.list(entry);
    made
}

/// Makes an image of many small layers.
fn many(user: &User, count: usize) -> layouts::Image {
    let layout = layouts::Layout::new(&user.path("hello"));
    let layers: Vec<Value> = (0..count)
        .map(|layer| layout.descriptor(LAYER, format!("layer {layer}").as_bytes()))
        .collect();
    image(layout, &layers)
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

#[test]
fn a_blob_costs_three_requests() {
    for referrers_api in [true, false] {
        let made = signed_with(|user| many(user, 120));
        let registry = Registry::start(Behaviour {
            referrers_api,
            ..Behaviour::default()
        });
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_complete(&made, &registry, "app");
        let log = registry.take_log();
        let (of_blobs, others): (Vec<_>, Vec<_>) = log
            .iter()
            .partition(|entry| entry.target.contains("/blobs/"));
        let blobs = registry.repository("app").blobs.len();
        assert!(blobs > 120);
        assert!(of_blobs.len() <= 3 * blobs, "{} of {blobs}", of_blobs.len());
        let mut heads: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in of_blobs.iter().filter(|entry| entry.method == "HEAD") {
            *heads.entry(entry.target.as_str()).or_default() += 1;
        }
        assert!(heads.values().all(|count| *count == 1), "{heads:?}");
        // Three manifests, their tag and the referrers, each looked at before and after.
        assert!(others.len() <= 20, "{others:?}");
        // Nothing is asked twice of what was found to be there.
        let again = sync(
            &made.user,
            "hello:v1",
            &registry.at("other"),
            &["--mount-from", "app"],
        );
        assert_eq!(again.code, 0, "{again:?}");
        assert_eq!(again.json()["blobs"]["mounted"], blobs);
        let log = registry.take_log();
        let of_blobs = log.iter().filter(|entry| entry.target.contains("/blobs/"));
        assert!(of_blobs.count() <= 2 * blobs);
    }
}

/// Makes an image with one layer of zeros that takes no room on the disk.
fn sparse(user: &User, size: u64) -> layouts::Image {
    let root = user.path("hello");
    let layout = layouts::Layout::new(&root);
    let file = root.join("zeros");
    File::create(&file).unwrap().set_len(size).unwrap();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut reader = File::open(&file).unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let digest = hasher.finish().to_string();
    std::fs::rename(&file, layouts::blob_path(&root, &digest)).unwrap();
    image(
        layout,
        &[json!({"mediaType": LAYER, "digest": digest, "size": size})],
    )
}

/// Pushes an image with a layer of this size and returns the most memory that took, in KiB.
fn memory_of_a_push(size: u64, flags: &[&str]) -> u64 {
    let made = signed_with(|user| sparse(user, size));
    let registry = Registry::start(Behaviour::default());
    let target = registry.at("app");
    let mut arguments = vec!["sync", "--plain-http", "hello:v1", &target];
    arguments.extend(flags);
    let mut child = made
        .user
        .signetfs(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"))
            .and_then(|text| text.trim().parse().ok());
        most = most.max(peak.unwrap_or(0));
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    assert!(ended.success());
    assert!(
        registry
            .repository("app")
            .blobs
            .contains_key(&made.image.layers[0])
    );
    most
}

#[test]
fn memory_does_not_grow_with_a_blob() {
    for flags in [&[][..], &["--no-memory"]] {
        let small = memory_of_a_push(1 << 20, flags);
        let large = memory_of_a_push(128 << 20, flags);
        assert!(small > 1000, "{small}");
        assert!(
            large <= small + 4096,
            "{small} KiB for 1 MiB, {large} KiB for 128 MiB"
        );
    }
}

#[test]
fn signatures_go_ahead_where_their_list_has_to_be_looked_at_again() {
    let made = signed_with(|user| many(user, 20));
    let registry = Registry::start(Behaviour {
        referrers_api: false,
        ..Behaviour::default()
    });
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["referrers"]["tagWrites"], 1, "{ran:?}");
    assert_complete(&made, &registry, "app");
    let log = registry.take_log();
    let position = |method: &str, part: &str| {
        log.iter()
            .position(|entry| entry.method == method && entry.target.contains(part))
            .unwrap()
    };
    let listed = position("PUT", "/manifests/sha256-");
    let image = position("PUT", &format!("/manifests/{}", made.image.digest));
    assert!(listed < image, "{listed} {image}: {log:#?}");
    // And the list is read again between the image and its tag.
    let tag = position("PUT", "/manifests/v1");
    let is_look = |entry: &crate::registry::Logged| {
        entry.method == "GET" && entry.target.contains("/manifests/sha256-")
    };
    assert!(log[image..tag].iter().any(is_look), "{log:#?}");
}
