//! What the members of an archive make up: one layout, or nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

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
    Link(PathBuf),
    /// A device, a fifo, or a hard link to nothing.
    Special,
}

/// Is a node and its modification time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) node: Node,
    pub(super) modified: (i64, u32),
}

/// Holds the nodes by path below the layout's root; the root itself has the empty path.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) nodes: BTreeMap<PathBuf, Placed>,
    /// Members whose names lead out of the archive.
    pub(super) hidden: usize,
}

/// Builds the index.
///
/// # Errors
/// Says which path is ambiguous.
pub(super) fn build(file: &OpenFile, members: Vec<Member>) -> Result<Index, String> {
    let mut index = Index::default();
    for member in members {
        let Some(path) = normal(&member.name) else {
            index.hidden += 1;
            continue;
        };
        let placed = Placed {
            node: index.resolve(member.content),
            modified: member.modified,
        };
        index.place(file, path, placed)?;
    }
    index.strip_folder();
    index.refuse_children_of_files()?;
    Ok(index)
}

impl Index {
    fn resolve(&self, content: Content) -> Node {
        match content {
            Content::File { offset, size } => Node::File { offset, size },
            Content::Folder => Node::Folder,
            Content::SymLink(target) => Node::Link(PathBuf::from(OsString::from_vec(target))),
            Content::Special => Node::Special,
            Content::HardLink(target) => {
                // A hard link names an earlier member.
                match normal(&target).and_then(|target| self.nodes.get(&target)) {
                    Some(Placed {
                        node: node @ Node::File { .. },
                        ..
                    }) => node.clone(),
                    Some(_) | None => Node::Special,
                }
            }
        }
    }

    /// Adds a node; a second one at the same path must be the same.
    fn place(&mut self, file: &OpenFile, path: PathBuf, placed: Placed) -> Result<(), String> {
        if let Some(earlier) = self.nodes.get(&path) {
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
                return Err(format!("it has two different members {}", path.display()));
            }
        }
        self.nodes.insert(path, placed);
        Ok(())
    }

    /// Takes one leading folder off all paths where the layout is in it.
    fn strip_folder(&mut self) {
        let is_file = |index: &Self, path: &Path| {
            matches!(
                index.nodes.get(path),
                Some(Placed {
                    node: Node::File { .. },
                    ..
                })
            )
        };
        if is_file(self, Path::new("index.json")) {
            return;
        }
        let mut roots = self
            .nodes
            .keys()
            .filter_map(|path| path.components().next())
            .map(|component| PathBuf::from(component.as_os_str()));
        let Some(root) = roots.next() else { return };
        if roots.any(|other| other != root) || !is_file(self, &root.join("index.json")) {
            return;
        }
        let nodes = std::mem::take(&mut self.nodes);
        self.nodes = nodes
            .into_iter()
            .filter_map(|(path, placed)| {
                let below = path.strip_prefix(&root).ok()?;
                Some((below.to_owned(), placed))
            })
            .collect();
    }

    /// What lies below a symlink or file would be written elsewhere, or not at all, by a tool that unpacks.
    fn refuse_children_of_files(&self) -> Result<(), String> {
        for path in self.nodes.keys() {
            for parent in path.ancestors().skip(1) {
                match self.nodes.get(parent) {
                    None
                    | Some(Placed {
                        node: Node::Folder, ..
                    }) => {}
                    Some(_) => {
                        return Err(format!(
                            "{} lies below a member that is no folder",
                            path.display()
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the path without `.` and empty components, or `None` where it leads out of the archive.
fn normal(name: &[u8]) -> Option<PathBuf> {
    if name.first() == Some(&b'/') {
        return None;
    }
    let mut path = PathBuf::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            _ => path.push(OsString::from_vec(part.to_vec())),
        }
    }
    Some(path)
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
