//! The part of a tree that is the layout itself: index.json, oci-layout, blobs, extras.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::build::Builder;
use super::node::{Attributes, Node};
use super::{NewEntry, inode};
use crate::layout::{Extra, ExtraKind, FileFacts};
use crate::oci::{Algorithm, Digest};
use crate::report::SYNTHETIC_NAMES;

impl Builder<'_> {
    /// Adds index.json and oci-layout.
    pub(super) fn layout_files(&mut self) {
        if let Some(index) = self.material.index {
            let entry = NewEntry {
                node: Node::Index(Arc::clone(&index.bytes)),
                attributes: Attributes {
                    size: u64::try_from(index.bytes.len()).unwrap_or(u64::MAX),
                    ..Attributes::of_file(&index.facts)
                },
            };
            self.add(inode::ROOT, "index.json", inode::INDEX, entry);
        }
        if let Some(facts) = &self.material.listing.oci_layout {
            let entry = NewEntry {
                node: Node::File("oci-layout".into()),
                attributes: Attributes::of_file(facts),
            };
            self.add(
                inode::ROOT,
                "oci-layout",
                inode::of_path(b"oci-layout"),
                entry,
            );
        }
    }

    /// Adds `blobs/`.
    pub(super) fn blobs(&mut self) {
        let mut folders = self.material.listing.folders.clone();
        folders.sort_by(|one, other| one.0.cmp(&other.0));
        for (path, facts) in &folders {
            self.layout_folder(path, facts);
        }
        let homes = Algorithm::ALL.into_iter().filter_map(|algorithm| {
            let folder = format!("blobs/{}", algorithm.name());
            Some((algorithm, *self.paths.get(folder.as_bytes())?))
        });
        let (homes, blobs) = (homes.collect(), &self.material.listing.blobs);
        let mut shelf = std::mem::take(&mut self.tree.own.shelf);
        let bytes = shelf.add_blobs(blobs, homes, |number| self.tree.is_taken(number));
        self.tree.own.shelf = shelf;
        self.tree.own.bytes = self.tree.own.bytes.saturating_add(bytes);
    }

    fn layout_folder(&mut self, path: &Path, facts: &FileFacts) {
        let entry = NewEntry {
            node: Node::Directory,
            attributes: Attributes::of_folder(facts),
        };
        if let Some(made) = self.place(path, entry) {
            self.paths
                .insert(path.as_os_str().as_bytes().to_vec(), made);
        }
    }

    /// Adds an entry at a path whose folder exists.
    fn place(&mut self, path: &Path, entry: NewEntry) -> Option<u64> {
        let bytes = path.as_os_str().as_bytes();
        let parent = path.parent().map(|parent| parent.as_os_str().as_bytes());
        let parent = *self.paths.get(parent.unwrap_or_default())?;
        let name = path.file_name()?.to_owned();
        self.tree.add(parent, name, inode::of_path(bytes), entry)
    }

    /// Adds what the specification does not name.
    pub(super) fn extras(&mut self) {
        for extra in &self.material.listing.extras {
            if is_shadowed(&extra.path) {
                continue;
            }
            self.extra(extra);
        }
    }

    fn extra(&mut self, extra: &Extra) {
        let (node, attributes) = match &extra.kind {
            ExtraKind::Directory => return self.layout_folder(&extra.path, &extra.facts),
            ExtraKind::File => (
                Node::File(extra.path.clone()),
                Attributes::of_file(&extra.facts),
            ),
            ExtraKind::Link(target) => (
                Node::Link(target.clone()),
                Attributes::of_link(&extra.facts, target.as_os_str().len()),
            ),
        };
        self.place(&extra.path, NewEntry { node, attributes });
    }
}

/// Returns whether a synthetic name hides an extra.
fn is_shadowed(path: &Path) -> bool {
    path.components().next().is_none_or(|first| {
        SYNTHETIC_NAMES
            .iter()
            .any(|name| first.as_os_str().as_bytes() == name.as_bytes())
    })
}

/// Returns the path of a blob below the root; `None` for digests that are no path.
pub(super) fn blob_path(digest: &Digest) -> Option<String> {
    let algorithm = digest.algorithm()?;
    Some(format!("blobs/{}/{}", algorithm.name(), digest.hex()))
}
