//! Verdicts and reports: what was found, in the order of badness, as text and as JSON. One renderer for the mount and the command line.
//!
//! Pure. Not here: finding it (`audit`).

pub mod json;
pub mod render;
pub mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use verdict::Verdict;

use crate::notary::{EnvelopeFormat, IntactEnvelope, IntegrityError, Outcome, Reason};
use crate::oci::{Closure, Descriptor, Digest, Scope, UnixTime};

/// Names that a mount shows in the root beside the layout; stale copies of them in a layout are not extras.
pub const SYNTHETIC_NAMES: [&str; 6] = [
    "images",
    "sign",
    "signatures",
    "trustpolicy.json",
    "verify-status",
    "verify-status.json",
];

/// Tells how much content was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentLevel {
    /// Manifests only (registry references, sync's gate).
    Manifests,
    /// The whole closure.
    Full,
}

/// Says where the scope came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeOrigin {
    /// The layout's file name.
    Name,
    /// `--scope`.
    Flag,
}

/// Identifies the policy that was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyId {
    /// Where it came from: `none`, `config`, `flag`, `mount`.
    pub origin: PolicyOrigin,
    /// Its path, where it has one.
    pub path: Option<String>,
    /// The SHA-256 of its bytes.
    pub sha256: Option<Digest>,
    /// Whether a `trustpolicy.json` that differs lies beside the `trustpolicy.oci.json` in force.
    pub shadowed: bool,
}

/// Lists where policies come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyOrigin {
    /// There is none.
    None,
    /// Notation's configuration.
    Config,
    /// `--policy FILE`.
    Flag,
    /// Written into the mount.
    Mount,
}

/// Is one thing that is wrong: with a file, a digest, a check; and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The verdict it causes.
    pub verdict: Verdict,
    /// The file, relative to the layout or absolute.
    pub file: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
    /// The check, such as `digest`, `size`, `tag`, `authenticity`.
    pub check: &'static str,
    /// What is wrong.
    pub problem: String,
    /// What to do next.
    pub hint: String,
}

/// Is something that decides nothing and that people should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file or folder.
    pub file: String,
    /// The digest.
    pub digest: Option<Digest>,
    /// What it is about, such as `overlay`.
    pub check: &'static str,
    /// What there is to know.
    pub text: String,
    /// What to do next.
    pub hint: &'static str,
}

/// Is what was found about one signature.
#[derive(Debug, Clone)]
pub struct SignatureReport {
    /// The signature manifest.
    pub manifest: Descriptor,
    /// The envelope's blob descriptor, where the manifest names one.
    pub envelope: Option<Descriptor>,
    /// The format, where known.
    pub format: Option<EnvelopeFormat>,
    /// The envelope's bytes, where they could be read.
    pub bytes: Option<Arc<[u8]>>,
    /// The intact envelope.
    pub intact: Option<Arc<IntactEnvelope>>,
    /// The five checks; `None` when not judged (no policy, skip).
    pub outcome: Option<Outcome>,
    /// The verdict of this signature alone (`verified`, `accepted`, or why not).
    pub verdict: Verdict,
    /// Whether notation 1.3.2 would find it.
    pub plain: bool,
}

/// Is what was found about one image.
#[derive(Debug, Clone)]
pub struct ImageReport {
    /// The image's descriptor.
    pub descriptor: Descriptor,
    /// Its name; `None` when untagged.
    pub name: Option<String>,
    /// Its own verdict (layout-level problems excluded).
    pub verdict: Verdict,
    /// The name of the statement that applied.
    pub statement: Option<String>,
    /// The level's name (`strict`, ..., `custom`).
    pub level: Option<&'static str>,
    /// Its signatures, sorted by manifest digest.
    pub signatures: Vec<SignatureReport>,
    /// Blobs of the closure that were hashed and hold.
    pub content_good: usize,
    /// Blobs of the closure.
    pub content_total: usize,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The closure (manifests and blobs), for looking at their files again.
    pub closure: Arc<Closure>,
}

