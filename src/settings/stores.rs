//! Trust stores: `truststore/x509/TYPE/NAME/FILE`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::error::may_pass;
use super::place::{WORLD_WRITABLE, make_folders, open_folder, refuse_world_writable, write_new};
use super::{ConfigDir, SettingsError};
use crate::files::{FileError, Folder, Kind, read_path};
use crate::notary::anchors::{check_file, check_store, is_file_name};
use crate::notary::{Anchors, AnchorsError, Certificate, Policy, StoreName, StoreType};
use crate::oci::{causes, limits};

/// Reads every trust store that a policy names. A store that cannot be used is an error inside, which judging decides about.
#[must_use]
pub fn read_anchors(dir: &ConfigDir, policy: &Policy) -> Anchors {
    let named = policy.statements.iter().flat_map(|s| &s.trust_stores);
    let mut stores = BTreeMap::new();
    let mut parents = BTreeMap::new();
    for store in named {
        if !stores.contains_key(store) {
            stores.insert(store.clone(), read_store(dir, store, &mut parents));
        }
    }
    Anchors { stores }
}

/// Is one file of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// The store.
    pub store: StoreName,
    /// The file's name.
    pub file: String,
    /// Its path.
    pub path: PathBuf,
}

/// Copies a certificate file into a store, after checking it against the rules for the store's type.
///
/// # Errors
/// Refuses files that would make the store unusable, and a name that is taken.
pub fn add_certificate(
    dir: &ConfigDir,
    store: &StoreName,
    file: &Path,
) -> Result<StoredFile, SettingsError> {
    check_name(&store.name)?;
    let name = file
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default()
        .to_owned();
    check_name(&name)?;
    let read = read_path(file, limits::TRUST_STORE_FILE_BYTES_MAX);
    let Some((bytes, _stat)) = read.map_err(SettingsError::file(file))? else {
        return Err(SettingsError::Absent {
            path: file.to_owned(),
        });
    };
    check_file(store, &name, &bytes).map_err(SettingsError::Store)?;
    add_bytes(dir, store, &name, &bytes)
}

/// Writes a checked certificate file into a store.
pub(super) fn add_bytes(
    dir: &ConfigDir,
    store: &StoreName,
    name: &str,
    bytes: &[u8],
) -> Result<StoredFile, SettingsError> {
    let folder = dir.store(store);
    make_folders(&folder)?;
    let path = folder.join(name);
    write_new(&path, bytes, 0o600)?;
    Ok(StoredFile {
        store: store.clone(),
        file: name.to_owned(),
        path,
    })
}

/// Lists the files of the stores with this type and name, where they are given; sorted.
///
/// # Errors
/// Returns what reading the folders returns; a folder that is not there is empty.
pub fn list_certificates(
    dir: &ConfigDir,
    kind: Option<StoreType>,
    name: Option<&str>,
) -> Result<Vec<StoredFile>, SettingsError> {
    let kinds = [StoreType::Ca, StoreType::SigningAuthority, StoreType::Tsa];
    let mut files = Vec::new();
    for kind in kinds.into_iter().filter(|k| kind.is_none_or(|w| w == *k)) {
        let stores = names_in(&dir.stores(kind))?;
        for store in stores {
            if name.is_some_and(|wanted| wanted != store) {
                continue;
            }
            let store = StoreName { kind, name: store };
            let folder = dir.store(&store);
            files.extend(names_in(&folder)?.into_iter().map(|file| StoredFile {
                store: store.clone(),
                path: folder.join(&file),
                file,
            }));
        }
    }
    Ok(files)
}

/// Returns the certificates in one file of a store.
///
/// # Errors
/// Says why the file cannot be read.
pub fn show_certificate(
    dir: &ConfigDir,
    store: &StoreName,
    file: &str,
) -> Result<Vec<Certificate>, SettingsError> {
    check_name(&store.name)?;
    check_name(file)?;
    let folder = dir.store(store);
    let path = folder.join(file);
    let absent = || SettingsError::Absent { path: path.clone() };
    let folder = open_folder(&folder)?.ok_or_else(absent)?;
    let opened = folder.file(Path::new(file));
    let opened = opened
        .map_err(SettingsError::file(&path))?
        .ok_or_else(absent)?;
    let bytes = opened
        .read_bounded(limits::TRUST_STORE_FILE_BYTES_MAX)
        .map_err(SettingsError::file(&path))?;
    Certificate::parse_file(&bytes).map_err(|source| SettingsError::Certificate {
        path: path.clone(),
        source,
    })
}

/// Removes one file of a store and returns its path.
///
/// # Errors
/// Returns what removing it returns.
pub fn delete_certificate(
    dir: &ConfigDir,
    store: &StoreName,
    file: &str,
) -> Result<PathBuf, SettingsError> {
    check_name(&store.name)?;
    check_name(file)?;
    let path = dir.store(store).join(file);
    std::fs::remove_file(&path).map_err(SettingsError::io("removing", &path))?;
    Ok(path)
}

/// Removes a store with everything in it and returns its path.
///
/// # Errors
/// Returns what removing it returns.
pub fn delete_store(dir: &ConfigDir, store: &StoreName) -> Result<PathBuf, SettingsError> {
    check_name(&store.name)?;
    let path = dir.store(store);
    std::fs::remove_dir_all(&path).map_err(SettingsError::io("removing", &path))?;
    Ok(path)
}

