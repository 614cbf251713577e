//! Distinguished names of certificates as text, rendered the way notation prints and compares them.
//!
//! The order is fixed whatever the certificate's is: SERIALNUMBER, CN, OU, O, POSTALCODE, STREET, L, ST, C, then attributes without a
//! short name. Values of one type are joined by `+`; of serial number and common name the last one counts.
//! Not here: comparing names with trusted identities (`identity`).

mod der;

use der::Reader;

use super::element::ElementError;

/// The types with a short name, in the order in which they are printed: last arc of `2.5.4.N`, name.
const NAMED: [(u64, &str); 9] = [
    (5, "SERIALNUMBER"),
    (3, "CN"),
    (11, "OU"),
    (10, "O"),
    (17, "POSTALCODE"),
    (9, "STREET"),
    (7, "L"),
    (8, "ST"),
    (6, "C"),
];

/// The types of which a name shows one value only.
const SINGLE: [u64; 2] = [3, 5];

/// Bytes of a malformed name that are shown.
const MALFORMED_BYTES_SHOWN: usize = 64;

/// Is one attribute of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameAttribute {
    /// The arcs of the type.
    arcs: Vec<u64>,
    /// The value, decoded from its string type.
    value: String,
}

/// Says why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed name: {problem}")]
pub struct NameError {
    /// What is wrong.
    pub problem: &'static str,
}

impl From<ElementError> for NameError {
    fn from(error: ElementError) -> Self {
        Self {
            problem: error.problem,
        }
    }
}

/// Returns the name as text; a malformed one as `#` and the hexadecimal form of its first bytes, which no trusted identity matches.
#[must_use]
pub fn render(name: &[u8]) -> String {
    match parse(name) {
        Ok(attributes) => text(&attributes),
        Err(NameError { .. }) => malformed(name),
    }
}

/// Checks that a name can be read: strict DER, known string types, values that their type allows.
///
/// # Errors
/// Says what is wrong.
pub fn check(name: &[u8]) -> Result<(), NameError> {
    parse(name).map(|_| ())
}

/// Returns the attributes of a name in the order of the certificate, multi-valued parts flattened.
fn parse(name: &[u8]) -> Result<Vec<NameAttribute>, NameError> {
    let mut outer = Reader::new(name);
    let mut parts = Reader::new(outer.expect_tag(der::SEQUENCE)?);
    outer.finish()?;
    let mut attributes = Vec::new();
    while !parts.is_empty() {
        let mut set = Reader::new(parts.expect_tag(der::SET)?);
        while !set.is_empty() {
            let mut attribute = Reader::new(set.expect_tag(der::SEQUENCE)?);
            let arcs = der::object_identifier(attribute.expect_tag(der::OBJECT_IDENTIFIER)?)?;
            let (tag, value) = attribute.element()?;
            attributes.push(NameAttribute {
                arcs,
                value: der::string(tag, value)?,
            });
        }
    }
    Ok(attributes)
}

/// Returns the text of parsed attributes.
fn text(attributes: &[NameAttribute]) -> String {
    let mut parts: Vec<String> = NAMED
        .iter()
        .filter_map(|(arc, name)| named_part(attributes, *arc, name))
        .collect();
    let unnamed = attributes.iter().rev().filter(|a| short_arc(a).is_none());
    parts.extend(unnamed.map(|a| format!("{}={}", dotted(&a.arcs), escape(&a.value))));
    parts.join(",")
}

/// Returns the part of one type with a short name, where the name has any.
fn named_part(attributes: &[NameAttribute], arc: u64, name: &str) -> Option<String> {
    let mut values: Vec<&str> = attributes
        .iter()
        .filter(|a| short_arc(a) == Some(arc))
        .map(|a| a.value.as_str())
        .collect();
    if SINGLE.contains(&arc) {
        values = values.pop().filter(|v| !v.is_empty()).into_iter().collect();
    }
    if values.is_empty() {
        return None;
    }
    let pairs = values.iter().map(|v| format!("{name}={}", escape(v)));
    Some(pairs.collect::<Vec<_>>().join("+"))
}

/// Returns the last arc of a type that has a short name.
fn short_arc(attribute: &NameAttribute) -> Option<u64> {
    match attribute.arcs.as_slice() {
        [2, 5, 4, last] if NAMED.iter().any(|(arc, _)| arc == last) => Some(*last),
        _ => None,
    }
}

/// Returns the dotted form of an object identifier.
fn dotted(arcs: &[u64]) -> String {
    let arcs: Vec<String> = arcs.iter().map(u64::to_string).collect();
    arcs.join(".")
}

/// Escapes a value: specials anywhere, a space at either end, a number sign at the start. RFC 2253 section 2.4.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (position, character) in value.char_indices() {
        let special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => position == 0 || position == last,
            '#' => position == 0,
            _ => false,
        };
        if special {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Returns what is shown of a name that cannot be read.
fn malformed(name: &[u8]) -> String {
    let shown = name.iter().take(MALFORMED_BYTES_SHOWN);
    let hex: String = shown.map(|byte| format!("{byte:02x}")).collect();
    let rest = if name.len() > MALFORMED_BYTES_SHOWN {
        "..."
    } else {
        ""
    };
    format!("#{hex}{rest}")
}

#[cfg(test)]
mod tests;
