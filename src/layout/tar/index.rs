//! What the members of an archive make up: one layout, or nothing.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::members::{Members, Spelled, joined};
use super::problem::{PLAIN, Problem, RELATIVE, REWRITE, TWICE, shown};
use super::scan::{Content, Member};
use crate::files::{self, OpenFile};

/// Is what has a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A file, and where its bytes are.
    File { offset: u64, size: u64 },
    /// A folder.
    Folder,
    /// A symlink and its target.
    Link(Box<[u8]>),
    /// A fifo.
    Special,
}

/// Is a node, its modification time, and where its header is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) node: Node,
    pub(super) modified: (i64, u32),
    pub(super) at: u64,
}

/// Is a path below the layout's root, its components joined by single slashes; the root's is empty.
pub(super) type Key = Box<[u8]>;

/// Holds the members by path.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) members: Members,
    /// Bytes of members that were compared because their names are there twice.
    compared: u64,
}

impl Index {
    /// Returns what has a path.
    pub(super) fn node(&self, path: &Path) -> Option<Placed> {
        self.members.get(path.as_os_str().as_bytes())
    }

    /// Adds a member.
    ///
    /// # Errors
    /// Says why readers would not agree on it.
    pub(super) fn add(&mut self, file: &OpenFile, member: Member) -> Result<(), Problem> {
        let key = normal(&member.name)
            .ok_or_else(|| Problem::new("its name leads out of the archive", RELATIVE))?;
        if key.is_empty() && member.content != Content::Folder {
            return Err("it has no name".into());
        }
        if matches!(&member.content, Content::HardLink(target) if normal(target).is_some_and(|target| target == key))
        {
            // libarchive removes the file first, and then has nothing to link to.
            return Err(Problem::new("it is a hard link to itself", PLAIN));
        }
        let placed = Placed {
            node: self.resolve(member.content)?,
            modified: member.modified,
            at: member.at,
        };
        self.place(file, Spelled::of(&key), placed)
    }

    /// Ends the archive: takes one leading folder off all paths where the layout is in it.
    ///
    /// # Errors
    /// Says which member lies below one that is no folder.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.strip_folder();
        self.members.finish();
        self.refuse_children_of_files()
    }

    fn resolve(&self, content: Content) -> Result<Node, Problem> {
        Ok(match content {
            Content::File { offset, size } => Node::File { offset, size },
            Content::Folder => Node::Folder,
            Content::SymLink(target) => Node::Link(target.into()),
            Content::Special => Node::Special,
            Content::HardLink(target) => {
                let earlier = normal(&target).and_then(|target| self.members.get(&target));
                match earlier.map(|placed| placed.node) {
                    Some(node @ Node::File { .. }) => node,
                    Some(_) | None => {
                        let target = shown(&target);
                        return Err(Problem::new(
                            format!("it is a hard link to {target:?}, which is no file before it"),
                            PLAIN,
                        ));
                    }
                }
            }
        })
    }

    /// Adds a node; a second one at the same path must be the same.
    fn place(&mut self, file: &OpenFile, path: Spelled<'_>, placed: Placed) -> Result<(), Problem> {
        if let Some(earlier) = self.members.find(path) {
            if let (Node::File { offset, size }, Node::File { offset: other, .. }) =
                (&earlier.node, &placed.node)
                && offset != other
            {
                self.compared = self.compared.saturating_add(*size);
                if self.compared > file.stat.size {
                    return Err(Problem::new(
                        "its names are there so often that comparing takes too long",
                        TWICE,
                    ));
                }
            }
            let is_same = match (&earlier.node, &placed.node) {
                (
                    Node::File { offset, size },
                    Node::File {
                        offset: other_offset,
                        size: other_size,
                    },
                ) => size == other_size && same_bytes(file, (*offset, *other_offset), *size),
                (earlier, later) => earlier == later,
            };
            if !is_same {
                let at = earlier.at;
                return Err(Problem::new(
                    format!("it is there twice, and not the same: the other is at byte {at}"),
                    TWICE,
                ));
            }
        }
        self.members.insert(path, placed);
        Ok(())
    }

    fn is_file(&self, key: &[u8]) -> bool {
        let node = self.members.get(key).map(|placed| placed.node);
        matches!(node, Some(Node::File { .. }))
    }

    fn strip_folder(&mut self) {
        if self.is_file(b"index.json") {
            return;
        }
        let first = |key: &[u8]| key.split(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
        let keys = self.keys();
        let mut roots = keys.filter(|key| !key.is_empty()).map(|key| first(&key));
        let Some(Some(root)) = roots.next() else {
            return;
        };
        let is_other = |other: Option<Vec<u8>>| other.is_none_or(|other| other != root);
        if roots.any(is_other) || !self.is_file(&[&root[..], b"/index.json"].concat()) {
            return;
        }
        drop(roots);
        let mut members = Members::default();
        for (key, placed) in self.all() {
            if let Some(below) = key.strip_prefix(&root[..]) {
                let below = below.strip_prefix(b"/").unwrap_or(below);
                members.insert(Spelled::of(below), placed);
            }
        }
        self.members = members;
    }

    /// Returns the paths of all members.
    fn keys(&self) -> impl Iterator<Item = Key> {
        self.all().map(|(key, _)| key)
    }

    fn all(&self) -> impl Iterator<Item = (Key, Placed)> {
        let others = self.members.others();
        let others = others.map(|(key, placed)| (key.clone(), placed.clone()));
        let files = self.members.files();
        others.chain(files.map(|(folder, name, placed)| (joined(folder, name), placed)))
    }

    /// What lies below a symlink or file would be written elsewhere, or not at all, by a tool that unpacks.
    fn refuse_children_of_files(&self) -> Result<(), String> {
        let mut looked_at: &[u8] = b"";
        for (key, placed) in self.members.others() {
            let Some(folder) = parent(key).filter(|folder| *folder != looked_at) else {
                continue;
            };
            looked_at = folder;
            self.refuse_below_files(folder, || (key.clone(), placed.at))?;
        }
        looked_at = b"";
        for (folder, name, placed) in self.members.files() {
            if folder == looked_at {
                continue;
            }
            looked_at = folder;
            self.refuse_below_files(folder, || (joined(folder, name), placed.at))?;
        }
        Ok(())
    }

    /// Checks that a folder and all above it are folders, for the member in it that is returned by `what`, with its place.
    fn refuse_below_files(
        &self,
        folder: &[u8],
        what: impl Fn() -> (Key, u64),
    ) -> Result<(), String> {
        let mut above = Some(folder);
        while let Some(folder) = above {
            match self.members.get(folder).map(|above| above.node) {
                None | Some(Node::Folder) => {}
                Some(_) => {
                    let (key, at) = what();
                    let name = shown(&key);
                    return Err(format!(
                        "entry {name:?} at byte {at}: it lies below an entry that is no folder"
                    ));
                }
            }
            above = parent(folder);
        }
        Ok(())
    }
}

