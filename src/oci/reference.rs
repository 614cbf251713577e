//! References as people type them, tags, and registry scopes.

use std::fmt;

use super::{Digest, DigestError};

/// Names one image inside a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// By tag: equal to a `ref.name` of index.json.
    Tag(String),
    /// By digest.
    Digest(Digest),
}

/// Is a typed reference to a layout, split as notation splits it: at the last `@`, else at the last `:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The path as typed.
    pub path: String,
    /// The image; `None` means every image.
    pub name: Option<Name>,
}

/// Says why a reference is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing before the tag or digest.
    #[error("{text:?}: no path before the tag or digest")]
    NoPath {
        /// The text.
        text: String,
    },
    /// An empty tag.
    #[error("{text:?}: the tag is empty")]
    EmptyTag {
        /// The text.
        text: String,
    },
    /// A malformed digest.
    #[error("{text:?}: malformed digest")]
    Digest {
        /// The text.
        text: String,
        /// Why.
        source: DigestError,
    },
}

impl Reference {
    /// Splits a typed reference; `exists` tells whether a path names something, so that a bare path with a colon works.
    ///
    /// # Errors
    /// Refuses an empty path, an empty tag, a malformed digest.
    pub fn parse(text: &str, exists: &dyn Fn(&str) -> bool) -> Result<Self, ReferenceError> {
        let whole = || {
            Ok(Self {
                path: text.to_owned(),
                name: None,
            })
        };
        let split = text.rsplit_once('@').map(Split::Digest);
        let split = split.or_else(|| text.rsplit_once(':').map(Split::Tag));
        // Where what stands before names something, the text is read as notation reads it.
        match &split {
            Some(split) if exists(split.path()) => match split.reference(text) {
                Err(_) if exists(text) => return whole(),
                result => return result,
            },
            _ if exists(text) => return whole(),
            _ => {}
        }
        // A directory with an `@` in its name: notation cannot name its tags at all.
        match text.rsplit_once(':').map(Split::Tag) {
            Some(split) if exists(split.path()) => return split.reference(text),
            _ => {}
        }
        match split {
            Some(split) => split.reference(text),
            None if text.is_empty() => Err(ReferenceError::NoPath {
                text: String::new(),
            }),
            None => whole(),
        }
    }
}

/// Is a text split in two, not yet checked.
enum Split<'a> {
    Tag((&'a str, &'a str)),
    Digest((&'a str, &'a str)),
}

impl Split<'_> {
    fn path(&self) -> &str {
        match self {
            Self::Tag((path, _)) | Self::Digest((path, _)) => path,
        }
    }

    fn reference(&self, text: &str) -> Result<Reference, ReferenceError> {
        let text = || text.to_owned();
        if self.path().is_empty() {
            return Err(ReferenceError::NoPath { text: text() });
        }
        let name = match self {
            Self::Tag((_, "")) => return Err(ReferenceError::EmptyTag { text: text() }),
            Self::Tag((_, tag)) => Name::Tag((*tag).to_owned()),
            Self::Digest((_, digest)) => {
                Name::Digest(digest.parse().map_err(|source| ReferenceError::Digest {
                    text: text(),
                    source,
                })?)
            }
        };
        Ok(Reference {
            path: self.path().to_owned(),
            name: Some(name),
        })
    }
}

/// Is a registry scope, `domain[:port]/repository`, in the format that trust policies use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(String);

/// Says why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a registry scope: it must be domain[:port]/repository, the repository in lower case, without tag or digest"
)]
pub struct ScopeError {
    /// The text.
    pub text: String,
}

/// What is left out of a file name to make a scope.
const SUFFIXES: [&str; 5] = [".oci", ".tar", ".gz", ".tgz", ".zst"];

impl Scope {
    /// Parses a scope.
    ///
    /// # Errors
    /// Refuses anything but `domain[:port]/repository`.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let fits = text.split_once('/').is_some_and(|(domain, repository)| {
            is_domain(domain) && repository.split('/').all(is_repository_part)
        });
        match fits {
            true => Ok(Self(text.to_owned())),
            false => Err(ScopeError {
                text: text.to_owned(),
            }),
        }
    }

    /// Returns `local/NAME` for the last component of a path, less `.oci .tar .gz .tgz .zst`.
    ///
    /// # Errors
    /// Refuses a name that makes no valid scope.
    pub fn of_path(last_component: &str) -> Result<Self, ScopeError> {
        let mut name = last_component;
        while let Some(shorter) = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)) {
            name = shorter;
        }
        Self::parse(&format!("local/{name}"))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Returns whether this is `labels-of-letters-and-digits.joined-by-dots[:digits]`.
fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Returns whether this is lower-case letters and digits joined by one of `.`, `_`, `__` or any number of `-`.
fn is_repository_part(part: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().is_some_and(is_plain) || !bytes.last().is_some_and(is_plain) {
        return false;
    }
    part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        .all(|joint| {
            matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-')
        })
}

#[cfg(test)]
mod tests;
