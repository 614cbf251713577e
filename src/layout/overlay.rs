//! The folder that takes new signatures of a layout that is not written to. docs/SEMANTICS.md, "Overlays".
//!
//! It is a layout directory itself, made when first needed; without index.json it counts as absent, so a kill while it is
//! made leaves nothing. One that lies beside the archive was chosen by nobody: it is not followed through a symlink, and
//! not used where it belongs to a stranger. Which of its entries are shown is `union`'s to say.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Directory, Source, SourceError, Stamp};
use crate::files::replace::{TEMPORARY_PREFIX, remove_if_abandoned};
use crate::files::{self, FileError, Folder, Lock, NewFile, Stat, Temporary};
use crate::oci::limits::MANIFEST_BYTES_MAX;
use crate::oci::{Digest, causes};

/// What is appended to the name of an archive.
pub const SUFFIX: &str = ".signetfs";

/// The lock that every writer of a layout takes.
const LOCK: &str = "index.json.lock";
/// How long another one that makes the overlay is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Why an overlay beside an archive is not used.
const MOVED: &str = "the archive was moved or replaced; mount it again";
/// Entries of a folder that may become an overlay; one with more is another folder.
const ENTRIES_MAX: usize = 1000;
/// The files of a new overlay, the index last: it makes the folder an overlay.
const FILES: [(&str, &str); 2] = [
    ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
    (
        "index.json",
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
    ),
];

/// Tells who chose the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The user.
    Named,
    /// Nobody: it is beside an archive.
    Beside,
}

/// Is a place for signatures.
#[derive(Debug)]
pub struct Overlay {
    /// Absolute.
    path: PathBuf,
    choice: Choice,
    /// The archive that it belongs to, absolute: the working directory may change.
    archive: Option<PathBuf>,
    held: Mutex<Option<Arc<Held>>>,
}

/// Is an overlay that is there.
#[derive(Debug)]
pub(super) struct Held {
    /// The layout in it.
    pub(super) directory: Directory,
    device: u64,
    inode: u64,
}

/// Is what is at the place of an overlay.
#[derive(Debug, Clone)]
pub(super) enum Present {
    /// Nothing, or a folder that is no layout yet.
    Nothing,
    /// An overlay.
    Folder(Arc<Held>),
    /// Something that is not used.
    Unusable(String),
}

impl Held {
    /// Returns the stamp of an overlay that is there, given its layout's.
    pub(super) fn stamp(&self, layout: Option<&Stamp>) -> Stamp {
        let mut numbers = vec![1, self.device, self.inode];
        numbers.extend(layout.iter().flat_map(|stamp| &stamp.0));
        Stamp(numbers)
    }

    /// Returns a manifest that is stored here.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<Vec<u8>> {
        let blob = self.directory.blob(digest).ok().flatten()?;
        blob.read_all(MANIFEST_BYTES_MAX).ok()
    }
}

impl Overlay {
    /// Returns the overlay that the user names.
    ///
    /// # Errors
    /// Returns what resolving the working directory returns.
    pub fn named(path: &Path, archive: Option<&Path>) -> Result<Self, SourceError> {
        let path = absolute(path)?;
        let beside = archive.and_then(|archive| place_beside(archive).ok());
        Ok(Self {
            choice: match beside.as_ref() == Some(&path) {
                true => Choice::Beside,
                false => Choice::Named,
            },
            path,
            archive: archive.map(absolute).transpose()?,
            held: Mutex::default(),
        })
    }

    /// Returns the overlay beside an archive: `NAME.tar.signetfs`.
    ///
    /// # Errors
    /// Returns what resolving the archive's path returns.
    pub fn beside(archive: &Path) -> Result<Self, SourceError> {
        Ok(Self {
            path: place_beside(archive)?,
            choice: Choice::Beside,
            archive: Some(absolute(archive)?),
            held: Mutex::default(),
        })
    }

    /// Returns the absolute path, whether anything is there or not.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says why this is not the overlay of what the archive's path names: that is elsewhere by now.
    pub(super) fn elsewhere(&self) -> Option<String> {
        let now = std::fs::canonicalize(self.archive.as_ref()?).ok()?;
        let is_left = self.choice == Choice::Beside && beside(now) != self.path;
        is_left.then(|| MOVED.to_owned())
    }

