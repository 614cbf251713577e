//! What was written into the mount and stays while it lives: the policy, and the reason of the last refusal.

use std::sync::Arc;

use super::error::FsError;
use super::inputs::PolicyFile;
use super::workers::lock;
use super::{Caller, Fs};
use crate::notary::Policy;
use crate::oci::limits::POLICY_BYTES_MAX;
use crate::oci::{Digest, UnixTime, causes};

/// Is the policy of a mount.
#[derive(Debug, Clone)]
pub(super) enum MountPolicy {
    /// The configuration's, or the file's of `--policy`.
    Configured,
    /// It was removed.
    Removed,
    /// It was written.
    Written(Arc<Written>),
}

/// Is a policy that was written into the mount and is in force.
#[derive(Debug)]
pub(super) struct Written {
    /// Its bytes.
    pub(super) bytes: Arc<[u8]>,
    /// What they say.
    pub(super) policy: Policy,
    /// Their digest.
    pub(super) sha256: Digest,
    /// When they came into force.
    pub(super) at: UnixTime,
}

/// Is the state that writing changes.
#[derive(Debug, Clone)]
pub(super) struct ControlState {
    /// Counts changes; part of what a look compares.
    pub(super) revision: u64,
    /// The policy.
    pub(super) policy: MountPolicy,
    /// Counts policies that came into force, and their removal: what is trusted differs with nothing else in here.
    pub(super) policies: u64,
    /// The reason of the last refusal; none after a success.
    pub(super) refused: Option<String>,
}

impl Default for ControlState {
    fn default() -> Self {
        Self {
            revision: 0,
            policy: MountPolicy::Configured,
            policies: 0,
            refused: None,
        }
    }
}

impl ControlState {
    fn set_policy(&mut self, policy: MountPolicy) {
        self.policy = policy;
        self.policies += 1;
        self.refused = None;
    }
}

impl Fs {
    /// Refuses callers who may not sign or write the policy.
    pub(super) fn admit(&self, caller: &Caller) -> Result<(), FsError> {
        let uid = caller.uid;
        if uid == self.options.uid || self.options.sign_uids.contains(&uid) {
            return Ok(());
        }
        log::warn!(
            "uid {uid} (pid {}) may not sign or write the policy",
            caller.pid
        );
        Err(FsError::WrongUid { uid })
    }

    /// Refuses changes of the policy where it is pinned, and by callers who may not.
    pub(super) fn admit_policy_change(&self, caller: &Caller) -> Result<(), FsError> {
        match self.options.policy {
            PolicyFile::Writable => self.admit(caller),
            PolicyFile::Pinned(_) | PolicyFile::ReadOnly => Err(FsError::Pinned),
        }
    }

    /// Puts a policy into force, or refuses it and leaves the one in force; either shows before this returns.
    pub(super) fn put_policy(&self, bytes: &[u8]) -> Result<(), FsError> {
        let judged = self.judge_policy(bytes);
        match judged {
            Ok(written) => {
                self.change_control(|control| {
                    control.set_policy(MountPolicy::Written(Arc::new(written)));
                });
                Ok(())
            }
            Err(error) => Err(self.refuse(error)),
        }
    }

    fn judge_policy(&self, bytes: &[u8]) -> Result<Written, FsError> {
        if u64::try_from(bytes.len()).is_ok_and(|length| length > POLICY_BYTES_MAX) {
            return Err(FsError::TooLarge {
                limit: POLICY_BYTES_MAX,
            });
        }
        let policy = Policy::parse(bytes).map_err(|error| FsError::MalformedPolicy {
            reason: causes(&error),
        })?;
        Ok(Written {
            bytes: Arc::from(bytes),
            policy,
            sha256: Digest::of(bytes),
            at: self.inputs.now(),
        })
    }

    /// Leaves the mount without a policy.
    pub(super) fn remove_policy(&self) {
        self.change_control(|control| {
            control.set_policy(MountPolicy::Removed);
        });
    }

    /// Notes that signing succeeded. The next look shows what it did: here only what could hide that from a look is taken back.
    pub(super) fn note_signed(&self, wrote: bool) {
        let mut control = lock(&self.control);
        if !wrote && control.refused.is_none() {
            return;
        }
        control.refused = None;
        control.revision += 1;
        drop(control);
        if wrote {
            self.outdate_blob_folders();
        }
    }

    /// Notes why something was refused, so that `sign` and the status tell it, and returns the error.
    pub(super) fn refuse(&self, error: FsError) -> FsError {
        if error.is_told() {
            let reason = causes(&error);
            self.change_control(|control| control.refused = Some(reason));
        }
        error
    }

    fn change_control(&self, change: impl FnOnce(&mut ControlState)) {
        let mut control = lock(&self.control);
        change(&mut control);
        control.revision += 1;
        drop(control);
        self.show_change();
    }
}
