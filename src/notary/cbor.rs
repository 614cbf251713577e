//! CBOR as COSE envelopes need it: a strict reader and the few writers that sealing uses. RFC 8949.
//!
//! Definite lengths only, no duplicate keys, keys are integers or text, nesting bounded, every length compared with the
//! bytes that are left before anything is allocated. Longer forms of an integer than needed and any order of keys are
//! accepted, as notation does. Not here: what the maps mean (`cose`).

use std::collections::BTreeMap;

use super::headers::parse_rfc3339;
use crate::oci::limits::{CBOR_DEPTH_MAX, CBOR_VALUES_MAX};

/// Is one decoded item.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Major types 0 and 1, as far as 64 bits with a sign go.
    Integer(i64),
    /// Major type 2.
    Bytes(Vec<u8>),
    /// Major type 3.
    Text(String),
    /// Major type 4.
    Array(Vec<Value>),
    /// Major type 5.
    Map(Map),
    /// Major type 6.
    Tag(u64, Box<Value>),
    /// Floats of any width.
    Float(f64),
    /// `false`, `true`, `null`, `undefined` and unassigned simple values, by number.
    Simple(u8),
}

/// Is a key of a map. Other types of key are refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// An integer.
    Integer(i64),
    /// Text.
    Text(String),
}

/// Is a decoded map.
pub(super) type Map = BTreeMap<Label, Value>;

/// Says whether tags are accepted in what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tags {
    /// They are.
    Accepted,
    /// They are not.
    Refused,
}

/// Is what is wrong with bytes that are not acceptable CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cbor: {problem}")]
pub(super) struct CborError {
    problem: &'static str,
}

const fn refuse<T>(problem: &'static str) -> Result<T, CborError> {
    Err(CborError { problem })
}

impl std::fmt::Display for Label {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
        }
    }
}

impl Value {
    /// Returns the text, where it is text.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Returns the only map in `bytes`.
pub(super) fn read_map(bytes: &[u8], tags: Tags) -> Result<Map, CborError> {
    let mut reader = Reader::new(bytes, tags);
    let map = reader.map(0)?;
    reader.end()?;
    Ok(map)
}

/// Reads items from the front of a slice.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    tags: Tags,
    /// Items that may still come: one byte can be an item that takes fifty in memory.
    room: usize,
}

/// Is the head of an item: major type, additional information, argument.
struct Head {
    major: u8,
    information: u8,
    argument: u64,
}

impl<'a> Reader<'a> {
    /// Returns a reader that starts at the front of `bytes`.
    pub(super) fn new(bytes: &'a [u8], tags: Tags) -> Self {
        Self {
            rest: bytes,
            tags,
            room: CBOR_VALUES_MAX,
        }
    }

    /// Succeeds at the end of the input.
    pub(super) fn end(&self) -> Result<(), CborError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            refuse("bytes after the end")
        }
    }

    /// Returns the content of the byte string that is next, without copying it.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let head = self.head()?;
        if head.major != 2 {
            return refuse("a byte string is needed");
        }
        self.take(head.argument)
    }

    /// Returns the map that is next, at a depth of nesting.
    pub(super) fn map(&mut self, depth: usize) -> Result<Map, CborError> {
        let head = self.head()?;
        if head.major != 5 {
            return refuse("a map is needed");
        }
        self.entries(head.argument, depth)
    }

    fn value(&mut self, depth: usize) -> Result<Value, CborError> {
        if depth > CBOR_DEPTH_MAX {
            return refuse("nesting is too deep");
        }
        self.room = match self.room.checked_sub(1) {
            Some(room) => room,
            None => return refuse("too many items"),
        };
        let head = self.head()?;
        match head.major {
            0 | 1 => integer(&head),
            2 => Ok(Value::Bytes(self.take(head.argument)?.to_vec())),
            3 => self.text(head.argument).map(Value::Text),
            4 => self.items(head.argument, depth).map(Value::Array),
            5 => self.entries(head.argument, depth).map(Value::Map),
            6 if self.tags == Tags::Refused => refuse("a tag where none is allowed"),
            6 => tagged(head.argument, self.value(depth.saturating_add(1))?),
            _ => simple_or_float(&head),
        }
    }

    fn items(&mut self, count: u64, depth: usize) -> Result<Vec<Value>, CborError> {
        self.fits(count)?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.value(depth.saturating_add(1))?);
        }
        Ok(items)
    }

    fn entries(&mut self, count: u64, depth: usize) -> Result<Map, CborError> {
        self.fits(count.saturating_mul(2))?;
        let mut map = Map::new();
        for _ in 0..count {
            let label = match self.value(depth.saturating_add(1))? {
                Value::Integer(number) => Label::Integer(number),
                Value::Text(text) => Label::Text(text),
                _ => return refuse("a key is neither an integer nor text"),
            };
            let value = self.value(depth.saturating_add(1))?;
            if map.insert(label, value).is_some() {
                return refuse("a duplicate key");
            }
        }
        Ok(map)
    }

    /// Refuses a count of items that needs more bytes than are left.
    fn fits(&self, count: u64) -> Result<(), CborError> {
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() => Ok(()),
            _ => refuse("more items announced than bytes are left"),
        }
    }

    fn text(&mut self, length: u64) -> Result<String, CborError> {
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => refuse("text that is not UTF-8"),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CborError> {
        let parts = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let Some((front, rest)) = parts else {
            return refuse("the input ends early");
        };
        self.rest = rest;
        Ok(front)
    }

    fn head(&mut self) -> Result<Head, CborError> {
        let first = self.take(1)?.first().copied().unwrap_or_default();
        let information = first & 0x1f;
        let argument = match information {
            0..=23 => u64::from(information),
            24..=27 => self
                .take(1 << (information - 24))?
                .iter()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
            31 => return refuse("an indefinite length"),
            _ => return refuse("a reserved length"),
        };
        Ok(Head {
            major: first >> 5,
            information,
            argument,
        })
    }
}

