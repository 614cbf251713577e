//! Where the files of an archive are that are named by 64 hex digits: first in a table that takes them in any order, then sorted.

use std::collections::HashMap;

use super::index::{Node, Placed};

/// Files of one folder for each of which there is a place in the table of beginnings, at most; and bits of a name that tell it.
const START_BITS_MAX: u32 = 16;

/// Names a file: the number of its folder, and the bytes that its name spells.
pub(super) type Spot = (u32, [u8; 32]);

/// Holds the places of files.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Those that came since the last sorting. Names are chosen by whoever wrote the archive: the hash has a key that nobody knows.
    fresh: HashMap<Spot, Place>,
    /// The others, sorted.
    sorted: Vec<(Spot, Place)>,
    starts: Starts,
}

/// Is where a file is, and when it changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) at: u64,
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

/// Tells where the names of one folder that begin with some bits begin: digests are spread evenly, so few are left to compare.
/// Names that are not only make it as slow as without.
#[derive(Debug, Default)]
struct Starts {
    folder: u32,
    bits: u32,
    /// The first position of each beginning, and the one behind the last.
    positions: Vec<u32>,
}

impl Places {
    /// Returns where a file is.
    pub(super) fn get(&self, spot: &Spot) -> Option<&Place> {
        if !self.fresh.is_empty()
            && let Some(place) = self.fresh.get(spot)
        {
            return Some(place);
        }
        let range = self.starts.range(spot);
        let near = range.and_then(|range| self.sorted.get(range));
        let near = near.unwrap_or(&self.sorted);
        let found = near.binary_search_by(|(other, _)| other.cmp(spot));
        near.get(found.ok()?).map(|(_, place)| place)
    }

    /// Adds a file, in the place of one that is there.
    pub(super) fn insert(&mut self, spot: Spot, place: Place) {
        self.fresh.insert(spot, place);
    }

    /// Sorts all files; those in `folder` will be asked for most.
    pub(super) fn sort(&mut self, folder: u32) {
        let fresh = std::mem::take(&mut self.fresh);
        let old = std::mem::take(&mut self.sorted);
        let old = old.into_iter();
        self.sorted = old.filter(|(spot, _)| !fresh.contains_key(spot)).collect();
        self.sorted.reserve_exact(fresh.len());
        self.sorted.extend(fresh);
        self.sorted.sort_unstable_by(|(one, _), (other, _)| {
            // Nearly always the first bytes tell.
            let first = |spot: &Spot| (spot.0, first_bytes(&spot.1));
            first(one).cmp(&first(other)).then_with(|| one.cmp(other))
        });
        self.starts = Starts::of(folder, &self.sorted);
    }

    /// Returns the files; once they are sorted, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Spot, &Place)> {
        let sorted = self.sorted.iter().map(|(spot, place)| (spot, place));
        sorted.chain(&self.fresh)
    }

    /// Returns how many files there are.
    pub(super) fn len(&self) -> usize {
        self.sorted.len().saturating_add(self.fresh.len())
    }
}

impl Place {
    /// Returns what a member has that is here.
    pub(super) fn placed(&self) -> Placed {
        Placed {
            node: Node::File {
                offset: self.offset,
                size: self.size,
            },
            modified: (self.seconds, self.nanoseconds),
            at: self.at,
        }
    }
}

impl Starts {
    fn of(folder: u32, sorted: &[(Spot, Place)]) -> Self {
        let first = sorted.partition_point(|((other, _), _)| *other < folder);
        let end = sorted.partition_point(|((other, _), _)| *other <= folder);
        let own = sorted.get(first..end).unwrap_or_default();
        let bits = own.len().checked_ilog2().unwrap_or(0).min(START_BITS_MAX);
        // With fewer, a search is over as soon.
        let Ok(behind) = u32::try_from(end) else {
            return Self::default();
        };
        if bits < 4 {
            return Self::default();
        }
        let mut positions = vec![behind; (1 << bits) + 1];
        for ((spot, _), position) in sorted.iter().zip(0..).take(end).skip(first) {
            if let Some(place) = positions.get_mut(beginning(spot, bits)) {
                *place = position.min(*place);
            }
        }
        // A beginning that no name has lies where the next one does.
        let mut next = behind;
        for place in positions.iter_mut().rev() {
            next = next.min(*place);
            *place = next;
        }
        Self {
            folder,
            bits,
            positions,
        }
    }

