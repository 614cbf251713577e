//! Where the configuration is, and how its folders and files are opened and made.

use std::ffi::OsString;
use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::SettingsError;
use crate::files::{FileError, Folder, NewFile, OpenFile, replace_path, route};
use crate::notary::{StoreName, StoreType};

/// Whoever this is called for has no configuration: nothing can be below it.
const NOWHERE: &str = "/dev/null";

/// Is notation's configuration folder.
#[derive(Debug, Clone)]
pub struct ConfigDir {
    path: PathBuf,
    /// The device number of the mount that it is read for; 0, which no device has, before there is one. Shared by all clones.
    avoided: Arc<AtomicU64>,
}

impl ConfigDir {
    /// Finds the folder: the flag, else `NOTATION_CONFIG`, `$XDG_CONFIG_HOME/notation`, `~/.config/notation`. Nothing is opened.
    ///
    /// Without any of them there is no configuration; the working directory, which may be a layout, is never looked at.
    #[must_use]
    pub fn find(flag: Option<&Path>, env: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let named = |name: &str| {
            env(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let standard = || {
            let base = named("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
            base.or_else(|| named("HOME").map(|home| home.join(".config")))
        };
        let path = flag
            .map(Path::to_owned)
            .or_else(|| named("NOTATION_CONFIG"))
            .or_else(|| standard().map(|base| base.join("notation")))
            .unwrap_or_else(|| Path::new(NOWHERE).join("notation"));
        Self {
            path: std::path::absolute(&path).unwrap_or(path),
            avoided: Arc::default(),
        }
    }

    /// Tells the device number of the mount that this is read for: no name in it may be asked for, because whoever answers waits for
    /// who reads this.
    pub fn avoid(&self, device: u64) {
        self.avoided.store(device, Ordering::Release);
    }

    /// Returns whether a path leads into the mount that this is read for.
    #[must_use]
    pub fn leads_into_mount(&self, path: &Path) -> bool {
        match self.avoided.load(Ordering::Acquire) {
            0 => false,
            device => route::touches(path, device),
        }
    }

    /// Returns whether what stat says is of something in the mount that this is read for.
    pub(super) fn is_in_mount(&self, metadata: &Metadata) -> bool {
        metadata.dev() == self.avoided.load(Ordering::Acquire)
    }

    /// Refuses a path that leads into the mount that this is read for.
    pub(super) fn refuse_mount(&self, path: &Path) -> Result<(), SettingsError> {
        match self.leads_into_mount(path) {
            true => Err(SettingsError::IntoMount {
                path: path.to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Returns whether a path is in the folder of whoever has none.
    #[must_use]
    pub fn is_nowhere(path: &Path) -> bool {
        path.starts_with(Path::new(NOWHERE).join("notation"))
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a policy file.
    pub(super) fn policy(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the path of the key list.
    pub(super) fn keys(&self) -> PathBuf {
        self.path.join("signingkeys.json")
    }

    /// Returns the path of the folder of local keys.
    pub(super) fn local_keys(&self) -> PathBuf {
        self.path.join("localkeys")
    }

    /// Returns the path of the folder of all stores of one type.
    pub(super) fn stores(&self, kind: StoreType) -> PathBuf {
        self.path.join("truststore/x509").join(kind.name())
    }

    /// Returns the folders that all stores lie in, from the configuration itself on: none of them may be writable by everybody.
    pub(super) fn above_stores(&self) -> [PathBuf; 3] {
        let below = |name: &str| self.path.join(name);
        [
            self.path.clone(),
            below("truststore"),
            below("truststore/x509"),
        ]
    }

    /// Returns the path of one store.
    pub(super) fn store(&self, store: &StoreName) -> PathBuf {
        self.stores(store.kind).join(&store.name)
    }

    /// Opens the folder itself; `None` where there is none.
    pub(super) fn open(&self) -> Result<Option<Folder>, SettingsError> {
        self.refuse_mount(&self.path)?;
        let folder = open_folder(&self.path)?;
        if let Some(folder) = &folder {
            let stat = folder.stat().map_err(SettingsError::file(&self.path))?;
            refuse_world_writable(&self.path, stat.mode)?;
        }
        Ok(folder)
    }

    /// Opens the folder of all stores of one type; `None` where there is none.
    ///
    /// Refuses stores that everybody could exchange, because it or a folder above it is writable by everybody.
    pub(super) fn open_stores(&self, kind: StoreType) -> Result<Option<Folder>, SettingsError> {
        let stores = self.stores(kind);
        self.refuse_mount(&stores)?;
        let opened = open_folder(&stores)?;
        if let Some(open) = &opened {
            let stat = open.stat().map_err(SettingsError::file(&stores))?;
            refuse_world_writable(&stores, stat.mode)?;
        }
        for folder in self.above_stores() {
            match std::fs::metadata(&folder) {
                Ok(facts) => refuse_world_writable(&folder, facts.mode())?,
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(SettingsError::io("examining", folder)(error)),
            }
        }
        Ok(opened)
    }

    /// Opens a file of the folder, never through a symlink; `None` where there is none.
    pub(super) fn open_file(&self, name: &str) -> Result<Option<OpenFile>, SettingsError> {
        let Some(folder) = self.open()? else {
            return Ok(None);
        };
        folder
            .file(Path::new(name))
            .map_err(SettingsError::file(self.path.join(name)))
    }
}

/// Opens a folder by path; `None` where there is none.
pub(super) fn open_folder(path: &Path) -> Result<Option<Folder>, SettingsError> {
    match Folder::open(path) {
        Ok(folder) => Ok(Some(folder)),
        Err(FileError::Io { source, .. }) if is_absent(&source) => Ok(None),
        Err(error) => Err(SettingsError::file(path)(error)),
    }
}

/// Returns whether an error says that there is no such file.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// Makes a folder and those above it, for the user alone.
pub(super) fn make_folders(path: &Path) -> Result<(), SettingsError> {
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(SettingsError::io("making the folder", path))
}

/// Writes a file that must not be there yet, and makes it durable.
pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SettingsError> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(SettingsError::Exists {
                path: path.to_owned(),
            });
        }
        opened => opened.map_err(SettingsError::io("making", path))?,
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _the_first_error_counts = std::fs::remove_file(path);
    }
    written.map_err(SettingsError::io("writing", path))
}

/// Replaces a file, or makes it, for the user alone.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), SettingsError> {
    if let Some(parent) = path.parent() {
        make_folders(parent)?;
    }
    let new = NewFile {
        mode: 0o600,
        owner: None,
    };
    replace_path(path, bytes, &new)
        .map(|_fsyncs| ())
        .map_err(SettingsError::file(path))
}

/// Refuses a file or folder that everybody may write.
pub(super) fn refuse_world_writable(path: &Path, mode: u32) -> Result<(), SettingsError> {
    if mode & 0o002 == 0 {
        return Ok(());
    }
    Err(SettingsError::Permissions {
        path: path.to_owned(),
        problem: WORLD_WRITABLE,
    })
}

/// What is wrong with a file that everybody may write.
pub(super) const WORLD_WRITABLE: &str = "is writable by everybody: anybody could have written it";
