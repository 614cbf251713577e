//! Versions: the kernel gets to know each state of a synthetic file as a file of its own, under the same `st_ino`.
//!
//! The kernel asks for a size without saying through which handle, and keeps pages and sizes by file. With one file for all
//! states a reader could get the size of one and the bytes of another. So a lookup names the version that is present, a handle
//! holds the bytes of its version, and what the kernel keeps of a version stays right for ever. docs/SEMANTICS.md, "verify-status".

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::open::{Data, Mode, Open, Opened};
use super::workers::lock;
use super::{Fs, FsError, Kind, Lifetime, Snapshot, Stat, handles::Handle};
use crate::oci::Digest;
use crate::tree::{Attributes, Entry, Node, Tree, View};

/// The first number of a version, above all inode numbers.
pub(super) const VERSION_FIRST: u64 = 1 << 60;
/// Superseded versions that are kept although nobody has them open: somebody may just have looked them up.
const SUPERSEDED_MAX: usize = 1024;
/// Present versions that are kept; past this the memory of them starts over.
const PRESENT_MAX: usize = 1 << 17;
/// How long a thread that was told to look a name up again is expected to do so.
const RETRY: Duration = Duration::from_secs(1);
/// Threads remembered that were told so.
const RETRIES_MAX: usize = 64;

/// Is one state of a synthetic file.
#[derive(Debug)]
pub(super) struct Version {
    number: u64,
    inode: u64,
    attributes: Attributes,
    view: Option<View>,
    identity: Identity,
}

