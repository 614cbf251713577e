//! What a push consists of: closures of the selected images, referrers of every manifest, referrers of referrers. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::oci::graph::Node;
use crate::oci::limits::GRAPH_NODES_MAX;
use crate::oci::media_type::{IMAGE_INDEX, IMAGE_MANIFEST};
use crate::oci::{Descriptor, Digest, Document, Graph};
use crate::registry::fallback::Entry;
use crate::registry::manifests::Put;

/// Depth of manifests that name each other as children or subjects.
const ORDER_DEPTH_MAX: usize = 64;

/// Is an image that gets tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The image.
    pub descriptor: Descriptor,
    /// The tags it gets; none means by digest only.
    pub tags: Vec<String>,
}

/// Is a manifest to be pushed.
#[derive(Debug, Clone)]
pub struct PlannedManifest {
    /// Its digest.
    pub digest: Digest,
    /// The media type it is pushed with.
    pub media_type: String,
    /// Its exact bytes.
    pub bytes: Arc<[u8]>,
    /// How many rounds of manifests go before it.
    pub round: usize,
    /// The blobs it lists itself.
    pub blobs: Vec<Digest>,
}

impl PlannedManifest {
    /// Returns how it is put under a name of its own: a tag or its digest.
    #[must_use]
    pub fn put<'a>(&'a self, name: &'a str) -> Put<'a> {
        Put {
            name,
            media_type: &self.media_type,
            bytes: &self.bytes,
            digest: &self.digest,
            replaces: None,
            tags: &[],
        }
    }
}

/// Is everything that a push consists of.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The images.
    pub roots: Vec<Root>,
    /// The manifests, those of earlier rounds first.
    pub manifests: Vec<PlannedManifest>,
    /// The digests of each root's closure of manifests.
    pub closures: HashMap<Digest, HashSet<Digest>>,
    /// The blobs, each once.
    pub blobs: Vec<Descriptor>,
    /// What refers to what, as it is to be listed.
    pub referrers: BTreeMap<Digest, Vec<Entry>>,
    /// Layers that are not to be distributed: left out.
    pub withheld: Vec<Descriptor>,
}

/// Says why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A manifest is not there.
    #[error("manifest {digest} is missing")]
    Missing {
        /// The manifest.
        digest: Digest,
    },
    /// A manifest cannot be pushed as it is.
    #[error("manifest {digest}: {problem}")]
    Unsound {
        /// The manifest.
        digest: Digest,
        /// What is wrong.
        problem: String,
    },
    /// There is more than is pushed.
    #[error("the image has more parts, or deeper ones, than are pushed")]
    Limit,
}

/// Tells what happens to layers that are not to be distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// They stay here.
    Keep,
    /// They are pushed (`--include-nondistributable`).
    Push,
}

impl Plan {
    /// Plans the push of some images of a graph.
    ///
    /// # Errors
    /// Says which manifest cannot be pushed.
    pub fn of(graph: &Graph, roots: Vec<Root>, withheld: Withheld) -> Result<Self, PlanError> {
        let mut gather = Gather {
            graph,
            withheld,
            plan: Self::default(),
            seen: HashSet::new(),
            blobs: HashSet::new(),
        };
        let mut queue: Vec<Descriptor> = roots.iter().map(|root| root.descriptor.clone()).collect();
        for root in &roots {
            let closure = graph.closure(&root.descriptor);
            let digests = closure
                .manifests
                .into_iter()
                .map(|manifest| manifest.digest.clone());
            gather
                .plan
                .closures
                .insert(root.descriptor.digest.clone(), digests.collect());
        }
        gather.plan.roots = roots;
        while let Some(descriptor) = queue.pop() {
            gather.closure(&descriptor, &mut queue)?;
            if gather.seen.len().saturating_add(gather.blobs.len()) > GRAPH_NODES_MAX {
                return Err(PlanError::Limit);
            }
        }
        let mut plan = gather.plan;
        order(&mut plan, graph)?;
        Ok(plan)
    }
}

struct Gather<'a> {
    graph: &'a Graph,
    withheld: Withheld,
    plan: Plan,
    seen: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl Gather<'_> {
    fn closure(&mut self, root: &Descriptor, queue: &mut Vec<Descriptor>) -> Result<(), PlanError> {
        let closure = self.graph.closure(root);
        if closure.limit {
            return Err(PlanError::Limit);
        }
        if closure.manifests.is_empty() {
            return Err(PlanError::Unsound {
                digest: root.digest.clone(),
                problem: format!("{:?} is not a manifest or an index", root.media_type),
            });
        }
        for blob in closure.blobs {
            if !self.blobs.insert(blob.digest.clone()) {
                continue;
            }
            match self.withheld {
                Withheld::Keep if is_withheld(&blob.media_type) => self.plan.withheld.push(blob),
                _ => self.plan.blobs.push(blob),
            }
        }
        for manifest in closure.manifests {
            if self.seen.insert(manifest.digest.clone()) {
                self.manifest(&manifest, queue)?;
            }
        }
        Ok(())
    }

    fn manifest(
        &mut self,
        descriptor: &Descriptor,
        queue: &mut Vec<Descriptor>,
    ) -> Result<(), PlanError> {
        let digest = &descriptor.digest;
        let (bytes, document) = sound(self.graph, digest)?;
        let fallback = match &*document {
            Document::Manifest(_) => IMAGE_MANIFEST,
            Document::Index(_) => IMAGE_INDEX,
        };
        let media_type = match (document.media_type(), &*descriptor.media_type) {
            (Some(own), _) => own.to_owned(),
            (None, "") => fallback.to_owned(),
            (None, given) => given.to_owned(),
        };
        self.plan.manifests.push(PlannedManifest {
            digest: digest.clone(),
            media_type,
            bytes,
            round: 0,
            blobs: own_blobs(&document),
        });
        let mut listed = Vec::new();
        for referrer in self.graph.referrers(digest) {
            let referrer_digest = &referrer.descriptor.digest;
            let (bytes, document) = sound(self.graph, referrer_digest)?;
            queue.push(referrer.descriptor.clone());
            // Only a manifest that names its subject is one that a registry can list.
            if document
                .subject()
                .is_some_and(|subject| subject.digest == *digest)
            {
                listed.push(entry(
                    referrer_digest,
                    &bytes,
                    &document,
                    &referrer.descriptor.media_type,
                ));
            }
        }
        if !listed.is_empty() {
            self.plan.referrers.insert(digest.clone(), listed);
        }
        Ok(())
    }
}

