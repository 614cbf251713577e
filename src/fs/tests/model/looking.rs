//! What a walk over the whole tree finds, held against the reference and against what was found before.

use std::collections::BTreeMap;

use super::reference::{self, Expected};
use super::*;
use crate::fs::folder::{FolderEntry, Room};

/// Is what a walk over everything saw of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    stat: Stat,
    /// Bytes, target or nothing; an error's text where it cannot be read.
    content: Result<Vec<u8>, String>,
}

impl Pair {
    /// Looks at everything there is, by folder and by name; both have to agree.
    fn walk(&self) -> BTreeMap<String, Seen> {
        let fs = &self.bench.fs;
        let snapshot = fs.fresh();
        let mut seen = BTreeMap::new();
        let mut folders = vec![(String::new(), ROOT)];
        while let Some((path, folder)) = folders.pop() {
            let opened = fs.opendir(&snapshot, folder).unwrap();
            let mut entries = Vec::new();
            let mut take = |entry: &FolderEntry<'_>, _| {
                entries.push((entry.inode, entry.kind, entry.name.to_owned()));
                Room::Left
            };
            fs.readdir(opened.handle, 0, &mut take).unwrap();
            fs.release(folder, opened.handle);
            assert_eq!(entries[0].2, ".");
            for (inode, kind, name) in &entries[2..] {
                let (inode, kind) = (*inode, *kind);
                let entry = &FolderEntry { inode, kind, name };
                let stat = fs.lookup(&snapshot, folder, entry.name).unwrap();
                assert_eq!((stat.inode, stat.kind), (entry.inode, entry.kind));
                // By its inode number, by the number of its version, and listed with its attributes, it is the same.
                let told = |stat: Stat| (stat.inode, stat.kind, stat.attributes);
                for number in [entry.inode, stat.number] {
                    let found = fs.getattr(&snapshot, number, None).unwrap();
                    assert_eq!(told(found), told(stat), "{number}");
                }
                let listed = fs.stat_listed(&snapshot, entry).unwrap();
                assert_eq!(told(listed), told(stat));
                let name = entry.name.to_str().unwrap();
                let path = format!("{path}/{name}").trim_start_matches('/').to_owned();
                let content = match entry.kind {
                    Kind::Directory => Ok(Vec::new()),
                    Kind::Link => Ok(fs.readlink(&snapshot, entry.inode).unwrap()),
                    Kind::File => self.bench.read(&path).map_err(|error| error.to_string()),
                };
                if let (Ok(bytes), true) = (&content, entry.kind != Kind::Directory) {
                    assert_eq!(bytes.len() as u64, stat.attributes.size, "{path}");
                }
                if entry.kind == Kind::Directory {
                    folders.push((path.clone(), entry.inode));
                }
                assert!(seen.insert(path, Seen { stat, content }).is_none());
            }
        }
        seen
    }

    /// Compares everything with the reference and with what was seen before.
    pub(super) fn compare(&mut self) {
        assert_eq!(self.bench.decided(), self.reference.verdict());
        let seen = self.walk();
        // A second look finds the same.
        assert_eq!(self.walk(), seen);
        let expected = self.reference.expected();
        let own = |path: &&String| !reference::is_signature_file(path);
        let shown: Vec<&String> = seen.keys().filter(own).collect();
        assert_eq!(shown, expected.keys().collect::<Vec<_>>());
        for (path, expected) in &expected {
            let found = &seen[path];
            let is_right = match expected {
                Expected::Folder => found.stat.kind == Kind::Directory,
                Expected::Bytes(bytes) => found.content.as_ref() == Ok(bytes),
                Expected::Link(target) => found.content.as_deref() == Ok(target.as_bytes()),
                Expected::Unreadable => found.content.is_err(),
                Expected::Some => found.content.as_ref().is_ok_and(|bytes| !bytes.is_empty()),
                Expected::Signatures(count) => {
                    let inside = format!("{path}/");
                    seen.keys().filter(|path| path.starts_with(&inside)).count() == 3 * count
                }
            };
            assert!(is_right, "{path}: {expected:?}, not {found:?}");
        }
        let status = String::from_utf8(seen["verify-status"].content.clone().unwrap()).unwrap();
        assert!(
            status.starts_with(self.reference.verdict().token()),
            "{status}"
        );
        for (path, found) in seen {
            self.remember(path, found);
        }
    }

    /// Holds a name against what was seen of it before: its number stays, and other bytes have another time.
    fn remember(&mut self, path: String, found: Seen) {
        if self.reference.scratch.contains_key(&path) {
            return;
        }
        let key = self.reference.identity(&path);
        let inode = *self.inodes.entry(key).or_insert(found.stat.inode);
        assert_eq!(inode, found.stat.inode, "the number of {path} changed");
        if let (true, Ok(bytes)) = (reference::is_synthetic(&path), found.content) {
            let now = (found.stat.attributes.modified, bytes);
            let before = self.times.insert(path.clone(), now.clone());
            if let Some(before) = before {
                assert!(
                    before.1 == now.1 || before.0 != now.0,
                    "{path} has another text and the same time"
                );
            }
        }
    }
}
