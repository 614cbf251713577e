//! A mount from its first check to its end.
//!
//! Never left to fuser: it would unmount whatever is at the path. Before anything is unmounted, mountinfo has to show
//! that what is on top there is the mount that was made here.

mod error;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fuser::{Config, Session, SessionACL};

pub use error::MountError;

use super::adapter::{Adapter, Passthrough};
use super::background::Ready;
use super::{attach, mountinfo, point};
use crate::fs::workers::lock;
use crate::fs::{Fs, Outdated, Parts, Reads};
use crate::layout::Hashes;
use crate::oci::Progress;
use crate::report::Verdict;
use crate::sys;
use crate::sys::mount::Signal;
use crate::sys::stat::FileSystem;

/// Threads that read requests: data wants two, small files want few, and one that waits for nothing must be left beside a look.
const REQUEST_THREADS: usize = 2;
/// How often it is asked whether the process that waits for the mount is still there.
const ABANDONED_INTERVAL: Duration = Duration::from_millis(200);
/// How often, and after which pauses, a mount in use is tried to be unmounted.
const BUSY_ATTEMPTS: usize = 25;
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// The magic number of overlayfs, which needs one more level of stacking.
const OVERLAY_MAGIC: u32 = 0x794c_7630;

/// Tells who may look into the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// The mounting user only.
    #[default]
    Owner,
    /// The mounting user and root (`--allow-root`).
    Root,
    /// Everybody, by the modes of the files (`--allow-other`).
    Everybody,
}

/// Tells what is waited for before the mount counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readiness {
    /// The first complete verdict.
    #[default]
    Judged,
    /// Only the mount (`--no-wait`).
    Mounted,
    /// The first complete verdict, which must be `verified`, else it is unmounted again (`--require-verified`).
    Verified,
}

/// Tells what happens to a mount that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Busy {
    /// It is refused.
    #[default]
    Refuse,
    /// It is detached and ends when its last user leaves (`--lazy`).
    Detach,
}

/// Is a request to mount.
pub struct Mounting {
    /// The mount point as typed.
    pub mount_point: PathBuf,
    /// Who may look.
    pub access: Access,
    /// What is waited for.
    pub readiness: Readiness,
    /// What is mounted.
    pub parts: Parts,
    /// Where counters are written at the end and on SIGUSR1 (`--stats`).
    pub stats: Option<PathBuf>,
    /// How the first verdict reports how far it is.
    pub progress: Arc<dyn Progress + Send + Sync>,
}

/// Is the mount that this process made.
#[derive(Debug, Clone)]
struct Own {
    point: PathBuf,
    /// Its number in mountinfo; `None` where it was not found there.
    id: Option<u64>,
}

/// Mounts, tells `ready`, serves, and returns when it is unmounted.
///
/// # Errors
/// Says why nothing is mounted, or that the first verdict was not the one required.
pub fn run(mounting: Mounting, ready: Ready) -> Result<(), MountError> {
    // Before the first thread, so that all of them leave the signals to the one that waits for them.
    sys::mount::block_signals().map_err(process_error("blocking signals"))?;
    sys::process::ignore_sigio();
    let options = &mounting.parts.options;
    let layout = options.layout_path.clone();
    let point = point::check(&mounting.mount_point, &layout)?;
    point::keep_outside(&point, &options.own_paths)?;
    let passthrough = passthrough(&layout, options.reads);
    let hashes = Arc::clone(&mounting.parts.hashes);
    let fs = Fs::new(mounting.parts);
    if ready.is_awaited() {
        // A process in the background keeps no folder of its user busy.
        std::env::set_current_dir("/").map_err(process_error("leaving the folder"))?;
    }

    let attached = attach::attach(&point, &layout, mounting.access);
    let connection = attached.map_err(|source| MountError::Attach {
        path: point.clone(),
        source,
    })?;
    let own = Own::find(point);
    fs.mounted_as(own.top().and_then(|top| top.device_number()));
    let first = First {
        fs: Arc::clone(&fs),
        hashes,
        own: own.clone(),
        access: mounting.access,
        readiness: mounting.readiness,
        stats: mounting.stats,
        refused: Arc::default(),
    };
    let adapter = Adapter::new(Arc::clone(&fs), passthrough, REQUEST_THREADS);
    let served = serve(adapter, connection, &first, (ready, mounting.progress));
    fs.stop();
    match served {
        Ok(()) => own.unmount_where_dead(),
        Err(_) => own.unmount_in_any_case(),
    }
    save(&first.hashes);
    first.report();
    match lock(&first.refused).take() {
        Some(verdict) => Err(MountError::NotVerified { verdict }),
        None => served,
    }
}

