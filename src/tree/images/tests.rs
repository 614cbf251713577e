use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::oci::graph::Fetched;
use crate::oci::media_type::{IMAGE_INDEX, IMAGE_MANIFEST};
use crate::oci::{Digest, UnixTime};
use crate::report::{ImageReport, Report, Verdict};
use crate::tree::inode::ROOT;
use crate::tree::tests::{SETTINGS_CHANGED, child, index, listing, names, report};
use crate::tree::{Control, Entry, Material, Owner, RootMode, Tree, build, rebuild};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Is a layout that is never written.
#[derive(Default)]
struct Made {
    blobs: HashMap<Digest, Vec<u8>>,
    entries: Vec<Value>,
}

impl Made {
    fn put(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.blobs.insert(digest.clone(), bytes.to_vec());
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
    }

    fn document(&mut self, media_type: &str, document: &Value) -> Value {
        self.put(media_type, document.to_string().as_bytes())
    }

    fn image(&mut self, seed: &str, layers: usize) -> Value {
        let layers: Vec<Value> = (0..layers)
            .map(|number| self.put("layer", format!("{seed} {number}").as_bytes()))
            .collect();
        let config = self.put("config", seed.as_bytes());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        self.document(IMAGE_MANIFEST, &manifest)
    }

    fn index(&mut self, children: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "manifests": children });
        self.document(IMAGE_INDEX, &index)
    }

    fn list(&mut self, mut entry: Value, name: Option<&str>) -> Digest {
        if let Some(name) = name {
            entry["annotations"] = json!({ REF_NAME: name });
        }
        let digest = digest(&entry);
        self.entries.push(entry);
        digest
    }

    fn graph(&self) -> Graph {
        let top = json!({ "schemaVersion": 2, "manifests": self.entries });
        let top = ImageIndex::parse(top.to_string().as_bytes()).unwrap();
        Graph::read(
            &top,
            &mut |descriptor| match self.blobs.get(&descriptor.digest) {
                Some(bytes) => Fetched::Bytes(bytes.as_slice().into()),
                None => Fetched::Missing,
            },
        )
    }

    fn report(&self) -> Report {
        let model = report(0);
        let of = |image: &crate::oci::Image| ImageReport {
            descriptor: image.descriptor.clone(),
            name: image.name.clone(),
            ..model.images[0].clone()
        };
        Report {
            images: self.graph().images.iter().map(of).collect(),
            ..model.clone()
        }
    }

    fn tree(&self) -> Tree {
        tree(&self.graph(), &self.report())
    }
}

fn tree(graph: &Graph, report: &Report) -> Tree {
    build(&Material {
        listing: &listing(&["images/v1/sign", "images/stale"]),
        index: Some(&index()),
        links: Some(graph),
        report: &Arc::new(report.clone()),
        policy: None,
        sign: Some(Arc::default()),
        settings_changed: SETTINGS_CHANGED,
        now: UnixTime(5_000),
        owner: Owner { uid: 1, gid: 2 },
        root_mode: RootMode::Owner,
    })
}

fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

fn below(tree: &Tree, path: &str) -> Vec<String> {
    names(tree, child(tree, path).inode)
}

fn target(tree: &Tree, path: &str) -> String {
    let Node::Link(target) = &child(tree, path).node else {
        panic!("{path} is no link");
    };
    target.to_str().unwrap().to_owned()
}

/// Returns every entry below a folder by its path.
fn walk(tree: &Tree, folder: u64, path: &str) -> Vec<(String, Entry)> {
    let mut found = Vec::new();
    for (name, inode) in tree.children(folder).into_iter().flatten() {
        let path = format!("{path}/{}", name.to_str().unwrap());
        found.extend(walk(tree, inode, &path));
        found.push((path, tree.entry(inode).unwrap()));
    }
    found
}

