//! COSE envelopes: one `COSE_Sign1_Tagged` object, read strictly. RFC 9052 section 4.2.
//!
//! Not here: the encoding itself (`cbor`), what the payload says (`payload`), sealing (`seal`).

use std::collections::BTreeSet;

use super::cbor::{self, CborError, Label, Map, Reader, Tags, Value};
use super::envelope::Parts;
use super::headers::{
    self, AUTHENTIC_SIGNING_TIME, EXPIRY, Headers, Moment, RawHeaders, SIGNING_AGENT,
    SIGNING_SCHEME, SIGNING_TIME, TIMESTAMP_SIGNATURE,
};
use super::{Attribute, EnvelopeFormat, IntegrityError, SigningScheme};

/// Tag 18 in its one-byte form, then an array of four.
pub(super) const PREFIX: [u8; 2] = [0xd2, 0x84];

/// The label of the algorithm.
const ALGORITHM: Label = Label::Integer(1);
/// The label of the list of critical labels.
const CRITICAL: Label = Label::Integer(2);
/// The label of the content type.
const CONTENT_TYPE: Label = Label::Integer(3);
/// The number of the label of the certificate chain.
pub(super) const X5CHAIN_NUMBER: i64 = 33;
/// The label of the certificate chain.
const X5CHAIN: Label = Label::Integer(X5CHAIN_NUMBER);

/// Parses an envelope.
pub(super) fn parse(bytes: &[u8]) -> Result<Parts, IntegrityError> {
    let Some(content) = bytes.strip_prefix(&PREFIX) else {
        return Err(IntegrityError::parse(
            "it is not a COSE_Sign1_Tagged object",
        ));
    };
    let mut reader = Reader::new(content, Tags::Refused);
    let protected = reader.bytes()?;
    let mut unprotected = reader.map(0)?;
    let payload = reader.bytes()?;
    let signature = reader.bytes()?;
    reader.end()?;
    let headers = match protected {
        [] => Map::new(),
        _ => cbor::read_map(protected, Tags::Accepted)?,
    };
    check_generic(&headers, Bucket::Protected)?;
    check_generic(&unprotected, Bucket::Unprotected)?;
    if has_both_vectors(&headers, &unprotected) {
        return Err(IntegrityError::header(
            "5",
            "IV and partial IV exclude each other",
        ));
    }
    if signature.is_empty() {
        return Err(IntegrityError::parse("the signature is empty"));
    }
    let algorithm = match headers.get(&ALGORITHM) {
        Some(Value::Integer(number)) => number.to_string(),
        _ => {
            return Err(IntegrityError::header(
                "alg",
                "it is not present as a number",
            ));
        }
    };
    Ok(Parts {
        format: EnvelopeFormat::Cose,
        algorithm,
        signed: signed_bytes(protected, payload),
        payload: payload.to_vec(),
        signature: signature.to_vec(),
        certificates: certificates(unprotected.remove(&X5CHAIN))?,
        agent: match unprotected.remove(&text(SIGNING_AGENT)) {
            Some(Value::Text(agent)) => Some(agent),
            _ => None,
        },
        timestamp: match unprotected.remove(&text(TIMESTAMP_SIGNATURE)) {
            Some(Value::Bytes(token)) => Some(token),
            _ => None,
        },
        headers: RawHeaders::Cose(headers),
    })
}

/// Returns the `Sig_structure`, which is what the signature is over: the protected header as received.
pub(super) fn signed_bytes(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(protected.len() + payload.len() + 32);
    cbor::write_head(&mut out, 4, 4);
    cbor::write_text(&mut out, "Signature1");
    cbor::write_bytes(&mut out, protected);
    cbor::write_bytes(&mut out, &[]);
    cbor::write_bytes(&mut out, payload);
    out
}

