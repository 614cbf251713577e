//! Durations as notation's flags take them: Go's grammar, such as `24h` or `1h30m`. Pure.

/// Nanoseconds of each unit.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// Says why a text is not a duration that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It does not follow the grammar.
    #[error("{text:?} is not a duration: write it like 24h, 30m or 1h30m")]
    Grammar {
        /// The text.
        text: String,
    },
    /// It is not a whole number of seconds; notation's words.
    #[error("expiry duration supports minimum granularity of seconds")]
    Granularity,
    /// It is negative; notation's words.
    #[error("expiry duration cannot be a negative value")]
    Negative,
}

/// Returns the whole seconds of an expiry, or `None` for zero (no expiry).
///
/// # Errors
/// Refuses what is no duration, negative ones and fractions of a second.
pub fn expiry_seconds(text: &str) -> Result<Option<i64>, DurationError> {
    let grammar = || DurationError::Grammar {
        text: text.to_owned(),
    };
    let nanoseconds = nanoseconds(text).ok_or_else(grammar)?;
    // Go keeps durations in 64 bits of nanoseconds.
    i64::try_from(nanoseconds).map_err(|_| grammar())?;
    if nanoseconds < 0 {
        return Err(DurationError::Negative);
    }
    if nanoseconds % SECOND != 0 {
        return Err(DurationError::Granularity);
    }
    let seconds = i64::try_from(nanoseconds / SECOND).map_err(|_| grammar())?;
    Ok((seconds > 0).then_some(seconds))
}

fn nanoseconds(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(number_end)?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(unit_end)?;
        let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, scale)?)?;
        rest = next;
    }
    total.checked_mul(sign)
}

/// Returns a decimal number times `scale`, cut to whole nanoseconds.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut total = match whole {
        "" => 0,
        digits => digits.parse::<i128>().ok()?.checked_mul(scale)?,
    };
    let mut step = scale;
    for digit in fraction.chars() {
        step /= 10;
        total = total.checked_add(step.checked_mul(digit.to_digit(10)?.into())?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_go_does() {
        for (text, seconds) in [
            ("0", None),
            ("0s", None),
            ("24h", Some(86_400)),
            ("1h30m", Some(5_400)),
            ("1.5h", Some(5_400)),
            ("+30m", Some(1_800)),
            (".5m", Some(30)),
            ("1000ms", Some(1)),
            ("2000000us", Some(2)),
        ] {
            assert_eq!(expiry_seconds(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_or_notation_refuse() {
        for text in [
            "",
            "h",
            "24",
            "1x",
            "1h ",
            ".h",
            "1..5h",
            "-",
            "9999999999h",
            "1d",
        ] {
            let refused = expiry_seconds(text);
            assert!(
                matches!(refused, Err(DurationError::Grammar { .. })),
                "{text}"
            );
        }
        assert_eq!(expiry_seconds("-1h"), Err(DurationError::Negative));
        assert_eq!(expiry_seconds("1500ms"), Err(DurationError::Granularity));
    }
}
