//! Whether everything an image consists of is there, with the right sizes and digests.

use std::borrow::Cow;
use std::sync::Arc;

use super::blobs::{Blobs, Found};
use super::court::Court;
use super::{Content, Survey};
use crate::oci::graph::Node;
use crate::oci::{Closure, Descriptor, Digest, DocumentError, causes};
use crate::report::{Problem, Verdict};

/// Is what was found about the content of one root.
#[derive(Debug, Clone)]
pub(super) struct Findings {
    /// The closure.
    pub(super) closure: Arc<Closure>,
    /// The worst of the problems; `None` where everything judged holds.
    pub(super) verdict: Option<Verdict>,
    /// What holds.
    pub(super) good: usize,
    /// What was judged.
    pub(super) total: usize,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
    problems_max: usize,
}

/// Is what is wrong with one blob or manifest.
#[derive(Debug, Clone)]
pub(super) struct Flaw {
    pub(super) verdict: Verdict,
    pub(super) check: &'static str,
    pub(super) problem: Cow<'static, str>,
}

/// What is said of a blob that was not hashed yet.
static PENDING: Flaw = Flaw {
    verdict: Verdict::Pending,
    check: "digest",
    problem: Cow::Borrowed("not hashed yet"),
};

pub(super) fn missing(problem: &'static str) -> Flaw {
    Flaw {
        verdict: Verdict::Missing,
        check: "present",
        problem: Cow::Borrowed(problem),
    }
}

pub(super) fn unverifiable() -> Flaw {
    Flaw {
        verdict: Verdict::Unsupported,
        check: "digest",
        problem: Cow::Borrowed("this version cannot compute digests of this algorithm"),
    }
}

/// Puts together what was found about one root.
pub(super) fn findings(
    court: &Court<'_>,
    closure: &Arc<Closure>,
    blobs: &Blobs<'_>,
    problems_max: usize,
) -> Findings {
    let (survey, content) = (court.survey, court.asked.content);
    let mut findings = Findings::new(closure, problems_max);
    for descriptor in &closure.manifests {
        findings.count(descriptor, manifest_flaw(survey, descriptor).as_ref());
    }
    if content != Content::Manifests {
        for descriptor in &closure.blobs {
            match blobs.found(descriptor) {
                Found::Wrong(flaw) => findings.count(descriptor, Some(flaw)),
                Found::Good => findings.count(descriptor, data_flaw(descriptor).as_ref()),
                Found::Pending => findings.count(descriptor, Some(&PENDING)),
            }
        }
    }
    for digest in &closure.conflicting {
        findings.add(
            digest,
            &Flaw {
                verdict: Verdict::Corrupt,
                check: "size",
                problem: Cow::Borrowed("two descriptors give it different sizes"),
            },
        );
    }
    if closure.limit {
        findings.cut(
            "the image is nested too deeply or has too many parts",
            "split it",
        );
    }
    findings
}

/// Returns the findings about a root that is not judged, because all roots before it took up the room.
pub(super) fn beyond(closure: &Arc<Closure>) -> Findings {
    let mut findings = Findings::new(closure, 1);
    findings.cut(
        "the images of the layout have too many parts for one report",
        "name one image",
    );
    findings
}

impl Findings {
    /// Returns the findings about a root before anything was looked at.
    fn new(closure: &Arc<Closure>, problems_max: usize) -> Self {
        Self {
            closure: Arc::clone(closure),
            verdict: None,
            good: 0,
            total: 0,
            problems: Vec::new(),
            problems_max,
        }
    }

    fn count(&mut self, descriptor: &Descriptor, flaw: Option<&Flaw>) {
        self.total = self.total.saturating_add(1);
        match flaw {
            None => self.good = self.good.saturating_add(1),
            Some(flaw) => self.add(&descriptor.digest, flaw),
        }
    }

    fn add(&mut self, digest: &Digest, flaw: &Flaw) {
        self.worsen(flaw.verdict);
        if self.problems.len() < self.problems_max {
            self.problems.push(Problem {
                verdict: flaw.verdict,
                file: blob_path(digest),
                digest: Some(digest.clone()),
                check: flaw.check,
                problem: flaw.problem.clone().into_owned(),
                hint: hint(flaw.verdict).to_owned(),
            });
        }
    }

    /// Says that a limit cut the judging.
    fn cut(&mut self, problem: &str, hint: &str) {
        self.worsen(Verdict::Limit);
        self.problems.push(Problem {
            verdict: Verdict::Limit,
            file: None,
            digest: None,
            check: "graph",
            problem: problem.to_owned(),
            hint: hint.to_owned(),
        });
    }

    fn worsen(&mut self, verdict: Verdict) {
        self.verdict = Some(self.verdict.map_or(verdict, |known| known.min(verdict)));
    }
}

fn hint(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pending => "wait until it is hashed",
        Verdict::Missing => "copy the whole image into the layout",
        Verdict::Unsupported => "use sha256, sha384 or sha512 and a media type this version reads",
        Verdict::Limit => "see the limits in the manual",
        Verdict::Ambiguous => "write the document so that every reader understands the same",
        _ => "restore it from where the layout came from",
    }
}

/// Returns the path of a blob below the layout's root.
pub(super) fn blob_path(digest: &Digest) -> Option<String> {
    digest
        .algorithm()
        .map(|algorithm| format!("blobs/{}/{}", algorithm.name(), digest.hex()))
}

fn manifest_flaw(survey: &Survey, descriptor: &Descriptor) -> Option<Flaw> {
    let (verdict, check, problem) = match survey.graph.node(&descriptor.digest) {
        Some(Node::Present { size, .. }) => {
            if *size == descriptor.size {
                return data_flaw(descriptor);
            }
            let problem = format!(
                "it has {size} bytes, its descriptor says {}",
                descriptor.size
            );
            (Verdict::Corrupt, "size", problem)
        }
        Some(Node::Missing) | None => return Some(missing("missing")),
        Some(Node::Corrupt(problem)) => (Verdict::Corrupt, "digest", problem.clone()),
        Some(Node::Unverifiable) => return Some(unverifiable()),
        Some(Node::TooLarge) => (
            Verdict::Limit,
            "size",
            "the manifest has more than 4 MiB".to_owned(),
        ),
        Some(Node::Unreadable(problem)) => (Verdict::Corrupt, "read", problem.clone()),
        Some(Node::Malformed(error)) => {
            let verdict = match &**error {
                DocumentError::Foreign { .. } => Verdict::Corrupt,
                DocumentError::BothKinds | DocumentError::Json(_) => Verdict::Ambiguous,
                DocumentError::Digest { .. } | DocumentError::Member { .. } => Verdict::Unsupported,
            };
            (verdict, "manifest", causes(&**error))
        }
    };
    Some(Flaw {
        verdict,
        check,
        problem: Cow::Owned(problem),
    })
}

/// Embedded content must be the content.
fn data_flaw(descriptor: &Descriptor) -> Option<Flaw> {
    let data = descriptor.data.as_ref()?;
    if u64::try_from(data.len()) == Ok(descriptor.size) && descriptor.digest.matches(data) {
        return None;
    }
    Some(Flaw {
        verdict: Verdict::Corrupt,
        check: "data",
        problem: Cow::Borrowed("the content embedded in its descriptor is other content"),
    })
}
