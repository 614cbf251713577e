//! Trust policy files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::{is_absent, refuse_world_writable, replace};
use super::{ConfigDir, SettingsError};
use crate::files::{OpenFile, read_path};
use crate::notary::Policy;
use crate::oci::{Digest, limits};

/// The names of policy files, the preferred one first.
pub(super) const NAMES: [&str; 2] = ["trustpolicy.oci.json", "trustpolicy.json"];

/// Is a policy file as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its path.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// Their SHA-256.
    pub sha256: Digest,
    /// Whether a `trustpolicy.json` that differs lies beside the `trustpolicy.oci.json` that was read.
    pub shadowed: bool,
}

/// Reads the policy of the configuration.
///
/// # Errors
/// Refuses symlinks, everything but files, files that everybody may write, files over `POLICY_BYTES_MAX`.
pub fn read_policy(dir: &ConfigDir) -> Result<Option<PolicyFile>, SettingsError> {
    let [preferred, other] = NAMES;
    let Some(mut policy) = read_named(dir, preferred)? else {
        return read_named(dir, other);
    };
    policy.shadowed = match read_named(dir, other) {
        Ok(None) => false,
        Ok(Some(second)) => second.bytes != policy.bytes,
        // Whatever it is, notation 1.3.2 reads it and not the one in force here.
        Err(_) => true,
    };
    Ok(Some(policy))
}

/// Reads a policy file that the user named; a symlink is followed, as for any file that is named.
///
/// # Errors
/// Refuses everything but files, files that everybody may write, files over `POLICY_BYTES_MAX`.
pub fn read_policy_file(path: &Path) -> Result<PolicyFile, SettingsError> {
    let read = read_path(path, limits::POLICY_BYTES_MAX).map_err(SettingsError::file(path));
    match read.map_err(|error| in_words(error, path))? {
        None => Err(SettingsError::Absent {
            path: path.to_owned(),
        }),
        Some((bytes, stat)) => {
            refuse_world_writable(path, stat.mode)?;
            Ok(policy_file(path.to_owned(), bytes))
        }
    }
}

/// Tells what to do with what is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It stays, and the operation is refused.
    No,
    /// It is replaced.
    Yes,
}

/// Reports what importing a policy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedPolicy {
    /// Where it was written.
    pub path: PathBuf,
    /// The file that is preferred to it here, where there is one.
    pub shadowed_by: Option<PathBuf>,
}

/// Checks a policy and writes it as `trustpolicy.json`, the file that every release of notation reads.
///
/// # Errors
/// Refuses an invalid policy, and without `force` to replace a valid one or anything that is not a file.
pub fn import_policy(
    dir: &ConfigDir,
    bytes: &[u8],
    force: Force,
) -> Result<ImportedPolicy, SettingsError> {
    Policy::parse(bytes).map_err(SettingsError::PolicyInvalid)?;
    let [preferred, written] = NAMES;
    let path = dir.policy(written);
    if force == Force::No {
        match read_named(dir, written) {
            Ok(None) | Err(SettingsError::TooLarge { .. }) => {}
            Ok(Some(present)) if Policy::parse(&present.bytes).is_err() => {}
            Ok(Some(_)) => return Err(SettingsError::Exists { path }),
            Err(error) => return Err(error),
        }
    }
    replace(&path, bytes)?;
    let preferred = dir.policy(preferred);
    Ok(ImportedPolicy {
        path,
        shadowed_by: std::fs::symlink_metadata(&preferred)
            .is_ok()
            .then_some(preferred),
    })
}

/// Reads one of the two files.
fn read_named(dir: &ConfigDir, name: &str) -> Result<Option<PolicyFile>, SettingsError> {
    let path = dir.policy(name);
    let read = dir.open_file(name).and_then(|file| match file {
        None => Ok(None),
        Some(file) => read(&path, &file).map(Some),
    });
    match read {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => Ok(Some(policy_file(path, bytes))),
        Err(SettingsError::Io { source, .. }) if is_absent(&source) => Ok(None),
        Err(error) => Err(in_words(error, &path)),
    }
}

/// Reads an open file.
fn read(path: &Path, file: &OpenFile) -> Result<Vec<u8>, SettingsError> {
    refuse_world_writable(path, file.stat.mode)?;
    file.read_bounded(limits::POLICY_BYTES_MAX)
        .map_err(SettingsError::file(path))
}

/// Returns what is known of a file that was read.
fn policy_file(path: PathBuf, bytes: Vec<u8>) -> PolicyFile {
    PolicyFile {
        path,
        sha256: Digest::of(&bytes),
        bytes: bytes.into(),
        shadowed: false,
    }
}

/// Returns the error in the words that notation has for policies.
fn in_words(error: SettingsError, path: &Path) -> SettingsError {
    let path = path.to_owned();
    match error {
        SettingsError::NotRegular { .. } => SettingsError::PolicyNotRegular { path },
        SettingsError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            SettingsError::PolicyUnreadable { path }
        }
        SettingsError::Io { source, .. } if source.kind() == std::io::ErrorKind::IsADirectory => {
            SettingsError::PolicyNotRegular { path }
        }
        error => error,
    }
}
