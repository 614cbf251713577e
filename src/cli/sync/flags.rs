//! How a registry is reached: flags that every command with a registry reference has.

use crate::oci::causes;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::answer::Failure;
use crate::cli::terminal;
use crate::http::tls::Verification;
use crate::http::{
    Authorities, ClientOptions, Patience, TlsFiles, TlsOptions, certificate_folders,
};
use crate::registry::name::is_repository;
use crate::registry::{
    Access, Credential, CredentialKind, Finder, Options, Registry, RegistryReference, SchemeChoice,
};
use crate::settings::{ConfigDir, read_preferences};
use crate::sync::pool::{JOBS_DEFAULT, JOBS_MAX};

/// Bytes of a password on stdin.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

/// Seconds in which something has to happen.
const TIMEOUT_SECONDS: u64 = 60;
/// How often a request is sent.
const ATTEMPTS: u32 = 5;
/// The longest pause in seconds.
const PAUSE_SECONDS_MAX: u64 = 60;

/// How a registry is reached.
#[derive(Debug, Clone, clap::Args)]
pub struct Connection {
    #[arg(skip)]
    named: Option<Credential>,
    /// Speak plain HTTP to the registry
    #[arg(long, alias = "insecure-registry")]
    plain_http: bool,
    /// Do not check the registry's certificate
    #[arg(long)]
    insecure: bool,
    /// Certificates of authorities to trust instead of the system's and those in certs.d folders
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// Certificate to show to the registry
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// User name (default: what docker and podman have stored)
    #[arg(short, long)]
    username: Option<String>,
    /// Read the password from stdin
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Read an identity token from stdin
    #[arg(long, conflicts_with = "password_stdin")]
    identity_token_stdin: bool,
    /// Send the registry's credentials to this token server although its name is another site's
    #[arg(long, value_name = "HOST")]
    auth_host: Option<String>,
    /// Connections that blobs are sent over
    #[arg(long, value_name = "N", default_value_t = JOBS_DEFAULT)]
    jobs: usize,
    /// Seconds in which something has to happen on a connection
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT_SECONDS)]
    timeout: u64,
    /// How often a request is sent before giving up
    #[arg(long, value_name = "N", default_value_t = ATTEMPTS)]
    attempts: u32,
    /// The longest pause in seconds, even if the registry asks for more
    #[arg(long, value_name = "SECONDS", default_value_t = PAUSE_SECONDS_MAX)]
    pause_max: u64,
}

impl Connection {
    /// Returns the connection that notation's own flags describe.
    #[must_use]
    pub fn of_notation(login: Option<Credential>, plain_http: bool) -> Self {
        Self {
            named: login,
            plain_http,
            insecure: false,
            ca_file: Vec::new(),
            cert_file: None,
            key_file: None,
            username: None,
            password_stdin: false,
            identity_token_stdin: false,
            auth_host: None,
            jobs: JOBS_DEFAULT,
            timeout: TIMEOUT_SECONDS,
            attempts: ATTEMPTS,
            pause_max: PAUSE_SECONDS_MAX,
        }
    }