/// Is everything that was found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The images judged, in the order of index.json.
    pub images: Vec<ImageReport>,
    /// Manifests within the images that carry signatures of their own; they decide nothing, and neither text nor JSON lists them.
    pub children: Vec<ImageReport>,
    /// Layout-level problems.
    pub problems: Vec<Problem>,
    /// What decides nothing: parts of an overlay that are not shown.
    pub notes: Vec<Note>,
    /// The policy.
    pub policy: PolicyId,
    /// The scope.
    pub scope: Option<Scope>,
    /// Where the scope came from.
    pub scope_origin: ScopeOrigin,
    /// How much content was judged.
    pub content: ContentLevel,
    /// Whether leases were to be had for everything judged.
    pub leases: bool,
    /// Stored blobs that no image and no signature covers.
    pub orphans: usize,
    /// Root entries the specification does not name.
    pub extras: usize,
    /// The reason of the last refused policy or request of a mount, where there is one.
    pub refused: Option<String>,
    /// The first moment at which the report may differ by time alone.
    pub valid_until: Option<UnixTime>,
}

/// Is a report that sync may push.
#[derive(Debug)]
pub struct Admitted<'a> {
    report: &'a Report,
}

/// Says why a report is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the verdict is {verdict}", verdict = verdict.token())]
pub struct Refusal {
    /// The verdict.
    pub verdict: Verdict,
}

impl Report {
    /// Returns the worst verdict of all images and layout-level problems (`empty` when there is no image).
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let images = self.images.iter().map(|image| image.verdict).min();
        self.worst_problem().min(images.unwrap_or(Verdict::Empty))
    }

    /// Returns the worst of one image and every layout-level problem.
    #[must_use]
    pub fn image_verdict(&self, image: &ImageReport) -> Verdict {
        self.worst_problem().min(image.verdict)
    }

    /// Returns the worst verdict of the layout-level problems.
    fn worst_problem(&self) -> Verdict {
        self.problems
            .iter()
            .map(|problem| problem.verdict)
            .min()
            .unwrap_or(Verdict::Verified)
    }

    /// Returns the text of `verify-status`.
    #[must_use]
    pub fn text(&self) -> String {
        render::text(self)
    }

    /// Returns the bytes of `verify-status.json`.
    #[must_use]
    pub fn json(&self) -> String {
        json::report(self)
    }

    /// Returns this report cut down to one image (for `images/TAG/verify-status` and `verify PATH:TAG`).
    #[must_use]
    pub fn only(&self, image: &ImageReport) -> Self {
        Self {
            images: vec![image.clone()],
            children: Vec::new(),
            problems: self.problems.clone(),
            notes: self.notes.clone(),
            policy: self.policy.clone(),
            scope: self.scope.clone(),
            scope_origin: self.scope_origin,
            content: self.content,
            leases: self.leases,
            orphans: self.orphans,
            extras: self.extras,
            refused: self.refused.clone(),
            valid_until: self.valid_until,
        }
    }

    /// Admits the report for a push.
    ///
    /// # Errors
    /// Refuses verdicts other than `verified` and those in `allow`.
    pub fn admit(&self, allow: &[Verdict]) -> Result<Admitted<'_>, Refusal> {
        let verdict = self.verdict();
        if verdict == Verdict::Verified || allow.contains(&verdict) {
            return Ok(Admitted { report: self });
        }
        Err(Refusal { verdict })
    }
}

impl Admitted<'_> {
    /// Returns the report.
    #[must_use]
    pub fn report(&self) -> &Report {
        self.report
    }
}

/// Returns the JSON document `SIGHEX.json` of one signature: everything decoded and every check.
#[must_use]
pub fn signature_json(image: &ImageReport, signature: &SignatureReport) -> String {
    json::signature_document(image, signature)
}

/// Returns the metadata of a signature as notation prints it.
#[must_use]
pub fn user_metadata(signature: &SignatureReport) -> BTreeMap<String, String> {
    match signature.intact.as_ref().map(|intact| &intact.target) {
        Some(Ok(target)) => target.descriptor.annotations.to_map(),
        _ => BTreeMap::new(),
    }
}

/// Returns why a check failed, causes included. No reason holds a clock reading: the same findings give the same bytes.
#[must_use]
pub fn reason_text(reason: &Reason) -> String {
    match reason {
        Reason::Envelope(IntegrityError::Chain(cause)) => format!("{reason}: {cause}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
