//! What a node is and what stat says of it.

use std::path::PathBuf;
use std::sync::Arc;

use super::later::Later;
use crate::layout::{FileFacts, Timestamp};
use crate::oci::Digest;

/// Is one entry of a tree.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its inode number.
    pub inode: u64,
    /// The folder it is in (the root is in itself).
    pub parent: u64,
    /// What it is.
    pub node: Node,
    /// What stat says.
    pub attributes: Attributes,
}

/// Tells what a node is and where its bytes are.
#[derive(Debug, Clone)]
pub enum Node {
    /// A folder.
    Directory,
    /// A symlink and its target, never followed here.
    Link(PathBuf),
    /// A stored blob.
    Blob(Digest),
    /// `oci-layout` or an extra file, by its path below the layout's root.
    File(PathBuf),
    /// `index.json`, as the snapshot read it.
    Index(Arc<[u8]>),
    /// A file that exists in the mount only.
    Rendered(View, Arc<[u8]>),
    /// The same, rendered when it is asked for.
    Later(View, Later),
    /// A file that acts when it is written or touched; its bytes are what a reader sees.
    Control(Control, Arc<[u8]>),
}

/// Lists the rendered files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// `verify-status`, `verify-status.json`, of the layout or of one image.
    Status,
    /// A file below `signatures/`.
    Signature,
}

/// Lists the control files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// `sign`.
    Sign,
    /// `images/TAG/sign` of the image with this digest.
    SignImage(Digest),
    /// `trustpolicy.json`.
    Policy,
}

/// Is what stat says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Size in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of links.
    pub links: u32,
    /// Modification time.
    pub modified: Timestamp,
    /// Change time.
    pub changed: Timestamp,
}

impl Attributes {
    /// Returns the attributes of a layout file: the backing file's, without write bits.
    #[must_use]
    pub fn of_file(facts: &FileFacts) -> Self {
        Self::of(facts, 0o555, 1)
    }

    /// Returns the attributes of a layout folder: the backing folder's, without write bits.
    #[must_use]
    pub fn of_folder(facts: &FileFacts) -> Self {
        Self {
            size: 0,
            ..Self::of(facts, 0o555, 2)
        }
    }

    /// Returns the attributes of a symlink.
    #[must_use]
    pub fn of_link(facts: &FileFacts, target_bytes: usize) -> Self {
        Self {
            size: u64::try_from(target_bytes).unwrap_or_default(),
            mode: 0o777,
            ..Self::of(facts, 0o777, 1)
        }
    }

    fn of(facts: &FileFacts, mask: u32, links: u32) -> Self {
        Self {
            size: facts.size,
            mode: u16::try_from(facts.mode & mask).unwrap_or(0o444),
            uid: facts.uid,
            gid: facts.gid,
            links,
            modified: facts.modified,
            changed: facts.changed,
        }
    }
}

impl Node {
    /// Returns the bytes of a node that holds them itself.
    #[must_use]
    pub fn bytes(&self) -> Option<&Arc<[u8]>> {
        match self {
            Self::Index(bytes) | Self::Rendered(_, bytes) | Self::Control(_, bytes) => Some(bytes),
            Self::Directory | Self::Link(_) | Self::Blob(_) | Self::File(_) | Self::Later(..) => {
                None
            }
        }
    }
}