/// What to do about a member below one that is no folder.
pub(super) const BELOW_ADVICE: &str = REWRITE;

/// Returns the path of the folder that a path is in; `None` for the root and what is in it.
pub(super) fn parent(key: &[u8]) -> Option<&[u8]> {
    let slash = key.iter().rposition(|byte| *byte == b'/')?;
    key.get(..slash)
}

/// Returns a key as a path.
pub(super) fn path(key: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(key))
}

/// Returns the target of a link as a path.
pub(super) fn target(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// Returns the path without `.` and empty components, or `None` where it leads out of the archive.
fn normal(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    if name.first() == Some(&b'/') {
        return None;
    }
    // Most archives are written from a folder named `.`.
    let below = name.strip_prefix(b"./").unwrap_or(name);
    let mut parts = below.split(|byte| *byte == b'/');
    if parts.all(|part| !matches!(part, b"" | b"." | b"..")) {
        return Some(Cow::Borrowed(below));
    }
    let mut key = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            _ => {
                if !key.is_empty() {
                    key.push(b'/');
                }
                key.extend_from_slice(part);
            }
        }
    }
    Some(Cow::Owned(key))
}

fn same_bytes(file: &OpenFile, (one, other): (u64, u64), size: u64) -> bool {
    if one == other {
        return true;
    }
    let mut buffers = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut done = 0;
    while done < size {
        let length = usize::try_from(size - done)
            .unwrap_or(usize::MAX)
            .min(buffers.0.len());
        let (Some(left), Some(right)) = (buffers.0.get_mut(..length), buffers.1.get_mut(..length))
        else {
            return false;
        };
        let fd = file.file.as_fd();
        let is_read = |result: std::io::Result<usize>| result.is_ok_and(|count| count == length);
        let both = is_read(files::read_at(fd, left, one + done))
            && is_read(files::read_at(fd, right, other + done));
        if !both || left != right {
            return false;
        }
        done += u64::try_from(length).unwrap_or(u64::MAX);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_the_same_path_however_it_is_written() {
        let names = [
            ("a", Some("a")),
            ("a/b", Some("a/b")),
            ("./a/b", Some("a/b")),
            ("././a/b", Some("a/b")),
            (".//a/b", Some("a/b")),
            ("a//b", Some("a/b")),
            ("a/./b", Some("a/b")),
            ("a/b/", Some("a/b")),
            ("./a/b/.", Some("a/b")),
            ("...", Some("...")),
            ("./.a/..b", Some(".a/..b")),
            ("", Some("")),
            (".", Some("")),
            ("./", Some("")),
            ("..", None),
            ("./..", None),
            ("a/../b", None),
            ("./a/..", None),
            ("/a", None),
            ("/", None),
        ];
        for (name, path) in names {
            let found = normal(name.as_bytes());
            assert_eq!(found.as_deref(), path.map(str::as_bytes), "{name}");
        }
    }
}
