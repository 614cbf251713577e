//! Tests of the plan, over layouts in memory.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::oci::ImageIndex;
use crate::oci::graph::Fetched;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[derive(Default)]
struct Memory {
    stored: HashMap<Digest, Arc<[u8]>>,
    entries: Vec<Value>,
}

impl Memory {
    fn put(&mut self, kind: &str, document: &Value) -> Value {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let descriptor =
            json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()});
        self.stored.insert(digest, Arc::from(bytes));
        descriptor
    }

    fn image(&mut self, seed: &str, layers: &[(&str, &str)]) -> Value {
        let blob = |kind: &str, text: &str| json!({"mediaType": kind, "digest": Digest::of(text.as_bytes()).to_string(), "size": text.len()});
        let layers: Vec<Value> = layers.iter().map(|(kind, text)| blob(kind, text)).collect();
        let document = json!({"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": blob(CONFIG, seed), "layers": layers});
        self.put(IMAGE_MANIFEST, &document)
    }

    fn referrer(&mut self, subject: &Value, text: &str) -> Value {
        let document = json!({"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "artifactType": "a/b", "subject": subject,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2, "data": "e30="},
            "layers": [{"mediaType": "x/y", "digest": Digest::of(text.as_bytes()).to_string(), "size": text.len()}],
            "annotations": {"k": text}});
        self.put(IMAGE_MANIFEST, &document)
    }

    fn index(&mut self, children: &[Value]) -> Value {
        self.put(
            IMAGE_INDEX,
            &json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": children}),
        )
    }

    fn list(&mut self, entry: &Value, name: Option<&str>) {
        let mut entry = entry.clone();
        if let Some(name) = name {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        self.entries.push(entry);
    }

    fn plan(&self, withheld: Withheld) -> Result<Plan, PlanError> {
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        let index = ImageIndex::parse(index.to_string().as_bytes()).unwrap();
        let graph = Graph::read(
            &index,
            &mut |descriptor| match self.stored.get(&descriptor.digest) {
                Some(bytes) => Fetched::Bytes(Arc::clone(bytes)),
                None => Fetched::Missing,
            },
        );
        let image = graph
            .images
            .iter()
            .find(|image| image.name.is_some())
            .unwrap();
        let root = Root {
            descriptor: image.descriptor.clone(),
            tags: vec!["v1".to_owned()],
        };
        Plan::of(&graph, vec![root], withheld)
    }
}

fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

fn round(plan: &Plan, descriptor: &Value) -> usize {
    plan.manifests
        .iter()
        .find(|manifest| manifest.digest == digest(descriptor))
        .unwrap()
        .round
}

#[test]
fn takes_referrers_of_every_manifest_and_their_referrers() {
    let mut memory = Memory::default();
    let (one, two) = (
        memory.image("1", &[(LAYER, "a")]),
        memory.image("2", &[(LAYER, "a"), (LAYER, "b")]),
    );
    let attestation = memory.referrer(&one, "attestation");
    let inner = memory.index(std::slice::from_ref(&two));
    let outer = memory.index(&[one.clone(), inner.clone(), attestation.clone()]);
    let signature = memory.referrer(&outer, "signature");
    let deep = memory.referrer(&two, "deep");
    let of_signature = memory.referrer(&signature, "of signature");
    let stranger = memory.image("3", &[(LAYER, "c")]);
    memory.list(&outer, Some("v1"));
    memory.list(&stranger, None);
    for entry in [&signature, &deep, &of_signature] {
        memory.list(entry, None);
    }
    let plan = memory.plan(Withheld::Keep).unwrap();
    assert_eq!(plan.manifests.len(), 8);
    let subjects: Vec<&Digest> = plan.referrers.keys().collect();
    let mut expected = [
        digest(&one),
        digest(&two),
        digest(&outer),
        digest(&signature),
    ];
    expected.sort();
    assert_eq!(subjects, expected.iter().collect::<Vec<_>>());
    let entry = &plan.referrers[&digest(&outer)][0];
    assert_eq!(entry.value["artifactType"], "a/b");
    assert_eq!(entry.value["annotations"], json!({"k": "signature"}));
    // Children before parents, subjects before referrers.
    for (before, after) in [
        (&one, &outer),
        (&two, &inner),
        (&inner, &outer),
        (&one, &attestation),
        (&attestation, &outer),
        (&outer, &signature),
        (&signature, &of_signature),
        (&two, &deep),
    ] {
        assert!(round(&plan, before) < round(&plan, after));
    }
    // Shared blobs once: a, b, two configs, the empty config, four payloads.
    assert_eq!(plan.blobs.len(), 9);
    assert_eq!(plan.closures[&digest(&outer)].len(), 5);
}

#[test]
fn keeps_layers_that_are_not_to_be_distributed() {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let mut memory = Memory::default();
    let image = memory.image(
        "1",
        &[
            (LAYER, "a"),
            (foreign, "b"),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                "c",
            ),
        ],
    );
    memory.list(&image, Some("v1"));
    let kept = memory.plan(Withheld::Keep).unwrap();
    assert_eq!((kept.blobs.len(), kept.withheld.len()), (2, 2));
    let pushed = memory.plan(Withheld::Push).unwrap();
    assert_eq!((pushed.blobs.len(), pushed.withheld.len()), (4, 0));
}

#[test]
fn names_the_manifest_that_is_missing() {
    let mut memory = Memory::default();
    let image = memory.image("1", &[]);
    let index = memory.index(std::slice::from_ref(&image));
    memory.list(&index, Some("v1"));
    memory.stored.remove(&digest(&image));
    assert_eq!(
        memory.plan(Withheld::Keep).unwrap_err(),
        PlanError::Missing {
            digest: digest(&image)
        }
    );
}

#[test]
fn a_subject_elsewhere_is_no_obstacle() {
    let mut memory = Memory::default();
    let elsewhere = json!({"mediaType": IMAGE_MANIFEST, "digest": Digest::of(b"elsewhere").to_string(), "size": 9});
    let image = memory.referrer(&elsewhere, "a");
    memory.list(&image, Some("v1"));
    let plan = memory.plan(Withheld::Keep).unwrap();
    assert_eq!(plan.manifests.len(), 1);
    assert!(plan.referrers.is_empty());
}
