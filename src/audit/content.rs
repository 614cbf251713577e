//! Whether everything an image consists of is there, with the right sizes and digests.

use std::collections::HashMap;
use std::sync::Arc;

use super::cores::on_all_cores_with;
use super::court::Court;
use super::reading::causes;
use super::{Asked, Content, Seen, Survey};
use crate::layout::{Blob, HashError, Hashes, Identity, Known, Look};
use crate::oci::graph::Node;
use crate::oci::{Closure, Descriptor, Digest, DocumentError, Progress};
use crate::report::{Problem, Verdict};

/// Blobs that are open at a time.
const OPEN_BLOBS_MAX: usize = 128;

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

/// Is what was found about each blob, by digest and size.
pub(super) type Blobs<'a> = HashMap<(&'a Digest, u64), Option<Box<Flaw>>>;

/// Is what is wrong with one blob or manifest.
#[derive(Debug, Clone)]
pub(super) struct Flaw {
    verdict: Verdict,
    check: &'static str,
    problem: String,
}

/// Judges every blob of some closures, each once; says what was seen of those that were judged by what is known of them.
pub(super) fn judge_blobs<'a>(
    asked: &Asked<'_>,
    hashes: &Hashes,
    progress: &dyn Progress,
    closures: impl Iterator<Item = &'a Arc<Closure>>,
) -> (Blobs<'a>, Seen) {
    let mut blobs = Blobs::new();
    if asked.content == Content::Manifests {
        return (blobs, Seen::default());
    }
    let mut wanted = Vec::new();
    for descriptor in closures.flat_map(|closure| &closure.blobs) {
        let key = (&descriptor.digest, descriptor.size);
        if blobs.insert(key, None).is_none() {
            wanted.push(descriptor);
        }
    }
    if asked.content == Content::Known {
        let seen = look_up_all(asked, hashes, wanted, &mut blobs);
        return (blobs, seen);
    }
    // The largest go first, so that no core waits long for another at the end.
    wanted.sort_by_key(|descriptor| std::cmp::Reverse(descriptor.size));
    for batch in wanted.chunks(OPEN_BLOBS_MAX) {
        judge_batch(asked, hashes, progress, batch, &mut blobs);
    }
    (blobs, Seen::default())
}

/// Judges blobs by what is known of them.
fn look_up_all<'a>(
    asked: &Asked<'_>,
    hashes: &Hashes,
    mut wanted: Vec<&'a Descriptor>,
    blobs: &mut Blobs<'a>,
) -> Seen {
    wanted.sort_unstable_by(|one, other| one.digest.cmp(&other.digest));
    let look_at = |look: &mut Look, descriptor: &&Descriptor| {
        let blob = open(asked, descriptor).map_err(Box::new)?;
        let known = hashes.known_as(look, descriptor, &blob);
        known.ok_or_else(|| Box::new(pending()))
    };
    let found = on_all_cores_with(&wanted, Look::default, &look_at);
    let mut judged = wanted.iter();
    let state_of = |known: Result<Known, Box<Flaw>>| match (known, judged.next()) {
        (Ok(known), _) => known.state,
        (Err(flaw), descriptor) => {
            let key = descriptor.map(|descriptor| (&descriptor.digest, descriptor.size));
            blobs.extend(key.map(|key| (key, Some(flaw))));
            None
        }
    };
    // The states stand where the results stood.
    let states: Vec<Option<Identity>> = found.into_iter().map(state_of).collect();
    match asked.source.tells_states() {
        true => Seen::of(wanted.into_iter().cloned().collect(), states),
        false => Seen::default(),
    }
}

