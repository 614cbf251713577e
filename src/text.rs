//! Escaping of untrusted text before it reaches a terminal, a line-based file or a file name.
//!
//! Works on bytes: a character outside ASCII becomes one escape per byte of its UTF-8 form.

use std::fmt::Write as _;

use crate::oci::Digest;

/// Bytes of the longest file name.
const FILE_NAME_BYTES_MAX: usize = 255;
/// Hex digits of the hash that ends a file name that was cut.
const HASH_DIGITS: usize = 12;

/// Escapes everything outside 0x21-0x7e, and `\`, as `\xHH`, so that the result is one word.
#[must_use]
pub fn escape_word(text: &str) -> String {
    escape(text, |byte| matches!(byte, 0x21..=0x7e) && byte != b'\\')
}

/// Escapes control characters, bidirectional marks and everything outside ASCII as `\xHH`; spaces stay.
#[must_use]
pub fn escape_line(text: &str) -> String {
    escape(text, |byte| matches!(byte, 0x20..=0x7e))
}

/// Escapes only what acts on a terminal or ends a line: control characters, and marks that change the direction or order of text.
///
/// For names that the user typed, which may be in any language.
#[must_use]
pub fn escape_typed(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let acts = character.is_control()
            || matches!(
                character,
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            );
        if acts {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                push_escaped(&mut escaped, byte, false, "\\x");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Escapes a name for use as a file name: `%XX` for `%`, `~`, `/`, bytes outside 0x21-0x7e and a leading dot;
/// over 255 bytes cut plus `~HASH12` (the first 12 hex digits of the SHA-256 of the raw name).
///
/// An empty name, which no file can have, becomes its hash alone.
#[must_use]
pub fn escape_file_name(raw: &[u8]) -> String {
    let mut escaped = String::with_capacity(raw.len());
    // The last length at which an escaped byte ends and a hash still fits behind.
    let mut cut = 0;
    for (position, byte) in raw.iter().enumerate() {
        let plain = matches!(byte, 0x21..=0x7e)
            && !matches!(byte, b'%' | b'~' | b'/')
            && !(position == 0 && *byte == b'.');
        push_escaped(&mut escaped, *byte, plain, "%");
        if escaped.len() < FILE_NAME_BYTES_MAX - HASH_DIGITS {
            cut = escaped.len();
        }
        if escaped.len() > FILE_NAME_BYTES_MAX {
            break;
        }
    }
    if !raw.is_empty() && escaped.len() <= FILE_NAME_BYTES_MAX {
        return escaped;
    }
    escaped.truncate(cut);
    escaped.push('~');
    escaped.extend(Digest::of(raw).hex().chars().take(HASH_DIGITS));
    escaped
}

/// Returns the raw name that [`escape_file_name`] makes `name` of; `None` where it makes `name` of none, or cut it.
#[must_use]
pub fn unescape_file_name(name: &str) -> Option<Vec<u8>> {
    let mut raw = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            raw.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        raw.push(u8::try_from(high << 4 | low).ok()?);
    }
    // Other spellings of the same name (`%41`, `%2f`, a bare `~`) are not names that were given out.
    (escape_file_name(&raw) == name).then_some(raw)
}

fn escape(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        push_escaped(&mut escaped, byte, is_plain(byte), "\\x");
    }
    escaped
}

