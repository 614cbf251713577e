//! The names in a folder as they are now, whatever follows: those of blobs are made when they are asked for.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::layout::StoredBlob;
use crate::oci::{HEX_BYTES_MAX, write_hex};

/// Is what a folder lists.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// All names but those of blobs, sorted, with their inode numbers.
    pub others: Vec<(OsString, u64)>,
    /// The blobs, by name.
    pub blobs: BlobNames,
}

/// Is the blobs that a folder lists: a part of the tables of the tree, which it keeps.
#[derive(Debug, Clone, Default)]
pub struct BlobNames {
    /// Stored blobs, sorted by digest.
    pub(super) blobs: Arc<Vec<StoredBlob>>,
    /// The inode number of each.
    pub(super) numbers: Arc<Vec<u64>>,
    /// Those of the folder.
    pub(super) range: Range<usize>,
}

impl BlobNames {
    /// Hands each name from a position on to `take`, with its inode number, until it returns `false`.
    pub fn each_from(&self, position: usize, mut take: impl FnMut(&OsStr, u64) -> bool) {
        let from = self.range.start.saturating_add(position);
        let range = from..self.range.end.max(from);
        let blobs = self.blobs.get(range.clone()).unwrap_or_default();
        let numbers = self.numbers.get(range).unwrap_or_default();
        let mut text = [0; HEX_BYTES_MAX];
        for (blob, number) in blobs.iter().zip(numbers) {
            let name = write_hex(blob.digest.bytes(), &mut text);
            if !take(OsStr::from_bytes(name), *number) {
                return;
            }
        }
    }
}

impl Names {
    /// Returns all names, sorted, with their inode numbers.
    pub(super) fn all(mut self) -> Vec<(OsString, u64)> {
        let blobs = &self.blobs;
        blobs.each_from(0, |name, number| {
            self.others.push((name.to_owned(), number));
            true
        });
        self.others.sort_unstable();
        self.others
    }
}