    /// Returns where a file can be; nothing where any place is possible.
    fn range(&self, spot: &Spot) -> Option<std::ops::Range<usize>> {
        if spot.0 != self.folder || self.positions.is_empty() {
            return None;
        }
        let bounds = self.positions.get(beginning(spot, self.bits)..)?;
        let [start, end, ..] = bounds else {
            return None;
        };
        Some(usize::try_from(*start).ok()?..usize::try_from(*end).ok()?)
    }
}

/// Returns the first bits of a name as a number.
fn beginning((_, name): &Spot, bits: u32) -> usize {
    let first = first_bytes(name).checked_shr(u64::BITS.saturating_sub(bits));
    // It has no more than sixteen bits.
    usize::try_from(first.unwrap_or(0)).unwrap_or(0)
}

fn first_bytes(name: &[u8; 32]) -> u64 {
    u64::from_be_bytes(*name.first_chunk().unwrap_or(&[0; 8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: u64) -> Place {
        Place {
            offset: at + 512,
            size: 3,
            at,
            seconds: 0,
            nanoseconds: 0,
        }
    }

    /// Returns names that are spread evenly, and as many that differ in their last bytes only.
    fn names(count: u64) -> Vec<[u8; 32]> {
        let spread = |number: u64| {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            name
        };
        let alike = |number: u64| {
            let mut name = [0xab; 32];
            name[24..].copy_from_slice(&number.to_be_bytes());
            name
        };
        let both = (0..count).map(spread).chain((0..count).map(alike));
        both.chain([[0; 32], [0xff; 32]]).collect()
    }

    #[test]
    fn every_file_is_found_before_and_after_sorting_and_nothing_else() {
        for count in [0, 1, 7, 8, 9, 300, 5000] {
            let mut names = names(count);
            names.sort_unstable();
            names.dedup();
            let mut places = Places::default();
            for (at, name) in (0..).zip(&names) {
                // Every other one is in the folder that is asked for most, which lies between two others.
                places.insert((at as u32 % 2 * 2 + 1, *name), place(at));
                places.insert((2, *name), place(at));
            }
            let all = |places: &Places| {
                for (at, name) in (0..).zip(&names) {
                    let found = |folder| places.get(&(folder, *name)).map(|place| place.at);
                    let wanted =
                        [1, 3].map(|folder| (at as u32 % 2 * 2 + 1 == folder).then_some(at));
                    assert_eq!([found(1), found(3)], wanted);
                    assert_eq!(found(2), Some(at));
                    assert_eq!(found(0).or(found(4)), None);
                    let mut other = *name;
                    other[31] ^= 1;
                    let is_there = names.binary_search(&other).is_ok();
                    assert_eq!(places.get(&(2, other)).is_some(), is_there);
                }
            };
            all(&places);
            places.sort(2);
            all(&places);
            assert_eq!(places.len(), names.len() * 2);
            assert!(places.iter().is_sorted_by_key(|(spot, _)| *spot));
            // What comes later is found too, and replaces.
            places.insert((2, names[0]), place(77));
            assert_eq!(places.get(&(2, names[0])).map(|place| place.at), Some(77));
            places.sort(2);
            assert_eq!(places.get(&(2, names[0])).map(|place| place.at), Some(77));
            assert_eq!(places.len(), names.len() * 2);
        }
    }

    #[test]
    fn a_blob_takes_no_more_than_this() {
        // A tar of a hundred thousand blobs is held in eight megabytes.
        assert!(size_of::<(Spot, Place)>() <= 80);
    }
}
