//! What a tree has a hundred thousand of: stored blobs, and what images and signatures are shown as.
//!
//! They are kept as tables of numbers and positions in what layout and report said; an entry is made when it is asked for.

mod rack;

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

pub(super) use rack::{
    Common, Holds, ImageFile, Rack, ShownImage, layer_target_bytes, link_bytes, push_layer_name,
};

use super::inode;
use super::names::BlobNames;
use super::node::{Attributes, Entry, Node};
use crate::layout::StoredBlob;
use crate::oci::{Algorithm, Digest};

/// Holds the stored blobs, and the racks.
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
    common: Option<Common>,
    /// The rack of each folder that is one.
    rack_of: HashMap<u64, u32>,
    /// The inode number of each thing in a rack, and where it is.
    racked_numbers: Vec<(u64, Place)>,
    /// The positions in `racked_numbers`, in the order of places.
    racked_order: Vec<u32>,
}

/// Is the folder of an algorithm's blobs.
#[derive(Debug, Clone)]
struct Home {
    algorithm: Algorithm,
    folder: u64,
    /// The positions of the blobs.
    range: Range<usize>,
}

/// Is where something is: in which rack, and at which position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    rack: u32,
    position: u32,
}

/// Is racks before what is in them has inode numbers.
#[derive(Default)]
pub(super) struct Racks {
    racks: Vec<Rack>,
    wanted: Vec<(u64, Place)>,
}

impl Racks {
    /// Adds a rack, with the positions of what is in it and the inode numbers wanted for that.
    pub(super) fn push(&mut self, rack: Rack, things: impl IntoIterator<Item = (u64, u32)>) {
        // More folders than this have no numbers.
        let Ok(number) = u32::try_from(self.racks.len()) else {
            return;
        };
        self.racks.push(rack);
        let places = things.into_iter().map(|(inode, position)| {
            let rack = number;
            (inode, Place { rack, position })
        });
        self.wanted.extend(places);
    }
}

impl Shelf {
    /// Returns the entry with this inode number.
    pub(super) fn entry(&self, number: u64) -> Option<Entry> {
        if let Some(position) = find(&self.blob_numbers, number) {
            return self.blob(number, position);
        }
        self.racked(number, find(&self.racked_numbers, number)?)
    }

    /// Returns whether there is an entry with this inode number.
    pub(super) fn has(&self, number: u64) -> bool {
        find(&self.blob_numbers, number).is_some() || find(&self.racked_numbers, number).is_some()
    }

    /// Returns the inode number of a name in a folder.
    pub(super) fn child(&self, folder: u64, name: &OsStr) -> Option<u64> {
        let name = name.to_str()?;
        if let Some(home) = self.home(folder) {
            let digest = Digest::from_parts(home.algorithm, name)?;
            let found = self.blobs.binary_search_by(|blob| blob.digest.cmp(&digest));
            return self.numbers.get(found.ok()?).copied();
        }
        let rack = *self.rack_of.get(&folder)?;
        let position = self.rack(rack)?.position(name)?;
        let place = Place { rack, position };
        let found = self.racked_at(place..=place);
        found.map(|(number, _)| number).next()
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

    /// Returns the names of what is in a rack, with their inode numbers.
    pub(super) fn racked_in(&self, folder: u64) -> Vec<(OsString, u64)> {
        let number = self.rack_of.get(&folder);
        let Some((number, rack)) = number.and_then(|number| Some((*number, self.rack(*number)?)))
        else {
            return Vec::new();
        };
        let place = |position| Place {
            rack: number,
            position,
        };
        let places = self.racked_at(place(0)..=place(u32::MAX));
        let named = places.filter_map(|(inode, place)| {
            let name = rack.name(place.position)?;
            Some((OsString::from(name), inode))
        });
        named.collect()
    }

    /// Returns all blobs.
    pub(super) fn blobs(&self) -> impl Iterator<Item = Entry> {
        let numbers = self.blob_numbers.iter();
        numbers.filter_map(|(number, position)| self.blob(*number, *position))
    }

    /// Returns everything in racks.
    pub(super) fn in_racks(&self) -> impl Iterator<Item = Entry> {
        let numbers = self.racked_numbers.iter();
        numbers.filter_map(|(number, place)| self.racked(*number, *place))
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.blob_numbers
            .len()
            .saturating_add(self.racked_numbers.len())
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

    /// Adds racks, once.
    pub(super) fn add_racks(
        &mut self,
        Racks { racks, wanted }: Racks,
        common: Common,
        taken: impl Fn(u64) -> bool,
    ) {
        let folders = racks.iter().map(|rack| rack.folder);
        self.rack_of = folders.zip(0..).collect();
        self.racks = racks;
        self.racks.shrink_to_fit();
        self.common = Some(common);
        self.racked_numbers = numbered(wanted, taken);
        self.racked_order = order_of(&self.racked_numbers);
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

    fn racked(&self, number: u64, place: Place) -> Option<Entry> {
        let rack = self.rack(place.rack)?;
        rack.entry(number, place.position, self.common.as_ref()?)
    }

    fn rack(&self, number: u32) -> Option<&Rack> {
        self.racks.get(usize::try_from(number).ok()?)
    }

    /// Returns what is at some places.
    fn racked_at(&self, places: RangeInclusive<Place>) -> impl Iterator<Item = (u64, Place)> {
        let racked = |position: &u32| {
            let position = usize::try_from(*position).ok()?;
            self.racked_numbers.get(position).copied()
        };
        let is_before =
            |position: &u32| racked(position).is_some_and(|(_, at)| at < *places.start());
        let first = self.racked_order.partition_point(is_before);
        let rest = self.racked_order.get(first..).unwrap_or_default();
        let found = rest.iter().map_while(racked);
        found.take_while(move |(_, place)| places.contains(place))
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
    let mut order: Vec<u32> = placed.into_iter().map(|(_, position)| position).collect();
    // It stands where the places stood.
    order.shrink_to_fit();
    order
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
}
