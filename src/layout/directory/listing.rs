//! What a layout directory stores, and which of its names are shown. docs/SEMANTICS.md.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::{Folder, Kind, Stat};
use crate::layout::names::{is_algorithm, is_writers};
use crate::layout::{Extra, ExtraKind, FileFacts, Listing, SourceError, StoredBlob};
use crate::oci::limits::{GRAPH_DEPTH_MAX, GRAPH_NODES_MAX};
use crate::oci::{Algorithm, Digest};

/// Entries of one folder, and extras of one layout.
const ENTRIES_MAX: usize = GRAPH_NODES_MAX;
/// Depth of folders of extras; deeper ones are hidden and counted.
const EXTRAS_DEPTH_MAX: usize = 4 * GRAPH_DEPTH_MAX;

/// Lists a layout directory.
pub(super) fn list(root: &Folder) -> Result<Listing, SourceError> {
    let mut listing = Listing {
        root: Some(FileFacts::from(&root.stat()?)),
        ..Listing::default()
    };
    for name in ["index.json", "oci-layout", "blobs"] {
        match (name, root.stat_at(Path::new(name))?) {
            (_, None) => {}
            ("index.json", Some(stat)) if stat.kind == Kind::File => {}
            ("oci-layout", Some(stat)) if stat.kind == Kind::File => {
                listing.oci_layout = Some(FileFacts::from(&stat));
            }
            ("blobs", Some(stat)) if stat.kind == Kind::Folder => list_blobs(root, &mut listing)?,
            (_, Some(_)) => listing.hide(Path::new(name)),
        }
    }
    list_extras(root, &mut listing)?;
    let blobs = Arc::make_mut(&mut listing.blobs);
    blobs.sort_unstable_by(|one, other| one.digest.cmp(&other.digest));
    blobs.shrink_to_fit();
    listing.leftovers.sort();
    Ok(listing)
}

/// Lists what the specification does not name in the root, and below it.
pub(super) fn list_extras(root: &Folder, listing: &mut Listing) -> Result<(), SourceError> {
    for name in names(root, Path::new("."))? {
        let path = PathBuf::from(&name);
        if is_writers(name.as_bytes()) {
            listing.leftovers.push(path);
        } else if !matches!(name.as_bytes(), b"index.json" | b"oci-layout" | b"blobs")
            && let Some(stat) = root.stat_at(&path)?
        {
            add_extra(root, &path, &stat, listing)?;
        }
    }
    listing
        .extras
        .sort_by(|one, other| one.path.cmp(&other.path));
    Ok(())
}

pub(super) fn names(folder: &Folder, path: &Path) -> Result<Vec<OsString>, SourceError> {
    folder
        .names(ENTRIES_MAX)?
        .ok_or_else(|| SourceError::TooMany {
            path: path.to_owned(),
            limit: ENTRIES_MAX,
        })
}

fn list_blobs(root: &Folder, listing: &mut Listing) -> Result<(), SourceError> {
    let path = PathBuf::from("blobs");
    let Some(folder) = root.folder(&path)? else {
        return Ok(());
    };
    listing
        .folders
        .push((path.clone(), FileFacts::from(&folder.stat()?)));
    for name in names(&folder, &path)? {
        let below = path.join(&name);
        let Some(stat) = folder.stat_at(Path::new(&name))? else {
            continue;
        };
        let algorithm = name.to_str().and_then(Algorithm::from_name);
        match (stat.kind, algorithm) {
            (Kind::Folder, Some(algorithm)) => {
                listing.folders.push((below, FileFacts::from(&stat)));
                list_algorithm(&folder, algorithm, listing)?;
            }
            // Another algorithm: shown as it is, never verified.
            (Kind::Folder, None) if is_algorithm(name.as_bytes()) => {
                add_extra(root, &below, &stat, listing)?;
            }
            (Kind::Folder | Kind::File, _) => listing.leftovers.push(below),
            (Kind::Link | Kind::Other, _) => listing.hide(&below),
        }
    }
    Ok(())
}

fn list_algorithm(
    blobs: &Folder,
    algorithm: Algorithm,
    listing: &mut Listing,
) -> Result<(), SourceError> {
    let path = Path::new(algorithm.name());
    let Some(folder) = blobs.folder(path)? else {
        return Ok(());
    };
    let shown = Path::new("blobs").join(path);
    for name in names(&folder, &shown)? {
        let digest = name
            .to_str()
            .and_then(|hex| Digest::from_parts(algorithm, hex));
        let Some(digest) = digest else {
            listing.leftovers.push(shown.join(&name));
            continue;
        };
        match folder.stat_at(Path::new(&name))? {
            Some(stat) if stat.kind == Kind::File => {
                Arc::make_mut(&mut listing.blobs).push(StoredBlob {
                    digest,
                    facts: FileFacts::from(&stat),
                })
            }
            Some(_) => listing.hide(&shown.join(&name)),
            None => {}
        }
    }
    Ok(())
}

/// Adds an extra, and what is below it. `path` is below `root`, and no symlink leads there.
fn add_extra(
    root: &Folder,
    path: &Path,
    stat: &Stat,
    listing: &mut Listing,
) -> Result<(), SourceError> {
    let mut pending = vec![(path.to_owned(), *stat)];
    while let Some((path, stat)) = pending.pop() {
        if listing.extras.len() >= ENTRIES_MAX {
            return Err(SourceError::TooMany {
                path: PathBuf::from("."),
                limit: ENTRIES_MAX,
            });
        }
        let kind = match stat.kind {
            Kind::File => ExtraKind::File,
            Kind::Link => match link_target(root, &path)? {
                Some(target) => ExtraKind::Link(target),
                None => continue,
            },
            Kind::Folder if path.components().count() <= EXTRAS_DEPTH_MAX => ExtraKind::Directory,
            Kind::Folder | Kind::Other => {
                listing.hide(&path);
                continue;
            }
        };
        if kind == ExtraKind::Directory
            && let Some(folder) = root.folder(&path)?
        {
            for name in names(&folder, &path)? {
                if let Some(stat) = folder.stat_at(Path::new(&name))? {
                    pending.push((path.join(&name), stat));
                }
            }
        }
        listing.extras.push(Extra {
            path,
            kind,
            facts: FileFacts::from(&stat),
        });
    }
    Ok(())
}

/// Returns the target of a symlink below the root, or `None` where it vanished.
fn link_target(root: &Folder, path: &Path) -> Result<Option<PathBuf>, SourceError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let Some(folder) = root.folder(parent)? else {
        return Ok(None);
    };
    match folder.link_target(Path::new(name)) {
        Ok(target) => Ok(Some(target)),
        Err(_) => Ok(None),
    }
}
