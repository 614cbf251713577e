//! What the user prefers, `config.json`: of its members the format of signatures and the registries without TLS. Never written.

use serde_json::{Map, Value};

use super::place::refuse_world_writable;
use super::{ConfigDir, SettingsError};
use crate::notary::EnvelopeFormat;
use crate::oci::{json as strict_json, limits};

/// The members that are read, in notation's spelling.
const MEMBERS: [&str; 2] = ["signatureFormat", "insecureRegistries"];

/// Is what `config.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preferences {
    /// The format of new signatures (`signatureFormat`); none where it is not said: JWS then.
    pub signature_format: Option<EnvelopeFormat>,
    /// The registries that are spoken to in plain HTTP (`insecureRegistries`), as `HOST` or `HOST:PORT`.
    pub insecure_registries: Vec<String>,
}

/// Reads the preferences; without a file there are none.
///
/// # Errors
/// Refuses symlinks, files that everybody may write, and what is not a document of these members.
pub fn read_preferences(dir: &ConfigDir) -> Result<Preferences, SettingsError> {
    const NAME: &str = "config.json";
    let path = dir.path().join(NAME);
    let Some(file) = dir.open_file(NAME)? else {
        return Ok(Preferences::default());
    };
    refuse_world_writable(&path, file.stat.mode)?;
    let bytes = file
        .read_bounded(limits::SETTINGS_BYTES_MAX)
        .map_err(SettingsError::file(&path))?;
    match strict_json::parse(&bytes) {
        Ok(Value::Object(document)) => {
            parse(&document).map_err(|problem| SettingsError::Malformed { path, problem })
        }
        Ok(_) => Err(SettingsError::Malformed {
            path,
            problem: "it is not an object".to_owned(),
        }),
        Err(source) => Err(SettingsError::Json { path, source }),
    }
}

fn parse(document: &Map<String, Value>) -> Result<Preferences, String> {
    if let Some(name) = strict_json::case_variant(document, &MEMBERS) {
        return Err(format!(
            "{name:?} equals a known member but for upper and lower case"
        ));
    }
    Ok(Preferences {
        signature_format: match document.get("signatureFormat") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => format_named(name)?,
            Some(_) => return Err("\"signatureFormat\" is not a string".to_owned()),
        },
        insecure_registries: match document.get("insecureRegistries") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(hosts)) => hosts
                .iter()
                .map(|host| host.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or("an entry of \"insecureRegistries\" is not a string")?,
            Some(_) => return Err("\"insecureRegistries\" is not a list".to_owned()),
        },
    })
}

/// Returns the format with a name, whose case does not matter; none for an empty one.
fn format_named(name: &str) -> Result<Option<EnvelopeFormat>, String> {
    match name.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "jws" => Ok(Some(EnvelopeFormat::Jws)),
        "cose" => Ok(Some(EnvelopeFormat::Cose)),
        _ => Err(format!(
            "signature format {name:?} is not supported: write \"jws\" or \"cose\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Preferences, String> {
        let Ok(Value::Object(document)) = strict_json::parse(text.as_bytes()) else {
            return Err("not an object".to_owned());
        };
        parse(&document)
    }

    #[test]
    fn reads_the_format_whatever_its_case() {
        for (text, format) in [
            (r#"{"auths":{}}"#, None),
            (r#"{"signatureFormat":""}"#, None),
            (r#"{"signatureFormat":"jws"}"#, Some(EnvelopeFormat::Jws)),
            (r#"{"signatureFormat":"COSE"}"#, Some(EnvelopeFormat::Cose)),
        ] {
            assert_eq!(read(text).unwrap().signature_format, format, "{text}");
        }
    }

    #[test]
    fn reads_the_registries_without_tls() {
        let found = read(r#"{"insecureRegistries":["a.example:5000","b"]}"#);
        assert_eq!(found.unwrap().insecure_registries, ["a.example:5000", "b"]);
    }

    #[test]
    fn refuses_what_it_would_have_to_guess() {
        for text in [
            r#"{"signatureFormat":"pgp"}"#,
            r#"{"signatureFormat":1}"#,
            r#"{"signatureformat":"cose"}"#,
            r#"{"insecureRegistries":"x"}"#,
            r#"{"insecureRegistries":[1]}"#,
            r#"{"InsecureRegistries":[]}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
