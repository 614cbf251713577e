use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::layout::{
    Blob, Directory, Extra, ExtraKind, FileFacts, Memory, Stamp, StoredBlob, Timestamp,
};
use crate::oci::NoProgress;
use crate::report::{PolicyOrigin, Verdict};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const NOTARY: &str = "application/vnd.cncf.notary.signature";

/// Is a layout in memory.
#[derive(Default)]
struct Made {
    entries: Vec<Value>,
    index: Option<Vec<u8>>,
    blobs: BTreeMap<Digest, Arc<[u8]>>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

const FACTS: FileFacts = FileFacts {
    uid: 0,
    gid: 0,
    mode: 0o644,
    size: 0,
    modified: Timestamp {
        seconds: 0,
        nanoseconds: 0,
    },
    changed: Timestamp {
        seconds: 0,
        nanoseconds: 0,
    },
};

impl Source for Made {
    fn stamp(&self) -> Result<Stamp, SourceError> {
        Ok(Stamp::default())
    }
    fn index(&self) -> Result<IndexBytes, SourceError> {
        let made = json!({ "schemaVersion": 2, "manifests": self.entries });
        let bytes = self
            .index
            .clone()
            .unwrap_or_else(|| made.to_string().into_bytes());
        Ok(IndexBytes {
            bytes: bytes.into(),
            facts: FACTS,
            stamp: Stamp::default(),
            settled: true,
        })
    }
    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, SourceError> {
        Ok(self.blobs.get(digest).cloned().map(Blob::Bytes))
    }
    fn listing(&self) -> Result<Listing, SourceError> {
        let stored = |digest: &Digest| StoredBlob {
            digest: digest.clone(),
            facts: FACTS,
        };
        let extra = |path: &PathBuf| Extra {
            path: path.clone(),
            kind: ExtraKind::File,
            facts: FACTS,
        };
        let extras = self
            .files
            .keys()
            .filter(|path| *path != Path::new("oci-layout"));
        Ok(Listing {
            blobs: std::sync::Arc::new(self.blobs.keys().map(stored).collect()),
            extras: extras.map(extra).collect(),
            ..Listing::default()
        })
    }
    fn file(&self, path: &Path) -> Result<Option<Blob>, SourceError> {
        let bytes = self.files.get(path);
        Ok(bytes.map(|bytes| Blob::Bytes(Arc::from(bytes.as_slice()))))
    }
}

impl Made {
    fn put(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.blobs.insert(digest.clone(), Arc::from(bytes));
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
    }

    /// Writes the layout into a folder.
    fn write(&self, folder: &Path) {
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(folder.join("index.json"), &self.index().unwrap().bytes).unwrap();
        for (digest, bytes) in &self.blobs {
            std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        }
    }

    /// Adds a manifest whose config and layers hold these texts; returns its descriptor.
    fn manifest(&mut self, config: &str, layers: &[&str]) -> Value {
        let config = self.put(
            "application/vnd.oci.image.config.v1+json",
            config.as_bytes(),
        );
        let layers = layers
            .iter()
            .map(|layer| self.put(LAYER, layer.as_bytes()))
            .collect::<Vec<_>>();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.put(MANIFEST, manifest.to_string().as_bytes())
    }

    fn entry(&mut self, mut descriptor: Value, name: Option<&str>) {
        if let Some(name) = name {
            descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        self.entries.push(descriptor);
    }

    fn image(&mut self, name: &str, config: &str, layers: &[&str]) -> Digest {
        let descriptor = self.manifest(config, layers);
        self.entry(descriptor.clone(), Some(name));
        digest_in(&descriptor)
    }

    /// Adds a signature manifest of a subject, with these envelopes.
    fn signature(&mut self, subject: &Value, envelopes: &[&str]) {
        let config = self.put(NOTARY, b"{}");
        let layers = envelopes
            .iter()
            .map(|envelope| self.put("application/jose+json", envelope.as_bytes()))
            .collect::<Vec<_>>();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, "subject": subject });
        let descriptor = self.put(MANIFEST, manifest.to_string().as_bytes());
        self.entry(descriptor, None);
    }
}