fn push_escaped(escaped: &mut String, byte: u8, plain: bool, mark: &str) {
    // Writing to a String never fails.
    let _ = match (plain, mark) {
        (true, _) => escaped.write_char(char::from(byte)),
        (false, "%") => write!(escaped, "%{byte:02X}"),
        (false, _) => write!(escaped, "{mark}{byte:02x}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_one_word() {
        for (text, expected) in [
            ("v1.0-a_b/~%", "v1.0-a_b/~%"),
            ("", ""),
            ("a b", "a\\x20b"),
            ("a\\x20b", "a\\x5cx20b"),
            ("verified\n", "verified\\x0a"),
            ("\u{1b}[2J\t\u{7f}\0", "\\x1b[2J\\x09\\x7f\\x00"),
            ("\u{e9}", "\\xc3\\xa9"),
            ("\u{202e}", "\\xe2\\x80\\xae"),
        ] {
            assert_eq!(escape_word(text), expected);
        }
    }

    #[test]
    fn leaves_typed_names_in_any_language() {
        for (text, expected) in [
            ("caf\u{e9} \u{4f60}", "caf\u{e9} \u{4f60}"),
            ("a\u{1b}[2J\n\u{9b}", "a\\x1b[2J\\x0a\\xc2\\x9b"),
            ("\u{202e}\u{2069}", "\\xe2\\x80\\xae\\xe2\\x81\\xa9"),
        ] {
            assert_eq!(escape_typed(text), expected);
        }
    }

    #[test]
    fn makes_one_line() {
        for (text, expected) in [
            ("CN=a\\, b", "CN=a\\, b"),
            ("a\r\nb", "a\\x0d\\x0ab"),
            ("\u{85}\u{2028}", "\\xc2\\x85\\xe2\\x80\\xa8"),
            ("\u{2066}x\u{2069}", "\\xe2\\x81\\xa6x\\xe2\\x81\\xa9"),
        ] {
            assert_eq!(escape_line(text), expected);
        }
    }

    #[test]
    fn words_of_different_texts_differ() {
        let texts = [
            "a b",
            "a\\x20b",
            "a\\b",
            "a\u{a0}b",
            "a\\x5cb",
            "a\\xc2\\xa0b",
        ];
        for one in texts {
            for other in texts {
                assert_eq!(escape_word(one) == escape_word(other), one == other);
            }
        }
    }

    #[test]
    fn escapes_file_names() {
        for (raw, expected) in [
            (&b"v1"[..], "v1"),
            (b"docker.io/library/x:v1", "docker.io%2Flibrary%2Fx:v1"),
            (b".", "%2E"),
            (b"..", "%2E."),
            (b".hidden", "%2Ehidden"),
            (b"a.b", "a.b"),
            (b"100%~", "100%25%7E"),
            (b"a b\n\x7f\xff\0", "a%20b%0A%7F%FF%00"),
            (b"", "~e3b0c44298fc"),
        ] {
            assert_eq!(escape_file_name(raw), expected);
        }
    }

    #[test]
    fn cuts_long_file_names_at_255_bytes() {
        let fits = vec![b'a'; 255];
        assert_eq!(escape_file_name(&fits).len(), 255);
        assert_eq!(unescape_file_name(&escape_file_name(&fits)), Some(fits));
        for long in [vec![b'a'; 256], vec![b'/'; 86], vec![b'/'; 4096]] {
            let name = escape_file_name(&long);
            assert!(name.len() <= 255 && name.len() >= 253, "{}", name.len());
            assert_eq!(name.as_bytes()[name.len() - 13], b'~');
            assert_eq!(unescape_file_name(&name), None);
        }
        let (mut one, mut other) = (vec![b'/'; 300], vec![b'/'; 300]);
        one.push(b'1');
        other.push(b'2');
        assert_ne!(escape_file_name(&one), escape_file_name(&other));
    }

    #[test]
    fn file_names_can_be_read_back() {
        for high in 0..=255 {
            for low in [0, b'%', b'~', b'/', b'.', b'a', b'2', 0x7f, 0xff] {
                for raw in [vec![high], vec![high, low], vec![low, high, low]] {
                    let name = escape_file_name(&raw);
                    assert_eq!(unescape_file_name(&name), Some(raw), "{name}");
                    assert!(name.bytes().all(|byte| matches!(byte, 0x21..=0x7e)));
                    assert!(!name.contains('/') && !name.starts_with('.'));
                }
            }
        }
    }

    #[test]
    fn reads_back_no_other_spelling() {
        for name in [
            "", "%", "%4", "%41", "%2f", "a~", "a/b", ".a", "%zz", "a b", "\u{e9}", "%+1",
        ] {
            assert_eq!(unescape_file_name(name), None, "{name}");
        }
    }
}
