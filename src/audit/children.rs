//! Signatures of what lies within images: platform manifests that were signed on their own. They decide no verdict.

use std::collections::HashSet;
use std::sync::Arc;

use super::Selection;
use super::court::{Closures, Court};
use super::room::Room;
use super::signatures::{self, earlier};
use crate::notary::Statement;
use crate::oci::graph::Referrer;
use crate::oci::{Descriptor, Digest, Image, UnixTime};
use crate::report::ImageReport;

/// Judges the signatures of every signed manifest within the images, where all images are asked for.
pub(super) fn judge(
    court: &Court<'_>,
    images: &[ImageReport],
    closures: &Closures,
) -> (Vec<ImageReport>, Option<UnixTime>) {
    let mut reports = Vec::new();
    let mut valid_until = None;
    if court.asked.images != Selection::All {
        return (reports, valid_until);
    }
    let mut room = Room::CHILDREN;
    for child in signed(court, images, closures, &mut room) {
        let (report, until) = judge_one(court, child, &mut room);
        valid_until = earlier(valid_until, until);
        reports.push(report);
    }
    (reports, valid_until)
}

/// Returns the signed manifests within the images, each once.
fn signed<'a>(
    court: &Court<'_>,
    images: &[ImageReport],
    closures: &'a Closures,
    room: &mut Room,
) -> Vec<&'a Descriptor> {
    let roots = images.iter().map(|image| &image.descriptor.digest);
    let mut seen: HashSet<&Digest> = HashSet::new();
    let roots: Vec<&Digest> = roots.filter(|digest| seen.insert(*digest)).collect();
    let mut signed = Vec::new();
    for closure in roots.iter().filter_map(|root| closures.get(*root)) {
        for child in &closure.manifests {
            let referrers = court.survey.graph.referrers(&child.digest);
            if !room.look_at(referrers.len().saturating_add(1)) {
                return signed;
            }
            let is_signed = referrers.iter().any(Referrer::is_signature);
            if is_signed && seen.insert(&child.digest) {
                signed.push(child);
            }
        }
    }
    signed
}

fn judge_one(
    court: &Court<'_>,
    child: &Descriptor,
    room: &mut Room,
) -> (ImageReport, Option<UnixTime>) {
    let image = Image {
        descriptor: child.clone(),
        name: None,
        ambiguous: false,
        untyped: false,
    };
    let found = signatures::find(court, &image, room);
    let judged = signatures::judge_all(court, child, &found);
    let statement = court.standing.statement();
    let report = ImageReport {
        descriptor: image.descriptor,
        name: None,
        verdict: judged.verdict,
        statement: statement.map(|statement| statement.name.clone()),
        level: statement.map(Statement::level_name),
        signatures: judged.signatures,
        content_good: 0,
        content_total: 0,
        problems: judged.problems,
        closure: Arc::default(),
    };
    (report, judged.valid_until)
}
