//! What a repository of the test registry holds, and what a verifier would find in it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use signetfs::oci::media_type::IMAGE_INDEX;

/// Is one repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Repository {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// Media type and bytes by digest.
    pub(crate) manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) uploads: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    /// Resolves a tag or digest.
    pub(crate) fn manifest(&self, name: &str) -> Option<(&String, &(String, Vec<u8>))> {
        let digest = self.tags.get(name).map_or(name, String::as_str);
        self.manifests.get_key_value(digest)
    }

    /// Returns the descriptors of the manifests that name a subject.
    pub(crate) fn referrers(&self, subject: &str) -> Vec<Value> {
        let mut found = Vec::new();
        for (digest, (media_type, bytes)) in &self.manifests {
            let Ok(document) = serde_json::from_slice::<Value>(bytes) else {
                continue;
            };
            if document["subject"]["digest"] != subject {
                continue;
            }
            let mut entry = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
            let kind = document
                .get("artifactType")
                .or_else(|| document["config"].get("mediaType"));
            if let Some(kind) = kind {
                entry["artifactType"] = kind.clone();
            }
            if let Some(annotations) = document.get("annotations") {
                entry["annotations"] = annotations.clone();
            }
            found.push(entry);
        }
        found
    }

    /// Returns the digests of the referrers that a verifier finds.
    pub(crate) fn discoverable(&self, subject: &str, by_api: bool) -> Vec<String> {
        let entries = match by_api {
            true => self.referrers(subject),
            false => {
                let tag = subject.replace(':', "-");
                let document = self
                    .manifest(&tag)
                    .map(|(_, (_, bytes))| bytes.as_slice())
                    .unwrap_or_default();
                let document: Value = serde_json::from_slice(document).unwrap_or_default();
                document["manifests"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            }
        };
        entries
            .iter()
            .map(|entry| entry["digest"].as_str().unwrap_or_default().to_owned())
            .filter(|digest| self.manifests.contains_key(digest))
            .collect()
    }

    /// Returns the first part of a manifest that is not here.
    pub(crate) fn missing_part(&self, document: &Value) -> Option<String> {
        let digest = |value: &Value| value["digest"].as_str().map(str::to_owned);
        let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
        let is_kept = |layer: &Value| {
            let media_type = layer["mediaType"].as_str().unwrap_or_default();
            !media_type.contains("nondistributable")
        };
        let blobs: Vec<Value> = list("layers")
            .into_iter()
            .filter(is_kept)
            .chain(document.get("config").cloned())
            .collect();
        let lacks_blob = blobs
            .iter()
            .filter_map(digest)
            .find(|digest| !self.blobs.contains_key(digest));
        let children = list("manifests");
        let lacks_child = || {
            children
                .iter()
                .filter_map(digest)
                .find(|digest| !self.manifests.contains_key(digest))
        };
        lacks_blob.or_else(lacks_child)
    }

    /// Stores a list of referrers under its tag, as another writer would.
    pub(crate) fn write_list(&mut self, subject: &str, entries: &[Value]) {
        let document = json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": entries});
        let bytes = document.to_string().into_bytes();
        let digest = signetfs::oci::Digest::of(&bytes).to_string();
        self.manifests
            .insert(digest.clone(), (IMAGE_INDEX.to_owned(), bytes));
        self.tags.insert(subject.replace(':', "-"), digest);
    }
}
