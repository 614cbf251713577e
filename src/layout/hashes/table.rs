//! The results of this process.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{Lease, record};
use crate::layout::{Blob, Identity};
use crate::oci::{Algorithm, Digest};

/// Results kept in memory; beyond them all are forgotten, which costs hashing and nothing else.
const ENTRIES_MAX: usize = 200_000;

/// Names the bytes that were hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

impl Hash for Key {
    /// Writes all but the algorithm, of which there are three.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
        state.write_u64(self.offset);
        state.write_u64(self.size);
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
    entries: HashMap<Part, Kept>,
    /// The number of each state of a file that `entries` speaks of: all members of a tar have one.
    files: HashMap<Identity, u32>,
    /// States of files about which what an earlier process remembered was found to be wrong.
    distrusted: HashSet<Identity>,
}

/// Is a key with the number of its file's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Part {
    offset: u64,
    size: u64,
    file: u32,
    algorithm: Algorithm,
}

/// Is an entry as it is held: most blobs are too small for chaining values.
#[derive(Debug)]
struct Kept {
    digest: Digest,
    chunks: Option<Box<Arc<[u8]>>>,
    lease: Lease,
    /// Whether it may be remembered and was not saved yet.
    fresh: bool,
}

impl Table {
    /// Returns the result for a key.
    pub(super) fn entry(&self, key: &Key) -> Option<Entry> {
        let kept = self.entries.get(&self.part(key)?)?;
        Some(kept.entry())
    }

    /// Returns whether the result for a key is this digest, and what the lease said then; nothing where there is none.
    pub(super) fn says(&self, key: &Key, digest: &Digest) -> Option<(bool, Lease)> {
        let kept = self.entries.get(&self.part(key)?)?;
        Some((kept.digest == *digest, kept.lease))
    }

    /// Returns whether there is a result for a key.
    pub(super) fn has(&self, key: &Key) -> bool {
        let part = self.part(key);
        part.is_some_and(|part| self.entries.contains_key(&part))
    }

    /// Keeps a result.
    pub(super) fn insert(&mut self, key: Key, entry: Entry, keep: Keep) {
        // A state that is distrusted keeps its number without an entry.
        if self.entries.len().max(self.files.len()) >= ENTRIES_MAX {
            self.entries.clear();
            self.files.clear();
        }
        // The states are few enough that each has a number of its own.
        let next = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let file = *self.files.entry(key.identity).or_insert(next);
        let kept = Kept {
            digest: entry.digest,
            chunks: (!entry.chunks.is_empty()).then(|| Box::new(entry.chunks)),
            lease: entry.lease,
            fresh: keep == Keep::Remembered,
        };
        self.entries.insert(part(file, &key), kept);
    }

    /// Forgets every result about a file in this state, here and in the memory.
    pub(super) fn distrust(&mut self, identity: Identity) {
        // Its number stays taken: the next one is how many there are.
        if let Some(file) = self.files.get(&identity) {
            self.entries.retain(|part, _| part.file != *file);
        }
        self.distrusted.insert(identity);
    }

    /// Returns whether what an earlier process remembered is of no use.
    pub(super) fn is_distrusted(&self, identity: &Identity) -> bool {
        self.distrusted.contains(identity)
    }

    /// Returns the records of what may be remembered since this was last asked.
    pub(super) fn take_fresh(&mut self) -> Vec<u8> {
        let states: HashMap<u32, &Identity> = (self.files.iter())
            .map(|(identity, file)| (*file, identity))
            .collect();
        let fresh = self.entries.iter_mut();
        let fresh = fresh.filter_map(|(part, kept)| {
            let is_fresh = std::mem::take(&mut kept.fresh);
            is_fresh.then_some((part, &*kept))
        });
        let mut fresh: Vec<_> = fresh.collect();
        // In the order of hashing, as far as files are numbered in it: of too many, those written last are kept.
        fresh.sort_unstable_by_key(|(part, _)| (part.file, part.offset));
        let mut records = Vec::new();
        for (part, kept) in fresh {
            if let Some(identity) = states.get(&part.file) {
                record::write(&part.key(**identity), &kept.entry(), &mut records);
            }
        }
        records
    }

