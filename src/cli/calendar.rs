//! Times as notation prints them for people. Pure.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::oci::UnixTime;

/// Go's ANSIC layout.
const ANSIC: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
);
/// Go's way of printing a time in UTC.
const GO: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +0000 UTC");

/// Returns a time like `Mon Jan  2 15:04:05 2006`, in UTC.
#[must_use]
pub fn ansic(time: UnixTime) -> String {
    format(time, ANSIC)
}

/// Returns a time like `2006-01-02 15:04:05 +0000 UTC`.
#[must_use]
pub fn go(time: UnixTime) -> String {
    format(time, GO)
}

fn format(time: UnixTime, layout: &[BorrowedFormatItem<'_>]) -> String {
    OffsetDateTime::from_unix_timestamp(time.0)
        .ok()
        .and_then(|moment| moment.format(layout).ok())
        .unwrap_or_else(|| time.rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_times_as_go_does() {
        let time = UnixTime(1_136_214_245);
        assert_eq!(ansic(time), "Mon Jan  2 15:04:05 2006");
        assert_eq!(go(time), "2006-01-02 15:04:05 +0000 UTC");
    }
}
