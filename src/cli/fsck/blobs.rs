//! Every stored blob is read and compared with its name, and every descriptor with what is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::{Checked, bar};
use crate::audit::Survey;
use crate::layout::{HashError, Hashes, Source};
use crate::oci::graph::Node;
use crate::oci::{Descriptor, Digest, Document, ImageIndex, causes};
use crate::report::Verdict;

/// Blobs that are open at a time.
const OPEN_BLOBS_MAX: usize = 128;

/// Checks all blobs, those too that nothing refers to.
pub(super) fn check(
    survey: &Survey,
    source: &dyn Source,
    hashes: &Hashes,
    findings: &mut Vec<Finding>,
) -> Checked {
    let stored: BTreeMap<&Digest, u64> = survey
        .listing
        .blobs
        .iter()
        .map(|blob| (&blob.digest, blob.facts.size))
        .collect();
    let wanted = wanted(survey, &stored, findings);
    descriptors(&wanted, &stored, survey, findings);
    let mut largest_first: Vec<(&Digest, u64)> = stored.into_iter().collect();
    largest_first.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let progress = bar();
    let mut checked = Checked::default();
    for batch in largest_first.chunks(OPEN_BLOBS_MAX) {
        let mut jobs = Vec::new();
        for (digest, size) in batch {
            match source.blob(digest) {
                Ok(Some(blob)) => {
                    jobs.push((Descriptor::new("", (*digest).clone(), blob.size()), blob));
                    checked.blobs += 1;
                    checked.bytes = checked.bytes.saturating_add(*size);
                }
                // It went since the listing was made.
                Ok(None) => {}
                Err(error) => findings.push(unreadable(digest, &causes(&error))),
            }
        }
        let results = hashes.verify_all(&jobs, &progress);
        for ((descriptor, _), result) in jobs.iter().zip(results) {
            if let Err(error) = result {
                findings.push(flaw(&descriptor.digest, &error));
            }
        }
    }
    for (digest, _) in &largest_first {
        if survey.invalid.is_none() && !wanted.contains_key(*digest) {
            let orphan = Finding::note("orphan", path(digest), "no image and no signature has it");
            findings.push(orphan.about(digest));
        }
    }
    checked
}

/// Returns where a blob is.
fn path(digest: &Digest) -> String {
    let text = digest.to_string();
    match text.split_once(':') {
        Some((algorithm, hex)) => format!("blobs/{algorithm}/{hex}"),
        None => text,
    }
}

fn unreadable(digest: &Digest, why: &str) -> Finding {
    Finding::wrong("read", Verdict::Corrupt, path(digest), why)
        .about(digest)
        .advised("look at the file and its disk; copy the blob from where it is sound")
}

fn flaw(digest: &Digest, error: &HashError) -> Finding {
    match error {
        HashError::Digest { found, .. } => Finding::wrong(
            "digest",
            Verdict::Corrupt,
            path(digest),
            format!("its content is not what its name says: it has digest {found}"),
        )
        .about(digest),
        HashError::Changed { .. } => Finding::wrong(
            "read",
            Verdict::Corrupt,
            path(digest),
            "it changed while it was read",
        )
        .about(digest)
        .advised("run fsck again when nobody writes to the layout"),
        error => unreadable(digest, &causes(error)),
    }
}

/// Returns the sizes by digest that index.json and all manifests below it ask for, and whether only other places have the content.
type Wanted<'a> = BTreeMap<&'a Digest, BTreeSet<(u64, bool)>>;

fn wanted<'a>(
    survey: &'a Survey,
    stored: &BTreeMap<&Digest, u64>,
    findings: &mut Vec<Finding>,
) -> Wanted<'a> {
    let mut wanted = Wanted::new();
    let mut want = |descriptor: &'a Descriptor| {
        let size = (descriptor.size, descriptor.has_urls);
        wanted.entry(&descriptor.digest).or_default().insert(size);
    };
    let mut subjects = Vec::new();
    for (digest, node) in &survey.graph.nodes {
        if let Node::Present { document, .. } = node {
            let (parts, subject): (Vec<&Descriptor>, _) = match &**document {
                Document::Manifest(manifest) => (
                    manifest.config.iter().chain(&manifest.layers).collect(),
                    &manifest.subject,
                ),
                Document::Index(index) => (index.manifests.iter().collect(), &index.subject),
            };
            parts.into_iter().for_each(&mut want);
            subjects.extend(subject.as_ref().map(|subject| (digest, &subject.digest)));
        }
    }
    // What is met as a subject only need not be there.
    for (digest, node) in &survey.graph.nodes {
        if !matches!(node, Node::Missing) {
            wanted.entry(digest).or_default();
        }
    }
    for (digest, subject) in subjects {
        if !stored.contains_key(subject) {
            let problem = format!("its subject {subject} is not in the layout");
            findings.push(Finding::note("subject", path(digest), problem).about(digest));
        }
    }
    wanted
}

/// Compares descriptors with what is stored.
fn descriptors(
    wanted: &Wanted<'_>,
    stored: &BTreeMap<&Digest, u64>,
    survey: &Survey,
    findings: &mut Vec<Finding>,
) {
    let entries = survey
        .index
        .as_ref()
        .and_then(|index| ImageIndex::parse(&index.bytes).ok())
        .map(|index| index.manifests)
        .unwrap_or_default();
    let mut sizes: BTreeMap<&Digest, BTreeSet<(u64, bool)>> = wanted.clone();
    for entry in &entries {
        let size = (entry.size, entry.has_urls);
        sizes.entry(&entry.digest).or_default().insert(size);
    }
    for (digest, sizes) in sizes {
        if digest.algorithm().is_none() {
            let problem = "digests of this algorithm cannot be verified";
            let finding = Finding::wrong("algorithm", Verdict::Unsupported, path(digest), problem);
            findings.push(
                finding
                    .about(digest)
                    .advised("build the image with sha256 digests"),
            );
            continue;
        }
        let Some(size) = stored.get(digest) else {
            findings.push(missing(digest, &sizes));
            continue;
        };
        for (expected, _) in sizes.iter().filter(|(expected, _)| expected != size) {
            let problem = format!("it has {size} bytes, a descriptor says {expected}");
            let finding = Finding::wrong("size", Verdict::Corrupt, path(digest), problem);
            findings.push(finding.about(digest));
        }
        if let Some(problem) = unusable(survey, digest) {
            let finding = Finding::wrong("manifest", Verdict::Corrupt, path(digest), problem);
            findings.push(finding.about(digest));
        }
    }
}

fn missing(digest: &Digest, sizes: &BTreeSet<(u64, bool)>) -> Finding {
    let is_external = sizes.iter().any(|(_, has_urls)| *has_urls);
    let problem = match is_external {
        true => "it is not stored: its content is at other places only",
        false => "it is referred to and not stored",
    };
    Finding::wrong("missing", Verdict::Missing, path(digest), problem).about(digest)
}

/// Says why a stored manifest is of no use; what its bytes hash to is found elsewhere.
fn unusable(survey: &Survey, digest: &Digest) -> Option<String> {
    match survey.graph.node(digest)? {
        Node::Malformed(error) => Some(format!("it is no manifest: {}", causes(error))),
        Node::TooLarge => Some("it is too large for a manifest".to_owned()),
        Node::Unreadable(why) => Some(why.clone()),
        Node::Present { .. } | Node::Missing | Node::Corrupt(_) | Node::Unverifiable => None,
    }
}