fn digest_in(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

fn policy(level: &str) -> PolicyState {
    let mut statement = json!({ "name": "p", "registryScopes": ["*"], "signatureVerification": { "level": level } });
    if level != "skip" {
        statement["trustStores"] = json!(["ca:s"]);
        statement["trustedIdentities"] = json!(["*"]);
    }
    let document = json!({ "version": "1.0", "trustPolicies": [statement] });
    PolicyState::Valid(Policy::parse(document.to_string().as_bytes()).unwrap())
}

fn ask(
    made: &dyn Source,
    policy: PolicyState,
    images: Selection,
    content: Content,
) -> Result<Report, AuditError> {
    let trust = Trust {
        policy,
        id: PolicyId {
            origin: PolicyOrigin::Config,
            path: None,
            sha256: None,
            shadowed: false,
        },
        anchors: Anchors::default(),
    };
    let scope = Scope::parse("local/x").unwrap();
    let metadata = BTreeMap::new();
    let asked = Asked {
        source: made,
        trust: &trust,
        scope: Some(&scope),
        scope_origin: ScopeOrigin::Name,
        images,
        content,
        max_signatures: 3,
        metadata: &metadata,
    };
    audit(
        &asked,
        &Hashes::new(Memory::None),
        UnixTime(1_800_000_000),
        &NoProgress,
    )
}

fn skip(made: &Made) -> Report {
    ask(made, policy("skip"), Selection::All, Content::Full).unwrap()
}

fn strict(made: &Made) -> Report {
    ask(made, policy("strict"), Selection::All, Content::Full).unwrap()
}

#[test]
fn an_empty_layout_is_empty() {
    assert_eq!(skip(&Made::default()).verdict(), Verdict::Empty);
}

#[test]
fn a_sound_image_under_skip_is_skipped_and_counted() {
    let mut made = Made::default();
    made.image("v1", "{}", &["one", "two"]);
    let report = skip(&made);
    assert_eq!(report.verdict(), Verdict::Skipped, "{}", report.text());
    let image = &report.images[0];
    assert_eq!((image.content_good, image.content_total), (4, 4));
    assert_eq!((report.orphans, report.extras), (0, 0));
    assert_eq!(image.closure.len(), 4);
}

#[test]
fn unsigned_is_unsigned_with_or_without_a_policy() {
    let mut made = Made::default();
    made.image("v1", "{}", &["one"]);
    assert_eq!(strict(&made).verdict(), Verdict::Unsigned);
    let without = ask(&made, PolicyState::None, Selection::All, Content::Full).unwrap();
    assert_eq!(without.verdict(), Verdict::Unsigned);
}

#[test]
fn broken_documents_make_the_layout_invalid() {
    for index in [
        "",
        "[]",
        "{\"manifests\":[],\"manifests\":[]}",
        "{\"manifests\":5}",
    ] {
        let made = Made {
            index: Some(index.as_bytes().to_vec()),
            ..Made::default()
        };
        assert_eq!(skip(&made).verdict(), Verdict::LayoutInvalid, "{index}");
    }
}

#[test]
fn only_version_1_0_0_of_oci_layout_is_read_and_absence_is_fine() {
    let mut made = Made::default();
    made.image("v1", "{}", &[]);
    for (text, verdict) in [
        (
            "{\"imageLayoutVersion\":\"1.0.0\",\"x\":1}",
            Verdict::Skipped,
        ),
        ("{\"imageLayoutVersion\":\"1.1.0\"}", Verdict::LayoutInvalid),
        // To notation this is version 2.0.0.
        (
            "{\"imageLayoutVersion\":\"1.0.0\",\"ImageLayoutVersion\":\"2.0.0\"}",
            Verdict::LayoutInvalid,
        ),
        ("{}", Verdict::LayoutInvalid),
        ("x", Verdict::LayoutInvalid),
    ] {
        made.files.insert("oci-layout".into(), text.into());
        assert_eq!(skip(&made).verdict(), verdict, "{text}");
    }
}

#[test]
fn content_problems_outrank_skip() {
    let lost = |made: &mut Made| drop(made.blobs.remove(&Digest::of(b"one")));
    let changed = |made: &mut Made| {
        made.blobs.insert(Digest::of(b"one"), Arc::from(*b"two"));
    };
    let longer = |made: &mut Made| {
        made.blobs.insert(Digest::of(b"one"), Arc::from(*b"ones"));
    };
    for (harm, verdict) in [
        (&lost as &dyn Fn(&mut Made), Verdict::Missing),
        (&changed, Verdict::Corrupt),
        (&longer, Verdict::Corrupt),
    ] {
        let mut made = Made::default();
        made.image("v1", "{}", &["one"]);
        harm(&mut made);
        let report = skip(&made);
        assert_eq!(report.verdict(), verdict);
        assert_eq!(report.images[0].content_good, 2);
        assert_eq!(
            report.images[0].problems[0].digest,
            Some(Digest::of(b"one"))
        );
    }
}

#[test]
fn a_lost_or_changed_manifest_is_told() {
    let mut made = Made::default();
    let digest = made.image("v1", "{}", &["one"]);
    let bytes = made.blobs.remove(&digest).unwrap();
    assert_eq!(skip(&made).verdict(), Verdict::Missing);
    let mut other = bytes.to_vec();
    other[3] ^= 1;
    made.blobs.insert(digest, other.into());
    assert_eq!(skip(&made).verdict(), Verdict::Corrupt);
}

#[test]
fn a_manifest_that_is_no_json_to_any_reader_is_corrupt() {
    for (bytes, word) in [
        (&b"\x1f\x8b\x08\0\0"[..], "gzip"),
        (b"\x28\xb5\x2f\xfd\0", "zstd"),
        (b"<html>not found</html>", "HTML"),
        (b" \n", "empty"),
    ] {
        let mut made = Made::default();
        let descriptor = made.put(MANIFEST, bytes);
        made.entry(descriptor, Some("v1"));
        for report in [skip(&made), strict(&made)] {
            assert_eq!(report.verdict(), Verdict::Corrupt, "{word}");
            let problem = &report.images[0].problems[0].problem;
            assert!(problem.contains(word), "{problem}");
        }
    }
    // What one reader may take for a document and another not.
    for bytes in [
        "\u{feff}{}",
        "/**/{}",
        "{} {}",
        "{\"a\":1,\"a\":2}",
        "{",
        "\0{\0}",
    ] {
        let mut made = Made::default();
        let descriptor = made.put(MANIFEST, bytes.as_bytes());
        made.entry(descriptor, Some("v1"));
        assert_eq!(strict(&made).verdict(), Verdict::Ambiguous, "{bytes:?}");
    }
}

#[test]
fn what_cannot_be_hashed_is_unsupported() {
    let mut made = Made::default();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": { "mediaType": "a/b", "digest": "blake3:0011", "size": 1 }, "layers": [],
    });
    let descriptor = made.put(MANIFEST, manifest.to_string().as_bytes());
    made.entry(descriptor, Some("v1"));
    assert_eq!(skip(&made).verdict(), Verdict::Unsupported);
}

