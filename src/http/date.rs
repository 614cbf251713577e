//! HTTP dates. <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>

use time::PrimitiveDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use crate::oci::UnixTime;

/// The one form that servers send.
const FIXDATE: &[FormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Returns the time that a date header names.
#[must_use]
pub fn parse(text: &str) -> Option<UnixTime> {
    let parsed = PrimitiveDateTime::parse(text.trim(), FIXDATE).ok()?;
    Some(UnixTime(parsed.assume_utc().unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_form_that_servers_send() {
        assert_eq!(
            parse("Tue, 24 Nov 2026 22:48:00 GMT"),
            Some(UnixTime(1_795_560_480))
        );
        assert_eq!(parse("2026-11-24T22:48:00Z"), None);
        assert_eq!(parse("120"), None);
    }
}
