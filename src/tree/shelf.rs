//! What a tree has a hundred thousand of: stored blobs, and the links to layers below `images/`.
//!
//! They are kept as tables of numbers and positions in what the layout said; an entry is made when it is asked for.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use super::build::Owner;
use super::names::BlobNames;
use super::node::{Attributes, Entry, Node};
use super::stored::blob_folder;
use super::{inode, times};
use crate::layout::{StoredBlob, Timestamp};
use crate::oci::{Algorithm, Digest, Document, ImageManifest};

/// Holds the stored blobs, and the folders of links.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    /// The stored blobs, sorted by digest.
    blobs: Arc<Vec<StoredBlob>>,
    /// The folder of each algorithm's blobs.
    homes: Vec<Home>,
    /// The inode number of each blob that is shown, and its position.
    blob_numbers: Vec<(u64, u32)>,
    /// The inode number of each blob by position; 0 for one that is not shown.
    numbers: Arc<Vec<u64>>,
    racks: Vec<Rack>,
    /// The rack of each folder of links.
    rack_of: HashMap<u64, u32>,
    /// The inode number of each link, and where it is.
    link_numbers: Vec<(u64, Place)>,
    /// The positions in `link_numbers`, in the order of places.
    link_order: Vec<u32>,
}

/// Is the folder of an algorithm's blobs.
#[derive(Debug, Clone)]
struct Home {
    algorithm: Algorithm,
    folder: u64,
    /// The positions of the blobs.
    range: Range<usize>,
}

/// Is where a link is: which rack, and which layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    rack: u32,
    layer: u32,
}

/// Is a folder with links to the layers of one manifest.
#[derive(Debug, Clone)]
pub(super) struct Rack {
    /// The folder.
    pub(super) folder: u64,
    /// How many folders it is below the root.
    pub(super) depth: usize,
    /// The manifest.
    pub(super) document: Arc<Document>,
    /// When index.json changed.
    pub(super) changed: Timestamp,
    /// The mounting user.
    pub(super) owner: Owner,
}

impl Rack {
    fn manifest(&self) -> Option<&ImageManifest> {
        match &*self.document {
            Document::Manifest(manifest) => Some(manifest),
            Document::Index(_) => None,
        }
    }

    /// Returns the name of the link to a layer: its position, and its hex digits.
    pub(super) fn name(&self, layer: usize) -> Option<String> {
        let mut name = String::new();
        self.push_name(layer, &mut name)?;
        Some(name)
    }

    /// Appends that name; nothing where there is no such layer.
    pub(super) fn push_name(&self, layer: usize, text: &mut String) -> Option<()> {
        let layers = &self.manifest()?.layers;
        let digest = &layers.get(layer)?.digest;
        let last = layers.len().saturating_sub(1);
        let digits = last.checked_ilog10().unwrap_or_default().saturating_add(1);
        let width = usize::try_from(digits).unwrap_or_default().max(2);
        // Writing to a String cannot fail.
        let _ = write!(text, "{layer:0width$}-");
        let _ = digest.write_hex_to(text);
        Some(())
    }

    /// Returns how many bytes [`Rack::target`] has.
    pub(super) fn target_bytes(&self, layer: usize) -> Option<u64> {
        let algorithm = self.manifest()?.layers.get(layer)?.digest.algorithm()?;
        let hex = algorithm.digest_bytes().saturating_mul(2);
        let up = "../".len().saturating_mul(self.depth);
        let parts = ["blobs/".len(), algorithm.name().len(), "/".len(), hex, up];
        u64::try_from(parts.into_iter().fold(0, usize::saturating_add)).ok()
    }

    /// Returns where the link to a layer leads; nowhere for a digest that is no path.
    pub(super) fn target(&self, layer: usize) -> Option<String> {
        let digest = &self.manifest()?.layers.get(layer)?.digest;
        let below_root = format!("{}/{}", blob_folder(digest)?, digest.hex());
        Some("../".repeat(self.depth) + &below_root)
    }

