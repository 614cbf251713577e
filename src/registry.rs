//! A client of the distribution protocol for one repository: blobs, manifests, referrers, credentials.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>
//!
//! Not here: what is pushed and in which order (`sync`), connections and TLS (`http`).

pub mod answer;
pub mod auth;
pub mod blobs;
pub mod body;
pub mod call;
pub mod challenge;
pub mod credentials;
pub mod download;
pub mod error;
pub mod fallback;
pub mod helper;
pub mod keeping;
pub mod manifests;
pub mod name;
pub mod options;
mod redirect;
pub mod referrers;
mod refusals;
pub mod remote;
pub mod session;
mod transfer;
pub mod upload;

pub use answer::Answer;
pub use credentials::{Credential, CredentialError, CredentialKind, Finder};
pub use error::RegistryError;
pub use name::{RegistryReference, RegistryReferenceError};
pub use options::{Access, Counts, Options, SchemeChoice};
pub use remote::{Depth, Remote};
pub use session::Registry;
pub use upload::{Trusted, Upload};
