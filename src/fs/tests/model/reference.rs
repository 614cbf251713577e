//! The reference: names, bytes and a verdict, by the rules of docs/SEMANTICS.md and by nothing of the file system's code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::policy;
use crate::oci::Digest;
use crate::report::Verdict;

pub(super) const POLICY_NAME: &str = "trustpolicy.json";
pub(super) const TAGS: [&str; 3] = ["v1", "v2", "a~b"];
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Returns a document that somebody writes to the policy: two are accepted.
pub(super) fn text_of(document: usize) -> String {
    match document {
        0 => policy("p256"),
        1 => policy("p384"),
        2 => policy("p256").replace("\"version\":", "\"version\" "),
        _ => policy("p256")[..50].to_owned(),
    }
}

/// Is what a name has to be.
#[derive(Debug)]
pub(super) enum Expected {
    Folder,
    Bytes(Vec<u8>),
    Link(String),
    /// A blob that is not what its name says.
    Unreadable,
    /// Some text.
    Some,
    /// A folder with three files for each of so many signatures.
    Signatures(usize),
}

/// Is one image that tags may name.
struct Made {
    entry: Value,
    digest: Digest,
    config: Digest,
    layer: Digest,
}

/// Is the reference.
pub(super) struct Reference {
    root: PathBuf,
    made: Vec<Made>,
    tags: BTreeMap<String, usize>,
    signed: BTreeSet<usize>,
    flipped: BTreeSet<usize>,
    extras: BTreeMap<String, Vec<u8>>,
    pub(super) policy: Option<String>,
    pub(super) refused: bool,
    pub(super) scratch: BTreeMap<String, Vec<u8>>,
}

