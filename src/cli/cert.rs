//! `signetfs cert`: notation's trust stores, and keys for tests.

use crate::oci::causes;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::answer::{Answer, Failure, Form};
use super::calendar;
use super::exit::Exit;
use super::flags::Global;
use super::table::table;
use super::terminal;
use crate::notary::{Certificate, StoreName, StoreType};
use crate::settings::{
    GeneratedTest, RSA_BITS_DEFAULT, StoredFile, add_certificate, delete_certificate, delete_store,
    generate_test, list_certificates, show_certificate,
};

/// Commands below `cert`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Make a key and a certificate for tests, valid for a day, and trust it
    GenerateTest(GenerateArguments),
    /// Add certificates to a trust store
    Add(AddArguments),
    /// List the certificates in the trust stores
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show the certificates in a file of a trust store
    Show(ShowArguments),
    /// Delete certificates from a trust store
    Delete(DeleteArguments),
}

/// Flags of `cert generate-test`.
#[derive(Debug, Clone, clap::Args)]
pub struct GenerateArguments {
    /// Name of the key, the certificate and the trust store
    name: String,
    /// RSA key bits
    #[arg(short, long, default_value_t = RSA_BITS_DEFAULT)]
    bits: usize,
    /// Make it the default key
    #[arg(long)]
    default: bool,
}

/// Names a trust store.
#[derive(Debug, Clone, clap::Args)]
pub struct StoreArguments {
    /// ca, signingAuthority or tsa
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    kind: String,
    /// Name of the trust store
    #[arg(short, long)]
    store: String,
}

/// Flags of `cert add`.
#[derive(Debug, Clone, clap::Args)]
pub struct AddArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Certificates in PEM or DER
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Flags of `cert list`.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArguments {
    /// ca, signingAuthority or tsa
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Name of the trust store
    #[arg(short, long)]
    store: Option<String>,
}

/// Flags of `cert show`.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// File in the trust store
    file: String,
}

/// Flags of `cert delete`.
#[derive(Debug, Clone, clap::Args)]
pub struct DeleteArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// File in the trust store
    #[arg(required_unless_present = "all")]
    file: Option<String>,
    /// Delete the whole trust store
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs a command below `cert`.
///
/// # Errors
/// Says why a store or key could not be read or changed.
pub fn run(command: &Command, global: &Global) -> Result<Answer, Failure> {
    match command {
        Command::GenerateTest(arguments) => generate(arguments, global),
        Command::Add(arguments) => add(arguments, global),
        Command::List(arguments) => list(arguments, global),
        Command::Show(arguments) => show(arguments, global),
        Command::Delete(arguments) => delete(arguments, global),
    }
}

fn store(arguments: &StoreArguments) -> Result<StoreName, Failure> {
    Ok(StoreName {
        kind: kind(&arguments.kind)?,
        name: arguments.store.clone(),
    })
}

fn kind(name: &str) -> Result<StoreType, Failure> {
    StoreType::from_name(name).ok_or_else(|| {
        Failure::new(
            Exit::CouldNot,
            format!("unsupported store type: {name}"),
            "use --type ca, signingAuthority or tsa",
        )
    })
}

fn generate(arguments: &GenerateArguments, global: &Global) -> Result<Answer, Failure> {
    // A dump could hold the key; where this fails, the key is made all the same.
    let _ = crate::sys::secrecy::forbid_core_dumps();
    let made = generate_test(
        &global.config(),
        &arguments.name,
        arguments.bits,
        arguments.default,
        crate::clock::now(),
    )?;
    Ok(match global.form() {
        Form::Text => Answer::of(generated_text(arguments, &made)),
        Form::Json => Answer::json(&json!({
            "schema": "signetfs.generate-test/1",
            "name": arguments.name,
            "default": arguments.default,
            "keyPath": made.key_path.display().to_string(),
            "certPath": made.certificate_path.display().to_string(),
            "notAfter": made.not_after.rfc3339(),
        })),
    })
}

/// Returns notation's lines.
fn generated_text(arguments: &GenerateArguments, made: &GeneratedTest) -> String {
    let GenerateArguments {
        name,
        bits,
        default,
    } = arguments;
    let mut text = format!(
        "generating RSA Key with {bits} bits\n\
         generated certificate expiring on {}\n\
         wrote key: {}\n\
         wrote certificate: {}\n\
         Successfully added {name}.crt to named store {name} of type ca\n\
         {name}: added to the key list\n",
        made.not_after.rfc3339(),
        made.key_path.display(),
        made.certificate_path.display(),
    );
    if *default {
        text.push_str(&format!("{name}: mark as default signing key\n"));
    }
    text
}

