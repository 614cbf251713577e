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

/// Is what a reading looks at between chunks.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    /// Whether the lease still stands; asked before a chunk counts.
    pub(super) stands: &'a dyn Fn() -> bool,
    /// Where progress is reported and cancellation asked for.
    pub(super) progress: &'a dyn Progress,
}

/// Hashes a blob.
pub(super) fn hash(
    blob: &Blob,
    algorithm: Algorithm,
    watch: Watch<'_>,
    counted: &mut Counted,
) -> Result<Found, Stop> {
    let mut pass = Pass::new(blob, algorithm, watch, counted)?;
    let filled = pass.fill();
    pass.run_on(filled)
}

/// Hashes two blobs at once, which takes one core three quarters of the time of one after the other.
pub(super) fn hash_both(mut one: Pass<'_>, mut other: Pass<'_>) -> [Result<Found, Stop>; 2] {
    let mut filled = (one.fill(), other.fill());
    while let (Ok(Filled::Whole), Ok(Filled::Whole)) = &filled {
        Chain::absorb_both(
            (&mut one.chain, &one.buffer),
            (&mut other.chain, &other.buffer),
        );
        one.record();
        other.record();
        filled = (one.fill(), other.fill());
    }
    [one.run_on(filled.0), other.run_on(filled.1)]
}

/// Tells what the buffer of a reading holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// A whole chunk.
    Whole,
    /// What is left at the end, or nothing.
    Tail,
}

/// Is a reading under way.
pub(super) struct Pass<'a> {
    blob: &'a Blob,
    watch: Watch<'a>,
    counted: &'a mut Counted,
    chain: Chain,
    chunks: Vec<u8>,
    buffer: Vec<u8>,
    /// How much of the buffer was read last.
    count: usize,
    position: u64,
}

impl<'a> Pass<'a> {
    /// Begins a reading.
    pub(super) fn new(
        blob: &'a Blob,
        algorithm: Algorithm,
        watch: Watch<'a>,
        counted: &'a mut Counted,
    ) -> Result<Self, Stop> {
        let total = blob.size();
        let whole_chunks = usize::try_from(total / CHUNK_BYTES).map_err(|_| Stop::Short)?;
        let length = usize::try_from(total.min(CHUNK_BYTES)).unwrap_or(CHUNK_LENGTH);
        Ok(Self {
            blob,
            watch,
            counted,
            chain: Chain::new(algorithm),
            chunks: Vec::with_capacity(whole_chunks.saturating_mul(Chain::width(algorithm))),
            buffer: vec![0; length],
            count: 0,
            position: 0,
        })
    }

    /// Reads on.
    fn fill(&mut self) -> Result<Filled, Stop> {
        let total = self.blob.size();
        self.count = 0;
        if self.watch.progress.cancelled() {
            return Err(Stop::Cancelled);
        }
        if self.position == total {
            return Ok(Filled::Tail);
        }
        let count = self.blob.read_at(&mut self.buffer, self.position);
        self.count = count.map_err(Stop::Read)?;
        if !(self.watch.stands)() {
            return Err(Stop::Broken);
        }
        let read = u64::try_from(self.count).unwrap_or(0);
        self.counted.hashed += read;
        self.position += read;
        if self.position > self.counted.reported {
            let news = self.position - self.counted.reported;
            self.watch.progress.advance(news);
            self.counted.reported = self.position;
        }
        match self.count {
            CHUNK_LENGTH => Ok(Filled::Whole),
            _ if self.position == total => Ok(Filled::Tail),
            _ => Err(Stop::Short),
        }
    }

    fn record(&mut self) {
        self.chain.record(&mut self.chunks);
    }

    /// Hashes what was filled and all that follows.
    fn run_on(mut self, mut filled: Result<Filled, Stop>) -> Result<Found, Stop> {
        while let Filled::Whole = filled? {
            self.chain.absorb(&self.buffer);
            self.record();
            filled = self.fill();
        }
        let tail = self.buffer.get(..self.count).unwrap_or_default();
        Ok(Found {
            digest: self.chain.finish(tail, self.blob.size()),
            chunks: self.chunks,
        })
    }
}
