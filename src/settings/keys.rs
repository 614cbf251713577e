//! The list of signing keys, `signingkeys.json`. Edited as a value tree, so that what others keep in it survives.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Serializer, Value, json};

use super::place::{make_folders, refuse_world_writable, replace};
use super::{ConfigDir, SettingsError};
use crate::files::{Folder, Lock};
use crate::oci::{json as strict_json, limits};

/// The file that is locked while the list is changed.
const LOCK: &str = "signingkeys.json.lock";
/// How long another process may hold the lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Is the list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyList {
    /// The name of the default key.
    pub default: Option<String>,
    /// The keys, in the order of the file.
    pub keys: Vec<KeyEntry>,
}

/// Is one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub source: KeySource,
}

/// Tells where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In files.
    Files {
        /// The private key.
        key: PathBuf,
        /// Its chain.
        certificates: PathBuf,
    },
    /// With a plugin of notation.
    Plugin {
        /// The key's id.
        id: String,
        /// The plugin's name.
        plugin: String,
    },
    /// Nowhere that is known.
    Unknown,
}

impl KeyList {
    /// Returns the key with this name, or the default one.
    ///
    /// # Errors
    /// Says that there is none.
    pub fn find(&self, name: Option<&str>) -> Result<&KeyEntry, SettingsError> {
        let name = match (name, &self.default) {
            (Some(name), _) => name,
            (None, Some(default)) => default,
            (None, None) => return Err(SettingsError::NoDefaultKey),
        };
        let found = self.keys.iter().find(|key| key.name == name);
        found.ok_or_else(|| SettingsError::NoKey {
            name: name.to_owned(),
        })
    }
}

/// Reads the list; without a file it is empty.
///
/// # Errors
/// Refuses symlinks, files that everybody may write, and lists that notation would refuse.
pub fn read_keys(dir: &ConfigDir) -> Result<KeyList, SettingsError> {
    parse(&dir.keys(), &read_document(dir)?)
}

/// Adds a key pair in files, which the caller has found to be usable.
///
/// # Errors
/// Refuses a name that is empty or taken.
pub fn add_key(
    dir: &ConfigDir,
    name: &str,
    (key, certificates): (&Path, &Path),
    make_default: bool,
) -> Result<(), SettingsError> {
    if name.is_empty() {
        return Err(SettingsError::Name {
            name: String::new(),
        });
    }
    edit(dir, |list, document| {
        if list.keys.iter().any(|known| known.name == name) {
            return Err(SettingsError::KeyExists {
                name: name.to_owned(),
            });
        }
        let entry = json!({
            "name": name,
            "keyPath": text_of(key)?,
            "certPath": text_of(certificates)?,
        });
        match document.get_mut("keys") {
            Some(Value::Array(keys)) => keys.push(entry),
            _ => {
                document.insert("keys".to_owned(), json!([entry]));
            }
        }
        if make_default {
            put_default(document, name);
        }
        Ok(())
    })
}

/// Removes keys from the list; their files stay.
///
/// # Errors
/// Names the first that is not in the list; none is removed then.
pub fn remove_keys(dir: &ConfigDir, names: &[&str]) -> Result<(), SettingsError> {
    edit(dir, |list, document| {
        for name in names {
            list.find(Some(name))?;
        }
        let removed = |key: &Value| {
            let name = key.get("name").and_then(Value::as_str);
            name.is_some_and(|name| names.contains(&name))
        };
        if let Some(Value::Array(keys)) = document.get_mut("keys") {
            keys.retain(|key| !removed(key));
        }
        if list.default.as_deref().is_some_and(|d| names.contains(&d)) {
            document.shift_remove("default");
        }
        Ok(())
    })
}

/// Makes a key the default one.
///
/// # Errors
/// Says that it is not in the list.
pub fn set_default(dir: &ConfigDir, name: &str) -> Result<(), SettingsError> {
    edit(dir, |list, document| {
        list.find(Some(name))?;
        put_default(document, name);
        Ok(())
    })
}

/// Writes the default into a document; a new member comes first, where notation writes it.
fn put_default(document: &mut Map<String, Value>, name: &str) {
    if !document.contains_key("default") {
        document.shift_insert(0, "default".to_owned(), Value::Null);
    }
    document.insert("default".to_owned(), Value::from(name));
}

