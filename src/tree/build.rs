//! Builds the tree: the layout byte for byte, and the synthetic files beside it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::node::{Attributes, Control, Entry, Node, View};
use super::signatures::signature_files;
use super::{NewEntry, Tree, images, inode, times};
use crate::layout::{Extra, ExtraKind, FileFacts, IndexBytes, Listing, Timestamp};
use crate::oci::{Digest, Graph, UnixTime};
use crate::report::{ImageReport, Report, SYNTHETIC_NAMES};

/// Is the user that the root and the control files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The uid.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
}

/// Tells who may create names in the root and write control files, as far as the kernel's check of modes goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootMode {
    /// The mounting user.
    Owner,
    /// Others too (`--sign-uid`); our own check decides.
    Shared,
}

/// Is the policy in force, as text.
#[derive(Debug, Clone)]
pub struct PolicyText {
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// When it came into force in this mount, where it was written into it.
    pub written: Option<UnixTime>,
}

/// Is everything a tree is made of.
pub struct Material<'a> {
    /// What the layout stores.
    pub listing: &'a Listing,
    /// index.json, where it could be read.
    pub index: Option<&'a IndexBytes>,
    /// The manifests that `images/` is made of; none where the mount has no `images/`.
    pub links: Option<&'a Graph>,
    /// The report.
    pub report: &'a Report,
    /// The policy, where there is one.
    pub policy: Option<&'a PolicyText>,
    /// What `sign` reads as, where it exists.
    pub sign: Option<Arc<[u8]>>,
    /// The latest change of policy file, trust stores and key list.
    pub settings_changed: Timestamp,
    /// When the report was made.
    pub now: UnixTime,
    /// The mounting user.
    pub owner: Owner,
    /// Who may write.
    pub root_mode: RootMode,
}

/// Builds the tree.
#[must_use]
pub fn build(material: &Material<'_>) -> Tree {
    let mut builder = Builder {
        material,
        newest: newest(material),
        tree: Tree::default(),
        paths: HashMap::new(),
    };
    builder.root();
    builder.control_files();
    builder.status();
    builder.signatures();
    if let Some(graph) = material.links {
        images::add(&mut builder, graph);
    }
    builder.layout_files();
    builder.blobs();
    builder.extras();
    builder.tree
}

/// Returns the latest change of everything that synthetic files are made of.
fn newest(material: &Material<'_>) -> Timestamp {
    let index = material.index.map(|index| index.facts.changed);
    let written = material
        .policy
        .and_then(|policy| policy.written)
        .map(times::timestamp);
    let boundary = times::boundary(material.report, material.now).map(times::timestamp);
    [index, written, boundary]
        .into_iter()
        .flatten()
        .fold(material.settings_changed, Timestamp::max)
}

pub(super) struct Builder<'a> {
    pub(super) material: &'a Material<'a>,
    pub(super) newest: Timestamp,
    pub(super) tree: Tree,
    /// The folders made so far, by path below the root.
    paths: HashMap<Vec<u8>, u64>,
}

