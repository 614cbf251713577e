//! `signetfs key`: the list of signing keys, in notation's words.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::answer::{Answer, Failure, Form};
use super::flags::{Foreign, Global};
use super::table::table;
use crate::settings::{
    KeyEntry, KeyList, KeySource, add_key, load_pair, read_keys, remove_keys, set_default,
};

/// Commands below `key`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Add a key in files
    Add(AddArguments),
    /// List the keys
    #[command(visible_alias = "ls")]
    List,
    /// Make a key the default one
    #[command(visible_alias = "set")]
    Update(UpdateArguments),
    /// Remove keys from the list; their files stay
    Delete(DeleteArguments),
}

/// Flags of `key add`.
#[derive(Debug, Clone, clap::Args)]
pub struct AddArguments {
    /// Name of the key
    name: String,
    /// Private key in PEM (PKCS#8, PKCS#1 or SEC1)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Certificate chain in PEM or DER, the signing certificate first
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Make it the default key
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    foreign: Foreign,
}

/// Flags of `key update`.
#[derive(Debug, Clone, clap::Args)]
pub struct UpdateArguments {
    /// Name of the key
    name: String,
    /// Make it the default key
    #[arg(long)]
    default: bool,
}

/// Flags of `key delete`.
#[derive(Debug, Clone, clap::Args)]
pub struct DeleteArguments {
    /// Names of keys
    #[arg(required = true)]
    names: Vec<String>,
}

/// Runs a command below `key`.
///
/// # Errors
/// Says why the list cannot be read or changed.
pub fn run(command: &Command, global: &Global) -> Result<Answer, Failure> {
    match command {
        Command::Add(arguments) => add(arguments, global),
        Command::List => list(global),
        Command::Update(arguments) => update(arguments, global),
        Command::Delete(arguments) => delete(arguments, global),
    }
}

fn add(arguments: &AddArguments, global: &Global) -> Result<Answer, Failure> {
    arguments.foreign.refuse()?;
    let (Some(key), Some(certificates)) = (&arguments.key, &arguments.cert) else {
        return Err(Failure::usage(
            "--key and --cert are required",
            "use: signetfs key add NAME --key FILE --cert FILE",
        ));
    };
    let config = global.config();
    // notation keeps absolute paths.
    let (key, certificates) = (absolute(key)?, absolute(certificates)?);
    // A dump could hold the key; where this fails, the key is read all the same.
    let _ = crate::sys::secrecy::forbid_core_dumps();
    let (_, warnings) = load_pair(&arguments.name, &key, &certificates)?;
    add_key(
        &config,
        &arguments.name,
        (&key, &certificates),
        arguments.default,
    )?;
    let mut answer = named(&arguments.name, arguments.default, global.form());
    answer.warnings = warnings;
    Ok(answer)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::because(&error, "name the file by its absolute path"))
}

fn update(arguments: &UpdateArguments, global: &Global) -> Result<Answer, Failure> {
    if !arguments.default {
        let mut answer = match global.form() {
            Form::Text => Answer::default(),
            Form::Json => {
                let list = read_keys(&global.config())?;
                let is_default = list.default.as_ref() == Some(&arguments.name);
                named(&arguments.name, is_default, Form::Json)
            }
        };
        answer
            .warnings
            .push("Warning: --default flag is not set, command did not take effect".to_owned());
        return Ok(answer);
    }
    set_default(&global.config(), &arguments.name)?;
    Ok(named(&arguments.name, true, global.form()))
}

/// Returns notation's line about a key.
fn named(name: &str, is_default: bool, form: Form) -> Answer {
    match (form, is_default) {
        (Form::Json, _) => Answer::json(&json!({
            "schema": "signetfs.key/1",
            "name": name,
            "default": is_default,
        })),
        (Form::Text, true) => Answer::of(format!("{name}: marked as default\n")),
        (Form::Text, false) => Answer::of(format!("{name}\n")),
    }
}

fn list(global: &Global) -> Result<Answer, Failure> {
    let list = read_keys(&global.config())?;
    Ok(match global.form() {
        Form::Text => Answer::of(table(&rows(&list))),
        Form::Json => Answer::json(&json!({
            "schema": "signetfs.keys/1",
            "default": list.default,
            "keys": list.keys.iter().map(entry).collect::<Vec<Value>>(),
        })),
    })
}

fn rows(list: &KeyList) -> Vec<Vec<String>> {
    let titles = ["NAME", "KEY PATH", "CERTIFICATE PATH", "ID", "PLUGIN NAME"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for key in &list.keys {
        let name = match list.default.as_ref() == Some(&key.name) {
            true => format!("* {}", key.name),
            false => key.name.clone(),
        };
        let none = String::new;
        rows.push(match &key.source {
            KeySource::Files { key, certificates } => vec![
                name,
                key.display().to_string(),
                certificates.display().to_string(),
                none(),
                none(),
            ],
            KeySource::Plugin { id, plugin } => {
                vec![name, none(), none(), id.clone(), plugin.clone()]
            }
            KeySource::Unknown => vec![name, none(), none(), none(), none()],
        });
    }
    rows
}

fn entry(key: &KeyEntry) -> Value {
    match &key.source {
        KeySource::Files {
            key: path,
            certificates,
        } => json!({
            "name": key.name,
            "keyPath": path.display().to_string(),
            "certPath": certificates.display().to_string(),
        }),
        KeySource::Plugin { id, plugin } => {
            json!({ "name": key.name, "id": id, "pluginName": plugin })
        }
        KeySource::Unknown => json!({ "name": key.name }),
    }
}

fn delete(arguments: &DeleteArguments, global: &Global) -> Result<Answer, Failure> {
    let config = global.config();
    let default = read_keys(&config)?.default;
    let names: Vec<&str> = arguments.names.iter().map(String::as_str).collect();
    remove_keys(&config, &names)?;
    let is_default = |name: &str| default.as_deref() == Some(name);
    let output = match (global.form(), names.as_slice()) {
        (Form::Json, _) => {
            return Ok(Answer::json(
                &json!({ "schema": "signetfs.keys-removed/1", "removed": names }),
            ));
        }
        (Form::Text, [name]) => {
            let kind = match is_default(name) {
                true => "default key ",
                false => "",
            };
            format!(
                "Removed {kind}{name} from Notation signing key list. The source key still exists.\n"
            )
        }
        (Form::Text, names) => {
            let mut text = "Removed the following keys from Notation signing key list. The source keys still exist.\n".to_owned();
            for name in names {
                let mark = match is_default(name) {
                    true => " (default)",
                    false => "",
                };
                text.push_str(&format!("{name}{mark}\n"));
            }
            text
        }
    };
    Ok(Answer::of(output))
}