fn sound(graph: &Graph, digest: &Digest) -> Result<(Arc<[u8]>, Arc<Document>), PlanError> {
    let unsound = |problem: String| PlanError::Unsound {
        digest: digest.clone(),
        problem,
    };
    match graph.node(digest) {
        Some(Node::Present {
            bytes: Some(bytes),
            document,
            ..
        }) => Ok((Arc::clone(bytes), Arc::clone(document))),
        Some(Node::Present { bytes: None, .. }) => Err(unsound("its bytes are gone".to_owned())),
        Some(Node::Missing) | None => Err(PlanError::Missing {
            digest: digest.clone(),
        }),
        Some(Node::Corrupt(problem)) => Err(unsound(problem.clone())),
        Some(Node::Unreadable(problem)) => Err(unsound(problem.clone())),
        Some(Node::Unverifiable) => Err(unsound("its digest cannot be verified".to_owned())),
        Some(Node::TooLarge) => Err(unsound("it is larger than registries take".to_owned())),
        Some(Node::Malformed(error)) => Err(unsound(error.to_string())),
    }
}

/// Returns the blobs that a manifest itself lists.
fn own_blobs(document: &Document) -> Vec<Digest> {
    match document {
        Document::Manifest(manifest) => manifest
            .config
            .iter()
            .chain(&manifest.layers)
            .map(|blob| blob.digest.clone())
            .collect(),
        Document::Index(index) => index
            .manifests
            .iter()
            .map(|child| child.digest.clone())
            .collect(),
    }
}

/// Returns a referrer as the specification wants it listed: with its artifact type and the annotations of its manifest.
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>
fn entry(digest: &Digest, bytes: &[u8], document: &Document, given: &str) -> Entry {
    let (annotations, fallback) = match document {
        Document::Manifest(manifest) => (&manifest.annotations, IMAGE_MANIFEST),
        Document::Index(index) => (&index.annotations, IMAGE_INDEX),
    };
    let media_type =
        document
            .media_type()
            .unwrap_or(if given.is_empty() { fallback } else { given });
    let mut value = Map::new();
    value.insert("mediaType".to_owned(), Value::from(media_type));
    value.insert("digest".to_owned(), Value::from(digest.to_string()));
    value.insert("size".to_owned(), Value::from(bytes.len()));
    if let Some(kind) = document
        .effective_artifact_type()
        .filter(|kind| !kind.is_empty())
    {
        value.insert("artifactType".to_owned(), Value::from(kind));
    }
    if !annotations.is_empty() {
        let pairs = annotations
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())));
        value.insert("annotations".to_owned(), Value::Object(pairs.collect()));
    }
    Entry {
        digest: digest.clone(),
        value: Value::Object(value),
    }
}

/// Returns whether a layer is not to be distributed. `urls` alone does not say so.
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers>
fn is_withheld(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.diff.")
}

/// Puts each manifest in the first round after its children and its subject.
fn order(plan: &mut Plan, graph: &Graph) -> Result<(), PlanError> {
    let planned: HashSet<Digest> = plan
        .manifests
        .iter()
        .map(|manifest| manifest.digest.clone())
        .collect();
    let mut rounds: HashMap<Digest, usize> = HashMap::new();
    let mut settled = false;
    for _ in 0..ORDER_DEPTH_MAX {
        settled = true;
        for manifest in &plan.manifests {
            let before = before(graph, &manifest.digest);
            let round = before
                .filter(|digest| planned.contains(digest))
                .map(|digest| rounds.get(&digest).copied().unwrap_or(0).saturating_add(1))
                .max()
                .unwrap_or(0);
            if rounds.insert(manifest.digest.clone(), round) != Some(round) {
                settled = false;
            }
        }
        if settled {
            break;
        }
    }
    if !settled {
        return Err(PlanError::Limit);
    }
    for manifest in &mut plan.manifests {
        manifest.round = rounds.get(&manifest.digest).copied().unwrap_or(0);
    }
    plan.manifests
        .sort_by(|a, b| (a.round, &a.digest).cmp(&(b.round, &b.digest)));
    Ok(())
}

/// Returns what must be there before a manifest: its children and its subject.
fn before(graph: &Graph, digest: &Digest) -> impl Iterator<Item = Digest> {
    let document = graph.document(digest);
    let subject = document
        .and_then(Document::subject)
        .map(|subject| subject.digest.clone());
    let children: Vec<Digest> = match document {
        Some(Document::Index(index)) => index
            .manifests
            .iter()
            .map(|child| child.digest.clone())
            .collect(),
        _ => Vec::new(),
    };
    children.into_iter().chain(subject)
}

#[cfg(test)]
mod tests;
