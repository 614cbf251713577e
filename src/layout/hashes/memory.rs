//! Results remembered across processes: one private file, good for one user, one boot and one version of its format.
//!
//! Whatever is odd about the folder, the file or its content makes the memory empty; it never makes an error.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::record::Records;
use super::table::{Entry, Key};
use crate::files::replace::remove_leftovers;
use crate::files::storage::is_local_and_fixed;
use crate::files::{FileError, Folder, Kind, NewFile, OpenFile, Stat, Temporary, effective_uid};
use crate::layout::Identity;

/// Bytes of the file; the oldest results give way.
const MEMORY_BYTES_MAX: u64 = 16 << 20;
/// Names in the folder that are looked at for leftovers.
const LEFTOVERS_MAX: usize = 1000;
/// Results that are written with one call.
const WRITTEN_AT_ONCE: usize = 1000;
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
    loaded: OnceLock<Loaded>,
    devices: Mutex<BTreeMap<u64, bool>>,
}

/// Is what the file held when it was read.
#[derive(Debug, Default)]
struct Loaded {
    records: Records,
    /// The state of the file; none where there was none that is good.
    state: Option<Identity>,
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
        self.loaded().records.entry(key)
    }

    /// Returns whether anything is remembered for a key.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.loaded().records.has(key)
    }

    fn loaded(&self) -> &Loaded {
        self.loaded.get_or_init(|| {
            let load = || load(&open_private(&self.path)?, &binding()?);
            load().unwrap_or_default()
        })
    }

    /// Returns whether the times of files on this storage can be trusted by a later process.
    pub(super) fn is_trustworthy(&self, file: BorrowedFd<'_>, device: u64) -> bool {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        *devices
            .entry(device)
            .or_insert_with(|| is_local_and_fixed(file, device))
    }

    /// Adds results to the file.
    pub(super) fn save(&self, fresh: Vec<u8>) -> io::Result<()> {
        let Some(fresh) = Records::parse(fresh, 0).filter(|fresh| !fresh.is_empty()) else {
            return Ok(());
        };
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
        // Read again where another process added to it: it is replaced then.
        let now = open_file(&folder).map(|file| Identity::from(&file.stat));
        let known = self.loaded.get().filter(|known| known.state == now);
        let again = match known {
            Some(_) => Loaded::default(),
            None => load(&folder, &binding).unwrap_or_default(),
        };
        let remembered = &known.unwrap_or(&again).records;
        let kept = newest(remembered, &fresh, &binding);
        replace(&folder, &binding, &kept).map_err(|error| match error {
            FileError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })
    }
}

/// Not made durable: a crash ends the boot that the file is good for.
fn replace(folder: &Folder, binding: &[u8], kept: &[&[u8]]) -> Result<(), FileError> {
    // What processes that were killed while saving left.
    remove_leftovers(folder, LEFTOVERS_MAX)?;
    let mut file = Temporary::empty(folder)?;
    let mut append = |bytes: &[u8]| {
        let appended = file.append(bytes);
        appended.map_err(FileError::io("writing", Path::new(NAME)))
    };
    append(binding)?;
    for records in kept.chunks(WRITTEN_AT_ONCE) {
        append(&records.concat())?;
    }
    file.finish(&PRIVATE)?;
    file.rename(folder, Path::new(NAME))?;
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

fn open_file(folder: &Folder) -> Option<OpenFile> {
    let file = folder.file(Path::new(NAME)).ok()??;
    (is_private(&file.stat) && file.stat.links == 1).then_some(file)
}

fn load(folder: &Folder, binding: &[u8]) -> Option<Loaded> {
    let file = open_file(folder)?;
    let bytes = file.read_bounded(MEMORY_BYTES_MAX).ok()?;
    Some(Loaded {
        records: parse(bytes, binding)?,
        state: Some(Identity::from(&file.stat)),
    })
}

fn is_private(stat: &Stat) -> bool {
    stat.uid == effective_uid() && stat.mode & 0o077 == 0
}

fn parse(bytes: Vec<u8>, binding: &[u8]) -> Option<Records> {
    let is_good = bytes.starts_with(binding);
    is_good.then(|| Records::parse(bytes, binding.len()))?
}

/// Returns the newest results that fit, the older ones first.
fn newest<'a>(remembered: &'a Records, fresh: &'a Records, binding: &[u8]) -> Vec<&'a [u8]> {
    let mut room = usize::try_from(MEMORY_BYTES_MAX)
        .unwrap_or(usize::MAX)
        .saturating_sub(binding.len());
    let old = remembered
        .newest()
        .filter(|record| !fresh.has_key_of(record));
    let mut kept = Vec::new();
    for record in fresh.newest().chain(old) {
        if record.len() > room {
            break;
        }
        room -= record.len();
        kept.push(record);
    }
    kept.reverse();
    kept
}
