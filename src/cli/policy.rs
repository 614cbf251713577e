//! `signetfs policy`: notation's trust policy file. A policy written into a mount never comes here by itself.

use crate::oci::causes;
use std::path::PathBuf;

use serde_json::json;

use super::answer::{Answer, Failure, Form};
use super::exit::Exit;
use super::flags::Global;
use super::terminal;
use crate::notary::Policy;
use crate::settings::{
    Force, ImportedPolicy, SettingsError, import_policy, read_policy, read_policy_file,
};

/// Commands below `policy`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Check a policy and put it in force
    Import(ImportArguments),
    /// Show the policy in force
    Show,
    /// Write a policy with one statement
    Init(InitArguments),
}

/// Flags of `policy import`.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportArguments {
    /// The policy
    file: PathBuf,
    /// Replace the present policy without asking
    #[arg(long)]
    force: bool,
}

/// Flags of `policy init`.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArguments {
    /// Name of the statement
    #[arg(short, long, default_value = "default")]
    name: String,
    /// Registry scope, or `*`; may be repeated
    #[arg(long, value_name = "SCOPE", default_value = "*")]
    scope: Vec<String>,
    /// Trust store like ca:NAME; may be repeated
    #[arg(long, value_name = "TYPE:NAME", required = true)]
    trust_store: Vec<String>,
    /// Trusted identity like "x509.subject: C=US, ST=WA, O=acme-rockets.io", or `*`; may be repeated
    #[arg(long, value_name = "IDENTITY", default_value = "*")]
    trusted_identity: Vec<String>,
    /// strict, permissive or audit
    #[arg(long, default_value = "strict")]
    level: String,
    /// Replace the present policy without asking
    #[arg(long)]
    force: bool,
}

/// Runs a command below `policy`.
///
/// # Errors
/// Says why the policy cannot be read, is refused or cannot be written.
pub fn run(command: &Command, global: &Global) -> Result<Answer, Failure> {
    match command {
        Command::Import(arguments) => import(arguments, global),
        Command::Show => show(global),
        Command::Init(arguments) => init(arguments, global),
    }
}

fn import(arguments: &ImportArguments, global: &Global) -> Result<Answer, Failure> {
    let file = read_policy_file(&arguments.file)?;
    let Some((imported, mut warnings)) = write(global, &file.bytes, arguments.force)? else {
        return Ok(Answer::default());
    };
    warnings.extend(shadowed(&imported));
    let mut answer = match global.form() {
        Form::Text => Answer::of("Trust policy configuration imported successfully.\n".to_owned()),
        Form::Json => written(&imported),
    };
    answer.warnings = warnings;
    Ok(answer)
}

fn init(arguments: &InitArguments, global: &Global) -> Result<Answer, Failure> {
    let document = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": arguments.name,
            "registryScopes": arguments.scope,
            "signatureVerification": { "level": arguments.level },
            "trustStores": arguments.trust_store,
            "trustedIdentities": arguments.trusted_identity,
        }],
    });
    let bytes = format!("{document:#}\n");
    let Some((imported, mut warnings)) = write(global, bytes.as_bytes(), arguments.force)? else {
        return Ok(Answer::default());
    };
    warnings.extend(shadowed(&imported));
    let mut answer = match global.form() {
        Form::Text => Answer::of(format!(
            "Successfully initialized trust policy file to {}.\n",
            imported.path.display()
        )),
        Form::Json => written(&imported),
    };
    answer.warnings = warnings;
    Ok(answer)
}

fn written(imported: &ImportedPolicy) -> Answer {
    Answer::json(&json!({
        "schema": "signetfs.policy/1",
        "path": imported.path.display().to_string(),
    }))
}

/// Writes a policy, after asking where a valid one is replaced; `None` where the answer was no.
fn write(
    global: &Global,
    bytes: &[u8],
    force: bool,
) -> Result<Option<(ImportedPolicy, Vec<String>)>, Failure> {
    let config = global.config();
    if force {
        let imported = import_policy(&config, bytes, Force::Yes)?;
        let warning =
            "Warning: existing trust policy configuration file will be overwritten".to_owned();
        return Ok(Some((imported, vec![warning])));
    }
    match import_policy(&config, bytes, Force::No) {
        Err(SettingsError::Exists { .. }) => {}
        imported => return Ok(Some((imported?, Vec::new()))),
    }
    let question = "The trust policy file already exists, do you want to overwrite it?";
    if !terminal::confirm(question, "--force", global.form())? {
        return Ok(None);
    }
    let imported = import_policy(&config, bytes, Force::Yes)?;
    Ok(Some((imported, Vec::new())))
}

/// Warns where the policy that was written is not the one in force here.
fn shadowed(imported: &ImportedPolicy) -> Option<String> {
    imported.shadowed_by.as_ref().map(|path| {
        format!(
            "Warning: {} is preferred to the file that was written",
            path.display()
        )
    })
}

fn show(global: &Global) -> Result<Answer, Failure> {
    let Some(file) = read_policy(&global.config())? else {
        return Err(Failure::new(
            Exit::CouldNot,
            "failed to show trust policy as the trust policy file does not exist",
            "make one: signetfs policy init --trust-store ca:NAME, or import one: signetfs policy import FILE",
        ));
    };
    let mut answer = Answer::of(String::from_utf8_lossy(&file.bytes).into_owned());
    if file.shadowed {
        answer.warnings.push(format!(
            "Warning: {} differs from trustpolicy.json beside it, which notation reads",
            file.path.display()
        ));
    }
    if let Err(error) = Policy::parse(&file.bytes) {
        // As notation: the document is shown all the same, with exit 0.
        let mut failure = Failure::new(
            Exit::Done,
            causes(&error),
            "update it, or import another: signetfs policy import FILE",
        );
        failure.details = Vec::new();
        answer.failure = Some(failure);
    }
    Ok(answer)
}
