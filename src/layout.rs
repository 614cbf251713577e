//! A layout, wherever its bytes are: `Source` reads, `Store` adds, `Hashes` knows what was hashed.
//!
//! Not here: what manifests mean (`oci`), signatures (`notary`), verdicts (`report`).

pub mod blob;
pub mod compressed;
pub mod directory;
pub mod hashes;
mod names;
pub mod overlay;
pub mod source;
pub mod tar;
pub mod union;

pub use blob::{Blob, Identity, Timestamp};
pub use directory::Directory;
pub use hashes::{HashError, Hashes, Known, Lease, Look, Memory, VerifiedBlob};
pub use overlay::Overlay;
pub use source::{
    Addition, Committed, Extra, ExtraKind, FileFacts, Ignored, IndexBytes, Listing, Source,
    SourceError, Stamp, Store, StoredBlob,
};
pub use tar::{STANDARD_INPUT, Tar};
pub use union::Union;