fn add(arguments: &AddArguments, global: &Global) -> Result<Answer, Failure> {
    let store = store(&arguments.store)?;
    let config = global.config();
    let (mut added, mut refused) = (Vec::new(), Vec::new());
    for file in &arguments.files {
        match add_certificate(&config, &store, file) {
            Ok(_) => added.push(file.display().to_string()),
            Err(error) => refused.push((file.display().to_string(), Failure::from(error))),
        }
    }
    let place = format!("named store {} of type {}", store.name, store.kind.name());
    let mut answer = match global.form() {
        Form::Text if added.is_empty() => Answer::default(),
        Form::Text => Answer::of(format!(
            "Successfully added following certificates to {place}:\n{}\n",
            added.join("\n")
        )),
        Form::Json => Answer::json(&json!({
            "schema": "signetfs.certificates-added/1",
            "type": store.kind.name(),
            "store": store.name,
            "added": added,
        })),
    };
    if let Some((_, first)) = refused.first() {
        let mut failure = Failure::new(
            first.exit,
            format!("failed to add following certificates to {place}"),
            first.hint.clone(),
        );
        failure.details = refused
            .iter()
            .map(|(file, refusal)| format!("{file}, with error {:?}", refusal.message))
            .collect();
        answer.failure = Some(failure);
    }
    Ok(answer)
}

fn list(arguments: &ListArguments, global: &Global) -> Result<Answer, Failure> {
    let kind = match &arguments.kind {
        None => None,
        Some(name) => Some(kind(name)?),
    };
    let files = list_certificates(&global.config(), kind, arguments.store.as_deref())?;
    Ok(match global.form() {
        Form::Text if files.is_empty() => Answer::default(),
        Form::Text => {
            let titles = ["STORE TYPE", "STORE NAME", "CERTIFICATE"];
            let mut rows = vec![titles.map(str::to_owned).to_vec()];
            rows.extend(files.iter().map(row));
            Answer::of(table(&rows))
        }
        Form::Json => {
            let entries: Vec<Value> = files
                .iter()
                .map(|file| {
                    json!({
                        "type": file.store.kind.name(),
                        "store": file.store.name,
                        "certificate": file.file,
                        "path": file.path.display().to_string(),
                    })
                })
                .collect();
            Answer::json(&json!({ "schema": "signetfs.certificates/1", "certificates": entries }))
        }
    })
}

fn row(file: &StoredFile) -> Vec<String> {
    vec![
        file.store.kind.name().to_owned(),
        file.store.name.clone(),
        file.file.clone(),
    ]
}

fn show(arguments: &ShowArguments, global: &Global) -> Result<Answer, Failure> {
    let store = store(&arguments.store)?;
    let file = &arguments.file;
    let certificates = show_certificate(&global.config(), &store, file).map_err(|error| {
        let mut failure = Failure::from(error);
        failure.message = format!(
            "failed to show details of certificate {file}, with error: {}",
            failure.message
        );
        failure
    })?;
    Ok(match global.form() {
        Form::Text => Answer::of(details(&certificates)),
        Form::Json => Answer::json(&json!({
            "schema": "signetfs.certificate/1",
            "certificates": certificates.iter().map(document).collect::<Vec<Value>>(),
        })),
    })
}

fn details(certificates: &[Certificate]) -> String {
    let line = "-".repeat(80);
    let parts: Vec<String> = certificates
        .iter()
        .map(|certificate| {
            format!(
                "Issuer: {}\nSubject: {}\nValid from: {}\nValid to: {}\nIsCA: {}\nSHA256 Thumbprint: {}\n",
                crate::text::escape_line(&certificate.issuer_text()),
                crate::text::escape_line(&certificate.subject_text()),
                calendar::go(certificate.not_before),
                calendar::go(certificate.not_after),
                certificate.is_ca,
                certificate.fingerprint().hex(),
            )
        })
        .collect();
    format!(
        "Certificate details\n{line}\n{}",
        parts.join(&format!("{line}\n"))
    )
}

fn document(certificate: &Certificate) -> Value {
    json!({
        "issuer": certificate.issuer_text(),
        "subject": certificate.subject_text(),
        "notBefore": certificate.not_before.rfc3339(),
        "notAfter": certificate.not_after.rfc3339(),
        "isCA": certificate.is_ca,
        "sha256": certificate.fingerprint().hex(),
    })
}

fn delete(arguments: &DeleteArguments, global: &Global) -> Result<Answer, Failure> {
    let store = store(&arguments.store)?;
    let config = global.config();
    let (name, kind) = (&store.name, store.kind.name());
    let what = match (&arguments.file, arguments.all) {
        (Some(file), false) => format!("{file:?} in {name:?} of type {kind:?}"),
        _ => format!("all certificates in {name:?} of type {kind:?}"),
    };
    let question = format!("Are you sure you want to delete {what}?");
    if !arguments.yes && !terminal::confirm(&question, "--yes", global.form())? {
        return Ok(Answer::default());
    }
    let deleted = match (&arguments.file, arguments.all) {
        (Some(file), false) => delete_certificate(&config, &store, file).map(|_| file.clone()),
        _ => delete_store(&config, &store).map(|path| path.display().to_string()),
    };
    let deleted = deleted.map_err(|error| {
        let words = causes(&error);
        let mut failure = Failure::from(error);
        let thing = match arguments.all {
            true => "named trust store",
            false => "certificate file",
        };
        failure.message = format!("failed to delete the {thing}: {words}");
        failure
    })?;
    Ok(match global.form() {
        Form::Text => Answer::of(format!("Successfully deleted {deleted}\n")),
        Form::Json => Answer::json(
            &json!({ "schema": "signetfs.certificates-deleted/1", "deleted": deleted }),
        ),
    })
}
