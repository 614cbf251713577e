//! The directory that a path names, and noticing that it names another one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{INDEX, Listing, SourceError, Stamp, listing};
use crate::files::{self, FileError, Folder, Stat};
use crate::layout::ExtraKind;
use crate::oci::Algorithm;

/// Folders of extras that the stamp looks at.
const WATCHED_MAX: usize = 64;

/// Is an open layout directory.
#[derive(Debug)]
pub(super) struct Root {
    /// The path as typed.
    pub(super) path: PathBuf,
    /// The descriptor.
    pub(super) folder: Folder,
    device: u64,
    inode: u64,
    /// Folders of extras, as far as they were looked for.
    watched: Mutex<Option<Watched>>,
}

/// Is what the stamp looks at besides the layout's own.
#[derive(Debug, Clone)]
struct Watched {
    /// Folders, those of the root first.
    folders: Vec<PathBuf>,
    /// Whether all of the root are among them.
    all_of_root: bool,
}

impl Root {
    fn open(path: &Path, typed: &Path) -> Result<Self, SourceError> {
        Self::of_folder(Folder::open(path)?, typed)
    }

    /// Takes an open folder.
    pub(super) fn of_folder(folder: Folder, typed: &Path) -> Result<Self, SourceError> {
        let stat = folder.stat()?;
        Ok(Self {
            path: typed.to_owned(),
            folder,
            device: stat.device,
            inode: stat.inode,
            watched: Mutex::default(),
        })
    }

    /// Remembers the folders of a listing, so that the stamp notices what changes in them.
    pub(super) fn watch(&self, listing: &Listing) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Some(folders(listing));
    }

    /// Returns the folders that the stamp looks at besides the layout's own.
    fn watched(&self) -> Result<Watched, SourceError> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        match &*watched {
            Some(watched) => Ok(watched.clone()),
            None => {
                let mut listing = Listing::default();
                listing::list_extras(&self.folder, &mut listing)?;
                Ok(watched.insert(folders(&listing)).clone())
            }
        }
    }

    /// Returns whether the stamp tells of new files in every folder of the root: one may make an archive of docker of it.
    pub(super) fn watches_all(&self) -> bool {
        self.watched().is_ok_and(|watched| watched.all_of_root)
    }

    /// Returns the stamp: the directory, index.json, docker's archive index, the folders of blobs, and up to 64 folders of extras.
    ///
    /// Not in it: another extra file whose content or mode is changed in place.
    pub(super) fn stamp(&self) -> Result<Stamp, SourceError> {
        let mut numbers = Vec::with_capacity(96);
        push(&mut numbers, Some(&self.folder.stat()?));
        for name in [
            INDEX,
            "oci-layout",
            "manifest.json",
            "repositories",
            "blobs",
        ] {
            push(&mut numbers, self.folder.stat_at(Path::new(name))?.as_ref());
        }
        for algorithm in Algorithm::ALL {
            let path = PathBuf::from(format!("blobs/{}", algorithm.name()));
            push(&mut numbers, self.folder.stat_at(&path)?.as_ref());
        }
        for path in self.watched()?.folders {
            push(&mut numbers, self.folder.stat_at(&path)?.as_ref());
        }
        Ok(Stamp(numbers))
    }
}

fn folders(listing: &Listing) -> Watched {
    let extras = listing.extras.iter();
    let folders = extras.filter(|extra| extra.kind == ExtraKind::Directory);
    let (of_root, deeper): (Vec<_>, Vec<_>) = folders
        .map(|extra| &extra.path)
        // A writer's, which is not looked into, or a file.
        .chain(&listing.leftovers)
        .partition(|path| path.components().count() == 1);
    let is_folder = |path: &&&PathBuf| !listing.leftovers.contains(path);
    Watched {
        all_of_root: of_root.len() <= WATCHED_MAX,
        folders: of_root
            .iter()
            .chain(deeper.iter().filter(is_folder))
            .take(WATCHED_MAX)
            .map(|path| (*path).clone())
            .collect(),
    }
}

fn push(numbers: &mut Vec<u64>, stat: Option<&Stat>) {
    let Some(stat) = stat else {
        numbers.push(0);
        return;
    };
    numbers.extend([
        1,
        stat.device,
        stat.inode,
        stat.size,
        u64::from(stat.mode),
        (u64::from(stat.uid) << 32) | u64::from(stat.gid),
        stat.modified.seconds.cast_unsigned(),
        stat.changed.seconds.cast_unsigned(),
        (u64::from(stat.modified.nanoseconds) << 32) | u64::from(stat.changed.nanoseconds),
    ]);
}

/// Is what a path led to when the layout was opened.
#[derive(Debug)]
pub(super) struct Anchor {
    /// The path, absolute, symlinks unresolved.
    path: PathBuf,
    typed: PathBuf,
    /// The folder that holds the directory, and its name there; `None` for `/`.
    parent: Option<(Folder, OsString)>,
    /// Held while the path is looked at.
    looking: Mutex<()>,
}

impl Anchor {
    /// Opens what `path` names.
    pub(super) fn open(path: &Path) -> Result<(Self, Root), SourceError> {
        let root = Root::open(path, path)?;
        let absolute = std::path::absolute(path).map_err(FileError::io("resolving", path))?;
        let real = std::fs::canonicalize(path).map_err(FileError::io("resolving", path))?;
        let parent = match (real.parent(), real.file_name()) {
            (Some(parent), Some(name)) => Some((Folder::open(parent)?, name.to_owned())),
            _ => None,
        };
        let anchor = Self {
            path: absolute,
            typed: path.to_owned(),
            parent,
            looking: Mutex::default(),
        };
        Ok((anchor, root))
    }

    /// Returns the directory that the path names now if it is another one than `held`.
    pub(super) fn replaced(&self, held: &Root) -> Result<Option<Root>, SourceError> {
        // Where the path leads into a mount of this process, looking there comes back here through another thread, which
        // finds the lock taken and goes on with what is held.
        let Ok(_looking) = self.looking.try_lock() else {
            return Ok(None);
        };
        if let Some((parent, name)) = &self.parent
            && parent.is_mount_point(Path::new(name))?
        {
            return Ok(None);
        }
        let is_held = |stat: &Stat| stat.device == held.device && stat.inode == held.inode;
        if files::stat_path(&self.path).is_ok_and(|stat| is_held(&stat)) {
            return Ok(None);
        }
        match Root::open(&self.path, &self.typed) {
            Ok(next) if (next.device, next.inode) != (held.device, held.inode) => Ok(Some(next)),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}