#[test]
fn an_image_has_links_to_its_content_and_its_own_files() {
    let mut made = Made::default();
    let image = made.image("one", 2);
    let digest = made.list(image, Some("v1"));
    let tree = made.tree();
    assert_eq!(below(&tree, "images"), ["v1"]);
    let expected = [
        "config.json",
        "layers",
        "manifest.json",
        "sign",
        "signatures",
        "verify-status",
        "verify-status.json",
    ];
    assert_eq!(below(&tree, "images/v1"), expected);
    let manifest = target(&tree, "images/v1/manifest.json");
    assert_eq!(manifest, format!("../../blobs/sha256/{}", digest.hex()));
    let signatures = target(&tree, "images/v1/signatures");
    assert_eq!(
        signatures,
        format!("../../signatures/sha256-{}", digest.hex())
    );
    for (number, seed) in ["one 0", "one 1"].into_iter().enumerate() {
        let hex = Digest::of(seed.as_bytes()).hex();
        let path = format!("images/v1/layers/0{number}-{hex}");
        assert_eq!(target(&tree, &path), format!("../../../blobs/sha256/{hex}"));
    }
    let folder = child(&tree, "images/v1");
    assert_eq!(tree.ref_name(folder.inode), Some("v1"));
    let Node::Control(Control::SignImage(signed), _) = &child(&tree, "images/v1/sign").node else {
        panic!("not a control file");
    };
    assert_eq!(*signed, digest);
}

#[test]
fn each_folder_of_layers_has_its_own_links() {
    let mut made = Made::default();
    for seed in ["one", "two", "three"] {
        let image = made.image(seed, 12);
        made.list(image, Some(seed));
    }
    let tree = made.tree();
    let mut inodes = BTreeSet::new();
    for seed in ["one", "two", "three"] {
        let path = format!("images/{seed}/layers");
        let hex = |layer| Digest::of(format!("{seed} {layer}").as_bytes()).hex();
        let names: Vec<String> = (0..12)
            .map(|layer| format!("{layer:02}-{}", hex(layer)))
            .collect();
        assert_eq!(below(&tree, &path), names);
        for name in &names {
            inodes.insert(child(&tree, &format!("{path}/{name}")).inode);
        }
        let folder = child(&tree, &path).inode;
        for absent in [format!("12-{}", hex(11)), format!("01-{}", hex(2))] {
            assert!(tree.child(folder, OsStr::new(&absent)).is_none());
        }
    }
    assert_eq!(inodes.len(), 36);
}

#[test]
fn without_links_there_is_no_images_folder() {
    let tree = build(&Material {
        listing: &listing(&[]),
        index: Some(&index()),
        links: None,
        report: &Arc::new(report(0)),
        policy: None,
        sign: None,
        settings_changed: SETTINGS_CHANGED,
        now: UnixTime(0),
        owner: Owner { uid: 1, gid: 2 },
        root_mode: RootMode::Owner,
    });
    assert!(tree.child(ROOT, OsStr::new("images")).is_none());
}

