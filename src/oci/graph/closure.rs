//! What an image consists of, each digest once: its manifests, and the blobs they list. Subjects are never followed.

use std::collections::{HashMap, HashSet};

use super::super::limits::GRAPH_DEPTH_MAX;
use super::walk::misfit;
use super::{Closure, Graph, Node, may_be_document};
use crate::oci::{Descriptor, Digest, Document};

pub(super) fn closure(graph: &Graph, root: &Descriptor, room: &mut usize) -> Closure {
    let mut gather = Gather {
        closure: Closure::default(),
        sizes: HashMap::new(),
        manifests_seen: HashSet::new(),
        blobs: Vec::new(),
        room,
    };
    if !may_be_document(root) && graph.document(&root.digest).is_none() {
        gather.blob(root);
        return gather.finish();
    }
    let mut level = vec![root];
    for _ in 0..GRAPH_DEPTH_MAX {
        let mut next = Vec::new();
        for descriptor in level {
            gather.manifest(graph, descriptor, &mut next);
        }
        level = next;
    }
    let is_new = |descriptor: &&Descriptor| !gather.manifests_seen.contains(&descriptor.digest);
    if level.iter().any(is_new) {
        gather.closure.limit = true;
    }
    gather.finish()
}

/// Returns the digests that lie, as manifests, in the closure of one of `roots` (the roots included).
///
/// A digest that is only listed as a blob is left out: its own parts would be judged by nobody.
pub(super) fn covered(graph: &Graph, roots: Vec<Digest>) -> HashSet<Digest> {
    let mut covered = HashSet::new();
    let mut level = roots;
    for _ in 0..GRAPH_DEPTH_MAX {
        let mut next = Vec::new();
        for digest in level {
            if covered.contains(&digest) {
                continue;
            }
            if let Some(Document::Index(index)) = graph.document(&digest) {
                let children = index.manifests.iter();
                let children = children.filter(|child| may_be_document(child));
                next.extend(children.map(|child| child.digest.clone()));
            }
            covered.insert(digest);
        }
        level = next;
    }
    covered
}

struct Gather<'a> {
    closure: Closure,
    sizes: HashMap<&'a Digest, u64>,
    manifests_seen: HashSet<&'a Digest>,
    blobs: Vec<&'a Descriptor>,
    room: &'a mut usize,
}

impl<'a> Gather<'a> {
    fn manifest(
        &mut self,
        graph: &'a Graph,
        descriptor: &'a Descriptor,
        next: &mut Vec<&'a Descriptor>,
    ) {
        if !self.take() {
            return;
        }
        self.note_size(descriptor);
        let node = graph.node(&descriptor.digest);
        if node.and_then(|node| misfit(descriptor, node)).is_some() {
            self.conflict(&descriptor.digest);
        }
        if !self.manifests_seen.insert(&descriptor.digest) {
            return;
        }
        self.closure.manifests.push(graph.typed(descriptor));
        let Some(node) = node else {
            self.closure.limit = true;
            return;
        };
        let Node::Present { document, .. } = node else {
            return;
        };
        match &**document {
            Document::Index(index) => {
                for child in &index.manifests {
                    match may_be_document(child) {
                        true => next.push(child),
                        false => self.blob(child),
                    }
                }
            }
            Document::Manifest(manifest) => {
                for blob in manifest.config.iter().chain(&manifest.layers) {
                    self.blob(blob);
                }
            }
        }
    }

    fn blob(&mut self, descriptor: &'a Descriptor) {
        if self.take() && self.note_size(descriptor) {
            self.blobs.push(descriptor);
        }
    }

    /// Takes room for one descriptor; where there is none, the walk is cut.
    fn take(&mut self) -> bool {
        match self.room.checked_sub(1) {
            Some(left) => {
                *self.room = left;
                true
            }
            None => {
                self.closure.limit = true;
                false
            }
        }
    }

    /// Records the size that a descriptor gives; returns whether its digest is new.
    fn note_size(&mut self, descriptor: &'a Descriptor) -> bool {
        match self.sizes.insert(&descriptor.digest, descriptor.size) {
            None => true,
            Some(size) => {
                if size != descriptor.size {
                    self.conflict(&descriptor.digest);
                }
                false
            }
        }
    }

    fn conflict(&mut self, digest: &Digest) {
        self.closure.conflicting.push(digest.clone());
    }

    fn finish(mut self) -> Closure {
        let manifests_seen = &self.manifests_seen;
        let blobs = self.blobs.into_iter();
        let blobs = blobs.filter(|blob| !manifests_seen.contains(&blob.digest));
        self.closure.blobs = blobs.cloned().collect();
        self.closure.conflicting.sort_unstable();
        self.closure.conflicting.dedup();
        self.closure
    }
}
