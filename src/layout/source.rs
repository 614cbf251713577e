//! What a layout offers, whatever holds it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::{Blob, Identity, Timestamp};
use crate::files::{FileError, Stat};
use crate::oci::{Digest, JsonError};

/// Differs whenever the index or the listing may differ. Compared, never interpreted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Stamp(pub Vec<u64>);

/// Holds index.json exactly as it is stored.
#[derive(Debug, Clone)]
pub struct IndexBytes {
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// Owner, mode and times of the file.
    pub facts: FileFacts,
    /// The stamp of the reading.
    pub stamp: Stamp,
    /// Whether the file's ctime was at least 100 ms old, and nobody had it open or mapped for writing (where there are leases to
    /// tell): an equal stamp later proves the same bytes, of the other files that are judged by their content too. Where it was
    /// not, the reading serves one look.
    pub settled: bool,
}

/// Holds what stat says of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// Change time.
    pub changed: Timestamp,
}

/// Is one file below `blobs/ALG/` whose name is a digest.
#[derive(Debug, Clone)]
pub struct StoredBlob {
    /// The digest in its name.
    pub digest: Digest,
    /// Its stat.
    pub facts: FileFacts,
}

/// Tells what an extra root entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtraKind {
    /// A regular file.
    File,
    /// A folder; its entries follow in the listing with their paths.
    Directory,
    /// A symlink and its target, shown and never followed.
    Link(PathBuf),
}

/// Is anything in the layout that the specification does not name.
#[derive(Debug, Clone)]
pub struct Extra {
    /// The path below the root.
    pub path: PathBuf,
    /// What it is.
    pub kind: ExtraKind,
    /// Its stat.
    pub facts: FileFacts,
}

/// Lists what a layout stores.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The root's stat, where there is one.
    pub root: Option<FileFacts>,
    /// The stat of `blobs`, and of each `blobs/ALG`, by path below the root.
    pub folders: Vec<(PathBuf, FileFacts)>,
    /// The stat of `oci-layout`, where it exists.
    pub oci_layout: Option<FileFacts>,
    /// The stored blobs, sorted by digest.
    pub blobs: Arc<Vec<StoredBlob>>,
    /// Extras, parents before children, sorted by path.
    pub extras: Vec<Extra>,
    /// Fifos, sockets, devices and symlinks in place of layout files: hidden, counted.
    pub hidden: usize,
    /// The paths of those, the first [`Listing::IRREGULAR_MAX`] of them.
    pub irregular: Vec<PathBuf>,
    /// Names of writers in progress or left over (docs/SEMANTICS.md): not shown.
    pub leftovers: Vec<PathBuf>,
    /// What an overlay holds that is no part of the layout.
    pub ignored: Vec<Ignored>,
}

/// Is something in an overlay that is not shown, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// The overlay, or a file of it.
    pub path: PathBuf,
    /// The digest of the entry, where it has one.
    pub digest: Option<Digest>,
    /// Whether that is all of the overlay.
    pub is_whole: bool,
    /// Why it is not shown.
    pub problem: String,
}

impl Listing {
    /// Paths of hidden entries that are kept.
    pub const IRREGULAR_MAX: usize = 1000;

    /// Counts an entry that is hidden.
    pub(super) fn hide(&mut self, path: &std::path::Path) {
        self.hidden += 1;
        if self.irregular.len() < Self::IRREGULAR_MAX {
            self.irregular.push(path.to_owned());
        }
    }
}