#[test]
fn an_external_layer_is_missing() {
    let mut made = Made::default();
    let config = made.put("a/b", b"{}");
    let layer = json!({ "mediaType": LAYER, "digest": Digest::of(b"far").to_string(), "size": 3, "urls": ["http://x/y"] });
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let descriptor = made.put(MANIFEST, manifest.to_string().as_bytes());
    made.entry(descriptor, Some("v1"));
    let report = skip(&made);
    assert_eq!(report.verdict(), Verdict::Missing);
    assert!(report.text().contains("missing, external"));
}

#[test]
fn embedded_data_must_be_the_content() {
    let mut made = Made::default();
    let mut config = made.put("a/b", b"{}");
    config["data"] = json!("e31=");
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
    let descriptor = made.put(MANIFEST, manifest.to_string().as_bytes());
    made.entry(descriptor, Some("v1"));
    assert_ne!(skip(&made).verdict(), Verdict::Skipped);
}

#[test]
fn one_name_on_two_digests_is_ambiguous_by_tag_and_clear_by_digest() {
    let mut made = Made::default();
    made.image("v1", "{}", &["one"]);
    let second = made.image("v1", "{}", &["two"]);
    made.image("v2", "{}", &["three"]);
    assert_eq!(skip(&made).verdict(), Verdict::Ambiguous);
    let by = |selection| {
        ask(&made, policy("skip"), selection, Content::Full)
            .unwrap()
            .verdict()
    };
    assert_eq!(by(Selection::Tag("v1".to_owned())), Verdict::Ambiguous);
    assert_eq!(by(Selection::Tag("v2".to_owned())), Verdict::Skipped);
    assert_eq!(by(Selection::Digest(second)), Verdict::Skipped);
}

