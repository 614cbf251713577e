//! The tree a mount shows: nodes, names, inode numbers and times, made from a listing, a report and a few bytes.
//!
//! Pure: the same inputs give the same tree, inode numbers and times included, so that a remount changes nothing for a
//! backup. docs/SEMANTICS.md, "The tree". Not here: scratch files and handles (`fs`), reading (`layout`).

pub mod build;
mod children;
mod entries;
mod images;
pub mod inode;
pub mod later;
pub mod names;
pub mod node;
mod shelf;
mod signatures;
mod stored;
pub mod times;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

pub use build::{Material, Owner, PolicyText, RootMode, build, rebuild};
pub use later::{Later, Rendered};
pub use names::{BlobNames, Names};
pub use node::{Attributes, Control, Entry, Node, View};

/// Is one tree, unchanging.
///
/// What follows from the layout alone is shared with the next tree of the same layout: it is nearly all of a large one.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// What follows from the layout.
    fixed: Arc<Part>,
    /// What follows from the report and the policy; its entries come before those of the other part.
    own: Part,
    press: later::Press,
}

/// Is a part of a tree.
#[derive(Debug, Clone, Default)]
struct Part {
    entries: entries::Entries,
    folders: HashMap<u64, children::Children>,
    bytes: u64,
    /// The raw names of images, by the inode numbers of their folders.
    ref_names: HashMap<u64, String>,
    /// Blobs, and what images and signatures are shown as.
    shelf: shelf::Shelf,
}

impl Tree {
    /// Returns the entry with this inode number.
    #[must_use]
    pub fn entry(&self, inode: u64) -> Option<Entry> {
        let listed = self.listed(inode).cloned();
        listed.or_else(|| self.shelves().find_map(|shelf| shelf.entry(inode)))
    }

    /// Returns an entry that is held as one.
    fn listed(&self, inode: u64) -> Option<&Entry> {
        self.parts().find_map(|part| part.entries.get(inode))
    }

    fn is_taken(&self, inode: u64) -> bool {
        let is_listed = self.listed(inode).is_some();
        is_listed || self.shelves().any(|shelf| shelf.has(inode))
    }

    /// Returns the entry with this name in a folder.
    #[must_use]
    pub fn child(&self, folder: u64, name: &OsStr) -> Option<Entry> {
        self.entry(self.child_number(folder, name)?)
    }

    fn child_number(&self, folder: u64, name: &OsStr) -> Option<u64> {
        let listed = |part: &Part| part.folders.get(&folder)?.get(name);
        let listed = self.parts().find_map(listed);
        listed.or_else(|| self.shelves().find_map(|shelf| shelf.child(folder, name)))
    }

    /// Returns the names in a folder, sorted, with their inode numbers.
    #[must_use]
    pub fn children(&self, folder: u64) -> Option<Vec<(OsString, u64)>> {
        self.names(folder).map(Names::all)
    }

    /// Returns the names in a folder without making those of blobs.
    #[must_use]
    pub fn names(&self, folder: u64) -> Option<Names> {
        if !self.is_folder(folder) {
            return None;
        }
        let mut names = Names::default();
        for part in self.parts() {
            let listed = part.folders.get(&folder).into_iter();
            let listed = listed.flat_map(children::Children::iter);
            let listed = listed.map(|(name, inode)| (name.to_os_string(), inode));
            names.others.extend(listed);
            names.others.append(&mut part.shelf.racked_in(folder));
            if let Some(blobs) = part.shelf.blobs_in(folder) {
                names.blobs = blobs;
            }
        }
        names.others.sort_unstable();
        Some(names)
    }

    fn is_folder(&self, inode: u64) -> bool {
        self.parts().any(|part| part.folders.contains_key(&inode))
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        [&self.own, &*self.fixed].into_iter()
    }

    /// Returns the shelves, first the one with the blobs, which are asked for most.
    fn shelves(&self) -> impl Iterator<Item = &shelf::Shelf> {
        [&self.fixed.shelf, &self.own.shelf].into_iter()
    }

