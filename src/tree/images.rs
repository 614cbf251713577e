//! Builds `images/`: a folder per image with symlinks into `blobs/`, its own `sign` and its own statuses.
//!
//! Not here: names (`images/names.rs`). Every number of entries is bounded: a few hundred bytes of nested indexes can describe
//! more paths than any memory holds.

mod names;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::build::{Builder, Files};
use super::node::{Attributes, Node};
use super::shelf::{
    Holds, ImageFile, Rack, ShownImage, layer_target_bytes, link_bytes, push_layer_name,
};
use super::{NewEntry, inode, times};
use crate::layout::Timestamp;
use crate::oci::media_type::{is_index, is_manifest};
use crate::oci::{Descriptor, Document, Graph, ImageIndex, ImageManifest};

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
        files: Files::default(),
    };
    let root = Folder {
        inode: inode::ROOT,
        path: String::new(),
        depth: 0,
        files: Vec::new(),
    };
    let Some(all) = images.folder(&root, "images") else {
        return;
    };
    let names = names::of_images(&report.images);
    let mut shown = Vec::with_capacity(names.len());
    // Every image gets its statuses before any gets its links: no image can hide another.
    for ((image, name), position) in report.images.iter().zip(names).zip(0..) {
        images.image_entries_left = IMAGE_ENTRIES_MAX;
        let Some(mut folder) = name.and_then(|name| images.folder(&all, &name)) else {
            continue;
        };
        if let Some(name) = &image.name {
            let names = &mut images.builder.tree.own.ref_names;
            names.insert(folder.inode, name.clone());
        }
        let image = images.shown(&image.descriptor, Some(position));
        images.own_files(&mut folder, &image);
        shown.push((folder, image));
    }
    for (mut folder, image) in shown {
        images.image_entries_left = IMAGE_ENTRIES_MAX;
        images.content(&mut folder, &image, 0);
        images.finish(folder, Some(image));
    }
    images.finish(all, None);
    let Files { racks, bytes } = std::mem::take(&mut images.files);
    let common = images.builder.common(images.changed);
    images.builder.tree.add_racks(racks, bytes, common);
}

struct Images<'b, 'a> {
    builder: &'b mut Builder<'a>,
    graph: &'b Graph,
    /// When index.json changed: what links and folders are made of.
    changed: Timestamp,
    entries_left: usize,
    image_entries_left: usize,
    files: Files,
}

/// Is a folder that was added.
struct Folder {
    inode: u64,
    /// Its path below the root.
    path: String,
    /// How many folders it is below the root.
    depth: u32,
    /// What it has of an image, each with the inode number wanted for it.
    files: Vec<(u64, ImageFile)>,
}

