//! The walk through everything reachable from index.json: breadth first, each digest fetched, hashed and parsed once.
//!
//! It goes where notation 1.3.2 goes (subjects, and manifests listed as layers or configs, included), so that it meets
//! every signature that notation meets. What counts as an image or belongs to one is decided elsewhere.

use std::collections::HashMap;

use super::super::limits::{
    GRAPH_BYTES_MAX, GRAPH_DEPTH_MAX, GRAPH_DESCRIPTORS_MAX, GRAPH_NODES_MAX, MANIFEST_BYTES_MAX,
};
use super::{Fetched, Graph, Node, is_document_type, may_be_document};
use crate::oci::{Descriptor, Digest, Document, DocumentError, ImageIndex};

/// Holds how much a walk may still take up.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) nodes: usize,
    pub(super) bytes: u64,
    pub(super) descriptors: usize,
}

impl Room {
    pub(super) const MAX: Self = Self {
        nodes: GRAPH_NODES_MAX,
        bytes: GRAPH_BYTES_MAX,
        descriptors: GRAPH_DESCRIPTORS_MAX,
    };
}

/// Returns a graph that has its nodes, and neither images nor referrers yet.
pub(super) fn walk(
    index: &ImageIndex,
    fetch: &mut dyn FnMut(&Descriptor) -> Fetched,
    room: Room,
) -> Graph {
    let mut walk = Walk {
        fetch,
        graph: Graph::default(),
        parts: HashMap::new(),
        room,
        depth: 1,
        next: Vec::new(),
    };
    for entry in &index.manifests {
        // An entry of another type may point at a manifest all the same: that must not hide what the manifest lists.
        walk.meet(
            entry,
            match may_be_document(entry) {
                true => Tie::Part,
                false => Tie::Loose,
            },
        );
    }
    while !walk.next.is_empty() {
        walk.depth += 1;
        for digest in std::mem::take(&mut walk.next) {
            walk.follow(&digest);
        }
    }
    walk.finish()
}

/// Says how a descriptor ties two documents together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tie {
    /// As an entry of index.json or of an index: its size and type must be right.
    Part,
    /// As a subject or a blob: if it is wrong, only the document that holds it is.
    Loose,
}

/// Remembers how the descriptors of one digest compare with what is stored.
#[derive(Default)]
struct Parts {
    fits: bool,
    misfit: Option<Misfit>,
}

/// Says how a descriptor is wrong about a sound document.
#[derive(Debug)]
pub(super) enum Misfit {
    /// Another size.
    Size { stored: usize, described: u64 },
    /// Another type.
    Type(DocumentError),
}

/// Returns how `descriptor` is wrong about a node; `None` where it is right or nothing is known.
pub(super) fn misfit(descriptor: &Descriptor, node: &Node) -> Option<Misfit> {
    let Node::Present { bytes, document } = node else {
        return None;
    };
    if u64::try_from(bytes.len()) != Ok(descriptor.size) {
        return Some(Misfit::Size {
            stored: bytes.len(),
            described: descriptor.size,
        });
    }
    document
        .check_type(&descriptor.media_type)
        .err()
        .map(Misfit::Type)
}

struct Walk<'a> {
    fetch: &'a mut dyn FnMut(&Descriptor) -> Fetched,
    graph: Graph,
    parts: HashMap<Digest, Parts>,
    room: Room,
    depth: usize,
    next: Vec<Digest>,
}

