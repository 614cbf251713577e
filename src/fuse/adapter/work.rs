//! Where the work of a request is done, and how its result is answered.

use std::ffi::OsStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fuser::{
    BackingId, Errno, FileHandle, Generation, INodeNo, InitFlags, KernelConfig, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr, Request,
};

use super::super::convert;
use super::super::errno::errno;
use crate::fs::content::Path;
use crate::fs::create::Existing;
use crate::fs::folder::Room;
use crate::fs::open::{Data, Mode, Opened, Use};
use crate::fs::setattr::Change;
use crate::fs::{Fs, FsError, Snapshot, Stat};
use crate::sys::process::is_own_thread;

/// Tells where a request is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On the kernel's thread, with the present snapshot.
    Here,
    /// On the kernel's thread where the snapshot stands, else on a worker after it was rebuilt.
    Fresh,
    /// As `Fresh`, after the files of the closures were looked at; many of them on a worker.
    Status,
    /// On a worker.
    Control,
    /// On the signing worker, which judges what was signed once it has answered: whoever looks before then waits for that.
    Signer,
}

impl Place {
    /// Returns where a change of attributes is worked on.
    pub(super) fn of_change(fs: &Fs, change: &Change) -> Self {
        if fs.is_touch(change) {
            Self::Signer
        } else {
            Self::Control
        }
    }
}

/// Tells what the kernel offers for passthrough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Passthrough {
    /// It is not asked for.
    No,
    /// It is asked for, with this many file systems stacked below.
    Depth(u32),
}

/// Answers the kernel.
pub(in super::super) struct Adapter {
    pub(super) fs: Arc<Fs>,
    pub(super) passthrough: Passthrough,
    /// The kernel's threads that are at a look.
    looking: AtomicUsize,
    /// How many of them may be at one: one is always left for what a look itself asks of this mount.
    looking_max: usize,
}

impl Adapter {
    pub(in super::super) fn new(fs: Arc<Fs>, passthrough: Passthrough, threads: usize) -> Self {
        Self {
            fs,
            passthrough,
            looking: AtomicUsize::new(0),
            looking_max: threads.saturating_sub(1),
        }
    }

    /// Works on a request. A panic answers EIO, by dropping the reply that `job` holds, and ends nothing else.
    pub(super) fn run(&self, place: Place, job: impl FnOnce(&Arc<Fs>, &Snapshot) + Send + 'static) {
        shielded(move || {
            let workers = self.fs.workers();
            let fs = Arc::clone(&self.fs);
            match place {
                Place::Here => job(&fs, &fs.current()),
                Place::Fresh => match self.look(|| fs.fresh_now()) {
                    Some(snapshot) => job(&fs, &snapshot),
                    None => workers.control.run(move || job(&fs, &fs.fresh())),
                },
                Place::Status => match self.look(|| fs.fresh_status_now()) {
                    Some(snapshot) => job(&fs, &snapshot),
                    None => workers.control.run(move || job(&fs, &fs.fresh_status())),
                },
                Place::Control => workers.control.run(move || job(&fs, &fs.fresh())),
                Place::Signer => workers.signer.run(move || {
                    job(&fs, &fs.fresh());
                    fs.show_change();
                }),
            }
        });
    }

    /// Looks, unless so many of the kernel's threads are at it that none would be left for what a look itself asks of this mount.
    fn look(&self, look: impl FnOnce() -> Option<Arc<Snapshot>>) -> Option<Arc<Snapshot>> {
        let before = self.looking.fetch_add(1, Ordering::AcqRel);
        let _looking = Looking(&self.looking);
        (before < self.looking_max).then(look).flatten()
    }

    /// Refuses what a thread of this very process asks by name: it is at a look, and no other may begin for it.
    ///
    /// Its own settings may lead into the mount. Nothing trusted is read from there.
    pub(super) fn refuses(&self, thread: u32) -> Option<Errno> {
        is_own_thread(thread).then(|| refused(&FsError::OwnLook))
    }

    /// Returns where a question about an inode is worked on, which this very process may ask too: then without a look.
    pub(super) fn place_for(&self, thread: u32, place: Place) -> Place {
        match place {
            Place::Fresh | Place::Status if is_own_thread(thread) => Place::Here,
            _ => place,
        }
    }

