//! The referrers tag: where registries without the referrers API list who refers to an image.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>
//!
//! Pure: documents in, documents out. Entries of other writers survive as the JSON values they are. Nothing is ever removed.

use serde_json::{Map, Value, json};

use crate::oci::Digest;
use crate::oci::media_type;

/// Characters of the algorithm and of the digest in a referrers tag.
const ALGORITHM_CHARACTERS_MAX: usize = 32;
const ENCODED_CHARACTERS_MAX: usize = 64;

/// Returns the referrers tag of a subject.
#[must_use]
pub fn tag(subject: &Digest) -> String {
    let text = subject.to_string();
    let (algorithm, encoded) = text.split_once(':').unwrap_or((&text, ""));
    let cut = |part: &str, limit| -> String {
        let legal = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') {
                c
            } else {
                '-'
            }
        };
        part.chars().take(limit).map(legal).collect()
    };
    format!(
        "{}-{}",
        cut(algorithm, ALGORITHM_CHARACTERS_MAX),
        cut(encoded, ENCODED_CHARACTERS_MAX)
    )
}

/// Is a referrer as it is to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its digest.
    pub digest: Digest,
    /// The descriptor: type, digest, size, artifact type, annotations of the manifest.
    pub value: Value,
}

impl Entry {
    /// Returns whether a listed descriptor says what is to be said: same content, same artifact type.
    fn is_listed_as(&self, listed: &Value) -> bool {
        ["digest", "size", "mediaType", "artifactType"]
            .into_iter()
            .all(|member| listed.get(member) == self.value.get(member))
    }
}

/// Returns those of `wanted` that `listed` does not list.
#[must_use]
pub fn missing<'a>(listed: &[Value], wanted: &'a [Entry]) -> Vec<&'a Entry> {
    wanted
        .iter()
        .filter(|entry| !listed.iter().any(|value| entry.is_listed_as(value)))
        .collect()
}

/// Returns the entries of an index; `None` where the document is something else.
#[must_use]
pub fn entries(document: &Value) -> Option<Vec<Value>> {
    let members = document.as_object()?;
    let is_index = match members.get("mediaType").and_then(Value::as_str) {
        Some(kind) => media_type::is_index(kind),
        None => members.contains_key("manifests") && !members.contains_key("layers"),
    };
    if !is_index {
        return None;
    }
    match members.get("manifests") {
        Some(Value::Array(listed)) => Some(listed.clone()),
        None | Some(Value::Null) => Some(Vec::new()),
        Some(_) => None,
    }
}

/// Returns the document with `wanted` listed too, or `None` where it lists them already.
///
/// An entry of ours that is listed without its artifact type is completed in place: readers filter by it.
#[must_use]
pub fn merge(existing: Option<&Value>, wanted: &[Entry]) -> Option<Value> {
    let mut document = match existing {
        Some(Value::Object(members)) => members.clone(),
        _ => empty(),
    };
    let mut listed = existing.and_then(entries).unwrap_or_default();
    let lacking: Vec<Entry> = missing(&listed, wanted).into_iter().cloned().collect();
    if lacking.is_empty() {
        return None;
    }
    for entry in lacking {
        let digest = entry.digest.to_string();
        let same =
            |value: &&mut Value| value.get("digest").and_then(Value::as_str) == Some(&digest);
        match listed.iter_mut().find(same) {
            Some(present) => complete(present, &entry.value),
            None => listed.push(entry.value),
        }
    }
    document.insert("manifests".to_owned(), Value::Array(listed));
    Some(Value::Object(document))
}

fn empty() -> Map<String, Value> {
    match json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": []}) {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Sets the members we know; those we do not know stay.
fn complete(present: &mut Value, ours: &Value) {
    let (Some(present), Some(ours)) = (present.as_object_mut(), ours.as_object()) else {
        return;
    };
    for (name, value) in ours {
        present.insert(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        let digest = Digest::of(text.as_bytes());
        let value = json!({"mediaType": media_type::IMAGE_MANIFEST, "digest": digest.to_string(), "size": 2,
            "artifactType": "a/b", "annotations": {"k": text}});
        Entry { digest, value }
    }

    #[test]
    fn makes_tags_that_registries_take() {
        let digest = Digest::of(b"x");
        assert_eq!(tag(&digest), format!("sha256-{}", digest.hex()));
        let long = Hasher512::of(b"x");
        assert_eq!(tag(&long).len(), "sha512-".len() + 64);
        let odd: Digest = "a+b.c_d-e:Az09=_-".parse().unwrap();
        assert_eq!(tag(&odd), "a-b.c_d-e-Az09-_-");
    }

    struct Hasher512;
    impl Hasher512 {
        fn of(bytes: &[u8]) -> Digest {
            let mut hasher = crate::oci::Hasher::new(crate::oci::Algorithm::Sha512);
            hasher.update(bytes);
            hasher.finish()
        }
    }

    #[test]
    fn lists_all_and_then_changes_nothing() {
        let wanted = [entry("a"), entry("b")];
        let document = merge(None, &wanted).unwrap();
        assert_eq!(entries(&document).unwrap().len(), 2);
        assert_eq!(document["mediaType"], media_type::IMAGE_INDEX);
        assert_eq!(merge(Some(&document), &wanted), None);
    }

    #[test]
    fn keeps_what_others_wrote() {
        let theirs = json!({"schemaVersion": 2, "x": [1, {"y": null}], "mediaType": media_type::IMAGE_INDEX,
            "manifests": [{"digest": "blake9:zz", "size": "odd", "unknown": {"deep": true}}, 7], "annotations": {"k": "v"}});
        let merged = merge(Some(&theirs), &[entry("a")]).unwrap();
        assert_eq!(merged["x"], theirs["x"]);
        assert_eq!(merged["annotations"], theirs["annotations"]);
        assert_eq!(
            merged["manifests"].as_array().unwrap()[..2],
            theirs["manifests"].as_array().unwrap()[..]
        );
        let order = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&merged), order(&theirs));
    }

    #[test]
    fn completes_an_entry_that_readers_would_pass_over() {
        let ours = entry("a");
        let bare = json!({"mediaType": media_type::IMAGE_MANIFEST, "digest": ours.digest.to_string(), "size": 2, "theirs": 1});
        let index = json!({"schemaVersion": 2, "manifests": [bare]});
        assert_eq!(
            missing(&entries(&index).unwrap(), std::slice::from_ref(&ours)).len(),
            1
        );
        let merged = merge(Some(&index), std::slice::from_ref(&ours)).unwrap();
        let listed = entries(&merged).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["artifactType"], "a/b");
        assert_eq!(listed[0]["theirs"], 1);
    }

    #[test]
    fn takes_only_an_index_for_one() {
        assert_eq!(
            entries(&json!({"mediaType": media_type::IMAGE_MANIFEST, "manifests": []})),
            None
        );
        assert_eq!(
            entries(&json!({"config": {}, "layers": [], "manifests": []})),
            None
        );
        assert_eq!(entries(&json!({"manifests": 1})), None);
        assert_eq!(entries(&json!([])), None);
        assert_eq!(entries(&json!({"manifests": null})), Some(Vec::new()));
    }
}
