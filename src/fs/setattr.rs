//! Changing attributes: a time change to "now" on `sign` signs; on control files everything else succeeds without effect.

use super::handles::Handle;
use super::sign_file::Target;
use super::workers::lock;
use super::{Caller, Fs, FsError, Snapshot, Stat};
use crate::layout::Timestamp;
use crate::oci::limits::POLICY_BYTES_MAX;
use crate::tree::inode::{POLICY, SCRATCH_FIRST};
use crate::tree::{Control, Entry, Node, View, times};

/// Is a time to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTime {
    /// The present time: what a plain touch asks for.
    Now,
    /// A given time: what copying and restoring ask for.
    At(Timestamp),
}

/// Is a request to change attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The inode.
    pub inode: u64,
    /// The handle, where it is asked through one.
    pub handle: Option<u64>,
    /// The new size.
    pub size: Option<u64>,
    /// The new permission bits.
    pub mode: Option<u16>,
    /// The new modification time.
    pub modified: Option<NewTime>,
    /// Who.
    pub caller: Caller,
}

impl Fs {
    /// Returns whether a change asks for signing.
    #[must_use]
    pub fn is_touch(&self, change: &Change) -> bool {
        change.modified == Some(NewTime::Now) && self.is_sign(change.inode)
    }

    /// Returns whether an inode is a `sign`, of the layout or of one image.
    #[must_use]
    pub fn is_sign(&self, inode: u64) -> bool {
        let snapshot = self.current();
        let node = snapshot.tree.entry(inode).map(|entry| entry.node);
        matches!(
            node,
            Some(Node::Control(Control::Sign | Control::SignImage(_), _))
        )
    }

    /// Returns whether an inode is a status, of the layout or of one image.
    #[must_use]
    pub fn is_status(&self, inode: u64) -> bool {
        let snapshot = self.current();
        let entry = snapshot.tree.entry(self.versions.inode(inode));
        let node = entry.map(|entry| entry.node);
        matches!(
            node,
            Some(Node::Rendered(View::Status, _) | Node::Later(View::Status, _))
        )
    }

    /// Changes attributes, which for `sign` may mean to sign. What that did shows at the next look, which the kernel takes each time.
    ///
    /// # Errors
    /// Refuses changes of content and statuses, and says why nothing was signed.
    pub fn setattr(&self, snapshot: &Snapshot, change: &Change) -> Result<Stat, FsError> {
        let inode = self.versions.inode(change.inode);
        if inode >= SCRATCH_FIRST {
            return self.change_scratch(change);
        }
        if change.inode == POLICY {
            self.change_policy(snapshot, change)?;
            if change.size == Some(0) && change.handle.is_none() {
                return Ok(self.emptied_policy());
            }
        } else {
            let entry = snapshot.tree.entry(inode).ok_or(FsError::StaleInode)?;
            match &entry.node {
                Node::Control(..) => self.change_sign(snapshot, &entry, change)?,
                Node::Rendered(View::Status, _) | Node::Later(View::Status, _) => {
                    return Err(FsError::ReadOnlyStatus);
                }
                _ => return Err(FsError::ReadOnlyContent),
            }
        }
        // No look here: who touches reads nothing from the answer.
        self.getattr(&self.current(), change.inode, change.handle)
    }

    fn change_sign(
        &self,
        snapshot: &Snapshot,
        entry: &Entry,
        change: &Change,
    ) -> Result<(), FsError> {
        self.admit(&change.caller)?;
        if change.modified != Some(NewTime::Now) {
            return Ok(());
        }
        // What was opened for writing is signed, or nothing is.
        let handle = change.handle.and_then(|number| self.handles.find(number));
        if let Some(Handle::Sign(target, _)) = handle.as_deref() {
            return self.sign_touched(snapshot, target);
        }
        let target = match &entry.node {
            Node::Control(Control::SignImage(digest), _) => Target::image(entry.inode, digest),
            _ => Target::All,
        };
        self.sign_touched(snapshot, &target)
    }

    fn change_policy(&self, snapshot: &Snapshot, change: &Change) -> Result<(), FsError> {
        self.admit_policy_change(&change.caller)?;
        let Some(size) = change.size else {
            return Ok(());
        };
        let handle = change.handle.and_then(|number| self.handles.find(number));
        match handle.as_deref() {
            Some(Handle::Policy(draft)) => {
                let revision = lock(&self.control).revision;
                lock(draft).resize(size, POLICY_BYTES_MAX, revision)
            }
            // It went since the name was looked up.
            _ if self.getattr(snapshot, POLICY, None).is_err() => Err(FsError::NotFound),
            _ => self.truncate_policy(size),
        }
    }

    fn change_scratch(&self, change: &Change) -> Result<Stat, FsError> {
        self.admit(&change.caller)?;
        let handle = change.handle.and_then(|number| self.handles.find(number));
        let file = match handle.as_deref() {
            Some(Handle::Scratch(file)) => Some(std::sync::Arc::clone(file)),
            _ => self.scratch.find_inode(change.inode),
        };
        let file = file.ok_or(FsError::StaleInode)?;
        let mut file = lock(&file);
        let now = times::timestamp(self.inputs.now());
        if let Some(size) = change.size {
            file.resize(size, now)?;
        }
        if let Some(mode) = change.mode {
            file.set_mode(mode);
        }
        match change.modified {
            Some(NewTime::Now) => file.set_modified(now),
            Some(NewTime::At(time)) => file.set_modified(time),
            None => {}
        }
        Ok(file.stat())
    }
}