    /// Works on a request about a handle, which needs no snapshot: writing `sign` would judge what was just signed once more.
    pub(super) fn run_on(&self, handle: FileHandle, job: impl FnOnce(&Arc<Fs>) + Send + 'static) {
        shielded(|| {
            let workers = self.fs.workers();
            let fs = Arc::clone(&self.fs);
            match self.fs.use_of(handle.0) {
                Use::Reading => job(&fs),
                Use::Policy => workers.control.run(move || job(&fs)),
                Use::Signing => workers.signer.run(move || {
                    job(&fs);
                    fs.show_change();
                }),
            }
        });
    }
}

/// Counts a thread at a look until it is dropped, also by a panic.
struct Looking<'a>(&'a AtomicUsize);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn shielded(job: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        log::error!("a request panicked");
    }
}

pub(super) fn refused(error: &FsError) -> Errno {
    let number = errno(error);
    log::debug!("errno {}: {error}", number.code());
    number
}

pub(super) fn answer_entry(reply: ReplyEntry, result: Result<Stat, FsError>) {
    match result {
        Ok(stat) => reply.entry(
            &convert::lifetime(&stat),
            &convert::entry(&stat),
            Generation(0),
        ),
        Err(error) => reply.error(refused(&error)),
    }
}

pub(super) fn answer_attr(reply: ReplyAttr, result: Result<Stat, FsError>) {
    match result {
        Ok(stat) => reply.attr(&convert::lifetime(&stat), &convert::attributes(&stat)),
        Err(error) => reply.error(refused(&error)),
    }
}

pub(super) fn answer_empty(reply: ReplyEmpty, result: Result<(), FsError>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(refused(&error)),
    }
}

pub(super) fn answer_open(reply: ReplyOpen, result: Result<Opened, FsError>) {
    let opened = match result {
        Ok(opened) => opened,
        Err(error) => return reply.error(refused(&error)),
    };
    let (handle, flags) = (FileHandle(opened.handle), convert::open_flags(&opened.data));
    if let Data::Blob(Path::Passthrough(backing)) = &opened.data {
        return match backing.downcast_ref::<BackingId>() {
            Some(backing) => reply.opened_passthrough(handle, flags, backing),
            None => reply.error(Errno::EIO),
        };
    }
    reply.opened(handle, flags);
}

pub(super) fn answer_create(reply: ReplyCreate, result: Result<(Stat, Opened), FsError>) {
    match result {
        Ok((stat, opened)) => reply.created(
            &convert::lifetime(&stat),
            &convert::attributes(&stat),
            Generation(0),
            FileHandle(opened.handle),
            convert::open_flags(&opened.data),
        ),
        Err(error) => reply.error(refused(&error)),
    }
}

pub(super) fn answer_bytes(reply: ReplyData, result: Result<Vec<u8>, FsError>) {
    match result {
        Ok(bytes) => reply.data(&bytes),
        Err(error) => reply.error(refused(&error)),
    }
}

pub(super) fn answer_xattr(reply: ReplyXattr, size: u32, result: Result<Vec<u8>, FsError>) {
    let value = match result {
        Ok(value) => value,
        Err(error) => return reply.error(refused(&error)),
    };
    match u32::try_from(value.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(&value),
        _ => reply.error(Errno::ERANGE),
    }
}

impl Adapter {
    /// Answers a lookup; for a thread that could not open what it found before, after a look at all that opening looks at.
    pub(super) fn look_up(
        &self,
        thread: u32,
        (parent, name): (INodeNo, &OsStr),
        reply: ReplyEntry,
    ) {
        if let Some(number) = self.refuses(thread) {
            return reply.error(number);
        }
        let again = self.fs.looks_again(thread);
        let place = match again {
            true => Place::Status,
            false => self.place_of_name(parent, name),
        };
        let name = name.to_owned();
        self.run(place, move |fs, snapshot| {
            let found = fs.lookup(snapshot, parent.0, &name);
            if let (true, Ok(stat)) = (again, &found) {
                fs.found_again(snapshot, thread, stat);
            }
            answer_entry(reply, found);
        });
    }

