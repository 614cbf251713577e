//! The JSON of a trust policy: strict about names, lenient about absence.
//!
//! Absent members, `null` and empty values are one and the same here; the rules decide which of them are allowed.

use serde::de::IgnoredAny;
use serde_json::{Deserializer, Map, Value};

use super::PolicyError;
use crate::oci::{json, limits};

/// Is a document as written.
pub(super) struct Document {
    pub(super) version: String,
    pub(super) statements: Vec<RawStatement>,
}

/// Is a statement as written.
#[derive(Default)]
pub(super) struct RawStatement {
    pub(super) name: String,
    pub(super) registry_scopes: Vec<String>,
    pub(super) level: String,
    pub(super) overrides: Vec<(String, String)>,
    pub(super) verify_timestamp: String,
    pub(super) trust_stores: Vec<String>,
    pub(super) trusted_identities: Vec<String>,
}

/// The members of a document.
const DOCUMENT_MEMBERS: [&str; 2] = ["version", "trustPolicies"];
/// The members of a statement.
const STATEMENT_MEMBERS: [&str; 5] = [
    "name",
    "registryScopes",
    "signatureVerification",
    "trustStores",
    "trustedIdentities",
];
/// The members of `signatureVerification`.
const VERIFICATION_MEMBERS: [&str; 3] = ["level", "override", "verifyTimestamp"];

/// Parses a document; bytes after it are ignored.
pub(super) fn parse(bytes: &[u8]) -> Result<Document, PolicyError> {
    let limit = usize::try_from(limits::POLICY_BYTES_MAX).unwrap_or(usize::MAX);
    if bytes.len() > limit {
        return Err(shape("document", &format!("has more than {limit} bytes")));
    }
    let value = json::parse(first_value(bytes)).map_err(PolicyError::Json)?;
    let Value::Object(document) = value else {
        return Err(shape("document", "is not an object"));
    };
    known(&document, &DOCUMENT_MEMBERS)?;
    let statements = list(&document, "trustPolicies")?
        .iter()
        .map(statement)
        .collect::<Result<_, _>>()?;
    Ok(Document {
        version: text(&document, "version")?,
        statements,
    })
}

/// Returns the bytes up to the end of the first value, or all of them where there is none: the strict parser then says why.
fn first_value(bytes: &[u8]) -> &[u8] {
    let mut values = Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(IgnoredAny)) => bytes.get(..values.byte_offset()).unwrap_or(bytes),
        _ => bytes,
    }
}

/// Returns the statement that a value describes.
fn statement(value: &Value) -> Result<RawStatement, PolicyError> {
    let Some(object) = object(value, "trustPolicies")? else {
        return Ok(RawStatement::default());
    };
    known(object, &STATEMENT_MEMBERS)?;
    let verification = match object.get("signatureVerification") {
        Some(value) => self::object(value, "signatureVerification")?,
        None => None,
    };
    let nothing = Map::new();
    let verification = verification.unwrap_or(&nothing);
    known(verification, &VERIFICATION_MEMBERS)?;
    Ok(RawStatement {
        name: text(object, "name")?,
        registry_scopes: texts(object, "registryScopes")?,
        level: text(verification, "level")?,
        overrides: overrides(verification)?,
        verify_timestamp: text(verification, "verifyTimestamp")?,
        trust_stores: texts(object, "trustStores")?,
        trusted_identities: texts(object, "trustedIdentities")?,
    })
}

/// Returns the overrides in the order of the document.
fn overrides(verification: &Map<String, Value>) -> Result<Vec<(String, String)>, PolicyError> {
    let Some(value) = verification.get("override") else {
        return Ok(Vec::new());
    };
    let Some(members) = object(value, "override")? else {
        return Ok(Vec::new());
    };
    members
        .keys()
        .map(|key| Ok((key.clone(), text(members, key)?)))
        .collect()
}

/// Refuses members that equal known ones but for case.
fn known(object: &Map<String, Value>, names: &[&str]) -> Result<(), PolicyError> {
    match json::case_variant(object, names) {
        None => Ok(()),
        Some(found) => Err(shape(
            found,
            "equals a known member but for upper and lower case",
        )),
    }
}

/// Returns an object, `None` for `null`.
fn object<'a>(value: &'a Value, name: &str) -> Result<Option<&'a Map<String, Value>>, PolicyError> {
    match value {
        Value::Object(object) => Ok(Some(object)),
        Value::Null => Ok(None),
        _ => Err(shape(name, "is not an object")),
    }
}

/// Returns the text of a member, empty where it is absent.
fn text(object: &Map<String, Value>, name: &str) -> Result<String, PolicyError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(shape(name, "is not a string")),
    }
}

/// Returns the texts of a member, none where it is absent.
fn texts(object: &Map<String, Value>, name: &str) -> Result<Vec<String>, PolicyError> {
    let texts = list(object, name)?.iter().map(|value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        _ => Err(shape(name, "holds something that is not a string")),
    });
    texts.collect()
}

/// Returns the values of a list, none where it is absent.
fn list<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], PolicyError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(shape(name, "is not a list")),
    }
}

/// Returns the refusal of a member.
fn shape(name: &str, problem: &str) -> PolicyError {
    PolicyError::Shape {
        problem: format!("{name:?} {problem}"),
    }
}
