//! A layout in a tar, indexed by seeking and never extracted. Read-only here.
//!
//! The reader is strict: an archive that two readers could understand differently is refused, with the entry, its offset and
//! what to do. A compressed tar is unpacked once, to a file without a name (`compressed`). When the path names another file,
//! or the file changed, the next look at the index or the listing reads the headers again.

mod archive;
mod header;
mod index;
mod listing;
mod members;
mod pax;
mod places;
mod problem;
mod scan;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::compressed::{self, Input};
use super::{Blob, Identity, IndexBytes, Listing, Source, SourceError, Stamp, Timestamp};
use crate::files::{self, OpenFile};
use crate::oci::limits::INDEX_BYTES_MAX;
use crate::oci::{Digest, NoProgress, Progress};
use archive::Archive;

/// How standard input is written on a command line.
pub const STANDARD_INPUT: &str = "-";

/// Is a layout in a tar, or in a compressed one.
#[derive(Debug)]
pub struct Tar {
    origin: Origin,
    typed: PathBuf,
    archive: Mutex<Arc<Archive>>,
}

/// Tells where an archive comes from.
#[derive(Debug)]
enum Origin {
    /// What this path names, absolute: the working directory may change.
    Path(PathBuf),
    /// A descriptor that the process was started with.
    Descriptor,
}

impl Tar {
    /// Opens and indexes a tar; a compressed one is unpacked first.
    ///
    /// # Errors
    /// Refuses truncated, ambiguous or desynchronised archives, and what unpacks to too much.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        Self::open_watched(path, &NoProgress)
    }

    /// Does the same, and reports how much of a compressed tar is unpacked.
    ///
    /// # Errors
    /// As [`Tar::open`].
    pub fn open_watched(path: &Path, progress: &dyn Progress) -> Result<Self, SourceError> {
        let absolute =
            std::path::absolute(path).map_err(files::FileError::io("resolving", path))?;
        let file = files::open_path(&absolute)?.ok_or_else(|| {
            let source = std::io::ErrorKind::NotFound.into();
            SourceError::from(files::FileError::io("opening", path)(source))
        })?;
        let archive = Archive::load(file, path, progress)?;
        Ok(Self {
            origin: Origin::Path(absolute),
            typed: path.to_owned(),
            archive: Mutex::new(Arc::new(archive)),
        })
    }

    /// Reads a tar from a descriptor: a regular file by seeking, anything else to a file without a name first.
    ///
    /// # Errors
    /// As [`Tar::open`].
    pub fn of_descriptor(
        descriptor: OwnedFd,
        progress: &dyn Progress,
    ) -> Result<Self, SourceError> {
        let typed = Path::new(STANDARD_INPUT);
        let examined = files::stat_open(descriptor.as_fd());
        let stat = examined.map_err(files::FileError::io("examining", typed))?;
        // Who has read a part of the file already means the rest of it.
        let whole =
            stat.kind == files::Kind::File && files::position(descriptor.as_fd()).ok() == Some(0);
        let archive = if whole {
            Archive::load(OpenFile::new(descriptor, typed)?, typed, progress)?
        } else {
            let mut stream = std::fs::File::from(descriptor);
            let unpacked = compressed::spool(&mut Input::new(&mut stream), typed, progress)?;
            Archive::index(unpacked, None, typed)?
        };
        Ok(Self {
            origin: Origin::Descriptor,
            typed: typed.to_owned(),
            archive: Mutex::new(Arc::new(archive)),
        })
    }

    /// Returns the state of the file that the archive is in now; `None` where there is none to be seen.
    fn identity(&self, held: &Archive) -> Option<Identity> {
        let stat = match &self.origin {
            Origin::Path(path) => files::stat_path(path),
            Origin::Descriptor => files::stat_open(held.file.as_fd()),
        };
        stat.ok().map(|stat| Identity::from(&stat))
    }

    /// Returns the archive that the path names now, indexed; the last one where the path names none.
    fn archive(&self) -> Result<Arc<Archive>, SourceError> {
        let held = self.held();
        match self.identity(&held) {
            Some(now) if now != held.outer || !held.settled => {}
            Some(_) | None => return Ok(held),
        }
        let next = match &self.origin {
            Origin::Path(path) => {
                let Some(file) = files::open_path(path)? else {
                    return Ok(held);
                };
                Archive::load(file, &self.typed, &NoProgress)?
            }
            Origin::Descriptor => {
                let again = held.file.try_clone();
                let again = again.map_err(files::FileError::io("opening", &self.typed))?;
                Archive::load(OpenFile::new(again, &self.typed)?, &self.typed, &NoProgress)?
            }
        };
        let next = Arc::new(next);
        *self.archive.lock().unwrap_or_else(PoisonError::into_inner) = next.clone();
        Ok(next)
    }

    /// Returns the archive last indexed, without a look at the path: for blobs, which their digest proves.
    fn held(&self) -> Arc<Archive> {
        self.archive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Source for Tar {
    fn stores_files(&self) -> bool {
        false
    }

    /// A look only: what changed is read (and unpacked) by whoever asks for the index.
    fn stamp(&self) -> Result<Stamp, SourceError> {
        let held = self.held();
        Ok(stamp(&self.identity(&held).unwrap_or(held.outer)))
    }

    fn index(&self) -> Result<IndexBytes, SourceError> {
        let now = Timestamp::now();
        let archive = self.archive()?;
        let path = Path::new("index.json");
        let (Some(placed), Some(blob)) = (archive.index.node(path), archive.blob(path)?) else {
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
        // What the headers say was read before; nobody wrote since then, who did not change the times.
        let unchanged = self.identity(&archive) == Some(archive.outer) && archive.settled;
        Ok(IndexBytes {
            bytes: bytes.into(),
            facts: archive.facts(&placed),
            stamp: stamp(&archive.outer),
            settled: unchanged && archive.outer.changed.is_settled(now),
        })
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, SourceError> {
        self.held().stored(digest)
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

fn stamp(identity: &Identity) -> Stamp {
    Stamp(identity.numbers().to_vec())
}

#[cfg(test)]
pub(super) mod tests;
