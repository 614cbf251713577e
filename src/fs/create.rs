//! Creating, removing and renaming names: the policy and scratch files in the root, nothing else.

use std::ffi::OsStr;

use super::handles::Handle;
use super::names::{POLICY_NAME, check_name};
use super::open::{Data, Mode, Opened};
use super::policy_file::PolicyOpen;
use super::scratch::is_scratch_name;
use super::workers::lock;
use super::{Caller, Fs, FsError, Snapshot, Stat};
use crate::report::SYNTHETIC_NAMES;
use crate::tree::inode::{POLICY, ROOT};
use crate::tree::{Node, View, times};

/// Is a request to create a file.
#[derive(Debug, Clone, Copy)]
pub struct Create<'a> {
    /// The folder.
    pub folder: u64,
    /// The name.
    pub name: &'a OsStr,
    /// Permission bits.
    pub mode: u16,
    /// What for.
    pub open: Mode,
    /// Whether an existing file is refused.
    pub existing: Existing,
    /// Who.
    pub caller: Caller,
    /// The caller's process (thread group).
    pub process: u32,
}

/// Tells what happens where a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is used, or replaced.
    Take,
    /// It is refused.
    Refuse,
}

/// Is a request to rename.
#[derive(Debug, Clone, Copy)]
pub struct Rename<'a> {
    /// The folder and name now.
    pub from: (u64, &'a OsStr),
    /// The folder and name then.
    pub to: (u64, &'a OsStr),
    /// What happens where the new name is taken.
    pub existing: Existing,
    /// Who.
    pub caller: Caller,
}

/// Sorts the names of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Policy,
    Control,
    Content,
    Scratch,
    Other,
}

impl Fs {
    /// Creates a file and opens it.
    ///
    /// # Errors
    /// Refuses every name but the policy's and those of scratch files.
    pub fn create(
        &self,
        snapshot: &Snapshot,
        create: &Create<'_>,
    ) -> Result<(Stat, Opened), FsError> {
        match self.sort(snapshot, create.folder, create.name)? {
            Sort::Policy => self.create_policy(snapshot, create),
            Sort::Scratch => self.create_scratch(create),
            Sort::Control => Err(FsError::ControlName),
            Sort::Content | Sort::Other => Err(FsError::ReadOnlyContent),
        }
    }

    fn create_policy(
        &self,
        snapshot: &Snapshot,
        create: &Create<'_>,
    ) -> Result<(Stat, Opened), FsError> {
        self.admit_policy_change(&create.caller)?;
        let exists = snapshot.tree.entry(POLICY).is_some();
        if exists && create.existing == Existing::Refuse {
            return Err(FsError::Exists);
        }
        let how = match create.open {
            Mode::Truncate => PolicyOpen::Empty,
            _ if !exists => PolicyOpen::Empty,
            Mode::Append => PolicyOpen::Append,
            Mode::Read | Mode::Write => PolicyOpen::InPlace,
        };
        let draft = self.open_policy(create.process, how);
        let handle = self.handles.add(Handle::Policy(draft));
        let stat = self.getattr(snapshot, POLICY, Some(handle))?;
        let data = Data::Direct;
        Ok((stat, Opened { handle, data }))
    }

    fn create_scratch(&self, create: &Create<'_>) -> Result<(Stat, Opened), FsError> {
        self.admit(&create.caller)?;
        let present = self.scratch.find(create.name);
        if present.is_some() && create.existing == Existing::Refuse {
            return Err(FsError::Exists);
        }
        let now = times::timestamp(self.inputs.now());
        let file = match present {
            Some(file) => file,
            None => self
                .scratch
                .create(create.name, create.mode & 0o777, create.caller, now)?,
        };
        if create.open == Mode::Truncate {
            lock(&file).resize(0, now)?;
        }
        let stat = lock(&file).stat();
        let handle = self.handles.add(Handle::Scratch(file));
        let data = Data::Scratch;
        Ok((stat, Opened { handle, data }))
    }

    /// Removes a name.
    ///
    /// # Errors
    /// Refuses every name but the policy's and those of scratch files.
    pub fn unlink(
        &self,
        snapshot: &Snapshot,
        (folder, name): (u64, &OsStr),
        caller: Caller,
    ) -> Result<(), FsError> {
        match self.sort(snapshot, folder, name)? {
            Sort::Policy => {
                self.admit_policy_change(&caller)?;
                let drafted = self.drafts.visible_bytes().is_some();
                if snapshot.tree.entry(POLICY).is_none() && !drafted {
                    return Err(FsError::NotFound);
                }
                self.drafts.hide();
                self.remove_policy();
                Ok(())
            }
            Sort::Scratch => {
                self.admit(&caller)?;
                self.scratch.remove(name).map(drop).ok_or(FsError::NotFound)
            }
            Sort::Control => Err(FsError::ControlName),
            Sort::Content => Err(FsError::ReadOnlyContent),
            Sort::Other => Err(FsError::NotFound),
        }
    }

