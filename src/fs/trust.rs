//! What is trusted in a mount: its own policy, else the configuration's.

use std::sync::Arc;

use super::Fs;
use super::control::MountPolicy;
use crate::audit::{PolicyState, Trust};
use crate::notary::Anchors;
use crate::report::{PolicyId, PolicyOrigin};
use crate::tree::PolicyText;

impl Fs {
    /// Returns what is trusted: the policy written into the mount, else the configuration's.
    pub(super) fn trust(&self, policy: &MountPolicy) -> (Arc<Trust>, Option<PolicyText>) {
        match policy {
            MountPolicy::Configured => {
                let configured = self.inputs.trust();
                let text = configured.policy_bytes.map(|bytes| PolicyText {
                    bytes,
                    written: None,
                });
                (Arc::new(configured.trust), text)
            }
            MountPolicy::Removed => (Arc::new(no_trust()), None),
            MountPolicy::Written(written) => {
                let trust = Trust {
                    policy: PolicyState::Valid(written.policy.clone()),
                    id: PolicyId {
                        origin: PolicyOrigin::Mount,
                        path: None,
                        sha256: Some(written.sha256.clone()),
                        shadowed: false,
                    },
                    anchors: self.inputs.anchors(&written.policy),
                };
                let text = PolicyText {
                    bytes: Arc::clone(&written.bytes),
                    written: Some(written.at),
                };
                (Arc::new(trust), Some(text))
            }
        }
    }
}

fn no_trust() -> Trust {
    Trust {
        policy: PolicyState::None,
        id: PolicyId {
            origin: PolicyOrigin::None,
            path: None,
            sha256: None,
            shadowed: false,
        },
        anchors: Anchors::default(),
    }
}
