//! Files of the layout that nothing is promised about: `oci-layout` and extras.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::handles::Handle;
use super::workers::lock;
use super::{Fs, FsError};
use crate::layout::Blob;

/// Holds the file that was opened last for each inode.
///
/// Reads through older handles get it too: what they read, the kernel keeps for everybody who has the inode open.
#[derive(Debug, Default)]
pub(super) struct Plains {
    open: Mutex<HashMap<u64, (usize, Arc<Blob>)>>,
}

#[cfg(test)]
impl Plains {
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.open).is_empty()
    }
}

impl Fs {
    /// Opens a file.
    pub(super) fn open_plain(&self, inode: u64, path: &Path) -> Result<Handle, FsError> {
        let blob = self
            .source
            .file(path)
            .map_err(|error| FsError::Layout(Arc::new(error)))?
            .ok_or(FsError::StaleInode)?;
        let mut open = lock(&self.plains.open);
        let handles = open.get(&inode).map_or(0, |(handles, _)| *handles);
        open.insert(inode, (handles + 1, Arc::new(blob)));
        Ok(Handle::Plain)
    }

    /// Counts a handle off.
    pub(super) fn close_plain(&self, inode: u64) {
        let mut open = lock(&self.plains.open);
        let Some((handles, _)) = open.get_mut(&inode) else {
            return;
        };
        *handles = handles.saturating_sub(1);
        let closed = (*handles == 0).then(|| open.remove(&inode));
        drop(open);
        drop(closed);
    }

    /// Reads a file.
    pub(super) fn read_plain(
        &self,
        inode: u64,
        (offset, size): (u64, usize),
    ) -> Result<Vec<u8>, FsError> {
        let blob = lock(&self.plains.open)
            .get(&inode)
            .map(|(_, blob)| Arc::clone(blob))
            .ok_or(FsError::UnknownHandle)?;
        let mut bytes = vec![0; size];
        let length = blob
            .read_at(&mut bytes, offset)
            .map_err(|error| FsError::Read {
                name: "a file of the layout".to_owned(),
                source: Arc::new(error),
            })?;
        bytes.truncate(length);
        Ok(bytes)
    }
}
