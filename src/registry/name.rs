//! References to registries: `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`, checked before anything of them reaches a URL.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>

use std::fmt;

use crate::http::{Origin, Scheme};
use crate::oci::Digest;

/// Names a repository, and in it an image by tag, by digest or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryReference {
    /// The host as typed, with its port.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// Says why a text is not a registry reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a registry reference: {problem}")]
pub struct RegistryReferenceError {
    /// The text, cut to 300 characters.
    pub text: String,
    /// What is wrong.
    pub problem: &'static str,
}

/// Characters of the longest tag.
pub const TAG_CHARACTERS_MAX: usize = 128;
/// Characters of the longest repository name that registries take.
const REPOSITORY_CHARACTERS_MAX: usize = 255;
/// The name people type for Docker Hub, and the host that serves it.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

impl RegistryReference {
    /// Parses a reference.
    ///
    /// # Errors
    /// Says which part does not fit the grammar.
    pub fn parse(text: &str) -> Result<Self, RegistryReferenceError> {
        let refuse = |problem| RegistryReferenceError {
            text: text.chars().take(300).collect(),
            problem,
        };
        let Some((host, rest)) = text.split_once('/') else {
            return Err(refuse("write HOST/REPOSITORY[:TAG]"));
        };
        if host.is_empty() || Origin::parse(Scheme::Https, host).is_err() {
            return Err(refuse("the part before the first slash is not a host"));
        }
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((rest, digest)) => match digest.parse::<Digest>() {
                Ok(digest) if digest.algorithm().is_some() => (rest, Some(digest)),
                _ => return Err(refuse("the part after the @ is not a digest")),
            },
        };
        let (repository, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((repository, tag)) => (repository, Some(tag)),
        };
        if !is_repository(repository) {
            return Err(refuse(
                "a repository has lower-case letters and digits joined by one of . _ __ - and slashes",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse(
                "a tag has letters, digits, _ . and -, at most 128, and does not begin with . or -",
            ));
        }
        let official = host == DOCKER_HUB.0 && !repository.contains('/');
        Ok(Self {
            host: host.to_owned(),
            repository: if official {
                format!("library/{repository}")
            } else {
                repository.to_owned()
            },
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// Returns the host that is asked.
    #[must_use]
    pub fn served_by(&self) -> &str {
        match self.host.as_str() {
            host if host == DOCKER_HUB.0 => DOCKER_HUB.1,
            host => host,
        }
    }

    /// Returns `HOST/REPOSITORY`.
    #[must_use]
    pub fn scope(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// Returns what names the image in URLs: the digest, else the tag.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Some(digest.to_string()),
            (None, tag) => tag.clone(),
        }
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

/// Returns whether a text is a tag that registries take.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first
        && text.len() <= TAG_CHARACTERS_MAX
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Returns whether a text is a repository name.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    text.len() <= REPOSITORY_CHARACTERS_MAX && text.split('/').all(is_component)
}

/// Letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = component.bytes().next().is_some_and(is_plain)
        && component.bytes().next_back().is_some_and(is_plain);
    let joints = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'));
    edges && joints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        let digest = Digest::of(b"x");
        for text in [
            "localhost:5001/hello-world:v1".to_owned(),
            "127.0.0.1:5000/a/b_c/d__e/f--g.h".to_owned(),
            "[::1]:5000/a:v1".to_owned(),
            format!("r.example/a@{digest}"),
            format!("r.example/a:v1@{digest}"),
        ] {
            assert_eq!(RegistryReference::parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_would_change_a_url() {
        for text in [
            "",
            "a",
            "a/",
            "/a",
            "a/B",
            "a/b:",
            "a/b:v 1",
            "a/b:../x",
            "a/../b",
            "a/b//c",
            "a/b?x=y",
            "a/b%2e",
            "a/b\r\nX: y",
            "a/b:-x",
            "a/b:.x",
            "u:p@h/a:v1",
            "a/b@sha256:00",
            "a/b@x:y",
            "a/-b",
            "a/b..c",
            "a/b___c",
            "h:0/a",
        ] {
            assert!(RegistryReference::parse(text).is_err(), "{text}");
        }
        assert!(RegistryReference::parse(&format!("a/b:{}", "t".repeat(129))).is_err());
        assert!(RegistryReference::parse(&format!("a/{}", "t".repeat(256))).is_err());
    }

    #[test]
    fn knows_docker_hub() {
        let reference = RegistryReference::parse("docker.io/alpine:3").unwrap();
        assert_eq!(reference.repository, "library/alpine");
        assert_eq!(reference.served_by(), "registry-1.docker.io");
    }
}