    fn entry(&self, number: u64, layer: usize) -> Option<Entry> {
        let target = self.target(layer)?;
        let time = times::of_bytes(self.changed, target.as_bytes());
        Some(Entry {
            inode: number,
            parent: self.folder,
            attributes: Attributes {
                size: u64::try_from(target.len()).unwrap_or(u64::MAX),
                mode: 0o777,
                uid: self.owner.uid,
                gid: self.owner.gid,
                links: 1,
                modified: time,
                changed: time,
            },
            node: Node::Link(target.into()),
        })
    }
}

impl Shelf {
    /// Returns the entry with this inode number.
    pub(super) fn entry(&self, number: u64) -> Option<Entry> {
        if let Some(position) = find(&self.blob_numbers, number) {
            return self.blob(number, position);
        }
        self.link(number, find(&self.link_numbers, number)?)
    }

    /// Returns whether there is an entry with this inode number.
    pub(super) fn has(&self, number: u64) -> bool {
        find(&self.blob_numbers, number).is_some() || find(&self.link_numbers, number).is_some()
    }

    /// Returns the inode number of a name in a folder.
    pub(super) fn child(&self, folder: u64, name: &OsStr) -> Option<u64> {
        let name = name.to_str()?;
        if let Some(home) = self.home(folder) {
            let digest = Digest::from_parts(home.algorithm, name)?;
            let found = self.blobs.binary_search_by(|blob| blob.digest.cmp(&digest));
            return self.numbers.get(found.ok()?).copied();
        }
        let rack_number = *self.rack_of.get(&folder)?;
        let rack = self.rack(rack_number)?;
        let layer: u32 = name.split_once('-')?.0.parse().ok()?;
        if rack.name(usize::try_from(layer).ok()?)? != name {
            return None;
        }
        let rack = rack_number;
        let links = self.links_at(Place { rack, layer }..=Place { rack, layer });
        links.map(|(number, _)| number).next()
    }

    /// Returns the blobs in a folder.
    pub(super) fn blobs_in(&self, folder: u64) -> Option<BlobNames> {
        let home = self.home(folder)?;
        Some(BlobNames {
            blobs: Arc::clone(&self.blobs),
            numbers: Arc::clone(&self.numbers),
            range: home.range.clone(),
        })
    }

    fn home(&self, folder: u64) -> Option<&Home> {
        self.homes.iter().find(|home| home.folder == folder)
    }

    /// Returns the names of the links in a folder, with their inode numbers.
    pub(super) fn links_in(&self, folder: u64) -> Vec<(OsString, u64)> {
        let Some(rack_number) = self.rack_of.get(&folder) else {
            return Vec::new();
        };
        let Some(rack) = self.rack(*rack_number) else {
            return Vec::new();
        };
        let place = |layer| Place {
            rack: *rack_number,
            layer,
        };
        let named = self
            .links_at(place(0)..=place(u32::MAX))
            .filter_map(|(number, place)| {
                let name = rack.name(usize::try_from(place.layer).ok()?)?;
                Some((OsString::from(name), number))
            });
        named.collect()
    }

    /// Returns all blobs.
    pub(super) fn blobs(&self) -> impl Iterator<Item = Entry> {
        let numbers = self.blob_numbers.iter();
        numbers.filter_map(|(number, position)| self.blob(*number, *position))
    }

    /// Returns all links.
    pub(super) fn links(&self) -> impl Iterator<Item = Entry> {
        let numbers = self.link_numbers.iter();
        numbers.filter_map(|(number, place)| self.link(*number, *place))
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.blob_numbers
            .len()
            .saturating_add(self.link_numbers.len())
    }

