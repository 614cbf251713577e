//! JWS envelopes: flattened JSON, read strictly. RFC 7515 section 7.2.2.
//!
//! Stricter than notation, as docs/COMPATIBILITY.md lists: duplicate members, members that differ from known ones only in
//! case, and base64 that is not canonical are refused. Not here: what the payload says (`payload`), sealing (`seal`).

use std::collections::HashSet;

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value};

use super::envelope::Parts;
use super::headers::{
    self, AUTHENTIC_SIGNING_TIME, EXPIRY, Headers, Moment, RawHeaders, SIGNING_AGENT,
    SIGNING_SCHEME, SIGNING_TIME, TIMESTAMP_SIGNATURE,
};
use super::{Attribute, EnvelopeFormat, IntegrityError, SigningScheme};
use crate::oci::json;

/// The members of the envelope that are known.
const ENVELOPE: [&str; 4] = ["payload", "protected", "header", "signature"];
/// The members of the unprotected header that are known.
const UNPROTECTED: [&str; 3] = ["x5c", TIMESTAMP_SIGNATURE, SIGNING_AGENT];
/// The members of the protected header that are known; every other one is an extended attribute.
const PROTECTED: [&str; 7] = [
    "alg",
    "cty",
    "crit",
    SIGNING_SCHEME,
    SIGNING_TIME,
    AUTHENTIC_SIGNING_TIME,
    EXPIRY,
];

/// The times in it.
const TIMES: [&str; 3] = [SIGNING_TIME, AUTHENTIC_SIGNING_TIME, EXPIRY];

/// Parses an envelope.
pub(super) fn parse(bytes: &[u8]) -> Result<Parts, IntegrityError> {
    let envelope = object(bytes, "the envelope", &ENVELOPE)?;
    let protected = member_text(&envelope, "protected")?;
    let payload = member_text(&envelope, "payload")?;
    let signature = member_text(&envelope, "signature")?;
    let header = match envelope.get("header") {
        None | Some(Value::Null) => return Err(no_chain()),
        Some(Value::Object(header)) => header,
        Some(_) => return Err(IntegrityError::parse("member \"header\" is not an object")),
    };
    refuse_variants(header, &UNPROTECTED)?;
    let protected_bytes = base64url("protected", protected)?;
    let protected_object = object(&protected_bytes, "the protected header", &PROTECTED)?;
    // Go reads times as they are written: it refuses what other readers understand.
    if json::is_escaped(&protected_bytes, &TIMES) {
        return Err(IntegrityError::parse(
            "the protected header writes a time with an escape sequence",
        ));
    }
    let algorithm = match protected_object.get("alg") {
        Some(Value::String(name)) => name.clone(),
        _ => return Err(IntegrityError::header("alg", "it is not present as text")),
    };
    let content = base64url("payload", payload)?;
    // A JWS payload that is no JSON object fails before its signature is looked at, as in notation; COSE's fails last.
    object(&content, "the payload", &[])?;
    Ok(Parts {
        format: EnvelopeFormat::Jws,
        algorithm,
        signed: [protected, payload].join(".").into_bytes(),
        payload: content,
        signature: base64url("signature", signature)?,
        certificates: certificates(header)?,
        agent: optional_text(header, SIGNING_AGENT)?.map(str::to_owned),
        timestamp: optional_text(header, TIMESTAMP_SIGNATURE)?
            .map(|text| base64(TIMESTAMP_SIGNATURE, text))
            .transpose()?,
        headers: RawHeaders::Jws(protected_object),
    })
}

/// Holds a protected header against the rules.
pub(super) fn read_headers(object: &Map<String, Value>) -> Result<Headers, IntegrityError> {
    let signing_time = time(object, SIGNING_TIME)?;
    let authentic_time = time(object, AUTHENTIC_SIGNING_TIME)?;
    let expiry = time(object, EXPIRY)?.and_then(Moment::given);
    let critical = critical(object)?;
    let required = [
        Some(SIGNING_SCHEME),
        expiry.map(|_| EXPIRY),
        authentic_time.and(Some(AUTHENTIC_SIGNING_TIME)),
    ];
    check_critical(object, &critical, required.into_iter().flatten().collect())?;
    let critical: HashSet<&str> = critical.into_iter().collect();
    let scheme = headers::scheme(optional_text(object, SIGNING_SCHEME)?.unwrap_or_default())?;
    let (wanted, wanted_name, unwanted, unwanted_name) = match scheme {
        SigningScheme::X509 => (
            signing_time,
            SIGNING_TIME,
            authentic_time,
            AUTHENTIC_SIGNING_TIME,
        ),
        SigningScheme::SigningAuthority => (
            authentic_time,
            AUTHENTIC_SIGNING_TIME,
            signing_time,
            SIGNING_TIME,
        ),
    };
    if unwanted.is_some() {
        return Err(IntegrityError::header(
            unwanted_name,
            format!(
                "it must not be present for the {} signing scheme",
                scheme.name()
            ),
        ));
    }
    let Some(signing_time) = wanted.and_then(Moment::given) else {
        return Err(IntegrityError::header(wanted_name, "it is not present"));
    };
    let (signing_time, expiry) = headers::check_times(signing_time, expiry)?;
    Ok(Headers {
        content_type: optional_text(object, "cty")?.unwrap_or_default().to_owned(),
        scheme,
        signing_time,
        expiry,
        attributes: object
            .iter()
            .filter(|(name, _)| is_extended(name))
            .map(|(name, value)| Attribute {
                name: name.clone(),
                critical: critical.contains(name.as_str()),
                text: value.as_str().map(str::to_owned),
            })
            .collect(),
    })
}

