//! The tree a mount shows: nodes, names, inode numbers and times, made from a listing, a report and a few bytes.
//!
//! Pure: the same inputs give the same tree, inode numbers and times included, so that a remount changes nothing for a
//! backup. docs/SEMANTICS.md, "The tree". Not here: scratch files and handles (`fs`), reading (`layout`).

pub mod build;
mod images;
pub mod inode;
pub mod node;
mod signatures;
pub mod times;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};

pub use build::{Material, Owner, PolicyText, RootMode, build};
pub use node::{Attributes, Control, Entry, Node, View};

/// Is one tree, unchanging.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: HashMap<u64, Entry>,
    folders: HashMap<u64, BTreeMap<OsString, u64>>,
    bytes: u64,
    /// The raw names of images, by the inode numbers of their folders.
    ref_names: HashMap<u64, String>,
}

impl Tree {
    /// Returns the entry with this inode number.
    #[must_use]
    pub fn entry(&self, inode: u64) -> Option<&Entry> {
        self.entries.get(&inode)
    }

    /// Returns the entry with this name in a folder.
    #[must_use]
    pub fn child(&self, folder: u64, name: &OsStr) -> Option<&Entry> {
        let inode = self.folders.get(&folder)?.get(name)?;
        self.entries.get(inode)
    }

    /// Returns the names in a folder, sorted, with their inode numbers.
    #[must_use]
    pub fn children(&self, folder: u64) -> Option<&BTreeMap<OsString, u64>> {
        self.folders.get(&folder)
    }

    /// Returns all entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Returns the sum of all sizes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the raw name of the image that a folder is of.
    #[must_use]
    pub fn ref_name(&self, folder: u64) -> Option<&str> {
        self.ref_names.get(&folder).map(String::as_str)
    }

    /// Adds an entry below a folder; the first one with a name stays.
    ///
    /// The inode number is the wanted one, or the next free one: numbers made of hashes collide once in many lifetimes.
    fn add(&mut self, parent: u64, name: OsString, wanted: u64, entry: NewEntry) -> Option<u64> {
        let siblings = self.folders.get_mut(&parent)?;
        if siblings.contains_key(&name) {
            return None;
        }
        let inode = inode::free_from(wanted, |candidate| self.entries.contains_key(&candidate));
        siblings.insert(name, inode);
        self.bytes = self.bytes.saturating_add(entry.attributes.size);
        if matches!(entry.node, Node::Directory) {
            self.folders.insert(inode, BTreeMap::new());
            if let Some(above) = self.entries.get_mut(&parent) {
                above.attributes.links = above.attributes.links.saturating_add(1);
            }
        }
        let entry = Entry {
            inode,
            parent,
            node: entry.node,
            attributes: entry.attributes,
        };
        self.entries.insert(inode, entry);
        Some(inode)
    }
}

/// Is an entry before it has a place.
struct NewEntry {
    node: Node,
    attributes: Attributes,
}

#[cfg(test)]
mod tests;
