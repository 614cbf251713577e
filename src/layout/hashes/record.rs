//! Results as bytes, one behind another: as the memory stores them, and as they are kept of it.
//!
//! A hundred thousand of them take eleven megabytes so, and a table of their places four bytes each.

use std::sync::Arc;

use super::chain::Chain;
use super::table::{Entry, Key};
use super::{CHUNK_BYTES, Lease};
use crate::oci::{Algorithm, Digest};

/// Bytes of what a record is found by: the algorithm and ten numbers.
const KEY_BYTES: usize = 1 + 10 * 8;

/// Holds records.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    /// Where each record begins, in the order of their keys; of several with one key the last only.
    places: Vec<u32>,
}

impl Records {
    /// Returns the records that begin at `start`, or nothing where any is not as it was written.
    pub(super) fn parse(bytes: Vec<u8>, start: usize) -> Option<Self> {
        let mut places = Vec::new();
        let mut at = start;
        while at < bytes.len() {
            places.push(u32::try_from(at).ok()?);
            at = at.checked_add(length(bytes.get(at..)?)?)?;
        }
        let key_of = |place: &u32| key_at(&bytes, *place);
        places.sort_by_key(key_of);
        // Of equals the last one in the file stands first now.
        places.reverse();
        places.dedup_by_key(|place| key_at(&bytes, *place));
        places.reverse();
        places.shrink_to_fit();
        Some(Self { bytes, places })
    }

    /// Returns whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the result for a key.
    pub(super) fn entry(&self, key: &Key) -> Option<Entry> {
        let record = self.find(&key_bytes(key))?;
        let (_, found) = record.split_at_checked(KEY_BYTES)?;
        let (digest, chunks) = found.split_at_checked(key.algorithm.digest_bytes())?;
        Some(Entry {
            digest: Digest::from_bytes(key.algorithm, digest)?,
            chunks: match chunks {
                [] => Arc::default(),
                _ => Arc::from(chunks),
            },
            lease: Lease::Granted,
        })
    }

    /// Returns whether there is a result for a key.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.find(&key_bytes(key)).is_some()
    }

    /// Returns whether there is a record with the key of another one.
    pub(super) fn has_key_of(&self, record: &[u8]) -> bool {
        record
            .first_chunk()
            .is_some_and(|key| self.find(key).is_some())
    }

    /// Returns the records, those written last first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &[u8]> {
        let mut places = self.places.clone();
        places.sort_unstable();
        places
            .into_iter()
            .rev()
            .filter_map(|place| self.record(place))
    }

    fn find(&self, key: &[u8; KEY_BYTES]) -> Option<&[u8]> {
        let found = self
            .places
            .binary_search_by(|place| key_at(&self.bytes, *place).cmp(&Some(key)));
        self.record(*self.places.get(found.ok()?)?)
    }

    fn record(&self, place: u32) -> Option<&[u8]> {
        let rest = self.bytes.get(usize::try_from(place).ok()?..)?;
        rest.get(..length(rest)?)
    }
}

/// Appends a result.
pub(super) fn write(key: &Key, entry: &Entry, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&key_bytes(key));
    bytes.extend_from_slice(entry.digest.bytes());
    bytes.extend_from_slice(&entry.chunks);
}

/// Returns the bytes of the record that some bytes begin with; nothing where they do not hold it whole.
fn length(bytes: &[u8]) -> Option<usize> {
    let algorithm = match bytes.first()? {
        1 => Algorithm::Sha256,
        2 => Algorithm::Sha384,
        3 => Algorithm::Sha512,
        _ => return None,
    };
    let size = bytes.get(..KEY_BYTES)?.last_chunk()?;
    let chunks = usize::try_from(u64::from_le_bytes(*size) / CHUNK_BYTES).ok()?;
    let length = chunks
        .checked_mul(Chain::width(algorithm))?
        .checked_add(KEY_BYTES)?
        .checked_add(algorithm.digest_bytes())?;
    (length <= bytes.len()).then_some(length)
}

fn key_at(bytes: &[u8], place: u32) -> Option<&[u8; KEY_BYTES]> {
    bytes.get(usize::try_from(place).ok()?..)?.first_chunk()
}

fn key_bytes(key: &Key) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    let (algorithm, rest) = bytes.split_at_mut(1);
    algorithm.fill(match key.algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha384 => 2,
        Algorithm::Sha512 => 3,
    });
    let numbers = key.identity.numbers().into_iter();
    let numbers = numbers.chain([key.offset, key.size]);
    for (place, number) in rest.as_chunks_mut().0.iter_mut().zip(numbers) {
        *place = number.to_le_bytes();
    }
    bytes
}
