//! Strict JSON: what two readers could understand differently is refused, with its position.
//!
//! Values keep the order of their members, so that a document can be edited as a tree. Not here: what members mean.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::limits::JSON_VALUES_MAX;

/// Says why bytes are not a JSON document that is accepted here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at line {line} column {column}")]
pub struct JsonError {
    /// What is wrong.
    pub problem: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// Returns the document in `bytes`.
///
/// # Errors
/// Refuses what RFC 8259 refuses, a byte order mark, bytes after the document, duplicate members, lone surrogates,
/// nesting over `JSON_DEPTH_MAX`, more than `JSON_VALUES_MAX` values.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError {
            problem: "byte order mark".to_owned(),
            line: 1,
            column: 1,
        });
    }
    let room = Cell::new(JSON_VALUES_MAX);
    // The nesting limit is the reader's own: it stops at its 128th level.
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Strict { room: &room }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| JsonError::from_reader(&error))
}

/// Returns the first member of `object` that equals one of `known` but for case.
///
/// Case is folded as Go's `encoding/json` folds it: beside ASCII letters, U+017F is an `s` and U+212A a `k`.
#[must_use]
pub fn case_variant<'a>(object: &'a Map<String, Value>, known: &[&str]) -> Option<&'a str> {
    object.keys().map(String::as_str).find(|member| {
        let is_ascii = member.is_ascii();
        known.iter().any(|name| {
            let is_equal = match is_ascii {
                true => name.eq_ignore_ascii_case(member),
                false => name.chars().map(fold).eq(member.chars().map(fold)),
            };
            is_equal && name != member
        })
    })
}

fn fold(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => letter.to_ascii_lowercase(),
    }
}

/// Returns whether the text of one of these members of an object is written with an escape sequence.
#[must_use]
pub fn is_escaped(object: &[u8], members: &[&str]) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(object);
    // What is no text, or no object, has no escape.
    Escapes { members }
        .deserialize(&mut reader)
        .unwrap_or_default()
}

impl JsonError {
    fn from_reader(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let position = format!(" at line {line} column {column}");
        Self {
            problem: text.strip_suffix(&position).unwrap_or(&text).to_owned(),
            line,
            column,
        }
    }
}

/// Builds a value, counting down the values that may still come.
#[derive(Clone, Copy)]
struct Strict<'a> {
    room: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        let Some(left) = self.room.get().checked_sub(1) else {
            return Err(D::Error::custom(format_args!(
                "more than {JSON_VALUES_MAX} values"
            )));
        };
        self.room.set(left);
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element_seed(self)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            match members.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(access.next_value_seed(self)?);
                }
                Entry::Occupied(place) => {
                    let shown: String = place.key().chars().take(64).collect();
                    return Err(A::Error::custom(format_args!(
                        "member {shown:?} is given twice"
                    )));
                }
            }
        }
        Ok(Value::Object(members))
    }
}

/// Looks how the texts of some members are written.
#[derive(Clone, Copy)]
struct Escapes<'a> {
    members: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for Escapes<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Escapes<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or a text")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    /// A text that stands in the document as it is.
    fn visit_borrowed_str<E>(self, _: &'de str) -> Result<bool, E> {
        Ok(false)
    }

    /// A text that had to be put together.
    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(name) = access.next_key::<String>()? {
            match self.members.contains(&&*name) {
                true => found |= access.next_value_seed(self)?,
                false => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
