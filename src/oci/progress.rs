//! How long work reports how far it is. Implemented for the terminal in `cli`.

/// Receives progress of work that may take long. Called from several threads.
pub trait Progress: Sync {
    /// Announces `bytes` more to do.
    fn expect(&self, bytes: u64);
    /// Reports `bytes` done.
    fn advance(&self, bytes: u64);
    /// Returns whether the work should stop early (an unmount, a newer snapshot).
    fn cancelled(&self) -> bool {
        false
    }
}

/// Ignores all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn expect(&self, _bytes: u64) {}
    fn advance(&self, _bytes: u64) {}
}
