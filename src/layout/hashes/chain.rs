//! SHA-2 as a chain of values, one after each chunk: what checks a chunk again later without a second hash. FIPS 180-4.

use sha2::block_api::{compress256, compress512};

use crate::oci::{Algorithm, Digest};

/// Bytes of the longest block.
const BLOCK_BYTES_MAX: usize = 128;

/// Is the chaining value after some whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chain {
    Sha256([u32; 8]),
    Sha384([u64; 8]),
    Sha512([u64; 8]),
}

const SHA256_START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const SHA384_START: [u64; 8] = [
    0xcbbb_9d5d_c105_9ed8,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa4,
];
const SHA512_START: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

impl Chain {
    /// Returns the value before any block.
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(SHA256_START),
            Algorithm::Sha384 => Self::Sha384(SHA384_START),
            Algorithm::Sha512 => Self::Sha512(SHA512_START),
        }
    }

    /// Returns the bytes of a value in a record.
    pub(super) fn width(algorithm: Algorithm) -> usize {
        match algorithm {
            Algorithm::Sha256 => 32,
            Algorithm::Sha384 | Algorithm::Sha512 => 64,
        }
    }

    /// Absorbs the whole blocks in `bytes`, and returns what is left over.
    pub(super) fn absorb<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Sha256(state) => {
                let (blocks, rest) = bytes.as_chunks::<64>();
                compress256(state, blocks);
                rest
            }
            Self::Sha384(state) | Self::Sha512(state) => {
                let (blocks, rest) = bytes.as_chunks::<128>();
                compress512(state, blocks);
                rest
            }
        }
    }

    /// Absorbs whole blocks into two chains at once.
    ///
    /// Each step of SHA-256 waits for the one before it; a processor that finds a second chain works on it meanwhile.
    pub(super) fn absorb_both(one: (&mut Self, &[u8]), other: (&mut Self, &[u8])) {
        let (Self::Sha256(first), Self::Sha256(second)) = (&mut *one.0, &mut *other.0) else {
            one.0.absorb(one.1);
            other.0.absorb(other.1);
            return;
        };
        let ((left, _), (right, _)) = (one.1.as_chunks::<64>(), other.1.as_chunks::<64>());
        for (left, right) in left.iter().zip(right) {
            compress256(first, std::slice::from_ref(left));
            compress256(second, std::slice::from_ref(right));
        }
        let both = left.len().min(right.len());
        compress256(first, left.get(both..).unwrap_or_default());
        compress256(second, right.get(both..).unwrap_or_default());
    }

    /// Absorbs the last bytes of `total_bytes` altogether, and returns the digest.
    pub(super) fn finish(mut self, tail: &[u8], total_bytes: u64) -> Digest {
        let rest = self.absorb(tail);
        let (block_bytes, length_bytes) = match self {
            Self::Sha256(_) => (64, 8),
            Self::Sha384(_) | Self::Sha512(_) => (128, 16),
        };
        // A one bit, zeros, and the length in bits as a big-endian number at the end of the last block.
        let mut padded = Vec::with_capacity(2 * BLOCK_BYTES_MAX);
        padded.extend_from_slice(rest);
        padded.push(0x80);
        let end = (padded.len() + length_bytes).next_multiple_of(block_bytes);
        padded.resize(end - length_bytes, 0);
        let length = (u128::from(total_bytes) * 8).to_be_bytes();
        padded.extend_from_slice(
            length
                .get(length.len() - length_bytes..)
                .unwrap_or_default(),
        );
        self.absorb(&padded);
        match self {
            Self::Sha256(state) => {
                Digest::Sha256(big_endian(state.map(u32::to_be_bytes).as_flattened()))
            }
            Self::Sha384(state) => Digest::Sha384(Box::new(big_endian(
                state.map(u64::to_be_bytes).as_flattened(),
            ))),
            Self::Sha512(state) => Digest::Sha512(Box::new(big_endian(
                state.map(u64::to_be_bytes).as_flattened(),
            ))),
        }
    }

    /// Appends the value to a record.
    pub(super) fn record(&self, values: &mut Vec<u8>) {
        match self {
            Self::Sha256(state) => {
                values.extend_from_slice(state.map(u32::to_be_bytes).as_flattened())
            }
            Self::Sha384(state) | Self::Sha512(state) => {
                values.extend_from_slice(state.map(u64::to_be_bytes).as_flattened());
            }
        }
    }

    /// Returns the value after `chunk` chunks from a record.
    pub(super) fn recorded(algorithm: Algorithm, values: &[u8], chunk: u64) -> Option<Self> {
        let Some(position) = chunk.checked_sub(1) else {
            return Some(Self::new(algorithm));
        };
        let width = Self::width(algorithm);
        let start = usize::try_from(position).ok()?.checked_mul(width)?;
        let bytes = values.get(start..start.checked_add(width)?)?;
        Some(match algorithm {
            Algorithm::Sha256 => Self::Sha256(words(bytes, u32::from_be_bytes)?),
            Algorithm::Sha384 => Self::Sha384(words(bytes, u64::from_be_bytes)?),
            Algorithm::Sha512 => Self::Sha512(words(bytes, u64::from_be_bytes)?),
        })
    }
}

