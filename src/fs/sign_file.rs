//! `sign`: touching it signs every image, or one, with the default key; a line written to it may say more.
//!
//! Runs on the signing worker, one request after the other, so that nothing else waits for it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::draft::Draft;
use super::refresh::WRITER_GRACE;
use super::request::Asking;
use super::workers::lock;
use super::{Fs, FsError, Snapshot};
use crate::audit::Selection;
use crate::layout::{HashError, SourceError};
use crate::notary::{ChainError, SignError};
use crate::oci::{Digest, Progress, causes};
use crate::signing::{self, Job, SigningError, Threads};
use crate::tree::{Control, Node};

/// How long signing waits for hashing.
const HASHING_LIMIT: Duration = Duration::from_secs(10);
/// How often a layout that is being written is looked at again.
const WRITING: Duration = Duration::from_millis(20);
/// The most bytes written to `sign` on one handle.
const REQUEST_BYTES_MAX: u64 = 64 << 10;

/// Tells which `sign` was touched or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The root's: every image.
    All,
    /// One image's.
    Image {
        /// The inode of its `sign`, made of path and digest.
        inode: u64,
        /// The image.
        digest: Digest,
    },
}

impl Target {
    pub(super) fn image(inode: u64, digest: &Digest) -> Self {
        Self::Image {
            inode,
            digest: digest.clone(),
        }
    }

    /// Returns what is to be signed, if the `sign` still is that of the image that it was.
    fn selection(&self, snapshot: &Snapshot) -> Result<Option<Selection>, FsError> {
        let Self::Image { inode, digest } = self else {
            return Ok(None);
        };
        let entry = snapshot.tree.entry(*inode).ok_or(FsError::StaleInode)?;
        match &entry.node {
            Node::Control(Control::SignImage(present), _) if present == digest => {
                Ok(Some(Selection::Digest(digest.clone())))
            }
            _ => Err(FsError::StaleInode),
        }
    }
}

/// Stops hashing after a while.
struct Limited {
    until: Option<Instant>,
}

impl Progress for Limited {
    fn expect(&self, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn cancelled(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }
}

impl Fs {
    /// Signs what a `sign` is for with the default key.
    pub(super) fn sign_touched(&self, snapshot: &Snapshot, target: &Target) -> Result<(), FsError> {
        self.sign(snapshot, target, Asking::touch())
    }

    fn sign(&self, snapshot: &Snapshot, target: &Target, asking: Asking) -> Result<(), FsError> {
        match self.try_sign(snapshot, target, asking) {
            Ok(wrote) => {
                self.note_signed(wrote);
                Ok(())
            }
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// Returns whether anything was written.
    fn try_sign(
        &self,
        snapshot: &Snapshot,
        target: &Target,
        mut asking: Asking,
    ) -> Result<bool, FsError> {
        let store = self.store.as_ref().ok_or(FsError::ReadOnlyLayout)?;
        let written = self.once_written(snapshot);
        let snapshot = written.as_deref().unwrap_or(snapshot);
        if let Some(selection) = target.selection(snapshot)? {
            if asking.request.images != Selection::All {
                let reason = "tag= has no place in the request for one image".to_owned();
                return Err(FsError::MalformedRequest { reason });
            }
            asking.request.images = selection;
        }
        let signer = self
            .inputs
            .signer(asking.key.as_deref())
            .map_err(|error| FsError::NoKey {
                reason: causes(&error),
            })?;
        asking.request.format = match asking.format {
            Some(format) => format,
            None => self
                .inputs
                .signature_format()
                .map_err(|error| FsError::NoKey {
                    reason: causes(&error),
                })?,
        };
        let progress = Limited {
            until: Instant::now().checked_add(HASHING_LIMIT),
        };
        let job = Job {
            store: &**store,
            survey: &snapshot.basis.survey,
            signer: &*signer,
            request: &asking.request,
            hashes: &self.hashes,
            threads: Threads::Many,
        };
        let signed = signing::sign(&job, self.inputs.now(), &progress);
        let signed = signed.map_err(refusal)?;
        self.counters
            .signed(signed.added.len(), signed.committed.fsyncs);
        log::info!(
            "signed {}, left {} alone",
            signed.added.len(),
            signed.left_alone.len()
        );
        Ok(signed.committed.fsyncs > 0)
    }

    /// Waits for one who is writing index.json in place, and returns what it is then: what is half written is no reason to refuse.
    fn once_written(&self, snapshot: &Snapshot) -> Option<Arc<Snapshot>> {
        snapshot.basis.recheck_at?;
        let begun = Instant::now();
        loop {
            std::thread::sleep(WRITING);
            let now = self.fresh();
            let is_over = begun.elapsed() >= WRITER_GRACE || self.is_stopping();
            if now.basis.recheck_at.is_none() || is_over {
                return Some(now);
            }
        }
    }

    /// Takes written bytes, and acts on each line that is complete.
    pub(super) fn write_requests(
        &self,
        target: &Target,
        draft: &Mutex<Draft>,
        data: &[u8],
    ) -> Result<(), FsError> {
        let mut draft = lock(draft);
        if let Err(error) = draft.write(0, data, REQUEST_BYTES_MAX) {
            return Err(self.refuse(error));
        }
        let mut bytes = draft.take_bytes();
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        let rest = bytes.split_off(whole);
        draft.write(0, &rest, REQUEST_BYTES_MAX)?;
        self.act_on(target, &bytes)
    }

    /// Acts on a last line without a line end, when the process that opened the handle closes it.
    pub(super) fn flush_requests(
        &self,
        target: &Target,
        draft: &Mutex<Draft>,
        flusher: u32,
    ) -> Result<(), FsError> {
        let mut draft = lock(draft);
        if flusher != draft.opener {
            return Ok(());
        }
        let bytes = draft.take_bytes();
        self.act_on(target, &bytes)
    }

    fn act_on(&self, target: &Target, bytes: &[u8]) -> Result<(), FsError> {
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let asking = Asking::parse(&line)
                .map_err(|reason| self.refuse(FsError::MalformedRequest { reason }))?;
            if let Some(asking) = asking {
                self.sign(&self.fresh(), target, asking)?;
            }
        }
        Ok(())
    }
}

/// Sorts why nothing was signed.
fn refusal(error: SigningError) -> FsError {
    let reason = causes(&error);
    match error {
        SigningError::Nothing => FsError::NothingToSign,
        SigningError::Corrupt(HashError::Cancelled { .. }) => FsError::StillHashing,
        SigningError::Audit(_)
        | SigningError::Layout { .. }
        | SigningError::Ambiguous { .. }
        | SigningError::Missing { .. }
        | SigningError::Corrupt(_)
        | SigningError::Manifest { .. } => FsError::Unsignable { reason },
        SigningError::Seal(seal) => match seal {
            SignError::Key { .. } | SignError::Mismatch => FsError::NoKey { reason },
            SignError::Chain(ChainError::NotValidAt { .. }) => FsError::KeyExpired { reason },
            SignError::Chain(_) => FsError::KeyRejected { reason },
            SignError::Terms { .. } => FsError::MalformedRequest { reason },
            SignError::Crypto { .. } | SignError::SelfCheck => FsError::Unsignable { reason },
        },
        SigningError::Store(source) => match source {
            SourceError::ReadOnly { .. } => FsError::ReadOnlyLayout,
            SourceError::Locked { .. } => FsError::Locked { reason },
            source => FsError::Write {
                reason,
                source: Arc::new(source),
            },
        },
    }
}
