use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use super::inode::{INDEX, POLICY, ROOT, SIGN, STATUS};
use super::*;
use crate::layout::{
    Extra, ExtraKind, FileFacts, IndexBytes, Listing, Stamp, StoredBlob, Timestamp,
};
use crate::notary::EnvelopeFormat;
use crate::oci::{Descriptor, Digest, UnixTime};
use crate::report::{
    ContentLevel, ImageReport, PolicyId, PolicyOrigin, Report, ScopeOrigin, SignatureReport,
    Verdict,
};

pub(super) const SETTINGS_CHANGED: Timestamp = time(1_000);

const fn time(seconds: i64) -> Timestamp {
    Timestamp {
        seconds,
        nanoseconds: 5,
    }
}

pub(super) fn facts(mode: u32, size: u64) -> FileFacts {
    FileFacts {
        uid: 7,
        gid: 8,
        mode,
        size,
        modified: time(2_000),
        changed: time(3_000),
    }
}

pub(super) fn listing(names: &[&str]) -> Listing {
    let mut extras = Vec::new();
    for name in names {
        extras.push(Extra {
            path: PathBuf::from(name),
            kind: ExtraKind::File,
            facts: facts(0o640, 3),
        });
    }
    extras.push(Extra {
        path: PathBuf::from("docs"),
        kind: ExtraKind::Directory,
        facts: facts(0o750, 4096),
    });
    extras.push(Extra {
        path: PathBuf::from("docs/link"),
        kind: ExtraKind::Link(PathBuf::from("../../outside")),
        facts: facts(0o777, 13),
    });
    Listing {
        root: Some(facts(0o755, 4096)),
        folders: ["blobs", "blobs/sha256"]
            .map(|path| (PathBuf::from(path), facts(0o755, 4096)))
            .to_vec(),
        oci_layout: Some(facts(0o644, 30)),
        blobs: Arc::new(vec![StoredBlob {
            digest: Digest::of(b"layer"),
            facts: facts(0o644, 5),
        }]),
        extras,
        ..Listing::default()
    }
}

pub(super) fn report(signatures: usize) -> Report {
    let signature = |number: usize| SignatureReport {
        manifest: Descriptor::new("m", Digest::of(&[number as u8]), 1),
        envelope: None,
        format: Some(EnvelopeFormat::Jws),
        bytes: Some(Arc::from(&b"envelope"[..])),
        intact: None,
        outcome: None,
        verdict: Verdict::Invalid,
        plain: true,
    };
    let mut signatures: Vec<_> = (0..signatures).map(signature).collect();
    signatures.sort_by(|one, other| one.manifest.digest.cmp(&other.manifest.digest));
    let image = ImageReport {
        descriptor: Descriptor::new("m", Digest::of(b"image"), 1),
        name: Some("v1".to_owned()),
        verdict: Verdict::Unsigned,
        statement: None,
        level: None,
        signatures,
        content_good: 0,
        content_total: 0,
        problems: Vec::new(),
        closure: Arc::default(),
    };
    let same_digest = ImageReport {
        name: Some("v2".to_owned()),
        ..image.clone()
    };
    Report {
        images: vec![image, same_digest],
        children: Vec::new(),
        problems: Vec::new(),
        policy: PolicyId {
            origin: PolicyOrigin::None,
            path: None,
            sha256: None,
            shadowed: false,
        },
        scope: None,
        scope_origin: ScopeOrigin::Name,
        content: ContentLevel::Full,
        notes: Vec::new(),
        leases: true,
        orphans: 0,
        extras: 0,
        refused: None,
        valid_until: None,
    }
}

pub(super) fn index() -> IndexBytes {
    IndexBytes {
        bytes: Arc::from(&b"{}"[..]),
        facts: facts(0o664, 2),
        stamp: Stamp::default(),
        settled: true,
    }
}

fn tree(listing: &Listing, report: &Report, policy: Option<&PolicyText>) -> Tree {
    build(&Material {
        listing,
        index: Some(&index()),
        links: None,
        report: &Arc::new(report.clone()),
        policy,
        sign: Some(Arc::default()),
        settings_changed: SETTINGS_CHANGED,
        now: UnixTime(5_000),
        owner: Owner { uid: 1, gid: 2 },
        root_mode: RootMode::Owner,
    })
}