/// Returns the value of an item of major type 0 or 1.
fn integer(head: &Head) -> Result<Value, CborError> {
    let Ok(number) = i64::try_from(head.argument) else {
        return refuse("an integer of more than 64 bits");
    };
    // All bits of `-1 - number` are those of `number` inverted.
    Ok(Value::Integer(if head.major == 0 {
        number
    } else {
        !number
    }))
}

/// Returns a tagged value; what is in the tags of RFC 8949 section 3.4 must be of the type that they want.
fn tagged(tag: u64, content: Value) -> Result<Value, CborError> {
    let fits = match (tag, &content) {
        (0, Value::Text(text)) => parse_rfc3339(text).is_some(),
        (1, Value::Integer(_) | Value::Float(_)) | (2 | 3, Value::Bytes(_)) => true,
        (0..=3, _) => false,
        _ => true,
    };
    if fits {
        Ok(Value::Tag(tag, Box::new(content)))
    } else {
        refuse("a tag around another type than it is for")
    }
}

/// Returns the value of an item of major type 7.
fn simple_or_float(head: &Head) -> Result<Value, CborError> {
    match (head.information, u32::try_from(head.argument)) {
        (25, Ok(bits)) => Ok(Value::Float(half(bits))),
        (26, Ok(bits)) => Ok(Value::Float(f64::from(f32::from_bits(bits)))),
        (27, _) => Ok(Value::Float(f64::from_bits(head.argument))),
        (24, Ok(number)) if number < 32 => refuse("a simple value in a form that is too long"),
        (_, Ok(number)) => match u8::try_from(number) {
            Ok(number) => Ok(Value::Simple(number)),
            Err(_) => refuse("an unknown simple value"),
        },
        (_, Err(_)) => refuse("an unknown simple value"),
    }
}

/// Returns the value of a 16-bit float. RFC 8949, appendix D.
fn half(bits: u32) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match (bits >> 10) & 0x1f {
        0 => fraction * 2f64.powi(-24),
        31 if bits & 0x3ff == 0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => {
            (fraction + 1024.0) * 2f64.powi(i32::try_from(exponent).unwrap_or_default() - 25)
        }
    };
    if bits & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// Writes the head of an item in its shortest form.
pub(super) fn write_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    let (information, skipped) = match argument {
        0..=23 => {
            out.push(major | u8::try_from(argument).expect("it is below 24"));
            return;
        }
        24..=0xff => (24, 7),
        0x100..=0xffff => (25, 6),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 0),
    };
    out.push(major | information);
    out.extend(bytes.iter().skip(skipped));
}

/// Writes an integer.
pub(super) fn write_integer(out: &mut Vec<u8>, number: i64) {
    match u64::try_from(number) {
        Ok(positive) => write_head(out, 0, positive),
        Err(_) => write_head(out, 1, number.unsigned_abs() - 1),
    }
}

/// Writes a byte string.
pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_head(out, 2, length(bytes));
    out.extend_from_slice(bytes);
}

/// Writes a text.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_head(out, 3, length(text.as_bytes()));
    out.extend_from_slice(text.as_bytes());
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length in memory fits 64 bits")
}

#[cfg(test)]
mod tests;
