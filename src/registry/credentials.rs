//! Credentials as docker and podman store them. Read when a registry asks, never before; never written here, never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use serde_json::{Map, Value};

use super::helper::{self, HelperError};
use crate::files::{self, FileError};

/// Bytes of one configuration file.
pub(super) const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// The key and the hosts of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Is what is shown to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// User name and password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, exchanged for access tokens.
    Identity(String),
    /// An access token, sent as it is.
    Bearer(String),
}

/// Is a credential and where it was found.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The secret.
    pub kind: CredentialKind,
    /// Where it was found, for messages.
    pub source: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credential from {}", self.source)
    }
}

/// Says why credentials cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
    /// A file cannot be written.
    #[error("writing {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
    /// A document is not what it should be.
    #[error("{place}: {problem}")]
    Content {
        /// The file or variable.
        place: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A helper failed.
    #[error("{place} names a credential helper")]
    Helper {
        /// The file.
        place: String,
        /// Why.
        source: HelperError,
    },
}

/// Finds credentials.
#[derive(Debug, Clone, Default)]
pub struct Finder {
    /// What was given on the command line: it is used before anything else.
    pub given: Option<Credential>,
    /// A document given in the environment (`DOCKER_AUTH_CONFIG`).
    pub inline: Option<String>,
    /// Configuration files, first match wins.
    pub files: Vec<PathBuf>,
}