#[test]
fn selects_children_by_digest_and_refuses_what_is_not_there() {
    let mut made = Made::default();
    let child = made.manifest("{}", &["one"]);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] });
    let descriptor = made.put(INDEX, index.to_string().as_bytes());
    made.entry(descriptor, Some("v1"));
    let report = ask(
        &made,
        policy("skip"),
        Selection::Digest(digest_in(&child)),
        Content::Full,
    )
    .unwrap();
    assert_eq!(report.verdict(), Verdict::Skipped);
    assert_eq!(report.images[0].descriptor.media_type, MANIFEST);
    for selection in [
        Selection::Tag("v2".to_owned()),
        Selection::Digest(Digest::of(b"nothing")),
    ] {
        let result = ask(&made, policy("skip"), selection, Content::Full);
        assert!(matches!(result, Err(AuditError::NotFound { .. })));
    }
}

#[test]
fn known_content_is_pending_until_hashed() {
    let mut made = Made::default();
    made.image("v1", "{}", &["one"]);
    let folder = tempfile::tempdir().unwrap();
    made.write(folder.path());
    let directory = Directory::open(folder.path()).unwrap();
    for (content, verdict) in [
        (Content::Known, Verdict::Pending),
        (Content::Manifests, Verdict::Skipped),
        (Content::Full, Verdict::Skipped),
    ] {
        let report = ask(&directory, policy("skip"), Selection::All, content).unwrap();
        assert_eq!(report.verdict(), verdict, "{content:?}");
        let manifests_only = report.text().contains("content=manifests");
        assert_eq!(manifests_only, content == Content::Manifests);
    }
}

#[test]
fn signatures_are_told_apart_from_no_signature() {
    let mut made = Made::default();
    let descriptor = made.manifest("{}", &["one"]);
    made.entry(descriptor.clone(), Some("v1"));
    made.signature(&descriptor, &["not an envelope"]);
    let report = strict(&made);
    assert_eq!(report.verdict(), Verdict::Invalid, "{}", report.text());
    assert_eq!(report.images.len(), 1);
    assert_eq!(report.images[0].signatures.len(), 1);
    assert_eq!(report.orphans, 0);
    let without = ask(&made, PolicyState::None, Selection::All, Content::Full).unwrap();
    assert_eq!(without.verdict(), Verdict::NoPolicy);
    assert_eq!(skip(&made).verdict(), Verdict::Skipped);
}

#[test]
fn a_signature_manifest_needs_exactly_one_envelope() {
    let mut made = Made::default();
    let descriptor = made.manifest("{}", &["one"]);
    made.entry(descriptor.clone(), Some("v1"));
    made.signature(&descriptor, &["one", "two"]);
    made.signature(&descriptor, &[]);
    let report = strict(&made);
    assert_eq!(report.verdict(), Verdict::Invalid);
    assert_eq!(report.images[0].signatures.len(), 2);
}

#[test]
fn a_subject_of_another_size_or_type_is_no_signature_of_the_image() {
    for (member, value) in [("size", json!(1)), ("mediaType", json!(INDEX))] {
        let mut made = Made::default();
        let descriptor = made.manifest("{}", &["one"]);
        made.entry(descriptor.clone(), Some("v1"));
        let mut other = descriptor.clone();
        other[member] = value;
        made.signature(&other, &["x"]);
        assert_eq!(strict(&made).verdict(), Verdict::Unsigned, "{member}");
    }
}

#[test]
fn more_signatures_than_allowed_without_a_good_one_is_limit() {
    let mut made = Made::default();
    let descriptor = made.manifest("{}", &["one"]);
    made.entry(descriptor.clone(), Some("v1"));
    for envelope in ["a", "b", "c"] {
        made.signature(&descriptor, &[envelope]);
    }
    assert_eq!(strict(&made).verdict(), Verdict::Invalid);
    made.signature(&descriptor, &["d"]);
    let report = strict(&made);
    assert_eq!(report.verdict(), Verdict::Limit);
    assert_eq!(report.images[0].signatures.len(), 4);
    assert!(report.text().contains("signatures=0/4"));
}

#[test]
fn a_refused_policy_is_told_first() {
    let mut made = Made::default();
    made.image("v1", "{}", &["one"]);
    let refused = PolicyState::Invalid(InvalidPolicy::File("is a symlink".to_owned()));
    let report = ask(&made, refused, Selection::All, Content::Full).unwrap();
    assert_eq!(report.verdict(), Verdict::PolicyInvalid);
    assert_eq!(report.images.len(), 1);
}

#[test]
fn counts_what_nothing_covers() {
    let mut made = Made::default();
    made.image("v1", "{}", &["one"]);
    made.put("x/y", b"orphan");
    for name in ["README", "verify-status", "signatures"] {
        made.files.insert(name.into(), Vec::new());
    }
    let report = skip(&made);
    assert!(
        report.text().ends_with("\norphans=1 extras=1\n"),
        "{}",
        report.text()
    );
    assert_eq!(report.verdict(), Verdict::Skipped);
}