/// Returns the first `N` bytes; both callers have that many.
fn big_endian<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

fn words<W: Copy, const N: usize>(bytes: &[u8], word: fn([u8; N]) -> W) -> Option<[W; 8]> {
    let (words, []) = bytes.as_chunks::<N>() else {
        return None;
    };
    let words: &[[u8; N]; 8] = words.try_into().ok()?;
    Some(words.map(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_once_are_as_one_after_the_other() {
        let bytes: Vec<u8> = (0..4096_u32).map(|n| (n * 7 % 251) as u8).collect();
        for (one, other) in [
            (Algorithm::Sha256, Algorithm::Sha256),
            (Algorithm::Sha256, Algorithm::Sha512),
            (Algorithm::Sha384, Algorithm::Sha384),
        ] {
            for (left, right) in [(0, 0), (128, 128), (1024, 256), (0, 512), (2048, 4096)] {
                let (left, right) = (&bytes[..left], &bytes[4096 - right..]);
                let mut alone = [Chain::new(one), Chain::new(other)];
                alone[0].absorb(left);
                alone[1].absorb(right);
                let [mut first, mut second] = [Chain::new(one), Chain::new(other)];
                Chain::absorb_both((&mut first, left), (&mut second, right));
                assert_eq!([first, second], alone);
            }
        }
    }

    #[test]
    fn agrees_with_the_hash_functions_at_every_length() {
        let bytes: Vec<u8> = (0..600_u32).map(|n| (n * 7 % 251) as u8).collect();
        for algorithm in Algorithm::ALL {
            for length in 0..bytes.len() {
                let mut hasher = crate::oci::Hasher::new(algorithm);
                hasher.update(&bytes[..length]);
                let expected = hasher.finish();
                let chain = Chain::new(algorithm);
                assert_eq!(
                    chain.finish(&bytes[..length], length as u64),
                    expected,
                    "{length}"
                );
                // In two steps, through a record.
                let whole = length / 128 * 128;
                let mut values = Vec::new();
                let mut chain = chain;
                assert!(chain.absorb(&bytes[..whole]).is_empty());
                chain.record(&mut values);
                assert_eq!(values.len(), Chain::width(algorithm));
                let again = Chain::recorded(algorithm, &values, 1).unwrap();
                assert_eq!(again.finish(&bytes[whole..length], length as u64), expected);
                assert_eq!(
                    Chain::recorded(algorithm, &values, 0),
                    Some(Chain::new(algorithm))
                );
                assert_eq!(Chain::recorded(algorithm, &values, 2), None);
            }
        }
    }
}
