//! Trust policy documents: every validation rule and its message.

mod document;
mod rules;

pub(crate) use rules::SUBJECT_PREFIX;

use super::{CheckKind, StoreName};
use crate::oci::{JsonError, Scope};

/// The scope that every artifact has, and the identity that every certificate has.
pub(crate) const WILDCARD: &str = "*";

/// Tells what the policy wants of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A failure refuses the signature.
    Enforce,
    /// A failure is reported.
    Log,
    /// Not checked.
    Skip,
}

/// Lists the verification levels; one with overrides is `Custom`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `strict`.
    Strict,
    /// `permissive`.
    Permissive,
    /// `audit`.
    Audit,
    /// `skip`.
    Skip,
}

impl Level {
    /// Returns the name in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Permissive => "permissive",
            Self::Audit => "audit",
            Self::Skip => "skip",
        }
    }
}

/// Tells when a timestamp is to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampRule {
    /// `always`, the default.
    Always,
    /// `afterCertExpiry`.
    AfterCertExpiry,
}

/// Is one statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The name.
    pub name: String,
    /// The scopes; `*` alone is kept as such.
    pub registry_scopes: Vec<String>,
    /// The level.
    pub level: Level,
    /// Whether overrides make the level `custom`.
    pub overridden: bool,
    /// What is wanted of each check, overrides applied.
    pub actions: [(CheckKind, Action); 5],
    /// When timestamps are checked.
    pub verify_timestamp: TimestampRule,
    /// The trust stores.
    pub trust_stores: Vec<StoreName>,
    /// The trusted identities, as written.
    pub trusted_identities: Vec<String>,
}

/// Is a valid policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The statements.
    pub statements: Vec<Statement>,
}

/// Says why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not acceptable JSON.
    #[error("malformed trust policy")]
    Json(#[source] JsonError),
    /// A member has the wrong type.
    #[error("malformed trust policy: {problem}")]
    Shape {
        /// Which and why.
        problem: String,
    },
    /// A rule is broken; notation's words.
    #[error("{problem}")]
    Rule {
        /// Which.
        problem: String,
    },
}

impl Policy {
    /// Parses and validates a document.
    ///
    /// Bytes after the document are ignored, as notation ignores them.
    ///
    /// # Errors
    /// Names the first broken rule, in notation's order and words.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let statements = rules::validate(document::parse(bytes)?)?;
        Ok(Self { statements })
    }

    /// Returns the statement for a scope: exact match, else `*`.
    #[must_use]
    pub fn statement(&self, scope: &Scope) -> Option<&Statement> {
        let with = |wanted: &str| {
            self.statements
                .iter()
                .find(|s| s.registry_scopes.iter().any(|known| known == wanted))
        };
        with(scope.as_str()).or_else(|| with(WILDCARD))
    }
}

impl Statement {
    /// Returns `strict`, `permissive`, `audit`, `skip`, or `custom` with overrides.
    #[must_use]
    pub fn level_name(&self) -> &'static str {
        if self.overridden {
            "custom"
        } else {
            self.level.name()
        }
    }

    /// Returns what is wanted of one check.
    #[must_use]
    pub fn action(&self, kind: CheckKind) -> Action {
        self.actions
            .iter()
            .find(|(known, _)| *known == kind)
            .map_or(Action::Enforce, |(_, action)| *action)
    }
}

#[cfg(test)]
mod tests;