/// Answers the kernel until the connection ends.
fn serve(
    adapter: Adapter,
    connection: OwnedFd,
    first: &First,
    (ready, progress): (Ready, Arc<dyn Progress + Send + Sync>),
) -> Result<(), MountError> {
    let failed = |source| MountError::Serve {
        path: first.own.point.clone(),
        source,
    };
    let mut config = Config::default();
    config.n_threads = Some(REQUEST_THREADS);
    // The kernel keeps others out where they are not let in; only "root too" is not a thing it knows.
    let admitted = match first.access {
        Access::Root => SessionACL::RootAndOwner,
        Access::Owner | Access::Everybody => SessionACL::All,
    };
    let session = Session::from_fd(adapter, connection, admitted, config).map_err(failed)?;
    let notifier = session.notifier();
    first
        .fs
        .on_outdated(Box::new(move |Outdated::Inode(inode)| {
            // A negative offset concerns attributes only, and so never waits for a page that is being read.
            if let Err(error) = notifier.inval_inode(fuser::INodeNo(inode), -1, 0) {
                log::debug!("telling the kernel about an inode: {error}");
            }
        }));
    let judge = Arc::clone(&first.fs);
    spawn("judge", move || judge.judge_until_stopped(&*progress))?;
    let signalled = first.clone();
    spawn("signals", move || end_on_signal(&signalled))?;
    let first = first.clone();
    spawn("ready", move || first.tell(ready))?;
    session.run().map_err(failed)
}

/// Unmounts the signetfs mount at a path.
///
/// # Errors
/// Refuses what mountinfo does not show as a signetfs mount.
pub fn unmount(path: &Path, busy: Busy) -> Result<(), MountError> {
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        // A dead mount, or one of another user.
        Err(_) => point::beside(path)?,
    };
    let top = mountinfo::top_at(&real).map_err(|source| MountError::Look {
        path: real.clone(),
        source,
    })?;
    if !top.is_some_and(|top| top.is_ours()) {
        return Err(MountError::NotMounted { path: real });
    }
    let mut attempts = 1;
    loop {
        match attach::detach(&real, busy) {
            // Whoever only looks at it is gone in a moment: a mount that ended here just now does so too.
            Err(error) if is_busy(&error) && attempts < BUSY_ATTEMPTS => {
                attempts += 1;
                thread::sleep(BUSY_PAUSE);
            }
            result => {
                return result.map_err(|source| MountError::Unmount { path: real, source });
            }
        }
    }
}

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBUSY)
}

/// Returns the uid that a signetfs mount at a path belongs to, also where it shows itself to that user only.
#[must_use]
pub fn owner(path: &Path) -> Option<u32> {
    let real = std::fs::canonicalize(path).or_else(|_| point::beside(path));
    let mounts = mountinfo::list().ok()?;
    let real = real.ok()?;
    // The path may lie in the mount.
    let holds = |mount: &&mountinfo::Mounted| mount.is_ours() && real.starts_with(&mount.point);
    mounts.iter().rev().find(holds)?.user
}

/// Waits for the first verdict and tells who waits for the mount.
#[derive(Clone)]
struct First {
    fs: Arc<Fs>,
    hashes: Arc<Hashes>,
    own: Own,
    access: Access,
    readiness: Readiness,
    stats: Option<PathBuf>,
    refused: Arc<Mutex<Option<Verdict>>>,
}

impl First {
    fn tell(self, ready: Ready) {
        self.own.read_ahead();
        let verdict = match self.readiness {
            Readiness::Mounted => None,
            Readiness::Judged | Readiness::Verified => match self.wait(&ready) {
                Some(verdict) => Some(verdict),
                None => return self.own.unmount_in_any_case(),
            },
        };
        if let Some(verdict) = verdict {
            save(&self.hashes);
            if self.readiness == Readiness::Verified && verdict != Verdict::Verified {
                *lock(&self.refused) = Some(verdict);
                // The waiting process learns the rest from the exit status, so it is not told.
                self.own.unmount_in_any_case();
                // Kept open until the process ends: closing it would be the end of the wait.
                std::mem::forget(ready);
                return;
            }
        }
        if let Err(error) = ready.tell(verdict) {
            log::warn!("nobody waits for the mount any more: {error}");
            self.own.unmount_in_any_case();
        }
    }
}

