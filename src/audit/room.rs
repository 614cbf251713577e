//! How much one report may take up and how much work it may cost, whatever the layout holds: what does not fit is `limit`.
//!
//! A few megabytes of layout can name one blob, one manifest or one envelope from a hundred thousand places. Everything here is
//! dealt out in the order of index.json before any of it is judged, so that the same layout gives the same report.

use crate::oci::limits::GRAPH_DESCRIPTORS_MAX;

/// Descriptors of all closures that one report lists; images beyond are `limit`.
const REPORT_DESCRIPTORS_MAX: usize = 1_000_000;
/// Signatures that one report lists; images beyond are `limit`.
const REPORT_SIGNATURES_MAX: usize = 100_000;
/// Bytes of envelopes that one report keeps; beyond, signatures that do not pass are kept without.
const REPORT_ENVELOPE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of envelopes that are read for one report, the same one counted as often as it is named; signatures beyond are `limit`.
const REPORT_ENVELOPE_BYTES_READ_MAX: u64 = 1 << 30;
/// Manifests within images, and their referrers, that are looked at for signatures.
const CHILD_DESCRIPTORS_MAX: usize = 100_000;
/// Bytes of their envelopes that are read and kept.
const CHILD_ENVELOPE_BYTES_MAX: u64 = 32 << 20;
/// Problems about content that one report lists, all images together; the rest is counted.
const REPORT_PROBLEMS_MAX: usize = 10_000;
/// The same of one image.
const IMAGE_PROBLEMS_MAX: usize = 100;

/// Is what is left of the room for judging.
pub(super) struct Room {
    descriptors: usize,
    read: u64,
    keep: u64,
}

impl Room {
    /// The room that one report has.
    pub(super) const MAX: Self = Self {
        descriptors: GRAPH_DESCRIPTORS_MAX,
        read: REPORT_ENVELOPE_BYTES_READ_MAX,
        keep: REPORT_ENVELOPE_BYTES_MAX,
    };

    /// The room for signatures within images, on top of that.
    pub(super) const CHILDREN: Self = Self {
        descriptors: CHILD_DESCRIPTORS_MAX,
        read: CHILD_ENVELOPE_BYTES_MAX,
        keep: CHILD_ENVELOPE_BYTES_MAX,
    };

    /// Takes room for looking at so many descriptors and referrers; false where there is none left.
    pub(super) fn look_at(&mut self, count: usize) -> bool {
        let left = self.descriptors.checked_sub(count);
        self.descriptors = left.unwrap_or(0);
        left.is_some()
    }

    /// Takes room for reading an envelope; false where there is none left.
    pub(super) fn read(&mut self, bytes: u64) -> bool {
        let left = self.read.checked_sub(bytes);
        self.read = left.unwrap_or(0);
        left.is_some()
    }

    /// Takes room for keeping an envelope; false where there is none left.
    pub(super) fn keep(&mut self, bytes: u64) -> bool {
        let left = self.keep.checked_sub(bytes);
        self.keep = left.unwrap_or(0);
        left.is_some()
    }
}

/// Returns how many problems about content are listed for each of so many images.
pub(super) fn problems_max(images: usize) -> usize {
    REPORT_PROBLEMS_MAX
        .checked_div(images)
        .unwrap_or(IMAGE_PROBLEMS_MAX)
        .clamp(1, IMAGE_PROBLEMS_MAX)
}

/// Is what is left of the room that the report itself has.
pub(super) struct Budget {
    descriptors: usize,
    signatures: usize,
}

impl Budget {
    /// The room that one report has.
    pub(super) const MAX: Self = Self {
        descriptors: REPORT_DESCRIPTORS_MAX,
        signatures: REPORT_SIGNATURES_MAX,
    };

    /// Takes room for one image; false where there is none left.
    pub(super) fn take(&mut self, descriptors: usize, signatures: usize) -> bool {
        let taken = (
            self.descriptors.checked_sub(descriptors),
            self.signatures.checked_sub(signatures),
        );
        let (Some(descriptors), Some(signatures)) = taken else {
            return false;
        };
        (self.descriptors, self.signatures) = (descriptors, signatures);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_once_refused_stays_refused() {
        let mut room = Room {
            descriptors: 3,
            read: 10,
            keep: 5,
        };
        assert!(room.look_at(3) && !room.look_at(1));
        assert!(room.read(6) && !room.read(5) && !room.read(1));
        assert!(room.keep(5) && !room.keep(1));
    }

    #[test]
    fn many_images_share_the_lines_of_problems() {
        assert_eq!(problems_max(0), 100);
        assert_eq!(problems_max(1), 100);
        assert_eq!(problems_max(1_000), 10);
        assert_eq!(problems_max(1_000_000), 1);
    }
}
