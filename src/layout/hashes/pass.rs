//! One reading of a blob from its first byte to its last.

use std::io;

use super::chain::Chain;
use super::{CHUNK_BYTES, CHUNK_LENGTH};
use crate::layout::Blob;
use crate::oci::{Algorithm, Digest, Progress};

/// Is what one reading found.
#[derive(Debug)]
pub(super) struct Found {
    /// The digest of the bytes.
    pub(super) digest: Digest,
    /// The chaining value after each whole chunk.
    pub(super) chunks: Vec<u8>,
}

/// Says why a reading ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The lease is being broken.
    Broken,
    /// The file is shorter than it was.
    Short,
    /// The caller said so.
    Cancelled,
    /// Reading failed.
    Read(io::Error),
}

/// Counts what readings of one blob did, over all attempts.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Bytes hashed.
    pub(super) hashed: u64,
    /// Bytes reported as progress, each only once.
    reported: u64,
}

/// Hashes a blob; `stands` says before each chunk counts whether the lease still does.
pub(super) fn hash(
    blob: &Blob,
    algorithm: Algorithm,
    stands: &dyn Fn() -> bool,
    progress: &dyn Progress,
    counted: &mut Counted,
) -> Result<Found, Stop> {
    let total = blob.size();
    let whole_chunks = usize::try_from(total / CHUNK_BYTES).map_err(|_| Stop::Short)?;
    let mut chunks = Vec::with_capacity(whole_chunks.saturating_mul(Chain::width(algorithm)));
    let length = usize::try_from(total.min(CHUNK_BYTES)).unwrap_or(CHUNK_LENGTH);
    let mut buffer = vec![0; length];
    let mut chain = Chain::new(algorithm);
    let mut position = 0;
    loop {
        if progress.cancelled() {
            return Err(Stop::Cancelled);
        }
        let count = blob.read_at(&mut buffer, position).map_err(Stop::Read)?;
        if !stands() {
            return Err(Stop::Broken);
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        let read = u64::try_from(count).unwrap_or(0);
        counted.hashed += read;
        position += read;
        if position > counted.reported {
            progress.advance(position - counted.reported);
            counted.reported = position;
        }
        if count == CHUNK_LENGTH {
            chain.absorb(bytes);
            chain.record(&mut chunks);
            if position < total {
                continue;
            }
        }
        if position != total {
            return Err(Stop::Short);
        }
        let tail = if count == CHUNK_LENGTH { &[] } else { bytes };
        return Ok(Found {
            digest: chain.finish(tail, total),
            chunks,
        });
    }
}
