//! A blob whose size and digest were found to hold, and the words for one that did not.

use std::io;
use std::sync::Arc;

use super::chain::Chain;
use super::{CHUNK_BYTES, CHUNK_LENGTH, Lease};
use crate::layout::Blob;
use crate::oci::{Algorithm, Digest};

/// Is a blob whose size and digest were found to hold. Only [`super::Hashes`] makes one.
#[derive(Debug, Clone)]
pub struct VerifiedBlob {
    pub(super) blob: Blob,
    pub(super) digest: Digest,
    pub(super) lease: Lease,
    pub(super) stands: bool,
    /// The chaining value after each whole chunk.
    pub(super) chunks: Arc<[u8]>,
}

/// Says why a blob did not verify.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The size differs from the descriptor's.
    #[error("blob {digest} has {found} bytes, not {expected}")]
    Size {
        /// The blob.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What is stored.
        found: u64,
    },
    /// The digest differs.
    #[error("blob {digest} has other content: its digest is {found}")]
    Digest {
        /// The blob.
        digest: Digest,
        /// What its bytes hash to.
        found: Box<Digest>,
    },
    /// The file changed while it was read, or since it was hashed.
    #[error("blob {digest} changed while it was read")]
    Changed {
        /// The blob.
        digest: Digest,
    },
    /// The digest's algorithm cannot be verified.
    #[error("blob {digest}: this digest cannot be verified")]
    Unverifiable {
        /// The blob.
        digest: Digest,
    },
    /// The work was cancelled.
    #[error("hashing blob {digest} was cancelled")]
    Cancelled {
        /// The blob.
        digest: Digest,
    },
    /// Reading failed.
    #[error("reading blob {digest}")]
    Read {
        /// The blob.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
}

impl VerifiedBlob {
    /// Returns where the bytes are.
    #[must_use]
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    /// Returns the digest that held.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns what the lease said.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// Returns whether the result stands beyond this one look (docs/SEMANTICS.md): no writer was there, and the file had not just
    /// changed. Only such a blob may be passed through, and only with [`Lease::Granted`].
    #[must_use]
    pub fn stands(&self) -> bool {
        self.stands
    }

    /// Reads `size` bytes at `offset`, short only at the end; each chunk that they touch is read whole and compared with what
    /// was hashed before any of it is returned. Cheapest where both are multiples of [`CHUNK_BYTES`].
    ///
    /// # Errors
    /// `HashError::Changed` where a chunk is no longer what was hashed.
    pub fn read_checked(&self, offset: u64, size: usize) -> Result<Vec<u8>, HashError> {
        let total = self.blob.size();
        let wanted = usize::try_from(total.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(size);
        if let Blob::Bytes(bytes) = &self.blob {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let rest = bytes.get(start..).unwrap_or_default();
            return Ok(rest.get(..wanted).unwrap_or_default().to_vec());
        }
        let mut answer = Vec::with_capacity(wanted);
        let mut chunk = offset / CHUNK_BYTES;
        // A position within the first chunk fits.
        let mut skip = usize::try_from(offset % CHUNK_BYTES).unwrap_or(0);
        let mut buffer = Vec::new();
        while answer.len() < wanted {
            let missing = wanted - answer.len();
            let (whole, count) = self.whole_chunks(chunk, missing);
            if skip == 0 && count > 0 {
                // Whole chunks are checked where they are answered from, without a copy.
                let start = answer.len();
                answer.resize(start + whole, 0);
                let place = answer.get_mut(start..).unwrap_or_default();
                self.read_chunks(chunk, place)?;
                chunk += count;
            } else {
                buffer.resize(self.chunk_length(chunk), 0);
                self.read_chunks(chunk, &mut buffer)?;
                let rest = buffer.get(skip..).unwrap_or_default();
                answer.extend_from_slice(rest.get(..missing).unwrap_or(rest));
                chunk += 1;
            }
            skip = 0;
        }
        Ok(answer)
    }

    /// Returns how many bytes the whole chunks from `chunk` on have that fit into `room` bytes, and how many chunks they are.
    fn whole_chunks(&self, chunk: u64, room: usize) -> (usize, u64) {
        let start = chunk.saturating_mul(CHUNK_BYTES);
        let left = self.blob.size().saturating_sub(start);
        let room_bytes = u64::try_from(room).unwrap_or(u64::MAX);
        let bytes = match left <= room_bytes {
            // The last chunk may be short, and is whole all the same.
            true => left,
            false => room_bytes - room_bytes % CHUNK_BYTES,
        };
        let count = bytes.div_ceil(CHUNK_BYTES);
        // Never more than `room`, so it fits.
        (usize::try_from(bytes).unwrap_or(room), count)
    }

    /// Returns the bytes of a chunk: all chunks are full but the last.
    fn chunk_length(&self, chunk: u64) -> usize {
        let start = chunk.saturating_mul(CHUNK_BYTES);
        usize::try_from(self.blob.size().saturating_sub(start))
            .unwrap_or(usize::MAX)
            .min(CHUNK_LENGTH)
    }

    /// Reads whole chunks, one after the other in the blob, and checks each of them.
    fn read_chunks(&self, chunk: u64, buffer: &mut [u8]) -> Result<(), HashError> {
        let offset = chunk.saturating_mul(CHUNK_BYTES);
        let count = self
            .blob
            .read_at(buffer, offset)
            .map_err(|source| HashError::Read {
                digest: self.digest.clone(),
                source,
            })?;
        let holds = count == buffer.len()
            && self.digest.algorithm().is_some_and(|algorithm| {
                let pairs = buffer.chunks(2 * CHUNK_LENGTH);
                (chunk..)
                    .step_by(2)
                    .zip(pairs)
                    .all(|(chunk, pair)| self.pair_holds(algorithm, chunk, pair))
            });
        if holds {
            Ok(())
        } else {
            Err(HashError::Changed {
                digest: self.digest.clone(),
            })
        }
    }

    /// Compares one chunk or two: full ones at once, which takes little longer than one of them.
    fn pair_holds(&self, algorithm: Algorithm, chunk: u64, bytes: &[u8]) -> bool {
        let (one, other) = bytes.split_at_checked(CHUNK_LENGTH).unwrap_or((bytes, &[]));
        if other.len() < CHUNK_LENGTH {
            return self.chunk_holds(algorithm, chunk, one)
                && (other.is_empty() || self.chunk_holds(algorithm, chunk + 1, other));
        }
        let recorded = |chunk| Chain::recorded(algorithm, &self.chunks, chunk);
        let (Some(mut first), Some(mut second)) = (recorded(chunk), recorded(chunk + 1)) else {
            return false;
        };
        let between = second;
        Chain::absorb_both((&mut first, one), (&mut second, other));
        first == between && recorded(chunk + 2) == Some(second)
    }

    /// Compares a chunk with the chaining value recorded after it, or, where it is not full, with the digest itself.
    fn chunk_holds(&self, algorithm: Algorithm, chunk: u64, bytes: &[u8]) -> bool {
        let Some(mut chain) = Chain::recorded(algorithm, &self.chunks, chunk) else {
            return false;
        };
        if bytes.len() < CHUNK_LENGTH {
            return chain.finish(bytes, self.blob.size()) == self.digest;
        }
        chain.absorb(bytes).is_empty()
            && Chain::recorded(algorithm, &self.chunks, chunk + 1) == Some(chain)
    }
}