    fn part(&self, key: &Key) -> Option<Part> {
        let file = self.files.get(&key.identity)?;
        Some(part(*file, key))
    }
}

fn part(file: u32, key: &Key) -> Part {
    Part {
        offset: key.offset,
        size: key.size,
        file,
        algorithm: key.algorithm,
    }
}

impl Part {
    fn key(self, identity: Identity) -> Key {
        Key {
            identity,
            offset: self.offset,
            size: self.size,
            algorithm: self.algorithm,
        }
    }
}

impl Kept {
    fn entry(&self) -> Entry {
        Entry {
            digest: self.digest.clone(),
            chunks: self.chunks.as_deref().cloned().unwrap_or_default(),
            lease: self.lease,
        }
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

#[cfg(test)]
mod tests {
    use super::super::record::Records;
    use super::*;

    fn state(inode: u64) -> Identity {
        Identity {
            device: 1,
            mount: None,
            inode,
            size: 9,
            modified: crate::layout::Timestamp::default(),
            changed: crate::layout::Timestamp::default(),
        }
    }

    fn key(inode: u64, offset: u64) -> Key {
        Key {
            identity: state(inode),
            offset,
            size: 1,
            algorithm: Algorithm::Sha256,
        }
    }

    fn entry(text: &str) -> Entry {
        Entry {
            digest: Digest::of(text.as_bytes()),
            chunks: Arc::default(),
            lease: Lease::Granted,
        }
    }

    /// Adds a result for each of two places in each of three files.
    fn table() -> Table {
        let mut table = Table::default();
        for inode in 1..4 {
            for offset in 0..2 {
                let entry = entry(&format!("{inode} {offset}"));
                table.insert(key(inode, offset), entry, Keep::Remembered);
            }
        }
        table
    }

    fn digest(table: &Table, inode: u64, offset: u64) -> Option<Digest> {
        table.entry(&key(inode, offset)).map(|entry| entry.digest)
    }

    #[test]
    fn a_state_that_is_distrusted_lends_its_results_to_no_other() {
        let mut table = table();
        table.distrust(state(2));
        table.insert(key(4, 0), entry("4 0"), Keep::Process);
        table.insert(key(2, 1), entry("again"), Keep::Process);
        let of = |text: &str| Some(Digest::of(text.as_bytes()));
        assert_eq!(digest(&table, 2, 0), None);
        assert_eq!(digest(&table, 2, 1), of("again"));
        assert_eq!(digest(&table, 4, 1), None);
        for (inode, offset) in [(1, 0), (1, 1), (3, 0), (3, 1), (4, 0)] {
            let wanted = of(&format!("{inode} {offset}"));
            assert_eq!(digest(&table, inode, offset), wanted);
        }
    }

    #[test]
    fn what_may_be_remembered_is_handed_over_once_in_the_order_of_hashing() {
        let mut table = table();
        table.insert(key(5, 0), entry("5 0"), Keep::Process);
        table.distrust(state(2));
        let fresh = Records::parse(table.take_fresh(), 0).unwrap();
        let digests: Vec<_> = fresh.newest().map(|record| record[81..].to_vec()).collect();
        let wanted = ["3 1", "3 0", "1 1", "1 0"].map(|text| Digest::of(text.as_bytes()));
        assert_eq!(digests, wanted.map(|digest| digest.bytes().to_vec()));
        assert_eq!(fresh.entry(&key(3, 1)).unwrap().digest, Digest::of(b"3 1"));
        assert!(table.take_fresh().is_empty());
    }

    #[test]
    fn a_result_takes_no_more_than_this() {
        // A tar of a hundred thousand blobs has a hundred thousand of them.
        assert!(size_of::<(Part, Kept)>() <= 80);
    }
}