pub(super) fn names(tree: &Tree, folder: u64) -> Vec<String> {
    let children = tree.children(folder).unwrap();
    children
        .iter()
        .map(|(name, _)| name.to_str().unwrap().to_owned())
        .collect()
}

pub(super) fn child(tree: &Tree, path: &str) -> Entry {
    let mut entry = tree.entry(ROOT).unwrap();
    for name in path.split('/') {
        entry = tree.child(entry.inode, OsStr::new(name)).unwrap();
    }
    entry
}

#[test]
fn the_root_has_the_layout_and_the_synthetic_files() {
    let tree = tree(&listing(&["manifest.json"]), &report(0), None);
    let expected = [
        "blobs",
        "docs",
        "index.json",
        "manifest.json",
        "oci-layout",
        "sign",
        "signatures",
        "verify-status",
        "verify-status.json",
    ];
    assert_eq!(names(&tree, ROOT), expected);
    for (name, inode) in [
        ("index.json", INDEX),
        ("sign", SIGN),
        ("verify-status", STATUS),
    ] {
        assert_eq!(child(&tree, name).inode, inode);
    }
    assert!(tree.entry(POLICY).is_none());
}

#[test]
fn stale_copies_of_synthetic_files_are_shadowed() {
    let stale = [
        "sign",
        "verify-status",
        "verify-status.json",
        "trustpolicy.json",
        "signatures/sha256-00/x.json",
        "images/v1/sign",
    ];
    let tree = tree(&listing(&stale), &report(0), None);
    assert!(!names(&tree, ROOT).iter().any(|name| name == "images"));
    assert!(
        tree.entry(POLICY).is_none(),
        "a policy from the layout is shown"
    );
    assert!(matches!(
        child(&tree, "verify-status").node,
        Node::Rendered(View::Status, _)
    ));
    assert!(matches!(
        child(&tree, "sign").node,
        Node::Control(Control::Sign, _)
    ));
}

#[test]
fn the_same_image_under_two_names_has_one_signature_folder() {
    let tree = tree(&listing(&[]), &report(2), None);
    let folder = Digest::of(b"image").folder_name().unwrap();
    let signatures = child(&tree, "signatures");
    assert_eq!(
        names(&tree, signatures.inode),
        std::slice::from_ref(&folder)
    );
    let files = names(&tree, child(&tree, &format!("signatures/{folder}")).inode);
    assert_eq!(files.len(), 4, "{files:?}");
    let hex = Digest::of(&[0]).hex();
    assert!(files.contains(&format!("{hex}.jws")) && files.contains(&format!("{hex}.json")));
}

#[test]
fn each_file_of_a_signature_is_found_by_its_name_alone() {
    let mut report = report(5);
    // One whose bytes were not kept, as those of a signature beyond a limit are.
    report
        .images
        .iter_mut()
        .for_each(|image| image.signatures[3].bytes = None);
    let tree = tree(&listing(&[]), &report, None);
    let path = format!("signatures/{}", Digest::of(b"image").folder_name().unwrap());
    let folder = child(&tree, &path).inode;
    let files = tree.children(folder).unwrap();
    assert_eq!(files.len(), 9);
    for (name, inode) in &files {
        let entry = tree.child(folder, name).unwrap();
        assert_eq!((entry.inode, entry.parent), (*inode, folder));
        let path = format!("{path}/{}", name.to_str().unwrap());
        assert_eq!(*inode, inode::of_path(path.as_bytes()));
        let is_envelope = path.ends_with(".jws");
        assert_eq!(
            matches!(entry.node, Node::Rendered(View::Signature, _)),
            is_envelope
        );
    }
    let hex = |number: usize| report.images[0].signatures[number].manifest.digest.hex();
    let absent = [
        format!("{}.jws", hex(3)),
        format!("{}.cose", hex(0)),
        // Nothing in it is known.
        format!("{}.pem", hex(0)),
        format!("{}.json", Digest::of(b"image").hex()),
        format!("{}.json", hex(0).to_uppercase()),
        hex(0),
    ];
    for name in absent {
        assert!(tree.child(folder, OsStr::new(&name)).is_none(), "{name}");
    }
}

