use std::ffi::OsString;

use super::*;
use crate::fs::folder::Room;

/// Is what a folder lists: the number, kind and name, and the position after it.
type Row = (u64, Kind, OsString, u64);

impl Bench {
    /// Opens a folder of the present snapshot.
    fn opendir(&self, path: &str) -> u64 {
        let inode = self.inode(path);
        self.fs.opendir(&self.fs.fresh(), inode).unwrap().handle
    }

    /// Reads an open folder from a position on into one answer that has room for so many names.
    fn rows(&self, handle: u64, position: u64, room: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut refused = 0;
        let mut take = |entry: &crate::fs::folder::FolderEntry<'_>, next| {
            assert_eq!(refused, 0, "asked on after an answer was full");
            if rows.len() == room {
                refused += 1;
                return Room::Full;
            }
            rows.push((entry.inode, entry.kind, entry.name.to_owned(), next));
            Room::Left
        };
        self.fs.readdir(handle, position, &mut take).unwrap();
        rows
    }

    /// Adds blobs and returns the names of all in the folder, as the file system has them, sorted.
    fn put_blobs(&self, texts: std::ops::Range<usize>) -> Vec<OsString> {
        for text in texts {
            let bytes = text.to_string();
            std::fs::write(self.path(&Digest::of(bytes.as_bytes())), bytes).unwrap();
        }
        self.stored_names()
    }

    fn stored_names(&self) -> Vec<OsString> {
        let folder = self.folder.path().join("blobs/sha256");
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<OsString> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }
}

#[test]
fn an_open_folder_lists_what_was_there_at_its_opening_from_any_position() {
    let bench = Bench::new();
    let names = bench.put_blobs(0..60);
    let opening = bench.fs.fresh();
    let folder = bench.inode("blobs/sha256");
    let handle = bench.opendir("blobs/sha256");

    let whole = bench.rows(handle, 0, usize::MAX);
    let listed: Vec<&OsString> = whole.iter().map(|(_, _, name, _)| name).collect();
    assert_eq!(listed[..2], [".", ".."]);
    assert_eq!(listed[2..], names.iter().collect::<Vec<_>>());
    for (number, kind, name, _) in &whole[2..] {
        let stat = bench.fs.lookup(&opening, folder, name).unwrap();
        assert_eq!((*number, *kind), (stat.inode, stat.kind), "{name:?}");
    }
    assert_eq!((whole[0].0, whole[0].1), (folder, Kind::Directory));

    // The layout changes under it: blobs go, other blobs come.
    for name in names.iter().step_by(3) {
        std::fs::remove_file(bench.folder.path().join("blobs/sha256").join(name)).unwrap();
    }
    let later = bench.put_blobs(60..100);
    let another = bench.opendir("blobs/sha256");
    let shown = bench.rows(another, 2, usize::MAX);
    let shown: Vec<OsString> = shown.into_iter().map(|(_, _, name, _)| name).collect();
    assert_eq!(shown, later);

    for room in [1, 2, 7, usize::MAX] {
        // Each answer goes on where the one before it ended; a seek may go anywhere, also back.
        let mut read: Vec<Row> = Vec::new();
        loop {
            let position = read.last().map_or(0, |row| row.3);
            let rows = bench.rows(handle, position, room);
            if rows.is_empty() {
                break;
            }
            read.extend(rows);
        }
        assert_eq!(read, whole);
        for position in (0..whole.len()).rev() {
            let expected = &whole[position..whole.len().min(position.saturating_add(room))];
            assert_eq!(bench.rows(handle, position as u64, room), expected);
        }
    }
    for past in [whole.len() as u64, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(bench.rows(handle, past, usize::MAX), []);
    }
}

#[test]
fn each_algorithm_has_its_own_blobs() {
    let bench = Bench::new();
    let folder = bench.folder.path().join("blobs/sha512");
    std::fs::create_dir(&folder).unwrap();
    let mut names = Vec::new();
    for bytes in [&b"one"[..], b"two", b"three"] {
        let mut hasher = crate::oci::Hasher::new(crate::oci::Algorithm::Sha512);
        hasher.update(bytes);
        let name = hasher.finish().hex();
        std::fs::write(folder.join(&name), bytes).unwrap();
        names.push(OsString::from(name));
    }
    names.sort();
    let listed = |path: &str| -> Vec<OsString> {
        let rows = bench.rows(bench.opendir(path), 2, usize::MAX);
        rows.into_iter().map(|(_, _, name, _)| name).collect()
    };
    assert_eq!(listed("blobs/sha512"), names);
    assert_eq!(listed("blobs/sha256"), bench.stored_names());
}
