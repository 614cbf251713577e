//! Who refers to whom. A document's own `subject` decides, in whatever way the document was reached.
//!
//! All ways of listing referrers in a layout lead to such a document: entries of index.json (annotated with their
//! subject or not), the children of fallback tags and of other indexes. An annotation alone makes no referrer.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::media_type::{
    ARTIFACT_MANIFEST, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, IMAGE_INDEX, IMAGE_MANIFEST,
    NOTARY_SIGNATURE,
};
use super::{Graph, Node, Referrer, is_document_type};
use crate::oci::{Descriptor, Digest, Document, ImageIndex};

/// Returns the referrers by the digest of their subject, each list sorted by digest.
pub(super) fn referrers(index: &ImageIndex, graph: &Graph) -> BTreeMap<Digest, Vec<Referrer>> {
    let mut entries: HashMap<&Digest, &Descriptor> = HashMap::new();
    for entry in &index.manifests {
        entries.entry(&entry.digest).or_insert(entry);
    }
    let contents: HashSet<Content<'_>> = index.manifests.iter().map(content).collect();
    let found = found_by_notation(index, graph);
    let mut referrers: BTreeMap<Digest, Vec<Referrer>> = BTreeMap::new();
    for (digest, node) in &graph.nodes {
        let Node::Present { size, document, .. } = node else {
            continue;
        };
        let Some(subject) = document.subject() else {
            continue;
        };
        let made = Descriptor::new("", digest.clone(), *size);
        let descriptor = graph.typed(entries.get(digest).copied().unwrap_or(&made));
        let mut referrer = referrer(descriptor, document, subject);
        referrer.plain &= found.contains(digest) && contents.contains(&content(subject));
        let list = referrers.entry(subject.digest.clone()).or_default();
        list.push(referrer);
    }
    for list in referrers.values_mut() {
        list.sort_unstable_by(|one, other| one.descriptor.digest.cmp(&other.descriptor.digest));
        // Most have one.
        list.shrink_to_fit();
    }
    referrers
}

type Content<'a> = (&'a str, &'a Digest, u64);

fn content(descriptor: &Descriptor) -> Content<'_> {
    (&descriptor.media_type, &descriptor.digest, descriptor.size)
}

/// Returns a referrer that is plain as far as its own document tells.
fn referrer(descriptor: Descriptor, document: &Document, subject: &Descriptor) -> Referrer {
    let config_type = match document {
        Document::Manifest(manifest) => manifest.config_type(),
        Document::Index(_) => None,
    };
    let artifact_type = document.effective_artifact_type();
    Referrer {
        descriptor,
        artifact_type: artifact_type.map(str::to_owned),
        config_type: config_type.map(str::to_owned),
        subject: subject.clone(),
        plain: artifact_type != Some(NOTARY_SIGNATURE)
            || config_type.is_none_or(|config_type| config_type == NOTARY_SIGNATURE),
    }
}

/// Returns the digests that notation 1.3.2 reaches: it goes by the media types of descriptors alone.
fn found_by_notation<'a>(index: &'a ImageIndex, graph: &'a Graph) -> HashSet<&'a Digest> {
    let mut found = HashSet::new();
    let mut met = HashSet::new();
    let mut next: Vec<&Descriptor> = index.manifests.iter().collect();
    while let Some(descriptor) = next.pop() {
        let is_new = is_document_type(&descriptor.media_type)
            && met.insert((&*descriptor.media_type, &descriptor.digest));
        let Some(document) = graph.document(&descriptor.digest).filter(|_| is_new) else {
            continue;
        };
        found.insert(&descriptor.digest);
        next.extend(successors(&descriptor.media_type, document));
    }
    found
}

fn successors<'a>(media_type: &str, document: &'a Document) -> Vec<&'a Descriptor> {
    let (manifest, index) = match document {
        Document::Manifest(manifest) => (Some(manifest), None),
        Document::Index(index) => (None, Some(index)),
    };
    let blobs = manifest
        .into_iter()
        .flat_map(|manifest| manifest.config.iter().chain(&manifest.layers));
    let children = index.into_iter().flat_map(|index| &index.manifests);
    match media_type {
        IMAGE_MANIFEST | ARTIFACT_MANIFEST => document.subject().into_iter().chain(blobs).collect(),
        IMAGE_INDEX => document.subject().into_iter().chain(children).collect(),
        DOCKER_MANIFEST => blobs.collect(),
        DOCKER_MANIFEST_LIST => children.collect(),
        _ => Vec::new(),
    }
}
