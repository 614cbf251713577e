//! Compressed bytes as they are read: a look ahead of any length, and a count of what was taken.

use std::io::{self, BufRead, Read};

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads with a look ahead.
pub(in crate::layout) struct Input<'a> {
    source: &'a mut dyn Read,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes taken.
    pub(super) taken: u64,
}

impl<'a> Input<'a> {
    /// Reads from a source.
    pub(in crate::layout) fn new(source: &'a mut dyn Read) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            taken: 0,
        }
    }

    /// Returns what comes next, at least `wanted` bytes unless the input ends before; `wanted` is small.
    ///
    /// # Errors
    /// Returns what reading returns.
    pub(super) fn ahead(&mut self, wanted: usize) -> io::Result<&[u8]> {
        if self.end - self.start < wanted {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < wanted {
                let place = self.buffer.get_mut(self.end..).unwrap_or_default();
                match self.source.read(place) {
                    Ok(0) => break,
                    Ok(count) => self.end += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    /// Takes bytes that were looked at.
    pub(super) fn skip(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.taken = self
            .taken
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.ahead(1)?;
        let count = bytes.len().min(buffer.len());
        let (Some(from), Some(to)) = (bytes.get(..count), buffer.get_mut(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.skip(count);
        Ok(count)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ahead(1)
    }

    fn consume(&mut self, count: usize) {
        self.skip(count);
    }
}
