//! Which entries of index.json are images. A layout must not be able to hide one: in doubt an entry is an image.

use std::collections::{HashMap, HashSet};

use super::closure::covered;
use super::{Graph, Image, may_be_document};
use crate::oci::descriptor::{CONTAINERD_NAME, REF_NAME};
use crate::oci::{Descriptor, Digest, Document, ImageIndex};

/// Hex digits of a digest that a fallback tag has room for.
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>
const FALLBACK_HEX_MAX: usize = 64;

/// Returns the images in the order of index.json.
pub(super) fn images(index: &ImageIndex, graph: &Graph) -> Vec<Image> {
    let entries = entries(index, graph);
    let contested = contested(&entries);
    let disputed = disputed(&entries, graph);
    let in_closures = in_closures(&entries, graph);
    let mut seen = HashSet::new();
    let mut images = Vec::new();
    for entry in &entries {
        let digest = &entry.descriptor.digest;
        let is_image = match entry.standing {
            Standing::Named => true,
            Standing::Untagged => !in_closures.contains(digest),
            Standing::NoImage => false,
        };
        if is_image && seen.insert((entry.name(), digest)) {
            images.push(Image {
                descriptor: graph.typed(entry.descriptor),
                name: entry.name().map(str::to_owned),
                ambiguous: contested.contains(&(entry.name(), digest)) || disputed.contains(digest),
                untyped: entry.descriptor.media_type.is_empty(),
            });
        }
    }
    images
}

/// Returns what lies in the closure of an image: of a named one, or (itself excepted) of an untagged one.
///
/// An untagged image that lies in the closure of another is none, but then all of its closure lies there too.
fn in_closures(entries: &[Entry<'_>], graph: &Graph) -> HashSet<Digest> {
    let mut roots = Vec::new();
    let mut seen = HashSet::new();
    for entry in entries {
        let digest = &entry.descriptor.digest;
        match entry.standing {
            Standing::Named => roots.push(digest.clone()),
            Standing::Untagged if seen.insert(digest) => {
                if let Some(Document::Index(index)) = graph.document(digest) {
                    let children = index
                        .manifests
                        .iter()
                        .filter(|child| may_be_document(child));
                    roots.extend(children.map(|child| child.digest.clone()));
                }
            }
            Standing::Untagged | Standing::NoImage => {}
        }
    }
    covered(graph, roots)
}

/// Is one entry of index.json with its names.
struct Entry<'a> {
    descriptor: &'a Descriptor,
    ref_name: Option<&'a str>,
    containerd_name: Option<&'a str>,
    standing: Standing,
}

/// Says what an entry can be.
#[derive(Clone, Copy)]
enum Standing {
    /// An image by name.
    Named,
    /// An image, unless it lies in the closure of another.
    Untagged,
    /// A fallback tag, or something untagged that is a referrer or a blob.
    NoImage,
}

impl<'a> Entry<'a> {
    fn name(&self) -> Option<&'a str> {
        self.ref_name.or(self.containerd_name)
    }

    fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.ref_name.into_iter().chain(self.containerd_name)
    }
}

fn entries<'a>(index: &'a ImageIndex, graph: &Graph) -> Vec<Entry<'a>> {
    // An index may be listed under very many names.
    let mut subjects: HashMap<&Digest, Option<Digest>> = HashMap::new();
    let entry = |descriptor: &'a Descriptor| {
        let mut entry = Entry {
            descriptor,
            ref_name: descriptor.annotation(REF_NAME),
            containerd_name: descriptor.annotation(CONTAINERD_NAME),
            standing: Standing::Named,
        };
        let digest = &descriptor.digest;
        let document = graph.document(digest);
        if entry.name().is_none() {
            // What cannot be read cannot be shown to be a referrer.
            let no_subject = document.is_none_or(|document| document.subject().is_none());
            entry.standing = match may_be_document(descriptor) && no_subject {
                true => Standing::Untagged,
                false => Standing::NoImage,
            };
        } else if let Some(Document::Index(children)) = document {
            let common = subjects
                .entry(digest)
                .or_insert_with(|| common_subject(children, graph));
            let is_fallback = |subject: &Digest| {
                let mut names = entry.names();
                names.all(|name| is_fallback_name(name, subject))
            };
            if common.as_ref().is_some_and(is_fallback) {
                entry.standing = Standing::NoImage;
            }
        }
        entry
    };
    index.manifests.iter().map(entry).collect()
}

/// Returns the digest that every child of an index has as its subject; an index without children proves nothing.
fn common_subject(index: &ImageIndex, graph: &Graph) -> Option<Digest> {
    let subject_of = |child: &Descriptor| Some(&graph.document(&child.digest)?.subject()?.digest);
    let common = subject_of(index.manifests.first()?)?;
    let mut children = index.manifests.iter();
    children
        .all(|child| subject_of(child) == Some(common))
        .then(|| common.clone())
}

fn is_fallback_name(name: &str, subject: &Digest) -> bool {
    let (Some(algorithm), Some(full)) = (subject.algorithm(), subject.folder_name()) else {
        return false;
    };
    let cut: String = subject.hex().chars().take(FALLBACK_HEX_MAX).collect();
    name == full || name == format!("{}-{cut}", algorithm.name())
}

/// Returns the images, by name and digest, one of whose names is on another digest too.
fn contested<'a>(entries: &[Entry<'a>]) -> HashSet<(Option<&'a str>, &'a Digest)> {
    let mut named: HashMap<&str, &Digest> = HashMap::new();
    let mut contested = HashSet::new();
    for entry in entries {
        let digest = &entry.descriptor.digest;
        for name in entry.names() {
            if *named.entry(name).or_insert(digest) != digest {
                contested.insert(name);
            }
        }
    }
    let is_contested = |entry: &&Entry<'a>| entry.names().any(|name| contested.contains(name));
    let entries = entries.iter().filter(is_contested);
    entries
        .map(|entry| (entry.name(), &entry.descriptor.digest))
        .collect()
}

/// Returns the digests that entries give different sizes or types for.
fn disputed<'a>(entries: &[Entry<'a>], graph: &'a Graph) -> HashSet<&'a Digest> {
    let mut described: HashMap<&'a Digest, (u64, &'a str)> = HashMap::new();
    let mut disputed = HashSet::new();
    for entry in entries {
        let digest = &entry.descriptor.digest;
        let description = (entry.descriptor.size, graph.media_type(entry.descriptor));
        if *described.entry(digest).or_insert(description) != description {
            disputed.insert(digest);
        }
    }
    disputed
}