/// Holds a protected header against the rules.
pub(super) fn read_headers(map: &Map) -> Result<Headers, IntegrityError> {
    let critical = critical(map)?;
    let Some(scheme_name) = map.get(&text(SIGNING_SCHEME)).and_then(Value::as_text) else {
        return Err(IntegrityError::header(
            SIGNING_SCHEME,
            "it is not present as text",
        ));
    };
    let authority = scheme_name == SigningScheme::SigningAuthority.name();
    for (name, required) in [
        (SIGNING_SCHEME, true),
        (AUTHENTIC_SIGNING_TIME, authority),
        (EXPIRY, map.contains_key(&text(EXPIRY))),
    ] {
        if required && !critical.contains(&text(name)) {
            return Err(IntegrityError::header(
                name,
                "it must be marked critical, but is not",
            ));
        }
    }
    let scheme = headers::scheme(scheme_name)?;
    let time_name = match scheme {
        SigningScheme::X509 => SIGNING_TIME,
        SigningScheme::SigningAuthority => AUTHENTIC_SIGNING_TIME,
    };
    let Some(signing_time) = time(map, time_name)?.and_then(Moment::given) else {
        return Err(IntegrityError::header(time_name, "it is not present"));
    };
    let expiry = time(map, EXPIRY)?.and_then(Moment::given);
    let (signing_time, expiry) = headers::check_times(signing_time, expiry)?;
    let content_type = match map.get(&CONTENT_TYPE) {
        Some(Value::Text(name)) => name.clone(),
        _ => {
            return Err(IntegrityError::header(
                "content type",
                "it is not present as text",
            ));
        }
    };
    Ok(Headers {
        content_type,
        scheme,
        signing_time,
        expiry,
        attributes: attributes(map, &critical),
    })
}

/// Returns every header that neither COSE's basics nor the Notary Project define.
fn attributes(map: &Map, critical: &BTreeSet<Label>) -> Vec<Attribute> {
    let system = |label: &Label| match label {
        Label::Integer(1..=3) => true,
        Label::Integer(_) => false,
        Label::Text(name) => {
            [SIGNING_SCHEME, SIGNING_TIME, AUTHENTIC_SIGNING_TIME, EXPIRY].contains(&name.as_str())
        }
    };
    map.iter()
        .filter(|(label, _)| !system(label))
        .map(|(label, value)| Attribute {
            name: label.to_string(),
            critical: critical.contains(label),
            text: value.as_text().map(str::to_owned),
        })
        .collect()
}

/// Returns the labels in `crit`, all of which are present.
fn critical(map: &Map) -> Result<BTreeSet<Label>, IntegrityError> {
    let labels = match map.get(&CRITICAL) {
        None => return Ok(BTreeSet::new()),
        Some(Value::Array(labels)) if !labels.is_empty() => labels,
        Some(_) => {
            return Err(IntegrityError::header(
                "crit",
                "it is empty or not an array",
            ));
        }
    };
    let mut critical = BTreeSet::new();
    for label in labels {
        let label = match label {
            Value::Integer(number) => Label::Integer(*number),
            Value::Text(name) => text(name),
            _ => {
                return Err(IntegrityError::header(
                    "crit",
                    "an entry is neither a number nor text",
                ));
            }
        };
        if !map.contains_key(&label) {
            return Err(IntegrityError::header(
                label.to_string(),
                "it is marked critical but not present",
            ));
        }
        critical.insert(label);
    }
    Ok(critical)
}

/// Says which of the two maps a header is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bucket {
    Protected,
    Unprotected,
}

/// Checks the headers that COSE itself defines, as go-cose does: types, and which map they may be in. RFC 9052 section 3.1.
fn check_generic(map: &Map, bucket: Bucket) -> Result<(), IntegrityError> {
    let both_vectors = [5, 6]
        .iter()
        .all(|number| map.contains_key(&Label::Integer(*number)));
    for (label, value) in map {
        let Label::Integer(number) = label else {
            continue;
        };
        let holds = match (number, bucket) {
            (1, _) => matches!(value, Value::Integer(_) | Value::Text(_)),
            (2, _) => bucket == Bucket::Protected,
            (3 | 16, _) => is_content_type(value),
            (5 | 6, _) if both_vectors => false,
            (4..=6, _) | (9 | 12, Bucket::Unprotected) => matches!(value, Value::Bytes(_)),
            (7 | 11, Bucket::Unprotected) => is_countersignature(value),
            (7 | 9 | 11 | 12, Bucket::Protected) => false,
            _ => true,
        };
        if !holds {
            return Err(IntegrityError::header(
                if *number == 3 {
                    "content type".to_owned()
                } else {
                    label.to_string()
                },
                "COSE does not allow it here, or not with this value",
            ));
        }
    }
    Ok(())
}

