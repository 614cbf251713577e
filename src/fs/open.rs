//! Opening, reading, writing and closing.

use std::sync::{Arc, Mutex};

use super::content::{Answer, Path, Register};
use super::draft::{Draft, Start};
use super::handles::Handle;
use super::policy_file::PolicyOpen;
use super::sign_file::Target;
use super::workers::lock;
use super::{Caller, Fs, FsError, Snapshot};
use crate::tree::inode::{POLICY, SCRATCH_FIRST};
use crate::tree::{Control, Node, View, times};

/// Tells what a handle is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reading.
    Read,
    /// Writing in place, or both.
    Write,
    /// Writing at the end.
    Append,
    /// Writing into a file that is emptied first.
    Truncate,
}

/// Is a request to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// The inode.
    pub inode: u64,
    /// What for.
    pub mode: Mode,
    /// Who.
    pub caller: Caller,
    /// The caller's process (thread group).
    pub process: u32,
}

/// Is an opened handle.
pub struct Opened {
    /// Its number.
    pub handle: u64,
    /// How its data goes.
    pub data: Data,
}

/// Tells how the data of a handle goes.
pub enum Data {
    /// Through the page cache, dropped at each opening; a close says nothing.
    Reading,
    /// Through the page cache, which keeps what it has of this version.
    Version,
    /// Each read reaches us; the bytes are those of the opening.
    Bound,
    /// A blob.
    Blob(Path),
    /// Each write and close reaches us.
    Direct,
    /// As a scratch file.
    Scratch,
    /// Names; each reading asks for them.
    Folder,
}

/// Tells what writing to a handle may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Nothing that takes long.
    Reading,
    /// Judging a policy.
    Policy,
    /// Signing.
    Signing,
}

impl Fs {
    /// Returns what writing to a handle, or closing it, may lead to.
    #[must_use]
    pub fn use_of(&self, handle: u64) -> Use {
        match self.handles.find(handle).as_deref() {
            Some(Handle::Policy(_)) => Use::Policy,
            Some(Handle::Sign(..)) => Use::Signing,
            _ => Use::Reading,
        }
    }

