//! Reading folders: the names as they were at opening, each position an offset.

use std::ffi::OsString;

use super::handles::Handle;
use super::names::POLICY_NAME;
use super::open::{Data, Opened};
use super::{Fs, FsError, Kind, Snapshot, Stat};
use crate::tree::Node;
use crate::tree::inode::{POLICY, ROOT};

/// Is one name of a folder.
#[derive(Debug, Clone)]
pub struct FolderEntry {
    /// The inode number.
    pub inode: u64,
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: OsString,
}

impl Fs {
    /// Opens a folder.
    ///
    /// # Errors
    /// Returns an error where the inode is no folder.
    pub fn opendir(&self, snapshot: &Snapshot, inode: u64) -> Result<Opened, FsError> {
        let entry = snapshot.tree.entry(inode).ok_or(FsError::StaleInode)?;
        let names = snapshot
            .tree
            .children(inode)
            .ok_or(FsError::NotADirectory)?;
        let dot = |name: &str, inode| FolderEntry {
            inode,
            kind: Kind::Directory,
            name: OsString::from(name),
        };
        let mut entries = vec![dot(".", inode), dot("..", entry.parent)];
        let is_new = !names.iter().any(|(name, _)| *name == POLICY_NAME);
        for (name, child) in names {
            entries.push(FolderEntry {
                inode: child,
                kind: kind_of(snapshot, child),
                name,
            });
        }
        if inode == ROOT {
            if is_new && self.drafts.visible_bytes().is_some() {
                entries.push(FolderEntry {
                    inode: POLICY,
                    kind: Kind::File,
                    name: OsString::from(POLICY_NAME),
                });
            }
            entries.extend(self.scratch.entries());
        }
        Ok(Opened {
            handle: self.handles.add(Handle::Folder(entries)),
            data: Data::Folder,
        })
    }

    /// Hands the names from a position on to `take`, each with the position after it, until it returns `Full`.
    ///
    /// # Errors
    /// Returns an error where the handle is no open folder.
    pub fn readdir(
        &self,
        handle: u64,
        position: u64,
        take: &mut dyn FnMut(&FolderEntry, u64) -> Room,
    ) -> Result<(), FsError> {
        let handle = self.handles.get(handle)?;
        let Handle::Folder(entries) = &*handle else {
            return Err(FsError::NotADirectory);
        };
        let skipped = usize::try_from(position).unwrap_or(usize::MAX);
        for (entry, next) in entries.iter().zip(1_u64..).skip(skipped) {
            if take(entry, next) == Room::Full {
                break;
            }
        }
        Ok(())
    }

    /// Says what stat says of a name that a folder lists.
    ///
    /// # Errors
    /// Returns an error where it is no longer there.
    pub fn stat_listed(&self, snapshot: &Snapshot, entry: &FolderEntry) -> Result<Stat, FsError> {
        self.getattr(snapshot, entry.inode, None)
    }
}

/// Tells whether an answer has room for another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It has.
    Left,
    /// The last name did not fit.
    Full,
}

fn kind_of(snapshot: &Snapshot, inode: u64) -> Kind {
    match snapshot.tree.entry(inode).map(|entry| entry.node) {
        Some(Node::Directory) => Kind::Directory,
        Some(Node::Link(_)) => Kind::Link,
        _ => Kind::File,
    }
}