/// Says why a layout cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A system call failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried, such as `opening`.
        operation: &'static str,
        /// On what, relative to the layout where it is inside.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something in the place of a layout file is not a regular file or folder.
    #[error("{path} is not a regular file")]
    NotRegular {
        /// The path below the root.
        path: PathBuf,
    },
    /// A file is larger than its limit.
    #[error("{path} has more than {limit} bytes")]
    TooLarge {
        /// The path below the root.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A folder has more entries than its limit.
    #[error("{path} has more than {limit} entries")]
    TooMany {
        /// The path below the root.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// No index.json: not a layout.
    #[error("{path} has no index.json: not an OCI image layout")]
    NotALayout {
        /// The path as typed.
        path: PathBuf,
    },
    /// A tar that cannot be read unambiguously.
    #[error("{path}: {problem}")]
    Archive {
        /// The path as typed.
        path: PathBuf,
        /// What is wrong: with which entry, and at which byte.
        problem: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// index.json is not acceptable JSON and so cannot be added to.
    #[error("index.json cannot be edited")]
    Index {
        /// Why.
        source: JsonError,
    },
    /// Another writer holds the lock.
    #[error("index.json.lock is held by {holder} for more than {seconds} s")]
    Locked {
        /// Who, as far as can be told (a pid, or "another process").
        holder: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Other writers removed our entry each time it was added.
    #[error("other writers removed the entry from index.json {attempts} times")]
    EntryLost {
        /// How often it was added.
        attempts: u32,
    },
    /// What would take the additions is no overlay of this layout.
    #[error("overlay {path}: {problem}")]
    Overlay {
        /// The overlay.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The source takes no additions.
    #[error("{path} is read-only")]
    ReadOnly {
        /// The path as typed.
        path: PathBuf,
    },
}

impl SourceError {
    /// Returns whether it may be over without anything having changed: no files left to open, or a disk that failed. Permissions do
    /// not change so.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }
}

impl From<FileError> for SourceError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io {
                operation,
                path,
                source,
            } => Self::Io {
                operation,
                path,
                source,
            },
            FileError::NotRegular { path } => Self::NotRegular { path },
            FileError::TooLarge { path, limit } => Self::TooLarge { path, limit },
            FileError::Locked {
                holder, seconds, ..
            } => Self::Locked { holder, seconds },
        }
    }
}

impl From<&Stat> for FileFacts {
    fn from(stat: &Stat) -> Self {
        Self {
            uid: stat.uid,
            gid: stat.gid,
            mode: stat.mode,
            size: stat.size,
            modified: stat.modified.into(),
            changed: stat.changed.into(),
        }
    }
}

/// Is a layout that can be read.
pub trait Source: Send + Sync {
    /// Returns the stamp of the present state.
    ///
    /// # Errors
    /// Returns an error where the layout cannot be read.
    fn stamp(&self) -> Result<Stamp, SourceError>;
    /// Returns index.json, read whole.
    ///
    /// # Errors
    /// Returns an error where it is absent, not a regular file, too large or unreadable.
    fn index(&self) -> Result<IndexBytes, SourceError>;
    /// Returns a blob, or `None` where it is not stored here (always for digests that cannot be verified).
    ///
    /// # Errors
    /// Returns an error where something is there that cannot be read as a regular file.
    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, SourceError>;
    /// Returns the state of the file that is stored under a digest, by one look at its name: nothing is opened, so nothing is
    /// said of who writes. `None` where nothing is there, or where one look does not tell.
    ///
    /// Only good for noticing changes: a state that was seen before, when the blob was opened, says that it is that file, unchanged.
    fn state(&self, _digest: &Digest) -> Option<Identity> {
        None
    }
    /// Returns whether [`Source::state`] ever says anything: what it would be compared with need not be held otherwise.
    fn tells_states(&self) -> bool {
        false
    }
    /// Returns whether each stored blob is a file of its own: only a whole file can be handed to the kernel.
    fn stores_files(&self) -> bool {
        true
    }
    /// Returns whether blobs come from elsewhere: then they are asked for one after another.
    fn is_remote(&self) -> bool {
        false
    }
    /// Lists stored blobs and extras.
    ///
    /// # Errors
    /// Returns an error where a folder cannot be read.
    fn listing(&self) -> Result<Listing, SourceError>;
    /// Returns a file of the root by its path below it (`oci-layout`, extras), or `None` where it is not there.
    ///
    /// # Errors
    /// Returns an error where it is not a regular file or cannot be opened.
    fn file(&self, path: &std::path::Path) -> Result<Option<Blob>, SourceError>;
}

/// Is what is added to a layout: blobs, and entries of index.json that name them.
#[derive(Debug, Clone, Default)]
pub struct Addition {
    /// New blobs; one already stored with this digest is left alone.
    pub blobs: Vec<(Digest, Vec<u8>)>,
    /// Entries for index.json; one whose digest is already listed untagged is left alone.
    pub entries: Vec<Value>,
}

/// Reports what a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// Blobs written (others were there).
    pub blobs_written: usize,
    /// Entries added to index.json.
    pub entries_added: usize,
    /// fsync and fdatasync calls made.
    pub fsyncs: usize,
}

/// Is a layout that can be added to.
pub trait Store: Source {
    /// Adds blobs and entries; a kill or error at any point leaves the old or the new state.
    ///
    /// # Errors
    /// Returns an error where nothing was added, or where it is not certain that what was added lasts.
    fn commit(&self, addition: &Addition) -> Result<Committed, SourceError>;
}
