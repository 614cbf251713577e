//! Threads for work that a request must not do on the kernel's own threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// Is a number of threads that take jobs in order. They end when it is dropped.
#[derive(Debug)]
pub struct Pool {
    jobs: Mutex<Sender<Job>>,
}

/// Holds a pool for each kind of work, so that none waits for another kind.
#[derive(Debug)]
pub struct Workers {
    /// Rebuilding snapshots, policies.
    pub control: Pool,
    /// Hashing for reads.
    pub readers: Pool,
    /// Signing, one after the other.
    pub signer: Pool,
}

impl Workers {
    /// Starts the threads.
    #[must_use]
    pub fn start() -> Self {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        Self {
            control: Pool::start("control", 4),
            readers: Pool::start("reader", cores.clamp(2, 8)),
            signer: Pool::start("signer", 1),
        }
    }
}

impl Pool {
    /// Starts `threads` threads.
    #[must_use]
    pub fn start(name: &str, threads: usize) -> Self {
        let (sender, receiver) = channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let receiver = Arc::clone(&receiver);
            let started = thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || work(&receiver));
            if let Err(error) = started {
                log::warn!("starting thread {name}-{number}: {error}");
            }
        }
        Self {
            jobs: Mutex::new(sender),
        }
    }

    /// Adds a job. A job that panics is dropped; the thread goes on.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        if lock(&self.jobs).send(Box::new(job)).is_err() {
            log::error!("no thread is left to take a job");
        }
    }
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let job = lock(receiver).recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            log::error!("a job panicked");
        }
    }
}

/// Locks, also after a thread panicked while holding the lock: every value behind one is replaced whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_job_leaves_the_pool_working() {
        let pool = Pool::start("test", 1);
        pool.run(|| panic!("expected in this test"));
        let (sender, receiver) = channel();
        pool.run(move || sender.send(7).unwrap());
        assert_eq!(receiver.recv().unwrap(), 7);
    }
}
