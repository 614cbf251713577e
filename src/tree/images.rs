//! Builds `images/`: a folder per image with symlinks into `blobs/`, its own `sign` and its own statuses.
//!
//! Not here: names (`images/names.rs`). Every number of entries is bounded: a few hundred bytes of nested indexes can describe
//! more paths than any memory holds.

mod names;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::build::Builder;
use super::later::Later;
use super::node::{Attributes, Control, Node, View};
use super::shelf::Rack;
use super::stored::blob_folder;
use super::{NewEntry, inode, times};
use crate::layout::Timestamp;
use crate::oci::media_type::{is_index, is_manifest};
use crate::oci::{Descriptor, Digest, Document, Graph, ImageIndex, ImageManifest};
use crate::report::ImageReport;

/// Entries below `images/`; what comes after is left out.
const ENTRIES_MAX: usize = 300_000;
/// Entries of one image.
const IMAGE_ENTRIES_MAX: usize = 20_000;
/// Indexes within one another that are shown.
const INDEX_DEPTH_MAX: usize = 4;

/// Adds `images/` with every image of the report.
pub(super) fn add(builder: &mut Builder<'_>, graph: &Graph) {
    let report = builder.material.report;
    let changed = builder.material.index.map(|index| index.facts.changed);
    let mut images = Images {
        changed: changed.unwrap_or(builder.newest),
        builder,
        graph,
        entries_left: ENTRIES_MAX,
        image_entries_left: IMAGE_ENTRIES_MAX,
        racks: Vec::new(),
    };
    let root = Folder {
        inode: inode::ROOT,
        path: String::new(),
        depth: 0,
    };
    let Some(all) = images.folder(&root, "images") else {
        return;
    };
    let names = names::of_images(&report.images);
    let mut shown = Vec::with_capacity(names.len());
    // Every image gets its statuses before any gets its links: no image can hide another.
    for ((image, name), position) in report.images.iter().zip(names).zip(0..) {
        images.image_entries_left = IMAGE_ENTRIES_MAX;
        let Some(folder) = name.and_then(|name| images.folder(&all, &name)) else {
            continue;
        };
        images.own_files(&folder, (image, position));
        shown.push((folder, image));
    }
    for (folder, image) in shown {
        images.image_entries_left = IMAGE_ENTRIES_MAX;
        images.content(&folder, &image.descriptor, 0);
        images.finish(&folder);
    }
    images.finish(&all);
    let racks = std::mem::take(&mut images.racks);
    let tree = &mut images.builder.tree;
    let mut shelf = std::mem::take(&mut tree.own.shelf);
    shelf.add_racks(racks, |number| tree.is_taken(number));
    tree.own.shelf = shelf;
}

struct Images<'b, 'a> {
    builder: &'b mut Builder<'a>,
    graph: &'b Graph,
    /// When index.json changed: what links and folders are made of.
    changed: Timestamp,
    entries_left: usize,
    image_entries_left: usize,
    /// The folders of layers, each with the inode numbers wanted for its links, and their positions.
    racks: Vec<(Rack, Vec<(u64, u32)>)>,
}

/// Is a folder that was added.
struct Folder {
    inode: u64,
    /// Its path below the root.
    path: String,
    /// How many folders it is below the root.
    depth: usize,
}

impl Folder {
    fn below(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        }
    }
}

impl Images<'_, '_> {
    /// Takes room for one entry.
    fn take(&mut self) -> Option<()> {
        let all = self.entries_left.checked_sub(1)?;
        let own = self.image_entries_left.checked_sub(1)?;
        (self.entries_left, self.image_entries_left) = (all, own);
        Some(())
    }

    /// Returns the attributes of a link or folder: it changes with index.json only.
    fn attributes(&self, bytes: &[u8], mode: u16) -> Attributes {
        let time = times::of_bytes(self.changed, bytes);
        Attributes {
            modified: time,
            changed: time,
            ..self.builder.synthetic(bytes, mode)
        }
    }

