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
            parse(&document).map_err(|(member, problem)| SettingsError::Malformed {
                path,
                problem: match place_of(&bytes, &member) {
                    Some((line, column)) => format!("{problem} at line {line} column {column}"),
                    None => problem,
                },
            })
        }
        Ok(_) => Err(SettingsError::Malformed {
            path,
            problem: "it is not an object".to_owned(),
        }),
        Err(source) => Err(SettingsError::Json { path, source }),
    }
}

/// Reads the members; an error names the member and what is wrong with it.
fn parse(document: &Map<String, Value>) -> Result<Preferences, (String, String)> {
    if let Some(name) = strict_json::case_variant(document, &MEMBERS) {
        let problem = format!("{name:?} equals a known member but for upper and lower case");
        return Err((name.to_owned(), problem));
    }
    let [format, registries] = MEMBERS;
    let wrong = |member: &str, what: &str| {
        let problem = format!("{what} {member:?} is not what it should be");
        (member.to_owned(), problem)
    };
    Ok(Preferences {
        signature_format: match document.get(format) {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => {
                format_named(name).map_err(|problem| (format.to_owned(), problem))?
            }
            Some(_) => return Err(wrong(format, "the string")),
        },
        insecure_registries: match document.get(registries) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(hosts)) => hosts
                .iter()
                .map(|host| host.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| wrong(registries, "the list of strings"))?,
            Some(_) => return Err(wrong(registries, "the list of strings")),
        },
    })
}

/// Returns line and column, from 1, where a member begins; nothing where its name is there more than once, or in escapes.
fn place_of(bytes: &[u8], member: &str) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let quoted = format!("\"{member}\"");
    let mut found = text.match_indices(&quoted);
    let (Some((start, _)), None) = (found.next(), found.next()) else {
        return None;
    };
    let before = text.get(..start)?;
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next()?.chars().count();
    Some((line, column.saturating_add(1)))
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

    fn read(text: &str) -> Result<Preferences, (String, String)> {
        let Ok(Value::Object(document)) = strict_json::parse(text.as_bytes()) else {
            return Err(Default::default());
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
    fn names_the_place_of_a_wrong_member() {
        let text = "{\n  \"auths\": {},\n  \"signatureFormat\": 1\n}";
        let (member, _) = read(text).unwrap_err();
        assert_eq!(place_of(text.as_bytes(), &member), Some((3, 3)));
        let twice = r#"{"auths":{"signatureFormat":1},"signatureFormat":1}"#;
        assert_eq!(place_of(twice.as_bytes(), "signatureFormat"), None);
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
