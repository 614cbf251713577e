//! Keeping credentials where docker looks for them: with its helper, or in its file where the user insists on plain text.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use serde_json::{Map, Value, json};

use super::credentials::{CONFIG_BYTES_MAX, CredentialError, server_key};
use super::helper;
use crate::files::{self, FileError, NewFile};

/// Tells whether a secret may be stored in plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainText {
    /// Only a helper may keep it.
    Refused,
    /// The file may hold it (base64 hides nothing).
    Allowed,
}

/// Says where a credential is kept now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// With this helper.
    Helper(String),
    /// In this file, readable by its owner.
    File(PathBuf),
    /// Nowhere: there is no helper, and plain text is refused.
    Nowhere,
}

/// Keeps a user name and a secret for a host.
///
/// # Errors
/// Says which file or helper cannot be used; nothing was changed then.
pub fn keep(
    config: &Path,
    host: &str,
    login: (&str, &str),
    plain: PlainText,
) -> Result<Kept, CredentialError> {
    let mut document = read(config)?;
    let server = server_key(host);
    if let Some(name) = helper_name(&document, host) {
        helper::store(&name, server, login).map_err(|source| CredentialError::Helper {
            place: config.display().to_string(),
            source,
        })?;
        auths(&mut document).insert(server.to_owned(), json!({}));
        write(config, &document)?;
        return Ok(Kept::Helper(name));
    }
    if plain == PlainText::Refused {
        return Ok(Kept::Nowhere);
    }
    let auth = Base64::encode_string(format!("{}:{}", login.0, login.1).as_bytes());
    auths(&mut document).insert(server.to_owned(), json!({ "auth": auth }));
    write(config, &document)?;
    Ok(Kept::File(config.to_owned()))
}

/// Forgets a host; returns whether there was anything to forget.
///
/// # Errors
/// Says which file or helper cannot be used.
pub fn forget(config: &Path, host: &str) -> Result<bool, CredentialError> {
    let mut document = read(config)?;
    let server = server_key(host);
    let mut forgotten = false;
    if let Some(name) = helper_name(&document, host) {
        helper::erase(&name, server).map_err(|source| CredentialError::Helper {
            place: config.display().to_string(),
            source,
        })?;
        forgotten = true;
    }
    if auths(&mut document).shift_remove(server).is_some() {
        write(config, &document)?;
        forgotten = true;
    }
    Ok(forgotten)
}

fn helper_name(document: &Map<String, Value>, host: &str) -> Option<String> {
    let own = document
        .get("credHelpers")
        .and_then(|helpers| helpers.get(host));
    let name = own.or_else(|| document.get("credsStore"))?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn auths(document: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let entry = document.entry("auths").or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    entry.as_object_mut().expect("it was made an object above")
}

/// Reads the document whole, so that what we do not know survives; an absent one is empty.
fn read(config: &Path) -> Result<Map<String, Value>, CredentialError> {
    let read =
        files::read_path(config, CONFIG_BYTES_MAX).map_err(|source| CredentialError::Read {
            path: config.to_owned(),
            source,
        })?;
    let Some((bytes, _)) = read else {
        return Ok(Map::new());
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(CredentialError::Content {
            place: config.display().to_string(),
            problem: "not a JSON object",
        }),
    }
}

fn write(config: &Path, document: &Map<String, Value>) -> Result<(), CredentialError> {
    let failed = |source| CredentialError::Write {
        path: config.to_owned(),
        source,
    };
    if let Some(folder) = config.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(FileError::io("making", folder))
            .map_err(failed)?;
    }
    let new = NewFile {
        mode: 0o600,
        owner: None,
    };
    let text = format!("{:#}\n", Value::Object(document.clone()));
    files::replace_path(config, text.as_bytes(), &new).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::registry::{CredentialKind, Finder};

    #[test]
    fn keeps_plain_text_only_where_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("new/config.json");
        let keep = |plain| keep(&config, "r.example:5000", ("user", "pass:word"), plain).unwrap();
        assert_eq!(keep(PlainText::Refused), Kept::Nowhere);
        assert!(!config.exists());
        assert_eq!(keep(PlainText::Allowed), Kept::File(config.clone()));
        assert_eq!(
            config.metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
        let finder = Finder {
            files: vec![config.clone()],
            ..Finder::default()
        };
        let found = finder.find("r.example:5000", "a").unwrap().unwrap();
        let expected = CredentialKind::Basic {
            user: "user".to_owned(),
            password: "pass:word".to_owned(),
        };
        assert!(found.kind == expected);
        assert!(forget(&config, "r.example:5000").unwrap());
        assert!(!forget(&config, "r.example:5000").unwrap());
        assert!(finder.find("r.example:5000", "a").unwrap().is_none());
    }

    #[test]
    fn leaves_alone_what_it_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        std::fs::write(
            &config,
            r#"{"x":[1],"auths":{"other":{"auth":"dTpw","y":1}},"proxies":{}}"#,
        )
        .unwrap();
        keep(&config, "docker.io", ("u", "p"), PlainText::Allowed).unwrap();
        let document = Value::Object(read(&config).unwrap());
        assert_eq!(document["x"], json!([1]));
        assert_eq!(document["auths"]["other"]["y"], 1);
        assert!(document["auths"]["https://index.docker.io/v1/"]["auth"].is_string());
    }

    #[test]
    fn never_overwrites_what_it_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        std::fs::write(&config, "not json").unwrap();
        assert!(keep(&config, "h", ("u", "p"), PlainText::Allowed).is_err());
        assert_eq!(std::fs::read(&config).unwrap(), b"not json");
    }
}