#[test]
fn attributes_are_the_backing_files_without_write_bits() {
    let tree = tree(&listing(&["x"]), &report(0), None);
    let extra = child(&tree, "x").attributes;
    assert_eq!(
        (extra.mode, extra.uid, extra.gid, extra.size),
        (0o440, 7, 8, 3)
    );
    assert_eq!((extra.modified, extra.changed), (time(2_000), time(3_000)));
    let folder = child(&tree, "blobs").attributes;
    assert_eq!((folder.mode, folder.links), (0o555, 3));
    let root = tree.entry(ROOT).unwrap().attributes;
    assert_eq!((root.mode, root.uid, root.gid), (0o755, 1, 2));
    // blobs, docs, signatures.
    assert_eq!(root.links, 5);
    let link = child(&tree, "docs/link");
    assert!(matches!(&link.node, Node::Link(target) if target == "../../outside"));
    assert_eq!(link.attributes.size, 13);
}

#[test]
fn sizes_of_synthetic_files_are_true() {
    let policy = PolicyText {
        bytes: Arc::from(&b"{ policy }"[..]),
        written: None,
    };
    let tree = tree(&listing(&[]), &report(1), Some(&policy));
    for entry in tree.entries() {
        if let Some(bytes) = tree.bytes_of(&entry) {
            let size = tree.attributes_of(&entry).size;
            assert_eq!(size, bytes.len() as u64, "{}", entry.inode);
        }
    }
    assert_eq!(tree.entry(POLICY).unwrap().attributes.size, 10);
}

#[test]
fn a_synthetic_time_is_the_latest_input_and_differs_with_the_bytes() {
    let tree_of = |report: &Report, policy| tree(&listing(&[]), report, policy);
    let first = tree_of(&report(0), None);
    let status = child(&first, "verify-status").attributes;
    // index.json changed last.
    assert_eq!(status.modified.seconds, 3_000);
    assert_eq!(status.modified, status.changed);
    let again = tree_of(&report(0), None);
    assert_eq!(child(&again, "verify-status").attributes, status);
    let mut other = report(0);
    other.refused = Some("x".to_owned());
    let other = tree_of(&other, None);
    assert_ne!(
        child(&other, "verify-status").attributes.modified,
        status.modified
    );
    let policy = PolicyText {
        bytes: Arc::default(),
        written: Some(UnixTime(4_000)),
    };
    let written = tree_of(&report(0), Some(&policy));
    assert_eq!(child(&written, "sign").attributes.modified.seconds, 4_000);
}

#[test]
fn inode_numbers_do_not_depend_on_what_else_is_there() {
    let small = tree(&listing(&[]), &report(1), None);
    let large = tree(&listing(&["a", "b", "c"]), &report(1), None);
    let blob = format!("blobs/sha256/{}", Digest::of(b"layer").hex());
    for path in ["blobs", "docs/link", "signatures", "oci-layout", &blob] {
        assert_eq!(
            child(&small, path).inode,
            child(&large, path).inode,
            "{path}"
        );
    }
    assert_eq!(
        child(&small, &blob).inode,
        inode::of_digest(&Digest::of(b"layer"))
    );
}

#[test]
fn shared_mounts_let_the_kernel_pass_writers_on() {
    let listing = listing(&[]);
    let tree = build(&Material {
        listing: &listing,
        index: Some(&index()),
        links: None,
        report: &Arc::new(report(0)),
        policy: None,
        sign: Some(Arc::default()),
        settings_changed: SETTINGS_CHANGED,
        now: UnixTime(0),
        owner: Owner { uid: 1, gid: 2 },
        root_mode: RootMode::Shared,
    });
    assert_eq!(tree.entry(ROOT).unwrap().attributes.mode, 0o1777);
    assert_eq!(tree.entry(SIGN).unwrap().attributes.mode, 0o666);
}