    /// Returns how many connections are used.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.jobs.clamp(1, JOBS_MAX)
    }

    /// Checks the names of other repositories.
    ///
    /// # Errors
    /// Refuses what is not a repository name.
    pub fn check_repositories(names: &[String]) -> Result<(), Failure> {
        match names.iter().find(|name| !is_repository(name)) {
            None => Ok(()),
            Some(odd) => Err(Failure::usage(
                format!("--mount-from {odd}: not a repository name"),
                "write the repository without its host, such as --mount-from library/base",
            )),
        }
    }

    /// Opens a client for a repository; nothing is sent yet.
    ///
    /// # Errors
    /// Says which flag or file cannot be used.
    pub fn open(
        &self,
        reference: RegistryReference,
        access: Access,
        mount_from: &[String],
        config: &ConfigDir,
    ) -> Result<Registry, Failure> {
        if self.insecure {
            terminal::note(
                "signetfs: warning: --insecure: anybody on the way can read and change what is sent, credentials too",
            );
        }
        let environment = |name: &str| std::env::var(name).ok();
        let mut finder = Finder::from_environment(&environment);
        finder.given = self.given()?;
        let scheme = self.scheme(&reference, config);
        let options = Options {
            scheme,
            client: ClientOptions {
                tls: self.tls((&reference, scheme), &environment)?,
                stall: Duration::from_secs(self.timeout.max(1)),
                connections: self.jobs().saturating_mul(4),
            },
            patience: Patience {
                attempts: self.attempts.max(1),
                pause_max: Duration::from_secs(self.pause_max),
                ..Patience::default()
            },
            finder,
            access,
            mount_from: mount_from.to_vec(),
            trusted_realm_host: self.auth_host.clone(),
            notify: Box::new(|text| terminal::note(&format!("signetfs: {text}"))),
        };
        Ok(Registry::open(reference, options, &environment)?)
    }

    /// Returns the scheme: plain HTTP by the flag, or where notation's `config.json` lists the registry.
    ///
    /// A document that cannot be used lists none, so TLS is spoken, which is the safe way; it is said why.
    fn scheme(&self, reference: &RegistryReference, config: &ConfigDir) -> SchemeChoice {
        let is_listed = || match read_preferences(config) {
            Ok(read) => read.insecure_registries.contains(&reference.host),
            Err(error) => {
                let words = causes(&error);
                terminal::note(&format!(
                    "signetfs: warning: {words}; no registry is spoken to in plain HTTP because of insecureRegistries there"
                ));
                false
            }
        };
        match self.plain_http || is_listed() {
            true => SchemeChoice::Plain,
            false => SchemeChoice::Auto,
        }
    }

    /// Returns whom is trusted and what is shown: what flags name, else what docker's and podman's folders hold for the host.
    fn tls(
        &self,
        (reference, scheme): (&RegistryReference, SchemeChoice),
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<TlsOptions, Failure> {
        let folders = certificate_folders::of_environment(environment);
        let found = certificate_folders::files_for(&reference.host, &folders);
        let mut files = match found {
            Ok(files) => files,
            Err(_) if scheme == SchemeChoice::Plain => TlsFiles::default(),
            Err(error) => {
                return Err(Failure::because(
                    &error,
                    "mend that folder, or name the files: --ca-file, --cert-file, --key-file",
                ));
            }
        };
        if !self.ca_file.is_empty() {
            files.authorities = Authorities::Only(self.ca_file.clone());
        }
        files.client = self
            .cert_file
            .clone()
            .zip(self.key_file.clone())
            .or(files.client);
        Ok(TlsOptions {
            files,
            verification: match self.insecure {
                true => Verification::None,
                false => Verification::Full,
            },
        })
    }

    /// Returns the same connection with a credential that is already known.
    #[must_use]
    pub fn with_credential(&self, credential: Credential) -> Self {
        Self {
            named: Some(credential),
            password_stdin: false,
            identity_token_stdin: false,
            ..self.clone()
        }
    }

    /// Returns the user name that was typed.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Returns whether a password or token is to be read from stdin.
    #[must_use]
    pub fn is_secret_on_stdin(&self) -> bool {
        self.password_stdin || self.identity_token_stdin
    }

    /// Returns the credential that the flags give, where they do.
    ///
    /// # Errors
    /// Says why it cannot be read from stdin.
    pub fn given(&self) -> Result<Option<Credential>, Failure> {
        if !self.is_secret_on_stdin() {
            return match (&self.named, &self.username) {
                (None, Some(_)) => Err(Failure::usage(
                    "--username needs a password",
                    "printf %s \"$PASSWORD\" | signetfs ... --username USER --password-stdin",
                )),
                (named, _) => Ok(named.clone()),
            };
        }
        let mut text = String::new();
        let read = std::io::stdin()
            .lock()
            .take(PASSWORD_BYTES_MAX)
            .read_to_string(&mut text);
        read.map_err(|error| {
            Failure::because(
                &error,
                "pipe the password in: printf %s \"$PASSWORD\" | signetfs ... --password-stdin",
            )
        })?;
        let secret = text.trim_end_matches(['\r', '\n']).to_owned();
        let kind = match &self.username {
            Some(user) => CredentialKind::Basic {
                user: user.clone(),
                password: secret,
            },
            None => CredentialKind::Identity(secret),
        };
        Ok(Some(Credential {
            kind,
            source: "the command line".to_owned(),
        }))
    }
}
