//! The progress bar: on a terminal only, only once work has taken a while, and gone when all that is known is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::terminal;
use crate::oci::Progress;

/// How long work is silent.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a bar stays as it is.
const PAUSE: Duration = Duration::from_millis(50);
/// How many characters the bar itself has: with the numbers beside it a line of 80 holds it.
const WIDTH: u64 = 24;

/// Shows how much was hashed.
pub struct Bar {
    started: Instant,
    watched: bool,
    doing: &'static str,
    expected: AtomicU64,
    done: AtomicU64,
    /// When the bar was drawn last, while there is one.
    drawn: Mutex<Option<Instant>>,
}

impl Bar {
    /// Returns a bar that shows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::named("hashing")
    }

    /// Returns the same for unpacking.
    #[must_use]
    pub fn unpacking() -> Self {
        Self::named("unpacking")
    }

    fn named(doing: &'static str) -> Self {
        Self {
            started: Instant::now(),
            watched: terminal::is_watched(),
            doing,
            expected: AtomicU64::new(0),
            done: AtomicU64::new(0),
            drawn: Mutex::default(),
        }
    }

    fn show(&self) {
        if !self.watched || self.started.elapsed() < PATIENCE {
            return;
        }
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = self.expected.load(Ordering::Relaxed);
        let done = self.done.load(Ordering::Relaxed);
        if done < expected {
            if drawn.is_none_or(|at| at.elapsed() >= PAUSE) {
                *drawn = Some(Instant::now());
                terminal::redraw(&line(self.doing, done, expected, self.started.elapsed()));
            }
        } else if drawn.take().is_some() {
            // A mount lives on after its first verdict, but lets go of the terminal.
            terminal::redraw("");
        }
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let drawn = self.drawn.get_mut().unwrap_or_else(PoisonError::into_inner);
        if drawn.take().is_some() {
            terminal::redraw("");
        }
    }
}

impl Progress for Bar {
    fn expect(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.show();
    }
}

/// Returns what the bar shows.
fn line(doing: &str, done: u64, expected: u64, elapsed: Duration) -> String {
    let share = |whole: u64| u128::from(done) * u128::from(whole) / u128::from(expected.max(1));
    let full = usize::try_from(share(WIDTH)).unwrap_or(0);
    let bar: String = (0..usize::try_from(WIDTH).unwrap_or(0))
        .map(|position| if position < full { '#' } else { '-' })
        .collect();
    let milliseconds = elapsed.as_millis().max(1);
    let speed = u64::try_from(u128::from(done) * 1000 / milliseconds).unwrap_or(u64::MAX);
    format!(
        "{doing} [{bar}] {}/{} {}/s",
        size(done),
        size(expected),
        size(speed)
    )
}

/// Returns a number of bytes for people.
fn size(bytes: u64) -> String {
    let mut unit = 1_u64 << 10;
    for name in ["KiB", "MiB", "GiB"] {
        let next = unit << 10;
        if bytes < next || name == "GiB" {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
        unit = next;
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_much_of_how_much_and_how_fast() {
        let second = Duration::from_secs(1);
        assert_eq!(
            line("hashing", 3 << 29, 3 << 30, second),
            "hashing [############------------] 1.5 GiB/3.0 GiB 1.5 GiB/s"
        );
        assert_eq!(
            line("unpacking", 0, 1 << 20, Duration::ZERO),
            "unpacking [------------------------] 0.0 KiB/1.0 MiB 0.0 KiB/s"
        );
        assert!(line("hashing", u64::MAX, 1, second).len() < 200);
        assert_eq!(size(u64::MAX), "17179869183.9 GiB");
    }
}
