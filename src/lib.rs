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

pub mod audit;
pub mod cli;
pub mod clock;
pub mod export;
pub mod files;
pub mod fs;
pub mod fuse;
pub mod http;
pub mod layout;
pub mod notary;
pub mod oci;
pub mod registry;
pub mod report;
pub mod settings;
pub mod signing;
pub mod sync;
pub mod sys;
pub mod text;
pub mod tree;
