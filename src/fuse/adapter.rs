//! Requests of the kernel to calls of `fs`. Each handler converts, makes one call, and answers; none waits for hashing.
//!
//! A request that finds the snapshot outdated is answered from a worker, so that others go on meanwhile. Not here:
//! operations whose absence the kernel turns into a fitting answer itself (fallocate, ioctl, locks, seeking in holes).

mod work;

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileHandle, Filesystem, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};

use super::convert;
use crate::fs::FsError;
use crate::fs::content::Backing;
use crate::fs::create::{Create, Rename};
use crate::fs::folder::Room;
use crate::fs::names::NAME_BYTES_MAX;
use crate::fs::open::Open;
use crate::fs::setattr::Change;
pub(super) use work::{Adapter, Passthrough};
use work::{
    Granted, Place, answer_attr, answer_bytes, answer_create, answer_empty, answer_open,
    answer_xattr, existing, negotiate, refused, room, writer,
};

/// The block size that statfs counts in.
const SPACE_BLOCK_BYTES: u32 = 4096;

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if negotiate(config, self.passthrough)? == Granted::Passthrough {
            self.fs.allow_passthrough();
        }
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.look_up(request.pid(), (parent, name), reply);
    }

    fn getattr(
        &self,
        request: &Request,
        inode: INodeNo,
        handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let place = self.place_for(request.pid(), self.place_of_inode(inode));
        self.run(place, move |fs, snapshot| {
            let handle = handle.map(|handle| handle.0);
            answer_attr(reply, fs.getattr(snapshot, inode.0, handle));
        });
    }

    fn setattr(
        &self,
        request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change {
            inode: inode.0,
            handle: handle.map(|handle| handle.0),
            size,
            mode: mode.and_then(|mode| u16::try_from(mode & 0o7777).ok()),
            modified: modified.map(convert::new_time),
            caller: convert::caller(request),
        };
        self.run(Place::of_change(&self.fs, &change), move |fs, snapshot| {
            answer_attr(reply, fs.setattr(snapshot, &change));
        });
    }

    fn readlink(&self, request: &Request, inode: INodeNo, reply: ReplyData) {
        let place = self.place_for(request.pid(), Place::Fresh);
        self.run(place, move |fs, snapshot| {
            answer_bytes(reply, fs.readlink(snapshot, inode.0));
        });
    }

    fn mknod(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        self.make_other(parent, name, reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        self.make_other(parent, name, reply);
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, _: &Path, reply: ReplyEntry) {
        self.make_other(parent, name, reply);
    }

    fn link(&self, _: &Request, _: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.make_other(parent, name, reply);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (name, caller) = (name.to_owned(), convert::caller(request));
        self.run(Place::Control, move |fs, snapshot| {
            answer_empty(reply, fs.unlink(snapshot, (parent.0, &name), caller));
        });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.run(Place::Fresh, move |fs, snapshot| {
            answer_empty(reply, fs.rmdir(snapshot, parent.0, &name));
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let Some(existing) = existing(flags) else {
            return reply.error(refused(&FsError::UnsupportedRename));
        };
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        let caller = convert::caller(request);
        self.run(Place::Control, move |fs, snapshot| {
            let rename = Rename {
                from: (parent.0, &name),
                to: (new_parent.0, &new_name),
                existing,
                caller,
            };
            answer_empty(reply, fs.rename(snapshot, &rename));
        });
    }

    fn open(&self, request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (mode, caller) = (convert::mode(flags.0), convert::caller(request));
        let place = self.place_for(caller.pid, self.place_of_opening(inode, mode));
        self.run(place, move |fs, snapshot| {
            let open = Open {
                inode: inode.0,
                mode,
                caller,
                process: writer(mode, caller.pid),
            };
            let mut register = |file: std::os::fd::BorrowedFd<'_>| {
                reply
                    .open_backing(file)
                    .map(|backing| Arc::new(backing) as Backing)
            };
            let opened = fs.open(snapshot, &open, &mut register);
            answer_open(reply, opened);
        });
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.run(Place::Here, move |fs, _| {
            let range = (offset, usize::try_from(size).unwrap_or_default());
            let answer = Box::new(move |read| answer_bytes(reply, read));
            fs.read((inode.0, handle.0), range, answer);
        });
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = data.to_vec();
        self.run_on(handle, move |fs| match fs.write(handle.0, offset, &data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or_default()),
            Err(error) => reply.error(refused(&error)),
        });
    }

    fn flush(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.close(request, handle, reply);
    }

    fn fsync(&self, request: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        self.close(request, handle, reply);
    }

    fn release(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.release_handle(inode, handle, reply);
    }

    fn opendir(&self, request: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let place = self.place_for(request.pid(), Place::Fresh);
        self.run(place, move |fs, snapshot| {
            answer_open(reply, fs.opendir(snapshot, inode.0));
        });
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.run(Place::Here, move |fs, _| {
            let read = fs.readdir(handle.0, offset, &mut |entry, next| {
                let kind = convert::kind(entry.kind);
                room(reply.add(INodeNo(entry.inode), next, kind, entry.name))
            });
            match read {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(refused(&error)),
            }
        });
    }

    fn readdirplus(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.run(Place::Here, move |fs, snapshot| {
            let read = fs.readdir(handle.0, offset, &mut |entry, next| {
                let Ok(stat) = fs.stat_listed(snapshot, entry) else {
                    return Room::Left;
                };
                room(reply.add(
                    INodeNo(stat.inode),
                    next,
                    entry.name,
                    &convert::lifetime(&stat),
                    &convert::attributes(&stat),
                    Generation(0),
                ))
            });
            match read {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(refused(&error)),
            }
        });
    }

    fn releasedir(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.run(Place::Here, move |fs, _| {
            fs.release(inode.0, handle.0);
            reply.ok();
        });
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.run(Place::Here, move |fs, snapshot| {
            let space = fs.space(snapshot);
            let block = SPACE_BLOCK_BYTES;
            let blocks = space.bytes.div_ceil(u64::from(block));
            reply.statfs(blocks, 0, 0, space.files, 0, block, NAME_BYTES_MAX, block);
        });
    }

    fn setxattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        self.run(Place::Here, move |fs, snapshot| {
            answer_empty(reply, fs.setxattr(snapshot, inode.0));
        });
    }

    fn removexattr(&self, _: &Request, inode: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        self.run(Place::Here, move |fs, snapshot| {
            answer_empty(reply, fs.setxattr(snapshot, inode.0));
        });
    }

    fn getxattr(&self, _: &Request, inode: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.to_owned();
        self.run(Place::Here, move |fs, snapshot| {
            answer_xattr(reply, size, fs.getxattr(snapshot, inode.0, &name));
        });
    }

    fn listxattr(&self, request: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        let caller = convert::caller(request);
        self.run(Place::Here, move |fs, snapshot| {
            answer_xattr(reply, size, fs.listxattr(snapshot, inode.0, caller));
        });
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks modes itself; it remembers this answer, so it asks once per mount.
        reply.error(Errno::ENOSYS);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (name, caller) = (name.to_owned(), convert::caller(request));
        self.run(Place::Control, move |fs, snapshot| {
            let create = Create {
                folder: parent.0,
                name: &name,
                mode: u16::try_from(mode & !umask & 0o777).unwrap_or(0o600),
                open: convert::mode(flags),
                existing: convert::existing(flags),
                caller,
                process: convert::process(caller.pid),
            };
            answer_create(reply, fs.create(snapshot, &create));
        });
    }
}
