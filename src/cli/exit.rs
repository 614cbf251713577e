//! The exit codes of every command, one scheme. docs/SEMANTICS.md, "Exit codes".

use crate::report::Verdict;

/// Says how a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, verified, accepted or skipped.
    Done,
    /// Could not do or decide it.
    CouldNot,
    /// The command line is wrong.
    Usage,
    /// The verdict (10 to 26; 0 for those that pass).
    Verdict(Verdict),
    /// The registry wants other credentials.
    Authentication,
    /// The registry refused.
    Refused,
    /// The network failed after retries.
    Network,
    /// A signature was pushed and cannot be discovered.
    NotDiscoverable,
    /// A tag is immutable or moved.
    TagMoved,
    /// No permission, or a read-only place.
    Permission,
    /// No space.
    Space,
    /// As another process of ours ended, which has said why.
    Same(u8),
}

impl Exit {
    /// Returns the number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::CouldNot => 1,
            Self::Usage => 2,
            Self::Verdict(verdict) => verdict.exit_code(),
            Self::Authentication => 30,
            Self::Refused => 31,
            Self::Network => 32,
            Self::NotDiscoverable => 33,
            Self::TagMoved => 34,
            Self::Permission => 40,
            Self::Space => 41,
            Self::Same(code) => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_verdicts_apart_from_everything_else() {
        let others = [
            Exit::CouldNot,
            Exit::Usage,
            Exit::Authentication,
            Exit::Refused,
            Exit::Network,
            Exit::NotDiscoverable,
            Exit::TagMoved,
            Exit::Permission,
            Exit::Space,
        ];
        for verdict in Verdict::all() {
            let code = Exit::Verdict(verdict).code();
            assert!(code == 0 || (10..=26).contains(&code), "{verdict:?}");
            assert!(code == 0 || others.iter().all(|other| other.code() != code));
        }
    }
}
