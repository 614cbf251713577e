//! Inode numbers: fixed for the few synthetic files, else the first 52 bits of the SHA-256 of a digest or path.
//!
//! 52 bits because JavaScript and JSON readers hold numbers in doubles.

use crate::oci::Digest;

/// The root of the mount.
pub const ROOT: u64 = 1;
/// `trustpolicy.json`.
pub const POLICY: u64 = 2;
/// `sign`.
pub const SIGN: u64 = 3;
/// `verify-status`.
pub const STATUS: u64 = 4;
/// `verify-status.json`.
pub const STATUS_JSON: u64 = 5;
/// `index.json`.
pub const INDEX: u64 = 6;
/// The first number that names made of hashes use.
const HASHED_FIRST: u64 = 1024;
/// The first number of scratch files, above all others and still exact in a double.
pub const SCRATCH_FIRST: u64 = 1 << 52;

/// Returns the number for a blob.
#[must_use]
pub fn of_digest(digest: &Digest) -> u64 {
    of_text(digest.to_string().as_bytes())
}

/// Returns the number for a path below the root.
#[must_use]
pub fn of_path(path: &[u8]) -> u64 {
    of_text(path)
}

fn of_text(text: &[u8]) -> u64 {
    let digest = Digest::of(text);
    let number = digest
        .bytes()
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (number >> 12).max(HASHED_FIRST)
}

/// Returns the first number from `wanted` on that is not taken.
pub(super) fn free_from(wanted: u64, taken: impl Fn(u64) -> bool) -> u64 {
    let mut candidate = wanted;
    while taken(candidate) {
        candidate = candidate.wrapping_add(1) % SCRATCH_FIRST;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_the_text_alone_and_fit_a_double() {
        let digest: Digest = Digest::of(b"layer");
        assert_eq!(of_digest(&digest), of_digest(&Digest::of(b"layer")));
        for text in ["blobs", "blobs/sha256", "signatures", ""] {
            let number = of_path(text.as_bytes());
            assert!((HASHED_FIRST..SCRATCH_FIRST).contains(&number), "{text}");
        }
        // sha256("abc") = ba7816bf8f01cfea...
        assert_eq!(of_path(b"abc"), 0x000b_a781_6bf8_f01c);
    }

    #[test]
    fn taken_numbers_are_stepped_over() {
        assert_eq!(free_from(5, |number| (5..8).contains(&number)), 8);
        assert_eq!(free_from(SCRATCH_FIRST - 1, |number| number != 3), 3);
    }
}
