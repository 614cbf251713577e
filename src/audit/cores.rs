//! One piece of work for many items, on all cores.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Images per thread below which no thread is started.
const IMAGES_PER_THREAD: usize = 16;

/// Applies `work` to every item, on all cores where there are many. Results in the order of the items.
pub(crate) fn on_all_cores<T: Sync, R: Send>(
    items: &[T],
    work: &(impl Fn(&T) -> R + Sync),
) -> Vec<R> {
    let wanted = items.len().div_ceil(IMAGES_PER_THREAD);
    let threads = match wanted {
        0 | 1 => 1,
        // Asking costs a dozen system calls.
        _ => wanted.min(thread::available_parallelism().map_or(1, NonZero::get)),
    };
    if threads == 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            match items.get(position) {
                Some(item) => done.push((position, work(item))),
                None => return done,
            }
        }
    };
    let mut results = thread::scope(|scope| {
        let helpers = (1..threads).map(|_| scope.spawn(run)).collect::<Vec<_>>();
        let mut results = run();
        for helper in helpers {
            match helper.join() {
                Ok(done) => results.extend(done),
                Err(payload) => std::panic::resume_unwind(payload),
            }
        }
        results
    });
    results.sort_by_key(|(position, _)| *position);
    results.into_iter().map(|(_, result)| result).collect()
}
