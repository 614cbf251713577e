//! Adding blobs and entries. docs/SEMANTICS.md.
//!
//! Under the lock: new files are written under temporary names and made durable, the wait for the disk shared by as many as
//! may be open. The blobs get their names, and the names are made durable; only then index.json is renamed over, and that made durable.
//! A kill or a full disk at any call leaves the old index or the new one, and blobs that nothing names at worst.
//!
//! Other tools rewrite index.json without the lock, from a state they read before. So it is looked at again right after the
//! rename, and, where another writer is in evidence, 100 and 300 ms later: when it changed between our reading and our
//! rename or right after it, or when a writer's temporary names are there and young. Without such evidence nobody waits.
//! A commit of what is there already changes nothing, so one who lives on may commit again later to be sure.

mod folders;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use self::folders::algorithm_folder;
use super::listing::names;
use super::root::Root;
use super::{Addition, Committed, Directory, INDEX, SourceError, blob_path, edit};
use crate::files::replace::{remove_if_abandoned, remove_leftovers};
use crate::files::{FileError, Folder, Lock, NewFile, Stat, Temporary, file_clock};
use crate::layout::names::is_writers;
use crate::oci::Algorithm;
use crate::oci::limits::{GRAPH_NODES_MAX, INDEX_BYTES_MAX};

/// The lock that buildx takes too.
const LOCK: &str = "index.json.lock";
/// How long another holder of the lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How often entries are added again that other writers removed.
const ATTEMPTS_MAX: u32 = 5;
/// When the index is looked at again where another writer is in evidence, each after the last.
const LATER_LOOKS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(200)];
/// What other writers changed longer ago than this is not being written any more.
const YOUNG_SECONDS: i64 = 10;
/// How long one who writes the index in place is waited for, and how long it is left alone each time.
const WRITER_GRACE: Duration = Duration::from_secs(2);
const WRITING: Duration = Duration::from_millis(20);
/// How many new blobs are open at a time: each waits for the disk with the others of its batch.
const BLOBS_OPEN_MAX: usize = 64;

/// Tells whether other writers are at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    None,
    Evident,
}

/// Adds what is not there yet.
pub(super) fn commit(directory: &Directory, addition: &Addition) -> Result<Committed, SourceError> {
    check(addition)?;
    let mut committed = Committed::default();
    for _ in 0..ATTEMPTS_MAX {
        let root = directory.root()?;
        let others = add(&root, addition, &mut committed)?;
        if stays(directory, addition, others)? {
            return Ok(committed);
        }
    }
    Err(SourceError::EntryLost {
        attempts: ATTEMPTS_MAX,
    })
}

/// Refuses blobs that are not what their digest says: they would never be found good again.
fn check(addition: &Addition) -> Result<(), SourceError> {
    for (digest, bytes) in &addition.blobs {
        if !digest.matches(bytes) {
            let source =
                io::Error::new(io::ErrorKind::InvalidInput, "the bytes have another digest");
            return Err(FileError::io("writing the blob", digest.to_string())(source).into());
        }
    }
    Ok(())
}