#[test]
fn a_blob_that_two_images_describe_otherwise_is_judged_as_each_describes_it() {
    let mut made = Made::default();
    made.image("sound", "{}", &["one", "two"]);
    let config = made.put("application/vnd.oci.image.config.v1+json", b"{}");
    let mut layer = made.put(LAYER, b"one");
    layer["size"] = json!(4);
    let other = made.put(LAYER, b"two");
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer, other] });
    let descriptor = made.put(MANIFEST, manifest.to_string().as_bytes());
    made.entry(descriptor, Some("wrong"));
    made.image("again", "{ }", &["two", "one"]);
    let report = skip(&made);
    let found = report.images.iter().map(|image| {
        let name = image.name.as_deref().unwrap_or_default();
        (name, image.verdict, image.content_good, image.content_total)
    });
    let wanted = [
        ("sound", Verdict::Skipped, 4, 4),
        ("wrong", Verdict::Corrupt, 3, 4),
        ("again", Verdict::Skipped, 4, 4),
    ];
    assert_eq!(found.collect::<Vec<_>>(), wanted);
}

#[test]
fn many_images_keep_their_order_and_each_its_own_verdict() {
    let mut made = Made::default();
    for number in 0..200 {
        let layer = format!("layer {number}");
        made.image(&format!("v{number:03}"), "{}", &[&layer]);
    }
    made.blobs.remove(&Digest::of(b"layer 137"));
    let report = skip(&made);
    for (number, image) in report.images.iter().enumerate() {
        assert_eq!(
            image.name.as_deref(),
            Some(format!("v{number:03}").as_str())
        );
        let expected = if number == 137 {
            Verdict::Missing
        } else {
            Verdict::Skipped
        };
        assert_eq!(image.verdict, expected, "{number}");
    }
    assert_eq!(report.text(), skip(&made).text());
    assert_eq!(report.json(), skip(&made).json());
}

#[test]
fn very_many_names_of_a_broken_image_do_not_repeat_its_problems_without_end() {
    let mut made = Made::default();
    let layers = (0..200).map(|n| n.to_string()).collect::<Vec<_>>();
    let layers = layers.iter().map(String::as_str).collect::<Vec<_>>();
    let descriptor = made.manifest("{}", &layers);
    for layer in layers {
        made.blobs.remove(&Digest::of(layer.as_bytes()));
    }
    for number in 0..150 {
        made.entry(descriptor.clone(), Some(&format!("v{number}")));
    }
    let report = skip(&made);
    assert_eq!(report.images.len(), 150);
    assert!(
        report
            .images
            .iter()
            .all(|image| image.verdict == Verdict::Missing)
    );
    let problems: usize = report.images.iter().map(|image| image.problems.len()).sum();
    // The first 66 of each, so that all together stay below the limit.
    assert_eq!(report.images[0].problems.len(), 66);
    assert_eq!(problems, 9_900);
}

mod docker_archives {
    use super::*;

    fn path(text: &str) -> String {
        format!("blobs/sha256/{}", Digest::of(text.as_bytes()).hex())
    }

    /// A layout with the images v1 (config `a`, layers `1`, `2`) and v2 (config `b`, layer `3`).
    fn made() -> Made {
        let mut made = Made::default();
        made.image("v1", "a", &["1", "2"]);
        made.image("v2", "b", &["3"]);
        made
    }

    fn verdict_with(name: &str, text: &str) -> Verdict {
        let mut made = made();
        made.files.insert(name.into(), text.into());
        skip(&made).verdict()
    }

    fn verdict(entries: Value) -> Verdict {
        verdict_with("manifest.json", &entries.to_string())
    }

    #[test]
    fn agreement_is_fine() {
        for layers in [
            vec![path("1"), path("2")],
            vec![format!("./{}", path("1")), path("2")],
        ] {
            let entry =
                json!([{ "Config": path("a"), "RepoTags": ["hello:v1"], "Layers": layers }]);
            assert_eq!(verdict(entry), Verdict::Skipped);
        }
        assert_eq!(verdict(json!([])), Verdict::Skipped);
        assert_eq!(
            verdict(json!([{ "Config": path("b"), "RepoTags": null, "Layers": [path("3")] }])),
            Verdict::Skipped
        );
    }

