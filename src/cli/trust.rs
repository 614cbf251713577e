//! What is trusted, read from notation's configuration: for `verify` and, handed down, for a mount.

use crate::oci::causes;
use std::path::Path;
use std::sync::Arc;

use crate::audit::{InvalidPolicy, PolicyState, Trust};
use crate::notary::{Anchors, Policy};
use crate::report::{PolicyId, PolicyOrigin};
use crate::settings::{
    ConfigDir, PolicyFile, SettingsError, read_anchors, read_policy, read_policy_file,
};

/// Reads the policy (the one that the flag names, else the configuration's) and the stores that it names.
#[must_use]
pub fn read(config: &ConfigDir, flag: Option<&Path>) -> Trust {
    read_with_bytes(config, flag).0
}

/// Reads the same, with the bytes of the policy file, which a mount shows.
#[must_use]
pub fn read_with_bytes(config: &ConfigDir, flag: Option<&Path>) -> (Trust, Option<Arc<[u8]>>) {
    let (file, origin) = match flag {
        Some(path) => (read_policy_file(path).map(Some), PolicyOrigin::Flag),
        None => (read_policy(config), PolicyOrigin::Config),
    };
    match file {
        Ok(Some(file)) => (of_file(config, &file, origin), Some(file.bytes)),
        Ok(None) => (
            without_file(PolicyState::None, PolicyOrigin::None, None),
            None,
        ),
        Err(error) => {
            let why = match error.may_pass() {
                true => InvalidPolicy::Unread(causes(&error)),
                false => InvalidPolicy::File(causes(&error)),
            };
            let policy = PolicyState::Invalid(why);
            (without_file(policy, origin, flag), None)
        }
    }
}

/// Returns the trust of a policy file that leads into the mount it is for: none.
#[must_use]
pub fn misled(path: &Path) -> Trust {
    let why = SettingsError::IntoMount {
        path: path.to_owned(),
    };
    let policy = PolicyState::Invalid(InvalidPolicy::File(why.to_string()));
    without_file(policy, PolicyOrigin::Flag, Some(path))
}

fn without_file(policy: PolicyState, origin: PolicyOrigin, path: Option<&Path>) -> Trust {
    Trust {
        policy,
        id: PolicyId {
            origin,
            path: path.map(|path| path.display().to_string()),
            sha256: None,
            shadowed: false,
        },
        anchors: Anchors::default(),
    }
}

fn of_file(config: &ConfigDir, file: &PolicyFile, origin: PolicyOrigin) -> Trust {
    let (policy, anchors) = match Policy::parse(&file.bytes) {
        Ok(policy) => {
            let anchors = read_anchors(config, &policy);
            (PolicyState::Valid(policy), anchors)
        }
        Err(error) => (
            PolicyState::Invalid(InvalidPolicy::Content(error)),
            Anchors::default(),
        ),
    };
    Trust {
        policy,
        id: PolicyId {
            origin,
            path: Some(file.path.display().to_string()),
            sha256: Some(file.sha256.clone()),
            shadowed: file.shadowed,
        },
        anchors,
    }
}
