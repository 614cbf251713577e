//! What a layout in a tar stores, and which of its names are shown. docs/SEMANTICS.md.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Archive;
use super::index::{Node, Placed};
use crate::layout::names::{is_algorithm, is_writers};
use crate::layout::{Extra, ExtraKind, Listing, StoredBlob};
use crate::oci::{Algorithm, Digest};

/// Is a folder that no member stands for.
const IMPLIED: Placed = Placed {
    node: Node::Folder,
    modified: (0, 0),
};

/// Lists an archive.
pub(super) fn list(archive: &Archive) -> Listing {
    let nodes = &archive.index.nodes;
    let mut listing = Listing {
        root: nodes.get(Path::new("")).map(|placed| archive.facts(placed)),
        hidden: archive.index.hidden,
        ..Listing::default()
    };
    let mut folders = BTreeSet::new();
    for (path, placed) in nodes {
        folders.extend(path.ancestors().skip(1).map(Path::to_owned));
        add(archive, path, placed, &mut listing);
    }
    for path in folders {
        if !nodes.contains_key(&path) && !path.as_os_str().is_empty() {
            add(archive, &path, &IMPLIED, &mut listing);
        }
    }
    listing.folders.sort_by(|one, other| one.0.cmp(&other.0));
    listing
        .blobs
        .sort_by(|one, other| one.digest.cmp(&other.digest));
    listing
        .extras
        .sort_by(|one, other| one.path.cmp(&other.path));
    listing.leftovers.sort();
    listing
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
    let parts: Vec<&[u8]> = path
        .components()
        .map(|component| component.as_os_str().as_bytes())
        .collect();
    let algorithm = |name: &[u8]| {
        std::str::from_utf8(name)
            .ok()
            .and_then(Algorithm::from_name)
    };
    match parts.as_slice() {
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
            listing.blobs.push(StoredBlob { digest, facts });
        }
        (Meaning::Writers, _) => listing.leftovers.push(path.to_owned()),
        (Meaning::Extra, node) => match kind(node) {
            Some(kind) => listing.extras.push(Extra {
                path: path.to_owned(),
                kind,
                facts,
            }),
            None => listing.hidden += 1,
        },
        _ => listing.hidden += 1,
    }
}

fn kind(node: &Node) -> Option<ExtraKind> {
    match node {
        Node::File { .. } => Some(ExtraKind::File),
        Node::Folder => Some(ExtraKind::Directory),
        Node::Link(target) => Some(ExtraKind::Link(PathBuf::from(target))),
        Node::Special => None,
    }
}
