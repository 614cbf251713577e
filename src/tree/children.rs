//! The names in a folder: a large layout has tens of thousands of folders with one name or none that is held.

use std::collections::BTreeMap;
use std::ffi::OsStr;

/// Up to so many names, looking at each is as fast as a tree, which takes room for eleven.
const FEW: usize = 4;

/// Is the names in a folder, with their inode numbers.
#[derive(Debug, Clone)]
pub(super) enum Children {
    /// In no order.
    Few(Vec<(Box<OsStr>, u64)>),
    Many(BTreeMap<Box<OsStr>, u64>),
}

impl Default for Children {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Children {
    /// Returns the inode number of a name.
    pub(super) fn get(&self, name: &OsStr) -> Option<u64> {
        match self {
            Self::Few(names) => {
                let found = names.iter().find(|(known, _)| **known == *name);
                found.map(|(_, inode)| *inode)
            }
            Self::Many(names) => names.get(name).copied(),
        }
    }

    /// Adds a name that is not there yet.
    pub(super) fn insert(&mut self, name: Box<OsStr>, inode: u64) {
        match self {
            Self::Few(names) if names.len() < FEW => {
                names.reserve_exact(1);
                names.push((name, inode));
            }
            Self::Few(names) => {
                let names = std::mem::take(names).into_iter();
                *self = Self::Many(names.chain([(name, inode)]).collect());
            }
            Self::Many(names) => {
                names.insert(name, inode);
            }
        }
    }

    /// Returns all names, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&OsStr, u64)> {
        let (few, many) = match self {
            Self::Few(names) => (Some(names), None),
            Self::Many(names) => (None, Some(names)),
        };
        let few = few.into_iter().flatten().map(|(name, inode)| (name, inode));
        let all = few.chain(many.into_iter().flatten());
        all.map(|(name, inode)| (&**name, *inode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_however_many_there_are() {
        let mut children = Children::default();
        for inode in 0..10 {
            let name = |inode: u64| format!("{}", inode * 7 % 10);
            assert_eq!(children.get(OsStr::new(&name(inode))), None);
            children.insert(OsStr::new(&name(inode)).into(), inode);
            let mut all: Vec<_> = children.iter().map(|(_, inode)| inode).collect();
            all.sort_unstable();
            assert_eq!(all, (0..=inode).collect::<Vec<_>>());
            for known in 0..=inode {
                assert_eq!(children.get(OsStr::new(&name(known))), Some(known));
            }
        }
    }
}
