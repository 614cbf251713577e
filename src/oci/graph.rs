//! The graph of a layout: which images it has, what their closures are, who refers to whom.
//!
//! Pure: manifests are handed in by the caller. The walk is memoised by digest, so shared children cost once.

mod answer;
mod closure;
mod images;
mod referrers;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use self::answer::Answer;
use self::walk::{Reader, Room};
use super::media_type::{IMAGE_INDEX, IMAGE_MANIFEST, NOTARY_SIGNATURE, is_index, is_manifest};
use super::{Descriptor, Digest, Document, DocumentError, ImageIndex, media_type};

/// Manifests that are read at once.
const AT_ONCE: usize = 512;

/// Answers for manifests that the walk asks for, in their order; `None`, where it asks for several, for one that it is to ask for
/// alone.
pub type ReadMany<'a> = dyn FnMut(&[&Descriptor]) -> Vec<Option<Answer>> + 'a;

/// Answers for one manifest that the walk asks for.
#[derive(Debug, Clone)]
pub enum Fetched {
    /// The stored bytes, unchecked.
    Bytes(Arc<[u8]>),
    /// Not stored.
    Missing,
    /// Larger than `MANIFEST_BYTES_MAX`.
    TooLarge,
    /// Stored, but cannot be read (a symlink, a device, an I/O error): why, in words.
    Unreadable(String),
}

/// What became of one manifest or index.
#[derive(Debug, Clone)]
pub enum Node {
    /// Size and digest hold (the size of at least one descriptor that points at it) and it parses.
    Present {
        /// How many bytes it has.
        size: u64,
        /// The exact bytes; always those of an index, those of a manifest unless they were given up.
        bytes: Option<Arc<[u8]>>,
        /// What they say.
        document: Arc<Document>,
    },
    /// Not stored.
    Missing,
    /// Stored with another size or digest.
    Corrupt(String),
    /// Its digest cannot be verified.
    Unverifiable,
    /// Larger than `MANIFEST_BYTES_MAX`.
    TooLarge,
    /// Sound bytes that do not parse.
    Malformed(Box<DocumentError>),
    /// Stored, but cannot be read.
    Unreadable(String),
}

/// Is one image of a layout: one name on one digest, or an untagged entry.
#[derive(Debug, Clone)]
pub struct Image {
    /// The entry of index.json (media type filled in from the document where the entry has none).
    pub descriptor: Descriptor,
    /// `ref.name`, else the containerd name; `None` when untagged.
    pub name: Option<String>,
    /// Whether one of its names is also on another digest, or entries differ about size or type of its digest.
    pub ambiguous: bool,
    /// Whether the entry itself gives no media type: notation 1.3.2 then finds no signature of it.
    pub untyped: bool,
}

/// Is a manifest that names a subject.
#[derive(Debug, Clone)]
pub struct Referrer {
    /// The referrer, as its index entry (or made from its bytes) describes it.
    pub descriptor: Descriptor,
    /// Its effective artifact type.
    pub artifact_type: Option<String>,
    /// The media type of its config, which notation 1.3.2 goes by in layouts.
    pub config_type: Option<String>,
    /// Its subject as it describes it; it counts for an image only if type and size are the image's too.
    pub subject: Descriptor,
    /// Whether notation 1.3.2 would find it in a layout: reachable from index.json, subject equal in type, digest and size
    /// to an entry of index.json, and not a signature by `artifactType` alone.
    pub plain: bool,
}

impl Referrer {
    /// Returns whether this is a Notary Project signature in any form that readers know: by config or by artifact type.
    #[must_use]
    pub fn is_signature(&self) -> bool {
        [&self.artifact_type, &self.config_type]
            .into_iter()
            .any(|kind| kind.as_deref() == Some(NOTARY_SIGNATURE))
    }
}

/// Is everything an image consists of, each digest once, the root first.
#[derive(Debug, Clone, Default)]
pub struct Closure {
    /// Manifests and indexes.
    pub manifests: Vec<Descriptor>,
    /// Configs, layers and other blobs.
    pub blobs: Vec<Descriptor>,
    /// Digests whose descriptors give different sizes, or another size or kind than what is stored.
    pub conflicting: Vec<Digest>,
    /// Whether a limit cut the walk: there is more than is listed here.
    pub limit: bool,
}