    /// Renames.
    ///
    /// # Errors
    /// Refuses every name but the policy's and those of scratch files; a policy renamed into place is judged first.
    pub fn rename(&self, snapshot: &Snapshot, rename: &Rename<'_>) -> Result<(), FsError> {
        let from = self.sort(snapshot, rename.from.0, rename.from.1)?;
        let to = self.sort(snapshot, rename.to.0, rename.to.1)?;
        let taken = self.lookup(snapshot, rename.to.0, rename.to.1).is_ok();
        if from == Sort::Control || to == Sort::Control {
            return Err(FsError::ControlName);
        }
        if taken && rename.existing == Existing::Refuse {
            return Err(FsError::Exists);
        }
        match (from, to) {
            (Sort::Scratch, Sort::Scratch) => {
                self.admit(&rename.caller)?;
                self.scratch.rename(rename.from.1, rename.to.1)
            }
            (Sort::Scratch, Sort::Policy) => self.rename_into_policy(rename),
            (Sort::Policy, Sort::Policy) => Ok(()),
            (Sort::Policy, Sort::Scratch) => self.rename_policy_away(snapshot, rename),
            (Sort::Other, _) => Err(FsError::NotFound),
            _ => Err(FsError::ReadOnlyContent),
        }
    }

    fn rename_into_policy(&self, rename: &Rename<'_>) -> Result<(), FsError> {
        self.admit_policy_change(&rename.caller)?;
        let file = self.scratch.find(rename.from.1).ok_or(FsError::NotFound)?;
        let bytes = lock(&file).bytes().to_vec();
        self.put_policy(&bytes)?;
        self.scratch.remove(rename.from.1);
        Ok(())
    }

    fn rename_policy_away(&self, snapshot: &Snapshot, rename: &Rename<'_>) -> Result<(), FsError> {
        self.admit_policy_change(&rename.caller)?;
        let policy = snapshot.basis.policy.as_ref().ok_or(FsError::NotFound)?;
        let now = times::timestamp(self.inputs.now());
        let file = self
            .scratch
            .create(rename.to.1, 0o644, rename.caller, now)?;
        lock(&file).write(0, &policy.bytes, now)?;
        self.drafts.hide();
        self.remove_policy();
        Ok(())
    }

    /// Refuses to make a folder, link or special file.
    ///
    /// # Errors
    /// Always.
    pub fn make_other(
        &self,
        snapshot: &Snapshot,
        folder: u64,
        name: &OsStr,
    ) -> Result<Stat, FsError> {
        if self.lookup(snapshot, folder, name).is_ok() {
            return Err(FsError::Exists);
        }
        match self.sort(snapshot, folder, name)? {
            Sort::Policy | Sort::Control => Err(FsError::ControlName),
            Sort::Content | Sort::Scratch | Sort::Other => Err(FsError::ReadOnlyContent),
        }
    }

    /// Refuses to remove a folder.
    ///
    /// # Errors
    /// Always.
    pub fn rmdir(&self, snapshot: &Snapshot, folder: u64, name: &OsStr) -> Result<(), FsError> {
        self.lookup(snapshot, folder, name)?;
        match self.sort(snapshot, folder, name)? {
            Sort::Policy | Sort::Control => Err(FsError::ControlName),
            Sort::Content | Sort::Scratch | Sort::Other => Err(FsError::ReadOnlyContent),
        }
    }

    fn sort(&self, snapshot: &Snapshot, folder: u64, name: &OsStr) -> Result<Sort, FsError> {
        check_name(name)?;
        if folder != ROOT {
            let entry = snapshot.tree.child(folder, name);
            return Ok(match entry.map(|entry| entry.node) {
                Some(
                    Node::Control(..)
                    | Node::Rendered(View::Status, _)
                    | Node::Later(View::Status, _),
                ) => Sort::Control,
                Some(_) => Sort::Content,
                None => Sort::Other,
            });
        }
        if name == POLICY_NAME {
            return Ok(Sort::Policy);
        }
        if SYNTHETIC_NAMES.iter().any(|known| name == *known) {
            return Ok(Sort::Control);
        }
        if snapshot.tree.child(ROOT, name).is_some() {
            return Ok(Sort::Content);
        }
        if is_scratch_name(name) {
            return Ok(Sort::Scratch);
        }
        Ok(Sort::Other)
    }
}
