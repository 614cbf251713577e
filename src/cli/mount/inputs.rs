//! What a mount asks for while it lives: trust, keys and time, from notation's configuration.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::trust;
use crate::fs::{ConfiguredTrust, Inputs};
use crate::notary::{Anchors, EnvelopeFormat, Policy, Signer};
use crate::oci::UnixTime;
use crate::settings::{self, ConfigDir, LastChain, SettingsError, SettingsStamp, StampTaker};

/// Answers from a configuration folder, or with the policy of `--policy FILE`.
pub(super) struct Configured {
    /// The folder.
    pub(super) config: ConfigDir,
    /// The policy file that the mount follows.
    pub(super) pinned: Option<PathBuf>,
    /// The layout, which keys must not lie in.
    pub(super) layout: PathBuf,
    /// The chain that was signed with last.
    pub(super) chain: LastChain,
    /// Takes the stamps.
    pub(super) stamps: StampTaker,
}

impl Inputs for Configured {
    fn stamp(&self) -> SettingsStamp {
        self.stamps.stamp(&self.config, self.pinned.as_deref())
    }

    fn trust(&self) -> ConfiguredTrust {
        let misled = |path: &&PathBuf| self.config.leads_into_mount(path);
        if let Some(path) = self.pinned.as_ref().filter(misled) {
            return ConfiguredTrust {
                trust: trust::misled(path),
                policy_bytes: None,
            };
        }
        let (trust, policy_bytes) = trust::read_with_bytes(&self.config, self.pinned.as_deref());
        if !trust.is_read() {
            self.stamps.doubt();
        }
        ConfiguredTrust {
            trust,
            policy_bytes,
        }
    }

    fn anchors(&self, policy: &Policy) -> Anchors {
        let anchors = settings::read_anchors(&self.config, policy);
        if !anchors.is_read() {
            self.stamps.doubt();
        }
        anchors
    }

    fn signer(&self, name: Option<&str>) -> Result<Arc<dyn Signer>, SettingsError> {
        let (signer, _warnings) =
            settings::load_signer_outside(&self.layout, &self.config, name, &self.chain)?;
        Ok(Arc::new(signer))
    }

    fn signature_format(&self) -> Result<EnvelopeFormat, SettingsError> {
        let preferences = settings::read_preferences(&self.config)?;
        Ok(preferences.signature_format.unwrap_or(EnvelopeFormat::Jws))
    }

    fn now(&self) -> UnixTime {
        crate::clock::now()
    }

    fn avoid(&self, device: u64) {
        self.config.avoid(device);
    }
}
