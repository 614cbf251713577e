//! Trusted identities: distinguished names as policies write them, and whether a certificate's subject has one.
//!
//! The rules are those of notation, measured: types are case-sensitive, `S` means `ST`, quotes are literal, a part with several values or a
//! repeated type is refused, C, ST and O are mandatory, and an identity matches when each of its pairs is in the subject.

use std::collections::BTreeMap;

use super::words::{quote, quote_bytes};

/// The types that every identity must have.
const MANDATORY: [&[u8]; 3] = [b"C", b"ST", b"O"];

/// Is a distinguished name as a set of pairs. Values are bytes: an escape can make any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Identity {
    /// Parses a name. RFC 4514 with notation's restrictions.
    ///
    /// # Errors
    /// Says what is wrong, in notation's words.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        if name.contains("=#") {
            return Err(format!(
                "unsupported distinguished name (DN) {}: notation does not support x509.subject identities containing \"=#\"",
                quote(name)
            ));
        }
        let attributes = attributes(name).map_err(|problem| {
            format!(
                "parsing distinguished name (DN) {} failed with err: {problem}. A valid DN must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum, and follow RFC 4514 standard",
                quote(name)
            )
        })?;
        let identity = Self::collect(name, attributes)?;
        match MANDATORY
            .iter()
            .find(|field| identity.value(field).is_empty())
        {
            None => Ok(identity),
            Some(field) => Err(format!(
                "distinguished name (DN) {} has no mandatory RDN attribute for {}, it must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum",
                quote(name),
                quote_bytes(field)
            )),
        }
    }

    /// Returns whether every pair of this name is in `other`; an empty value is also in a name without the type.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.pairs
            .iter()
            .all(|(kind, value)| value.as_slice() == other.value(kind))
    }

    /// Returns the name the way notation lists it, such as `map["C":"US" "O":"x"]`.
    pub(crate) fn listed(&self) -> String {
        let pairs = self
            .pairs
            .iter()
            .map(|(kind, value)| format!("{}:{}", quote_bytes(kind), quote_bytes(value)));
        format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
    }

    /// Collects attributes into pairs.
    fn collect(name: &str, attributes: Vec<Attribute>) -> Result<Self, String> {
        let mut identity = Self::default();
        let mut rest = attributes.iter().peekable();
        while let Some(attribute) = rest.next() {
            if rest.peek().is_some_and(|next| next.follows_plus) {
                return Err(format!(
                    "distinguished name (DN) {} has multi-valued RDN attributes, remove multi-valued RDN attributes as they are not supported",
                    quote(name)
                ));
            }
            let kind = match attribute.kind.as_slice() {
                b"S" => b"ST".to_vec(),
                kind => kind.to_vec(),
            };
            if !identity.value(&kind).is_empty() {
                return Err(format!(
                    "distinguished name (DN) {} has duplicate RDN attribute for {}, DN can only have unique RDN attributes",
                    quote(name),
                    quote_bytes(&kind)
                ));
            }
            identity.pairs.insert(kind, attribute.value.clone());
        }
        Ok(identity)
    }

    /// Returns the value of a type, empty where there is none.
    fn value(&self, kind: &[u8]) -> &[u8] {
        self.pairs.get(kind).map_or(&[], Vec::as_slice)
    }
}

/// Is one attribute as written.
#[derive(Debug, Default)]
struct Attribute {
    kind: Vec<u8>,
    value: Vec<u8>,
    /// Whether it continues the part of the attribute before it.
    follows_plus: bool,
}

/// Splits a name into attributes.
fn attributes(name: &str) -> Result<Vec<Attribute>, String> {
    let mut found = Vec::new();
    if name.trim().is_empty() {
        return Ok(found);
    }
    let mut attribute = Attribute::default();
    let mut start = 0;
    let mut escaping = false;
    for (position, byte) in name.bytes().enumerate() {
        match byte {
            _ if escaping => escaping = false,
            b'\\' => escaping = true,
            b'=' if attribute.kind.is_empty() => {
                attribute.kind = decode(slice(name, start, position))?;
                start = position + 1;
            }
            b',' | b'+' | b';' => {
                if attribute.kind.is_empty() {
                    return Err("incomplete type, value pair".to_owned());
                }
                attribute.value = decode(slice(name, start, position))?;
                start = position + 1;
                found.push(std::mem::take(&mut attribute));
                attribute.follows_plus = byte == b'+';
            }
            _ => {}
        }
    }
    if attribute.kind.is_empty() {
        return Err("DN ended with incomplete type, value pair".to_owned());
    }
    attribute.value = decode(slice(name, start, name.len()))?;
    found.push(attribute);
    Ok(found)
}

/// Returns a part of `text`; both ends are beside ASCII characters or at the ends of the text.
fn slice(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).unwrap_or_default()
}

/// Removes spaces around a type or value and resolves its escapes.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    let trimmed = trim(text);
    let mut out = Vec::with_capacity(trimmed.len());
    let mut rest = trimmed.chars();
    let mut buffer = [0; 4];
    while let Some(character) = rest.next() {
        if character != '\\' {
            out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        match rest.next() {
            None => return Err(format!("got corrupted escaped character: '{trimmed}'")),
            Some(escaped) if " \"#+,;<=>\\".contains(escaped) => {
                out.extend_from_slice(escaped.encode_utf8(&mut buffer).as_bytes());
            }
            Some(first) => out.push(hex_pair(first, rest.next())?),
        }
    }
    Ok(out)
}

/// Trims spaces, but keeps one at the end that a backslash escapes.
fn trim(text: &str) -> &str {
    let start = text.trim_start_matches(' ');
    let trimmed = start.trim_end_matches(' ');
    if trimmed.ends_with('\\') && start.len() > trimmed.len() {
        start.get(..trimmed.len() + 1).unwrap_or(trimmed)
    } else {
        trimmed
    }
}

/// Returns the byte of two hexadecimal digits.
fn hex_pair(first: char, second: Option<char>) -> Result<u8, String> {
    let Some(second) = second else {
        return Err(format!(
            "failed to decode escaped character: encoding/hex: invalid byte: {first}"
        ));
    };
    if !first.is_ascii() || !second.is_ascii() {
        return Err(format!(
            "failed to decode escaped character: invalid byte: {first}{second}"
        ));
    }
    let digit = |character: char| {
        let value = character.to_digit(16).and_then(|v| u8::try_from(v).ok());
        value.ok_or_else(|| {
            let shown = match character {
                ' '..='~' => format!(" '{character}'"),
                _ => String::new(),
            };
            format!(
                "failed to decode escaped character: encoding/hex: invalid byte: U+{:04X}{shown}",
                u32::from(character)
            )
        })
    };
    Ok(digit(first)? << 4 | digit(second)?)
}

#[cfg(test)]
mod tests;