    fn folder(&mut self, parent: &Folder, name: &str) -> Option<Folder> {
        self.take()?;
        let path = parent.below(name);
        let attributes = Attributes {
            size: 0,
            links: 2,
            ..self.attributes(b"", 0o555)
        };
        let node = Node::Directory;
        let entry = NewEntry { node, attributes };
        let wanted = inode::of_path(path.as_bytes());
        Some(Folder {
            inode: self.builder.add(parent.inode, name, wanted, entry)?,
            path,
            depth: parent.depth.saturating_add(1),
        })
    }

    /// Sets the times of a folder that is complete: they differ whenever the names in it differ.
    fn finish(&mut self, folder: &Folder) {
        let names = self.builder.tree.children(folder.inode);
        let names = names.into_iter().flatten();
        let joined = names.fold(Vec::new(), |mut joined, (name, _)| {
            joined.extend_from_slice(name.as_encoded_bytes());
            joined.push(b'/');
            joined
        });
        self.finish_with(folder, &joined);
    }

    fn finish_with(&mut self, folder: &Folder, joined: &[u8]) {
        let time = times::of_bytes(self.changed, joined);
        if let Some(entry) = self.builder.tree.own.entries.get_mut(folder.inode) {
            (entry.attributes.modified, entry.attributes.changed) = (time, time);
        }
    }

    /// Adds a relative symlink to a path below the root.
    fn link(&mut self, folder: &Folder, name: &str, below_root: &str) {
        if self.take().is_none() {
            return;
        }
        let mut target = "../".repeat(folder.depth) + below_root;
        target.shrink_to_fit();
        let attributes = self.attributes(target.as_bytes(), 0o777);
        let node = Node::Link(target.into());
        let entry = NewEntry { node, attributes };
        let wanted = inode::of_path(folder.below(name).as_bytes());
        self.builder.add(folder.inode, name, wanted, entry);
    }

    /// Adds a link to a blob; none to one whose digest is no path.
    fn blob(&mut self, folder: &Folder, name: &str, digest: &Digest) {
        if let Some(blobs) = blob_folder(digest) {
            self.link(folder, name, &format!("{blobs}/{}", digest.hex()));
        }
    }

    /// Adds what an image has beside its content: name, `sign`, statuses, signatures.
    fn own_files(&mut self, folder: &Folder, (image, position): (&ImageReport, u32)) {
        if let Some(name) = &image.name {
            let names = &mut self.builder.tree.own.ref_names;
            names.insert(folder.inode, name.clone());
        }
        self.sign(folder, &image.descriptor.digest);
        self.status(folder, "verify-status", Later::StatusText(position));
        self.status(folder, "verify-status.json", Later::StatusJson(position));
        self.signatures(folder, &image.descriptor.digest);
    }

    fn sign(&mut self, folder: &Folder, digest: &Digest) {
        if self.builder.material.sign.is_none() || self.take().is_none() {
            return;
        }
        // Its bytes, size and times are those of the reason of the last refusal, whatever image it is of.
        let attributes = self.builder.synthetic(b"", self.builder.control_mode());
        let node = Node::Control(Control::SignImage(digest.clone()), Arc::default());
        // The digest is part of the number: a descriptor that was opened before the tag moved signs nothing.
        let wanted = inode::of_path(format!("{}/sign\0{digest}", folder.path).as_bytes());
        let entry = NewEntry { node, attributes };
        self.builder.add(folder.inode, "sign", wanted, entry);
    }

    fn status(&mut self, folder: &Folder, name: &str, later: Later) {
        if self.take().is_none() {
            return;
        }
        let wanted = inode::of_path(folder.below(name).as_bytes());
        self.builder
            .later((folder.inode, name, wanted), View::Status, later);
    }