    /// Says why nothing may be written here: who looks for the archive's signatures would look elsewhere, or finds no archive.
    pub(super) fn left(&self) -> Option<String> {
        let is_gone = self.choice == Choice::Beside && self.archive_stat().is_none();
        self.elsewhere()
            .or_else(|| is_gone.then(|| MOVED.to_owned()))
    }

    /// Returns numbers that differ whenever what is shown of the overlay may differ.
    pub(super) fn stamp(&self) -> Stamp {
        match self.present() {
            Present::Nothing => Stamp(vec![0]),
            Present::Folder(held) => held.stamp(held.directory.stamp().ok().as_ref()),
            Present::Unusable(problem) => {
                let bytes = problem.bytes().map(u64::from);
                Stamp(std::iter::once(2).chain(bytes).collect())
            }
        }
    }

    /// Looks at what is there now.
    pub(super) fn present(&self) -> Present {
        let mut slot = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match files::stat_path(&self.path) {
            Ok(stat) => {
                if let Some(held) = slot.as_ref()
                    && (stat.device, stat.inode) == (held.device, held.inode)
                {
                    return self.usable(held);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *slot = None;
                return Present::Nothing;
            }
            Err(_) => {}
        }
        *slot = None;
        match self.open() {
            Ok(Some((directory, stat))) => {
                let held = Arc::new(Held {
                    directory,
                    device: stat.device,
                    inode: stat.inode,
                });
                *slot = Some(Arc::clone(&held));
                self.usable(&held)
            }
            Ok(None) => Present::Nothing,
            Err(problem) => Present::Unusable(problem),
        }
    }

    /// Returns a folder as an overlay where it has an index.
    fn usable(&self, held: &Arc<Held>) -> Present {
        match held.directory.has_index() {
            Ok(false) => Present::Nothing,
            Ok(true) => Present::Folder(Arc::clone(held)),
            Err(error) => Present::Unusable(error.to_string()),
        }
    }

    fn open(&self) -> Result<Option<(Directory, Stat)>, String> {
        let folder = match self.folder() {
            Ok(Some(folder)) => folder,
            Ok(None) => return Ok(None),
            Err(FileError::NotRegular { .. }) => {
                return Err("it is a symlink or no folder".to_owned());
            }
            Err(error) => return Err(causes(&error)),
        };
        let stat = folder.stat().map_err(|error| causes(&error))?;
        self.refuse_strangers(&stat)?;
        let directory = Directory::of_folder(folder, &self.path).map_err(|error| causes(&error))?;
        Ok(Some((directory, stat)))
    }

    /// Opens the folder, where there is one.
    fn folder(&self) -> Result<Option<Folder>, FileError> {
        match self.choice {
            Choice::Named => match Folder::open(&self.path) {
                Ok(folder) => Ok(Some(folder)),
                Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    Ok(None)
                }
                Err(error) => Err(error),
            },
            Choice::Beside => {
                let (parent, name) = self.parts()?;
                match Folder::open(parent) {
                    Ok(parent) => parent.folder(Path::new(name)),
                    Err(FileError::Io { source, .. })
                        if source.kind() == io::ErrorKind::NotFound =>
                    {
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    fn parts(&self) -> Result<(&Path, &OsStr), FileError> {
        match (self.path.parent(), self.path.file_name()) {
            (Some(parent), Some(name)) => Ok((parent, name)),
            _ => Err(FileError::NotRegular {
                path: self.path.clone(),
            }),
        }
    }

    /// Refuses a folder beside an archive that belongs to neither us, root, nor the archive's owner.
    fn refuse_strangers(&self, stat: &Stat) -> Result<(), String> {
        let owner = self.archive_stat().map(|archive| archive.uid);
        let known = [Some(files::effective_uid()), Some(0), owner];
        if self.choice == Choice::Named || known.contains(&Some(stat.uid)) {
            return Ok(());
        }
        Err(format!(
            "it belongs to uid {}, who owns neither the archive nor this process",
            stat.uid
        ))
    }

    fn archive_stat(&self) -> Option<Stat> {
        files::stat_path(self.archive.as_ref()?).ok()
    }

    /// Returns the overlay, made where it is not there, and the number of fsyncs that took.
    pub(super) fn make(&self) -> Result<(Arc<Held>, usize), SourceError> {
        let unusable = |problem| SourceError::Overlay {
            path: self.path.clone(),
            problem,
        };
        let mut fsyncs = 0;
        for attempt in 0..2 {
            match self.present() {
                Present::Folder(held) => return Ok((held, fsyncs)),
                Present::Unusable(problem) => return Err(unusable(problem)),
                Present::Nothing if attempt == 0 => fsyncs = self.fill()?,
                Present::Nothing => {}
            }
        }
        Err(unusable("it vanished while it was made".to_owned()))
    }

    /// Makes the folder and its files.
    fn fill(&self) -> Result<usize, SourceError> {
        let mut fsyncs = self.make_folder()?;
        let absent = || FileError::io("opening", &self.path)(io::ErrorKind::NotFound.into());
        let folder = self.folder()?.ok_or_else(absent)?;
        let stat = folder.stat()?;
        self.refuse_strangers(&stat)
            .map_err(|problem| SourceError::Overlay {
                path: self.path.clone(),
                problem,
            })?;
        let lock = Lock::take(&folder, Path::new(LOCK), LOCK_WAIT)?;
        if folder.stat_at(Path::new("index.json"))?.is_some() {
            return Ok(fsyncs);
        }
        self.refuse_other_folders(&folder)?;
        let new = NewFile {
            mode: (stat.mode & 0o666) | 0o600,
            owner: Some((stat.uid, stat.gid)),
        };
        for (name, text) in FILES {
            let file = Temporary::write(&folder, text.as_bytes(), &new)?;
            file.sync()?;
            file.rename(&folder, Path::new(name))?;
            folder.sync()?;
            fsyncs += 2;
        }
        drop(lock);
        Ok(fsyncs)
    }

    /// Makes the folder; beside an archive as open as that, and for its owner.
    fn make_folder(&self) -> Result<usize, SourceError> {
        let (parent, name) = self.parts()?;
        let parent = Folder::open(parent)?;
        let archive = match self.choice {
            Choice::Beside => self.archive_stat(),
            Choice::Named => None,
        };
        let readers = archive.map_or(0o444, |archive| archive.mode & 0o444);
        if !parent.make_folder(Path::new(name), 0o700 | readers | (readers >> 2))? {
            return Ok(0);
        }
        if let (Some(archive), Some(folder)) = (archive, parent.folder(Path::new(name))?) {
            folder.give(archive.uid, archive.gid)?;
        }
        parent.sync()?;
        Ok(1)
    }

    /// Removes what killed processes of ours left, and refuses a folder that holds anything else.
    fn refuse_other_folders(&self, folder: &Folder) -> Result<(), SourceError> {
        let names = folder.names(ENTRIES_MAX)?;
        let is_ours = |name: &OsString| {
            let bytes = name.as_bytes();
            matches!(bytes, b"index.json.lock" | b"oci-layout" | b"blobs")
                || bytes.starts_with(TEMPORARY_PREFIX.as_bytes())
        };
        let Some(names) = names.filter(|names| names.iter().all(is_ours)) else {
            return Err(SourceError::Overlay {
                path: self.path.clone(),
                problem: "it is neither empty nor a layout".to_owned(),
            });
        };
        for name in &names {
            let _ = remove_if_abandoned(folder, name);
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<PathBuf, FileError> {
    std::path::absolute(path).map_err(FileError::io("resolving", path))
}

/// Returns where the overlay of an archive lies: beside the archive itself, not beside a symlink to it.
fn place_beside(archive: &Path) -> Result<PathBuf, SourceError> {
    let real = std::fs::canonicalize(archive).or_else(|_| std::path::absolute(archive));
    Ok(beside(real.map_err(FileError::io("resolving", archive))?))
}

fn beside(real: PathBuf) -> PathBuf {
    let mut path = real.into_os_string();
    path.push(SUFFIX);
    PathBuf::from(path)
}
