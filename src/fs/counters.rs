//! What a mount did, counted: for `--stats` and for tests, which assert counters instead of times.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Fs;
use crate::files::replace::new_file_mode;
use crate::files::{FileError, NewFile, replace_path};

/// Counts while the mount lives.
#[derive(Debug, Default)]
pub(super) struct Counters {
    opens_passthrough: AtomicU64,
    opens_checked: AtomicU64,
    reads_checked: AtomicU64,
    bytes_checked: AtomicU64,
    signatures: AtomicU64,
    fsyncs: AtomicU64,
}

/// Is what was counted. Reads on the passthrough path are the kernel's and not seen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of blobs that were hashed.
    pub bytes_hashed: u64,
    /// Blobs opened for the kernel to read.
    pub opens_passthrough: u64,
    /// Blobs opened to be compared chunk by chunk.
    pub opens_checked: u64,
    /// Reads answered on the checked path.
    pub reads_checked: u64,
    /// Bytes asked for by them.
    pub bytes_checked: u64,
    /// Signatures added.
    pub signatures: u64,
    /// fsync calls made for them.
    pub fsyncs: u64,
}

impl Counters {
    pub(super) fn passthrough(&self) {
        add(&self.opens_passthrough, 1);
    }

    pub(super) fn checked(&self) {
        add(&self.opens_checked, 1);
    }

    pub(super) fn read(&self, bytes: usize) {
        add(&self.reads_checked, 1);
        add(&self.bytes_checked, bytes);
    }

    pub(super) fn signed(&self, signatures: usize, fsyncs: usize) {
        add(&self.signatures, signatures);
        add(&self.fsyncs, fsyncs);
    }
}

impl Fs {
    /// Returns what was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Counts {
            bytes_hashed: self.hashes.bytes_hashed(),
            opens_passthrough: of(&counters.opens_passthrough),
            opens_checked: of(&counters.opens_checked),
            reads_checked: of(&counters.reads_checked),
            bytes_checked: of(&counters.bytes_checked),
            signatures: of(&counters.signatures),
            fsyncs: of(&counters.fsyncs),
        }
    }
}

impl Counts {
    /// Returns one JSON object with a final newline.
    #[must_use]
    pub fn to_json(&self) -> String {
        let value = serde_json::json!({
            "schema": "signetfs.stats/1",
            "bytesHashed": self.bytes_hashed,
            "opens": { "passthrough": self.opens_passthrough, "checked": self.opens_checked },
            "reads": { "checked": self.reads_checked, "bytesChecked": self.bytes_checked },
            "signatures": self.signatures,
            "fsyncs": self.fsyncs,
        });
        format!("{value:#}\n")
    }

    /// Writes them to a file: whoever looks for it finds none, the old one or the whole new one. What is no regular file (a
    /// terminal, a fifo) is written into.
    ///
    /// # Errors
    /// Returns what the system calls return.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = self.to_json();
        match std::fs::symlink_metadata(path) {
            Ok(facts) if !facts.is_file() => return std::fs::write(path, text),
            Ok(_) | Err(_) => {}
        }
        let new = NewFile {
            mode: new_file_mode(),
            owner: None,
        };
        match replace_path(path, text.as_bytes(), &new) {
            Ok(_) => Ok(()),
            Err(FileError::Io { source, .. }) => Err(source),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const COUNTS: Counts = Counts {
        bytes_hashed: 7,
        opens_passthrough: 0,
        opens_checked: 0,
        reads_checked: 0,
        bytes_checked: 0,
        signatures: 0,
        fsyncs: 0,
    };

    #[test]
    fn counts_are_never_seen_half() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stats");
        fs::write(&path, "old").unwrap();
        // Another name of the old file shows whether it was written into.
        fs::hard_link(&path, folder.path().join("before")).unwrap();
        COUNTS.write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), COUNTS.to_json());
        let before = fs::read_to_string(folder.path().join("before"));
        assert_eq!(before.unwrap(), "old");
        COUNTS.write(Path::new("/dev/null")).unwrap();
        assert!(COUNTS.write(&folder.path().join("nowhere/stats")).is_err());
    }
}
