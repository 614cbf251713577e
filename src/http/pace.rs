//! A floor under the speed of answers: a server that lets bytes drip holds nobody for ever.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Bytes a second of an answer that is read whole.
pub(super) const ANSWER_BYTES_PER_SECOND: u32 = 16 << 10;
/// Bytes a second of content: slow lines are bad luck, no attack.
pub(super) const CONTENT_BYTES_PER_SECOND: u32 = 1 << 10;

/// Reads as long as the average stays above a floor, once some time has passed.
pub(super) struct Paced<R> {
    inner: R,
    started: Instant,
    grace: Duration,
    bytes_per_second: u32,
    received: u64,
}

impl<R> Paced<R> {
    pub(super) fn new(inner: R, grace: Duration, bytes_per_second: u32) -> Self {
        Self {
            inner,
            started: Instant::now(),
            grace,
            bytes_per_second,
            received: 0,
        }
    }

    fn is_too_slow(&self) -> bool {
        let earned = self
            .received
            .checked_div(u64::from(self.bytes_per_second))
            .unwrap_or(u64::MAX);
        self.started.elapsed() > self.grace.saturating_add(Duration::from_secs(earned))
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.received = self
            .received
            .saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        match read > 0 && self.is_too_slow() {
            true => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the answer comes too slowly",
            )),
            false => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_what_flows_pass_and_cuts_what_drips() {
        let bytes = vec![7; 100_000];
        let mut all = Vec::new();
        let mut flowing = Paced::new(bytes.as_slice(), Duration::from_secs(60), 1);
        assert_eq!(flowing.read_to_end(&mut all).unwrap(), bytes.len());
        let mut dripping = Paced::new(bytes.as_slice(), Duration::ZERO, u32::MAX);
        let error = dripping.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
