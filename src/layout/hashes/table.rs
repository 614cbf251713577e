//! The results of this process.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Lease, record};
use crate::layout::{Blob, Identity};
use crate::oci::{Algorithm, Digest};

/// Results kept in memory; beyond them all are forgotten, which costs hashing and nothing else.
const ENTRIES_MAX: usize = 200_000;

/// Names the bytes that were hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// The file and its state.
    pub(super) identity: Identity,
    /// Where the bytes begin.
    pub(super) offset: u64,
    /// How many they are.
    pub(super) size: u64,
    /// What they were hashed with.
    pub(super) algorithm: Algorithm,
}

impl Key {
    /// Names the bytes of a blob in a file that is in this state; nothing names bytes in memory.
    pub(super) fn of(blob: &Blob, identity: Identity, algorithm: Algorithm) -> Option<Self> {
        match blob {
            Blob::File { offset, size, .. } => Some(Self {
                identity,
                offset: *offset,
                size: *size,
                algorithm,
            }),
            Blob::Bytes(_) => None,
        }
    }
}

/// Is what hashing found.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The digest of the bytes.
    pub(super) digest: Digest,
    /// The chaining value after each whole chunk.
    pub(super) chunks: Arc<[u8]>,
    /// What the lease said; never `Writer`.
    pub(super) lease: Lease,
}

/// Holds results by what was hashed.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Key, Entry>,
    /// What may be remembered and was not saved yet.
    fresh: Vec<u8>,
    /// States of files about which what an earlier process remembered was found to be wrong.
    distrusted: HashSet<Identity>,
}

impl Table {
    /// Returns the result for a key.
    pub(super) fn entry(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    /// Returns whether there is a result for a key.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// Keeps a result; `fresh` where it may be remembered.
    pub(super) fn insert(&mut self, key: Key, entry: Entry, keep: Keep) {
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.clear();
            self.fresh.clear();
        }
        if keep == Keep::Remembered {
            record::write(&key, &entry, &mut self.fresh);
        }
        self.entries.insert(key, entry);
    }

    /// Forgets every result about a file in this state, here and in the memory.
    pub(super) fn distrust(&mut self, identity: Identity) {
        self.entries.retain(|key, _| key.identity != identity);
        self.fresh = record::without(&self.fresh, &identity);
        self.distrusted.insert(identity);
    }

    /// Returns whether what an earlier process remembered is of no use.
    pub(super) fn is_distrusted(&self, identity: &Identity) -> bool {
        self.distrusted.contains(identity)
    }

    /// Returns the records of what may be remembered since this was last asked.
    pub(super) fn take_fresh(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.fresh)
    }
}

/// Tells how long a result is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// For this process.
    Process,
    /// For later ones too.
    Remembered,
}
