//! A layout in a plain tar, indexed by seeking and never unpacked. Read-only here.
//!
//! The reader is strict: an archive that two readers could understand differently is refused. Members whose names lead out
//! of the archive are ignored and counted; links are never followed out of it. When the path names another file, or the file
//! changed, the next look at the stamp, the index or the listing reads the headers again.

mod header;
mod index;
mod listing;
mod pax;
mod scan;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Blob, FileFacts, Identity, IndexBytes, Listing, Source, SourceError, Stamp, Timestamp,
};
use crate::files;
use crate::oci::Digest;
use crate::oci::limits::INDEX_BYTES_MAX;
use index::{Index, Node, Placed};
use scan::{ScanError, scan};

/// Is a layout in a tar.
#[derive(Debug)]
pub struct Tar {
    /// The path, absolute: the working directory may change.
    path: PathBuf,
    typed: PathBuf,
    archive: Mutex<Arc<Archive>>,
}

/// Is an archive as it was indexed.
#[derive(Debug)]
struct Archive {
    file: Arc<OwnedFd>,
    identity: Identity,
    index: Index,
}

impl Tar {
    /// Opens and indexes a tar.
    ///
    /// # Errors
    /// Refuses compressed, truncated, ambiguous or desynchronised archives.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let absolute =
            std::path::absolute(path).map_err(files::FileError::io("resolving", path))?;
        let archive = Archive::open(&absolute, path)?.ok_or_else(|| {
            let source = std::io::ErrorKind::NotFound.into();
            SourceError::from(files::FileError::io("opening", path)(source))
        })?;
        Ok(Self {
            path: absolute,
            typed: path.to_owned(),
            archive: Mutex::new(Arc::new(archive)),
        })
    }

    /// Returns the archive that the path names now, indexed; the last one where the path names none.
    fn archive(&self) -> Result<Arc<Archive>, SourceError> {
        let held = self.held();
        let is_held = |identity: &Identity| *identity == held.identity;
        match files::stat_path(&self.path) {
            Ok(stat) if !is_held(&Identity::from(&stat)) => {}
            Ok(_) | Err(_) => return Ok(held),
        }
        let Some(archive) = Archive::open(&self.path, &self.typed)? else {
            return Ok(held);
        };
        let archive = Arc::new(archive);
        *self.archive.lock().unwrap_or_else(PoisonError::into_inner) = archive.clone();
        Ok(archive)
    }

    fn held(&self) -> Arc<Archive> {
        self.archive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Archive {
    /// Opens and indexes an archive; `None` where the path names nothing.
    fn open(path: &Path, typed: &Path) -> Result<Option<Self>, SourceError> {
        let refuse = |problem| SourceError::Archive {
            path: typed.to_owned(),
            problem,
        };
        let Some(file) = files::open_path(path)? else {
            return Ok(None);
        };
        let identity = Identity::from(&file.stat);
        let members = scan(&file).map_err(|error| match error {
            ScanError::Refused { problem, offset } => {
                refuse(format!("{problem} (at byte {offset})"))
            }
            ScanError::Read(source) => files::FileError::io("reading", typed)(source).into(),
        })?;
        let index = index::build(&file, members).map_err(refuse)?;
        if !index.nodes.contains_key(Path::new("index.json")) {
            return Err(SourceError::NotALayout {
                path: typed.to_owned(),
            });
        }
        Ok(Some(Self {
            file: Arc::new(file.file),
            identity,
            index,
        }))
    }

    /// Returns the file at a path below the root, or `None` where nothing has it.
    fn blob(&self, path: &Path) -> Result<Option<Blob>, SourceError> {
        match self.index.nodes.get(path).map(|placed| &placed.node) {
            None => Ok(None),
            Some(Node::File { offset, size }) => Ok(Some(Blob::File {
                file: self.file.clone(),
                offset: *offset,
                size: *size,
                identity: self.identity,
            })),
            Some(Node::Folder | Node::Link(_) | Node::Special) => Err(SourceError::NotRegular {
                path: path.to_owned(),
            }),
        }
    }

    /// Returns the facts of a member: the times are the member's and the archive's, owner and mode are this process's.
    fn facts(&self, placed: &Placed) -> FileFacts {
        let (size, mode) = match &placed.node {
            Node::File { size, .. } => (*size, 0o444),
            Node::Link(_) => (0, 0o777),
            Node::Folder | Node::Special => (0, 0o555),
        };
        FileFacts {
            uid: files::effective_uid(),
            gid: files::effective_gid(),
            mode,
            size,
            modified: Timestamp {
                seconds: placed.modified.0,
                nanoseconds: placed.modified.1,
            },
            changed: self.identity.changed,
        }
    }
}

impl Source for Tar {
    fn stamp(&self) -> Result<Stamp, SourceError> {
        Ok(stamp(&self.archive()?.identity))
    }

    fn index(&self) -> Result<IndexBytes, SourceError> {
        let now = Timestamp::now();
        let archive = self.archive()?;
        let path = Path::new("index.json");
        let (Some(placed), Some(blob)) = (archive.index.nodes.get(path), archive.blob(path)?)
        else {
            return Err(SourceError::NotALayout {
                path: self.typed.clone(),
            });
        };
        if blob.size() > INDEX_BYTES_MAX {
            return Err(SourceError::TooLarge {
                path: path.to_owned(),
                limit: INDEX_BYTES_MAX,
            });
        }
        let bytes = blob
            .read_all(INDEX_BYTES_MAX)
            .map_err(files::FileError::io("reading", path))?;
        let unchanged = current_identity(&archive) == Some(archive.identity);
        Ok(IndexBytes {
            bytes: bytes.into(),
            facts: archive.facts(placed),
            stamp: stamp(&archive.identity),
            settled: unchanged && archive.identity.changed.is_settled(now),
        })
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, SourceError> {
        match super::directory::blob_path(digest) {
            Some(path) => self.held().blob(&path),
            None => Ok(None),
        }
    }

    fn listing(&self) -> Result<Listing, SourceError> {
        Ok(listing::list(&*self.archive()?))
    }

    fn file(&self, path: &Path) -> Result<Option<Blob>, SourceError> {
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        self.held().blob(path)
    }
}

/// Returns the identity of the open archive as it is now.
fn current_identity(archive: &Archive) -> Option<Identity> {
    let stat = files::stat_open(archive.file.as_fd()).ok()?;
    Some(Identity::from(&stat))
}

fn stamp(identity: &Identity) -> Stamp {
    Stamp(vec![
        identity.device,
        identity.mount.unwrap_or_default(),
        identity.inode,
        identity.size,
        identity.modified.seconds.cast_unsigned(),
        u64::from(identity.modified.nanoseconds),
        identity.changed.seconds.cast_unsigned(),
        u64::from(identity.changed.nanoseconds),
    ])
}

#[cfg(test)]
mod tests;
