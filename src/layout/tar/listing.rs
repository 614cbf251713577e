//! What a layout in a tar stores, and which of its names are shown. docs/SEMANTICS.md.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::Archive;
use super::index::{Node, Placed, parent, path, target};
use super::members::{SHA256_FOLDER, joined};
use crate::layout::names::{is_algorithm, is_writers};
use crate::layout::{Extra, ExtraKind, Listing, StoredBlob};
use crate::oci::{Algorithm, Digest};

/// Is a folder that no member stands for.
const IMPLIED: Placed = Placed {
    node: Node::Folder,
    modified: (0, 0),
    at: 0,
};

/// Lists an archive.
pub(super) fn list(archive: &Archive) -> Listing {
    let members = &archive.index.members;
    let mut listing = Listing {
        root: archive
            .index
            .node(Path::new(""))
            .map(|placed| archive.facts(&placed)),
        ..Listing::default()
    };
    let mut folders = Folders::default();
    for (key, placed) in members.others() {
        folders.note(parent(key));
        add(archive, path(key), placed, &mut listing);
    }
    let room = members.files_count();
    Arc::make_mut(&mut listing.blobs).reserve_exact(room);
    for (folder, name, placed) in members.files() {
        folders.note(Some(folder).filter(|folder| !folder.is_empty()));
        match folder {
            SHA256_FOLDER => Arc::make_mut(&mut listing.blobs).push(StoredBlob {
                digest: Digest::Sha256(name),
                facts: archive.facts(&placed),
            }),
            _ => add(archive, path(&joined(folder, name)), &placed, &mut listing),
        }
    }
    for folder in folders.all {
        if members.get(folder).is_none() {
            add(archive, path(folder), &IMPLIED, &mut listing);
        }
    }
    listing.folders.sort_by(|one, other| one.0.cmp(&other.0));
    let blobs = Arc::make_mut(&mut listing.blobs);
    blobs.sort_unstable_by(|one, other| one.digest.cmp(&other.digest));
    blobs.shrink_to_fit();
    listing
        .extras
        .sort_by(|one, other| one.path.cmp(&other.path));
    listing.leftovers.sort();
    listing
}

/// Holds the folders that members are in, and those above them.
#[derive(Default)]
struct Folders<'a> {
    all: BTreeSet<&'a [u8]>,
    looked_at: Option<&'a [u8]>,
}

impl<'a> Folders<'a> {
    fn note(&mut self, folder: Option<&'a [u8]>) {
        if folder == self.looked_at {
            return;
        }
        self.looked_at = folder;
        let mut above = folder;
        while let Some(folder) = above.filter(|folder| self.all.insert(folder)) {
            above = parent(folder);
        }
    }
}

/// Tells what the place of a path means.
enum Meaning {
    Root,
    Index,
    OciLayout,
    /// `blobs` or `blobs/ALG`.
    Folder,
    Blob(Digest),
    /// Of a writer in progress.
    Writers,
    /// Below something of a writer in progress.
    BelowWriters,
    Extra,
}

fn meaning(path: &Path) -> Meaning {
    // Deeper paths mean what their first four components do.
    let mut parts = [&b""[..]; 4];
    let mut count = 0;
    for (part, place) in path
        .as_os_str()
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .zip(&mut parts)
    {
        *place = part;
        count += 1;
    }
    let algorithm = |name: &[u8]| {
        std::str::from_utf8(name)
            .ok()
            .and_then(Algorithm::from_name)
    };
    match parts.get(..count).unwrap_or_default() {
        [] => Meaning::Root,
        [b"index.json"] => Meaning::Index,
        [b"oci-layout"] => Meaning::OciLayout,
        [b"blobs"] => Meaning::Folder,
        [b"blobs", name] if algorithm(name).is_some() => Meaning::Folder,
        [b"blobs", name, hex] if algorithm(name).is_some() => {
            let hex = std::str::from_utf8(hex).ok();
            algorithm(name)
                .zip(hex)
                .and_then(|(algorithm, hex)| Digest::from_parts(algorithm, hex))
                .map_or(Meaning::Writers, Meaning::Blob)
        }
        [b"blobs", name, ..] if algorithm(name).is_some() => Meaning::BelowWriters,
        [b"blobs", name] if !is_algorithm(name) => Meaning::Writers,
        [b"blobs", name, ..] if !is_algorithm(name) => Meaning::BelowWriters,
        [name] if is_writers(name) => Meaning::Writers,
        [name, ..] if is_writers(name) => Meaning::BelowWriters,
        _ => Meaning::Extra,
    }
}

fn add(archive: &Archive, path: &Path, placed: &Placed, listing: &mut Listing) {
    let facts = archive.facts(placed);
    match (meaning(path), &placed.node) {
        (Meaning::Root | Meaning::Index, Node::Folder | Node::File { .. })
        | (Meaning::BelowWriters, _) => {}
        (Meaning::OciLayout, Node::File { .. }) => listing.oci_layout = Some(facts),
        (Meaning::Folder, Node::Folder) => listing.folders.push((path.to_owned(), facts)),
        (Meaning::Blob(digest), Node::File { .. }) => {
            Arc::make_mut(&mut listing.blobs).push(StoredBlob { digest, facts });
        }
        (Meaning::Writers, _) => listing.leftovers.push(path.to_owned()),
        (Meaning::Extra, node) => match kind(node) {
            Some(kind) => listing.extras.push(Extra {
                path: path.to_owned(),
                kind,
                facts,
            }),
            None => listing.hide(path),
        },
        _ => listing.hide(path),
    }
}

fn kind(node: &Node) -> Option<ExtraKind> {
    match node {
        Node::File { .. } => Some(ExtraKind::File),
        Node::Folder => Some(ExtraKind::Directory),
        Node::Link(bytes) => Some(ExtraKind::Link(target(bytes))),
        Node::Special => None,
    }
}