/// Returns whether a value is a number from 0, or text of the form `type/subtype`.
fn is_content_type(value: &Value) -> bool {
    match value {
        Value::Integer(number) => *number >= 0,
        Value::Text(name) => {
            name.matches('/').count() == 1 && !name.starts_with(' ') && !name.ends_with(' ')
        }
        _ => false,
    }
}

/// Returns whether a value has the shape of a countersignature, or of several. None is ever verified.
fn is_countersignature(value: &Value) -> bool {
    let one = |value: &Value| {
        matches!(value, Value::Array(parts) if matches!(
            parts.as_slice(),
            [Value::Bytes(_), Value::Map(_), Value::Bytes(_)]
        ))
    };
    one(value) || matches!(value, Value::Array(items) if !items.is_empty() && items.iter().all(one))
}

/// Returns whether there is an IV and a partial IV, wherever. RFC 9052 section 3.1.
fn has_both_vectors(protected: &Map, unprotected: &Map) -> bool {
    let has = |number| {
        let label = Label::Integer(number);
        protected.contains_key(&label) || unprotected.contains_key(&label)
    };
    has(5) && has(6)
}

/// Returns a time: tag 1 around a number.
fn time(map: &Map, name: &str) -> Result<Option<Moment>, IntegrityError> {
    let refuse = |problem: &str| Err(IntegrityError::header(name, problem));
    let content = match map.get(&text(name)) {
        None => return Ok(None),
        Some(Value::Tag(1, content)) => content.as_ref(),
        Some(Value::Tag(_, _)) => return refuse("only tag 1 is supported for times"),
        Some(_) => return refuse("it is not a tagged time"),
    };
    match content {
        Value::Integer(seconds) => Ok(Some(Moment {
            seconds: *seconds,
            nanoseconds: 0,
        })),
        Value::Float(number) => match moment_of(*number) {
            Some(moment) => Ok(Some(moment)),
            None => refuse("it is out of range"),
        },
        _ => refuse("it is not a number"),
    }
}

/// Returns a time given in seconds and a fraction, from year 1 to year 9999.
///
/// The fraction is cut to nanoseconds towards zero before it counts, as Go does.
fn moment_of(number: f64) -> Option<Moment> {
    if !(-62_135_596_800.0..=253_402_300_799.0).contains(&number) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both are whole numbers within a range that was just checked"
    )]
    let (seconds, nanoseconds) = (number.trunc() as i64, (number.fract() * 1e9).trunc() as i64);
    Some(Moment {
        seconds: seconds + nanoseconds.div_euclid(1_000_000_000),
        nanoseconds: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?,
    })
}

/// Returns the chain, which is an array even for one certificate.
fn certificates(chain: Option<Value>) -> Result<Vec<Vec<u8>>, IntegrityError> {
    let absent = || IntegrityError::parse("certificate chain is not present");
    match chain {
        Some(Value::Array(certificates)) if !certificates.is_empty() => certificates
            .into_iter()
            .map(|certificate| match certificate {
                Value::Bytes(der) => Ok(der),
                _ => Err(absent()),
            })
            .collect(),
        _ => Err(absent()),
    }
}

/// Returns a label of text.
fn text(name: &str) -> Label {
    Label::Text(name.to_owned())
}

impl From<CborError> for IntegrityError {
    fn from(error: CborError) -> Self {
        Self::parse(error.to_string())
    }
}
