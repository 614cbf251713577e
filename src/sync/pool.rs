//! A few threads working through a list; the first error stops all of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::oci::Progress;

/// Connections that take anything, the largest first.
pub const JOBS_DEFAULT: usize = 4;
/// Connections that take small blobs only: there the round trips decide, not the bytes.
const SMALL_JOBS: usize = 12;
/// Bytes below which a blob is small.
const SMALL_BYTES: u64 = 1 << 20;
/// The most connections.
pub const JOBS_MAX: usize = 64;

/// Passes progress on, and the news that the work is given up.
pub struct Stoppable<'a> {
    inner: &'a dyn Progress,
    stopped: AtomicBool,
    advanced: AtomicU64,
}

impl<'a> Stoppable<'a> {
    /// Returns progress that can be stopped.
    #[must_use]
    pub fn new(inner: &'a dyn Progress) -> Self {
        Self {
            inner,
            stopped: AtomicBool::new(false),
            advanced: AtomicU64::new(0),
        }
    }

    /// Returns how many bytes were reported as done through this.
    #[must_use]
    pub fn advanced(&self) -> u64 {
        self.advanced.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Progress for Stoppable<'_> {
    fn expect(&self, bytes: u64) {
        self.inner.expect(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.advanced.fetch_add(bytes, Ordering::Relaxed);
        self.inner.advance(bytes);
    }

    fn cancelled(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.inner.cancelled()
    }
}

/// Is what the pool works through.
pub trait Weighed {
    /// Returns how many bytes the work moves.
    fn bytes(&self) -> u64;
}

/// Is the news that work was given up before all of it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

/// Works through `items` on up to `jobs` threads (and more for small items); results in no particular order.
///
/// # Errors
/// Returns the first error; work not yet begun is left undone, which is never a success.
pub fn run<T, R, E>(
    mut items: Vec<T>,
    jobs: usize,
    progress: &Stoppable<'_>,
    work: &(dyn Fn(&T) -> Result<R, E> + Sync),
) -> Result<Vec<R>, E>
where
    T: Weighed + Send,
    R: Send,
    E: Send + From<Cancelled>,
{
    items.sort_by_key(|item| std::cmp::Reverse(item.bytes()));
    let small = items
        .iter()
        .filter(|item| item.bytes() < SMALL_BYTES)
        .count();
    let jobs = jobs.clamp(1, JOBS_MAX);
    let extra = if jobs == 1 {
        0
    } else {
        SMALL_JOBS.min(small.saturating_sub(jobs))
    };
    let count = items.len();
    let queue = Mutex::new(VecDeque::from(items));
    let results = Mutex::new(Vec::with_capacity(count));
    let failure = Mutex::new(None);
    let worker = |lane: Lane| {
        while !progress.cancelled() {
            let Some(item) = take(&queue, lane) else {
                return;
            };
            match work(&item) {
                Ok(result) => lock(&results).push(result),
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                    progress.stop();
                    return;
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.min(count) {
            scope.spawn(|| worker(Lane::Any));
        }
        for _ in 0..extra {
            scope.spawn(|| worker(Lane::Small));
        }
        worker(Lane::Any);
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None if results.len() < count => Err(Cancelled.into()),
        None => Ok(results),
    }
}

#[derive(Clone, Copy)]
enum Lane {
    Any,
    Small,
}

fn take<T: Weighed>(queue: &Mutex<VecDeque<T>>, lane: Lane) -> Option<T> {
    let mut queue = lock(queue);
    match lane {
        Lane::Any => queue.pop_front(),
        Lane::Small if queue.back()?.bytes() < SMALL_BYTES => queue.pop_back(),
        Lane::Small => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::NoProgress;

    impl Weighed for u64 {
        fn bytes(&self) -> u64 {
            *self
        }
    }

    impl From<Cancelled> for &str {
        fn from(_: Cancelled) -> Self {
            "cancelled"
        }
    }

    #[test]
    fn work_left_undone_is_no_success() {
        let stopped = Stoppable::new(&NoProgress);
        stopped.stop();
        let result = run(vec![1], 4, &stopped, &|_: &u64| Ok::<(), &str>(()));
        assert_eq!(result, Err("cancelled"));
        assert_eq!(
            run(vec![], 4, &stopped, &|_: &u64| Ok::<(), &str>(())),
            Ok(vec![])
        );
    }

    #[test]
    fn does_everything_once() {
        let items: Vec<u64> = (0..100).chain([5 << 20, 6 << 20]).collect();
        for jobs in [1, 4, 1000] {
            let mut done = run(
                items.clone(),
                jobs,
                &Stoppable::new(&NoProgress),
                &|item: &u64| Ok::<u64, &str>(*item),
            )
            .unwrap();
            done.sort_unstable();
            assert_eq!(done, items);
        }
    }

    #[test]
    fn stops_at_the_first_error() {
        let done = AtomicBool::new(false);
        let result = run(
            vec![3, 2, 1],
            1,
            &Stoppable::new(&NoProgress),
            &|item: &u64| {
                if *item == 1 {
                    done.store(true, Ordering::Relaxed);
                }
                if *item == 2 { Err("two") } else { Ok(()) }
            },
        );
        assert_eq!(result, Err("two"));
        assert!(!done.load(Ordering::Relaxed));
    }
}
