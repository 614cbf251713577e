//! One image of a registry as a layout: an index made of its manifest and everything that refers to it.
//!
//! What is read here is hashed here. Names that a registry's lists carry are left out: only what was asked for is an image.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use super::error::{Kind, RegistryError};
use super::manifests::StoredManifest;
use super::session::Registry;
use crate::layout::{Blob, FileFacts, IndexBytes, Listing, Source, SourceError, Stamp, Timestamp};
use crate::oci::descriptor::REF_NAME;
use crate::oci::limits::{DESCRIPTORS_MAX, ENVELOPE_BYTES_MAX, GRAPH_BYTES_MAX, GRAPH_DEPTH_MAX};
use crate::oci::media_type::{self, IMAGE_INDEX, is_index, is_manifest};
use crate::oci::{Descriptor, Digest, Document, causes};

/// Tells whose referrers are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Those of the image itself, as a verifier of it asks.
    Image,
    /// Those of every manifest of it, and theirs.
    Everything,
}

/// Is an image of a registry, read as a layout.
pub struct Remote {
    /// The registry.
    pub registry: Arc<Registry>,
    /// The image.
    pub root: Descriptor,
    index: Arc<[u8]>,
    known: Mutex<Known>,
}

/// Is what was read so far, and what is where.
#[derive(Default)]
struct Known {
    manifests: HashMap<Digest, Arc<[u8]>>,
    /// Bytes of all of them.
    bytes: u64,
    /// What documents say of other manifests and of blobs.
    expected_manifests: HashSet<Digest>,
    expected_blobs: HashMap<Digest, Descriptor>,
    /// The first answer that did not come, which says nothing of what is stored.
    failure: Option<RegistryError>,
}

