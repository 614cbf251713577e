//! What of an overlay belongs to its base: entries without a name whose subject the base has, and the blobs they need.
//!
//! An entry without subject belongs where the base stores that very manifest: a platform is listed so when it is signed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::{joined, needs};
use crate::layout::directory::edit;
use crate::layout::overlay::{Held, Present};
use crate::layout::{Addition, Ignored, IndexBytes, Overlay, Source, SourceError, Stamp};
use crate::oci::descriptor::{CONTAINERD_NAME, REF_NAME};
use crate::oci::limits::{
    DESCRIPTORS_MAX, GRAPH_BYTES_MAX, GRAPH_NODES_MAX, INDEX_BYTES_MAX, MANIFEST_BYTES_MAX,
};
use crate::oci::{Descriptor, Digest, Document, ImageIndex, causes};

/// Ignored entries that are named one by one.
const IGNORED_MAX: usize = 100;

/// Is what is shown of a base and its overlay, read once.
pub(super) struct View {
    /// The index of both.
    pub(super) index: IndexBytes,
    /// The blobs of the overlay that are shown.
    pub(super) shown: BTreeSet<Digest>,
    /// What is not.
    pub(super) ignored: Vec<Ignored>,
    /// The overlay, where there is one.
    pub(super) overlay: Option<Arc<Held>>,
    /// The digests that the index lists.
    listed: HashSet<String>,
}

impl View {
    /// Reads base and overlay.
    ///
    /// # Errors
    /// Returns an error where the base cannot be read; an overlay that cannot be is ignored, and told about.
    pub(super) fn read(base: &dyn Source, overlay: &Overlay) -> Result<Self, SourceError> {
        let index = base.index()?;
        let mut view = Self {
            listed: HashSet::new(),
            shown: BTreeSet::new(),
            ignored: Vec::new(),
            overlay: None,
            index: index.clone(),
        };
        match overlay.present() {
            Present::Nothing => view.index.stamp = joined(index.stamp, &Stamp(vec![0])),
            Present::Unusable(problem) => {
                view.index.stamp = joined(index.stamp, &overlay.stamp());
                view.ignore_all(overlay.path(), problem);
            }
            Present::Folder(_) if let Some(problem) = overlay.elsewhere() => {
                view.index.stamp = joined(index.stamp, &overlay.stamp());
                view.ignore_all(overlay.path(), problem);
            }
            Present::Folder(held) => {
                if let Err(problem) = view.add(base, &held, overlay.path()) {
                    view.index.bytes = index.bytes;
                    view.shown.clear();
                    view.ignore_all(overlay.path(), problem);
                }
                view.overlay = Some(held);
            }
        }
        view.listed = edit::entries(&view.index.bytes)
            .unwrap_or_default()
            .iter()
            .filter_map(digest_text)
            .collect();
        Ok(view)
    }

    /// Returns whether an entry with this digest is listed.
    pub(super) fn lists(&self, entry: &Value) -> bool {
        digest_text(entry).is_some_and(|digest| self.listed.contains(&digest))
    }

    fn ignore(&mut self, path: &Path, digest: Option<Digest>, problem: String) {
        let problem = match self.ignored.len() {
            0..IGNORED_MAX => problem,
            IGNORED_MAX => "there are more entries that do not belong to the layout".to_owned(),
            _ => return,
        };
        self.ignored.push(Ignored {
            path: path.to_owned(),
            digest: digest.filter(|_| self.ignored.len() < IGNORED_MAX),
            is_whole: false,
            problem,
        });
    }

    /// Notes that nothing of the overlay is shown; what was noted of its entries does not matter then.
    fn ignore_all(&mut self, path: &Path, problem: String) {
        self.ignored = vec![Ignored {
            path: path.to_owned(),
            digest: None,
            is_whole: true,
            problem,
        }];
    }