#[test]
fn a_buildx_index_has_platforms_and_attestations() {
    let mut made = Made::default();
    let mut children: Vec<Value> = ["amd64", "arm64", "unknown"]
        .map(|architecture| made.image(architecture, 1))
        .to_vec();
    children[0]["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    children[1]["platform"] = json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
    children[2]["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let attestation = digest(&children[2]);
    let signed = digest(&children[1]);
    let entry = made.index(&children);
    made.list(entry, Some("v1"));
    let graph = made.graph();
    let mut found = made.report();
    found.children = vec![ImageReport {
        descriptor: Descriptor::new(IMAGE_MANIFEST, signed.clone(), 1),
        ..found.images[0].clone()
    }];
    let tree = tree(&graph, &found);
    let expected = [
        "attestations",
        "index.json",
        "platforms",
        "sign",
        "signatures",
        "verify-status",
        "verify-status.json",
    ];
    assert_eq!(below(&tree, "images/v1"), expected);
    let platforms = ["linux-amd64", "linux-arm64-v8"];
    assert_eq!(below(&tree, "images/v1/platforms"), platforms);
    let attestations = [attestation.hex()];
    assert_eq!(below(&tree, "images/v1/attestations"), attestations);
    let plain = ["config.json", "layers", "manifest.json"];
    assert_eq!(below(&tree, "images/v1/platforms/linux-amd64"), plain);
    // The signatures of a platform are shown where it has some.
    let link = target(&tree, "images/v1/platforms/linux-arm64-v8/signatures");
    let name = signed.folder_name().unwrap();
    assert_eq!(link, format!("../../../../signatures/{name}"));
    assert!(below(&tree, "signatures").contains(&name));
}

#[test]
fn every_link_leads_to_blobs_or_signatures() {
    let mut made = Made::default();
    let inner = made.image("inner", 3);
    let nested = made.index(std::slice::from_ref(&inner));
    let outer = made.index(&[nested, inner]);
    made.list(outer, Some("a/b"));
    let tree = made.tree();
    let images = child(&tree, "images").inode;
    let mut links = 0;
    for (path, entry) in walk(&tree, images, "images") {
        let Node::Link(target) = &entry.node else {
            continue;
        };
        links += 1;
        assert_eq!(entry.attributes.size as usize, target.as_os_str().len());
        // From the folder of the link up to the root, then down: never above the root.
        let up = path.split('/').count() - 1;
        let rest = target.strip_prefix("../".repeat(up)).unwrap();
        let known = ["blobs/sha256", "signatures"];
        assert!(known.iter().any(|start| rest.starts_with(start)), "{path}");
        assert!(!rest.components().any(|part| part.as_os_str() == ".."));
    }
    assert!(links > 10, "{links}");
}

#[test]
fn names_are_escaped_and_kept_raw_beside() {
    let long = "x".repeat(4096);
    let raw = ["..", ".", "/", "a/../b", "new\nline", "~", "%2F", &long];
    let mut made = Made::default();
    for (number, name) in raw.iter().enumerate() {
        let image = made.image(&number.to_string(), 1);
        made.list(image, Some(name));
    }
    // An empty name is none.
    let image = made.image("empty", 1);
    let untagged = made.list(image, Some(""));
    let tree = made.tree();
    let shown = below(&tree, "images");
    assert_eq!(shown.len(), raw.len() + 1);
    let cut = escape_file_name_of(&long);
    for name in [
        "%2E.",
        "%2E",
        "%2F",
        "a%2F..%2Fb",
        "new%0Aline",
        "%7E",
        "%252F",
        &cut,
    ] {
        assert!(shown.iter().any(|shown| shown == name), "{name}: {shown:?}");
    }
    assert!(shown.contains(&untagged.folder_name().unwrap()));
    assert!(shown.iter().all(|name| name.len() <= 255));
    let folder = child(&tree, &format!("images/{cut}"));
    assert_eq!(tree.ref_name(folder.inode), Some(long.as_str()));
    let folder = child(
        &tree,
        &format!("images/{}", untagged.folder_name().unwrap()),
    );
    assert_eq!(tree.ref_name(folder.inode), None);
}

fn escape_file_name_of(raw: &str) -> String {
    crate::text::escape_file_name(raw.as_bytes())
}

#[test]
fn equal_names_are_told_apart_by_digest() {
    let mut made = Made::default();
    let (one, other) = (made.image("one", 1), made.image("other", 1));
    let (one, other) = (made.list(one, Some("v1")), made.list(other, Some("v1")));
    // A tag that is spelled like the folder of an untagged image.
    let untagged = made.image("untagged", 1);
    let untagged = made.list(untagged, None);
    let spelled = made.image("spelled", 1);
    let folder = untagged.folder_name().unwrap();
    let spelled = made.list(spelled, Some(&folder));
    let short = |name: &str, digest: &Digest| format!("{name}~{}", &digest.hex()[..12]);
    let mut expected = [
        short("v1", &one),
        short("v1", &other),
        short(&folder, &untagged),
        short(&folder, &spelled),
    ];
    expected.sort();
    assert_eq!(below(&made.tree(), "images"), expected);
}

#[test]
fn equal_platforms_are_told_apart_and_missing_ones_have_a_name() {
    let mut made = Made::default();
    let mut children: Vec<Value> = ["a", "b", "c", "d"]
        .map(|seed| made.image(seed, 1))
        .to_vec();
    children[0]["platform"] = json!({ "os": "linux", "architecture": "arm", "variant": "v7" });
    children[1]["platform"] = json!({ "os": "linux", "architecture": "arm-v7" });
    children[2]["platform"] = json!({ "os": "../..", "architecture": "/etc" });
    // The same child again is the same folder.
    children.push(children[0].clone());
    let hex = |position: usize| digest(&children[position]).hex();
    let mut expected = [
        format!("linux-arm-v7~{}", &hex(0)[..12]),
        format!("linux-arm-v7~{}", &hex(1)[..12]),
        "%2E.%2F..-%2Fetc".to_owned(),
        format!("sha256-{}", hex(3)),
    ];
    expected.sort();
    let entry = made.index(&children);
    made.list(entry, Some("v1"));
    assert_eq!(below(&made.tree(), "images/v1/platforms"), expected);
}

#[test]
fn forged_short_digits_hide_no_image() {
    let digest = |last: u8| {
        let mut bytes = [7; 32];
        bytes[31] = last;
        Digest::Sha256(bytes)
    };
    let model = report(0).images[0].clone();
    let image = |last: u8, name: &str| ImageReport {
        descriptor: Descriptor::new("m", digest(last), 1),
        name: Some(name.to_owned()),
        ..model.clone()
    };
    let long = "/".repeat(200);
    let images = [
        image(1, "v1"),
        image(2, "v1"),
        image(1, &long),
        image(2, &long),
    ];
    let names: Vec<String> = names::of_images(&images).into_iter().flatten().collect();
    assert_eq!(names[0], "v1~070707070707");
    assert_eq!(names[1], format!("v1~{}", digest(2).hex()));
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), 4, "{names:?}");
    for name in &names[2..] {
        assert!(name.len() <= 255, "{name}");
        let start = name.split('~').next().unwrap();
        assert_eq!(start.len() % 3, 0, "cut within an escape: {name}");
    }
}

