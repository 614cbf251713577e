//! The members of an archive by path: those named by 64 hex digits, as nearly all of a large layout are, by the bytes these spell.

use std::collections::BTreeMap;

use super::index::{Key, Node, Placed};
use super::places::{Place, Places};
use crate::oci::{Algorithm, Digest};

/// The folder of blobs that are named by the bytes of a SHA-256.
pub(super) const SHA256_FOLDER: &[u8] = b"blobs/sha256";

/// Holds members.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// All but the files that are in `files`.
    others: BTreeMap<Key, Placed>,
    /// Files named by 64 lower-case hex digits.
    files: Places,
    /// The folders of those, each with its number.
    folders: BTreeMap<Key, u32>,
}

/// Is a path, with what its name spells where that is 64 lower-case hex digits.
#[derive(Clone, Copy)]
pub(super) struct Spelled<'a> {
    key: &'a [u8],
    hashed: Option<(&'a [u8], [u8; 32])>,
}

impl<'a> Spelled<'a> {
    /// Reads the name in a path.
    pub(super) fn of(key: &'a [u8]) -> Self {
        let hashed = hashed(key);
        Self { key, hashed }
    }
}

impl Members {
    /// Returns what has a path.
    pub(super) fn get(&self, key: &[u8]) -> Option<Placed> {
        self.find(Spelled::of(key))
    }

    /// Returns what has a path that was read.
    pub(super) fn find(&self, path: Spelled<'_>) -> Option<Placed> {
        let hashed = path.hashed;
        let found = hashed.and_then(|(folder, name)| self.file(folder, name));
        found.or_else(|| self.others.get(path.key).cloned())
    }

    /// Returns the file in a folder that is named by the hex digits of these bytes.
    pub(super) fn file(&self, folder: &[u8], name: [u8; 32]) -> Option<Placed> {
        let number = self.folders.get(folder)?;
        self.files.get(&(*number, name)).map(Place::placed)
    }

    /// Puts a member at its path, in the place of one that is there already: it is the same.
    pub(super) fn insert(&mut self, path: Spelled<'_>, placed: Placed) {
        let (Some((folder, name)), Node::File { offset, size }) = (path.hashed, &placed.node)
        else {
            self.others.insert(path.key.into(), placed);
            return;
        };
        let place = Place {
            offset: *offset,
            size: *size,
            at: placed.at,
            seconds: placed.modified.0,
            nanoseconds: placed.modified.1,
        };
        let number = self.number(folder);
        self.files.insert((number, name), place);
    }

    /// Ends the adding: what was added is sorted, and takes no more room than it has to.
    pub(super) fn finish(&mut self) {
        let blobs = self.folders.get(SHA256_FOLDER).copied();
        self.files.sort(blobs.unwrap_or_default());
    }

    /// Returns the members that are not in [`Members::files`], sorted.
    pub(super) fn others(&self) -> impl Iterator<Item = (&Key, &Placed)> {
        self.others.iter()
    }

    /// Returns how many [`Members::files`] there are.
    pub(super) fn files_count(&self) -> usize {
        self.files.len()
    }

    /// Returns the files named by 64 hex digits: the folder, the bytes of the name, the file. Once the adding has ended, those of
    /// each folder stand together, sorted.
    pub(super) fn files(&self) -> impl Iterator<Item = (&[u8], [u8; 32], Placed)> {
        let mut folders: Vec<(u32, &Key)> = Vec::with_capacity(self.folders.len());
        folders.extend(self.folders.iter().map(|(key, number)| (*number, key)));
        folders.sort_unstable();
        let folder = move |number: u32| {
            let found = folders.get(usize::try_from(number).ok()?)?;
            Some(&**found.1)
        };
        let files = self.files.iter();
        files.filter_map(move |((number, name), place)| {
            Some((folder(*number)?, *name, place.placed()))
        })
    }

    fn number(&mut self, folder: &[u8]) -> u32 {
        if let Some(number) = self.folders.get(folder) {
            return *number;
        }
        // There are no more folders than members.
        let number = u32::try_from(self.folders.len()).unwrap_or(u32::MAX);
        self.folders.insert(folder.into(), number);
        number
    }
}

/// Returns the path of a file.
pub(super) fn joined(folder: &[u8], name: [u8; 32]) -> Key {
    let hex = Digest::Sha256(name).hex();
    match folder {
        [] => hex.into_bytes().into(),
        _ => [folder, b"/", hex.as_bytes()].concat().into(),
    }
}

/// Returns folder and name of a path whose name is 64 lower-case hex digits.
fn hashed(key: &[u8]) -> Option<(&[u8], [u8; 32])> {
    let (folder, name) = match key.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (key.get(..slash)?, key.get(slash.checked_add(1)?..)?),
        None => (&b""[..], key),
    };
    let hex = std::str::from_utf8(name).ok()?;
    match Digest::from_parts(Algorithm::Sha256, hex)? {
        Digest::Sha256(name) => Some((folder, name)),
        Digest::Sha384(_) | Digest::Sha512(_) | Digest::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(at: u64) -> Placed {
        Placed {
            node: Node::File {
                offset: at + 512,
                size: 3,
            },
            modified: (-1, 5),
            at,
        }
    }

    #[test]
    fn members_are_found_by_their_paths_whatever_their_names() {
        let hex = "0a".repeat(32);
        let upper = "0A".repeat(32);
        let link = Placed {
            node: Node::Link(b"target"[..].into()),
            ..file(6)
        };
        let paths = [
            (format!("blobs/sha256/{hex}"), file(1)),
            (format!("blobs/{hex}"), file(2)),
            (hex.clone(), file(3)),
            (format!("{hex}/{upper}"), file(4)),
            ("index.json".to_owned(), file(5)),
            (format!("links/{hex}"), link),
        ];
        let mut members = Members::default();
        for (path, placed) in &paths {
            members.insert(Spelled::of(path.as_bytes()), placed.clone());
        }
        members.finish();
        for (path, placed) in &paths {
            assert_eq!(
                members.get(path.as_bytes()).as_ref(),
                Some(placed),
                "{path}"
            );
        }
        for path in [&format!("blobs/sha256/{upper}"), "blobs", "", "links"] {
            assert_eq!(members.get(path.as_bytes()), None, "{path}");
        }
        let others = members
            .others()
            .map(|(key, placed)| (key.clone(), placed.clone()));
        let files = members.files();
        let mut all: Vec<_> = files
            .map(|(folder, name, placed)| (joined(folder, name), placed))
            .collect();
        assert_eq!(all.len(), 3);
        all.extend(others);
        all.sort_by_key(|(_, placed)| placed.at);
        let wanted = paths.map(|(path, placed)| (Key::from(path.into_bytes()), placed));
        assert_eq!(all, wanted);
    }
}
