//! Reading the members of JSON objects: a null is an absent member, a wrong type is an error with its path.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Annotations, DocumentError, json};

/// Returns the members of an object.
pub(super) fn object(value: &Value) -> Result<&Map<String, Value>, DocumentError> {
    value
        .as_object()
        .ok_or_else(|| DocumentError::member("", "is not an object"))
}

/// Refuses an object with a member equal but for case to a known one: Go reads it, others do not.
pub(super) fn refuse_case_variants(
    object: &Map<String, Value>,
    known: &[&str],
) -> Result<(), DocumentError> {
    match json::case_variant(object, known) {
        None => Ok(()),
        Some(member) => Err(DocumentError::member(
            member,
            "equals a known member but for case",
        )),
    }
}

/// Returns a member that is there and not null.
pub(super) fn present<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// Returns a text; an empty one counts as absent.
pub(super) fn text(
    object: &Map<String, Value>,
    name: &str,
) -> Result<Option<String>, DocumentError> {
    text_ref(object, name).map(|text| text.map(str::to_owned))
}

/// Returns a text as it stands in the object; an empty one counts as absent.
pub(super) fn text_ref<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, DocumentError> {
    match present(object, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(DocumentError::member(name, "is not a string")),
    }
}

/// Returns the elements of an array; none where it is absent.
pub(super) fn elements<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a [Value], DocumentError> {
    match present(object, name) {
        None => Ok(&[]),
        Some(Value::Array(elements)) => Ok(elements),
        Some(_) => Err(DocumentError::member(name, "is not an array")),
    }
}

/// Returns the elements of an array of texts (a null is an empty one); none where it is absent.
pub(super) fn texts<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a [Value], DocumentError> {
    let elements = elements(object, name)?;
    match elements.iter().all(|one| one.is_string() || one.is_null()) {
        true => Ok(elements),
        false => Err(DocumentError::member(
            name,
            "holds something other than strings",
        )),
    }
}

/// Returns `annotations`, sorted by key.
pub(super) fn annotations(object: &Map<String, Value>) -> Result<Annotations, DocumentError> {
    let members = match present(object, "annotations") {
        None => return Ok(Annotations::NONE),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(DocumentError::member("annotations", "is not an object")),
    };
    let members = members
        .iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            Value::Null => Ok((key.clone(), String::new())),
            _ => Err(DocumentError::member(key, "is not a string").under("annotations")),
        })
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(members.into())
}
