//! The entries of one part of a tree by inode number: one behind another, and a table of their places.
//!
//! An entry is large, and a table of them would leave room for half as many again.

use std::collections::HashMap;

use super::node::Entry;

/// Holds entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    list: Vec<Entry>,
    /// The position of each inode number.
    places: HashMap<u64, usize>,
}

impl Entries {
    /// Returns the entry with this inode number.
    pub(super) fn get(&self, inode: u64) -> Option<&Entry> {
        self.list.get(*self.places.get(&inode)?)
    }

    /// Does the same for who changes it, but for its number.
    pub(super) fn get_mut(&mut self, inode: u64) -> Option<&mut Entry> {
        self.list.get_mut(*self.places.get(&inode)?)
    }

    /// Adds an entry, or puts it in the place of the one with its number.
    pub(super) fn insert(&mut self, entry: Entry) {
        if let Some(known) = self.get_mut(entry.inode) {
            *known = entry;
            return;
        }
        self.places.insert(entry.inode, self.list.len());
        self.list.push(entry);
    }

    /// Returns whether there is an entry with this inode number.
    pub(super) fn has(&self, inode: u64) -> bool {
        self.places.contains_key(&inode)
    }

    /// Returns all entries, in the order in which they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.list.iter()
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Gives back the room for more.
    pub(super) fn shrink(&mut self) {
        self.list.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Timestamp;
    use crate::tree::{Attributes, Node};

    fn entry(inode: u64, parent: u64) -> Entry {
        Entry {
            inode,
            parent,
            node: Node::Directory,
            attributes: Attributes {
                size: 0,
                mode: 0,
                uid: 0,
                gid: 0,
                links: 0,
                modified: Timestamp::default(),
                changed: Timestamp::default(),
            },
        }
    }

    #[test]
    fn an_entry_is_found_by_its_number_and_replaced_by_the_next_one_with_it() {
        let mut entries = Entries::default();
        for (inode, parent) in [(7, 1), (3, 1), (7, 2)] {
            entries.insert(entry(inode, parent));
        }
        entries.shrink();
        let parents = [7, 3, 1].map(|inode| entries.get(inode).map(|entry| entry.parent));
        assert_eq!(parents, [Some(2), Some(1), None]);
        assert_eq!(
            [7, 3, 1].map(|inode| entries.has(inode)),
            [true, true, false]
        );
        assert_eq!(entries.len(), 2);
        assert_eq!(
            entries.iter().map(|entry| entry.inode).collect::<Vec<_>>(),
            [7, 3]
        );
    }
}
