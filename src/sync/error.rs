//! Why a push did not end well.

use std::path::PathBuf;

use crate::files::FileError;
use crate::layout::SourceError;
use crate::oci::Digest;
use crate::registry::RegistryError;

use super::plan::PlanError;
use super::pool::Cancelled;

/// Says why a push did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// It cannot be planned.
    #[error("planning the push")]
    Plan(#[source] PlanError),
    /// The layout cannot be read.
    #[error("reading the layout")]
    Source(#[source] SourceError),
    /// The registry did not do it.
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// A blob is neither in the layout nor in the registry.
    #[error("blob {digest} is in the layout no more than in the registry")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// A blob has another size than its descriptor says.
    #[error(
        "blob {digest} has {found} bytes, not {expected}: nothing of it was created in the registry"
    )]
    Size {
        /// The blob.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What is stored.
        found: u64,
    },
    /// A digest cannot be verified here, so its content cannot be sent safely.
    #[error("blob {digest}: this digest cannot be verified")]
    Unverifiable {
        /// The blob.
        digest: Digest,
    },
    /// A referrer was pushed and a verifier would not find it.
    #[error(transparent)]
    NotDiscoverable(Box<Undiscovered>),
    /// A file of the layout cannot be written.
    #[error("writing the layout")]
    File(#[source] FileError),
    /// A folder is there that is no layout.
    #[error("{path} holds other files: it is not an OCI image layout, nor an empty folder")]
    NotALayout {
        /// The folder.
        path: PathBuf,
    },
    /// A tag was not set.
    #[error("tag {tag}: {problem}")]
    Tag {
        /// The tag.
        tag: String,
        /// What is wrong.
        problem: String,
        /// What the registry said.
        #[source]
        source: Option<Box<RegistryError>>,
    },
}

/// Is a referrer that a verifier would not find.
#[derive(Debug, thiserror::Error)]
#[error("{referrer} refers to {subject}, and the registry does not list it: {problem}")]
pub struct Undiscovered {
    /// The image.
    pub subject: Digest,
    /// The referrer.
    pub referrer: Digest,
    /// What was seen.
    pub problem: String,
    /// Why it could not be listed, where the registry said.
    #[source]
    pub source: Option<Box<RegistryError>>,
}

impl From<RegistryError> for SyncError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<Cancelled> for SyncError {
    fn from(_: Cancelled) -> Self {
        RegistryError::Cancelled {
            doing: "sending what the registry lacks".to_owned(),
        }
        .into()
    }
}
