//! Times in certificates. RFC 5280 section 4.1.2.5, with the leniencies of Go: a UTC time may lack its seconds, and any
//! offset but zero may stand where `Z` belongs.

use super::CertificateError;
use crate::notary::element::{GENERALIZED_TIME, Reader, UTC_TIME};
use crate::oci::UnixTime;

/// Reads one time.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<UnixTime, CertificateError> {
    let parsed = match reader.element() {
        Ok((UTC_TIME, text)) => utc_time(text),
        Ok((GENERALIZED_TIME, text)) => generalized_time(text),
        _ => None,
    };
    parsed.ok_or_else(|| CertificateError::new("validity: a malformed time"))
}

/// Reads `YYMMDDhhmm[ss]Z`; years from 50 on are of the last century.
fn utc_time(text: &[u8]) -> Option<UnixTime> {
    let (year, rest) = text.split_at_checked(2)?;
    let year = number(year)?;
    let century = if year >= 50 { 1900 } else { 2000 };
    with_seconds(century + year, rest).or_else(|| without_seconds(century + year, rest))
}

/// Reads `YYYYMMDDhhmmssZ`.
fn generalized_time(text: &[u8]) -> Option<UnixTime> {
    let (year, rest) = text.split_at_checked(4)?;
    with_seconds(number(year)?, rest)
}

fn with_seconds(year: i64, rest: &[u8]) -> Option<UnixTime> {
    let (rest, zone) = rest.split_at_checked(10)?;
    let (rest, second) = rest.split_at_checked(8)?;
    moment(year, rest, number(second)?, zone)
}

fn without_seconds(year: i64, rest: &[u8]) -> Option<UnixTime> {
    let (rest, zone) = rest.split_at_checked(8)?;
    moment(year, rest, 0, zone)
}

/// Returns the time of year, `MMDDhhmm`, seconds and zone.
fn moment(year: i64, rest: &[u8], second: i64, zone: &[u8]) -> Option<UnixTime> {
    let part = |from: usize| number(rest.get(from..from.checked_add(2)?)?);
    let (month, day, hour, minute) = (part(0)?, part(2)?, part(4)?, part(6)?);
    crate::notary::headers::seconds_of([year, month, day, hour, minute, second])?
        .checked_sub(offset(zone)?)
        .map(UnixTime)
}

/// Returns the seconds that a zone is ahead of UTC. A zero offset must be written as `Z`.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = match zone {
        [b'Z'] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    if minutes.len() != 2 {
        return None;
    }
    match (number(hours)?, number(minutes)?) {
        (0, 0) => None,
        (hours @ 0..=23, minutes @ 0..=59) => Some(sign * (hours * 60 + minutes) * 60),
        _ => None,
    }
}

/// Returns the number that digits spell.
fn number(digits: &[u8]) -> Option<i64> {
    crate::notary::headers::number(digits)
}
