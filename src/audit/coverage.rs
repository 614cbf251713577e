//! What nothing signed covers: stored blobs outside every image and signature, and extra root entries.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Survey;
use crate::oci::rank::{Ranked, find_digest, rank, sort_by_digest};
use crate::oci::{Closure, Digest, Document, media_type};
use crate::report::SYNTHETIC_NAMES;

/// Counts orphans and extras.
pub(super) fn count(survey: &Survey, closures: &HashMap<Digest, Arc<Closure>>) -> (usize, usize) {
    let ranked = |digest| (rank(digest), digest);
    let mut covered: Vec<Ranked<&Digest>> = Vec::new();
    for closure in closures.values() {
        let all = closure.manifests.iter().chain(&closure.blobs);
        covered.extend(all.map(|descriptor| ranked(&descriptor.digest)));
    }
    let mut signatures: HashSet<&Digest> = HashSet::new();
    for referrer in survey.graph.referrers.values().flatten() {
        let digest = &referrer.descriptor.digest;
        let Some(Document::Manifest(manifest)) = survey.graph.document(digest) else {
            continue;
        };
        let types = [
            manifest.artifact_type.as_deref(),
            manifest.config.as_ref().map(|config| &*config.media_type),
        ];
        if types.contains(&Some(media_type::NOTARY_SIGNATURE)) && signatures.insert(digest) {
            let parts = manifest.config.iter().chain(&manifest.layers);
            covered.extend(parts.map(|descriptor| ranked(&descriptor.digest)));
        }
    }
    // An index of nothing but signatures is how other tools keep them (the fallback tag).
    let lists = survey.graph.nodes.keys().filter(|digest| {
        let Some(Document::Index(index)) = survey.graph.document(digest) else {
            return false;
        };
        !index.manifests.is_empty()
            && index
                .manifests
                .iter()
                .all(|entry| signatures.contains(&entry.digest))
    });
    covered.extend(lists.map(ranked));
    covered.extend(signatures.iter().copied().map(ranked));
    sort_by_digest(&mut covered, |digest| digest);
    let is_covered = |digest: &Digest| find_digest(&covered, digest, |covered| covered).is_some();
    let blobs = survey.listing.blobs.iter();
    let orphans = blobs.filter(|blob| !is_covered(&blob.digest)).count();
    (orphans, extras(survey))
}

/// Counts root entries that the specification does not name; what a mount shows under that name itself is none.
fn extras(survey: &Survey) -> usize {
    let named = survey
        .listing
        .extras
        .iter()
        .filter(|extra| extra.path.components().count() == 1)
        .filter(|extra| {
            let name = extra.path.to_str();
            !name.is_some_and(|name| SYNTHETIC_NAMES.contains(&name))
        })
        .count();
    named.saturating_add(survey.listing.hidden)
}