impl Remote {
    /// Reads the manifest that a tag or digest names, and the lists of its referrers.
    ///
    /// # Errors
    /// Says why it cannot be read; `None` where there is no such image.
    pub fn open(
        registry: Arc<Registry>,
        name: &str,
        depth: Depth,
    ) -> Result<Option<Self>, RegistryError> {
        let Some(stored) = registry.manifest(name)? else {
            return Ok(None);
        };
        let mut known = Known::default();
        let root = known.learn(&stored);
        let tag = (!name.contains(':')).then_some(name);
        let mut entries = vec![entry(&root, tag)];
        let mut seen = HashSet::from([root.digest.clone()]);
        let mut level = vec![root.digest.clone()];
        for _ in 0..GRAPH_DEPTH_MAX {
            let mut next = Vec::new();
            for subject in std::mem::take(&mut level) {
                let listed = match depth {
                    Depth::Image if subject != root.digest => continue,
                    _ => registry.referrers(&subject)?,
                };
                for value in listed.entries() {
                    let Some(referrer) = referrer(value) else {
                        continue;
                    };
                    if seen.insert(referrer.digest.clone()) {
                        known.check_limits(seen.len(), name)?;
                        known.expected_manifests.insert(referrer.digest.clone());
                        entries.push(entry(&referrer, None));
                        next.push(referrer.digest.clone());
                    }
                }
                if depth == Depth::Everything {
                    next.extend(children(&registry, &mut known, &subject, &mut seen)?);
                    known.check_limits(seen.len(), name)?;
                }
            }
            level = next;
        }
        let document = json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": entries});
        Ok(Some(Self {
            registry,
            root,
            index: Arc::from(document.to_string().into_bytes()),
            known: Mutex::new(known),
        }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why something could not be read, where the network or the door is to blame: a verdict over what is left does not tell that.
    ///
    /// # Errors
    /// Returns the first of these failures.
    pub fn complete(&self) -> Result<(), RegistryError> {
        match self.known().failure.take() {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    fn read(&self, digest: &Digest) -> Result<Option<Blob>, RegistryError> {
        let (cached, is_manifest, expected) = {
            let known = self.known();
            (
                known.manifests.get(digest).cloned(),
                known.expected_manifests.contains(digest),
                known.expected_blobs.get(digest).cloned(),
            )
        };
        if let Some(bytes) = cached {
            return Ok(Some(Blob::Bytes(bytes)));
        }
        if is_manifest {
            let Some(stored) = self.registry.manifest(&digest.to_string())? else {
                return Ok(None);
            };
            self.known().learn(&stored);
            return Ok(Some(Blob::Bytes(Arc::from(stored.bytes))));
        }
        match expected {
            Some(descriptor) if descriptor.size <= ENVELOPE_BYTES_MAX => {
                let bytes = self.registry.small_blob(&descriptor)?;
                Ok(bytes.map(|bytes| Blob::Bytes(Arc::from(bytes))))
            }
            _ => Ok(None),
        }
    }
}

impl Known {
    /// Refuses an image of which the registry tells without an end: each list may name others that have lists.
    fn check_limits(&self, found: usize, name: &str) -> Result<(), RegistryError> {
        if found <= DESCRIPTORS_MAX && self.bytes <= GRAPH_BYTES_MAX {
            return Ok(());
        }
        Err(RegistryError::Unexpected {
            doing: format!("reading {name} and what refers to it"),
            problem: format!(
                "the registry lists more than {DESCRIPTORS_MAX} manifests, or more than {GRAPH_BYTES_MAX} bytes of them"
            ),
        })
    }

    /// Remembers a manifest and what it lists, and returns its descriptor.
    fn learn(&mut self, stored: &StoredManifest) -> Descriptor {
        let mut descriptor = stored.descriptor();
        if let Ok(document) = Document::parse("", &stored.bytes) {
            // The document says what it is; the header of an answer may be anything.
            if let Some(own) = document.media_type() {
                descriptor.media_type = media_type::shared(own);
            }
            let (manifests, blobs): (Vec<Descriptor>, Vec<Descriptor>) = match document {
                Document::Index(index) => index.manifests.into_iter().partition(|child| {
                    child.media_type.is_empty()
                        || is_manifest(&child.media_type)
                        || is_index(&child.media_type)
                }),
                Document::Manifest(manifest) => (
                    Vec::new(),
                    manifest.config.into_iter().chain(manifest.layers).collect(),
                ),
            };
            self.expected_manifests
                .extend(manifests.into_iter().map(|child| child.digest.clone()));
            self.expected_blobs
                .extend(blobs.into_iter().map(|blob| (blob.digest.clone(), blob)));
        }
        self.expected_manifests.insert(stored.digest.clone());
        let length = u64::try_from(stored.bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        self.manifests
            .insert(stored.digest.clone(), Arc::from(stored.bytes.as_slice()));
        descriptor
    }
}

/// Reads a manifest's children, so that their referrers are listed too.
fn children(
    registry: &Registry,
    known: &mut Known,
    digest: &Digest,
    seen: &mut HashSet<Digest>,
) -> Result<Vec<Digest>, RegistryError> {
    if !known.manifests.contains_key(digest) {
        match registry.manifest(&digest.to_string())? {
            None => return Ok(Vec::new()),
            Some(stored) => drop(known.learn(&stored)),
        }
    }
    let bytes = known
        .manifests
        .get(digest)
        .map(Arc::clone)
        .unwrap_or_default();
    let children = match Document::parse("", &bytes) {
        Ok(Document::Index(index)) => index.manifests,
        _ => Vec::new(),
    };
    let is_document =
        |child: &Descriptor| is_manifest(&child.media_type) || is_index(&child.media_type);
    let new = children
        .into_iter()
        .filter(|child| is_document(child) && seen.insert(child.digest.clone()));
    Ok(new.map(|child| child.digest.clone()).collect())
}

/// Returns what a list says of a referrer, without the names it may carry.
fn referrer(value: &Value) -> Option<Descriptor> {
    let members = value.as_object()?;
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let digest: Digest = text("digest")?.parse().ok()?;
    let mut descriptor =
        Descriptor::new(text("mediaType")?, digest, members.get("size")?.as_u64()?);
    descriptor.artifact_type = text("artifactType").map(str::to_owned);
    Some(descriptor)
}

fn entry(descriptor: &Descriptor, tag: Option<&str>) -> Value {
    let mut members = Map::new();
    members.insert("mediaType".to_owned(), Value::from(&*descriptor.media_type));
    members.insert(
        "digest".to_owned(),
        Value::from(descriptor.digest.to_string()),
    );
    members.insert("size".to_owned(), Value::from(descriptor.size));
    if let Some(kind) = &descriptor.artifact_type {
        members.insert("artifactType".to_owned(), Value::from(kind.as_str()));
    }
    if let Some(tag) = tag {
        members.insert("annotations".to_owned(), json!({ REF_NAME: tag }));
    }
    Value::Object(members)
}

impl Source for Remote {
    fn stamp(&self) -> Result<Stamp, SourceError> {
        Ok(Stamp::default())
    }

    fn index(&self) -> Result<IndexBytes, SourceError> {
        Ok(IndexBytes {
            bytes: Arc::clone(&self.index),
            facts: FileFacts {
                uid: 0,
                gid: 0,
                mode: 0o444,
                size: u64::try_from(self.index.len()).unwrap_or(u64::MAX),
                modified: Timestamp::default(),
                changed: Timestamp::default(),
            },
            stamp: Stamp::default(),
            settled: true,
        })
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, SourceError> {
        self.read(digest).map_err(|error| {
            let source = io::Error::other(causes(&error));
            if matches!(error.kind(), Kind::Network | Kind::Authentication) {
                self.known().failure.get_or_insert(error);
            }
            SourceError::Io {
                operation: "reading",
                path: PathBuf::from(digest.to_string()),
                source,
            }
        })
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn listing(&self) -> Result<Listing, SourceError> {
        Ok(Listing::default())
    }

    fn file(&self, _path: &Path) -> Result<Option<Blob>, SourceError> {
        Ok(None)
    }
}