    /// Adds what belongs to the base.
    fn add(&mut self, base: &dyn Source, held: &Arc<Held>, path: &Path) -> Result<(), String> {
        let added = match held.directory.index() {
            Ok(added) => added,
            Err(error) => {
                self.index.stamp = joined(self.index.stamp.clone(), &held.stamp(None));
                return Err(causes(&error));
            }
        };
        self.index.stamp = joined(self.index.stamp.clone(), &held.stamp(Some(&added.stamp)));
        self.index.settled &= added.settled;
        let entries = edit::entries(&added.bytes).map_err(|error| causes(&error))?;
        let Ok(own) = edit::entries(&self.index.bytes) else {
            // The verdict says what is wrong with the base.
            return Ok(());
        };
        let fetch = |digest: &Digest| held.manifest(digest);
        let mut court = Court::new(base, &fetch);
        let unnamed = own.iter().filter(|entry| !is_named(entry));
        court.listed = unnamed.filter_map(digest_text).collect();
        let (kept, refused) = court.sort(entries);
        let mut shown = court.shown;
        for (digest, problem) in refused {
            self.ignore(path, digest, problem);
        }
        if kept.is_empty() {
            return Ok(());
        }
        let bytes = edit::append(&self.index.bytes, kept).map_err(|error| causes(&error))?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > INDEX_BYTES_MAX {
            return Err(format!(
                "with it, index.json has more than {INDEX_BYTES_MAX} bytes"
            ));
        }
        if ImageIndex::parse(&self.index.bytes).is_ok() {
            let both = ImageIndex::parse(&bytes).map_err(|error| causes(&error))?;
            needs::remove(base, &both, &mut shown);
        }
        self.shown = shown;
        let facts = &mut self.index.facts;
        facts.size = size;
        facts.modified = facts.modified.max(added.facts.modified);
        facts.changed = facts.changed.max(added.facts.changed);
        self.index.bytes = bytes.into();
        Ok(())
    }
}

/// Checks that every entry of an addition would be shown.
///
/// # Errors
/// Says which would not, and why.
pub(super) fn check(
    base: &dyn Source,
    overlay: &Overlay,
    addition: &Addition,
) -> Result<(), String> {
    let held = match overlay.present() {
        Present::Folder(held) => Some(held),
        Present::Nothing | Present::Unusable(_) => None,
    };
    let fresh: BTreeMap<&Digest, &Vec<u8>> = addition
        .blobs
        .iter()
        .map(|(digest, bytes)| (digest, bytes))
        .collect();
    let fetch = |digest: &Digest| {
        let stored = || held.as_ref()?.manifest(digest);
        fresh
            .get(digest)
            .map(|bytes| (*bytes).clone())
            .or_else(stored)
    };
    let (_, refused) = Court::new(base, &fetch).sort(addition.entries.clone());
    match refused.into_iter().next() {
        None => Ok(()),
        Some((_, problem)) => Err(problem),
    }
}

/// Is an entry that is not shown: its digest, where it has one, and why.
type Refused = (Option<Digest>, String);

/// Sorts the entries of an overlay.
struct Court<'a> {
    base: &'a dyn Source,
    /// Returns a manifest that the overlay stores.
    fetch: &'a dyn Fn(&Digest) -> Option<Vec<u8>>,
    /// The digests that the base lists without a name.
    listed: HashSet<String>,
    /// The blobs that kept entries need.
    shown: BTreeSet<Digest>,
    /// Bytes of manifests that may still be read.
    room: u64,
}

impl<'a> Court<'a> {
    fn new(base: &'a dyn Source, fetch: &'a dyn Fn(&Digest) -> Option<Vec<u8>>) -> Self {
        Self {
            base,
            fetch,
            listed: HashSet::new(),
            shown: BTreeSet::new(),
            room: GRAPH_BYTES_MAX,
        }
    }

    /// Returns the entries that belong to the base, in their order, and the others.
    fn sort(&mut self, entries: Vec<Value>) -> (Vec<Value>, Vec<Refused>) {
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        for (position, entry) in entries.into_iter().enumerate() {
            let text = digest_text(&entry).filter(|_| !is_named(&entry));
            if text.as_ref().is_some_and(|text| self.listed.contains(text)) {
                continue;
            }
            let judged = match position {
                0..DESCRIPTORS_MAX => self.judge(&entry),
                _ => Err((None, "it lists more entries than are looked at".to_owned())),
            };
            match judged {
                Ok(()) => {
                    self.listed.extend(text);
                    kept.push(entry);
                }
                Err(problem) => refused.push(problem),
            }
        }
        (kept, refused)
    }

