//! The folders that new blobs go into.

use std::io;
use std::path::Path;

use super::{Committed, Root};
use crate::files::{FileError, Folder};
use crate::layout::SourceError;
use crate::oci::Algorithm;

/// Opens `blobs/ALG`, made where it is not there.
pub(super) fn algorithm_folder(
    root: &Root,
    algorithm: Algorithm,
    owner: (u32, u32),
    committed: &mut Committed,
) -> Result<Folder, SourceError> {
    let blobs = child(&root.folder, Path::new("blobs"), owner, committed)?;
    child(&blobs, Path::new(algorithm.name()), owner, committed)
}

fn child(
    parent: &Folder,
    name: &Path,
    (uid, gid): (u32, u32),
    committed: &mut Committed,
) -> Result<Folder, SourceError> {
    if let Some(folder) = parent.folder(name)? {
        return Ok(folder);
    }
    let is_new = parent.make_folder(name, 0o755)?;
    let folder = parent
        .folder(name)?
        .ok_or_else(|| io::ErrorKind::NotFound.into())
        .map_err(FileError::io("opening", name))?;
    if is_new {
        folder.give(uid, gid)?;
        parent.sync()?;
        committed.fsyncs += 1;
    }
    Ok(folder)
}
