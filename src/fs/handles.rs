//! Open handles.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::FsError;
use super::content::ContentHandle;
use super::draft::Draft;
use super::folder::OpenFolder;
use super::scratch::ScratchFile;
use super::sign_file::Target;
use super::version::Version;
use super::workers::lock;

/// Is what an open handle reads and writes.
#[derive(Debug)]
pub(super) enum Handle {
    /// The bytes of a synthetic file as they were when it was opened.
    Bytes(Arc<[u8]>),
    /// The same, of a file that has versions; the version is kept for fstat.
    Version(Arc<Version>, Arc<[u8]>),
    /// A file of the layout that nothing is promised about.
    Plain,
    /// A blob, each chunk checked.
    Content(Arc<ContentHandle>),
    /// A blob that the kernel reads itself.
    Passthrough,
    /// A policy being written.
    Policy(Arc<Mutex<Draft>>),
    /// Requests being written to a `sign`.
    Sign(Box<Target>, Box<Mutex<Draft>>),
    /// A scratch file.
    Scratch(Arc<Mutex<ScratchFile>>),
    /// The names of a folder as they were when it was opened.
    Folder(OpenFolder),
}

/// Holds the open handles by number.
#[derive(Debug, Default)]
pub(super) struct Handles {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Handle>>>,
}

impl Handles {
    /// Adds a handle and returns its number.
    pub(super) fn add(&self, handle: Handle) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.open).insert(number, Arc::new(handle));
        number
    }

    /// Returns an open handle.
    pub(super) fn find(&self, number: u64) -> Option<Arc<Handle>> {
        lock(&self.open).get(&number).cloned()
    }

    /// Returns an open handle, or the error for one that is not.
    pub(super) fn get(&self, number: u64) -> Result<Arc<Handle>, FsError> {
        self.find(number).ok_or(FsError::UnknownHandle)
    }

    /// Closes a handle.
    pub(super) fn remove(&self, number: u64) -> Option<Arc<Handle>> {
        lock(&self.open).remove(&number)
    }
}