    /// Checks that an entry belongs to the base, and notes its blobs.
    fn judge(&mut self, entry: &Value) -> Result<(), Refused> {
        let descriptor =
            Descriptor::from_json(entry).map_err(|error| (None, format!("an entry: {error}")))?;
        let digest = descriptor.digest.clone();
        let refuse = |problem: String| (Some(digest.clone()), problem);
        if is_named(entry) {
            let problem = "it has a name, and only the layout itself gives names";
            return Err(refuse(problem.to_owned()));
        }
        let (document, bytes) = self.document(&descriptor).map_err(&refuse)?;
        match document.subject().map(|subject| &subject.digest) {
            Some(subject) if !self.has(subject) => {
                let problem = format!("its subject {subject} is not in the layout");
                return Err(refuse(problem));
            }
            None if !self.has(&descriptor.digest) => {
                return Err(refuse(
                    "it is no signature of an image of the layout".to_owned(),
                ));
            }
            Some(_) | None => {}
        }
        self.room = self.room.saturating_sub(bytes);
        self.show(&descriptor, document);
        Ok(())
    }

    fn has(&self, digest: &Digest) -> bool {
        matches!(self.base.blob(digest), Ok(Some(_)))
    }

    /// Reads a manifest.
    fn document(&self, descriptor: &Descriptor) -> Result<(Document, u64), String> {
        if descriptor.size > MANIFEST_BYTES_MAX {
            return Err(format!("it has more than {MANIFEST_BYTES_MAX} bytes"));
        }
        if descriptor.size > self.room {
            return Err(format!(
                "the manifests before it have {GRAPH_BYTES_MAX} bytes, which is all that is read"
            ));
        }
        let of_base = || {
            let blob = self.base.blob(&descriptor.digest).ok().flatten()?;
            blob.read_all(MANIFEST_BYTES_MAX).ok()
        };
        let Some(bytes) = of_base().or_else(|| (self.fetch)(&descriptor.digest)) else {
            return Err("its manifest is not there".to_owned());
        };
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size != descriptor.size || !descriptor.digest.matches(&bytes) {
            return Err("its manifest has another size or digest".to_owned());
        }
        let document =
            Document::parse(&descriptor.media_type, &bytes).map_err(|error| causes(&error))?;
        Ok((document, size))
    }

    /// Notes the blobs of a manifest, and those of the manifests below an index.
    fn show(&mut self, descriptor: &Descriptor, document: Document) {
        if self.has(&descriptor.digest) {
            // What the base stores leads to nothing that it does not.
            return;
        }
        self.shown.insert(descriptor.digest.clone());
        let mut open = vec![document];
        while let Some(document) = open.pop() {
            let below = match document {
                Document::Manifest(manifest) => {
                    let parts = manifest.config.into_iter().chain(manifest.layers);
                    self.shown.extend(parts.map(|part| part.digest.clone()));
                    continue;
                }
                Document::Index(index) => index.manifests,
            };
            for child in below {
                let is_new = self.shown.insert(child.digest.clone());
                if is_new
                    && !self.has(&child.digest)
                    && self.shown.len() < GRAPH_NODES_MAX
                    && let Ok((document, bytes)) = self.document(&child)
                {
                    self.room = self.room.saturating_sub(bytes);
                    open.push(document);
                }
            }
        }
    }
}

fn is_named(entry: &Value) -> bool {
    let annotations = entry.get("annotations");
    [REF_NAME, CONTAINERD_NAME]
        .iter()
        .any(|key| annotations.and_then(|all| all.get(key)).is_some())
}

fn digest_text(entry: &Value) -> Option<String> {
    entry.get("digest")?.as_str().map(str::to_owned)
}
