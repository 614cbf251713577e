//! The thread that hashes what a snapshot waits for, and swaps in the complete verdict.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Fs;
use super::look::{self, Standing};
use super::refresh::Reread;
use super::snapshot::{Judged, Snapshot};
use super::workers::lock;
use crate::audit::{Content, Survey};
use crate::oci::Progress;
use crate::report::Verdict;

/// After this long the times of a file just written prove a later state unchanged (they are coarser than the clock).
const SETTLING: Duration = Duration::from_millis(120);
/// How long judging pauses after it panicked.
const AFTER_PANIC: Duration = Duration::from_secs(5);
/// How often a wait for a verdict looks at the layout.
const WAIT_STEP: Duration = Duration::from_millis(100);

/// Passes progress on, and stops hashing for a layout that is no longer the present one.
struct Watched<'a> {
    fs: &'a Fs,
    survey: &'a Arc<Survey>,
    inner: &'a (dyn Progress + Send + Sync),
    /// What is announced and not done yet.
    left: AtomicU64,
}

impl Progress for Watched<'_> {
    fn expect(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
        self.inner.expect(bytes);
    }

    fn advance(&self, bytes: u64) {
        let less = |left: u64| Some(left.saturating_sub(bytes));
        let _ = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.inner.advance(bytes);
    }

    fn cancelled(&self) -> bool {
        self.fs.is_stopping() || !Arc::ptr_eq(&self.fs.current().basis.survey, self.survey)
    }
}

impl Drop for Watched<'_> {
    /// What was stopped is announced again by the next one; without this it would be waited for twice.
    fn drop(&mut self) {
        match self.left.load(Ordering::Relaxed) {
            0 => {}
            left => self.inner.advance(left),
        }
    }
}

impl Fs {
    /// Judges whatever waits for hashing until the mount stops. Runs on a thread of its own.
    pub fn judge_until_stopped(&self, progress: &(dyn Progress + Send + Sync)) {
        while let Some(snapshot) = self.next_pending() {
            let judging = AssertUnwindSafe(|| self.judge_fully(&snapshot, progress));
            if catch_unwind(judging).is_err() {
                // A defect of this program; the layout stays without a verdict, and the processor free.
                log::error!("judging panicked");
                std::thread::sleep(AFTER_PANIC);
            }
        }
    }

    fn next_pending(&self) -> Option<Arc<Snapshot>> {
        self.state.wait_for(Snapshot::is_pending)
    }

    fn judge_fully(&self, before: &Arc<Snapshot>, progress: &(dyn Progress + Send + Sync)) {
        let watched = Watched {
            fs: self,
            survey: &before.basis.survey,
            inner: progress,
            left: AtomicU64::new(0),
        };
        let mut basis = before.basis.clone();
        basis.observed.now = self.inputs.now();
        let mut begun = Instant::now();
        let (mut report, mut seen) = self.report(&basis, Content::Full, &watched);
        let (mut looked, mut standing) = look::closures(self, &basis, &report, &seen);
        // What was written a moment ago can only be hashed for one look. A moment later the result stands.
        if matches!(standing, Standing::OneLook | Standing::Unknown) {
            std::thread::sleep(SETTLING);
            begun = Instant::now();
            (report, seen) = self.report(&basis, Content::Full, &watched);
            (looked, standing) = look::closures(self, &basis, &report, &seen);
        }
        let turn = lock(&self.turn);
        // Whatever was swapped in meanwhile is pending itself, and quickly judged now.
        if self.current().generation != before.generation {
            return;
        }
        if let Some(judged) = Judged::by(standing, Content::Full, begun) {
            let shown = self.shown(&basis, Arc::new(report));
            self.swap(basis, shown, judged, Arc::new(looked));
            return;
        }
        drop(turn);
        // Somebody writes into the layout all the time; a pause leaves the processor to others.
        std::thread::sleep(SETTLING);
        self.rebuild(Reread::Layout);
    }

    /// Waits until the verdict is complete, at most until `deadline` (`None`: as long as it takes).
    ///
    /// Returns the verdict, `pending` where the deadline came first.
    #[must_use]
    pub fn wait_for_verdict(&self, deadline: Option<Instant>) -> Verdict {
        let begun = Instant::now();
        loop {
            let current = self.current();
            // Another look at it would begin it all again.
            let snapshot = match current.is_judged_since(begun) {
                true => current,
                false => self.fresh(),
            };
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if !snapshot.is_undecided() || is_late || self.is_stopping() {
                return snapshot.report.verdict();
            }
            self.state.wait_a_while(WAIT_STEP);
        }
    }

    /// Returns whether the first verdict is still to come.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.current().is_undecided() && !self.is_stopping()
    }

    /// Makes the next look read the layout, because a read found other bytes than were judged.
    pub(super) fn doubt_content(&self) {
        self.doubt.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Returns whether the next look reads the layout whatever its stamp says.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Rebuilds what the next look would find outdated, so that it need not wait.
    pub fn show_change(&self) {
        self.rebuild(Reread::Changed);
    }
}