/// Returns the names in `crit`.
fn critical(object: &Map<String, Value>) -> Result<Vec<&str>, IntegrityError> {
    let names = match object.get("crit") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) => names
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| IntegrityError::header("crit", "an entry is not text"))?,
        Some(_) => return Err(IntegrityError::header("crit", "it is not an array")),
    };
    if names.is_empty() {
        return Err(IntegrityError::header("crit", "it is missing or empty"));
    }
    Ok(names)
}

/// Checks that `crit` names every required header, each once, and else only extended attributes that are present.
fn check_critical(
    object: &Map<String, Value>,
    critical: &[&str],
    mut required: Vec<&str>,
) -> Result<(), IntegrityError> {
    for name in critical {
        if let Some(position) = required.iter().position(|wanted| wanted == name) {
            required.remove(position);
        } else if !is_extended(name) || !object.contains_key(*name) {
            return Err(IntegrityError::header(
                *name,
                "it is marked critical but not present",
            ));
        }
    }
    match required.first() {
        None => Ok(()),
        Some(name) => Err(IntegrityError::header(
            *name,
            "it must be marked critical, but is not",
        )),
    }
}

/// Returns whether a member of the protected header is an extended attribute.
fn is_extended(name: &str) -> bool {
    !PROTECTED.contains(&name)
}

fn time(object: &Map<String, Value>, name: &str) -> Result<Option<Moment>, IntegrityError> {
    optional_text(object, name)?
        .map(|text| {
            headers::parse_rfc3339(text).ok_or_else(|| {
                IntegrityError::header(name, format!("{text:?} is not an RFC 3339 time"))
            })
        })
        .transpose()
}

fn certificates(header: &Map<String, Value>) -> Result<Vec<Vec<u8>>, IntegrityError> {
    let encoded = match header.get("x5c") {
        None | Some(Value::Null) => return Err(no_chain()),
        Some(Value::Array(encoded)) => encoded,
        Some(_) => return Err(IntegrityError::parse("x5c is not an array")),
    };
    if encoded.is_empty() {
        return Err(no_chain());
    }
    encoded
        .iter()
        .map(|certificate| match certificate {
            Value::String(text) => base64("x5c", text),
            _ => Err(IntegrityError::parse("x5c: an entry is not text")),
        })
        .collect()
}

fn no_chain() -> IntegrityError {
    IntegrityError::parse("certificate chain is not present")
}

/// Parses a JSON object in which no member differs from a known one only in case.
fn object(bytes: &[u8], what: &str, known: &[&str]) -> Result<Map<String, Value>, IntegrityError> {
    match json::parse(bytes) {
        Ok(Value::Object(object)) => {
            refuse_variants(&object, known)?;
            Ok(object)
        }
        Ok(_) => Err(IntegrityError::parse(format!(
            "{what} is not a JSON object"
        ))),
        Err(error) => Err(IntegrityError::parse(format!("{what}: {error}"))),
    }
}

fn refuse_variants(object: &Map<String, Value>, known: &[&str]) -> Result<(), IntegrityError> {
    match json::case_variant(object, known) {
        None => Ok(()),
        Some(name) => Err(IntegrityError::parse(format!(
            "member {name:?} differs from a known one only in case"
        ))),
    }
}

fn member_text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, IntegrityError> {
    object
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| IntegrityError::parse(format!("member {name:?} is not present as text")))
}

/// Returns a member that is absent or `null`, or is text.
fn optional_text<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, IntegrityError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(IntegrityError::header(name, "it is not text")),
    }
}

fn base64url(name: &str, text: &str) -> Result<Vec<u8>, IntegrityError> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| {
        IntegrityError::parse(format!("{name} is not canonical base64url without padding"))
    })
}

fn base64(name: &str, text: &str) -> Result<Vec<u8>, IntegrityError> {
    Base64::decode_vec(text)
        .map_err(|_| IntegrityError::parse(format!("{name} is not canonical base64 with padding")))
}