fn judge_batch<'a>(
    asked: &Asked<'_>,
    hashes: &Hashes,
    progress: &dyn Progress,
    batch: &[&'a Descriptor],
    blobs: &mut Blobs<'a>,
) {
    let mut jobs = Vec::new();
    let mut keys = Vec::new();
    for descriptor in batch {
        let key = (&descriptor.digest, descriptor.size);
        match open(asked, descriptor) {
            Err(flaw) => {
                blobs.insert(key, Some(Box::new(flaw)));
            }
            Ok(blob) => {
                jobs.push(((*descriptor).clone(), blob));
                keys.push(key);
            }
        }
    }
    if jobs.is_empty() {
        return;
    }
    let results = hashes.verify_all(&jobs, progress);
    // A result that is not there must not pass.
    let missing = keys.len().saturating_sub(results.len());
    let flaws = results
        .into_iter()
        .map(|result| result.err().map(|error| flaw_of(&error)))
        .chain(std::iter::repeat_n(Some(pending()), missing))
        .map(|flaw| flaw.map(Box::new));
    for (key, flaw) in keys.into_iter().zip(flaws) {
        if flaw.is_some() {
            blobs.insert(key, flaw);
        }
    }
}

fn open(asked: &Asked<'_>, descriptor: &Descriptor) -> Result<Blob, Flaw> {
    if descriptor.digest.algorithm().is_none() {
        return Err(unverifiable());
    }
    match asked.source.blob(&descriptor.digest) {
        Ok(Some(blob)) if blob.size() == descriptor.size => Ok(blob),
        Ok(Some(blob)) => Err(Flaw {
            verdict: Verdict::Corrupt,
            check: "size",
            problem: format!(
                "it has {} bytes, its descriptor says {}",
                blob.size(),
                descriptor.size
            ),
        }),
        Ok(None) if descriptor.has_urls => Err(missing(
            "missing, external: its content is at other places only, which are never asked",
        )),
        Ok(None) => Err(missing("missing")),
        Err(error) => Err(Flaw {
            verdict: Verdict::Corrupt,
            check: "read",
            problem: causes(&error),
        }),
    }
}

fn missing(problem: &str) -> Flaw {
    Flaw {
        verdict: Verdict::Missing,
        check: "present",
        problem: problem.to_owned(),
    }
}

fn pending() -> Flaw {
    Flaw {
        verdict: Verdict::Pending,
        check: "digest",
        problem: "not hashed yet".to_owned(),
    }
}

fn unverifiable() -> Flaw {
    Flaw {
        verdict: Verdict::Unsupported,
        check: "digest",
        problem: "this version cannot compute digests of this algorithm".to_owned(),
    }
}

fn flaw_of(error: &HashError) -> Flaw {
    let (verdict, check, problem) = match error {
        HashError::Cancelled { .. } => return pending(),
        HashError::Unverifiable { .. } => return unverifiable(),
        HashError::Size {
            expected, found, ..
        } => (
            Verdict::Corrupt,
            "size",
            format!("it has {found} bytes, its descriptor says {expected}"),
        ),
        HashError::Digest { found, .. } => (
            Verdict::Corrupt,
            "digest",
            format!("its content has the digest {found}"),
        ),
        HashError::Changed { .. } => (
            Verdict::Corrupt,
            "digest",
            "it changed while it was read".to_owned(),
        ),
        HashError::Read { .. } => (Verdict::Corrupt, "read", causes(error)),
    };
    Flaw {
        verdict,
        check,
        problem,
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
            let flaw = match blobs.get(&(&descriptor.digest, descriptor.size)) {
                Some(Some(flaw)) => Some((**flaw).clone()),
                Some(None) => data_flaw(descriptor),
                None => Some(pending()),
            };
            findings.count(descriptor, flaw.as_ref());
        }
    }
    for digest in &closure.conflicting {
        findings.add(
            digest,
            &Flaw {
                verdict: Verdict::Corrupt,
                check: "size",
                problem: "two descriptors give it different sizes".to_owned(),
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
                problem: flaw.problem.clone(),
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
            let verdict = match error {
                DocumentError::BothKinds | DocumentError::Json(_) => Verdict::Ambiguous,
                DocumentError::Digest { .. } | DocumentError::Member { .. } => Verdict::Unsupported,
            };
            (verdict, "manifest", causes(error))
        }
    };
    Some(Flaw {
        verdict,
        check,
        problem,
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
        problem: "the content embedded in its descriptor is other content".to_owned(),
    })
}