    #[test]
    fn other_blobs_or_a_mix_are_ambiguous() {
        for (config, layers) in [
            ("b", vec!["1", "2"]),
            ("a", vec!["2", "1"]),
            ("a", vec!["1"]),
            ("a", vec!["1", "2", "3"]),
            ("a", vec!["x", "y"]),
            ("x", vec!["1", "2"]),
        ] {
            let layers = layers.into_iter().map(path).collect::<Vec<_>>();
            let entry =
                json!([{ "Config": path(config), "RepoTags": ["hello:v1"], "Layers": layers }]);
            assert_eq!(verdict(entry.clone()), Verdict::Ambiguous, "{entry}");
        }
    }

    #[test]
    fn a_tag_on_another_image_is_ambiguous() {
        let entry =
            json!([{ "Config": path("b"), "RepoTags": ["hello:v1"], "Layers": [path("3")] }]);
        assert_eq!(verdict(entry), Verdict::Ambiguous);
    }

    #[test]
    fn what_readers_may_understand_differently_is_ambiguous() {
        let (config, layer) = (path("b"), path("3"));
        for text in [
            format!(
                "[{{\"Config\":\"{config}\",\"Config\":\"{config}\",\"Layers\":[\"{layer}\"]}}]"
            ),
            format!(
                "[{{\"config\":\"{config}\",\"Config\":\"{config}\",\"Layers\":[\"{layer}\"]}}]"
            ),
            format!("[{{\"Config\":\"{config}\",\"Layers\":[\"{layer}\"]}}] []"),
            "[{}]".to_owned(),
            "[1]".to_owned(),
            "[{\"Config\":\"manifest.json\",\"Layers\":[]}]".to_owned(),
            "no json".to_owned(),
        ] {
            assert_eq!(
                verdict_with("manifest.json", &text),
                Verdict::Ambiguous,
                "{text}"
            );
        }
    }

    #[test]
    fn repositories_must_name_the_image_too() {
        let with = |tag: &str, id: &str| {
            let hex = Digest::of(id.as_bytes()).hex();
            verdict_with(
                "repositories",
                &json!({ "hello": { tag: hex } }).to_string(),
            )
        };
        assert_eq!(with("v1", "2"), Verdict::Skipped);
        assert_eq!(with("v1", "a"), Verdict::Skipped);
        assert_eq!(with("v1", "3"), Verdict::Ambiguous);
        assert_eq!(with("other", "3"), Verdict::Skipped);
        assert_eq!(with("other", "unknown"), Verdict::Ambiguous);
    }

    #[test]
    fn a_folder_that_docker_loads_as_an_image_is_ambiguous() {
        let id = "0123456789abcdef".repeat(4);
        let with = |names: &[&str]| {
            let mut made = made();
            for name in names {
                made.files
                    .insert(name.replace("ID", &id).into(), "[]".into());
            }
            skip(&made).verdict()
        };
        for names in [
            &["repositories", "ID/VERSION", "ID/json", "ID/layer.tar"][..],
            &["ID/json", "ID/layer.tar"],
            &["ID/json"],
            &["ID/layer.tar"],
            &["named/json", "named/layer.tar"],
        ] {
            assert_eq!(with(names), Verdict::Ambiguous, "{names:?}");
        }
        for names in [
            &["manifest.json", "ID/json", "ID/layer.tar"][..],
            &[
                "ID/VERSION",
                "json",
                "layer.tar",
                "named/json",
                "other/layer.tar",
            ],
            &["below/ID/json", "below/ID/layer.tar"],
        ] {
            assert_eq!(with(names), Verdict::Skipped, "{names:?}");
        }
    }

    #[test]
    fn full_names_are_compared_as_docker_completes_them() {
        let mut made = Made::default();
        for (image, config) in [
            ("docker.io/library/hello:v1", "a"),
            ("docker.io/library/bye:v1", "b"),
        ] {
            let mut descriptor = made.manifest(config, &["1"]);
            descriptor["annotations"] = json!({ "io.containerd.image.name": image });
            made.entries.push(descriptor);
        }
        for (name, verdict) in [
            ("hello:v1", Verdict::Skipped),
            ("bye:v1", Verdict::Ambiguous),
        ] {
            let entry = json!([{ "Config": path("a"), "RepoTags": [name], "Layers": [path("1")] }]);
            made.files
                .insert("manifest.json".into(), entry.to_string().into_bytes());
            assert_eq!(skip(&made).verdict(), verdict, "{name}");
        }
    }
}