impl First {
    /// Waits for the first verdict; `None` where nobody waits for it any more.
    fn wait(&self, ready: &Ready) -> Option<Verdict> {
        while !ready.is_abandoned() {
            let deadline = Instant::now().checked_add(ABANDONED_INTERVAL);
            let verdict = self.fs.wait_for_verdict(deadline);
            if !self.fs.is_undecided() {
                return Some(verdict);
            }
        }
        None
    }

    /// Writes the counters where they are asked for.
    fn report(&self) {
        let Some(path) = &self.stats else { return };
        if let Err(error) = self.fs.counts().write(path) {
            log::error!("writing {}: {error}", path.display());
        }
    }
}

impl Own {
    fn find(point: PathBuf) -> Self {
        let top = mountinfo::top_at(&point).ok().flatten();
        let id = top.filter(mountinfo::Mounted::is_ours).map(|top| top.id);
        Self { point, id }
    }

    /// Returns this very mount where it is on top at its path.
    fn top(&self) -> Option<mountinfo::Mounted> {
        let top = mountinfo::top_at(&self.point).ok().flatten();
        top.filter(|top| Some(top.id) == self.id)
    }

    fn is_on_top(&self) -> bool {
        self.top().is_some()
    }

    /// Has the kernel read ahead further, once both have agreed on everything else: that sets it too.
    fn read_ahead(&self) {
        // The first request waits for that agreement.
        if std::fs::metadata(&self.point).is_ok()
            && let Some(top) = self.top()
        {
            attach::read_ahead(&top.device);
        }
    }

    /// Unmounts what is left of a mount that the kernel disconnected.
    ///
    /// An unmounted one leaves its number to the next mount at this path, which must stay: that one is alive.
    fn unmount_where_dead(&self) {
        let looked = super::point::look_into(&self.point);
        if looked.is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN)) {
            self.unmount_in_any_case();
        }
    }

    /// Unmounts, detaching it where it is in use: who uses it is served until the end.
    fn unmount_in_any_case(&self) {
        if !self.is_on_top() {
            return;
        }
        let result = attach::detach(&self.point, Busy::Refuse)
            .or_else(|_| attach::detach(&self.point, Busy::Detach));
        if let Err(error) = result {
            log::error!("unmounting {}: {error}", self.point.display());
        }
    }
}

/// Unmounts at the first signal to end, and ends the process at the second.
fn end_on_signal(mount: &First) {
    let mut ends = 0;
    while ends < 2 {
        match sys::mount::wait_for_signal() {
            Ok(Signal::Report) => {
                mount.report();
                continue;
            }
            Ok(Signal::End) => ends += 1,
            Err(error) => {
                log::error!("waiting for signals: {error}");
                return;
            }
        }
        if !mount.own.is_on_top() {
            break;
        }
        mount.own.unmount_in_any_case();
    }
    std::process::exit(1);
}

/// Returns what to ask the kernel for: passthrough needs root, and one level more above overlayfs.
fn passthrough(layout: &Path, reads: Reads) -> Passthrough {
    if sys::process::effective_uid() != 0 || reads == Reads::Checked {
        return Passthrough::No;
    }
    let file_system =
        std::fs::File::open(layout).and_then(|file| sys::stat::file_system(file.as_fd()));
    match file_system {
        Ok(FileSystem::Other(OVERLAY_MAGIC)) => Passthrough::Depth(2),
        Ok(_) => Passthrough::Depth(1),
        Err(_) => Passthrough::No,
    }
}

fn save(hashes: &Hashes) {
    if let Err(error) = hashes.save() {
        log::info!("hashes are not remembered: {error}");
    }
}

fn spawn(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<(), MountError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(process_error("starting a thread"))
}

fn process_error(operation: &'static str) -> impl FnOnce(io::Error) -> MountError {
    move |source| MountError::Process { operation, source }
}
