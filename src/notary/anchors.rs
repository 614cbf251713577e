//! Trust anchors: what the named trust stores of a statement hold, already read.

use std::collections::BTreeMap;

use super::words::quote;
use super::{Certificate, CertificateError};
use crate::oci::limits;

/// Lists the kinds of trust store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreType {
    /// `ca`.
    Ca,
    /// `signingAuthority`.
    SigningAuthority,
    /// `tsa`.
    Tsa,
}

impl StoreType {
    /// Returns the type with this name, upper and lower case as written.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ca, Self::SigningAuthority, Self::Tsa]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// Returns the folder name and the prefix in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::SigningAuthority => "signingAuthority",
            Self::Tsa => "tsa",
        }
    }
}

/// Names a trust store, `TYPE:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreName {
    /// The type.
    pub kind: StoreType,
    /// The name.
    pub name: String,
}

/// Says why a trust store cannot be used; notation's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct AnchorsError {
    /// What is wrong, naming the store and the file.
    pub problem: String,
    /// Whether it may be over without anything having changed: then the store has to be read again.
    pub may_pass: bool,
}

/// Holds trust stores as they were read, errors included (an error is an authenticity failure, not fatal).
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    /// Each store's certificates, or why it cannot be used.
    pub stores: BTreeMap<StoreName, Result<Vec<Certificate>, AnchorsError>>,
}

impl Anchors {
    /// Returns whether every store could be read, or not for reasons that stand while nothing changes.
    #[must_use]
    pub fn is_read(&self) -> bool {
        let may_pass = |error: &AnchorsError| error.may_pass;
        !self
            .stores
            .values()
            .any(|store| store.as_ref().is_err_and(may_pass))
    }
}

impl AnchorsError {
    /// Returns the error of a store that does not exist.
    #[must_use]
    pub fn absent(store: &StoreName) -> Self {
        Self {
            problem: format!(
                "the trust store {} of type {} does not exist",
                quote(&store.name),
                quote(store.kind.name())
            ),
            may_pass: false,
        }
    }

    /// Returns the error of one file of a store; `what` follows the names.
    #[must_use]
    pub fn file(store: &StoreName, file: &str, what: &str) -> Self {
        Self {
            problem: format!("trusted certificate {} {what}", place(store, file)),
            may_pass: false,
        }
    }
}

/// Returns whether a name may be used for stores, keys and their files: one or more of `a-zA-Z0-9_.-`.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Checks the files of one store (name and bytes, as read) against the rules for its type.
///
/// # Errors
/// Names the file and the rule.
pub fn check_store(
    store: &StoreName,
    files: &[(String, Vec<u8>)],
) -> Result<Vec<Certificate>, AnchorsError> {
    if files.len() > limits::TRUST_STORE_FILES_MAX {
        return Err(AnchorsError {
            problem: format!(
                "trust store {} of type {} has more than {} files",
                store.name,
                store.kind.name(),
                limits::TRUST_STORE_FILES_MAX
            ),
            may_pass: false,
        });
    }
    let mut sorted: Vec<&(String, Vec<u8>)> = files.iter().collect();
    sorted.sort_by_key(|(name, _)| name);
    let mut certificates = Vec::new();
    for (name, bytes) in sorted {
        certificates.extend(check_file(store, name, bytes)?);
    }
    if certificates.is_empty() {
        return Err(AnchorsError {
            problem: format!(
                "no x509 certificates were found in trust store {} of type {}",
                quote(&store.name),
                quote(store.kind.name())
            ),
            may_pass: false,
        });
    }
    Ok(certificates)
}

/// Checks one file that is to be, or is, in a store of this type.
///
/// # Errors
/// Names the file and the rule.
pub fn check_file(
    store: &StoreName,
    name: &str,
    bytes: &[u8],
) -> Result<Vec<Certificate>, AnchorsError> {
    let certificates =
        Certificate::parse_file(bytes).map_err(|error: CertificateError| AnchorsError {
            problem: format!(
                "failed to read the trusted certificate {}. {error}",
                place(store, name)
            ),
            may_pass: false,
        })?;
    for certificate in &certificates {
        check_certificate(store, name, certificate)?;
    }
    Ok(certificates)
}

/// Checks one certificate: a CA's or self-signed; in a `tsa` store both.
fn check_certificate(
    store: &StoreName,
    file: &str,
    certificate: &Certificate,
) -> Result<(), AnchorsError> {
    let subject = || quote(&certificate.subject_text());
    if !certificate.is_ca && !certificate.is_self_signed() {
        return Err(AnchorsError {
            problem: format!(
                "failed to validate the trusted certificate {}. certificate with subject {} is not a CA certificate or self-signed signing certificate",
                place(store, file),
                subject()
            ),
            may_pass: false,
        });
    }
    if store.kind == StoreType::Tsa && !(certificate.is_ca && certificate.is_self_signed()) {
        let what = format!(
            "is invalid: certificate with subject {} is not a root CA certificate",
            subject()
        );
        return Err(AnchorsError::file(store, file, &what));
    }
    Ok(())
}

/// Returns file, store and type the way notation names them.
fn place(store: &StoreName, file: &str) -> String {
    format!(
        "{file} in trust store {} of type {}",
        store.name,
        store.kind.name()
    )
}

#[cfg(test)]
mod tests;
