//! A layout in a directory.
//!
//! The directory is held by a descriptor, so renames and mounts on its path do not disturb a reading. What the source *is*
//! stays what the path names: when the path names another directory, the next look at the stamp, the index or the listing
//! moves over to it, so that an old verdict never stands for a new index. While the path names no directory, the last one
//! stays; a path that something was mounted on (an over-mount) is not looked into.

mod commit;
pub(super) mod edit;
mod listing;
mod root;

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Addition, Blob, Committed, FileFacts, Identity, IndexBytes, Listing, Source, SourceError,
    Stamp, Store, Timestamp,
};
use crate::files::{self, Folder, Kind, OpenFile};
use crate::oci::Digest;
use crate::oci::limits::INDEX_BYTES_MAX;
use root::Root;

/// The name of the index.
const INDEX: &str = "index.json";

/// Files of the root that are judged by their content too.
const JUDGED: [&str; 3] = ["oci-layout", "manifest.json", "repositories"];

/// How often a reading that somebody wrote into is tried again.
const READINGS_MAX: u32 = 5;

/// Is a layout directory.
#[derive(Debug)]
pub struct Directory {
    /// What leads to the directory; `None` where it stays the one that was handed in.
    anchor: Option<root::Anchor>,
    root: Mutex<Arc<Root>>,
}

impl Directory {
    /// Opens a layout directory. Writes nothing.
    ///
    /// # Errors
    /// Refuses what is not a directory with an index.json.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let (anchor, root) = root::Anchor::open(path)?;
        if root.folder.stat_at(Path::new(INDEX))?.is_none() {
            return Err(SourceError::NotALayout {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            anchor: Some(anchor),
            root: Mutex::new(Arc::new(root)),
        })
    }

    /// Takes an open folder as a layout, for good: whatever its path names later.
    ///
    /// # Errors
    /// Returns what examining the folder returns.
    pub(super) fn of_folder(folder: Folder, path: &Path) -> Result<Self, SourceError> {
        Ok(Self {
            anchor: None,
            root: Mutex::new(Arc::new(Root::of_folder(folder, path)?)),
        })
    }

    /// Returns whether something is in the place of the index.
    pub(super) fn has_index(&self) -> Result<bool, SourceError> {
        Ok(self.held().folder.stat_at(Path::new(INDEX))?.is_some())
    }

    /// Returns the directory that the path names now.
    fn root(&self) -> Result<Arc<Root>, SourceError> {
        let held = self.held();
        let next = match &self.anchor {
            Some(anchor) => anchor.replaced(&held)?,
            None => None,
        };
        let Some(next) = next else {
            return Ok(held);
        };
        let next = Arc::new(next);
        *self.root.lock().unwrap_or_else(PoisonError::into_inner) = next.clone();
        Ok(next)
    }

    /// Returns the directory last found, without looking at the path: for blobs, which their digest proves.
    fn held(&self) -> Arc<Root> {
        self.root
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Reads index.json once, all of it from one state of the file where that can be had.
fn read_index(root: &Root) -> Result<IndexBytes, SourceError> {
    let mut readings = 1;
    loop {
        let now = Timestamp::now();
        let stamp = root.stamp()?;
        let file = open_index(root)?;
        // Who mapped the file before it was read changes it later without changing a time.
        let lease = file.lease();
        let bytes = file.read_bounded(INDEX_BYTES_MAX)?;
        let identity = Identity::from(&file.stat);
        let unchanged = Identity::from(&file.stat_now()?) == identity && root.stamp()? == stamp;
        if unchanged || readings == READINGS_MAX {
            return Ok(IndexBytes {
                bytes: bytes.into(),
                facts: FileFacts::from(&file.stat),
                stamp,
                settled: unchanged
                    && identity.changed.is_settled(now)
                    && files::nobody_wrote(&lease)
                    && others_settled(root, now)
                    && root.watches_all(),
            });
        }
        readings += 1;
    }
}

/// Returns whether an equal stamp later proves the same bytes of what else is judged by its content.
fn others_settled(root: &Root, now: Timestamp) -> bool {
    JUDGED.iter().all(|name| {
        // What is absent, or no file, has no content.
        let Ok(Some(file)) = root.folder.file(Path::new(name)) else {
            return true;
        };
        Timestamp::from(file.stat.changed).is_settled(now) && files::nobody_wrote(&file.lease())
    })
}

fn open_index(root: &Root) -> Result<OpenFile, SourceError> {
    root.folder
        .file(Path::new(INDEX))?
        .ok_or_else(|| SourceError::NotALayout {
            path: root.path.clone(),
        })
}

/// Returns where a blob lies, or `None` for digests that cannot be verified.
pub(super) fn blob_path(digest: &Digest) -> Option<PathBuf> {
    let algorithm = digest.algorithm()?.name();
    Some(PathBuf::from(format!("blobs/{algorithm}/{}", digest.hex())))
}

impl Source for Directory {
    fn stamp(&self) -> Result<Stamp, SourceError> {
        self.root()?.stamp()
    }

    fn index(&self) -> Result<IndexBytes, SourceError> {
        read_index(&*self.root()?)
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, SourceError> {
        let Some(path) = blob_path(digest) else {
            return Ok(None);
        };
        Ok(self.held().folder.file(&path)?.map(Blob::of_file))
    }

    fn state(&self, digest: &Digest) -> Option<Identity> {
        let stat = self.held().folder.stat_at(&blob_path(digest)?).ok()??;
        (stat.kind == Kind::File).then(|| Identity::from(&stat))
    }

    fn tells_states(&self) -> bool {
        true
    }

    fn listing(&self) -> Result<Listing, SourceError> {
        let root = self.root()?;
        let listing = listing::list(&root.folder)?;
        root.watch(&listing);
        Ok(listing)
    }

    fn file(&self, path: &Path) -> Result<Option<Blob>, SourceError> {
        let is_below = path
            .components()
            .all(|component| matches!(component, Component::Normal(_)));
        if !is_below || path.as_os_str().is_empty() {
            return Ok(None);
        }
        Ok(self.held().folder.file(path)?.map(Blob::of_file))
    }
}

impl Store for Directory {
    fn commit(&self, addition: &Addition) -> Result<Committed, SourceError> {
        commit::commit(self, addition)
    }
}

impl AsRef<Folder> for Root {
    fn as_ref(&self) -> &Folder {
        &self.folder
    }
}

#[cfg(test)]
mod tests;
