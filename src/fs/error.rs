//! Why an operation is refused. Numbers for the kernel are in `fuse/errno.rs` alone.

use std::io;
use std::sync::Arc;

use crate::layout::{HashError, SourceError};
use crate::oci::Digest;

/// Says why an operation is refused. Cloned where a later close has to repeat the answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FsError {
    /// No such name.
    #[error("no such file")]
    NotFound,
    /// The inode is no longer in the tree.
    #[error("the file is no longer in the mount")]
    StaleInode,
    /// The mount's own process asks: its settings lead into the mount.
    #[error("the settings lead into the mount that they are for")]
    OwnLook,
    /// The handle is not open.
    #[error("unknown handle")]
    UnknownHandle,
    /// A folder is needed.
    #[error("not a folder")]
    NotADirectory,
    /// A folder cannot be used so.
    #[error("is a folder")]
    IsADirectory,
    /// The name is taken.
    #[error("the name exists")]
    Exists,
    /// The name has more than 255 bytes.
    #[error("the name is too long")]
    NameTooLong,
    /// Content of the layout does not change through the mount.
    #[error("layout content is read-only")]
    ReadOnlyContent,
    /// A status is only read.
    #[error("a status is only read")]
    ReadOnlyStatus,
    /// The operation is not for control files.
    #[error("not allowed on a control file")]
    ControlName,
    /// The policy follows a file, or the mount is read-only.
    #[error("the policy of this mount is pinned")]
    Pinned,
    /// Another uid than those that may.
    #[error("uid {uid} may neither sign nor write the policy")]
    WrongUid {
        /// Who tried.
        uid: u32,
    },
    /// The policy is refused.
    #[error("trust policy refused: {reason}")]
    MalformedPolicy {
        /// Why.
        reason: String,
    },
    /// The document ends early.
    #[error("trust policy refused: the document is incomplete")]
    IncompletePolicy,
    /// The request line is refused.
    #[error("request refused: {reason}")]
    MalformedRequest {
        /// Why.
        reason: String,
    },
    /// No key, or it cannot be used.
    #[error("no signing key: {reason}")]
    NoKey {
        /// Why.
        reason: String,
    },
    /// The certificate is not valid now.
    #[error("signing certificate expired: {reason}")]
    KeyExpired {
        /// Why.
        reason: String,
    },
    /// The certificate chain may not sign.
    #[error("signing certificate refused: {reason}")]
    KeyRejected {
        /// Why.
        reason: String,
    },
    /// There is no image.
    #[error("the layout has no image to sign")]
    NothingToSign,
    /// The image cannot be signed as it is.
    #[error("not signed: {reason}")]
    Unsignable {
        /// Why.
        reason: String,
    },
    /// The image is still being hashed.
    #[error("not signed: the image is still being hashed, try again")]
    StillHashing,
    /// Another writer holds the layout.
    #[error("not signed: {reason}")]
    Locked {
        /// Who.
        reason: String,
    },
    /// The layout takes no signatures.
    #[error("not signed: the layout is read-only")]
    ReadOnlyLayout,
    /// The layout could not be written.
    #[error("not signed: {reason}")]
    Write {
        /// What failed.
        reason: String,
        /// Why.
        source: Arc<SourceError>,
    },
    /// More bytes than the file may have.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// No room for more scratch files.
    #[error("no room for scratch files")]
    ScratchFull,
    /// A blob does not match its name.
    #[error("blob {digest} does not match its name")]
    Corrupt {
        /// The blob.
        digest: Digest,
        /// Why.
        source: Arc<HashError>,
    },
    /// A blob changed while a handle on it is open.
    #[error("blob {digest} changed while it is open")]
    Changed {
        /// The blob.
        digest: Digest,
    },
    /// The layout cannot be read.
    #[error("reading the layout")]
    Layout(#[source] Arc<SourceError>),
    /// A file cannot be read.
    #[error("reading {name}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// No such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// The attribute is of a kind that does not exist here.
    #[error("attributes of this kind are not supported")]
    UnsupportedAttribute,
    /// The kind of rename is not supported.
    #[error("this kind of rename is not supported")]
    UnsupportedRename,
    /// The operation failed in a way that is a defect of this program.
    #[error("internal error")]
    Panicked,
}

impl FsError {
    /// Returns whether the refusal is one that `sign` and the status tell about.
    #[must_use]
    pub fn is_told(&self) -> bool {
        !matches!(
            self,
            Self::WrongUid { .. } | Self::Pinned | Self::ControlName
        )
    }
}