    fn signatures(&mut self, folder: &Folder, digest: &Digest) {
        if let Some(name) = digest.folder_name() {
            self.link(folder, "signatures", &format!("signatures/{name}"));
        }
    }

    /// Adds the links to an image's or index's content.
    fn content(&mut self, folder: &Folder, descriptor: &Descriptor, depth: usize) {
        let graph = self.graph;
        let (media_type, digest) = (&descriptor.media_type, &descriptor.digest);
        match graph.document(digest) {
            Some(Document::Manifest(manifest)) => self.manifest(folder, digest, manifest),
            Some(Document::Index(index)) => {
                self.blob(folder, "index.json", digest);
                self.index(folder, index, depth);
            }
            None if is_index(media_type) => self.blob(folder, "index.json", digest),
            None if is_manifest(media_type) || media_type.is_empty() => {
                self.blob(folder, "manifest.json", digest);
            }
            None => self.blob(folder, "blob", digest),
        }
    }

    fn manifest(&mut self, folder: &Folder, digest: &Digest, manifest: &ImageManifest) {
        self.blob(folder, "manifest.json", digest);
        if let Some(config) = &manifest.config {
            self.blob(folder, "config.json", &config.digest);
        }
        if manifest.layers.is_empty() {
            return;
        }
        let Some(layers) = self.folder(folder, "layers") else {
            return;
        };
        let Some(document) = self.graph.shared_document(digest) else {
            return;
        };
        let rack = Rack {
            folder: layers.inode,
            depth: layers.depth,
            document: Arc::clone(document),
            changed: self.changed,
            owner: self.builder.material.owner,
        };
        self.layers(&layers, rack, manifest.layers.len());
    }

    /// Notes the links to layers: of a large image there are thousands.
    fn layers(&mut self, folder: &Folder, rack: Rack, count: usize) {
        let mut links = Vec::with_capacity(count);
        let mut names = Vec::new();
        let mut bytes = 0_u64;
        let mut path = folder.below("");
        let folder_bytes = path.len();
        for (layer, position) in (0..count).zip(0..) {
            path.truncate(folder_bytes);
            let (Some(target_bytes), Some(())) =
                (rack.target_bytes(layer), rack.push_name(layer, &mut path))
            else {
                continue;
            };
            if self.take().is_none() {
                break;
            }
            names.extend_from_slice(path.get(folder_bytes..).unwrap_or_default().as_bytes());
            names.push(b'/');
            links.push((inode::of_path(path.as_bytes()), position));
            bytes = bytes.saturating_add(target_bytes);
        }
        let own = &mut self.builder.tree.own;
        own.bytes = own.bytes.saturating_add(bytes);
        self.racks.push((rack, links));
        self.finish_with(folder, &names);
    }

    fn index(&mut self, folder: &Folder, index: &ImageIndex, depth: usize) {
        if depth >= INDEX_DEPTH_MAX {
            return;
        }
        let (attestations, platforms): (Vec<_>, Vec<_>) = index
            .manifests
            .iter()
            .partition(|child| child.is_attestation());
        let names = names::of_platforms(&platforms);
        self.children(folder, "platforms", (&platforms, names), depth);
        let names = names::of_attestations(&attestations);
        self.children(folder, "attestations", (&attestations, names), depth);
    }

    fn children(
        &mut self,
        folder: &Folder,
        name: &str,
        (children, names): (&[&Descriptor], Vec<Option<String>>),
        depth: usize,
    ) {
        if children.is_empty() {
            return;
        }
        let Some(all) = self.folder(folder, name) else {
            return;
        };
        for (child, name) in children.iter().zip(names) {
            let Some(own) = name.and_then(|name| self.folder(&all, &name)) else {
                continue;
            };
            self.content(&own, child, depth.saturating_add(1));
            if self.builder.is_signed(&child.digest) {
                self.signatures(&own, &child.digest);
            }
            self.finish(&own);
        }
        self.finish(&all);
    }
}