impl Builder<'_> {
    fn root(&mut self) {
        let facts = self.root_facts();
        let shared = self.material.root_mode == RootMode::Shared;
        let layout_mode = u16::try_from(facts.mode & 0o777).unwrap_or(0o755) | 0o200;
        let attributes = Attributes {
            mode: if shared { 0o1777 } else { layout_mode },
            uid: self.material.owner.uid,
            gid: self.material.owner.gid,
            ..Attributes::of_folder(&facts)
        };
        let entry = Entry {
            inode: inode::ROOT,
            parent: inode::ROOT,
            node: Node::Directory,
            attributes,
        };
        self.tree.entries.insert(inode::ROOT, entry);
        self.tree.folders.insert(inode::ROOT, BTreeMap::new());
        self.paths.insert(Vec::new(), inode::ROOT);
    }

    /// Returns the stat of the layout's root; a tar has none, so index.json's times stand in.
    fn root_facts(&self) -> FileFacts {
        let index = self.material.index.map(|index| index.facts);
        self.material.listing.root.unwrap_or(FileFacts {
            uid: self.material.owner.uid,
            gid: self.material.owner.gid,
            mode: 0o755,
            size: 0,
            modified: index.map(|facts| facts.modified).unwrap_or_default(),
            changed: index.map(|facts| facts.changed).unwrap_or_default(),
        })
    }

    pub(super) fn add(
        &mut self,
        parent: u64,
        name: &str,
        wanted: u64,
        entry: NewEntry,
    ) -> Option<u64> {
        self.tree.add(parent, OsString::from(name), wanted, entry)
    }

    /// Returns the attributes of a synthetic file.
    pub(super) fn synthetic(&self, bytes: &[u8], mode: u16) -> Attributes {
        let time = times::of_bytes(self.newest, bytes);
        Attributes {
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            mode,
            uid: self.material.owner.uid,
            gid: self.material.owner.gid,
            links: 1,
            modified: time,
            changed: time,
        }
    }

    pub(super) fn rendered(&mut self, place: (u64, &str, u64), view: View, bytes: Arc<[u8]>) {
        let attributes = self.synthetic(&bytes, 0o444);
        let node = Node::Rendered(view, bytes);
        self.add(place.0, place.1, place.2, NewEntry { node, attributes });
    }

    /// Returns the mode of control files.
    pub(super) fn control_mode(&self) -> u16 {
        match self.material.root_mode {
            RootMode::Owner => 0o644,
            RootMode::Shared => 0o666,
        }
    }

    fn control_files(&mut self) {
        let mode = self.control_mode();
        let sign = self.material.sign.clone();
        let policy = self.material.policy.map(|policy| Arc::clone(&policy.bytes));
        let files = [
            ("sign", inode::SIGN, Control::Sign, sign),
            ("trustpolicy.json", inode::POLICY, Control::Policy, policy),
        ];
        for (name, wanted, control, bytes) in files {
            let Some(bytes) = bytes else { continue };
            let attributes = self.synthetic(&bytes, mode);
            let node = Node::Control(control, bytes);
            self.add(inode::ROOT, name, wanted, NewEntry { node, attributes });
        }
    }

    fn status(&mut self) {
        let text = Arc::from(self.material.report.text().into_bytes());
        let json = Arc::from(self.material.report.json().into_bytes());
        self.rendered(
            (inode::ROOT, "verify-status", inode::STATUS),
            View::Status,
            text,
        );
        self.rendered(
            (inode::ROOT, "verify-status.json", inode::STATUS_JSON),
            View::Status,
            json,
        );
    }

    /// Adds a folder that exists in the mount only; its time depends on the names in it.
    fn synthetic_folder(&mut self, parent: u64, name: &str, names: &[u8]) -> Option<u64> {
        let path = match parent {
            inode::ROOT => name.to_owned(),
            _ => format!("signatures/{name}"),
        };
        let attributes = Attributes {
            size: 0,
            links: 2,
            ..self.synthetic(names, 0o555)
        };
        let node = Node::Directory;
        let wanted = inode::of_path(path.as_bytes());
        self.add(parent, name, wanted, NewEntry { node, attributes })
    }

    /// Returns whether there is a folder with the signatures of this digest.
    pub(super) fn is_signed(&self, digest: &Digest) -> bool {
        let name = digest.folder_name().map(OsString::from);
        let all = self.tree.child(inode::ROOT, "signatures".as_ref());
        all.zip(name)
            .is_some_and(|(all, name)| self.tree.child(all.inode, &name).is_some())
    }

    fn signatures(&mut self) {
        // The same digest under two names is one folder.
        let report = self.material.report;
        let images: BTreeMap<String, &ImageReport> = report
            .children
            .iter()
            .chain(&report.images)
            .filter_map(|image| Some((image.descriptor.digest.folder_name()?, image)))
            .collect();
        let names = images
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("/");
        let Some(all) = self.synthetic_folder(inode::ROOT, "signatures", names.as_bytes()) else {
            return;
        };
        for (folder, image) in images {
            let files: Vec<_> = image
                .signatures
                .iter()
                .flat_map(|signature| signature_files(image, signature))
                .collect();
            let names = files
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
                .join("/");
            let Some(parent) = self.synthetic_folder(all, &folder, names.as_bytes()) else {
                continue;
            };
            for (name, bytes) in files {
                let path = format!("signatures/{folder}/{name}");
                let wanted = inode::of_path(path.as_bytes());
                self.rendered((parent, &name, wanted), View::Signature, bytes);
            }
        }
    }

    fn layout_files(&mut self) {
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

    fn blobs(&mut self) {
        let mut folders = self.material.listing.folders.clone();
        folders.sort_by(|one, other| one.0.cmp(&other.0));
        for (path, facts) in &folders {
            self.layout_folder(path, facts);
        }
        for blob in &self.material.listing.blobs {
            let Some(path) = blob_folder(&blob.digest) else {
                continue;
            };
            let Some(parent) = self.paths.get(path.as_bytes()).copied() else {
                continue;
            };
            let entry = NewEntry {
                node: Node::Blob(blob.digest.clone()),
                attributes: Attributes::of_file(&blob.facts),
            };
            let wanted = inode::of_digest(&blob.digest);
            self.add(parent, &blob.digest.hex(), wanted, entry);
        }
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

    fn extras(&mut self) {
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

pub(super) fn blob_folder(digest: &Digest) -> Option<String> {
    let algorithm = digest.algorithm()?;
    Some(format!("blobs/{}", algorithm.name()))
}
