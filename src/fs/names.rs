//! Looking names up and saying what stat says.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::handles::Handle;
use super::refresh::observed_at;
use super::workers::lock;
use super::{Fs, FsError, Snapshot};
use crate::layout::Blob;
use crate::oci::Algorithm;
use crate::tree::inode::{self, POLICY, ROOT, SCRATCH_FIRST};
use crate::tree::{Attributes, Entry, Node, Tree, times};

/// The name of the policy in the root.
pub(super) const POLICY_NAME: &str = "trustpolicy.json";
/// The most bytes of a name.
pub const NAME_BYTES_MAX: u32 = 255;

/// Tells what kind of file stat shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A symlink.
    Link,
    /// A regular file.
    File,
}

/// Tells how long the kernel may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It asks each time.
    None,
    /// The folders of blobs: paths lead through them all the time, and their names are asked for each time all the same.
    Short,
    /// Blobs: their name says what they hold.
    Long,
}

/// Is what a lookup or stat answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The inode number.
    pub inode: u64,
    /// The number under which the kernel asks about it: that of a version, or the inode number.
    pub number: u64,
    /// The kind.
    pub kind: Kind,
    /// The attributes.
    pub attributes: Attributes,
    /// How long it stands.
    pub lifetime: Lifetime,
}

/// Is what statfs answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of all files.
    pub bytes: u64,
    /// Number of files and folders.
    pub files: u64,
}

/// Returns whether an entry is the root, `blobs` or a folder in it.
fn is_blob_folder(entry: &Entry) -> bool {
    let blobs = inode::of_path(b"blobs");
    entry.inode == ROOT || entry.inode == blobs || entry.parent == blobs
}

/// Returns the root, `blobs` and the folders in it.
pub(super) fn blob_folders(tree: &Tree) -> Vec<u64> {
    let mut inodes = vec![ROOT];
    if let Some(blobs) = tree.child(ROOT, OsStr::new("blobs")) {
        inodes.push(blobs.inode);
        let homes = Algorithm::ALL
            .into_iter()
            .filter_map(|algorithm| tree.child(blobs.inode, OsStr::new(algorithm.name())));
        inodes.extend(homes.map(|home| home.inode));
    }
    inodes
}

/// Returns whether the kernel keeps what it was told of an entry: blobs, and the folders on the way to them.
pub(super) fn is_kept(entry: &Entry) -> bool {
    match entry.node {
        Node::Blob(_) => true,
        Node::Directory => is_blob_folder(entry),
        _ => false,
    }
}

/// Refuses names that no file can have.
pub(super) fn check_name(name: &OsStr) -> Result<(), FsError> {
    match u32::try_from(name.len()) {
        Ok(length) if length <= NAME_BYTES_MAX => Ok(()),
        _ => Err(FsError::NameTooLong),
    }
}

impl Fs {
    /// Returns whether the present snapshot answers a lookup, however old it is: a blob is what its name says, unless something else
    /// was found.
    #[must_use]
    pub fn names_a_blob(&self, folder: u64, name: &OsStr) -> bool {
        let snapshot = self.current();
        let entry = snapshot.tree.child(folder, name);
        !self.is_in_doubt() && entry.is_some_and(|entry| matches!(entry.node, Node::Blob(_)))
    }

    /// Returns whether an inode is a blob of the present snapshot.
    #[must_use]
    pub fn is_blob(&self, inode: u64) -> bool {
        let snapshot = self.current();
        let entry = snapshot.tree.entry(inode);
        !self.is_in_doubt() && entry.is_some_and(|entry| matches!(entry.node, Node::Blob(_)))
    }

    /// Looks a name up.
    ///
    /// # Errors
    /// Returns an error where there is no such name, or the folder is none.
    pub fn lookup(&self, snapshot: &Snapshot, folder: u64, name: &OsStr) -> Result<Stat, FsError> {
        check_name(name)?;
        if let Some(entry) = snapshot.tree.child(folder, name) {
            return Ok(self.stat_found(&snapshot.tree, &entry));
        }
        match snapshot.tree.entry(folder).map(|entry| entry.node) {
            Some(Node::Directory) => {}
            Some(_) => return Err(FsError::NotADirectory),
            None => return Err(FsError::StaleInode),
        }
        if folder == ROOT {
            return self.lookup_beside(snapshot, name);
        }
        Err(FsError::NotFound)
    }

    /// Looks up what is in the root beside the tree: a policy being written for the first time, scratch files.
    fn lookup_beside(&self, snapshot: &Snapshot, name: &OsStr) -> Result<Stat, FsError> {
        if name == POLICY_NAME {
            let bytes = self.drafts.visible_bytes().ok_or(FsError::NotFound)?;
            return Ok(self.draft_stat(snapshot, bytes));
        }
        self.scratch.stat_name(name).ok_or(FsError::NotFound)
    }