#[test]
fn a_missing_manifest_leaves_status_and_sign() {
    let mut made = Made::default();
    let image = made.image("one", 1);
    let digest = made.list(image, Some("v1"));
    made.blobs.remove(&digest);
    let expected = [
        "manifest.json",
        "sign",
        "signatures",
        "verify-status",
        "verify-status.json",
    ];
    assert_eq!(below(&made.tree(), "images/v1"), expected);
}

#[test]
fn nested_indexes_are_bounded() {
    let mut made = Made::default();
    let mut level = vec![made.image("leaf", 1)];
    // Sixteen levels of ten children each describe 10^16 paths.
    for depth in 0..14 {
        let children: Vec<Value> = (0..10)
            .map(|number| {
                let mut entry = level[0].clone();
                entry["platform"] =
                    json!({ "os": format!("{depth}"), "architecture": format!("{number}") });
                entry
            })
            .collect();
        level = vec![made.index(&children)];
    }
    made.list(level.remove(0), Some("deep"));
    let image = made.image("other", 1);
    made.list(image, Some("v1"));
    let tree = made.tree();
    assert!(tree.entries().count() <= IMAGE_ENTRIES_MAX + 100);
    let images = child(&tree, "images").inode;
    let depth = walk(&tree, images, "images")
        .iter()
        .map(|(path, _)| Path::new(path).components().count())
        .max();
    assert!(depth.unwrap() <= 4 + 2 * INDEX_DEPTH_MAX);
    // The image after it is complete.
    assert!(below(&tree, "images/v1").contains(&"layers".to_owned()));
}

