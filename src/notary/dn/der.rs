//! The DER of names: string types, on top of the elements that certificates share.

use super::NameError;

pub(super) use crate::notary::element::{
    OBJECT_IDENTIFIER, Reader, SEQUENCE, SET, object_identifier,
};

/// Returns the text of a string of any type that names may use. X.680 section 41.
pub(super) fn string(tag: u8, content: &[u8]) -> Result<String, NameError> {
    match tag {
        0x0c => String::from_utf8(content.to_vec()).map_err(|_| refused("a malformed UTF8String")),
        0x12 => restricted(content, |byte| byte.is_ascii_digit() || byte == b' '),
        0x13 => restricted(content, is_printable),
        0x14 => Ok(content.iter().copied().map(char::from).collect()),
        0x16 => restricted(content, |byte| byte.is_ascii()),
        0x1e => basic_plane(content),
        _ => Err(refused("a value that is no string of a known type")),
    }
}

/// Returns the text of bytes that all satisfy `allowed`, which implies ASCII.
fn restricted(content: &[u8], allowed: fn(u8) -> bool) -> Result<String, NameError> {
    if content.iter().all(|byte| allowed(*byte)) {
        Ok(content.iter().copied().map(char::from).collect())
    } else {
        Err(refused("a character that its string type does not have"))
    }
}

/// Returns whether a PrintableString may hold a byte; `*` and `&` are not in the standard but in certificates.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(&byte)
}

/// Returns the text of a BMPString: two bytes a character, no surrogates or noncharacters, one terminator dropped.
fn basic_plane(content: &[u8]) -> Result<String, NameError> {
    let malformed = || refused("a malformed BMPString");
    let (pairs, []) = content.as_chunks::<2>() else {
        return Err(malformed());
    };
    let pairs = pairs.strip_suffix(&[[0, 0]]).unwrap_or(pairs);
    pairs
        .iter()
        .map(|pair| {
            let code = u16::from_be_bytes(*pair);
            let noncharacter = code >= 0xfffe || (0xfdd0..=0xfdef).contains(&code);
            match char::from_u32(u32::from(code)) {
                Some(character) if !noncharacter => Ok(character),
                _ => Err(malformed()),
            }
        })
        .collect()
}

/// Returns the refusal for a problem.
fn refused(problem: &'static str) -> NameError {
    NameError { problem }
}
