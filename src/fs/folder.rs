//! Reading folders: the names as they were at opening, each position an offset.

use std::ffi::{OsStr, OsString};

use super::handles::Handle;
use super::names::POLICY_NAME;
use super::open::{Data, Opened};
use super::{Fs, FsError, Kind, Snapshot, Stat};
use crate::tree::inode::{POLICY, ROOT};
use crate::tree::{BlobNames, Node};

/// Is one name of a folder.
#[derive(Debug, Clone, Copy)]
pub struct FolderEntry<'n> {
    /// The inode number.
    pub inode: u64,
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: &'n OsStr,
}

/// Is an open folder: the names of its opening. Those of blobs follow the others, and are made when they are read.
#[derive(Debug)]
pub(super) struct OpenFolder {
    others: Vec<Listed>,
    blobs: BlobNames,
}

/// Is a name that is held as one.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) inode: u64,
    pub(super) kind: Kind,
    pub(super) name: OsString,
}

impl Fs {
    /// Opens a folder.
    ///
    /// # Errors
    /// Returns an error where the inode is no folder.
    pub fn opendir(&self, snapshot: &Snapshot, inode: u64) -> Result<Opened, FsError> {
        let entry = snapshot.tree.entry(inode).ok_or(FsError::StaleInode)?;
        let names = snapshot.tree.names(inode).ok_or(FsError::NotADirectory)?;
        let dot = |name: &str, inode| Listed {
            inode,
            kind: Kind::Directory,
            name: OsString::from(name),
        };
        let mut others = vec![dot(".", inode), dot("..", entry.parent)];
        let is_new = !names.others.iter().any(|(name, _)| *name == POLICY_NAME);
        others.extend(names.others.into_iter().map(|(name, child)| Listed {
            inode: child,
            kind: kind_of(snapshot, child),
            name,
        }));
        if inode == ROOT {
            if is_new && self.drafts.visible_bytes().is_some() {
                others.push(Listed {
                    inode: POLICY,
                    kind: Kind::File,
                    name: OsString::from(POLICY_NAME),
                });
            }
            others.extend(self.scratch.entries());
        }
        let folder = OpenFolder {
            others,
            blobs: names.blobs,
        };
        Ok(Opened {
            handle: self.handles.add(Handle::Folder(folder)),
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
        take: &mut dyn FnMut(&FolderEntry<'_>, u64) -> Room,
    ) -> Result<(), FsError> {
        let handle = self.handles.get(handle)?;
        let Handle::Folder(folder) = &*handle else {
            return Err(FsError::NotADirectory);
        };
        folder.read(position, take);
        Ok(())
    }

    /// Says what stat says of a name that a folder lists.
    ///
    /// # Errors
    /// Returns an error where it is no longer there.
    pub fn stat_listed(
        &self,
        snapshot: &Snapshot,
        entry: &FolderEntry<'_>,
    ) -> Result<Stat, FsError> {
        self.getattr(snapshot, entry.inode, None)
    }
}

impl OpenFolder {
    fn read(&self, position: u64, take: &mut dyn FnMut(&FolderEntry<'_>, u64) -> Room) {
        let skipped = usize::try_from(position).unwrap_or(usize::MAX);
        let mut next = position;
        let mut has_room = |inode, kind, name: &OsStr| {
            next = next.saturating_add(1);
            take(&FolderEntry { inode, kind, name }, next) == Room::Left
        };
        for listed in self.others.iter().skip(skipped) {
            if !has_room(listed.inode, listed.kind, &listed.name) {
                return;
            }
        }
        let skipped = skipped.saturating_sub(self.others.len());
        self.blobs
            .each_from(skipped, |name, inode| has_room(inode, Kind::File, name));
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