impl Walk<'_> {
    /// Fetches what a descriptor points at, unless that was done before.
    fn meet(&mut self, descriptor: &Descriptor, tie: Tie) {
        if !self.graph.nodes.contains_key(&descriptor.digest) {
            if self.depth > GRAPH_DEPTH_MAX || self.graph.nodes.len() >= self.room.nodes {
                self.graph.limit = true;
                return;
            }
            let Some(node) = self.fetch(descriptor) else {
                // Nothing more is fetched: what does not fit would be read again for every descriptor that points at it.
                self.room.nodes = 0;
                self.graph.limit = true;
                return;
            };
            if matches!(node, Node::Present { .. }) {
                self.next.push(descriptor.digest.clone());
            }
            self.graph.nodes.insert(descriptor.digest.clone(), node);
        }
        if tie == Tie::Part {
            self.compare(descriptor);
        }
    }

    /// Returns what is stored under a digest, checked; `None` where holding it would exceed the limit.
    fn fetch(&mut self, descriptor: &Descriptor) -> Option<Node> {
        if descriptor.digest.algorithm().is_none() {
            return Some(Node::Unverifiable);
        }
        let bytes = match (self.fetch)(descriptor) {
            Fetched::Bytes(bytes) => bytes,
            Fetched::Missing => return Some(Node::Missing),
            Fetched::TooLarge => return Some(Node::TooLarge),
            Fetched::Unreadable(why) => return Some(Node::Unreadable(why)),
        };
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > MANIFEST_BYTES_MAX {
            return Some(Node::TooLarge);
        }
        if !descriptor.digest.matches(&bytes) {
            return Some(Node::Corrupt(describe_mismatch(size, descriptor)));
        }
        self.room.bytes = self.room.bytes.checked_sub(size)?;
        let document = match Document::read(&bytes, &descriptor.media_type) {
            Ok(document) => document,
            Err(error) => return Some(Node::Malformed(error)),
        };
        self.room.descriptors = self.room.descriptors.checked_sub(parts_of(&document))?;
        Some(Node::Present {
            bytes,
            document: document.into(),
        })
    }

    fn compare(&mut self, descriptor: &Descriptor) {
        let Some(node) = self.graph.nodes.get(&descriptor.digest) else {
            return;
        };
        let misfit = misfit(descriptor, node);
        let parts = self.parts.entry(descriptor.digest.clone()).or_default();
        match misfit {
            None => parts.fits = true,
            Some(misfit) => parts.misfit = Some(misfit),
        }
    }

    /// Meets everything that a document points at.
    fn follow(&mut self, digest: &Digest) {
        let Some(Node::Present { document, .. }) = self.graph.nodes.get(digest) else {
            return;
        };
        let document = document.clone();
        match &*document {
            Document::Index(index) => {
                for child in index
                    .manifests
                    .iter()
                    .filter(|child| may_be_document(child))
                {
                    self.meet(child, Tie::Part);
                }
            }
            Document::Manifest(manifest) => {
                let blobs = manifest.config.iter().chain(&manifest.layers);
                for blob in blobs.filter(|blob| is_document_type(&blob.media_type)) {
                    self.meet(blob, Tie::Loose);
                }
            }
        }
        if let Some(subject) = document
            .subject()
            .filter(|subject| may_be_document(subject))
        {
            self.meet(subject, Tie::Loose);
        }
    }

    /// Gives up the documents that no descriptor is right about.
    fn finish(mut self) -> Graph {
        for (digest, parts) in self.parts {
            let node = match parts.misfit {
                Some(Misfit::Size { stored, described }) if !parts.fits => Node::Corrupt(format!(
                    "it is {stored} bytes long where its descriptor says {described}"
                )),
                Some(Misfit::Type(error)) if !parts.fits => Node::Malformed(error),
                _ => continue,
            };
            self.graph.nodes.insert(digest, node);
        }
        self.graph
    }
}

/// Returns how many descriptors a document holds.
fn parts_of(document: &Document) -> usize {
    match document {
        Document::Manifest(manifest) => manifest.layers.len(),
        Document::Index(index) => index.manifests.len(),
    }
}

fn describe_mismatch(size: u64, descriptor: &Descriptor) -> String {
    match size == descriptor.size {
        true => "its content does not have its digest".to_owned(),
        false => format!(
            "it is {size} bytes long where its descriptor says {}, and does not have its digest",
            descriptor.size
        ),
    }
}
