//! signetfs mounts an OCI image layout as a filesystem whose signatures are files.
//!
//! The rooms and the arrows between them are described in docs/ARCHITECTURE.md; arrows point down this list only.
//! Pure rooms (`oci`, `notary`, `report`, `tree`) take bytes and a time and return values.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap,
        reason = "a test fails by panicking"
    )
)]

pub mod sync;
pub mod http;
pub mod registry;
pub mod fs;
pub mod fuse;
pub mod tree;
pub mod signing;
pub mod audit;
pub mod settings;
pub mod layout;
pub mod report;
pub mod notary;
pub mod files;
pub mod oci;
pub mod clock;
pub mod sys;
pub mod text;
