//! An archive as it was indexed: an open file, the state it was in, and what its members make up.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::index::{BELOW_ADVICE, Index, Node, Placed};
use super::members::SHA256_FOLDER;
use super::scan::{ScanError, scan};
use crate::files::{self, OpenFile};
use crate::layout::compressed::{self, Form, Input};
use crate::layout::directory::blob_path;
use crate::layout::{Blob, FileFacts, Identity, SourceError, Timestamp};
use crate::oci::{Digest, Progress};

/// After this long the times of a file just written prove a later state unchanged.
const SETTLING: Duration = Duration::from_millis(110);

/// Is an indexed archive.
#[derive(Debug)]
pub(super) struct Archive {
    /// The file with the members: the archive, or what a compressed one was unpacked to.
    pub(super) file: Arc<OwnedFd>,
    identity: Identity,
    /// The state of the archive itself.
    pub(super) outer: Identity,
    /// Whether an equal state later proves the same headers: its times had settled, and nobody had it open or mapped for writing.
    pub(super) settled: bool,
    pub(super) index: Index,
    /// User and group of this process, whose every member is shown to be.
    owner: (u32, u32),
}

impl Archive {
    /// Indexes an open file, which is unpacked first where it is compressed.
    ///
    /// # Errors
    /// Says which entry is not understood by all readers alike, and where it is.
    pub(super) fn load(
        file: OpenFile,
        typed: &Path,
        progress: &dyn Progress,
    ) -> Result<Self, SourceError> {
        let form = Form::of_file(&file).map_err(files::FileError::io("reading", typed))?;
        if form != Form::Plain && !Timestamp::from(file.stat.changed).is_settled(Timestamp::now()) {
            // Unpacking it again for the next look would take longer.
            std::thread::sleep(SETTLING);
        }
        let outer = Identity::from(&file.stat_now()?);
        let is_old = outer.changed.is_settled(Timestamp::now());
        let lease = file.lease();
        let settled = || is_old && files::nobody_wrote(&lease);
        if form == Form::Plain {
            let mut archive = Self::index(file, None, typed)?;
            archive.settled = settled();
            return Ok(archive);
        }
        progress.expect(file.stat.size);
        let mut reader = compressed::reader(&file);
        let unpacked = compressed::spool(&mut Input::new(&mut reader), typed, progress)?;
        if Identity::from(&file.stat_now()?) != outer {
            return Err(SourceError::Archive {
                path: typed.to_owned(),
                problem: "it changed while it was unpacked".to_owned(),
                advice: "try again when its writer is done",
            });
        }
        let mut archive = Self::index(unpacked, Some(outer), typed)?;
        archive.settled = settled();
        Ok(archive)
    }

    /// Indexes a tar that nobody else can write; `outer` is the state of the compressed file that it was in.
    ///
    /// # Errors
    /// As [`Archive::load`].
    pub(super) fn index(
        file: OpenFile,
        outer: Option<Identity>,
        typed: &Path,
    ) -> Result<Self, SourceError> {
        let refuse = |problem, advice| SourceError::Archive {
            path: typed.to_owned(),
            problem,
            advice,
        };
        let mut index = Index::default();
        scan(&file, &mut |member| index.add(&file, member)).map_err(|error| match error {
            ScanError::Refused { problem, advice } => refuse(problem, advice),
            ScanError::Read(source) => files::FileError::io("reading", typed)(source).into(),
        })?;
        index
            .finish()
            .map_err(|problem| refuse(problem, BELOW_ADVICE))?;
        if index.node(Path::new("index.json")).is_none() {
            return Err(SourceError::NotALayout {
                path: typed.to_owned(),
            });
        }
        let identity = Identity::from(&file.stat);
        Ok(Self {
            file: Arc::new(file.file),
            identity,
            outer: outer.unwrap_or(identity),
            settled: true,
            index,
            owner: (files::effective_uid(), files::effective_gid()),
        })
    }

    /// Returns the blob that is stored under a digest, or `None` where nothing is.
    pub(super) fn stored(&self, digest: &Digest) -> Result<Option<Blob>, SourceError> {
        // Each of a hundred thousand is asked for a few times: a path of it is made only where it has to be.
        if let Digest::Sha256(name) = digest
            && let Some(placed) = self.index.members.file(SHA256_FOLDER, *name)
        {
            return self.blob_of(&placed.node, || blob_path(digest));
        }
        match blob_path(digest) {
            Some(path) => self.blob(&path),
            None => Ok(None),
        }
    }

    /// Returns the file at a path below the root, or `None` where nothing has it.
    pub(super) fn blob(&self, path: &Path) -> Result<Option<Blob>, SourceError> {
        match self.index.node(path) {
            None => Ok(None),
            Some(placed) => self.blob_of(&placed.node, || Some(path.to_owned())),
        }
    }

    fn blob_of(
        &self,
        node: &Node,
        path: impl Fn() -> Option<PathBuf>,
    ) -> Result<Option<Blob>, SourceError> {
        match node {
            Node::File { offset, size } => Ok(Some(Blob::File {
                file: self.file.clone(),
                offset: *offset,
                size: *size,
                identity: self.identity,
            })),
            Node::Folder | Node::Link(_) | Node::Special => Err(SourceError::NotRegular {
                path: path().unwrap_or_default(),
            }),
        }
    }

    /// Returns the facts of a member: the times are the member's and the archive's, owner and mode are this process's.
    pub(super) fn facts(&self, placed: &Placed) -> FileFacts {
        let (size, mode) = match &placed.node {
            Node::File { size, .. } => (*size, 0o444),
            Node::Link(_) => (0, 0o777),
            Node::Folder | Node::Special => (0, 0o555),
        };
        FileFacts {
            uid: self.owner.0,
            gid: self.owner.1,
            mode,
            size,
            modified: Timestamp {
                seconds: placed.modified.0,
                nanoseconds: placed.modified.1,
            },
            changed: self.outer.changed,
        }
    }
}