    /// Adds the blobs whose folders are there, and returns the sum of their sizes.
    pub(super) fn add_blobs(
        &mut self,
        blobs: &Arc<Vec<StoredBlob>>,
        homes: Vec<(Algorithm, u64)>,
        taken: impl Fn(u64) -> bool,
    ) -> u64 {
        let is_shown = |blob: &StoredBlob| {
            let algorithm = blob.digest.algorithm();
            homes.iter().any(|(home, _)| Some(*home) == algorithm)
        };
        let shown = || blobs.iter().zip(0..).filter(|(blob, _)| is_shown(blob));
        let wanted = shown().map(|(blob, position)| (inode::of_digest(&blob.digest), position));
        let taken = |number| taken(number) || self.has(number);
        self.blob_numbers = numbered(wanted.collect(), taken);
        self.numbers = Arc::new(by_position(&self.blob_numbers, blobs.len()));
        let sizes = shown().map(|(blob, _)| blob.facts.size);
        let bytes = sizes.fold(0_u64, u64::saturating_add);
        let home = |(algorithm, folder)| Home {
            algorithm,
            folder,
            range: range_of(blobs, algorithm),
        };
        self.homes = homes.into_iter().map(home).collect();
        self.blobs = Arc::clone(blobs);
        bytes
    }

    /// Adds folders of links, each with the layers that it shows and the inode numbers wanted for the links.
    pub(super) fn add_racks(
        &mut self,
        racks: Vec<(Rack, Vec<(u64, u32)>)>,
        taken: impl Fn(u64) -> bool,
    ) {
        let mut wanted = Vec::with_capacity(racks.iter().map(|(_, links)| links.len()).sum());
        for ((rack, links), number) in racks.into_iter().zip(0..) {
            self.rack_of.insert(rack.folder, number);
            self.racks.push(rack);
            let places = links.into_iter().map(|(inode, layer)| {
                let rack = number;
                (inode, Place { rack, layer })
            });
            wanted.extend(places);
        }
        self.link_numbers = numbered(wanted, taken);
        self.link_order = order_of(&self.link_numbers);
    }

    fn blob(&self, number: u64, position: u32) -> Option<Entry> {
        let blob = self.blobs.get(usize::try_from(position).ok()?)?;
        let algorithm = blob.digest.algorithm();
        let mut homes = self.homes.iter();
        let home = homes.find(|home| Some(home.algorithm) == algorithm);
        Some(Entry {
            inode: number,
            parent: home?.folder,
            node: Node::Blob(blob.digest.clone()),
            attributes: Attributes::of_file(&blob.facts),
        })
    }

    fn link(&self, number: u64, place: Place) -> Option<Entry> {
        let layer = usize::try_from(place.layer).ok()?;
        self.rack(place.rack)?.entry(number, layer)
    }

    fn rack(&self, number: u32) -> Option<&Rack> {
        self.racks.get(usize::try_from(number).ok()?)
    }

    /// Returns the links at some places.
    fn links_at(&self, places: RangeInclusive<Place>) -> impl Iterator<Item = (u64, Place)> {
        let link = |position: &u32| {
            let position = usize::try_from(*position).ok()?;
            self.link_numbers.get(position).copied()
        };
        let is_before = |position: &u32| link(position).is_some_and(|(_, at)| at < *places.start());
        let first = self.link_order.partition_point(is_before);
        let rest = self.link_order.get(first..).unwrap_or_default();
        let links = rest.iter().map_while(link);
        links.take_while(move |(_, place)| places.contains(place))
    }
}

/// Returns the positions of an algorithm's blobs; digests of one algorithm stand together.
fn range_of(blobs: &[StoredBlob], algorithm: Algorithm) -> Range<usize> {
    let is_of = |blob: &StoredBlob| blob.digest.algorithm() == Some(algorithm);
    let first = blobs.iter().position(is_of).unwrap_or_default();
    let last = blobs.iter().rposition(is_of);
    first..last.map_or(first, |last| last.saturating_add(1))
}

