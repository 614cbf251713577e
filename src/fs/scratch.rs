//! Scratch files of editors and copying tools: small, in memory, in the root only.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};

use super::folder::Listed;
use super::names::{Kind, Lifetime, Stat};
use super::workers::lock;
use super::{Caller, FsError};
use crate::layout::Timestamp;
use crate::tree::Attributes;
use crate::tree::inode::SCRATCH_FIRST;

/// The most scratch files at a time.
pub(super) const SCRATCH_FILES_MAX: usize = 16;
/// The most bytes of one.
pub(super) const SCRATCH_BYTES_MAX: u64 = 1 << 20;

/// Is one scratch file. It lives as long as it has a name or a handle.
#[derive(Debug)]
pub(super) struct ScratchFile {
    inode: u64,
    bytes: Vec<u8>,
    mode: u16,
    owner: Caller,
    modified: Timestamp,
}

/// Holds the scratch files by name.
#[derive(Debug, Default)]
pub(super) struct Scratches {
    files: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    by_name: BTreeMap<OsString, Arc<Mutex<ScratchFile>>>,
    made: u64,
}

/// Returns whether a name is one that editors and copying tools make for a moment.
pub(super) fn is_scratch_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let is_hidden = bytes.first() == Some(&b'.');
    let suffix = bytes
        .rsplit(|byte| *byte == b'.')
        .next()
        .unwrap_or_default();
    bytes.ends_with(b"~")
        || bytes == b"4913"
        || bytes.ends_with(b".tmp")
        || [
            &b"trustpolicy.json."[..],
            b".trustpolicy.json",
            b"#trustpolicy.json#",
        ]
        .iter()
        .any(|start| bytes.starts_with(start))
        || (is_hidden && suffix.len() == 3 && suffix.starts_with(b"sw"))
        || (is_hidden && suffix.len() == 6 && bytes.len() > 8)
        || (bytes.starts_with(b"sed") && bytes.len() == 9)
        || (bytes.starts_with(b"tmp") && bytes.len() > 3)
}

impl Scratches {
    /// Makes a file; one that is there is emptied.
    pub(super) fn create(
        &self,
        name: &OsStr,
        mode: u16,
        owner: Caller,
        now: Timestamp,
    ) -> Result<Arc<Mutex<ScratchFile>>, FsError> {
        let mut names = lock(&self.files);
        if names.by_name.len() >= SCRATCH_FILES_MAX && !names.by_name.contains_key(name) {
            return Err(FsError::ScratchFull);
        }
        names.made += 1;
        let file = Arc::new(Mutex::new(ScratchFile {
            inode: SCRATCH_FIRST + names.made,
            bytes: Vec::new(),
            mode,
            owner,
            modified: now,
        }));
        names.by_name.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    /// Returns the file with this name.
    pub(super) fn find(&self, name: &OsStr) -> Option<Arc<Mutex<ScratchFile>>> {
        lock(&self.files).by_name.get(name).cloned()
    }

    /// Returns the file with this inode number, while it has a name.
    pub(super) fn find_inode(&self, inode: u64) -> Option<Arc<Mutex<ScratchFile>>> {
        let names = lock(&self.files);
        let mut files = names.by_name.values();
        files.find(|file| lock(file).inode == inode).cloned()
    }

    pub(super) fn stat_name(&self, name: &OsStr) -> Option<Stat> {
        self.find(name).map(|file| lock(&file).stat())
    }

    pub(super) fn stat_inode(&self, inode: u64) -> Option<Stat> {
        self.find_inode(inode).map(|file| lock(&file).stat())
    }

    /// Removes a name.
    pub(super) fn remove(&self, name: &OsStr) -> Option<Arc<Mutex<ScratchFile>>> {
        lock(&self.files).by_name.remove(name)
    }

    /// Gives a file another name; one that had it is gone.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), FsError> {
        let mut names = lock(&self.files);
        let file = names.by_name.remove(from).ok_or(FsError::NotFound)?;
        names.by_name.insert(to.to_owned(), file);
        Ok(())
    }

