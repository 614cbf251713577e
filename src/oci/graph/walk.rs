//! The walk through everything reachable from index.json: breadth first, each digest fetched, hashed and parsed once.
//!
//! It goes where notation 1.3.2 goes (subjects, and manifests listed as layers or configs, included), so that it meets
//! every signature that notation meets. What counts as an image or belongs to one is decided elsewhere.

use std::collections::{HashMap, HashSet};

use super::super::limits::{
    GRAPH_BYTES_MAX, GRAPH_DEPTH_MAX, GRAPH_DESCRIPTORS_MAX, GRAPH_NODES_MAX,
};
use super::{Answer, Fetched, Graph, Node, ReadMany, is_document_type, may_be_document};
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

/// Reads manifests, so many at a time.
pub(super) struct Reader<'a> {
    pub(super) read: &'a mut ReadMany<'a>,
    pub(super) at_once: usize,
}

/// Returns a graph that has its nodes, and neither images nor referrers yet.
pub(super) fn walk(index: &ImageIndex, reader: Reader<'_>, room: Room) -> Graph {
    let mut walk = Walk {
        reader,
        graph: Graph::default(),
        parts: HashMap::new(),
        room,
        depth: 1,
        next: Vec::new(),
        waiting: Vec::new(),
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
    walk.meet_waiting();
    while !walk.next.is_empty() {
        walk.depth += 1;
        for digest in std::mem::take(&mut walk.next) {
            walk.follow(&digest);
        }
        walk.meet_waiting();
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
    Size { stored: u64, described: u64 },
    /// Another type.
    Type(DocumentError),
}

/// Returns how `descriptor` is wrong about a node; `None` where it is right or nothing is known.
pub(super) fn misfit(descriptor: &Descriptor, node: &Node) -> Option<Misfit> {
    let Node::Present { size, document, .. } = node else {
        return None;
    };
    if *size != descriptor.size {
        return Some(Misfit::Size {
            stored: *size,
            described: descriptor.size,
        });
    }
    document
        .check_type(&descriptor.media_type)
        .err()
        .map(Misfit::Type)
}

/// Is what was read before it is met.
type Ahead<'a> = HashMap<&'a Digest, Answer>;

struct Walk<'a> {
    reader: Reader<'a>,
    graph: Graph,
    parts: HashMap<Digest, Parts>,
    room: Room,
    depth: usize,
    next: Vec<Digest>,
    /// What is met next, in this order.
    waiting: Vec<(Descriptor, Tie)>,
}

impl Walk<'_> {
    /// Meets what a descriptor points at, when enough wait for it to be read together.
    fn meet(&mut self, descriptor: &Descriptor, tie: Tie) {
        self.waiting.push((descriptor.clone(), tie));
        if self.waiting.len() >= self.reader.at_once {
            self.meet_waiting();
        }
    }

    fn meet_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let mut answers = self.read_ahead(&waiting);
        for (descriptor, tie) in &waiting {
            self.meet_now(descriptor, *tie, &mut answers);
        }
    }

    /// Reads what will be met, as far as there is room for nodes.
    fn read_ahead<'w>(&mut self, waiting: &'w [(Descriptor, Tie)]) -> Ahead<'w> {
        let mut new = HashSet::new();
        let wanted = waiting.iter().map(|(descriptor, _)| descriptor);
        let wanted = wanted.filter(|descriptor| {
            !self.graph.nodes.contains_key(&descriptor.digest) && new.insert(&descriptor.digest)
        });
        let wanted: Vec<&Descriptor> = match self.depth > GRAPH_DEPTH_MAX {
            true => Vec::new(),
            false => wanted
                .take(self.room.nodes.saturating_sub(self.graph.nodes.len()))
                .collect(),
        };
        if wanted.len() < 2 {
            return Ahead::new();
        }
        let answers = (self.reader.read)(&wanted);
        let digests = wanted.iter().map(|descriptor| &descriptor.digest);
        let read = digests.zip(answers);
        read.filter_map(|(digest, answer)| Some((digest, answer?)))
            .collect()
    }

    /// Returns what is stored under a digest.
    fn answer(&mut self, descriptor: &Descriptor, ahead: &mut Ahead<'_>) -> Answer {
        let read = ahead.remove(&descriptor.digest);
        let read = read.or_else(|| (self.reader.read)(&[descriptor]).pop().flatten());
        read.unwrap_or_else(|| Answer::of(descriptor, None, || Fetched::Missing))
    }

    /// Reads what a descriptor points at, unless that was done before.
    fn meet_now(&mut self, descriptor: &Descriptor, tie: Tie, ahead: &mut Ahead<'_>) {
        if !self.graph.nodes.contains_key(&descriptor.digest) {
            if self.depth > GRAPH_DEPTH_MAX || self.graph.nodes.len() >= self.room.nodes {
                self.graph.limit = true;
                return;
            }
            let answer = self.answer(descriptor, ahead);
            let Some(node) = self.hold(answer) else {
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

    /// Takes what was read into the graph; `None` where holding it would exceed the limit.
    fn hold(&mut self, answer: Answer) -> Option<Node> {
        self.room.bytes = self.room.bytes.checked_sub(answer.sound)?;
        if let Node::Present { document, .. } = &answer.node {
            self.room.descriptors = self.room.descriptors.checked_sub(parts_of(document))?;
        }
        Some(answer.node)
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
                Some(Misfit::Type(error)) if !parts.fits => Node::Malformed(Box::new(error)),
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
