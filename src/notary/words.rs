//! The way notation writes quoted text and times, so that its messages read the same here.
//!
//! Not here: escaping for terminals and line-based files (`text`).

use time::OffsetDateTime;
use time::macros::format_description;

use crate::oci::UnixTime;

/// Returns `text` in double quotes, with everything that does not print escaped, the way Go's `%q` does.
#[must_use]
pub(crate) fn quote(text: &str) -> String {
    quote_bytes(text.as_bytes())
}

/// Returns bytes in double quotes; those that are not UTF-8 are written as `\xHH`.
#[must_use]
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_quoted(&mut out, character);
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// Returns the time as RFC 1123 with a numeric zone, such as `Fri, 01 Jan 2100 00:00:00 +0000`.
#[must_use]
pub(crate) fn rfc1123(time: UnixTime) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] +0000"
    );
    OffsetDateTime::from_unix_timestamp(time.0)
        .ok()
        .and_then(|moment| moment.format(&format).ok())
        .unwrap_or_else(|| format!("@{}", time.0))
}

/// Appends one character of a quoted text.
fn push_quoted(out: &mut String, character: char) {
    let code = u32::from(character);
    match character {
        '"' | '\\' => {
            out.push('\\');
            out.push(character);
        }
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        ' '..='~' => out.push(character),
        _ if code < 0x80 => out.push_str(&format!("\\x{code:02x}")),
        _ if prints(character) => out.push(character),
        _ if code < 0x1_0000 => out.push_str(&format!("\\u{code:04x}")),
        _ => out.push_str(&format!("\\U{code:08x}")),
    }
}

/// Returns whether a character outside ASCII is shown as it is.
fn prints(character: char) -> bool {
    !character.is_whitespace() && character.escape_debug().eq([character])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_notation_does() {
        for (raw, quoted) in [
            ("plain, text", r#""plain, text""#),
            (r#"a"b\c"#, r#""a\"b\\c""#),
            ("line\nfeed\ttab\r", r#""line\nfeed\ttab\r""#),
            ("\u{7}\u{8}\u{b}\u{c}", r#""\a\b\v\f""#),
            ("\0\u{1b}\u{7f}", r#""\x00\x1b\x7f""#),
            ("\u{fc}n\u{ef}", "\"\u{fc}n\u{ef}\""),
            (
                "\u{202e}\u{a0}\u{ad}\u{9f}",
                r#""\u202e\u00a0\u00ad\u009f""#,
            ),
            ("\u{e0001}", r#""\U000e0001""#),
            ("it's", r#""it's""#),
        ] {
            assert_eq!(quote(raw), quoted);
        }
        assert_eq!(quote_bytes(b"a\xff\xc3"), r#""a\xff\xc3""#);
    }

    #[test]
    fn writes_times_as_notation_does() {
        assert_eq!(
            rfc1123(UnixTime(4_102_444_800)),
            "Fri, 01 Jan 2100 00:00:00 +0000"
        );
        assert_eq!(rfc1123(UnixTime(-1)), "Wed, 31 Dec 1969 23:59:59 +0000");
        assert_eq!(rfc1123(UnixTime(i64::MAX)), format!("@{}", i64::MAX));
    }
}
