//! The reports of the images selected: content and signatures of each root, once for all its names, within the room that one report has.

use std::collections::HashMap;
use std::sync::Arc;

use super::Seen;
use super::blobs;
use super::content::{self, Findings};
use super::cores::on_all_cores;
use super::court::{Closures, Court};
use super::room::{self, Budget, Room};
use super::signatures::{self, Judged, earlier};
use super::standing::Standing;
use crate::layout::Hashes;
use crate::notary::Statement;
use crate::oci::{Closure, Digest, Image, Progress, UnixTime};
use crate::report::{ImageReport, Problem, Verdict};

/// Is everything found about one root, whatever names it has.
#[derive(Clone)]
struct Case {
    findings: Findings,
    judged: Judged,
}

/// Is what was found about the images that were selected.
pub(super) struct Found {
    /// Their reports.
    pub(super) reports: Vec<ImageReport>,
    /// The first moment at which they may differ.
    pub(super) valid_until: Option<UnixTime>,
    /// What was seen of the files of their blobs.
    pub(super) seen: Seen,
}

/// Judges the selected images, each root once.
pub(super) fn judge(
    court: &Court<'_>,
    hashes: &Hashes,
    progress: &dyn Progress,
    (selected, closures): (&[Image], &Closures),
) -> Found {
    let mut positions = HashMap::new();
    let mut roots: Vec<&Image> = Vec::new();
    let mut root_of = Vec::with_capacity(selected.len());
    for image in selected {
        let descriptor = &image.descriptor;
        let kind = (&*descriptor.media_type, image.untyped);
        let key = (&descriptor.digest, descriptor.size, kind);
        let position = *positions.entry(key).or_insert_with(|| {
            roots.push(image);
            roots.len().saturating_sub(1)
        });
        root_of.push(position);
    }
    let empty = Arc::new(Closure::default());
    let mut room = Room::MAX;
    let dockets: Vec<Docket<'_>> = roots
        .iter()
        .map(|root| {
            let closure = closures.get(&root.descriptor.digest).unwrap_or(&empty);
            docket(court, root, closure, &mut room)
        })
        .collect();
    // Each closure once: a digest may be listed under a hundred thousand sizes.
    let wanted: HashMap<&Digest, &Arc<Closure>> = dockets
        .iter()
        .filter(|docket| docket.signatures.is_some())
        .map(|docket| (&docket.root.descriptor.digest, docket.closure))
        .collect();
    let (blobs, seen) = blobs::judge_blobs(court.asked, hashes, progress, wanted.into_values());
    let problems_max = room::problems_max(selected.len());
    let judge = |docket: &Docket<'_>| match &docket.signatures {
        None => Case {
            findings: content::beyond(docket.closure),
            judged: Judged::beyond(),
        },
        Some(signatures) => Case {
            findings: content::findings(court, docket.closure, &blobs, problems_max),
            judged: signatures::judge_all(court, &docket.root.descriptor, signatures),
        },
    };
    let cases = on_all_cores(&dockets, &judge);
    let valid_until = cases
        .iter()
        .fold(None, |until, case| earlier(until, case.judged.valid_until));
    let mut budget = Budget::MAX;
    let mut reports = Vec::with_capacity(selected.len());
    for (image, position) in selected.iter().zip(root_of) {
        if let Some(case) = cases.get(position) {
            reports.push(image_report(court, image, case, &mut budget));
        }
    }
    Found {
        reports,
        valid_until,
        seen,
    }
}

/// Is what is to be judged about one root; without signatures there is no room for any of it.
struct Docket<'a> {
    root: &'a Image,
    closure: &'a Arc<Closure>,
    signatures: Option<signatures::Found<'a>>,
}

fn docket<'a>(
    court: &Court<'a>,
    root: &'a Image,
    closure: &'a Arc<Closure>,
    room: &mut Room,
) -> Docket<'a> {
    let referrers = court.survey.graph.referrers(&root.descriptor.digest).len();
    let parts = closure.manifests.len().saturating_add(closure.blobs.len());
    let fits = room.look_at(parts.saturating_add(referrers));
    Docket {
        root,
        closure,
        signatures: fits.then(|| signatures::find(court, root, room)),
    }
}

fn image_report(court: &Court<'_>, image: &Image, case: &Case, budget: &mut Budget) -> ImageReport {
    let statement = court.standing.statement();
    let mut report = ImageReport {
        descriptor: image.descriptor.clone(),
        name: image.name.clone(),
        verdict: case.findings.verdict.unwrap_or(case.judged.verdict),
        statement: statement.map(|statement| statement.name.clone()),
        level: statement.map(Statement::level_name),
        signatures: Vec::new(),
        content_good: case.findings.good,
        content_total: case.findings.total,
        problems: case.findings.problems.clone(),
        closure: Arc::default(),
    };
    let closure = &case.findings.closure;
    let descriptors = closure.manifests.len().saturating_add(closure.blobs.len());
    if budget.take(descriptors, case.judged.signatures.len()) {
        // Not `clone_from`: it leaves room for more, and there are ten thousand of these.
        report.signatures = case.judged.signatures.clone();
        report.closure = Arc::clone(closure);
        report.problems.extend(case.judged.problems.iter().cloned());
    } else {
        report.verdict = report.verdict.min(Verdict::Limit);
        report.problems.push(Problem {
            verdict: Verdict::Limit,
            file: None,
            digest: Some(image.descriptor.digest.clone()),
            check: "report",
            problem: "the layout has too many images, blobs and signatures for one report"
                .to_owned(),
            hint: "name one image".to_owned(),
        });
    }
    if image.ambiguous {
        report.verdict = report.verdict.min(Verdict::Ambiguous);
        report.problems.push(ambiguous_name(image));
    }
    if let (Verdict::NoPolicy, Standing::NoPolicy { problem, hint }) =
        (case.judged.verdict, &court.standing)
    {
        report.problems.push(Problem {
            verdict: Verdict::NoPolicy,
            file: court.asked.trust.id.path.clone(),
            digest: None,
            check: "policy",
            problem: problem.clone(),
            hint: (*hint).to_owned(),
        });
    }
    report
}

fn ambiguous_name(image: &Image) -> Problem {
    Problem {
        verdict: Verdict::Ambiguous,
        file: Some("index.json".to_owned()),
        digest: Some(image.descriptor.digest.clone()),
        check: "tag",
        problem:
            "one of its names is on another digest too: readers disagree about which image it is"
                .to_owned(),
        hint: "keep one entry with this name".to_owned(),
    }
}
