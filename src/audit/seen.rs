//! In what state the files of blobs were when they were judged: what a look at them afterwards is compared with.

use crate::layout::Identity;
use crate::oci::{Descriptor, Digest};

/// Holds the states of files that were seen under a lease, while their blobs were judged by remembered hashes.
///
/// A blob that was hashed now, or where no lease was to be had, is not in it.
#[derive(Debug, Default)]
pub struct Seen {
    /// Sorted by digest.
    states: Vec<(Descriptor, Identity)>,
}

impl Seen {
    /// Takes what was seen of blobs that are sorted by digest.
    pub(super) fn of(states: Vec<(Descriptor, Identity)>) -> Self {
        Self { states }
    }

    /// Returns the state in which the file of a blob with this digest and size was.
    #[must_use]
    pub fn state(&self, descriptor: &Descriptor) -> Option<&Identity> {
        let place = |digest: &Digest| {
            let states = &self.states;
            states.binary_search_by(|(seen, _)| seen.digest.cmp(digest))
        };
        let (seen, state) = self.states.get(place(&descriptor.digest).ok()?)?;
        (seen.size == descriptor.size).then_some(state)
    }
}