impl Finder {
    /// Returns the places where docker and podman keep credentials.
    #[must_use]
    pub fn from_environment(environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let absolute = |name: &str| {
            environment(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = absolute("HOME");
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let files = [
            environment("REGISTRY_AUTH_FILE").map(PathBuf::from),
            environment("DOCKER_CONFIG")
                .map(|folder| Path::new(&folder).join("config.json"))
                .or_else(|| below_home(".docker/config.json")),
            absolute("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
            absolute("XDG_CONFIG_HOME")
                .map(|folder| folder.join("containers/auth.json"))
                .or_else(|| below_home(".config/containers/auth.json")),
        ];
        Self {
            given: None,
            inline: environment("DOCKER_AUTH_CONFIG").filter(|text| !text.trim().is_empty()),
            files: files.into_iter().flatten().collect(),
        }
    }

    /// Returns docker's own file.
    #[must_use]
    pub fn docker_config(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
        match environment("DOCKER_CONFIG") {
            Some(folder) => Some(Path::new(&folder).join("config.json")),
            None => {
                let home = PathBuf::from(environment("HOME")?);
                home.is_absolute().then(|| home.join(".docker/config.json"))
            }
        }
    }

    /// Returns the credential for a repository, where there is one.
    ///
    /// # Errors
    /// Says which file or helper cannot be used.
    pub fn find(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        if let Some(given) = &self.given {
            return Ok(Some(given.clone()));
        }
        let keys = keys(host, repository);
        if let Some(inline) = &self.inline {
            let place = "DOCKER_AUTH_CONFIG";
            if let Some(found) = in_document(inline.as_bytes(), place, &keys)? {
                return Ok(Some(found));
            }
        }
        for path in &self.files {
            let read = files::read_path(path, CONFIG_BYTES_MAX).map_err(|source| {
                CredentialError::Read {
                    path: path.clone(),
                    source,
                }
            })?;
            let Some((bytes, _)) = read else { continue };
            if let Some(found) = in_document(&bytes, &path.display().to_string(), &keys)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Is what a repository may be listed under.
struct Keys {
    /// `host/a/b`, `host/a`, `host`, and other names of the host: the longest first.
    accepted: Vec<String>,
    /// What helpers know the host by.
    server: String,
}

/// Returns what helpers and files know a host by.
pub(super) fn server_key(host: &str) -> &str {
    match DOCKER_HUB_HOSTS.contains(&host) {
        true => DOCKER_HUB_KEY,
        false => host,
    }
}

fn keys(host: &str, repository: &str) -> Keys {
    let is_hub = DOCKER_HUB_HOSTS.contains(&host);
    let mut accepted = Vec::new();
    let mut path = repository;
    loop {
        accepted.push(format!("{host}/{path}"));
        match path.rsplit_once('/') {
            Some((parent, _)) => path = parent,
            None => break,
        }
    }
    accepted.push(host.to_owned());
    if is_hub {
        accepted.extend(DOCKER_HUB_HOSTS.map(str::to_owned));
    }
    Keys {
        accepted,
        server: server_key(host).to_owned(),
    }
}

/// Looks in one document: the host's own helper, the common helper, then what is stored.
fn in_document(
    bytes: &[u8],
    place: &str,
    keys: &Keys,
) -> Result<Option<Credential>, CredentialError> {
    let refuse = |problem| CredentialError::Content {
        place: place.to_owned(),
        problem,
    };
    let document: Value = serde_json::from_slice(bytes).map_err(|_| refuse("not JSON"))?;
    let members = document
        .as_object()
        .ok_or_else(|| refuse("not an object"))?;
    let empty = Map::new();
    let object = |name: &str| {
        members
            .get(name)
            .and_then(Value::as_object)
            .unwrap_or(&empty)
    };
    let own = lookup(object("credHelpers"), keys).and_then(Value::as_str);
    let common = members.get("credsStore").and_then(Value::as_str);
    if let Some(name) = own.or(common).filter(|name| !name.is_empty()) {
        let found = helper::get(name, &keys.server).map_err(|source| CredentialError::Helper {
            place: place.to_owned(),
            source,
        })?;
        if let Some((user, secret)) = found {
            let source = format!("docker-credential-{name} named by {place}");
            return Ok(Some(from_pair(user, secret, source)));
        }
    }
    match lookup(object("auths"), keys) {
        Some(Value::Object(entry)) => stored(entry, place),
        _ => Ok(None),
    }
}

fn from_pair(user: String, secret: String, source: String) -> Credential {
    let kind = match user.as_str() {
        "<token>" => CredentialKind::Identity(secret),
        _ => CredentialKind::Basic {
            user,
            password: secret,
        },
    };
    Credential { kind, source }
}

fn stored(entry: &Map<String, Value>, place: &str) -> Result<Option<Credential>, CredentialError> {
    let text = |name: &str| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let found = |kind| {
        Ok(Some(Credential {
            kind,
            source: place.to_owned(),
        }))
    };
    if let Some(token) = text("registrytoken") {
        return found(CredentialKind::Bearer(token.to_owned()));
    }
    if let Some(token) = text("identitytoken") {
        return found(CredentialKind::Identity(token.to_owned()));
    }
    if let Some(encoded) = text("auth") {
        let refuse = || CredentialError::Content {
            place: place.to_owned(),
            problem: "an auth member is not base64 of user:password",
        };
        let decoded = Base64::decode_vec(encoded).map_err(|_| refuse())?;
        let decoded = String::from_utf8(decoded).map_err(|_| refuse())?;
        let (user, password) = decoded.split_once(':').ok_or_else(refuse)?;
        return found(CredentialKind::Basic {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        });
    }
    match (text("username"), text("password")) {
        (Some(user), Some(password)) => found(CredentialKind::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        }),
        _ => Ok(None),
    }
}

/// Returns the member for the longest accepted key; keys may be URLs with a version path.
fn lookup<'a>(object: &'a Map<String, Value>, keys: &Keys) -> Option<&'a Value> {
    keys.accepted.iter().find_map(|accepted| {
        object
            .iter()
            .find(|(key, _)| normalised(key) == accepted.as_str())
            .map(|(_, value)| value)
    })
}

fn normalised(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(document: &str, host: &str, repository: &str) -> Option<Credential> {
        in_document(document.as_bytes(), "config.json", &keys(host, repository)).unwrap()
    }

    fn user(found: Option<Credential>) -> Option<String> {
        match found?.kind {
            CredentialKind::Basic { user, password } => Some(format!("{user}:{password}")),
            CredentialKind::Identity(token) => Some(format!("identity {token}")),
            CredentialKind::Bearer(token) => Some(format!("bearer {token}")),
        }
    }

    #[test]
    fn reads_what_docker_and_podman_write() {
        let document = r#"{"auths":{
            "r.example":{"auth":"dTpw"},
            "https://s.example/v1/":{"auth":"djpxOnI="},
            "https://index.docker.io/v1/":{"auth":"aHViOnB3"},
            "p.example/team":{"auth":"dGVhbTpw"},
            "p.example":{"auth":"aG9zdDpw"},
            "i.example":{"auth":"dTpw","identitytoken":"it"},
            "b.example":{"registrytoken":"rt"},
            "e.example":{}}}"#;
        for (host, repository, expected) in [
            ("r.example", "a", Some("u:p")),
            ("s.example", "a", Some("v:q:r")),
            ("docker.io", "library/alpine", Some("hub:pw")),
            ("p.example", "team/app", Some("team:p")),
            ("p.example", "teamwork", Some("host:p")),
            ("i.example", "a", Some("identity it")),
            ("b.example", "a", Some("bearer rt")),
            ("e.example", "a", None),
            ("r.example:5000", "a", None),
            ("example", "a", None),
        ] {
            assert_eq!(
                user(find(document, host, repository)).as_deref(),
                expected,
                "{host}/{repository}"
            );
        }
    }

    #[test]
    fn refuses_documents_it_cannot_read() {
        for document in [
            "",
            "[]",
            "{",
            r#"{"auths":{"h":{"auth":"***"}}}"#,
            r#"{"auths":{"h":{"auth":"eA=="}}}"#,
        ] {
            assert!(
                in_document(document.as_bytes(), "x", &keys("h", "a")).is_err(),
                "{document}"
            );
        }
    }

    #[test]
    fn never_prints_a_secret() {
        let credential = Credential {
            kind: CredentialKind::Basic {
                user: "u".to_owned(),
                password: "hunter2".to_owned(),
            },
            source: "config.json".to_owned(),
        };
        assert!(!format!("{credential:?}").contains("hunter2"));
    }

    #[test]
    fn looks_where_docker_and_podman_look() {
        let finder = Finder::from_environment(&|name| {
            Some(
                match name {
                    "HOME" => "/h",
                    "XDG_RUNTIME_DIR" => "/run/user/1",
                    _ => return None,
                }
                .to_owned(),
            )
        });
        let paths: Vec<String> = finder
            .files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(
            paths,
            [
                "/h/.docker/config.json",
                "/run/user/1/containers/auth.json",
                "/h/.config/containers/auth.json"
            ]
        );
    }
}
