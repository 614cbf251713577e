//! Flags that several commands share, and notation's flags that are taken without effect or refused clearly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::answer::{Failure, Form};
use super::layouts::Kind;
use super::sync::flags::Connection;
use crate::layout::{Hashes, Memory};
use crate::registry::{Credential, CredentialKind};
use crate::settings::ConfigDir;

/// Flags of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Notation's configuration folder (default: $NOTATION_CONFIG, $XDG_CONFIG_HOME/notation, ~/.config/notation)
    #[arg(long, value_name = "DIR", global = true)]
    pub config: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Accepted as notation does
    #[arg(short = 'd', long, global = true, hide = true)]
    pub debug: bool,
    /// Accepted as notation does
    #[arg(short = 'v', long, global = true, hide = true)]
    pub verbose: bool,
}

impl Global {
    /// Returns the form of the answer.
    #[must_use]
    pub fn form(&self) -> Form {
        match self.json {
            true => Form::Json,
            false => Form::Text,
        }
    }

    /// Returns the configuration folder.
    #[must_use]
    pub fn config(&self) -> ConfigDir {
        ConfigDir::find(self.config.as_deref(), &|name| std::env::var_os(name))
    }
}

/// Flags of commands that read a layout.
#[derive(Debug, Clone, clap::Args)]
pub struct Reading {
    /// The reference is a path to a layout
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", hide_default_value = true, hide_possible_values = true)]
    oci_layout: bool,
    /// Folder for new signatures of a layout that is not written to (default for a tar: TAR.signetfs beside it)
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// Ignore remembered hashes, and remember none
    #[arg(long)]
    no_memory: bool,
    #[arg(short, long, hide = true)]
    username: Option<String>,
    #[arg(short, long, hide = true)]
    password: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    insecure_registry: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    allow_referrers_api: bool,
}

impl Reading {
    /// Returns whether the reference is declared to be a path.
    #[must_use]
    pub fn kind(&self) -> Kind {
        // The API is asked where there is one, whatever the flag says.
        let _ = self.allow_referrers_api;
        match self.oci_layout {
            true => Kind::Layout,
            false => Kind::Any,
        }
    }

    /// Returns the overlay that the user names.
    #[must_use]
    pub fn overlay(&self) -> Option<&Path> {
        self.overlay.as_deref()
    }

    /// Returns how a registry is reached, by notation's flags and variables.
    #[must_use]
    pub fn connection(&self) -> Connection {
        let login = notations_login(self.username.as_deref(), self.password.as_deref());
        Connection::of_notation(login, self.insecure_registry)
    }

    /// Returns the table of hashes, with the memory of earlier commands unless it is unwanted.
    #[must_use]
    pub fn hashes(&self) -> Hashes {
        Hashes::new(match (self.no_memory, cache_folder()) {
            (false, Some(folder)) => Memory::Folder(folder),
            _ => Memory::None,
        })
    }
}

/// Returns the credential of notation's flags and variables. As for notation, a password without a user name is an identity token, and a
/// user name without a password is tried without one.
#[must_use]
pub fn notations_login(username: Option<&str>, password: Option<&str>) -> Option<Credential> {
    let given = |flag: Option<&str>, name: &str| {
        let value = flag.map(str::to_owned).or_else(|| std::env::var(name).ok());
        value.filter(|value| !value.is_empty())
    };
    let username = given(username, "NOTATION_USERNAME");
    let kind = match (username, given(password, "NOTATION_PASSWORD")) {
        (None, None) => return None,
        (None, Some(token)) => CredentialKind::Identity(token),
        (Some(user), password) => CredentialKind::Basic {
            user,
            password: password.unwrap_or_default(),
        },
    };
    Some(Credential {
        kind,
        source: "the command line or environment".to_owned(),
    })
}

/// Returns `$XDG_CACHE_HOME/signetfs/hashes`, else `~/.cache/signetfs/hashes`.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("signetfs").join("hashes"))
}

/// Flags of notation that need a plugin or a timestamp authority.
#[derive(Debug, Clone, clap::Args)]
pub struct Foreign {
    #[arg(long, hide = true)]
    plugin: Option<String>,
    #[arg(long, hide = true)]
    id: Option<String>,
    #[arg(long, hide = true)]
    plugin_config: Vec<String>,
    #[arg(long, hide = true)]
    timestamp_url: Option<String>,
    #[arg(long, hide = true)]
    timestamp_root_cert: Option<String>,
}

impl Foreign {
    /// Refuses the flags that a verification cannot obey. `--plugin-config` speaks to verification plugins, and a signature that needs one is refused.
    ///
    /// # Errors
    /// Names the first of them that was given.
    pub fn refuse_for_verification(&self) -> Result<(), Failure> {
        let others = Self {
            plugin_config: Vec::new(),
            ..self.clone()
        };
        others.refuse()
    }

    /// Refuses the flags that this version cannot obey.
    ///
    /// # Errors
    /// Names the first of them that was given.
    pub fn refuse(&self) -> Result<(), Failure> {
        let given = [
            ("--plugin", self.plugin.is_some()),
            ("--id", self.id.is_some()),
            ("--plugin-config", !self.plugin_config.is_empty()),
            ("--timestamp-url", self.timestamp_url.is_some()),
            ("--timestamp-root-cert", self.timestamp_root_cert.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((flag @ ("--timestamp-url" | "--timestamp-root-cert"), _)) => {
                Err(Failure::unsupported(
                    flag,
                    "leave it out; use --expiry for a signature that ends on its own",
                ))
            }
            Some((flag, _)) => Err(Failure::unsupported(
                flag,
                "use a key in a file: signetfs key add NAME --key FILE --cert FILE",
            )),
        }
    }
}

/// Returns `{key}={value}` pairs as a map; of one key twice the last counts, as in notation.
///
/// # Errors
/// Refuses a pair without `=`, or with nothing on one side of it.
pub fn pairs(flag: &str, texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut map = BTreeMap::new();
    for text in texts {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                map.insert(key.to_owned(), value.to_owned());
            }
            _ => {
                return Err(Failure::new(
                    super::exit::Exit::CouldNot,
                    format!(
                        "could not parse flag {flag}: key-value pair requires \"=\" as separator"
                    ),
                    format!("write it like --{flag} buildId=101"),
                ));
            }
        }
    }
    Ok(map)
}
