//! `signetfs login` and `logout`: keep credentials where docker looks for them. Never in plain text silently.

use std::path::PathBuf;

use serde_json::json;

use super::answer::{Answer, Failure, Form};
use super::exit::Exit;
use super::flags::{Global, notations_login};
use super::sync::flags::Connection;
use crate::registry::keeping::{self, Kept, PlainText};
use crate::registry::{
    Access, Credential, CredentialError, CredentialKind, Finder, RegistryReference,
};

/// Flags of `login`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The registry: HOST[:PORT]
    host: String,
    /// Store the password in docker's file in plain text where no credential helper is set up
    #[arg(long)]
    allow_plaintext: bool,
    /// As notation takes it; other users of the machine can see it
    #[arg(short, long, hide = true, conflicts_with_all = ["password_stdin", "identity_token_stdin"])]
    password: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Flags of `logout`.
#[derive(Debug, Clone, clap::Args)]
pub struct LogoutArguments {
    /// The registry: HOST[:PORT]
    host: String,
}

/// Runs `login`: asks the registry first, then keeps what it accepted.
///
/// # Errors
/// Says why the registry does not let us in, or why nothing was kept.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    let host = &arguments.host;
    let config = config()?;
    let credential = credential(arguments)?;
    let CredentialKind::Basic { user, password } = &credential.kind else {
        return Err(Failure::usage(
            "login keeps a user name and a password, not a token",
            "pass --username and --password-stdin",
        ));
    };
    let connection = arguments.connection.with_credential(credential.clone());
    connection
        .open(reference(host)?, Access::Pull, &[], &global.config())?
        .ping()?;
    let plain = match arguments.allow_plaintext {
        true => PlainText::Allowed,
        false => PlainText::Refused,
    };
    match keeping::keep(&config, host, (user, password), plain)? {
        Kept::Helper(name) => Ok(done(global, host, &format!("docker-credential-{name}"))),
        Kept::File(path) => {
            let place = path.display().to_string();
            let mut answer = done(global, host, &place);
            answer.warnings.push(format!(
                "signetfs: warning: {place} holds the password in plain text"
            ));
            Ok(answer)
        }
        Kept::Nowhere => Err(Failure::new(
            Exit::CouldNot,
            format!(
                "the registry accepts the password, but {} names no credential helper to keep it",
                config.display()
            ),
            "set credsStore there to a helper you have installed; --allow-plaintext stores it in that file, readable by you",
        )),
    }
}

/// Returns what the registry is to be asked with: from stdin, else notation's flags and variables. Nothing is asked on the terminal.
fn credential(arguments: &Arguments) -> Result<Credential, Failure> {
    let connection = &arguments.connection;
    let credential = match connection.is_secret_on_stdin() {
        true => connection.given()?,
        false => notations_login(connection.username(), arguments.password.as_deref()),
    };
    let is_empty = |kind: &CredentialKind| matches!(kind, CredentialKind::Basic { password, .. } if password.is_empty());
    credential
        .filter(|credential| !is_empty(&credential.kind))
        .ok_or_else(|| {
            Failure::usage(
                "login needs a user name and a password",
                "printf %s \"$PASSWORD\" | signetfs login HOST --username USER --password-stdin",
            )
        })
}

/// Runs `logout`.
///
/// # Errors
/// Says which file or helper cannot be used.
pub fn run_logout(arguments: &LogoutArguments, global: &Global) -> Result<Answer, Failure> {
    let host = &arguments.host;
    reference(host)?;
    let forgotten = keeping::forget(&config()?, host)?;
    Ok(match (global.form(), forgotten) {
        (Form::Json, _) => Answer::json(&json!({
            "schema": "signetfs.logout/1", "host": host, "forgotten": forgotten,
        })),
        (Form::Text, true) => Answer::of("Logout Succeeded\n".to_owned()),
        (Form::Text, false) => Answer::of(format!("not logged in to {host}\n")),
    })
}

fn done(global: &Global, host: &str, place: &str) -> Answer {
    match global.form() {
        Form::Json => Answer::json(&json!({
            "schema": "signetfs.login/1", "host": host, "kept": place,
        })),
        Form::Text => Answer::of("Login Succeeded\n".to_owned()),
    }
}

fn config() -> Result<PathBuf, Failure> {
    Finder::docker_config(&|name| std::env::var(name).ok()).ok_or_else(|| {
        Failure::new(
            Exit::CouldNot,
            "there is no home folder to keep credentials in",
            "set HOME or DOCKER_CONFIG",
        )
    })
}

/// A host alone: any repository name does, since none is asked for.
fn reference(host: &str) -> Result<RegistryReference, Failure> {
    let refuse = |words: String| Failure::usage(words, "write HOST or HOST:PORT");
    if host.contains('/') {
        return Err(refuse(format!("{host} is not a registry")));
    }
    RegistryReference::parse(&format!("{host}/any")).map_err(|error| refuse(error.to_string()))
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        Self::because(
            &error,
            "mend docker's configuration, or name another folder with DOCKER_CONFIG",
        )
    }
}
