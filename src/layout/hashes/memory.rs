//! Results remembered across processes: one private file, good for one user, one boot and one version of its format.
//!
//! Whatever is odd about the folder, the file or its content makes the memory empty; it never makes an error.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::chain::Chain;
use super::table::{Entry, Key};
use super::{CHUNK_BYTES, Lease};
use crate::files::replace::remove_leftovers;
use crate::files::storage::is_local_and_fixed;
use crate::files::{FileError, Folder, Kind, NewFile, Stat, Temporary, effective_uid};
use crate::layout::{Identity, Timestamp};
use crate::oci::{Algorithm, Digest};

/// Bytes of the file; the oldest results give way.
const MEMORY_BYTES_MAX: u64 = 16 << 20;
/// Names in the folder that are looked at for leftovers.
const LEFTOVERS_MAX: usize = 1000;
/// The name of the file.
const NAME: &str = "hashes";
/// The first line: what this is, and the version of its format.
const HEADER: &[u8] = b"signetfs hashes 1\n";
/// Only for its owner.
const PRIVATE: NewFile = NewFile {
    mode: 0o600,
    owner: None,
};

/// Is the memory's folder.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    loaded: OnceLock<HashMap<Key, Entry>>,
    devices: Mutex<BTreeMap<u64, bool>>,
}

impl Store {
    /// Names the folder; nothing is read or made yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            loaded: OnceLock::new(),
            devices: Mutex::default(),
        }
    }

    /// Returns what is remembered for a key.
    pub(super) fn entry(&self, key: &Key) -> Option<Entry> {
        let loaded = self.loaded.get_or_init(|| {
            let bytes = open_private(&self.path).and_then(|folder| read(&folder));
            bytes
                .and_then(|bytes| parse(&bytes, &binding()?))
                .unwrap_or_default()
                .into_iter()
                .collect()
        });
        loaded.get(key).cloned()
    }

    /// Returns whether the times of files on this storage can be trusted by a later process.
    pub(super) fn is_trustworthy(&self, file: BorrowedFd<'_>, device: u64) -> bool {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        *devices
            .entry(device)
            .or_insert_with(|| is_local_and_fixed(file, device))
    }

    /// Adds results to the file.
    pub(super) fn save(&self, fresh: &[(Key, Entry)]) -> io::Result<()> {
        if fresh.is_empty() {
            return Ok(());
        }
        let Some(binding) = binding() else {
            return Ok(());
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)?;
        let Some(folder) = open_private(&self.path) else {
            return Ok(());
        };
        // Read again: another process may have added to it.
        let remembered = read(&folder).and_then(|bytes| parse(&bytes, &binding));
        let bytes = serialize(&remembered.unwrap_or_default(), fresh, &binding);
        replace(&folder, &bytes).map_err(|error| match error {
            FileError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })
    }
}

/// Not made durable: a crash ends the boot that the file is good for.
fn replace(folder: &Folder, bytes: &[u8]) -> Result<(), FileError> {
    // What processes that were killed while saving left.
    remove_leftovers(folder, LEFTOVERS_MAX)?;
    Temporary::write(folder, bytes, &PRIVATE)?.rename(folder, Path::new(NAME))?;
    Ok(())
}

/// Returns what a file must begin with to be good for this user and this boot.
fn binding() -> Option<Vec<u8>> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let mut binding = HEADER.to_vec();
    binding.extend_from_slice(format!("{}\n{}\n", effective_uid(), boot.trim()).as_bytes());
    Some(binding)
}

fn open_private(path: &Path) -> Option<Folder> {
    let folder = Folder::open(path).ok()?;
    let stat = folder.stat().ok()?;
    (stat.kind == Kind::Folder && is_private(&stat)).then_some(folder)
}

fn read(folder: &Folder) -> Option<Vec<u8>> {
    let file = folder.file(Path::new(NAME)).ok()??;
    if !is_private(&file.stat) || file.stat.links != 1 {
        return None;
    }
    file.read_bounded(MEMORY_BYTES_MAX).ok()
}

fn is_private(stat: &Stat) -> bool {
    stat.uid == effective_uid() && stat.mode & 0o077 == 0
}

fn parse(bytes: &[u8], binding: &[u8]) -> Option<Vec<(Key, Entry)>> {
    let mut reader = Reader(bytes.strip_prefix(binding)?);
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        entries.push(reader.entry()?);
    }
    Some(entries)
}

/// Returns the bytes of a file with the newest results that fit, the older ones first.
fn serialize(remembered: &[(Key, Entry)], fresh: &[(Key, Entry)], binding: &[u8]) -> Vec<u8> {
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    let mut room = usize::try_from(MEMORY_BYTES_MAX)
        .unwrap_or(usize::MAX)
        .saturating_sub(binding.len());
    for (key, entry) in remembered.iter().chain(fresh).rev() {
        if !seen.insert(key) {
            continue;
        }
        let mut bytes = Vec::new();
        write_entry(key, entry, &mut bytes);
        if bytes.len() > room {
            break;
        }
        room -= bytes.len();
        kept.push(bytes);
    }
    kept.reverse();
    let mut file = binding.to_vec();
    file.extend(kept.into_iter().flatten());
    file
}

fn write_entry(key: &Key, entry: &Entry, bytes: &mut Vec<u8>) {
    let identity = &key.identity;
    bytes.push(match key.algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha384 => 2,
        Algorithm::Sha512 => 3,
    });
    let modified = (identity.modified.seconds, identity.modified.nanoseconds);
    let changed = (identity.changed.seconds, identity.changed.nanoseconds);
    for number in [
        identity.device,
        identity.mount.unwrap_or_default(),
        identity.inode,
        identity.size,
        modified.0.cast_unsigned(),
        u64::from(modified.1),
        changed.0.cast_unsigned(),
        u64::from(changed.1),
        key.offset,
        key.size,
    ] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(entry.digest.bytes());
    bytes.extend_from_slice(&entry.chunks);
}

/// Reads entries from what is left of the file.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn time(&mut self) -> Option<Timestamp> {
        Some(Timestamp {
            seconds: self.number()?.cast_signed(),
            nanoseconds: u32::try_from(self.number()?).ok()?,
        })
    }

    fn entry(&mut self) -> Option<(Key, Entry)> {
        let algorithm = match self.take(1)? {
            [1] => Algorithm::Sha256,
            [2] => Algorithm::Sha384,
            [3] => Algorithm::Sha512,
            _ => return None,
        };
        let identity = Identity {
            device: self.number()?,
            mount: Some(self.number()?),
            inode: self.number()?,
            size: self.number()?,
            modified: self.time()?,
            changed: self.time()?,
        };
        let key = Key {
            identity,
            offset: self.number()?,
            size: self.number()?,
            algorithm,
        };
        let digest = match algorithm {
            Algorithm::Sha256 => Digest::Sha256(*self.take(32)?.first_chunk()?),
            Algorithm::Sha384 => Digest::Sha384(Box::new(*self.take(48)?.first_chunk()?)),
            Algorithm::Sha512 => Digest::Sha512(Box::new(*self.take(64)?.first_chunk()?)),
        };
        let chunks = usize::try_from(key.size / CHUNK_BYTES).ok()?;
        let chunks = self.take(chunks.checked_mul(Chain::width(algorithm))?)?;
        let entry = Entry {
            digest,
            chunks: Arc::from(chunks),
            lease: Lease::Granted,
        };
        Some((key, entry))
    }
}
