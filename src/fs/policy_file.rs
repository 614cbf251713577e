//! `trustpolicy.json` as it is written: judged as soon as the document is whole, at the latest when its opener closes it.
//!
//! The operations come in the order that shells and editors send them; shells never see an error from a close.

use std::sync::{Arc, Mutex, Weak};

use super::control::MountPolicy;
use super::document::{Document, classify};
use super::draft::{Draft, Order, Start};
use super::workers::lock;
use super::{Fs, FsError};
use crate::oci::limits::POLICY_BYTES_MAX;

/// Knows the drafts of the policy that are open.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    open: Mutex<Vec<Weak<Mutex<Draft>>>>,
}

impl Drafts {
    fn add(&self, draft: &Arc<Mutex<Draft>>) {
        let mut open = lock(&self.open);
        open.retain(|draft| draft.strong_count() > 0);
        open.push(Arc::downgrade(draft));
    }

    fn live(&self) -> Vec<Arc<Mutex<Draft>>> {
        lock(&self.open).iter().filter_map(Weak::upgrade).collect()
    }

    /// Returns the size of a policy that only exists as a draft: the file is visible while it is being written.
    pub(super) fn visible_bytes(&self) -> Option<u64> {
        // A draft that is being judged is locked; its size is not needed then, only that it is there.
        let live = self.live();
        live.last().map(|draft| {
            draft
                .try_lock()
                .ok()
                .and_then(|draft| draft.staged_bytes())
                .unwrap_or_default()
        })
    }

    /// Forgets all drafts: the name was removed.
    pub(super) fn hide(&self) {
        lock(&self.open).clear();
    }

    /// Returns whether another handle emptied the file and wrote nothing since. Waits for one that is being decided: the
    /// kernel ends a handle after its close has returned, so the next program may be here before the end of the last one's.
    fn is_emptied(&self) -> bool {
        self.live()
            .iter()
            .any(|draft| lock(draft).emptied_at().is_some())
    }
}

/// Tells how the policy is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PolicyOpen {
    /// Created or truncated.
    Empty,
    /// For appending.
    Append,
    /// For writing in place.
    InPlace,
}

impl Fs {
    /// Begins a draft.
    pub(super) fn open_policy(&self, opener: u32, how: PolicyOpen) -> Arc<Mutex<Draft>> {
        let start = match how {
            PolicyOpen::Empty => Start::Empty(lock(&self.control).revision),
            PolicyOpen::Append => Start::Append(self.policy_base()),
            PolicyOpen::InPlace => Start::InPlace(self.policy_base()),
        };
        let draft = Arc::new(Mutex::new(Draft::new(opener, start)));
        self.drafts.add(&draft);
        draft
    }

    /// Returns the bytes that writing in place starts from.
    fn policy_base(&self) -> Vec<u8> {
        if self.drafts.is_emptied() {
            return Vec::new();
        }
        let policy = self.current().basis.policy.clone();
        policy
            .map(|policy| policy.bytes.to_vec())
            .unwrap_or_default()
    }

    /// Writes into a draft, and decides where the document is whole or can no longer become one.
    pub(super) fn write_policy(
        &self,
        draft: &Mutex<Draft>,
        offset: u64,
        data: &[u8],
    ) -> Result<(), FsError> {
        let mut draft = lock(draft);
        let length = draft.bytes().len();
        if let Err(error) = draft.write(offset, data, POLICY_BYTES_MAX) {
            return Err(self.refuse(error));
        }
        if draft.order() == Order::Anywhere || classify(draft.bytes()) == Document::Incomplete {
            return Ok(());
        }
        let answer = self.decide(&mut draft);
        if answer.is_err() {
            // A write that fails wrote nothing: the next one, perhaps another program's, comes at the same offset.
            draft.take_back(length);
            return draft.note(answer);
        }
        answer
    }

    /// Answers a close or fsync: `flusher` is the process that closes.
    pub(super) fn flush_policy(&self, draft: &Mutex<Draft>, flusher: u32) -> Result<(), FsError> {
        let mut draft = lock(draft);
        if !draft.is_written() {
            return Ok(());
        }
        if let Some(answer) = draft.answered() {
            return answer;
        }
        // A child that inherited the handle closes it too; only the process that opened it has said everything.
        if flusher != draft.opener {
            return Ok(());
        }
        self.decide(&mut draft)
    }

    /// Ends a draft. Nobody sees an error any more, so a refusal is only told in `sign` and the status.
    pub(super) fn release_policy(&self, draft: &Mutex<Draft>) {
        let mut draft = lock(draft);
        if draft.is_written() && draft.answered().is_none() {
            if let Err(error) = self.decide(&mut draft) {
                log::info!("{error}");
            }
            return;
        }
        let revision = lock(&self.control).revision;
        if draft.emptied_at() == Some(revision) {
            self.remove_policy();
        }
    }

    /// Judges what a draft holds now.
    fn decide(&self, draft: &mut Draft) -> Result<(), FsError> {
        let answer = match classify(draft.bytes()) {
            Document::Complete => self.put_policy(draft.bytes()),
            Document::Incomplete => Err(self.refuse(FsError::IncompletePolicy)),
            Document::Broken(reason) => Err(self.refuse(FsError::MalformedPolicy { reason })),
        };
        draft.note(answer)
    }

    /// Resizes the policy in force, without any handle.
    pub(super) fn truncate_policy(&self, size: u64) -> Result<(), FsError> {
        if size == 0 {
            self.remove_policy();
            return Ok(());
        }
        let mut draft = Draft::new(0, Start::InPlace(self.policy_base()));
        let revision = lock(&self.control).revision;
        draft.resize(size, POLICY_BYTES_MAX, revision)?;
        self.decide(&mut draft)
    }

    /// Returns whether the mount has a policy of its own.
    pub(super) fn has_written_policy(&self) -> bool {
        matches!(lock(&self.control).policy, MountPolicy::Written(_))
    }
}