/// Tells the states of a file apart.
#[derive(Debug, Clone)]
enum Identity {
    /// Its bytes, which the snapshot holds too.
    Bytes(Arc<[u8]>),
    /// Their digest, where they are rendered when they are asked for.
    Digest(Digest),
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(one), Self::Bytes(other)) => Arc::ptr_eq(one, other) || one == other,
            (Self::Digest(one), Self::Digest(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Identity {}

/// Holds the versions that the kernel may know.
#[derive(Debug, Default)]
pub(super) struct Versions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    made: u64,
    by_number: HashMap<u64, Arc<Version>>,
    /// The number of the latest version of each inode.
    present: HashMap<u64, u64>,
    superseded: VecDeque<u64>,
    /// Threads whose opening found a version superseded.
    retries: VecDeque<Retry>,
}

/// Is a thread that was told to look a name up again.
#[derive(Debug)]
struct Retry {
    thread: u32,
    told: Instant,
    /// The version that it found then, all of its inputs looked at, and the bytes of it.
    found: Option<(u64, Arc<[u8]>)>,
}

impl State {
    fn latest(&self, inode: u64) -> Option<&Arc<Version>> {
        self.by_number.get(self.present.get(&inode)?)
    }

    fn supersede(&mut self, number: u64) {
        self.superseded.push_back(number);
        while self.superseded.len() > SUPERSEDED_MAX {
            let Some(oldest) = self.superseded.pop_front() else {
                return;
            };
            let open = self.by_number.get(&oldest).map_or(0, Arc::strong_count) > 1;
            if open {
                // A handle holds it too: fstat must still answer.
                self.superseded.push_back(oldest);
                return;
            }
            self.by_number.remove(&oldest);
        }
    }

    fn retry(&mut self, thread: u32) -> Option<&mut Retry> {
        self.retries
            .iter_mut()
            .find(|retry| retry.thread == thread && retry.told.elapsed() < RETRY)
    }

    /// Returns the retry of a thread that was told a moment ago; notes that it is told now otherwise.
    fn tries_again(&mut self, thread: u32) -> Option<Retry> {
        let told = self.retries.iter().position(|known| known.thread == thread);
        let retry = told.and_then(|position| self.retries.remove(position));
        if let Some(retry) = retry.filter(|retry| retry.told.elapsed() < RETRY) {
            return Some(retry);
        }
        if self.retries.len() >= RETRIES_MAX {
            self.retries.pop_front();
        }
        self.retries.push_back(Retry {
            thread,
            told: Instant::now(),
            found: None,
        });
        None
    }
}

impl Versions {
    fn find(&self, number: u64) -> Option<Arc<Version>> {
        lock(&self.state).by_number.get(&number).cloned()
    }

    /// Returns the version that an entry is, made where there is none yet; `None` where it has none.
    ///
    /// Control files have none: whoever writes or touches one means the file.
    fn of(&self, tree: &Tree, entry: &Entry) -> Option<Arc<Version>> {
        let (view, identity) = match &entry.node {
            Node::Index(bytes) => (None, Identity::Bytes(Arc::clone(bytes))),
            Node::Rendered(view, bytes) => (Some(*view), Identity::Bytes(Arc::clone(bytes))),
            Node::Later(view, _) => (Some(*view), Identity::Digest(tree.rendered(entry)?.digest)),
            _ => return None,
        };
        let attributes = tree.attributes_of(entry);
        let mut state = lock(&self.state);
        if let Some(latest) = state.latest(entry.inode)
            && latest.attributes == attributes
            && latest.identity == identity
        {
            return Some(Arc::clone(latest));
        }
        if state.present.len() >= PRESENT_MAX {
            for number in std::mem::take(&mut state.present).into_values() {
                state.supersede(number);
            }
        }
        state.made += 1;
        let version = Arc::new(Version {
            number: VERSION_FIRST.saturating_add(state.made),
            inode: entry.inode,
            attributes,
            view,
            identity,
        });
        state.by_number.insert(version.number, Arc::clone(&version));
        if let Some(before) = state.present.insert(entry.inode, version.number) {
            state.supersede(before);
        }
        Some(version)
    }

    /// Returns the inode number that a number stands for: its own, or that of the file it is a version of.
    pub(super) fn inode(&self, number: u64) -> u64 {
        match number {
            VERSION_FIRST.. => self.find(number).map_or(number, |version| version.inode),
            _ => number,
        }
    }
}

impl Version {
    /// Says what stat says.
    pub(super) fn stat(&self, lifetime: Lifetime) -> Stat {
        Stat {
            inode: self.inode,
            number: self.number,
            kind: Kind::File,
            attributes: self.attributes,
            lifetime,
        }
    }
}

impl Fs {
    /// Returns whether a number is that of a version: what is asked about it needs no look at anything.
    #[must_use]
    pub fn is_version(&self, number: u64) -> bool {
        number >= VERSION_FIRST
    }

    /// Says what a lookup answers for an entry.
    pub(super) fn stat_found(&self, tree: &Tree, entry: &Entry) -> Stat {
        match self.versions.of(tree, entry) {
            // The answer's attributes count for nothing: they would show the number of the version as `st_ino`.
            Some(version) => version.stat(Lifetime::None),
            None => self.stat_of(tree, entry),
        }
    }

    /// Says what stat says of a version.
    pub(super) fn stat_version(&self, number: u64) -> Result<Stat, FsError> {
        let version = self.versions.find(number).ok_or(FsError::StaleInode)?;
        Ok(version.stat(Lifetime::Long))
    }

    /// Opens a version, where it is the present one.
    ///
    /// Where it is not, the kernel is told to look the name up again, once. A thread that comes back too late with what it found
    /// then gets that: it was the present one while the program was opening. One that looked nothing up (an old handle opened
    /// again through /proc) gets the present bytes, past the kernel's memory of the version.
    pub(super) fn open_version(&self, snapshot: &Snapshot, open: &Open) -> Result<Opened, FsError> {
        let version = self.versions.find(open.inode).ok_or(FsError::StaleInode)?;
        if open.mode != Mode::Read {
            return Err(match version.view {
                Some(View::Status) => FsError::ReadOnlyStatus,
                _ => FsError::ReadOnlyContent,
            });
        }
        let tree = &snapshot.tree;
        let entry = tree.entry(version.inode).ok_or(FsError::StaleInode)?;
        let present = self.versions.of(tree, &entry).ok_or(FsError::StaleInode)?;
        let bytes = tree.bytes_of(&entry).ok_or(FsError::StaleInode)?;
        let (handle, data) = if present.number == version.number {
            (Handle::Version(version, bytes), Data::Version)
        } else if open.caller.pid == 0 {
            // All threads of other process name spaces are one: none of them can be told to look again.
            (Handle::Version(present, bytes), Data::Bound)
        } else {
            match lock(&self.versions.state).tries_again(open.caller.pid) {
                None => return Err(FsError::StaleInode),
                Some(Retry {
                    found: Some((found, bytes)),
                    ..
                }) if found == version.number => {
                    // Found within this very opening, when it was the present one.
                    (Handle::Version(version, bytes), Data::Version)
                }
                Some(_) => (Handle::Version(present, bytes), Data::Bound),
            }
        };
        Ok(Opened {
            handle: self.handles.add(handle),
            data,
        })
    }

    /// Returns whether a thread looks a name up again because what it found was superseded before it could be opened.
    #[must_use]
    pub fn looks_again(&self, thread: u32) -> bool {
        let mut state = lock(&self.versions.state);
        !state.retries.is_empty() && state.retry(thread).is_some()
    }

    /// Notes what such a thread found. All inputs were looked at for it, those of opening too, so it may be opened although it is
    /// superseded by then.
    pub fn found_again(&self, snapshot: &Snapshot, thread: u32, found: &Stat) {
        let entry = snapshot.tree.entry(found.inode);
        let bytes = entry.and_then(|entry| snapshot.tree.bytes_of(&entry));
        if let Some(retry) = lock(&self.versions.state).retry(thread) {
            retry.found = bytes.map(|bytes| (found.number, bytes));
        }
    }
}
