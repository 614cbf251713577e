//! Points in time as seconds since 1970, UTC. The wall clock itself is read only in `clock`.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Represents whole seconds since 1970-01-01T00:00:00Z; negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// Returns this time moved by `seconds`, clamped at the ends of the range.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Returns the RFC 3339 form in UTC with whole seconds, such as `2026-11-24T18:08:08Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        match OffsetDateTime::from_unix_timestamp(self.0)
            .ok()
            .and_then(|t| t.format(&Rfc3339).ok())
        {
            Some(text) => text,
            None => format!("@{}", self.0),
        }
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.rfc3339())
    }
}