    /// Ends a handle; only a policy may have to be judged for it.
    pub(super) fn release_handle(&self, inode: INodeNo, handle: FileHandle, reply: ReplyEmpty) {
        let job = move |fs: &Arc<Fs>| {
            fs.release(inode.0, handle.0);
            reply.ok();
        };
        match self.fs.use_of(handle.0) {
            Use::Signing => shielded(|| job(&self.fs)),
            Use::Reading | Use::Policy => self.run_on(handle, job),
        }
    }

    /// Returns where an opening is worked on.
    pub(super) fn place_of_opening(&self, inode: INodeNo, mode: Mode) -> Place {
        match mode {
            // Nothing waits: what is written is acted on when it comes.
            _ if self.fs.is_sign(inode.0) => Place::Fresh,
            Mode::Read if self.fs.is_status(inode.0) => Place::Status,
            Mode::Read if self.fs.is_version(inode.0) => Place::Fresh,
            Mode::Read => self.place_of_inode(inode),
            Mode::Write | Mode::Append | Mode::Truncate => Place::Control,
        }
    }

    /// Returns where a question about an inode is worked on: about a blob, any snapshot answers.
    pub(super) fn place_of_inode(&self, inode: INodeNo) -> Place {
        match self.fs.is_version(inode.0) || self.fs.is_blob(inode.0) {
            true => Place::Here,
            false => Place::Fresh,
        }
    }

    /// Returns where a lookup is worked on.
    pub(super) fn place_of_name(&self, folder: INodeNo, name: &OsStr) -> Place {
        match self.fs.names_a_blob(folder.0, name) {
            true => Place::Here,
            false => Place::Fresh,
        }
    }

    pub(super) fn close(&self, request: &Request, handle: FileHandle, reply: ReplyEmpty) {
        let pid = request.pid();
        // Most who touched `sign` wrote nothing: the answer needs no other thread.
        if self.fs.closes_idly(handle.0) {
            return reply.ok();
        }
        self.run_on(handle, move |fs| {
            let process = match fs.use_of(handle.0) {
                Use::Reading => pid,
                Use::Policy | Use::Signing => convert::process(pid),
            };
            answer_empty(reply, fs.flush(handle.0, process));
        });
    }

    pub(super) fn make_other(&self, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.run(Place::Fresh, move |fs, snapshot| {
            answer_entry(reply, fs.make_other(snapshot, parent.0, &name));
        });
    }
}

/// Returns the process that writes; nobody asks who reads.
pub(super) fn writer(mode: Mode, pid: u32) -> u32 {
    match mode {
        Mode::Read => pid,
        _ => convert::process(pid),
    }
}

pub(super) fn room(is_full: bool) -> Room {
    match is_full {
        true => Room::Full,
        false => Room::Left,
    }
}

/// Tells what the kernel granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    /// What every mount needs.
    Plain,
    /// Passthrough too.
    Passthrough,
}

/// Agrees with the kernel on what both can do.
pub(super) fn negotiate(config: &mut KernelConfig, wanted: Passthrough) -> io::Result<Granted> {
    // Without it a shell's `>` would empty the policy before its first write.
    if config
        .add_capabilities(InitFlags::FUSE_ATOMIC_O_TRUNC)
        .is_err()
    {
        return Err(io::Error::from_raw_os_error(libc::EPROTO));
    }
    for flag in [
        InitFlags::FUSE_PARALLEL_DIROPS,
        InitFlags::FUSE_DO_READDIRPLUS,
        InitFlags::FUSE_READDIRPLUS_AUTO,
        InitFlags::FUSE_AUTO_INVAL_DATA,
        InitFlags::FUSE_ASYNC_DIO,
        // Handles on control files read past the page cache; programs map files all the same.
        InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    ] {
        if config.add_capabilities(flag).is_err() {
            log::info!("the kernel lacks {flag:?}");
        }
    }
    let Passthrough::Depth(depth) = wanted else {
        return Ok(Granted::Plain);
    };
    let offered = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok();
    if offered && config.set_max_stack_depth(depth).is_ok() {
        return Ok(Granted::Passthrough);
    }
    Ok(Granted::Plain)
}

/// Returns what a rename does where the new name is taken; nothing for kinds that do not exist here.
pub(super) fn existing(flags: RenameFlags) -> Option<Existing> {
    match flags {
        RenameFlags::RENAME_NOREPLACE => Some(Existing::Refuse),
        flags if flags.is_empty() => Some(Existing::Take),
        _ => None,
    }
}
