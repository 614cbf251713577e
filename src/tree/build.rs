//! Builds the tree: the layout byte for byte, and the synthetic files beside it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::sync::Arc;

use super::children::Children;
use super::later::{Later, Place, Press};
use super::node::{Attributes, Control, Entry, Node, View};
use super::shelf::{Common, Holds, Rack, Racks};
use super::{NewEntry, Tree, images, inode, signatures, times};
use crate::layout::{FileFacts, IndexBytes, Listing, Timestamp};
use crate::oci::{Digest, Graph, UnixTime};
use crate::report::{ImageReport, Report};

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
    pub report: &'a Arc<Report>,
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
    let mut builder = Builder::new(material);
    builder.root();
    if let Some(graph) = material.links {
        images::add(&mut builder, graph);
    }
    builder.layout_files();
    builder.blobs();
    builder.extras();
    builder.tree.fix();
    builder.judged()
}

/// Builds the tree of the same layout again: all of its material is that of `before`, but for report, policy and times.
#[must_use]
pub fn rebuild(material: &Material<'_>, before: &Tree) -> Tree {
    let is_alike = before
        .press
        .report
        .as_ref()
        .is_some_and(|report| is_alike(report, material.report));
    if !is_alike {
        return build(material);
    }
    let mut builder = Builder::new(material);
    builder.tree.fixed = Arc::clone(&before.fixed);
    builder.judged()
}

/// Returns whether two reports are about the same images, so that `images/` has the same names and links.
fn is_alike(one: &Report, other: &Report) -> bool {
    let alike = |one: &[ImageReport], other: &[ImageReport]| {
        let same = |(one, other): (&ImageReport, &ImageReport)| {
            one.name == other.name && one.descriptor == other.descriptor
        };
        one.len() == other.len() && one.iter().zip(other).all(same)
    };
    alike(&one.images, &other.images) && alike(&one.children, &other.children)
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
    pub(super) paths: HashMap<Vec<u8>, u64>,
    /// Everything that has a folder below `signatures/`.
    signed: HashSet<Digest>,
}

impl<'a> Builder<'a> {
    fn new(material: &'a Material<'a>) -> Self {
        let newest = newest(material);
        Self {
            material,
            newest,
            tree: Tree {
                press: Press::new(material, newest),
                ..Tree::default()
            },
            paths: HashMap::new(),
            signed: signed(material.report),
        }
    }

    /// Adds what follows from report and policy.
    fn judged(mut self) -> Tree {
        self.control_files();
        self.status();
        self.signatures();
        self.tree.own.entries.shrink();
        self.tree
    }
}

/// Returns everything that gets a folder below `signatures/`.
fn signed(report: &Report) -> HashSet<Digest> {
    let all = report.children.iter().chain(&report.images);
    all.map(|image| image.descriptor.digest.clone()).collect()
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
        self.tree.own.entries.insert(entry);
        let folders = &mut self.tree.own.folders;
        folders.insert(inode::ROOT, Children::default());
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

    /// Adds a file that is rendered when it is asked for; so are its size and times.
    pub(super) fn later(&mut self, place: (u64, &str, u64), view: View, later: Later) {
        let attributes = Attributes {
            size: 0,
            mode: 0o444,
            uid: self.material.owner.uid,
            gid: self.material.owner.gid,
            links: 1,
            modified: self.newest,
            changed: self.newest,
        };
        let node = Node::Later(view, later);
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
        self.rendered(
            (inode::ROOT, "verify-status", inode::STATUS),
            View::Status,
            text,
        );
        self.later(
            (inode::ROOT, "verify-status.json", inode::STATUS_JSON),
            View::Status,
            Later::ReportJson,
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
        digest.algorithm().is_some() && self.signed.contains(digest)
    }

    fn signatures(&mut self) {
        let report = self.material.report;
        // The same digest under two names is one folder.
        let mut images: BTreeMap<String, (&ImageReport, Place)> = BTreeMap::new();
        for (is_child, list) in [(true, &report.children), (false, &report.images)] {
            for (image, position) in list.iter().zip(0..) {
                let place = Place {
                    is_child,
                    image: position,
                    signature: 0,
                };
                if let Some(folder) = image.descriptor.digest.folder_name() {
                    images.insert(folder, (image, place));
                }
            }
        }
        let names = images
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("/");
        let Some(all) = self.synthetic_folder(inode::ROOT, "signatures", names.as_bytes()) else {
            return;
        };
        let mut files = Files::default();
        for (folder, (image, place)) in images {
            self.signatures_of((all, &folder), (image, place), &mut files);
        }
        let common = self.common(self.newest);
        self.tree.add_racks(files.racks, files.bytes, common);
    }

    fn signatures_of(
        &mut self,
        (all, folder): (u64, &str),
        (image, place): (&ImageReport, Place),
        files: &mut Files,
    ) {
        let path = format!("signatures/{folder}");
        let (mut names, mut wanted) = (Vec::new(), Vec::new());
        for (position, name) in signatures::names(image) {
            wanted.push((
                inode::of_path(format!("{path}/{name}").as_bytes()),
                position,
            ));
            names.push(name);
        }
        let Some(folder) = self.synthetic_folder(all, folder, names.join("/").as_bytes()) else {
            return;
        };
        let rack = Rack {
            folder,
            depth: 2,
            holds: Holds::Signatures(Arc::clone(self.material.report), place),
        };
        files.racks.push(rack, wanted);
        let envelopes = image
            .signatures
            .iter()
            .filter(|found| found.format.is_some());
        let envelopes = envelopes.filter_map(|found| found.bytes.as_ref());
        for bytes in envelopes {
            let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            files.bytes = files.bytes.saturating_add(bytes);
        }
    }

    /// Returns what the files in racks have in common.
    pub(super) fn common(&self, changed: Timestamp) -> Common {
        Common {
            owner: self.material.owner,
            control_mode: self.control_mode(),
            changed,
        }
    }
}

/// Is what is put into racks.
#[derive(Default)]
pub(super) struct Files {
    pub(super) racks: Racks,
    /// The sum of the sizes that are known.
    pub(super) bytes: u64,
}
