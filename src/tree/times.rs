//! Times of synthetic files: a pure function of their inputs and bytes, equal after a remount, different whenever bytes differ.

use crate::layout::Timestamp;
use crate::oci::{Digest, UnixTime};
use crate::report::Report;

/// Returns the time of a synthetic file: the latest change of its inputs, the nanoseconds replaced by a hash of its bytes.
#[must_use]
pub fn of_bytes(newest: Timestamp, bytes: &[u8]) -> Timestamp {
    of_digest(newest, &Digest::of(bytes))
}

/// Does the same for who knows a digest of the bytes.
#[must_use]
pub fn of_digest(newest: Timestamp, digest: &Digest) -> Timestamp {
    let number = digest
        .bytes()
        .iter()
        .take(4)
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    Timestamp {
        seconds: newest.seconds,
        nanoseconds: number % 1_000_000_000,
    }
}

/// Returns the latest moment not after `now` at which time alone changed what holds: a certificate or signature began or ended.
#[must_use]
pub fn boundary(report: &Report, now: UnixTime) -> Option<UnixTime> {
    report
        .images
        .iter()
        .chain(&report.children)
        .flat_map(|image| &image.signatures)
        .filter_map(|signature| signature.intact.as_ref())
        .flat_map(|intact| {
            let certificates = intact.chain.certificates().iter();
            certificates
                .flat_map(|certificate| [certificate.not_before, certificate.not_after.plus(1)])
                .chain(intact.expiry.map(|expiry| expiry.plus(1)))
        })
        .filter(|moment| *moment <= now)
        .max()
}

/// Returns the moment as a file time.
#[must_use]
pub fn timestamp(moment: UnixTime) -> Timestamp {
    Timestamp {
        seconds: moment.0,
        nanoseconds: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_equal_bytes_are_equal_and_of_other_bytes_differ() {
        let newest = Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 5,
        };
        let first = of_bytes(newest, b"verified\n");
        assert_eq!(first, of_bytes(newest, b"verified\n"));
        assert_ne!(first, of_bytes(newest, b"untrusted\n"));
        assert_eq!(first.seconds, newest.seconds);
        assert!(first.nanoseconds < 1_000_000_000);
    }
}
