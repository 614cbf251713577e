//! One piece of work for many items, on all cores.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
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
    // Each result is written where it stays: a hundred thousand of them are never held twice.
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let blocks = items.chunks(block).zip(results.chunks_mut(block));
    let blocks = Mutex::new(blocks);
    let take = || blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let mut state = start();
        while let Some((items, places)) = take() {
            for (item, place) in items.iter().zip(places) {
                *place = Some(work(&mut state, item));
            }
        }
    };
    thread::scope(|scope| {
        let helpers = (1..threads).map(|_| scope.spawn(run)).collect::<Vec<_>>();
        run();
        for helper in helpers {
            if let Err(payload) = helper.join() {
                std::panic::resume_unwind(payload);
            }
        }
    });
    let results = results.into_iter();
    let results = results.map(|result| result.expect("whoever took its block did all of it"));
    results.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        for count in [0, 1, 63, 64, 65, 1000, 5003] {
            let items: Vec<usize> = (0..count).collect();
            let results = on_all_cores(&items, &|item| (*item, item.to_string()));
            let wanted: Vec<_> = (0..count).map(|item| (item, item.to_string())).collect();
            assert_eq!(results, wanted);
        }
    }

    #[test]
    fn a_panic_on_any_core_is_passed_on() {
        let items: Vec<usize> = (0..5000).collect();
        let run = || on_all_cores(&items, &|item| assert!(*item != 4321));
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