impl Reference {
    /// Puts three images of its own into the layout, the first tagged `v1`.
    pub(super) fn new(root: &Path) -> Self {
        let put = |media_type: &str, bytes: &[u8]| -> (Value, Digest) {
            let digest = Digest::of(bytes);
            std::fs::write(root.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
            let descriptor = json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() });
            (descriptor, digest)
        };
        let made = (0..3_u8).map(|seed| {
            let (config, config_digest) = put("config", format!("{{\"seed\":{seed}}}").as_bytes());
            let (layer, layer_digest) = put("layer", &vec![seed; 3000 + usize::from(seed)]);
            let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
            let (entry, digest) = put(MANIFEST, manifest.to_string().as_bytes());
            Made { entry, digest, config: config_digest, layer: layer_digest }
        });
        let mut reference = Self {
            root: root.to_owned(),
            made: made.collect(),
            tags: BTreeMap::from([(TAGS[0].to_owned(), 0)]),
            signed: BTreeSet::new(),
            flipped: BTreeSet::new(),
            extras: BTreeMap::new(),
            policy: None,
            refused: false,
            scratch: BTreeMap::new(),
        };
        reference.write_index();
        reference
    }

    /// Writes index.json with the tags, and with the entries that signing added.
    fn write_index(&mut self) {
        let path = self.root.join("index.json");
        let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let entries = index["manifests"].as_array_mut().unwrap();
        entries.retain(|entry| entry["annotations"].get(REF_NAME).is_none());
        for (tag, image) in &self.tags {
            let mut entry = self.made[*image].entry.clone();
            entry["annotations"] = json!({ REF_NAME: tag });
            entries.push(entry);
        }
        let new = self.root.join(".signetfs-new");
        std::fs::write(&new, index.to_string()).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    pub(super) fn tag(&mut self, tag: &str, image: usize) {
        self.tags.insert(tag.to_owned(), image);
        self.write_index();
    }

    pub(super) fn untag(&mut self, tag: &str) {
        self.tags.remove(tag);
        self.write_index();
    }

    /// Flips a byte of an image's layer, or flips it back; returns where, and what the byte is then.
    pub(super) fn flip(&mut self, image: usize) -> (PathBuf, u64, u8) {
        let good = image as u8;
        let is_flipped = !self.flipped.remove(&image);
        if is_flipped {
            self.flipped.insert(image);
        }
        let byte = if is_flipped { good ^ 1 } else { good };
        let path = self
            .root
            .join("blobs/sha256")
            .join(self.made[image].layer.hex());
        (path, 1234, byte)
    }

    pub(super) fn write_extra(&mut self, name: &str, bytes: &[u8]) {
        std::fs::write(self.root.join(name), bytes).unwrap();
        self.extras.insert(name.to_owned(), bytes.to_owned());
    }

    pub(super) fn remove_extra(&mut self, name: &str) {
        if self.extras.remove(name).is_some() {
            std::fs::remove_file(self.root.join(name)).unwrap();
        }
    }

    /// Takes a document as the policy; `empties` where the old one was removed first. Returns whether it is accepted.
    pub(super) fn put_policy(&mut self, text: &str, empties: bool) -> bool {
        if empties {
            self.policy = None;
        }
        let is_accepted = [text_of(0), text_of(1)].iter().any(|good| good == text);
        self.refused = !is_accepted;
        if is_accepted {
            self.policy = Some(text.to_owned());
        }
        is_accepted
    }

    /// Removes the policy, which is a success, so that no reason is left.
    pub(super) fn take_policy(&mut self) -> Option<String> {
        let taken = self.policy.take();
        self.refused &= taken.is_none();
        taken
    }

    pub(super) fn rename_to_policy(&mut self, name: &str) -> bool {
        let Some(bytes) = self.scratch.get(name).cloned() else {
            return false;
        };
        let text = String::from_utf8(bytes).unwrap_or_default();
        let is_accepted = self.put_policy(&text, false);
        if is_accepted {
            self.scratch.remove(name);
        }
        is_accepted
    }

    pub(super) fn write_scratch(&mut self, name: &str, offset: usize, bytes: &[u8]) {
        let file = self.scratch.entry(name.to_owned()).or_default();
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        file.resize(file.len().max(end), 0);
        file[offset..end].copy_from_slice(bytes);
    }

    /// Signs every image that is not signed; none if one is broken or there is none.
    pub(super) fn touch(&mut self) -> bool {
        let is_broken = self.tags.values().any(|image| self.flipped.contains(image));
        let signs = !self.tags.is_empty() && !is_broken;
        if signs {
            self.signed.extend(self.tags.values());
        }
        self.refused = !signs;
        signs
    }

    pub(super) fn verdict(&self) -> Verdict {
        let mut images = self.tags.values();
        if self.tags.is_empty() {
            Verdict::Empty
        } else if images.clone().any(|image| self.flipped.contains(image)) {
            Verdict::Corrupt
        } else if self.policy.as_deref() == Some(&text_of(1))
            && images.clone().any(|image| self.signed.contains(image))
        {
            Verdict::Untrusted
        } else if images.any(|image| !self.signed.contains(image)) {
            Verdict::Unsigned
        } else if self.policy.is_none() {
            Verdict::NoPolicy
        } else {
            Verdict::Verified
        }
    }

    /// Returns everything that is there, but the files of signatures.
    pub(super) fn expected(&self) -> BTreeMap<String, Expected> {
        let mut all = BTreeMap::new();
        let mut put = |path: String, what: Expected| assert!(all.insert(path, what).is_none());
        for folder in ["blobs", "blobs/sha256", "images", "signatures"] {
            put(folder.to_owned(), Expected::Folder);
        }
        for name in ["index.json", "oci-layout"] {
            let bytes = std::fs::read(self.root.join(name)).unwrap();
            put(name.to_owned(), Expected::Bytes(bytes));
        }
        let broken: Vec<String> = self
            .flipped
            .iter()
            .map(|image| self.made[*image].layer.hex())
            .collect();
        for entry in std::fs::read_dir(self.root.join("blobs/sha256")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let what = match broken.contains(&name) {
                true => Expected::Unreadable,
                false => Expected::Bytes(std::fs::read(&path).unwrap()),
            };
            put(format!("blobs/sha256/{name}"), what);
        }
        for (name, bytes) in self.extras.iter().chain(&self.scratch) {
            put(name.clone(), Expected::Bytes(bytes.clone()));
        }
        if let Some(text) = &self.policy {
            put(
                POLICY_NAME.to_owned(),
                Expected::Bytes(text.clone().into_bytes()),
            );
        }
        for name in ["verify-status", "verify-status.json"] {
            put(name.to_owned(), Expected::Some);
        }
        put("sign".to_owned(), self.sign());
        for image in self.tags.values().collect::<BTreeSet<_>>() {
            let path = format!("signatures/sha256-{}", self.made[*image].digest.hex());
            put(
                path,
                Expected::Signatures(usize::from(self.signed.contains(image))),
            );
        }
        for (tag, image) in &self.tags {
            self.expect_image(&tag.replace('~', "%7E"), &self.made[*image], &mut put);
        }
        all
    }

    fn expect_image(&self, name: &str, image: &Made, put: &mut dyn FnMut(String, Expected)) {
        let folder = format!("images/{name}");
        put(folder.clone(), Expected::Folder);
        put(format!("{folder}/layers"), Expected::Folder);
        let blob = |up: &str, digest: &Digest| {
            Expected::Link(format!("{up}blobs/sha256/{}", digest.hex()))
        };
        put(
            format!("{folder}/manifest.json"),
            blob("../../", &image.digest),
        );
        put(
            format!("{folder}/config.json"),
            blob("../../", &image.config),
        );
        let layer = format!("{folder}/layers/00-{}", image.layer.hex());
        put(layer, blob("../../../", &image.layer));
        put(
            format!("{folder}/signatures"),
            Expected::Link(format!("../../signatures/sha256-{}", image.digest.hex())),
        );
        for name in ["verify-status", "verify-status.json"] {
            put(format!("{folder}/{name}"), Expected::Some);
        }
        put(format!("{folder}/sign"), self.sign());
    }

    fn sign(&self) -> Expected {
        match self.refused {
            true => Expected::Some,
            false => Expected::Bytes(Vec::new()),
        }
    }

    /// Returns what the number of a path is made of: the path, and for an image's `sign` the digest.
    pub(super) fn identity(&self, path: &str) -> String {
        let tag = path
            .strip_prefix("images/")
            .and_then(|rest| rest.strip_suffix("/sign"));
        let image = tag.and_then(|tag| self.tags.get(&tag.replace("%7E", "~")));
        match image {
            Some(image) => format!("{path} {}", self.made[*image].digest),
            None => path.to_owned(),
        }
    }
}

pub(super) fn is_signature_file(path: &str) -> bool {
    path.starts_with("signatures/") && path.matches('/').count() == 2
}

/// Returns whether a path is a file that only a mount has.
pub(super) fn is_synthetic(path: &str) -> bool {
    ["sign", "trustpolicy.json", "verify-status", "images/"]
        .iter()
        .any(|start| path.starts_with(start))
}
