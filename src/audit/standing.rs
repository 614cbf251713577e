//! What the trust policy has to say about a scope, and what is wrong with the policy itself.

use super::{Asked, InvalidPolicy, PolicyState};
use crate::notary::{Level, Statement};
use crate::oci::causes;
use crate::report::{Problem, Verdict};

/// Says what the policy has to say about the scope.
#[derive(Debug, Clone)]
pub(super) enum Standing<'a> {
    /// No statement applies: why, and what to do.
    NoPolicy { problem: String, hint: &'static str },
    /// The statement says not to verify.
    Skip(&'a Statement),
    /// The statement to judge by.
    Statement(&'a Statement),
}

impl<'a> Standing<'a> {
    /// Chooses the statement.
    pub(super) fn of(asked: &'a Asked<'a>) -> Self {
        let policy = match &asked.trust.policy {
            PolicyState::Valid(policy) => policy,
            PolicyState::None => {
                return Self::NoPolicy {
                    problem: "there is no trust policy".to_owned(),
                    hint: "import one with `signetfs policy import FILE` or write it to trustpolicy.json",
                };
            }
            PolicyState::Invalid(_) => {
                return Self::NoPolicy {
                    problem: "the trust policy is refused".to_owned(),
                    hint: "correct it",
                };
            }
        };
        let Some(scope) = asked.scope else {
            return Self::NoPolicy {
                problem: "the name of the layout or registry makes no registry scope".to_owned(),
                hint: "pass --scope",
            };
        };
        match policy.statement(scope) {
            Some(statement) if statement.level == Level::Skip => Self::Skip(statement),
            Some(statement) => Self::Statement(statement),
            None => Self::NoPolicy {
                problem: format!("no statement of the trust policy applies to {scope}"),
                hint: "pass --scope, or add the scope to a statement of the trust policy",
            },
        }
    }

    /// Returns the statement that applies.
    pub(super) fn statement(&self) -> Option<&'a Statement> {
        match self {
            Self::NoPolicy { .. } => None,
            Self::Skip(statement) | Self::Statement(statement) => Some(statement),
        }
    }

    /// Returns the verdict of a signature that is not judged.
    pub(super) fn unjudged(&self) -> Verdict {
        match self {
            Self::Skip(_) => Verdict::Skipped,
            Self::NoPolicy { .. } | Self::Statement(_) => Verdict::NoPolicy,
        }
    }
}

/// Returns why the policy is refused, where it is.
pub(super) fn policy_problems(asked: &Asked<'_>) -> Vec<Problem> {
    let PolicyState::Invalid(why) = &asked.trust.policy else {
        return Vec::new();
    };
    vec![Problem {
        verdict: Verdict::PolicyInvalid,
        file: asked.trust.id.path.clone(),
        digest: None,
        check: "policy",
        problem: match why {
            InvalidPolicy::Content(error) => causes(error),
            InvalidPolicy::File(problem) | InvalidPolicy::Unread(problem) => problem.clone(),
        },
        hint: "correct the trust policy".to_owned(),
    }]
}