    /// Returns all entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let racked = self.shelves().flat_map(shelf::Shelf::in_racks);
        self.folders_and_blobs().chain(racked)
    }

    /// Returns the folders, the blobs and the files in the root: all but the files and links below `images/` and `signatures/`.
    pub fn folders_and_blobs(&self) -> impl Iterator<Item = Entry> {
        let own = &self.own.entries;
        let fixed = self.fixed.entries.iter();
        let listed = own
            .iter()
            .chain(fixed.filter(|entry| !own.has(entry.inode)));
        let blobs = self.shelves().flat_map(shelf::Shelf::blobs);
        listed.cloned().chain(blobs)
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        let own = &self.own.entries;
        let fixed = self.fixed.entries.iter();
        let fixed = fixed.filter(|entry| !own.has(entry.inode)).count();
        let shelves = self.shelves().map(shelf::Shelf::len);
        shelves.fold(own.len().saturating_add(fixed), usize::saturating_add)
    }

    /// Returns whether there is not even a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of an entry that has them here, rendered now where they were not yet.
    #[must_use]
    pub fn bytes_of(&self, entry: &Entry) -> Option<Arc<[u8]>> {
        match (&entry.node, later::of(entry)) {
            (_, Some(later)) => Some(self.press.bytes(later)),
            (Node::Control(Control::SignImage(_), _), None) => Some(Arc::clone(&self.press.sign)),
            (node, None) => node.bytes().map(Arc::clone),
        }
    }

    /// Returns what stat says of an entry.
    #[must_use]
    pub fn attributes_of(&self, entry: &Entry) -> Attributes {
        match (&entry.node, self.rendered(entry)) {
            (_, Some(rendered)) => rendered.attributes,
            (Node::Control(Control::SignImage(_), _), None) => {
                self.press.stamped(entry, &self.press.sign)
            }
            _ => entry.attributes,
        }
    }

    /// Returns what was found when an entry was rendered, where it is one that is.
    #[must_use]
    pub fn rendered(&self, entry: &Entry) -> Option<Rendered> {
        later::of(entry).map(|later| self.press.rendered(entry, later))
    }

    /// Returns the sum of all sizes, without those of files that are rendered when they are asked for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.fixed.bytes.saturating_add(self.own.bytes)
    }

    /// Returns the raw name of the image that a folder is of.
    #[must_use]
    pub fn ref_name(&self, folder: u64) -> Option<&str> {
        let mut found = self.parts().filter_map(|part| part.ref_names.get(&folder));
        found.next().map(String::as_str)
    }

    /// Adds an entry below a folder; the first one with a name stays.
    ///
    /// The inode number is the wanted one, or the next free one: numbers made of hashes collide once in many lifetimes.
    fn add(&mut self, parent: u64, name: OsString, wanted: u64, entry: NewEntry) -> Option<u64> {
        if !self.is_folder(parent) || self.child_number(parent, &name).is_some() {
            return None;
        }
        let inode = inode::free_from(wanted, |candidate| self.is_taken(candidate));
        let siblings = self.own.folders.entry(parent).or_default();
        siblings.insert(name.into_boxed_os_str(), inode);
        self.own.bytes = self.own.bytes.saturating_add(entry.attributes.size);
        if matches!(entry.node, Node::Directory) {
            self.own
                .folders
                .insert(inode, children::Children::default());
            self.link(parent);
        }
        let entry = Entry {
            inode,
            parent,
            node: entry.node,
            attributes: entry.attributes,
        };
        self.own.entries.insert(entry);
        Some(inode)
    }

    /// Counts a folder more in another one.
    fn link(&mut self, folder: u64) {
        let Some(mut entry) = self.listed(folder).cloned() else {
            return;
        };
        entry.attributes.links = entry.attributes.links.saturating_add(1);
        self.own.entries.insert(entry);
    }

    /// Returns whether the part that follows from the layout is the very one of another tree.
    #[cfg(test)]
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fixed, &other.fixed)
    }

    /// Adds what is in racks, and how many bytes that has.
    fn add_racks(&mut self, racks: shelf::Racks, bytes: u64, common: shelf::Common) {
        let mut shelf = std::mem::take(&mut self.own.shelf);
        shelf.add_racks(racks, common, |number| self.is_taken(number));
        self.own.shelf = shelf;
        self.own.bytes = self.own.bytes.saturating_add(bytes);
    }

    /// Makes what was added so far the part that the next tree may share.
    fn fix(&mut self) {
        self.own.entries.shrink();
        self.fixed = Arc::new(std::mem::take(&mut self.own));
    }
}

/// Is an entry before it has a place.
struct NewEntry {
    node: Node,
    attributes: Attributes,
}

#[cfg(test)]
mod tests;