/// Refuses names that are not those of notation, and those that mean folders.
pub(super) fn check_name(name: &str) -> Result<(), SettingsError> {
    if is_file_name(name) && !is_dots(name) {
        Ok(())
    } else {
        Err(SettingsError::Name {
            name: name.to_owned(),
        })
    }
}

/// Returns whether a name means this or the upper folder.
fn is_dots(name: &str) -> bool {
    matches!(name, "." | "..")
}

/// Holds the folders of all stores of a type that were opened already.
type Parents = BTreeMap<StoreType, Folder>;

/// Reads one store.
fn read_store(
    dir: &ConfigDir,
    store: &StoreName,
    parents: &mut Parents,
) -> Result<Vec<Certificate>, AnchorsError> {
    let folder = open_store(dir, store, parents)?;
    let names = match folder.names(limits::TRUST_STORE_FILES_MAX) {
        Ok(Some(names)) => names,
        Ok(None) => {
            return Err(about(
                store,
                &format!("has more than {} files", limits::TRUST_STORE_FILES_MAX),
            ));
        }
        Err(error) => return Err(inaccessible(store, &error)),
    };
    let mut certificates = Vec::new();
    for name in names {
        certificates.extend(read_stored(&folder, store, &name)?);
    }
    if certificates.is_empty() {
        return check_store(store, &[]);
    }
    Ok(certificates)
}

/// Opens the folder of a store: no symlink, no other file, not writable by everybody.
fn open_store(
    dir: &ConfigDir,
    store: &StoreName,
    parents: &mut Parents,
) -> Result<Folder, AnchorsError> {
    if is_dots(&store.name) {
        return Err(about(store, "has the name of a folder, not of a store"));
    }
    let name = Path::new(&store.name);
    let parent = match parents.entry(store.kind) {
        Entry::Occupied(opened) => opened.into_mut(),
        Entry::Vacant(vacant) => match dir.open_stores(store.kind) {
            Ok(Some(parent)) => vacant.insert(parent),
            Ok(None) => return Err(AnchorsError::absent(store)),
            Err(error) => return Err(inaccessible(store, &error)),
        },
    };
    let opened = match parent.stat_at(name) {
        Ok(None) => return Err(AnchorsError::absent(store)),
        Ok(Some(stat)) if stat.kind != Kind::Folder => {
            let path = dir.store(store);
            return Err(about(
                store,
                &format!(
                    "with path {} is not a regular directory (symlinks are not supported)",
                    path.display()
                ),
            ));
        }
        Ok(Some(_)) => parent.folder(name),
        Err(error) => Err(error),
    };
    let folder = match opened {
        Ok(Some(folder)) => folder,
        Ok(None) => return Err(AnchorsError::absent(store)),
        Err(error) => return Err(inaccessible(store, &error)),
    };
    match folder.stat() {
        Ok(stat) if stat.mode & 0o002 != 0 => Err(about(store, WORLD_WRITABLE)),
        Ok(_) => Ok(folder),
        Err(error) => Err(inaccessible(store, &error)),
    }
}

/// Reads one file of a store.
fn read_stored(
    folder: &Folder,
    store: &StoreName,
    name: &OsStr,
) -> Result<Vec<Certificate>, AnchorsError> {
    let shown = name.to_string_lossy();
    let refused = |what: &str| AnchorsError::file(store, &shown, what);
    let unread = |error: &FileError| AnchorsError {
        may_pass: passes(error),
        ..refused(&format!("cannot be read: {}", causes(error)))
    };
    let file = match folder.file(Path::new(name)) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(refused("vanished while the store was read")),
        Err(FileError::NotRegular { .. }) => {
            return Err(refused(
                "is not a regular file (directories or symlinks are not supported)",
            ));
        }
        Err(error) => return Err(unread(&error)),
    };
    if refuse_world_writable(Path::new(name), file.stat.mode).is_err() {
        return Err(refused(WORLD_WRITABLE));
    }
    let bytes = file
        .read_bounded(limits::TRUST_STORE_FILE_BYTES_MAX)
        .map_err(|error| unread(&error))?;
    check_file(store, &shown, &bytes)
}

/// Returns the names in a folder that are text, none where there is no folder.
fn names_in(path: &Path) -> Result<Vec<String>, SettingsError> {
    let Some(folder) = open_folder(path)? else {
        return Ok(Vec::new());
    };
    let names = folder
        .names(limits::TRUST_STORE_FILES_MAX)
        .map_err(SettingsError::file(path))?
        .unwrap_or_default();
    Ok(names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect())
}

/// Returns the error of a store that is there but cannot be read.
fn inaccessible(store: &StoreName, error: &(dyn std::error::Error + 'static)) -> AnchorsError {
    AnchorsError {
        problem: format!(
            "failed to access the trust store {:?} of type {:?}: {}",
            store.name,
            store.kind.name(),
            causes(error)
        ),
        may_pass: passes(error),
    }
}

/// Returns whether a system call failed beneath an error, for a reason that may pass.
fn passes(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| cause.downcast_ref::<io::Error>().is_some_and(may_pass))
}

/// Returns an error about a store as a whole.
fn about(store: &StoreName, what: &str) -> AnchorsError {
    AnchorsError {
        problem: format!(
            "the trust store {} of type {} {what}",
            store.name,
            store.kind.name()
        ),
        may_pass: false,
    }
}
