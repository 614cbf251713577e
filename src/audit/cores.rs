//! One piece of work for many items, on all cores.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Images per thread below which no thread is started.
const IMAGES_PER_THREAD: usize = 16;

/// Items that a thread takes at a time where there are many.
const BLOCK: usize = 64;

/// Items from which on two pieces of work are done at once: below, a thread costs more than it saves.
const MANY: usize = 1000;

/// Does two pieces of work, at once where they are about many items.
pub(crate) fn both<A: Send, B>(
    items: usize,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    if items < MANY {
        return (one(), other());
    }
    thread::scope(|scope| {
        let helper = scope.spawn(one);
        let other = other();
        match helper.join() {
            Ok(one) => (one, other),
            Err(payload) => std::panic::resume_unwind(payload),
        }
    })
}

/// Applies `work` to every item, on all cores where there are many. Results in the order of the items.
pub(crate) fn on_all_cores<T: Sync, R: Send>(
    items: &[T],
    work: &(impl Fn(&T) -> R + Sync),
) -> Vec<R> {
    on_all_cores_with(items, || (), &|(), item: &T| work(item))
}

/// Does the same; each thread has a state of its own, which it keeps from item to item.
pub(crate) fn on_all_cores_with<T: Sync, R: Send, S>(
    items: &[T],
    start: impl Fn() -> S + Sync,
    work: &(impl Fn(&mut S, &T) -> R + Sync),
) -> Vec<R> {
    let wanted = items.len().div_ceil(IMAGES_PER_THREAD);
    let threads = match wanted {
        0 | 1 => 1,
        // Asking costs a dozen system calls.
        _ => wanted.min(thread::available_parallelism().map_or(1, NonZero::get)),
    };
    if threads == 1 {
        let mut state = start();
        return items.iter().map(|item| work(&mut state, item)).collect();
    }
    let block = items.len().div_ceil(threads).clamp(1, BLOCK);
    let blocks: Vec<&[T]> = items.chunks(block).collect();
    let next = AtomicUsize::new(0);
    let run = || {
        let mut state = start();
        let mut done = Vec::new();
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            match blocks.get(position) {
                Some(block) => {
                    let results = block.iter().map(|item| work(&mut state, item));
                    done.push((position, results.collect::<Vec<R>>()));
                }
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
    let mut all = Vec::with_capacity(items.len());
    all.extend(results.into_iter().flat_map(|(_, results)| results));
    all
}
