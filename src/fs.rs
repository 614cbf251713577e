//! File system semantics: snapshot, freshness, handles, control files. Knows nothing of the kernel protocol.
//!
//! Not here: what a tree looks like (`tree`), verdicts (`audit`), errno numbers and threads of the kernel (`fuse`).

pub mod content;
mod control;
mod counters;
pub mod create;
mod document;
mod draft;
pub mod error;
pub mod folder;
mod handles;
pub mod inputs;
mod judge;
mod look;
pub mod names;
pub mod open;
mod plain;
mod policy_file;
mod present;
mod refresh;
mod request;
mod scratch;
pub mod setattr;
mod sign_file;
pub mod snapshot;
mod trust;
mod version;
pub mod workers;
mod xattr;

/// What `present` is made of.
mod primitives {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering};
    pub(super) use std::sync::{Condvar, Mutex};
}

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

pub use counters::Counts;
pub use error::FsError;
pub use inputs::{
    ConfiguredTrust, Inputs, Layout, Links, Options, Parts, PolicyFile, Reads, SignFile,
};
pub use names::{Kind, Lifetime, Stat};
pub use snapshot::Snapshot;
pub use workers::Workers;

use crate::audit::Envelopes;
use crate::layout::{Hashes, Source, Store};

/// Is who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The uid, as this process sees it.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
    /// The thread, as this process sees it.
    pub pid: u32,
}

/// Names what the kernel must no longer answer from its caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outdated {
    /// Attributes and pages of an inode.
    Inode(u64),
}

/// Is called, from a worker, for what the kernel holds too long.
pub type Tell = Box<dyn Fn(Outdated) + Send + Sync>;

/// Is one mounted file system.
pub struct Fs {
    source: Arc<dyn Source>,
    store: Option<Arc<dyn Store>>,
    hashes: Arc<Hashes>,
    inputs: Arc<dyn Inputs>,
    options: Options,
    /// The present snapshot; swapped whole.
    state: present::Present<Snapshot>,
    /// Held while a snapshot is made, by one thread at a time; nobody needs it for reading the present one.
    turn: Mutex<refresh::Turn>,
    control: Mutex<control::ControlState>,
    doubt: AtomicBool,
    last_look: Mutex<Option<Instant>>,
    handles: handles::Handles,
    contents: content::Contents,
    counters: counters::Counters,
    plains: plain::Plains,
    scratch: scratch::Scratches,
    drafts: policy_file::Drafts,
    envelopes: Arc<Envelopes>,
    versions: version::Versions,
    tell: OnceLock<Tell>,
    workers: Workers,
}

impl Fs {
    /// Reads the layout and makes the first snapshot, judged by remembered hashes.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let fs = Self {
            source: parts.layout.source(),
            store: parts.layout.store(),
            hashes: parts.hashes,
            inputs: parts.inputs,
            options: parts.options,
            state: present::Present::new(),
            turn: Mutex::default(),
            control: Mutex::default(),
            doubt: AtomicBool::new(false),
            last_look: Mutex::default(),
            handles: handles::Handles::default(),
            contents: content::Contents::default(),
            counters: counters::Counters::default(),
            plains: plain::Plains::default(),
            scratch: scratch::Scratches::default(),
            drafts: policy_file::Drafts::default(),
            envelopes: Arc::default(),
            versions: version::Versions::default(),
            tell: OnceLock::new(),
            workers: Workers::start(),
        };
        fs.begin();
        Arc::new(fs)
    }

    /// Returns the threads for work that waits.
    #[must_use]
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Returns the options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sets who tells the kernel what is outdated; once.
    pub fn on_outdated(&self, tell: Tell) {
        if self.tell.set(tell).is_err() {
            log::warn!("the kernel is already told");
        }
    }

    /// Makes the judging thread and all waits end.
    pub fn stop(&self) {
        self.state.stop();
    }

    fn is_stopping(&self) -> bool {
        self.state.is_stopping()
    }

    /// Tells the kernel about blobs and their folders that went or changed; they are all it keeps beyond an answer.
    fn tell_kernel(&self, before: Arc<Snapshot>, after: Arc<Snapshot>) {
        if self.tell.get().is_none() || Arc::ptr_eq(&before.basis.survey, &after.basis.survey) {
            return;
        }
        let outdated: Vec<u64> = before
            .tree
            .folders_and_blobs()
            .filter(names::is_kept)
            .filter(|entry| {
                let now = after.tree.entry(entry.inode);
                now.is_none_or(|now| now.attributes != entry.attributes)
            })
            .map(|entry| entry.inode)
            .collect();
        if let Some(tell) = self.tell.get() {
            for inode in outdated {
                tell(Outdated::Inode(inode));
            }
        }
    }

    /// Has the kernel ask again about the folders whose times a new blob changes.
    fn outdate_blob_folders(&self) {
        if let Some(tell) = self.tell.get() {
            for inode in names::blob_folders(&self.current().tree) {
                tell(Outdated::Inode(inode));
            }
        }
    }
}

#[cfg(test)]
mod tests;
