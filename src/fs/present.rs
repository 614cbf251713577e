//! The cell that holds the present snapshot: a value is swapped whole, and whoever waits for one is told.
//!
//! What it is made of comes from `primitives` beside it, so that a test can put a model checker's in their place and run
//! this very file in every order. Not here: when a snapshot stands, and who may make the next one (`refresh`).

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::primitives::{AtomicBool, Condvar, Mutex, Ordering};

/// Is a value that readers share and one writer at a time replaces.
pub(super) struct Present<T> {
    value: Mutex<Option<Arc<T>>>,
    /// Told whenever the value was swapped, and at the end.
    changed: Condvar,
    stopping: AtomicBool,
}

impl<T> Present<T> {
    /// Returns a cell without a value.
    pub(super) fn new() -> Self {
        Self {
            value: Mutex::new(None),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Returns the present value, which later swaps leave as it is.
    pub(super) fn get(&self) -> Option<Arc<T>> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        value.clone()
    }

    /// Puts what `make` makes of the present value in its place; returns both, the older first.
    pub(super) fn swap(&self, make: impl FnOnce(Option<&Arc<T>>) -> T) -> (Option<Arc<T>>, Arc<T>) {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let after = Arc::new(make(value.as_ref()));
        let before = value.replace(Arc::clone(&after));
        drop(value);
        self.changed.notify_all();
        (before, after)
    }

    /// Waits for a value of which `holds`; nothing once the cell stops.
    pub(super) fn wait_for(&self, holds: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.is_stopping() {
                return None;
            }
            if let Some(found) = value.as_ref().filter(|value| holds(value)) {
                return Some(Arc::clone(found));
            }
            value = self
                .changed
                .wait(value)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the next swap or the end, at most so long.
    pub(super) fn wait_a_while(&self, longest: Duration) {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.changed.wait_timeout(value, longest);
    }

    /// Makes all waits end, now and later.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // The lock makes sure that no thread is between its check and its wait.
        drop(self.value.lock());
        self.changed.notify_all();
    }

    /// Returns whether the cell stops.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