/// Reads the list, changes it and writes it back, under a lock.
fn edit(
    dir: &ConfigDir,
    change: impl FnOnce(&KeyList, &mut Map<String, Value>) -> Result<(), SettingsError>,
) -> Result<(), SettingsError> {
    make_folders(dir.path())?;
    let folder = Folder::open(dir.path()).map_err(SettingsError::file(dir.path()))?;
    let _held = Lock::take(&folder, Path::new(LOCK), LOCK_WAIT)
        .map_err(SettingsError::file(dir.path().join(LOCK)))?;
    let path = dir.keys();
    let mut document = read_document(dir)?;
    let list = parse(&path, &document)?;
    change(&list, &mut document)?;
    parse(&path, &document)?;
    replace(&path, &render(&document))
}

/// Returns the document in the form that notation writes: four spaces, HTML characters escaped, a newline at the end.
fn render(document: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
    document
        .serialize(&mut serializer)
        .expect("a value tree with text keys always serializes into memory");
    let text = String::from_utf8(bytes).expect("JSON is UTF-8");
    let mut escaped = text
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    escaped.push('\n');
    escaped.into_bytes()
}

/// Reads the file as a value tree; without a file it is a list without keys.
fn read_document(dir: &ConfigDir) -> Result<Map<String, Value>, SettingsError> {
    let path = dir.keys();
    let Some(file) = dir.open_file("signingkeys.json")? else {
        let mut empty = Map::new();
        empty.insert("keys".to_owned(), json!([]));
        return Ok(empty);
    };
    refuse_world_writable(&path, file.stat.mode)?;
    let bytes = file
        .read_bounded(limits::SETTINGS_BYTES_MAX)
        .map_err(SettingsError::file(&path))?;
    match strict_json::parse(&bytes) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(_) => Err(malformed(&path, "it is not an object")),
        Err(source) => Err(SettingsError::Json { path, source }),
    }
}

/// Returns the list in a document.
fn parse(path: &Path, document: &Map<String, Value>) -> Result<KeyList, SettingsError> {
    if let Some(name) = strict_json::case_variant(document, &["default", "keys"]) {
        let problem = format!("{name:?} equals a known member but for upper and lower case");
        return Err(malformed(path, &problem));
    }
    let entries: &[Value] = match document.get("keys") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(malformed(path, "\"keys\" is not a list")),
    };
    let mut keys: Vec<KeyEntry> = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = key_entry(path, entry)?;
        if keys.iter().any(|known| known.name == key.name) {
            let problem = format!("multiple keys with name '{}' found", key.name);
            return Err(malformed(path, &problem));
        }
        keys.push(key);
    }
    let default = match document.get("default") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(malformed(path, "\"default\" is not a string")),
    };
    match &default {
        Some(name) if name.is_empty() => Err(malformed(path, "default key name cannot be empty")),
        Some(name) if keys.iter().all(|key| key.name != *name) => {
            Err(malformed(path, &format!("default key '{name}' not found")))
        }
        _ => Ok(KeyList { default, keys }),
    }
}

/// Returns one key of a document.
fn key_entry(path: &Path, entry: &Value) -> Result<KeyEntry, SettingsError> {
    let text = |member: &str| {
        entry
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let name = text("name").to_owned();
    if name.is_empty() {
        return Err(malformed(path, "key name cannot be empty"));
    }
    let source = match (text("keyPath"), text("certPath"), text("pluginName")) {
        (_, _, plugin) if !plugin.is_empty() => KeySource::Plugin {
            id: text("id").to_owned(),
            plugin: plugin.to_owned(),
        },
        (key, certificates, _) if !key.is_empty() && !certificates.is_empty() => KeySource::Files {
            key: key.into(),
            certificates: certificates.into(),
        },
        _ => KeySource::Unknown,
    };
    Ok(KeyEntry { name, source })
}

/// Returns a path as the text that JSON can hold.
fn text_of(path: &Path) -> Result<&str, SettingsError> {
    path.to_str().ok_or_else(|| SettingsError::Name {
        name: path.to_string_lossy().into_owned(),
    })
}

/// Returns the refusal of a list.
fn malformed(path: &Path, problem: &str) -> SettingsError {
    SettingsError::Malformed {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}