#[test]
fn the_status_of_an_image_is_its_own_with_the_layouts_findings() {
    let mut made = Made::default();
    for name in ["good", "bad"] {
        let image = made.image(name, 1);
        made.list(image, Some(name));
    }
    let mut found = made.report();
    found.images[0].verdict = Verdict::Verified;
    found.images[1].verdict = Verdict::Corrupt;
    let line = |found: &Report, path: &str| {
        let tree = tree(&made.graph(), found);
        let bytes = tree.bytes_of(&child(&tree, path)).unwrap().to_vec();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(line(&found, "images/good/verify-status"), "verified");
    assert_eq!(line(&found, "images/bad/verify-status"), "corrupt");
    assert_eq!(line(&found, "verify-status"), "corrupt");
    found.problems.push(crate::report::Problem {
        verdict: Verdict::Ambiguous,
        file: None,
        digest: None,
        check: "tag",
        problem: "p".to_owned(),
        hint: String::new(),
    });
    assert_eq!(line(&found, "images/good/verify-status"), "ambiguous");
}

#[test]
fn inode_numbers_are_stable_and_that_of_sign_follows_the_digest() {
    let mut made = Made::default();
    let image = made.image("one", 2);
    made.list(image, Some("v1"));
    let before = made.tree();
    let other = made.image("other", 1);
    made.list(other, Some("a"));
    let after = made.tree();
    let images = child(&before, "images").inode;
    for (path, entry) in walk(&before, images, "images") {
        assert_eq!(child(&after, &path).inode, entry.inode, "{path}");
    }
    let mut moved = Made::default();
    let image = moved.image("two", 2);
    moved.list(image, Some("v1"));
    let moved = moved.tree();
    let inode = |tree: &Tree, path: &str| child(tree, path).inode;
    assert_ne!(
        inode(&before, "images/v1/sign"),
        inode(&moved, "images/v1/sign")
    );
    for path in ["images/v1/layers", "images/v1/manifest.json"] {
        assert_eq!(inode(&before, path), inode(&moved, path));
        assert_ne!(
            before.attributes_of(&child(&before, path)).modified,
            moved.attributes_of(&child(&moved, path)).modified,
            "{path}"
        );
    }
}

#[test]
fn what_lies_beyond_all_bounds_is_absent_from_images_alone() {
    let mut made = Made::default();
    // Sixteen images of more entries than one may show, and one after them.
    let mut level = vec![made.image("leaf", 1)];
    for depth in 0..5 {
        let children: Vec<Value> = (0..16)
            .map(|number| {
                let mut entry = level[0].clone();
                let platform =
                    json!({ "os": format!("{depth}"), "architecture": format!("{number}") });
                entry["platform"] = platform;
                entry
            })
            .collect();
        level = vec![made.index(&children)];
    }
    for number in 10..26 {
        made.list(level[0].clone(), Some(&format!("v{number}")));
    }
    let image = made.image("last", 1);
    made.list(image, Some("v99"));
    let graph = made.graph();
    let plain = tree(&graph, &made.report());
    let images = child(&plain, "images").inode;
    let shown = walk(&plain, images, "images").len();
    assert!(
        shown <= ENTRIES_MAX && shown > ENTRIES_MAX - IMAGE_ENTRIES_MAX,
        "{shown}"
    );
    let own = ["sign", "signatures", "verify-status", "verify-status.json"];
    assert_eq!(below(&plain, "images/v99"), own, "no links to content");
    // Statuses of megabytes each take no room: they are rendered when they are asked for.
    let mut made = Made::default();
    for number in 10..26 {
        let image = made.image(&number.to_string(), 1);
        made.list(image, Some(&format!("v{number}")));
    }
    let image = made.image("last", 1);
    let last = made.list(image, Some("v99"));
    let mut found = made.report();
    for image in &mut found.images {
        image.problems.push(crate::report::Problem {
            verdict: Verdict::Missing,
            file: None,
            digest: None,
            check: "present",
            problem: "x".repeat(3 << 20),
            hint: String::new(),
        });
    }
    let full = tree(&made.graph(), &found);
    assert!(below(&full, "images/v10").contains(&"verify-status".to_owned()));
    let shown = below(&full, "images/v99");
    assert!(shown.contains(&"verify-status".to_owned()), "{shown:?}");
    let own = child(&full, "images/v99/verify-status");
    assert!(full.attributes_of(&own).size > 3 << 20);
    assert!(shown.contains(&"layers".to_owned()), "{shown:?}");
    // The layout and the status of the root are whole.
    let Node::Rendered(_, status) = &child(&full, "verify-status").node else {
        panic!("not a status");
    };
    assert!(String::from_utf8_lossy(status).contains(&last.to_string()));
}

#[test]
fn a_tree_made_again_is_the_tree_made_anew() {
    let mut made = Made::default();
    for name in ["one", "two"] {
        let image = made.image(name, 2);
        made.list(image, Some(name));
    }
    let graph = made.graph();
    let before = made.report();
    let mut after = made.report();
    after.images[0].verdict = Verdict::Corrupt;
    after.refused = Some("because".to_owned());
    let (listing, index) = (listing(&["docs"]), index());
    let (before, after) = (Arc::new(before), Arc::new(after));
    let material = |report, text: &'static [u8]| Material {
        listing: &listing,
        index: Some(&index),
        links: Some(&graph),
        report,
        policy: None,
        sign: Some(Arc::from(text)),
        settings_changed: SETTINGS_CHANGED,
        now: UnixTime(5_000),
        owner: Owner { uid: 1, gid: 2 },
        root_mode: RootMode::Owner,
    };
    let shown = |tree: &Tree| {
        let mut shown = walk(tree, ROOT, "")
            .into_iter()
            .map(|(path, entry)| {
                let attributes = tree.attributes_of(&entry);
                (path, entry.inode, attributes, tree.bytes_of(&entry))
            })
            .collect::<Vec<_>>();
        shown.sort_by(|one, other| one.0.cmp(&other.0));
        shown
    };
    let old = build(&material(&before, b""));
    let again = rebuild(&material(&after, b"# because\n"), &old);
    assert!(again.shares_with(&old));
    assert_ne!(shown(&again), shown(&old));
    assert_eq!(
        shown(&again),
        shown(&build(&material(&after, b"# because\n")))
    );
    let root = |tree: &Tree| tree.entry(ROOT).unwrap().attributes;
    assert_eq!(root(&again), root(&old));
    let mut fewer = (*after).clone();
    fewer.images.pop();
    let fewer = Arc::new(fewer);
    assert!(!rebuild(&material(&fewer, b""), &old).shares_with(&old));
}
