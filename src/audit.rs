//! Audit: source, trust and time in, report out. The one place that verifies: command line, mount and sync's gate call it.
//!
//! Verification opens no socket and writes nothing into the layout.

mod blobs;
mod children;
mod content;
pub(crate) mod cores;
mod court;
mod coverage;
mod docker;
mod envelopes;
mod images;
mod reading;
mod room;
mod seen;
mod selection;
mod signatures;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use reading::Reader;

pub use envelopes::Envelopes;
pub use seen::Seen;

use crate::layout::{Hashes, IndexBytes, Listing, Source, SourceError};
use crate::notary::{Anchors, Policy, PolicyError};
use crate::oci::{Closure, Digest, Graph, Progress, Scope, UnixTime};
use crate::report::{PolicyId, Problem, Report, ScopeOrigin};

/// Is what is trusted: a policy and the stores it names.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The policy, why it is refused, or that there is none.
    pub policy: PolicyState,
    /// Where it came from.
    pub id: PolicyId,
    /// The stores that it names.
    pub anchors: Anchors,
}

/// Is the state of the policy.
#[derive(Debug, Clone)]
pub enum PolicyState {
    /// There is none.
    None,
    /// It is refused: by its own rules, or because its file cannot be used (in words).
    Invalid(InvalidPolicy),
    /// It is in force.
    Valid(Policy),
}

/// Says why a policy is not in force.
#[derive(Debug, Clone)]
pub enum InvalidPolicy {
    /// Its content breaks a rule.
    Content(PolicyError),
    /// Its file cannot be used.
    File(String),
    /// The system could not read its file, which may be over without anything having changed.
    Unread(String),
}

impl Trust {
    /// Returns whether all of it could be read, or not for reasons that stand while nothing changes.
    #[must_use]
    pub fn is_read(&self) -> bool {
        let is_policy_read = !matches!(self.policy, PolicyState::Invalid(InvalidPolicy::Unread(_)));
        is_policy_read && self.anchors.is_read()
    }
}

/// Selects images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All.
    All,
    /// Those with this tag.
    Tag(String),
    /// The one with this digest (an image, or any manifest of the layout).
    Digest(Digest),
}

/// Tells how much content is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Manifests only.
    Manifests,
    /// Everything, by remembered hashes only: what is not known gives `pending`.
    Known,
    /// Everything, hashed now where needed.
    Full,
}

/// Is what is asked.
pub struct Asked<'a> {
    /// The layout.
    pub source: &'a dyn Source,
    /// What is trusted.
    pub trust: &'a Trust,
    /// The scope that statements are chosen by; `None` gives `no-policy` with a hint to pass `--scope`.
    pub scope: Option<&'a Scope>,
    /// Where the scope came from.
    pub scope_origin: ScopeOrigin,
    /// Which images.
    pub images: Selection,
    /// How much content.
    pub content: Content,
    /// How many signatures of one image are judged before `limit`.
    pub max_signatures: usize,
    /// User metadata that signatures must carry.
    pub metadata: &'a BTreeMap<String, String>,
}

/// Is a layout read once: index, graph and listing belong together.
pub struct Survey {
    /// index.json as read.
    pub index: Option<IndexBytes>,
    /// The graph (empty where the index does not parse).
    pub graph: Graph,
    /// The listing.
    pub listing: Listing,
    /// Why the layout is invalid, where it is.
    pub invalid: Option<String>,
    /// Whether something could not be read, which may be over without anything having changed.
    pub unread: bool,
    /// What its envelopes are; handed on from survey to survey.
    pub envelopes: Arc<Envelopes>,
    /// The closure of every image, once it was asked for: it follows from the graph alone.
    pub closures: OnceLock<HashMap<Digest, Arc<Closure>>>,
    /// How many stored blobs no image and no signature covers, and how many extras there are, once it was asked for.
    pub uncovered: OnceLock<(usize, usize)>,
}

/// Says why nothing could be decided.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The layout cannot be read.
    #[error("reading the layout")]
    Source(#[source] SourceError),
    /// The selection names nothing.
    #[error("{name} is not in the layout")]
    NotFound {
        /// What was asked for.
        name: String,
    },
}

/// Reads a layout once: index, manifests, listing.
///
/// # Errors
/// Returns an error where the layout cannot be read at all; a broken index is a survey with `invalid`.
pub fn survey(source: &dyn Source) -> Result<Survey, AuditError> {
    reading::survey(source, Reader::Sender)
}

/// Does the same for who shows a layout, and may hold an earlier survey of it: everything is read again, documents that did not
/// change are shared, and the bytes of manifests are not kept.
///
/// # Errors
/// As [`survey`].
pub fn survey_to_show(source: &dyn Source, before: Option<&Survey>) -> Result<Survey, AuditError> {
    let before = before.map(|before| &before.graph);
    reading::survey(source, Reader::Viewer(before))
}

/// Returns what is wrong with a layout as a whole, whoever signed; reads no blob and no signature.
#[must_use]
pub fn layout_problems(survey: &Survey, source: &dyn Source) -> Vec<Problem> {
    court::layout_problems((survey, source), court::all_closures(survey))
}

/// Judges a survey.
///
/// # Errors
/// Returns an error where the selection names nothing.
pub fn judge_survey(
    survey: &Survey,
    asked: &Asked<'_>,
    hashes: &Hashes,
    now: UnixTime,
    progress: &dyn Progress,
) -> Result<Report, AuditError> {
    judge_and_see(survey, asked, hashes, now, progress).map(|(report, _)| report)
}

/// Judges a survey, and says in what state the files of its blobs were meanwhile.
///
/// # Errors
/// As [`judge_survey`].
pub fn judge_and_see(
    survey: &Survey,
    asked: &Asked<'_>,
    hashes: &Hashes,
    now: UnixTime,
    progress: &dyn Progress,
) -> Result<(Report, Seen), AuditError> {
    court::report(&court::Court::new(survey, asked, now), hashes, progress)
}

/// Reads and judges a layout.
///
/// # Errors
/// As [`survey`] and [`judge_survey`].
pub fn audit(
    asked: &Asked<'_>,
    hashes: &Hashes,
    now: UnixTime,
    progress: &dyn Progress,
) -> Result<Report, AuditError> {
    let survey = survey(asked.source)?;
    judge_survey(&survey, asked, hashes, now, progress)
}
