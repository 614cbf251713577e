//! What a mount may not fetch itself: trust, signer and clock, handed in by `cli`; and the options of a mount.

use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::Trust;
use crate::layout::{Hashes, Source, Store};
use crate::notary::{Anchors, EnvelopeFormat, Policy, Signer};
use crate::oci::{Scope, UnixTime};
use crate::report::ScopeOrigin;
use crate::settings::{SettingsError, SettingsStamp};

/// Is the trust of the configuration, read at one moment, and the policy's bytes as they are shown in the mount.
#[derive(Debug, Clone)]
pub struct ConfiguredTrust {
    /// What is trusted.
    pub trust: Trust,
    /// The bytes of the policy file, where there is one (also one that is refused).
    pub policy_bytes: Option<Arc<[u8]>>,
}

/// Offers what `fs` may not fetch itself. Called from any thread; none of it may touch the mount.
pub trait Inputs: Send + Sync {
    /// Returns the stamp of policy, trust stores and key list.
    fn stamp(&self) -> SettingsStamp;
    /// Returns the trust of the configuration, or of `--policy FILE`.
    fn trust(&self) -> ConfiguredTrust;
    /// Returns the trust stores that a policy written into the mount names.
    fn anchors(&self, policy: &Policy) -> Anchors;
    /// Returns the signer with this name, or the default one.
    ///
    /// # Errors
    /// Says why the key cannot be used.
    fn signer(&self, name: Option<&str>) -> Result<Arc<dyn Signer>, SettingsError>;
    /// Returns the format of signatures for requests that name none.
    ///
    /// # Errors
    /// Says why the preferences cannot be read.
    fn signature_format(&self) -> Result<EnvelopeFormat, SettingsError>;
    /// Returns the present time.
    fn now(&self) -> UnixTime;
    /// Tells the device number of the mount, once it is there: none of these may ask for a name in it, because whoever answers
    /// waits for them.
    fn avoid(&self, device: u64);
}

/// Is the layout that is mounted, opened before mounting (an over-mounted directory is read through its descriptor).
#[derive(Clone)]
pub enum Layout {
    /// It takes no signatures.
    ReadOnly(Arc<dyn Source>),
    /// It takes signatures.
    Writable(Arc<dyn Store>),
}

impl Layout {
    /// Returns the layout for reading.
    #[must_use]
    pub fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::ReadOnly(source) => Arc::clone(source),
            Self::Writable(store) => Arc::clone(store) as Arc<dyn Source>,
        }
    }

    /// Returns the layout for adding, if it takes additions.
    #[must_use]
    pub fn store(&self) -> Option<Arc<dyn Store>> {
        match self {
            Self::ReadOnly(_) => None,
            Self::Writable(store) => Some(Arc::clone(store)),
        }
    }
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::ReadOnly(_) => "ReadOnly",
            Self::Writable(_) => "Writable",
        })
    }
}

/// Tells how blobs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reads {
    /// Passthrough where it is safe, else checked.
    #[default]
    Auto,
    /// Every chunk is compared with its hash (`--reads checked`).
    Checked,
}

/// Tells whether `sign` exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignFile {
    /// It does.
    #[default]
    Present,
    /// It does not (`--no-sign`, `--read-only`).
    Absent,
}

/// Tells whether `images/` exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// It does.
    #[default]
    Present,
    /// It does not (`--no-links`).
    Absent,
}

/// Tells whether the policy in the mount can be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PolicyFile {
    /// It can.
    #[default]
    Writable,
    /// It follows `--policy FILE`.
    Pinned(PathBuf),
    /// The mount is read-only.
    ReadOnly,
}

/// Is everything about a mount that does not change while it lives.
#[derive(Debug, Clone)]
pub struct Options {
    /// The layout's absolute path, for people.
    pub layout_path: PathBuf,
    /// The overlay's absolute path, where there is one.
    pub overlay_path: Option<PathBuf>,
    /// notation's configuration folder, for people.
    pub config_path: PathBuf,
    /// Files and folders that the serving process itself uses: none of them may lie in the mount.
    pub own_paths: Vec<PathBuf>,
    /// The scope that statements are chosen by.
    pub scope: Option<Scope>,
    /// Where the scope came from.
    pub scope_origin: ScopeOrigin,
    /// The uid that runs the mount.
    pub uid: u32,
    /// Its gid.
    pub gid: u32,
    /// Other uids that may sign and write the policy (`--sign-uid`).
    pub sign_uids: Vec<u32>,
    /// Whether `sign` exists.
    pub sign: SignFile,
    /// Whether `images/` exists.
    pub links: Links,
    /// Whether the policy can be written.
    pub policy: PolicyFile,
    /// How blobs are read.
    pub reads: Reads,
    /// How many signatures of one image are judged.
    pub max_signatures: usize,
}

/// Is what a mount is made of.
pub struct Parts {
    /// The layout.
    pub layout: Layout,
    /// What was hashed.
    pub hashes: Arc<Hashes>,
    /// What the mount may not fetch itself.
    pub inputs: Arc<dyn Inputs>,
    /// Options.
    pub options: Options,
}
