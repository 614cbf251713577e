//! What can be checked without reading blobs: index.json, oci-layout, tags, leftovers, what is no file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::finding::Finding;
use crate::audit::{self, Survey};
use crate::layout::Source;
use crate::report::Verdict;

/// Checks the structure.
pub(super) fn check(survey: &Survey, source: &dyn Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(problem) = &survey.invalid {
        let path = match problem.starts_with("oci-layout") {
            true => "oci-layout",
            false => "index.json",
        };
        findings.push(invalid(path, problem));
    } else if survey.listing.oci_layout.is_none() {
        findings.push(
            Finding::note(
                "oci-layout",
                "oci-layout",
                "it is absent: umoci, oras and regctl open no layout without it",
            )
            .advised("write it: {\"imageLayoutVersion\":\"1.0.0\"}"),
        );
    }
    tags(survey, &mut findings);
    disagreements(survey, source, &mut findings);
    for path in &survey.listing.leftovers {
        findings.push(Finding::note("leftover", shown(path), leftover(path)));
    }
    for ignored in &survey.listing.ignored {
        let mut finding = Finding::note("overlay", shown(&ignored.path), ignored.problem.clone());
        finding.digest.clone_from(&ignored.digest);
        if ignored.is_whole {
            finding = finding.advised(
                "no signature in it is seen: mend it, or move it away where it is not needed",
            );
        }
        findings.push(finding);
    }
    for path in &survey.listing.irregular {
        findings.push(Finding::note(
            "irregular",
            shown(path),
            "it is a symlink, fifo, socket or device in the place of a file, and hidden",
        ));
    }
    let unnamed = survey
        .listing
        .hidden
        .saturating_sub(survey.listing.irregular.len());
    if unnamed > 0 {
        findings.push(Finding::note(
            "irregular",
            ".",
            format!("{unnamed} more entries are no files and no folders, and hidden"),
        ));
    }
    findings
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn invalid(path: &'static str, problem: &str) -> Finding {
    let finding = Finding::wrong(path, Verdict::LayoutInvalid, path, problem);
    match path {
        "oci-layout" => finding.advised("it has to be {\"imageLayoutVersion\":\"1.0.0\"}"),
        _ => finding,
    }
}

/// Finds names that are on two digests.
fn tags(survey: &Survey, findings: &mut Vec<Finding>) {
    let mut digests: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for image in survey.graph.images.iter().filter(|image| image.ambiguous) {
        let name = image.name.as_deref().unwrap_or("");
        let digest = image.descriptor.digest.to_string();
        digests.entry(name).or_default().insert(digest);
    }
    for (name, digests) in digests {
        let list: Vec<String> = digests.into_iter().collect();
        findings.push(Finding::wrong(
            "tag",
            Verdict::Ambiguous,
            "index.json",
            format!(
                "the name {name:?} is on different entries: {}",
                list.join(", ")
            ),
        ));
    }
}

/// Finds where a docker archive's index in the same folder tells another story.
fn disagreements(survey: &Survey, source: &dyn Source, findings: &mut Vec<Finding>) {
    if survey.invalid.is_some() {
        return;
    }
    for problem in audit::layout_problems(survey, source) {
        let path = problem.file.unwrap_or_else(|| "index.json".to_owned());
        findings.push(
            Finding::wrong("layout", problem.verdict, path, problem.problem).advised(problem.hint),
        );
    }
}

/// Says whose leftover a name is.
fn leftover(path: &Path) -> &'static str {
    let name = path.to_string_lossy();
    let is_root = path.components().count() == 1;
    match &*name {
        "index.json.lock" => "a writer (buildx, signetfs) holds it now, or was interrupted",
        "ingest" => "a writer (containerd, buildx) is at work, or was interrupted",
        _ if is_root && name.starts_with(".umoci-") => "umoci is at work, or was interrupted",
        _ if is_root && name.starts_with("oci-put-blob") => "skopeo is at work, or was interrupted",
        _ if name.contains(".signetfs-") => "signetfs is at work, or was interrupted",
        _ => "its name is no digest: a writer is at work, or was interrupted",
    }
}
