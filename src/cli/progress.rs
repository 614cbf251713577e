//! The progress bar: on a terminal only, only once work has taken a while, and gone when all that is known is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal;
use crate::oci::Progress;

/// How long work is silent.
const PATIENCE: Duration = Duration::from_millis(200);

/// Shows how much was done of what is known to be done.
pub struct Bar {
    started: Instant,
    watched: bool,
    doing: &'static str,
    expected: AtomicU64,
    done: AtomicU64,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bar {
    /// Returns a bar that shows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::named("hashing")
    }

    /// Returns the same for another kind of work.
    #[must_use]
    pub fn named(doing: &'static str) -> Self {
        Self {
            started: Instant::now(),
            watched: terminal::is_watched(),
            doing,
            expected: AtomicU64::new(0),
            done: AtomicU64::new(0),
            bar: Mutex::default(),
        }
    }

    fn show(&self) {
        if !self.watched || self.started.elapsed() < PATIENCE {
            return;
        }
        let mut shown = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = self.expected.load(Ordering::Relaxed);
        let done = self.done.load(Ordering::Relaxed);
        if done < expected {
            let bar = shown.get_or_insert_with(|| draw(self.doing));
            bar.set_length(expected);
            bar.set_position(done);
        } else if let Some(bar) = shown.take() {
            // A mount lives on after its first verdict, but lets go of the terminal.
            bar.finish_and_clear();
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
        let shown = self.bar.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = shown.take() {
            bar.finish_and_clear();
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

fn draw(doing: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // As wide as there is room, and of characters that every terminal has.
    let template = format!("{doing} [{{wide_bar}}] {{bytes}}/{{total_bytes}} {{bytes_per_sec}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
