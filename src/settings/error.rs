//! What can be wrong with the configuration, kept apart by what the user has to do about it.

use std::io;
use std::path::PathBuf;

use crate::files::FileError;
use crate::notary::{AnchorsError, CertificateError, PolicyError, SignError};
use crate::oci::JsonError;

/// Says what is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no key with this name.
    #[error("signing key {name} not found")]
    NoKey {
        /// The name.
        name: String,
    },
    /// There is no default key.
    #[error("default signing key not set. Please set default signing key or specify a key name")]
    NoDefaultKey,
    /// The key is encrypted.
    #[error("the private key in {path} is encrypted, which is not supported")]
    EncryptedKey {
        /// The key file.
        path: PathBuf,
    },
    /// The key would be copied along with the layout.
    #[error("the private key {path} is inside the layout")]
    KeyInside {
        /// The key file.
        path: PathBuf,
    },
    /// It leads into the mount that it is for.
    #[error("{path} leads into the mount that it is for; nothing trusted is read from there")]
    IntoMount {
        /// The file or folder.
        path: PathBuf,
    },
    /// Key and certificates cannot sign.
    #[error("signing key {name:?} cannot be used")]
    UnusableKey {
        /// Its name.
        name: String,
        /// Why.
        source: SignError,
    },
    /// The key belongs to a plugin, or to nothing that is known.
    #[error("signing key {name:?} is not a local key pair: signing plugins are not supported")]
    ForeignKey {
        /// Its name.
        name: String,
    },
    /// A file that must be there is not.
    #[error("{path} does not exist")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// Others could have written or read a file that must be ours.
    #[error("{path} {problem}")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Which permission is too wide.
        problem: &'static str,
    },
    /// The policy breaks a rule.
    #[error("the trust policy is not valid")]
    PolicyInvalid(#[source] PolicyError),
    /// The policy is a symlink, a folder or anything else but a file.
    #[error(
        "trust policy is not a regular file (symlinks are not supported). To create a trust policy, see: https://notaryproject.dev/docs/quickstart/#create-a-trust-policy"
    )]
    PolicyNotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The policy may not be read.
    #[error(
        "unable to read trust policy due to file permissions, please verify the permissions of {path}"
    )]
    PolicyUnreadable {
        /// The path.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("{path} already exists")]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// A key with this name is there already.
    #[error("signing key with name {name:?} already exists")]
    KeyExists {
        /// The name.
        name: String,
    },
    /// A name breaks the rule for names.
    #[error("{name:?} is not a valid name: it must consist of a-z, A-Z, 0-9, '_', '.' and '-'")]
    Name {
        /// The name.
        name: String,
    },
    /// The size of a key is not supported.
    #[error("RSA keys have {min} to {max} bits, not {bits}")]
    KeySize {
        /// What was asked for.
        bits: usize,
        /// The smallest.
        min: usize,
        /// The largest.
        max: usize,
    },
    /// A settings file is not JSON.
    #[error("malformed {path}")]
    Json {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: JsonError,
    },
    /// A settings file breaks a rule.
    #[error("malformed {path}: {problem}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// The rule.
        problem: String,
    },
    /// A certificate does not fit into a trust store, or a store cannot be used.
    #[error("{0}")]
    Store(AnchorsError),
    /// A certificate file cannot be understood.
    #[error("reading certificates from {path}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// A new key or certificate could not be made.
    #[error("making a key and its certificate: {problem}")]
    Generate {
        /// Why.
        problem: String,
    },
    /// Something else than a regular file is there.
    #[error("{path} is not a regular file (symlinks are not supported)")]
    NotRegular {
        /// Where.
        path: PathBuf,
    },
    /// A file is over its limit.
    #[error("{path} has more than {limit} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// Another process is changing the file.
    #[error("{path} is being changed by {holder}")]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// Who, as far as can be told.
        holder: String,
    },
    /// A system call failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl SettingsError {
    /// Returns a function that names the operation and the path of a failed call.
    pub(super) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    /// Returns a function that gives a file error the whole path of its file.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(FileError) -> Self {
        let path = path.into();
        move |error| match error {
            FileError::Io {
                operation, source, ..
            } => Self::Io {
                operation,
                path,
                source,
            },
            FileError::NotRegular { .. } => Self::NotRegular { path },
            FileError::TooLarge { limit, .. } => Self::TooLarge { path, limit },
            FileError::Locked { holder, .. } => Self::Busy { path, holder },
        }
    }

    /// Returns whether it may be over without anything having changed: the system had no room or no open files left, or a disk failed.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.io_error().is_some_and(may_pass)
    }

    /// Returns the error of a system call that is beneath this one, if any.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Returns whether an error of a system call may be over without anything having changed. Permissions do not change so.
pub(super) fn may_pass(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::PermissionDenied
}
