//! In what state the files of blobs were when they were judged: what a look at them afterwards is compared with.

use crate::layout::Identity;
use crate::oci::{Descriptor, Digest};

/// Holds the states of files that were seen under a lease, while their blobs were judged by remembered hashes.
///
/// A blob that was hashed now, or where no lease was to be had, has none.
#[derive(Debug, Default)]
pub struct Seen {
    /// The blobs, sorted by digest.
    blobs: Vec<Descriptor>,
    /// The state of each one's file.
    states: Vec<Option<Identity>>,
    /// Whether an envelope that is there could not be read, which may be over without anything having changed.
    pub unread: bool,
}

impl Seen {
    /// Takes what was seen of blobs that are sorted by digest, in their order.
    pub(super) fn of(blobs: Vec<Descriptor>, states: Vec<Option<Identity>>) -> Self {
        Self {
            blobs,
            states,
            unread: false,
        }
    }

    /// Returns the state in which the file of a blob with this digest and size was.
    #[must_use]
    pub fn state(&self, descriptor: &Descriptor) -> Option<&Identity> {
        let place = |digest: &Digest| {
            let blobs = &self.blobs;
            blobs.binary_search_by(|seen| seen.digest.cmp(digest))
        };
        let place = place(&descriptor.digest).ok()?;
        let seen = self.blobs.get(place)?;
        let state = self.states.get(place)?.as_ref();
        state.filter(|_| seen.size == descriptor.size)
    }
}
