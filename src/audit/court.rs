//! Puts a report together: standing of the policy, images, layout-level findings.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cores::both;
use super::signatures::earlier;
use super::standing::{Standing, policy_problems};
use super::{
    Asked, AuditError, Content, Seen, Selection, Survey, children, coverage, docker, images,
    selection,
};
use crate::layout::{Hashes, Source};
use crate::notary::{Certificate, ChainCache};
use crate::oci::limits::GRAPH_DESCRIPTORS_MAX;
use crate::oci::{Closure, Digest, Image, Progress, UnixTime};
use crate::report::{ContentLevel, ImageReport, Note, Problem, Report, Verdict};

/// Is everything that judging one image takes.
pub(super) struct Court<'a> {
    /// The layout as read.
    pub(super) survey: &'a Survey,
    /// What is asked.
    pub(super) asked: &'a Asked<'a>,
    /// The time.
    pub(super) now: UnixTime,
    /// What the policy says.
    pub(super) standing: Standing<'a>,
    /// Chains met so far: most images share one.
    pub(super) chains: ChainCache,
    /// Whether an envelope that is there could not be read.
    pub(super) unread: AtomicBool,
}

impl<'a> Court<'a> {
    /// Returns the court for what is asked.
    pub(super) fn new(survey: &'a Survey, asked: &'a Asked<'a>, now: UnixTime) -> Self {
        Self {
            survey,
            asked,
            now,
            standing: Standing::of(asked),
            chains: ChainCache::familiar_with(trusted(asked)),
            unread: AtomicBool::new(false),
        }
    }
}

/// Returns the certificates of all trust stores that can be used.
fn trusted<'a>(asked: &'a Asked<'a>) -> impl Iterator<Item = &'a Certificate> {
    let stores = asked.trust.anchors.stores.values();
    stores.flatten().flatten()
}

/// Holds the closure of every root.
pub(super) type Closures = HashMap<Digest, Arc<Closure>>;

/// Judges what is asked.
pub(super) fn report(
    court: &Court<'_>,
    hashes: &Hashes,
    progress: &dyn Progress,
) -> Result<(Report, Seen), AuditError> {
    let mut problems = policy_problems(court.asked);
    if let Some(problem) = &court.survey.invalid {
        problems.push(Problem {
            verdict: Verdict::LayoutInvalid,
            file: None,
            digest: None,
            check: "layout",
            problem: problem.clone(),
            hint: "restore index.json and oci-layout from where the layout came from".to_owned(),
        });
        let report = assemble(court, hashes, Vec::new(), problems);
        return Ok((report, Seen::default()));
    }
    let selected = selection::select(court.survey, &court.asked.images)?;
    let some;
    let closures = match &court.asked.images {
        Selection::All => all_closures(court.survey),
        Selection::Tag(_) | Selection::Digest(_) => {
            some = closures(court.survey, &selected);
            &some
        }
    };
    let place = (court.survey, court.asked.source);
    problems.extend(layout_problems(place, closures));
    let uncovered = || uncovered(court, closures);
    let judge = || images::judge(court, hashes, progress, (&selected, closures));
    let ((orphans, extras), found) = both(court.survey.listing.blobs.len(), uncovered, judge);
    let (children, children_until) = children::judge(court, &found.reports, closures);
    let mut report = assemble(court, hashes, found.reports, problems);
    report.children = children;
    report.valid_until = earlier(found.valid_until, children_until);
    report.orphans = orphans;
    report.extras = extras;
    let mut seen = found.seen;
    seen.unread = court.unread.load(Ordering::Relaxed);
    Ok((report, seen))
}

/// Returns how many stored blobs nothing covers, and how many extras there are: while nothing else is selected, counted once.
fn uncovered(court: &Court<'_>, closures: &Closures) -> (usize, usize) {
    let count = || coverage::count(court.survey, closures);
    match &court.asked.images {
        Selection::All => *court.survey.uncovered.get_or_init(count),
        Selection::Tag(_) | Selection::Digest(_) => count(),
    }
}

/// Returns the closure of every image of the layout, each root once.
pub(super) fn all_closures(survey: &Survey) -> &Closures {
    survey.closures.get_or_init(|| closures(survey, &[]))
}

/// Returns the closure of every image of the layout and of those selected, each root once.
fn closures(survey: &Survey, selected: &[Image]) -> Closures {
    let mut closures = Closures::new();
    let mut room = GRAPH_DESCRIPTORS_MAX;
    for image in selected.iter().chain(&survey.graph.images) {
        closures
            .entry(image.descriptor.digest.clone())
            .or_insert_with(|| Arc::new(survey.graph.closure_within(&image.descriptor, &mut room)));
    }
    closures
}

/// Returns what is wrong with the layout as a whole, whoever signed.
pub(super) fn layout_problems(
    (survey, source): (&Survey, &dyn Source),
    closures: &Closures,
) -> Vec<Problem> {
    let mut problems = docker::disagreements(survey, source, closures);
    if survey.graph.limit {
        problems.push(Problem {
            verdict: Verdict::Limit,
            file: Some("index.json".to_owned()),
            digest: None,
            check: "graph",
            problem: "the layout has too many manifests or nests them too deeply to be read whole"
                .to_owned(),
            hint: "split the layout".to_owned(),
        });
    }
    problems
}

fn assemble(
    court: &Court<'_>,
    hashes: &Hashes,
    images: Vec<ImageReport>,
    problems: Vec<Problem>,
) -> Report {
    let asked = court.asked;
    Report {
        images,
        children: Vec::new(),
        problems,
        notes: notes(court.survey),
        policy: asked.trust.id.clone(),
        scope: asked.scope.cloned(),
        scope_origin: asked.scope_origin,
        content: match asked.content {
            Content::Manifests => ContentLevel::Manifests,
            Content::Known | Content::Full => ContentLevel::Full,
        },
        leases: !hashes.leases_unavailable(),
        orphans: 0,
        extras: 0,
        refused: None,
        valid_until: None,
    }
}

/// Returns what an overlay holds that is not shown.
fn notes(survey: &Survey) -> Vec<Note> {
    let ignored = survey.listing.ignored.iter();
    ignored
        .map(|ignored| Note {
            file: ignored.path.display().to_string(),
            digest: ignored.digest.clone(),
            check: "overlay",
            text: ignored.problem.clone(),
            hint: "it is ignored; remove it if it is not needed",
        })
        .collect()
}
