//! What the signed headers of both formats say, and the rules on times they share.
//!
//! Not here: how each format spells them and which of them it wants marked critical (`jws`, `cose`).

use serde_json::{Map, Value};
use time::{Date, Month};

use super::{Attribute, IntegrityError, SigningScheme, cbor, cose, jws};
use crate::oci::UnixTime;

/// The header that names the signing scheme.
pub(super) const SIGNING_SCHEME: &str = "io.cncf.notary.signingScheme";
/// The header with the claimed signing time.
pub(super) const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
/// The header with the authentic signing time.
pub(super) const AUTHENTIC_SIGNING_TIME: &str = "io.cncf.notary.authenticSigningTime";
/// The header with the expiry.
pub(super) const EXPIRY: &str = "io.cncf.notary.expiry";
/// The unsigned header with the signing agent.
pub(super) const SIGNING_AGENT: &str = "io.cncf.notary.signingAgent";
/// The unsigned header with the timestamp token.
pub(super) const TIMESTAMP_SIGNATURE: &str = "io.cncf.notary.timestampSignature";

/// Holds a protected header as it was decoded, not yet held against the rules.
#[derive(Debug, Clone)]
pub(super) enum RawHeaders {
    /// Of a JWS.
    Jws(Map<String, Value>),
    /// Of a COSE envelope.
    Cose(cbor::Map),
}

/// Holds what a protected header that obeys the rules says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) content_type: String,
    pub(super) scheme: SigningScheme,
    pub(super) signing_time: UnixTime,
    pub(super) expiry: Option<UnixTime>,
    pub(super) attributes: Vec<Attribute>,
}

impl RawHeaders {
    /// Returns what the header says.
    ///
    /// # Errors
    /// Names the header that breaks a rule.
    pub(super) fn read(&self) -> Result<Headers, IntegrityError> {
        match self {
            Self::Jws(object) => jws::read_headers(object),
            Self::Cose(map) => cose::read_headers(map),
        }
    }
}

/// Is a point in time as an envelope gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Whole seconds since 1970, rounded down.
    pub(super) seconds: i64,
    /// The rest.
    pub(super) nanoseconds: u32,
}

impl Moment {
    /// Go's zero time, 0001-01-01T00:00:00Z, which notation takes for "not given".
    const ABSENT: Self = Self {
        seconds: -62_135_596_800,
        nanoseconds: 0,
    };

    /// Returns `None` for the moment that means "not given".
    pub(super) fn given(self) -> Option<Self> {
        (self != Self::ABSENT).then_some(self)
    }

    /// Returns the whole seconds.
    pub(super) fn floor(self) -> UnixTime {
        UnixTime(self.seconds)
    }
}

/// Parses RFC 3339 as strictly as Go does: capital `T` and `Z`, two digits everywhere, a fraction after a dot.
pub(super) fn parse_rfc3339(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let (date_time, rest) = bytes.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators
        .into_iter()
        .any(|(position, byte)| date_time.get(position) != Some(&byte))
    {
        return None;
    }
    let field = |from: usize, to: usize| number(date_time.get(from..to)?);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let local = seconds_of([year, month, day, hour, minute, second])?;
    let (nanoseconds, zone) = fraction(rest)?;
    Some(Moment {
        seconds: local - offset(zone)?,
        nanoseconds,
    })
}

/// Returns the seconds since 1970 of year, month, day, hour, minute and second in UTC.
pub(super) fn seconds_of([year, month, day, hour, minute, second]: [i64; 6]) -> Option<i64> {
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date =
        Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    let days = i64::from(date.to_julian_day()) - JULIAN_DAY_OF_1970;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

const JULIAN_DAY_OF_1970: i64 = 2_440_588;

/// Splits a fraction of a second off the front; digits past nanoseconds are dropped.
fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.', rest)) = rest.split_first() else {
        return Some((0, rest));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, zone) = rest.split_at_checked(length)?;
    if digits.is_empty() {
        return None;
    }
    let nanoseconds = digits
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(9)
        .fold(0, |sum: u32, digit| sum * 10 + u32::from(digit - b'0'));
    Some((nanoseconds, zone))
}

/// Returns the seconds that a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = match zone {
        [b'Z'] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let [h1, h2, b':', m1, m2] = digits else {
        return None;
    };
    let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some(sign * (hours * 60 + minutes) * 60)
}

/// Returns the number that a few digits spell.
pub(super) fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum: i64, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

/// Returns signing time and expiry in whole seconds.
///
/// # Errors
/// Refuses an expiry that is not after the signing time.
pub(super) fn check_times(
    signing_time: Moment,
    expiry: Option<Moment>,
) -> Result<(UnixTime, Option<UnixTime>), IntegrityError> {
    if expiry.is_some_and(|expiry| expiry <= signing_time) {
        return Err(IntegrityError::header(
            EXPIRY,
            "expiry cannot be equal or before the signing time",
        ));
    }
    Ok((signing_time.floor(), expiry.map(Moment::floor)))
}

/// Returns the scheme with this name.
///
/// # Errors
/// Refuses any other name.
pub(super) fn scheme(name: &str) -> Result<SigningScheme, IntegrityError> {
    [SigningScheme::X509, SigningScheme::SigningAuthority]
        .into_iter()
        .find(|scheme| scheme.name() == name)
        .ok_or_else(|| {
            IntegrityError::header(
                SIGNING_SCHEME,
                format!("unsupported signing scheme {name:?}"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_as_go_does() {
        for (text, seconds, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2026-11-23T10:00:00Z", 1_795_428_000, 0),
            ("2026-11-23T10:00:00+08:00", 1_795_399_200, 0),
            ("2026-11-23T10:00:00.5-08:00", 1_795_456_800, 500_000_000),
            ("1969-12-31T23:59:59.999999999999Z", -1, 999_999_999),
            ("2024-02-29T00:00:00Z", 1_709_164_800, 0),
            ("0000-01-01T00:00:00Z", -62_167_219_200, 0),
            ("9999-12-31T23:59:59Z", 253_402_300_799, 0),
        ] {
            let moment = Moment {
                seconds,
                nanoseconds,
            };
            assert_eq!(parse_rfc3339(text), Some(moment), "{text}");
        }
    }

    #[test]
    fn refuses_times_that_go_refuses() {
        for text in [
            "",
            "2026-11-23T10:00:00z",
            "2026-11-23t10:00:00Z",
            "2026-11-23 10:00:00Z",
            "2026-11-23T10:00:00",
            "2026-11-23T10:00:00.Z",
            "2026-11-23T10:00:00,5Z",
            "2026-11-23T1:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T10:00:60Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-23T10:00:00+24:00",
            "2026-11-23T10:00:00+08:60",
            "2026-11-23T10:00:00+0800",
            "2026-11-23T10:00:00ZZ",
            "+026-11-23T10:00:00Z",
            "1795428000",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn takes_the_first_moment_of_go_for_absent() {
        let zero = parse_rfc3339("0001-01-01T00:00:00Z").unwrap();
        assert_eq!(zero.given(), None);
        assert!(
            parse_rfc3339("0001-01-01T00:00:01Z")
                .unwrap()
                .given()
                .is_some()
        );
    }
}
