//! Whether the bytes written so far are a whole JSON document, the beginning of one, or neither.
//!
//! Not here: whether a whole document is a policy (`notary`).

use serde::de::IgnoredAny;
use serde_json::error::Category;

/// Tells how much of a JSON document some bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Document {
    /// A whole one.
    Complete,
    /// More may follow.
    Incomplete,
    /// Nothing that follows can mend it.
    Broken(String),
}

/// Classifies bytes.
pub(super) fn classify(bytes: &[u8]) -> Document {
    let error = match parse(bytes) {
        Ok(_) => return Document::Complete,
        Err(error) => error,
    };
    // The parser calls a number that ends in a sign, point or exponent wrong, though its digits may follow.
    let with_digit = || parse(&[bytes, b"1"].concat()).err();
    let is_cut = error.classify() == Category::Eof
        || matches!(bytes.last(), Some(b'-' | b'+' | b'.' | b'e' | b'E'))
            && with_digit().is_none_or(|error| error.classify() == Category::Eof);
    if is_cut {
        return Document::Incomplete;
    }
    Document::Broken(format!("not JSON: {error}"))
}

fn parse(bytes: &[u8]) -> Result<IgnoredAny, serde_json::Error> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_a_document_is_incomplete() {
        let text = r#"{"version":"1.0","a":[1,-2.5e3,true,null,"\u00e9\n"],"b":{}}"#;
        for end in 0..text.len() {
            let beginning = text.as_bytes().get(..end).unwrap();
            assert_eq!(classify(beginning), Document::Incomplete, "{end}");
        }
        assert_eq!(classify(text.as_bytes()), Document::Complete);
        assert_eq!(
            classify(format!("{text}\n \n").as_bytes()),
            Document::Complete
        );
    }

    #[test]
    fn what_cannot_become_json_is_broken() {
        for text in [
            "bad",
            "{]",
            "{\"a\":1}x",
            "{\"a\" 1",
            "# x",
            "{\"a\":01}",
            "{}{",
        ] {
            assert!(
                matches!(classify(text.as_bytes()), Document::Broken(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_character_cut_in_half_is_incomplete() {
        let text = "{\"a\":\"\u{e9}\"}".as_bytes();
        let cut = text.iter().position(|byte| *byte >= 0x80).unwrap() + 1;
        assert_eq!(classify(&text[..cut]), Document::Incomplete);
    }
}
