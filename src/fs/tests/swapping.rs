//! The swap of snapshots against readers and the judging thread, in every order of their steps.
//!
//! `present.rs` is compiled once more here, with the primitives of a model checker.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use present::Present;

/// What `present` is made of here.
mod primitives {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering};
    pub(super) use loom::sync::{Condvar, Mutex};
}

#[allow(
    clippy::duplicate_mod,
    reason = "the same code with other primitives is the point"
)]
#[path = "../present.rs"]
#[expect(dead_code, reason = "a wait for a time has no order of steps")]
mod present;

/// Is what stands for a snapshot.
struct Shown {
    generation: usize,
    /// The state of the layout that it was made of.
    layout: usize,
    is_pending: bool,
}

/// Is what stands for a mount: the layout beneath it, the present snapshot, the turn to make the next one.
struct Mounted {
    layout: AtomicUsize,
    /// The last state of the layout whose writer was answered.
    answered: AtomicUsize,
    present: Present<Shown>,
    turn: Mutex<()>,
}

use primitives::Ordering::SeqCst;

impl Mounted {
    fn new() -> Arc<Self> {
        let mounted = Self {
            layout: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            present: Present::new(),
            turn: Mutex::new(()),
        };
        mounted.swap(0, false);
        Arc::new(mounted)
    }

    fn swap(&self, layout: usize, is_pending: bool) -> Arc<Shown> {
        let made = self.present.swap(|before| Shown {
            generation: before.map_or(0, |before| before.generation + 1),
            layout,
            is_pending,
        });
        made.1
    }

    /// Does what a look does: the present snapshot if it stands, else another one is made, by one at a time.
    fn fresh(&self, is_pending: bool) -> Arc<Shown> {
        let shown = self.present.get().unwrap();
        if shown.layout == self.layout.load(SeqCst) {
            return shown;
        }
        let _turn = self.turn.lock().unwrap();
        let layout = self.layout.load(SeqCst);
        let before = self.present.get().unwrap();
        if before.layout == layout {
            return before;
        }
        self.swap(layout, is_pending)
    }

    /// Changes the layout through the mount, and answers once that shows.
    fn change(&self) {
        let layout = self.layout.fetch_add(1, SeqCst) + 1;
        assert!(self.fresh(false).layout >= layout);
        self.answered.fetch_max(layout, SeqCst);
    }

    /// Does what the judging thread does, until the end.
    fn judge(&self) {
        while let Some(pending) = self.present.wait_for(|shown| shown.is_pending) {
            let _turn = self.turn.lock().unwrap();
            if self.present.get().unwrap().generation == pending.generation {
                self.swap(pending.layout, false);
            }
        }
    }
}

fn in_every_order(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn no_look_shows_what_was_before_an_answered_change() {
    in_every_order(|| {
        let mounted = Mounted::new();
        let writer = Arc::clone(&mounted);
        let writer = thread::spawn(move || writer.change());
        let second = Arc::clone(&mounted);
        let second = thread::spawn(move || second.change());
        let mut last = 0;
        for _ in 0..2 {
            let answered = mounted.answered.load(SeqCst);
            let shown = mounted.fresh(false);
            assert!(shown.layout >= answered, "an old verdict for a new state");
            assert!(shown.generation >= last, "a snapshot went back");
            last = shown.generation;
        }
        writer.join().unwrap();
        second.join().unwrap();
        assert_eq!(mounted.present.get().unwrap().layout, 2);
    });
}

#[test]
fn judging_ends_and_never_replaces_a_newer_snapshot() {
    in_every_order(|| {
        let mounted = Mounted::new();
        let judge = Arc::clone(&mounted);
        let judge = thread::spawn(move || judge.judge());
        for _ in 0..2 {
            let layout = mounted.layout.fetch_add(1, SeqCst) + 1;
            assert_eq!(mounted.fresh(true).layout, layout);
        }
        mounted.present.stop();
        judge.join().unwrap();
        assert_eq!(mounted.present.get().unwrap().layout, 2);
        assert!(mounted.present.wait_for(|_| true).is_none());
    });
}

#[test]
fn whoever_waits_for_a_verdict_is_told_of_it() {
    in_every_order(|| {
        let mounted = Mounted::new();
        mounted.layout.fetch_add(1, SeqCst);
        mounted.fresh(true);
        let judge = Arc::clone(&mounted);
        let judge = thread::spawn(move || judge.judge());
        // This wait ends in every order, or the model reports a deadlock.
        let decided = mounted.present.wait_for(|shown| !shown.is_pending);
        assert_eq!(decided.unwrap().layout, 1);
        mounted.present.stop();
        judge.join().unwrap();
    });
}