impl Folder {
    fn below(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        }
    }

    fn hold(&mut self, file: ImageFile) {
        let wanted = inode::of_path(self.below(file.name()).as_bytes());
        self.files.push((wanted, file));
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
            files: Vec::new(),
        })
    }

    /// Puts what a folder has of an image into a rack, and sets the folder's times: they differ whenever the names in it differ.
    fn finish(&mut self, folder: Folder, image: Option<ShownImage>) {
        let names = self.builder.tree.names(folder.inode).unwrap_or_default();
        let names = names.others.into_iter().map(|(name, _)| name);
        let mut names: Vec<_> = names.collect();
        names.extend(folder.files.iter().map(|(_, file)| file.name().into()));
        names.sort_unstable();
        let joined = names.iter().fold(Vec::new(), |mut joined, name| {
            joined.extend_from_slice(name.as_encoded_bytes());
            joined.push(b'/');
            joined
        });
        self.finish_with(&folder, &joined);
        if let Some(image) = image {
            let rack = Rack {
                folder: folder.inode,
                depth: folder.depth,
                holds: Holds::Image(image),
            };
            let files = folder.files.into_iter();
            let files = files.map(|(wanted, file)| (wanted, file.position()));
            self.files.racks.push(rack, files);
        }
    }

    fn finish_with(&mut self, folder: &Folder, joined: &[u8]) {
        let time = times::of_bytes(self.changed, joined);
        if let Some(entry) = self.builder.tree.own.entries.get_mut(folder.inode) {
            (entry.attributes.modified, entry.attributes.changed) = (time, time);
        }
    }

    fn shown(&self, descriptor: &Descriptor, image: Option<u32>) -> ShownImage {
        ShownImage {
            descriptor: descriptor.clone(),
            document: self.graph.shared_document(&descriptor.digest).cloned(),
            image,
        }
    }

    /// Adds what an image has beside its content: `sign`, statuses, signatures.
    fn own_files(&mut self, folder: &mut Folder, image: &ShownImage) {
        if self.builder.material.sign.is_some() && self.take().is_some() {
            // The digest is part of the number: a descriptor that was opened before the tag moved signs nothing.
            let text = format!("{}/sign\0{}", folder.path, image.descriptor.digest);
            let wanted = inode::of_path(text.as_bytes());
            folder.files.push((wanted, ImageFile::Sign));
        }
        for file in [ImageFile::Status, ImageFile::StatusJson] {
            if self.take().is_some() {
                folder.hold(file);
            }
        }
        self.link(folder, image, ImageFile::Signatures);
    }

    /// Adds a link, where what it leads to has a path.
    fn link(&mut self, folder: &mut Folder, image: &ShownImage, file: ImageFile) {
        let Some(target) = image.target(file) else {
            return;
        };
        if self.take().is_some() {
            folder.hold(file);
            let bytes = link_bytes(target.len(), folder.depth).unwrap_or_default();
            self.files.bytes = self.files.bytes.saturating_add(bytes);
        }
    }

    /// Adds the links to an image's or index's content.
    fn content(&mut self, folder: &mut Folder, image: &ShownImage, depth: usize) {
        let media_type = &image.descriptor.media_type;
        match image.document.as_deref() {
            Some(Document::Manifest(manifest)) => self.manifest(folder, image, manifest),
            Some(Document::Index(index)) => {
                self.link(folder, image, ImageFile::Index);
                self.index(folder, index, depth);
            }
            None if is_index(media_type) => self.link(folder, image, ImageFile::Index),
            None if is_manifest(media_type) || media_type.is_empty() => {
                self.link(folder, image, ImageFile::Manifest);
            }
            None => self.link(folder, image, ImageFile::Blob),
        }
    }

    fn manifest(&mut self, folder: &mut Folder, image: &ShownImage, manifest: &ImageManifest) {
        self.link(folder, image, ImageFile::Manifest);
        self.link(folder, image, ImageFile::Config);
        let Some(document) = image
            .document
            .as_ref()
            .filter(|_| !manifest.layers.is_empty())
        else {
            return;
        };
        if let Some(layers) = self.folder(folder, "layers") {
            self.layers(&layers, document, manifest.layers.len());
        }
    }

    /// Notes the links to layers: of a large image there are thousands.
    fn layers(&mut self, folder: &Folder, document: &Arc<Document>, count: usize) {
        let mut links = Vec::with_capacity(count);
        let mut names = Vec::new();
        let mut path = folder.below("");
        let folder_bytes = path.len();
        for position in (0..).take(count) {
            path.truncate(folder_bytes);
            let (Some(target_bytes), Some(())) = (
                layer_target_bytes(document, position, folder.depth),
                push_layer_name(document, position, &mut path),
            ) else {
                continue;
            };
            if self.take().is_none() {
                break;
            }
            names.extend_from_slice(path.get(folder_bytes..).unwrap_or_default().as_bytes());
            names.push(b'/');
            links.push((inode::of_path(path.as_bytes()), position));
            self.files.bytes = self.files.bytes.saturating_add(target_bytes);
        }
        let rack = Rack {
            folder: folder.inode,
            depth: folder.depth,
            holds: Holds::Layers(Arc::clone(document)),
        };
        self.files.racks.push(rack, links);
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
            let Some(mut own) = name.and_then(|name| self.folder(&all, &name)) else {
                continue;
            };
            let image = self.shown(child, None);
            self.content(&mut own, &image, depth.saturating_add(1));
            if self.builder.is_signed(&child.digest) {
                self.link(&mut own, &image, ImageFile::Signatures);
            }
            self.finish(own, Some(image));
        }
        self.finish(all, None);
    }
}
