//! The least that any file system in a process of its own costs: one that knows its few answers beforehand, and checks nothing.
//!
//! What it takes longer than the native directory is the kernel's, and no work of ours can save it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, Request,
    SessionACL,
};

/// How long the kernel keeps what it was told.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The folders `/`, `/blobs` and `/blobs/sha256`, each the only entry of the one before.
const FOLDERS: [(&str, u64); 3] = [("", 1), ("blobs", 2), ("sha256", 3)];
/// The number of the first blob.
const BLOBS_FIRST: u64 = 4;
/// As many as the mount under test has.
const THREADS: usize = 2;

/// Holds every blob of a folder in memory.
struct Floor {
    numbers: HashMap<OsString, u64>,
    blobs: Vec<(OsString, Vec<u8>)>,
}

/// Mounts all blobs of a layout at a path; the mount ends with the value.
pub(crate) fn mount(layout: &Path, point: &Path) -> BackgroundSession {
    let mut floor = Floor {
        numbers: HashMap::new(),
        blobs: Vec::new(),
    };
    for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        let number = BLOBS_FIRST + floor.blobs.len() as u64;
        floor.numbers.insert(entry.file_name(), number);
        let bytes = fs::read(entry.path()).unwrap();
        floor.blobs.push((entry.file_name(), bytes));
    }
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("floor".to_owned()),
        MountOption::RO,
        MountOption::DefaultPermissions,
    ];
    config.acl = SessionACL::Owner;
    config.n_threads = Some(THREADS);
    fuser::spawn_mount(floor, point, &config).unwrap()
}

impl Floor {
    fn blob(&self, inode: INodeNo) -> Option<&(OsString, Vec<u8>)> {
        self.blobs
            .get(usize::try_from(inode.0.checked_sub(BLOBS_FIRST)?).ok()?)
    }

    fn find(&self, folder: INodeNo, name: &OsStr) -> Option<INodeNo> {
        let below = FOLDERS.iter().find(|(_, number)| *number == folder.0 + 1);
        match below {
            Some((known, number)) => (name == *known).then_some(INodeNo(*number)),
            None => self.numbers.get(name).copied().map(INodeNo),
        }
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let blob = self.blob(inode);
        let size = blob.map_or(0, |(_, bytes)| bytes.len() as u64);
        FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: match blob {
                Some(_) => FileType::RegularFile,
                None => FileType::Directory,
            },
            perm: if blob.is_some() { 0o444 } else { 0o555 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Returns the entries of a folder from a position on, each with the position after it.
    fn entries(
        &self,
        folder: INodeNo,
        offset: u64,
    ) -> Box<dyn Iterator<Item = (u64, INodeNo, &OsStr)> + '_> {
        let below = FOLDERS.iter().find(|(_, number)| *number == folder.0 + 1);
        match below {
            Some((name, number)) => Box::new(
                (offset == 0)
                    .then_some((1, INodeNo(*number), OsStr::new(*name)))
                    .into_iter(),
            ),
            None => Box::new((offset..).zip(self.blobs.iter().skip(offset as usize)).map(
                |(position, (name, _))| {
                    (
                        position + 1,
                        INodeNo(BLOBS_FIRST + position),
                        name.as_os_str(),
                    )
                },
            )),
        }
    }
}

impl Filesystem for Floor {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO;
        config
            .add_capabilities(wanted)
            .map_err(|_| std::io::Error::from_raw_os_error(libc::EPROTO))
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(parent, name) {
            Some(inode) => reply.entry(&LIFETIME, &self.attributes(inode), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&LIFETIME, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.blob(inode).map_or(&[][..], |(_, bytes)| bytes);
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        reply.data(&rest[..rest.len().min(size as usize)]);
    }

    fn readdir(
        &self,
        _: &Request,
        folder: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        for (next, inode, name) in self.entries(folder, offset) {
            if reply.add(inode, next, self.attributes(inode).kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _: &Request,
        folder: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        for (next, inode, name) in self.entries(folder, offset) {
            let attributes = self.attributes(inode);
            if reply.add(inode, next, name, &LIFETIME, &attributes, Generation(0)) {
                break;
            }
        }
        reply.ok();
    }

    fn access(&self, _: &Request, _: INodeNo, _: fuser::AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}