    /// Lists the names.
    pub(super) fn entries(&self) -> Vec<Listed> {
        let names = lock(&self.files);
        let entry = |(name, file): (&OsString, &Arc<Mutex<ScratchFile>>)| Listed {
            inode: lock(file).inode,
            kind: Kind::File,
            name: name.clone(),
        };
        names.by_name.iter().map(entry).collect()
    }
}

impl ScratchFile {
    /// Returns the bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes at an offset.
    pub(super) fn write(
        &mut self,
        offset: u64,
        data: &[u8],
        now: Timestamp,
    ) -> Result<(), FsError> {
        // Nothing written is nothing changed, wherever that is (POSIX, write).
        if data.is_empty() {
            return Ok(());
        }
        let full = FsError::TooLarge {
            limit: SCRATCH_BYTES_MAX,
        };
        let length = u64::try_from(data.len()).map_err(|_| full.clone())?;
        let end = offset
            .checked_add(length)
            .filter(|end| *end <= SCRATCH_BYTES_MAX)
            .ok_or(full.clone())?;
        let (at, end) = match (usize::try_from(offset), usize::try_from(end)) {
            (Ok(at), Ok(end)) => (at, end),
            _ => return Err(full),
        };
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(target) = self.bytes.get_mut(at..end) {
            target.copy_from_slice(data);
        }
        self.modified = now;
        Ok(())
    }

    /// Changes the size.
    pub(super) fn resize(&mut self, size: u64, now: Timestamp) -> Result<(), FsError> {
        let limit = SCRATCH_BYTES_MAX;
        let size = usize::try_from(size)
            .ok()
            .filter(|_| size <= limit)
            .ok_or(FsError::TooLarge { limit })?;
        self.bytes.resize(size, 0);
        self.modified = now;
        Ok(())
    }

    /// Sets the mode.
    pub(super) fn set_mode(&mut self, mode: u16) {
        self.mode = mode & 0o777;
    }

    /// Sets the modification time.
    pub(super) fn set_modified(&mut self, time: Timestamp) {
        self.modified = time;
    }

    /// Returns the length.
    pub(super) fn length(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// Says what stat says.
    pub(super) fn stat(&self) -> Stat {
        Stat {
            inode: self.inode,
            number: self.inode,
            kind: Kind::File,
            attributes: Attributes {
                size: self.length(),
                mode: self.mode,
                uid: self.owner.uid,
                gid: self.owner.gid,
                links: 1,
                modified: self.modified,
                changed: self.modified,
            },
            lifetime: Lifetime::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_editors_are_scratch_and_names_of_layouts_are_not() {
        for name in [
            "trustpolicy.json~",
            ".trustpolicy.json.swp",
            ".trustpolicy.json.swx",
            ".trustpolicy.json.a8FkQz",
            ".sign.Ab12Cd",
            "4913",
            "sedAb12Cd",
            "trustpolicy.json.tmp",
            "tmpabcd",
            "#trustpolicy.json#",
        ] {
            assert!(is_scratch_name(OsStr::new(name)), "{name}");
        }
        for name in [
            "index.json",
            "blobs",
            "x",
            "manifest.json",
            ".hidden",
            "sediment",
            "",
            "tmp",
        ] {
            assert!(!is_scratch_name(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn files_are_few_and_small() {
        let scratches = Scratches::default();
        let owner = Caller {
            uid: 0,
            gid: 0,
            pid: 1,
        };
        let now = Timestamp::default();
        for number in 0..SCRATCH_FILES_MAX {
            let name = OsString::from(format!("tmp{number:04}"));
            scratches.create(&name, 0o600, owner, now).unwrap();
        }
        assert!(
            scratches
                .create(OsStr::new("tmpover"), 0o600, owner, now)
                .is_err()
        );
        let file = scratches.find(OsStr::new("tmp0000")).unwrap();
        let mut file = lock(&file);
        assert!(file.write(SCRATCH_BYTES_MAX - 1, b"x", now).is_ok());
        assert!(file.write(SCRATCH_BYTES_MAX, b"x", now).is_err());
        assert!(file.write(u64::MAX, b"x", now).is_err());
    }
}
