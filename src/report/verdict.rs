//! The verdicts, worst first, with their tokens and exit codes, and how the outcome of one signature becomes one.
//! docs/SEMANTICS.md.

use crate::notary::{IntegrityError, Outcome, Reason};

/// Is the token of line 1; ordered worst first, so the minimum of several is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the token says it")]
pub enum Verdict {
    LayoutInvalid,
    PolicyInvalid,
    Pending,
    Corrupt,
    Missing,
    Ambiguous,
    Invalid,
    Revoked,
    Untrusted,
    Expired,
    RevocationUnknown,
    Unsupported,
    Limit,
    Unsigned,
    NoPolicy,
    Empty,
    Skipped,
    Accepted,
    Verified,
}

/// Each verdict with its token and the exit code of `verify`.
const TABLE: [(Verdict, &str, u8); 19] = [
    (Verdict::LayoutInvalid, "layout-invalid", 25),
    (Verdict::PolicyInvalid, "policy-invalid", 19),
    (Verdict::Pending, "pending", 26),
    (Verdict::Corrupt, "corrupt", 17),
    (Verdict::Missing, "missing", 18),
    (Verdict::Ambiguous, "ambiguous", 22),
    (Verdict::Invalid, "invalid", 11),
    (Verdict::Revoked, "revoked", 14),
    (Verdict::Untrusted, "untrusted", 12),
    (Verdict::Expired, "expired", 13),
    (Verdict::RevocationUnknown, "revocation-unknown", 15),
    (Verdict::Unsupported, "unsupported", 21),
    (Verdict::Limit, "limit", 23),
    (Verdict::Unsigned, "unsigned", 10),
    (Verdict::NoPolicy, "no-policy", 16),
    (Verdict::Empty, "empty", 24),
    (Verdict::Skipped, "skipped", 0),
    (Verdict::Accepted, "accepted", 0),
    (Verdict::Verified, "verified", 0),
];

impl Verdict {
    /// Lists all verdicts, worst first.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.into_iter().map(|(verdict, _, _)| verdict)
    }

    /// Returns the token.
    #[must_use]
    pub fn token(self) -> &'static str {
        TABLE
            .into_iter()
            .find(|(verdict, _, _)| *verdict == self)
            .map_or("invalid", |(_, token, _)| token)
    }

    /// Returns the exit code of `signetfs verify`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        TABLE
            .into_iter()
            .find(|(verdict, _, _)| *verdict == self)
            .map_or(1, |(_, _, code)| code)
    }

    /// Returns the word that names it below line 1 of a status, where the word `verified` must not stand: `pass` for that one.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Verified => "pass",
            other => other.token(),
        }
    }

    /// Returns the verdict of one signature that was judged.
    #[must_use]
    pub fn of_outcome(outcome: &Outcome) -> Self {
        match outcome.refusal() {
            Some((_, reason)) => Self::of_reason(reason),
            None if !outcome.accepted() => Self::Invalid,
            None if outcome.clean() => Self::Verified,
            None => Self::Accepted,
        }
    }

    /// Returns the verdict that one enforced failure causes.
    #[must_use]
    pub fn of_reason(reason: &Reason) -> Self {
        match reason {
            Reason::Manifest { .. }
            | Reason::Envelope(_)
            | Reason::Payload { .. }
            | Reason::OtherArtifact { .. } => Self::Invalid,
            Reason::Plugin { .. }
            | Reason::CriticalAttribute { .. }
            | Reason::TimestampUnsupported => Self::Unsupported,
            Reason::NoStore
            | Reason::Store(_)
            | Reason::NotAnchored
            | Reason::Identity { .. }
            | Reason::Metadata
            | Reason::NoTimestamp => Self::Untrusted,
            Reason::Expired { .. } | Reason::NotValidAt { .. } => Self::Expired,
            Reason::RevocationUnknown { .. } => Self::RevocationUnknown,
            Reason::Revoked { .. } => Self::Revoked,
        }
    }

    /// Returns the verdict with this token.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        TABLE
            .into_iter()
            .find(|(_, known, _)| *known == token)
            .map(|(verdict, _, _)| verdict)
    }
}

/// Returns how far a refused signature got: the step of verification that refused it, 0 where it was never read.
#[must_use]
pub fn step(reason: &Reason) -> u8 {
    match reason {
        Reason::Manifest { .. } => 0,
        Reason::Envelope(IntegrityError::MediaType { .. } | IntegrityError::Parse { .. }) => 1,
        Reason::Envelope(IntegrityError::Signature) => 2,
        Reason::Envelope(_) => 3,
        Reason::Plugin { .. } | Reason::CriticalAttribute { .. } => 5,
        Reason::NoStore | Reason::Store(_) | Reason::NotAnchored => 6,
        Reason::Identity { .. } => 7,
        Reason::Expired { .. } => 8,
        Reason::NotValidAt { .. } | Reason::NoTimestamp | Reason::TimestampUnsupported => 9,
        Reason::RevocationUnknown { .. } | Reason::Revoked { .. } => 10,
        Reason::Payload { .. } => 12,
        Reason::OtherArtifact { .. } => 13,
        Reason::Metadata => 14,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_tokens_and_exit_codes_agree_with_the_table() {
        let all = Verdict::all().collect::<Vec<_>>();
        assert_eq!(all.len(), 19);
        for pair in all.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        for verdict in all {
            assert_eq!(Verdict::from_token(verdict.token()), Some(verdict));
            let passes = matches!(
                verdict,
                Verdict::Verified | Verdict::Accepted | Verdict::Skipped
            );
            assert_eq!(verdict.exit_code() == 0, passes, "{verdict:?}");
            assert_ne!(verdict.word(), "verified");
        }
    }

    #[test]
    fn a_later_step_is_further() {
        assert!(step(&Reason::NotAnchored) > step(&Reason::Envelope(IntegrityError::Signature)));
        assert!(step(&Reason::Metadata) > step(&Reason::NoTimestamp));
    }
}
