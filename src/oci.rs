//! OCI documents and names: digests, descriptors, manifests, indexes, references, the graph, strict JSON.
//!
//! Pure: bytes in, values out. The base types every room shares (`UnixTime`, `Progress`) live here too.
//! Not here: where bytes come from (`layout`), signatures (`notary`).

mod annotations;
mod causes;
pub mod descriptor;
pub mod digest;
pub mod graph;
pub mod image_config;
pub mod json;
pub mod limits;
pub mod manifest;
pub mod media_type;
mod members;
pub mod progress;
pub mod rank;
pub mod reference;
pub mod time;

pub use annotations::Annotations;
pub use causes::causes;
pub use descriptor::{Described, Descriptor, More, Platform};
pub use digest::{Algorithm, Digest, DigestError, HEX_BYTES_MAX, Hasher, write_hex};
pub use graph::{Closure, Fetched, Graph, Image, Referrer};
pub use image_config::{ImageConfig, ImageConfigError};
pub use json::JsonError;
pub use manifest::{Document, DocumentError, ImageIndex, ImageManifest};
pub use progress::{NoProgress, Progress};
pub use reference::{Name, Reference, ReferenceError, Scope, ScopeError};
pub use time::UnixTime;
