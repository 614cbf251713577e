//! Settings: notation's configuration on disk, read and written bit-compatibly.
//!
//! Everything read here is trusted, so it is refused where everybody could have written it. Nothing is ever read from a layout or from
//! beside one. Not here: what policies and certificates mean (`notary`), how files are opened and replaced (`files`).

mod error;
mod generate;
mod keys;
mod place;
mod policy;
mod preferences;
mod signer;
mod stamp;
mod stores;

pub use error::SettingsError;
pub use generate::{GeneratedTest, RSA_BITS_DEFAULT, generate_test};
pub use keys::{KeyEntry, KeyList, KeySource, add_key, read_keys, remove_keys, set_default};
pub use place::ConfigDir;
pub use policy::{Force, ImportedPolicy, PolicyFile, import_policy, read_policy, read_policy_file};
pub use preferences::{Preferences, read_preferences};
pub use signer::{LastChain, load_pair, load_signer, load_signer_outside};
pub use stamp::{SettingsStamp, StampTaker, stamp};
pub use stores::{
    StoredFile, add_certificate, delete_certificate, delete_store, list_certificates, read_anchors,
    show_certificate,
};

#[cfg(test)]
mod tests;