/// Looks whether everything added is there, now and, with others about, a little later.
fn stays(directory: &Directory, addition: &Addition, others: Others) -> Result<bool, SourceError> {
    if !is_there(directory, addition)? {
        return Ok(false);
    }
    if others == Others::Evident {
        for pause in LATER_LOOKS {
            sleep(pause);
            if !is_there(directory, addition)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn is_there(directory: &Directory, addition: &Addition) -> Result<bool, SourceError> {
    let root = directory.root()?;
    for (digest, bytes) in &addition.blobs {
        let stat = match blob_path(digest) {
            Some(path) => root.folder.stat_at(&path)?,
            None => None,
        };
        if stat.map(|stat| stat.size) != u64::try_from(bytes.len()).ok() {
            return Ok(false);
        }
    }
    // Half an index, written in place, lists nothing: the lock is taken and it is read again.
    let index = root.folder.file(Path::new(INDEX))?;
    Ok(match index {
        Some(file) => edit::lists(&file.read_bounded(INDEX_BYTES_MAX)?, &addition.entries),
        None => false,
    })
}

/// Adds blobs and entries once, under the lock.
fn add(root: &Root, addition: &Addition, committed: &mut Committed) -> Result<Others, SourceError> {
    let lock = Lock::take(&root.folder, Path::new(LOCK), LOCK_WAIT)?;
    let names = names(&root.folder, Path::new("."))?;
    clean(root, &names, &lock);
    let mut others = evidence(&root.folder, &names)?;
    let mut previous = if lock.created() {
        Previous::Finished
    } else {
        Previous::Unknown
    };
    let mut attempts = 0;
    let mut broken = None;
    while attempts < ATTEMPTS_MAX {
        let (bytes, stat) = read(root)?;
        match edit::add(&bytes, &addition.entries) {
            Ok(edited) => {
                attempts += 1;
                let change = Change {
                    addition,
                    edited,
                    old: stat,
                };
                if change.apply(root, previous, committed)? {
                    return Ok(others);
                }
                // index.json changed since it was read: merged again with what is there now.
                previous = Previous::Finished;
            }
            // Written in place just now, as it seems.
            Err(SourceError::Index { .. })
                if is_young(&stat)
                    && broken.get_or_insert_with(Instant::now).elapsed() < WRITER_GRACE =>
            {
                sleep(WRITING);
            }
            Err(error) => return Err(error),
        }
        others = Others::Evident;
    }
    Err(SourceError::EntryLost {
        attempts: ATTEMPTS_MAX,
    })
}

/// Tells what is known of whoever held the lock before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Previous {
    /// It removed the lock, as its last act.
    Finished,
    /// It may have been killed, before its blobs' names were durable.
    Unknown,
}

/// Removes what killed processes of ours left. All our temporary files are made under the lock, and locked themselves.
fn clean(root: &Root, names: &[OsString], lock: &Lock<'_>) {
    for name in names {
        let _ = remove_if_abandoned(&root.folder, name);
    }
    if lock.created() {
        return;
    }
    for algorithm in Algorithm::ALL {
        let path = PathBuf::from(format!("blobs/{}", algorithm.name()));
        if let Ok(Some(folder)) = root.folder.folder(&path) {
            let _ = remove_leftovers(&folder, GRAPH_NODES_MAX);
        }
    }
}

/// Looks for names of other writers that are too young to be left over.
fn evidence(folder: &Folder, names: &[OsString]) -> Result<Others, SourceError> {
    for name in names.iter().filter(|name| is_others(name)) {
        let Some(stat) = folder.stat_at(Path::new(name))? else {
            return Ok(Others::Evident);
        };
        if is_young(&stat) && (name.as_bytes() != b"ingest" || !is_empty(folder, name)) {
            return Ok(Others::Evident);
        }
    }
    Ok(Others::None)
}

fn is_others(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let is_ours = bytes == LOCK.as_bytes() || bytes.starts_with(b".signetfs-");
    let is_temporary = bytes.starts_with(b"index.json.") && bytes.ends_with(b".tmp");
    (is_writers(bytes) && !is_ours) || is_temporary
}

fn is_young(stat: &Stat) -> bool {
    file_clock().seconds.saturating_sub(stat.changed.seconds) < YOUNG_SECONDS
}

/// Returns whether a folder is empty: oras and notation leave `ingest` behind.
fn is_empty(folder: &Folder, name: &OsStr) -> bool {
    matches!(
        folder.folder(Path::new(name)).map(|ingest| ingest.map(|ingest| ingest.names(1))),
        Ok(Some(Ok(Some(names)))) if names.is_empty()
    )
}

fn read(root: &Root) -> Result<(Vec<u8>, Stat), SourceError> {
    let file = super::open_index(root)?;
    Ok((file.read_bounded(INDEX_BYTES_MAX)?, file.stat))
}

/// Is what is to be written, decided from one reading of index.json.
struct Change<'a> {
    addition: &'a Addition,
    /// The new index; `None` where the old one lists all entries.
    edited: Option<edit::Edited>,
    /// The stat of the index that was read.
    old: Stat,
}

impl Change<'_> {
    /// Writes blobs and index; false where the index is not the one that was read any more.
    fn apply(
        &self,
        root: &Root,
        previous: Previous,
        committed: &mut Committed,
    ) -> Result<bool, SourceError> {
        let folders = self.folders(root, committed)?;
        let index = match &self.edited {
            Some(edited) => Some((self.write_index(root, edited)?, edited.added)),
            None => None,
        };
        let is_new = self.write_blobs(&folders, committed)?;
        if is_new || previous == Previous::Unknown {
            for (_, folder) in &folders {
                folder.sync()?;
            }
            committed.fsyncs += folders.len();
        }
        let Some((index, added)) = index else {
            return Ok(true);
        };
        index.sync()?;
        committed.fsyncs += 1;
        if root.folder.stat_at(Path::new(INDEX))? != Some(self.old) {
            return Ok(false);
        }
        index.rename(&root.folder, Path::new(INDEX))?;
        committed.entries_added += added;
        root.folder.sync()?;
        committed.fsyncs += 1;
        Ok(true)
    }

    /// Opens the folders of the blobs, made where they are not there.
    fn folders(
        &self,
        root: &Root,
        committed: &mut Committed,
    ) -> Result<Vec<(Algorithm, Folder)>, SourceError> {
        let mut folders = Vec::new();
        for algorithm in Algorithm::ALL {
            let mut blobs = self.addition.blobs.iter();
            if blobs.any(|(digest, _)| digest.algorithm() == Some(algorithm)) {
                let owner = (self.old.uid, self.old.gid);
                folders.push((
                    algorithm,
                    algorithm_folder(root, algorithm, owner, committed)?,
                ));
            }
        }
        Ok(folders)
    }

    /// Writes the blobs that are not there with the right content, so many at a time; returns whether there were any.
    fn write_blobs(
        &self,
        folders: &[(Algorithm, Folder)],
        committed: &mut Committed,
    ) -> Result<bool, SourceError> {
        let before = committed.blobs_written;
        for (algorithm, folder) in folders {
            let mut missing = self
                .addition
                .blobs
                .iter()
                .map(|(digest, bytes)| (digest, PathBuf::from(digest.hex()), bytes))
                .filter(|(digest, name, bytes)| {
                    digest.algorithm() == Some(*algorithm) && !is_stored(folder, name, bytes)
                });
            loop {
                let batch = missing.by_ref().take(BLOBS_OPEN_MAX);
                let written =
                    self.write_batch(folder, batch.map(|(_, name, bytes)| (name, bytes)))?;
                if written == 0 {
                    break;
                }
                committed.blobs_written += written;
                committed.fsyncs += written;
            }
        }
        Ok(committed.blobs_written > before)
    }

    /// Writes blobs under temporary names, waits until all are on disk, then names them; returns how many.
    fn write_batch<'a>(
        &self,
        folder: &Folder,
        blobs: impl Iterator<Item = (PathBuf, &'a Vec<u8>)>,
    ) -> Result<usize, SourceError> {
        let new = NewFile {
            mode: 0o444,
            owner: Some((self.old.uid, self.old.gid)),
        };
        let mut written = Vec::new();
        for (name, bytes) in blobs {
            let temporary = Temporary::write(folder, bytes, &new)?;
            temporary.begin_sync();
            written.push((temporary, name));
        }
        for (temporary, _) in &written {
            temporary.sync()?;
        }
        let count = written.len();
        for (temporary, name) in written {
            temporary.rename(folder, &name)?;
        }
        Ok(count)
    }

    /// Writes the new index, with owner and mode of the old one, under a temporary name.
    fn write_index<'a>(
        &self,
        root: &'a Root,
        edited: &edit::Edited,
    ) -> Result<Temporary<'a>, SourceError> {
        if u64::try_from(edited.bytes.len()).map_or(true, |length| length > INDEX_BYTES_MAX) {
            return Err(SourceError::TooLarge {
                path: PathBuf::from(INDEX),
                limit: INDEX_BYTES_MAX,
            });
        }
        let new = NewFile {
            mode: self.old.mode,
            owner: Some((self.old.uid, self.old.gid)),
        };
        let temporary = Temporary::write(&root.folder, &edited.bytes, &new)?;
        temporary.begin_sync();
        Ok(temporary)
    }
}

/// Returns whether a blob is there with the right content.
fn is_stored(folder: &Folder, name: &Path, bytes: &[u8]) -> bool {
    let limit = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    matches!(
        folder.file(name).map(|file| file.map(|file| file.read_bounded(limit))),
        Ok(Some(Ok(stored))) if stored == bytes
    )
}

#[cfg(test)]
mod tests;
