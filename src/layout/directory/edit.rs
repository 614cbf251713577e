//! Editing index.json as a value tree: unknown fields, order and foreign entries survive, and so does the indentation.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Serializer, Value};

use crate::layout::SourceError;
use crate::oci::descriptor::{CONTAINERD_NAME, REF_NAME};
use crate::oci::{JsonError, json};

/// Is an index with entries added.
#[derive(Debug)]
pub(super) struct Edited {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// How many entries were added.
    pub(super) added: usize,
}

/// Adds the entries that the index does not list yet; `None` where it lists them all.
///
/// # Errors
/// Refuses what is not an index that two readers would understand alike.
pub(super) fn add(bytes: &[u8], entries: &[Value]) -> Result<Option<Edited>, SourceError> {
    let mut index = parse(bytes)?;
    let manifests = manifests(&mut index)?;
    let mut known: HashSet<Key> = manifests.iter().filter_map(key).collect();
    let mut added = 0;
    for entry in entries {
        if key(entry).is_none_or(|key| known.insert(key)) {
            manifests.push(entry.clone());
            added += 1;
        }
    }
    if added == 0 {
        return Ok(None);
    }
    let bytes = print(&index, bytes)?;
    Ok(Some(Edited { bytes, added }))
}

/// Returns whether the index lists all entries.
pub(super) fn lists(bytes: &[u8], entries: &[Value]) -> bool {
    parse(bytes).is_ok_and(|mut index| {
        manifests(&mut index).is_ok_and(|manifests| {
            let known: HashSet<Key> = manifests.iter().filter_map(key).collect();
            let is_known = |entry| key(entry).is_some_and(|key| known.contains(&key));
            entries.iter().all(is_known)
        })
    })
}

/// Adds entries at the end, whatever the index lists.
///
/// # Errors
/// Refuses what is not an index that two readers would understand alike.
pub(in crate::layout) fn append(
    bytes: &[u8],
    entries: impl IntoIterator<Item = Value>,
) -> Result<Vec<u8>, SourceError> {
    let mut index = parse(bytes)?;
    manifests(&mut index)?.extend(entries);
    print(&index, bytes)
}

/// Returns the entries of an index.
///
/// # Errors
/// Refuses what is not an index that two readers would understand alike.
pub(in crate::layout) fn entries(bytes: &[u8]) -> Result<Vec<Value>, SourceError> {
    let mut index = parse(bytes)?;
    manifests(&mut index).map(std::mem::take)
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, SourceError> {
    match json::parse(bytes) {
        Ok(Value::Object(index)) => Ok(index),
        Ok(_) => Err(refuse("it is not an object".to_owned())),
        Err(source) => Err(SourceError::Index { source }),
    }
}

fn refuse(problem: String) -> SourceError {
    SourceError::Index {
        source: JsonError {
            problem,
            line: 1,
            column: 1,
        },
    }
}

/// Returns the list of entries, made where there is none.
fn manifests(index: &mut Map<String, Value>) -> Result<&mut Vec<Value>, SourceError> {
    if let Some(variant) = json::case_variant(index, &["manifests"]) {
        return Err(refuse(format!(
            "the member {variant:?} is read as \"manifests\" by some"
        )));
    }
    let manifests = index.entry("manifests").or_insert(Value::Null);
    if manifests.is_null() {
        *manifests = Value::Array(Vec::new());
    }
    manifests
        .as_array_mut()
        .ok_or_else(|| refuse("its manifests are not a list".to_owned()))
}

/// Is what makes two entries the same: digest and both names.
type Key = (String, [Option<String>; 2]);

/// Returns the key of an entry; `None` where it has no digest, and so is like no other.
fn key(entry: &Value) -> Option<Key> {
    let digest = entry.get("digest")?.to_string();
    let annotations = entry.get("annotations");
    let name = |key| {
        let name = annotations.and_then(|annotations| annotations.get(key));
        name.map(Value::to_string)
    };
    Some((digest, [REF_NAME, CONTAINERD_NAME].map(name)))
}

/// Prints the index as compactly, or as deeply indented, as it was.
fn print(index: &Map<String, Value>, old: &[u8]) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::with_capacity(old.len() + 1024);
    let printed = match indentation(old) {
        Some(indent) => {
            let formatter = PrettyFormatter::with_indent(indent);
            index.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        }
        None => index.serialize(&mut Serializer::new(&mut bytes)),
    };
    printed.map_err(|error| refuse(error.to_string()))?;
    if old.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Returns the indentation of the first member, if it stands on a line of its own.
fn indentation(old: &[u8]) -> Option<&[u8]> {
    let start = old.iter().position(|byte| *byte == b'{')?;
    let line = old
        .get(start + 1..)?
        .strip_prefix(b"\r\n")
        .or_else(|| old.get(start + 1..)?.strip_prefix(b"\n"))?;
    let length = line.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
    line.get(..length)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Value {
        json!({"mediaType": "m", "digest": "sha256:00", "size": 3})
    }

    fn added(old: &str) -> String {
        let edited = add(old.as_bytes(), &[entry()]).unwrap().unwrap();
        assert_eq!(edited.added, 1);
        assert!(lists(&edited.bytes, &[entry()]));
        assert!(add(&edited.bytes, &[entry()]).unwrap().is_none());
        String::from_utf8(edited.bytes).unwrap()
    }

    #[test]
    fn keeps_order_unknown_fields_and_form() {
        let new = r#"{"mediaType":"m","digest":"sha256:00","size":3}"#;
        assert_eq!(
            added(
                r#"{"z":{"y":[1.0,-2,18446744073709551615]},"manifests":[{"x":null,"digest":"d"}],"a":"\u00e9"}"#
            ),
            format!(
                r#"{{"z":{{"y":[1.0,-2,18446744073709551615]}},"manifests":[{{"x":null,"digest":"d"}},{new}],"a":"{}"}}"#,
                '\u{e9}'
            )
        );
        assert_eq!(
            added("{\n   \"manifests\": []\n}\n"),
            "{\n   \"manifests\": [\n      {\n         \"mediaType\": \"m\",\n         \"digest\": \"sha256:00\",\n         \
             \"size\": 3\n      }\n   ]\n}\n"
        );
        assert_eq!(added("{}"), format!(r#"{{"manifests":[{new}]}}"#));
        assert_eq!(
            added(r#"{"manifests":null}"#),
            format!(r#"{{"manifests":[{new}]}}"#)
        );
    }

    #[test]
    fn an_entry_of_the_same_digest_under_a_name_is_another_entry() {
        for key in [REF_NAME, CONTAINERD_NAME] {
            let named = json!({"digest": "sha256:00", "annotations": {key: "v1"}});
            let old = json!({"manifests": [named]}).to_string();
            let edited = add(old.as_bytes(), &[entry(), named.clone()])
                .unwrap()
                .unwrap();
            assert_eq!(edited.added, 1);
        }
        let annotated = json!({"manifests": [{"digest": "sha256:00", "annotations": {"a": "b"}}]});
        assert!(
            add(annotated.to_string().as_bytes(), &[entry()])
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn refuses_what_is_not_one_clear_index() {
        for old in [
            "",
            "[]",
            "{",
            r#"{"manifests":{}}"#,
            r#"{"manifests":[],"manifests":[]}"#,
            r#"{"manifests":[],"Manifests":[]}"#,
        ] {
            let refused = add(old.as_bytes(), &[entry()]);
            assert!(matches!(refused, Err(SourceError::Index { .. })), "{old}");
        }
    }
}