impl Closure {
    /// Returns manifests, then blobs.
    pub fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().chain(&self.blobs)
    }

    /// Returns the number of manifests and blobs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.manifests.len().saturating_add(self.blobs.len())
    }

    /// Returns whether there are neither manifests nor blobs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Holds the whole graph.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The images, in the order of index.json.
    pub images: Vec<Image>,
    /// Every manifest and index met, by digest.
    pub nodes: HashMap<Digest, Node>,
    /// Referrers by the digest of their subject, each list sorted by digest.
    pub referrers: BTreeMap<Digest, Vec<Referrer>>,
    /// Whether a limit cut the walk.
    pub limit: bool,
}

impl Graph {
    /// Walks from an index through everything reachable.
    pub fn read(index: &ImageIndex, fetch: &mut dyn FnMut(&Descriptor) -> Fetched) -> Self {
        Self::read_within(index, Room::MAX, fetch)
    }

    /// Does the same with many manifests read at once.
    pub fn read_many(index: &ImageIndex, read: &mut ReadMany<'_>) -> Self {
        let at_once = AT_ONCE;
        Self::walk(index, Reader { read, at_once }, Room::MAX)
    }

    fn read_within(
        index: &ImageIndex,
        room: Room,
        fetch: &mut dyn FnMut(&Descriptor) -> Fetched,
    ) -> Self {
        let mut read = |wanted: &[&Descriptor]| {
            let answer =
                |descriptor: &&Descriptor| Some(Answer::of(descriptor, None, || fetch(descriptor)));
            wanted.iter().map(answer).collect()
        };
        let read: &mut ReadMany<'_> = &mut read;
        Self::walk(index, Reader { read, at_once: 1 }, room)
    }

    fn walk(index: &ImageIndex, reader: Reader<'_>, room: Room) -> Self {
        let mut graph = walk::walk(index, reader, room);
        graph.images = images::images(index, &graph);
        graph.referrers = referrers::referrers(index, &graph);
        graph
    }

    /// Returns what became of a manifest.
    #[must_use]
    pub fn node(&self, digest: &Digest) -> Option<&Node> {
        self.nodes.get(digest)
    }

    /// Returns the parsed document with this digest, if it is sound.
    #[must_use]
    pub fn document(&self, digest: &Digest) -> Option<&Document> {
        self.shared_document(digest).map(|document| &**document)
    }

    /// Does the same for who keeps it.
    #[must_use]
    pub fn shared_document(&self, digest: &Digest) -> Option<&Arc<Document>> {
        match self.nodes.get(digest) {
            Some(Node::Present { document, .. }) => Some(document),
            _ => None,
        }
    }

    /// Returns the closure of an image: manifests, config, layers and blobs, never a subject.
    #[must_use]
    pub fn closure(&self, root: &Descriptor) -> Closure {
        self.closure_within(root, &mut usize::MAX.clone())
    }

    /// Returns the closure of an image as far as `room` lasts, which is what is left of the descriptors that may be gone through.
    ///
    /// Small indexes that share one huge manifest would else cost, together, far more than the layout is large.
    #[must_use]
    pub fn closure_within(&self, root: &Descriptor, room: &mut usize) -> Closure {
        closure::closure(self, root, room)
    }

    /// Returns the referrers of a subject (all artifact types), sorted by digest.
    #[must_use]
    pub fn referrers(&self, subject: &Digest) -> &[Referrer] {
        self.referrers
            .get(subject)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// Returns a descriptor with its media type filled in.
    fn typed(&self, descriptor: &Descriptor) -> Descriptor {
        let mut typed = descriptor.clone();
        if typed.media_type.is_empty() {
            typed.media_type = media_type::shared(self.media_type(descriptor));
        }
        typed
    }

    /// Returns the media type of a descriptor; where it gives none, that of the document it points at.
    fn media_type<'a>(&'a self, descriptor: &'a Descriptor) -> &'a str {
        match (&*descriptor.media_type, self.document(&descriptor.digest)) {
            ("", Some(document)) => document.media_type().unwrap_or(match document {
                Document::Manifest(_) => IMAGE_MANIFEST,
                Document::Index(_) => IMAGE_INDEX,
            }),
            (media_type, _) => media_type,
        }
    }
}

/// Returns whether a descriptor in index.json or in an index points at a manifest or index.
///
/// One without a media type may: its document then says what it is.
fn may_be_document(descriptor: &Descriptor) -> bool {
    descriptor.media_type.is_empty() || is_document_type(&descriptor.media_type)
}

fn is_document_type(media_type: &str) -> bool {
    is_manifest(media_type) || is_index(media_type)
}

#[cfg(test)]
mod tests;