/// Returns a table of numbers by position.
fn by_position(numbers: &[(u64, u32)], count: usize) -> Vec<u64> {
    let mut table = vec![0; count];
    for (number, position) in numbers {
        let place = usize::try_from(*position).ok();
        if let Some(place) = place.and_then(|place| table.get_mut(place)) {
            *place = *number;
        }
    }
    table
}

/// Returns what an inode number stands for.
fn find<P: Copy>(numbers: &[(u64, P)], number: u64) -> Option<P> {
    let found = numbers.binary_search_by_key(&number, |(number, _)| *number);
    numbers.get(found.ok()?).map(|(_, place)| *place)
}

/// Returns the positions in a table, in the order of places.
fn order_of<P: Copy + Ord>(numbers: &[(u64, P)]) -> Vec<u32> {
    let mut placed: Vec<(P, u32)> = (numbers.iter().zip(0..))
        .map(|((_, place), position)| (*place, position))
        .collect();
    placed.sort_unstable();
    placed.into_iter().map(|(_, position)| position).collect()
}

/// Returns the numbers that places get, sorted: the wanted ones, in the order of places the next free one where that is taken.
fn numbered<P: Copy + Ord>(
    mut wanted: Vec<(u64, P)>,
    taken: impl Fn(u64) -> bool,
) -> Vec<(u64, P)> {
    wanted.sort_unstable();
    wanted.shrink_to_fit();
    let clash = wanted
        .windows(2)
        .any(|two| matches!(two, [(one, _), (other, _)] if one == other));
    if !clash && !wanted.iter().any(|(number, _)| taken(*number)) {
        return wanted;
    }
    wanted.sort_unstable_by_key(|(_, place)| *place);
    let mut given = HashSet::new();
    for (number, _) in &mut wanted {
        let is_taken = |candidate| taken(candidate) || given.contains(&candidate);
        *number = inode::free_from(*number, is_taken);
        given.insert(*number);
    }
    wanted.sort_unstable();
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_taken_are_stepped_over_in_the_order_of_places() {
        let numbers = numbered(vec![(1, 2_u32), (5, 1), (5, 0)], |number| number == 6);
        assert_eq!(numbers, [(1, 2), (5, 0), (7, 1)]);
        assert_eq!(order_of(&numbers), [1, 2, 0]);
        assert_eq!(find(&numbers, 6), None);
    }

    fn rack(layers: usize) -> Rack {
        let digest = |layer: usize| match layer % 3 {
            0 => Digest::of(&[1]).to_string(),
            1 => format!("sha512:{}", "ab".repeat(64)),
            _ => "blake3:00ff".to_owned(),
        };
        let layers: Vec<_> = (0..layers)
            .map(|layer| serde_json::json!({"digest": digest(layer), "size": 1}))
            .collect();
        let text = serde_json::json!({"schemaVersion": 2, "layers": layers}).to_string();
        let document = Document::parse(crate::oci::media_type::IMAGE_MANIFEST, text.as_bytes());
        Rack {
            folder: 7,
            depth: 3,
            document: Arc::new(document.unwrap()),
            changed: Timestamp::default(),
            owner: Owner { uid: 0, gid: 0 },
        }
    }

    #[test]
    fn links_are_named_by_position_with_as_many_digits_as_the_last_one_has() {
        for (layers, width) in [(1, 2), (100, 2), (101, 3)] {
            let rack = rack(layers);
            let name = rack.name(0).unwrap();
            assert_eq!(name, format!("{:0width$}-{}", 0, Digest::of(&[1]).hex()));
            assert_eq!(rack.name(layers), None);
        }
        assert_eq!(rack(3).name(2).unwrap(), "02-00ff");
    }

    #[test]
    fn a_target_has_as_many_bytes_as_are_counted() {
        let rack = rack(3);
        for layer in 0..4 {
            let target = rack.target(layer);
            let bytes = target.map(|target| u64::try_from(target.len()).unwrap());
            assert_eq!(rack.target_bytes(layer), bytes);
        }
        assert!(rack.target_bytes(0).is_some() && rack.target_bytes(2).is_none());
    }
}