    /// Returns whether closing a handle leads to nothing: nothing waits on it, and nobody is at it.
    #[must_use]
    pub fn closes_idly(&self, handle: u64) -> bool {
        match self.handles.find(handle).as_deref() {
            Some(Handle::Sign(_, draft)) => {
                draft.try_lock().is_ok_and(|draft| draft.bytes().is_empty())
            }
            _ => false,
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// Refuses what must not be written, and what is not there.
    pub fn open(
        &self,
        snapshot: &Snapshot,
        open: &Open,
        register: Register<'_>,
    ) -> Result<Opened, FsError> {
        if self.is_version(open.inode) {
            return self.open_version(snapshot, open);
        }
        if open.inode >= SCRATCH_FIRST {
            return self.open_scratch(open);
        }
        let Some(entry) = snapshot.tree.entry(open.inode) else {
            return match open.mode {
                _ if open.inode != POLICY => Err(FsError::StaleInode),
                // Another process removed it since the name was looked up; and until a draft is in force, there is none for readers.
                Mode::Read if self.drafts.visible_bytes().is_none() => Err(FsError::NotFound),
                Mode::Read => Err(FsError::StaleInode),
                // Who writes means the name, which is theirs.
                Mode::Write | Mode::Append | Mode::Truncate => {
                    self.open_policy_file(open, &Arc::default())
                }
            };
        };
        let writes = open.mode != Mode::Read;
        match &entry.node {
            Node::Directory => Err(FsError::IsADirectory),
            Node::Control(Control::Policy, bytes) => self.open_policy_file(open, bytes),
            Node::Control(Control::Sign, bytes) => self.open_sign(open, (Target::All, bytes)),
            Node::Control(Control::SignImage(digest), _) => {
                let bytes = snapshot.tree.bytes_of(&entry).unwrap_or_default();
                self.open_sign(open, (Target::image(open.inode, digest), &bytes))
            }
            Node::Rendered(View::Status, _) | Node::Later(View::Status, _) if writes => {
                Err(FsError::ReadOnlyStatus)
            }
            _ if writes => Err(FsError::ReadOnlyContent),
            Node::Blob(digest) => {
                let shown = snapshot.tree.attributes_of(&entry).size;
                let (handle, path) = self.open_blob((open.inode, shown), digest, register)?;
                let data = Data::Blob(path);
                Ok(Opened { handle, data })
            }
            Node::File(path) => Ok(self.reading(self.open_plain(open.inode, path)?)),
            Node::Link(_) => Err(FsError::StaleInode),
            Node::Index(_) | Node::Rendered(..) | Node::Later(..) => {
                let bytes = snapshot.tree.bytes_of(&entry).ok_or(FsError::StaleInode)?;
                Ok(self.bound(&bytes))
            }
        }
    }

    fn reading(&self, handle: Handle) -> Opened {
        Opened {
            handle: self.handles.add(handle),
            data: Data::Reading,
        }
    }

    /// Opens bytes for reading. Past the page cache: other handles of the same file may hold other bytes.
    fn bound(&self, bytes: &Arc<[u8]>) -> Opened {
        Opened {
            handle: self.handles.add(Handle::Bytes(Arc::clone(bytes))),
            data: Data::Bound,
        }
    }

    fn direct(&self, handle: Handle) -> Opened {
        Opened {
            handle: self.handles.add(handle),
            data: Data::Direct,
        }
    }

    fn open_policy_file(&self, open: &Open, bytes: &Arc<[u8]>) -> Result<Opened, FsError> {
        let how = match open.mode {
            Mode::Read => return Ok(self.bound(bytes)),
            Mode::Write => PolicyOpen::InPlace,
            Mode::Append => PolicyOpen::Append,
            Mode::Truncate => PolicyOpen::Empty,
        };
        self.admit_policy_change(&open.caller)?;
        let draft = self.open_policy(open.process, how);
        Ok(self.direct(Handle::Policy(draft)))
    }

    fn open_sign(
        &self,
        open: &Open,
        (target, bytes): (Target, &Arc<[u8]>),
    ) -> Result<Opened, FsError> {
        if open.mode == Mode::Read {
            return Ok(self.bound(bytes));
        }
        self.admit(&open.caller)?;
        let draft = Draft::new(open.process, Start::Append(Vec::new()));
        Ok(self.direct(Handle::Sign(Box::new(target), Box::new(Mutex::new(draft)))))
    }

    fn open_scratch(&self, open: &Open) -> Result<Opened, FsError> {
        let file = self
            .scratch
            .find_inode(open.inode)
            .ok_or(FsError::StaleInode)?;
        if open.mode != Mode::Read {
            self.admit(&open.caller)?;
        }
        if open.mode == Mode::Truncate {
            lock(&file).resize(0, times::timestamp(self.inputs.now()))?;
        }
        Ok(Opened {
            handle: self.handles.add(Handle::Scratch(file)),
            data: Data::Scratch,
        })
    }

    /// Reads; the answer may come later, from a worker.
    pub fn read(
        self: &Arc<Self>,
        (inode, handle): (u64, u64),
        range: (u64, usize),
        answer: Answer,
    ) {
        let handle = match self.handles.get(handle) {
            Ok(handle) => handle,
            Err(error) => return answer(Err(error)),
        };
        let read = match &*handle {
            Handle::Content(content) => return self.read_blob(content, range, answer),
            Handle::Bytes(bytes) => Ok(slice(bytes, range)),
            Handle::Version(_, bytes) => Ok(slice(bytes, range)),
            Handle::Plain => self.read_plain(inode, range),
            Handle::Policy(draft) => Ok(slice(lock(draft).bytes(), range)),
            Handle::Sign(..) => self.read_node(inode, range),
            Handle::Scratch(file) => Ok(slice(lock(file).bytes(), range)),
            Handle::Passthrough | Handle::Folder(_) => Err(FsError::UnknownHandle),
        };
        answer(read);
    }

    /// Reads the present bytes of a node.
    fn read_node(&self, inode: u64, range: (u64, usize)) -> Result<Vec<u8>, FsError> {
        let snapshot = self.current();
        let entry = snapshot.tree.entry(inode).ok_or(FsError::StaleInode)?;
        let bytes = snapshot.tree.bytes_of(&entry).ok_or(FsError::StaleInode)?;
        Ok(slice(&bytes, range))
    }

    /// Writes.
    ///
    /// # Errors
    /// Says why the policy or request that is complete with these bytes is refused.
    pub fn write(&self, handle: u64, offset: u64, data: &[u8]) -> Result<(), FsError> {
        let handle = self.handles.get(handle)?;
        match &*handle {
            Handle::Policy(draft) => self.write_policy(draft, offset, data),
            Handle::Sign(target, draft) => self.write_requests(target, draft, data),
            Handle::Scratch(file) => {
                lock(file).write(offset, data, times::timestamp(self.inputs.now()))
            }
            _ => Err(FsError::ReadOnlyContent),
        }
    }

    /// Answers the close of a descriptor, or an fsync, by a process (thread group).
    ///
    /// # Errors
    /// Says why what was written is refused.
    pub fn flush(&self, handle: u64, process: u32) -> Result<(), FsError> {
        let handle = self.handles.get(handle)?;
        match &*handle {
            Handle::Policy(draft) => self.flush_policy(draft, process),
            Handle::Sign(target, draft) => self.flush_requests(target, draft, process),
            _ => Ok(()),
        }
    }

    /// Closes a handle for good.
    pub fn release(&self, inode: u64, handle: u64) {
        let Some(handle) = self.handles.remove(handle) else {
            return;
        };
        if handle.is_blob() {
            self.close_blob(inode);
        }
        match &*handle {
            Handle::Plain => self.close_plain(inode),
            Handle::Policy(draft) => self.release_policy(draft),
            _ => {}
        }
    }
}

fn slice(bytes: &[u8], (offset, size): (u64, usize)) -> Vec<u8> {
    let from = usize::try_from(offset).map_or(bytes.len(), |from| from.min(bytes.len()));
    let to = from.saturating_add(size).min(bytes.len());
    bytes.get(from..to).unwrap_or_default().to_vec()
}