    /// Says what stat says of an inode, or of an open handle on it.
    ///
    /// # Errors
    /// Returns an error where the inode is no longer there.
    pub fn getattr(
        &self,
        snapshot: &Snapshot,
        inode: u64,
        handle: Option<u64>,
    ) -> Result<Stat, FsError> {
        let handle = handle.and_then(|number| self.handles.find(number));
        match handle.as_deref() {
            Some(Handle::Policy(draft)) => {
                // A draft that is being judged is locked; the policy in force is the answer then.
                let bytes = draft.try_lock().ok().and_then(|draft| draft.staged_bytes());
                if let Some(bytes) = bytes {
                    return Ok(self.draft_stat(snapshot, bytes));
                }
            }
            Some(Handle::Scratch(file)) => return Ok(lock(file).stat()),
            Some(Handle::Version(version, _)) => return Ok(version.stat(Lifetime::Long)),
            _ => {}
        }
        if self.is_version(inode) {
            return self.stat_version(inode);
        }
        if let Some(entry) = snapshot.tree.entry(inode) {
            return Ok(self.stat_of(&snapshot.tree, &entry));
        }
        if inode == POLICY {
            let bytes = self.drafts.visible_bytes().ok_or(FsError::StaleInode)?;
            return Ok(self.draft_stat(snapshot, bytes));
        }
        if inode >= SCRATCH_FIRST {
            return self.scratch.stat_inode(inode).ok_or(FsError::StaleInode);
        }
        Err(FsError::StaleInode)
    }

    /// Returns the target of a symlink.
    ///
    /// # Errors
    /// Returns an error where the inode is no symlink.
    pub fn readlink(&self, snapshot: &Snapshot, inode: u64) -> Result<Vec<u8>, FsError> {
        match snapshot.tree.entry(inode).map(|entry| entry.node) {
            Some(Node::Link(target)) => Ok(target.as_os_str().as_bytes().to_vec()),
            _ => Err(FsError::StaleInode),
        }
    }

    /// Returns how much the mount shows.
    #[must_use]
    pub fn space(&self, snapshot: &Snapshot) -> Space {
        Space {
            bytes: snapshot.tree.bytes(),
            files: u64::try_from(snapshot.tree.len()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn stat_of(&self, tree: &Tree, entry: &Entry) -> Stat {
        let (kind, lifetime) = match &entry.node {
            Node::Directory if is_blob_folder(entry) => (Kind::Directory, Lifetime::Short),
            Node::Directory => (Kind::Directory, Lifetime::None),
            Node::Link(_) => (Kind::Link, Lifetime::None),
            Node::Blob(_) => (Kind::File, Lifetime::Long),
            Node::File(_)
            | Node::Index(_)
            | Node::Rendered(..)
            | Node::Later(..)
            | Node::Control(..) => (Kind::File, Lifetime::None),
        };
        let attributes = match &entry.node {
            Node::File(path) => self.present_attributes(path, entry.attributes),
            Node::Blob(_) => self.blob_attributes(entry.inode, tree.attributes_of(entry)),
            _ => tree.attributes_of(entry),
        };
        Stat {
            inode: entry.inode,
            number: entry.inode,
            kind,
            attributes,
            lifetime,
        }
    }

    fn blob_attributes(&self, inode: u64, listed: Attributes) -> Attributes {
        let open = self.size_while_open(inode).unwrap_or(0);
        Attributes {
            size: listed.size.max(open),
            ..listed
        }
    }

    /// Returns the attributes of an extra as they are now: it may grow without any folder or index changing.
    fn present_attributes(&self, path: &Path, listed: Attributes) -> Attributes {
        match self.source.file(path) {
            Ok(Some(Blob::File {
                size,
                identity,
                offset: 0,
                ..
            })) if size == identity.size => Attributes {
                size,
                modified: identity.modified,
                changed: identity.changed,
                ..listed
            },
            _ => listed,
        }
    }

    /// Returns what stat says of a policy that was emptied without being opened: there is none any more.
    pub(super) fn emptied_policy(&self) -> Stat {
        let now = self.current();
        let shown = self.getattr(&now, POLICY, None);
        shown.unwrap_or_else(|_| self.draft_stat(&now, 0))
    }

    /// Returns what stat says of a policy that is being written.
    fn draft_stat(&self, snapshot: &Snapshot, bytes: u64) -> Stat {
        let time = times::timestamp(observed_at(snapshot));
        let mode = if self.options.sign_uids.is_empty() {
            0o644
        } else {
            0o666
        };
        Stat {
            inode: POLICY,
            number: POLICY,
            kind: Kind::File,
            attributes: Attributes {
                size: bytes,
                mode,
                uid: self.options.uid,
                gid: self.options.gid,
                links: 1,
                modified: time,
                changed: time,
            },
            lifetime: Lifetime::None,
        }
    }
}
