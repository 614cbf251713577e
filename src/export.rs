//! Writing a layout as one tar: the same layout gives the same bytes, wherever it lies and whoever writes it.
//!
//! Members come in a fixed order: oci-layout, index.json, docker's archive index, other extras, blobs by name. Each blob is
//! hashed on its way. Not here: where the bytes go, and what happens to them after an error (`cli`).

mod member;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::layout::{Blob, Extra, ExtraKind, Listing, Source, SourceError};
use crate::oci::{Digest, Hasher, Progress};
use crate::report::SYNTHETIC_NAMES;
use member::{Kind, Member};

/// What a layout without oci-layout is taken for.
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Docker's archive index, which some readers look for before the blobs.
const DOCKER: [&str; 2] = ["manifest.json", "repositories"];
/// Bytes read and written at once.
const PIECE_BYTES: usize = 1 << 20;

/// Is a layout that is written.
pub struct Job<'a> {
    /// Where its files are.
    pub source: &'a dyn Source,
    /// Its index.json.
    pub index: &'a [u8],
    /// Its files, listed after the index was read.
    pub listing: &'a Listing,
}

/// Reports what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Blobs.
    pub blobs: usize,
    /// Extras.
    pub extras: usize,
    /// Bytes of the whole archive.
    pub bytes: u64,
}

/// Says why the archive is not whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The layout cannot be read.
    #[error("reading the layout")]
    Source(#[source] SourceError),
    /// A file of the layout cannot be read.
    #[error("reading {path}")]
    Read {
        /// The path below the root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A blob is not what its name says.
    #[error("blob {digest} does not match its name")]
    Corrupt {
        /// The blob.
        digest: Digest,
    },
    /// A file went or became another meanwhile.
    #[error("{path} changed while it was read")]
    Changed {
        /// The path below the root.
        path: PathBuf,
    },
    /// No archive can hold this name.
    #[error("the name {path:?} is longer than an archive holds outside of UTF-8")]
    Name {
        /// The path below the root, or the target of a symlink.
        path: PathBuf,
    },
    /// The archive cannot be written.
    #[error("writing the archive")]
    Write(#[source] io::Error),
}

/// Writes a layout.
///
/// # Errors
/// Says why the archive is not whole; what was written of it then lacks its end.
pub fn export(
    job: &Job<'_>,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Exported, ExportError> {
    progress.expect(job.listing.blobs.iter().map(|blob| blob.facts.size).sum());
    let mut writer = Writer {
        job,
        out,
        progress,
        exported: Exported::default(),
    };
    writer.layout_files()?;
    writer.extras()?;
    writer.blobs()?;
    writer.put(&[0; 2 * member::BLOCK_BYTES])?;
    Ok(writer.exported)
}

struct Writer<'a> {
    job: &'a Job<'a>,
    out: &'a mut dyn Write,
    progress: &'a dyn Progress,
    exported: Exported,
}

impl Writer<'_> {
    fn layout_files(&mut self) -> Result<(), ExportError> {
        let path = Path::new("oci-layout");
        match self.job.source.file(path).map_err(ExportError::Source)? {
            Some(blob) => self.file(path, &blob)?,
            None => self.file(path, &Blob::Bytes(OCI_LAYOUT.into()))?,
        }
        self.file(Path::new("index.json"), &Blob::Bytes(self.job.index.into()))
    }

    /// Writes extras: docker's index first, what a mount shows under that name itself never.
    fn extras(&mut self) -> Result<(), ExportError> {
        let listing = self.job.listing;
        let is_first = |extra: &&Extra| DOCKER.iter().any(|name| extra.path == Path::new(name));
        let (first, rest): (Vec<_>, Vec<_>) = listing.extras.iter().partition(is_first);
        for extra in first.into_iter().chain(rest) {
            let root = extra.path.iter().next().and_then(|name| name.to_str());
            if root.is_some_and(|name| SYNTHETIC_NAMES.contains(&name)) {
                continue;
            }
            self.exported.extras += 1;
            match &extra.kind {
                ExtraKind::Directory => self.folder(&extra.path)?,
                ExtraKind::Link(target) => {
                    self.header(&extra.path, Kind::Link(target))?;
                }
                ExtraKind::File => {
                    let blob = self.job.source.file(&extra.path);
                    let blob = blob.map_err(ExportError::Source)?;
                    self.file(&extra.path, &blob.ok_or_else(|| changed(&extra.path))?)?;
                }
            }
        }
        Ok(())
    }

    fn blobs(&mut self) -> Result<(), ExportError> {
        self.folder(Path::new("blobs"))?;
        let mut blobs: Vec<(&'static str, String, &Digest)> = Vec::new();
        for blob in self.job.listing.blobs.iter() {
            // Other names below `blobs/` are not listed as blobs.
            if let Some(algorithm) = blob.digest.algorithm() {
                blobs.push((algorithm.name(), blob.digest.hex(), &blob.digest));
            }
        }
        blobs.sort_unstable();
        let mut open = None;
        for (algorithm, hex, digest) in blobs {
            if open != Some(algorithm) {
                self.folder(&Path::new("blobs").join(algorithm))?;
                open = Some(algorithm);
            }
            self.blob(&Path::new("blobs").join(algorithm).join(hex), digest)?;
        }
        Ok(())
    }

    fn blob(&mut self, path: &Path, digest: &Digest) -> Result<(), ExportError> {
        let blob = self.job.source.blob(digest).map_err(ExportError::Source)?;
        let blob = blob.ok_or_else(|| changed(path))?;
        let mut hasher = digest.algorithm().map(Hasher::new);
        self.stream(path, &blob, &mut |piece| {
            if let Some(hasher) = &mut hasher {
                hasher.update(piece);
            }
        })?;
        if hasher.map(Hasher::finish).as_ref() != Some(digest) {
            return Err(ExportError::Corrupt {
                digest: digest.clone(),
            });
        }
        self.exported.blobs += 1;
        Ok(())
    }

    fn file(&mut self, path: &Path, blob: &Blob) -> Result<(), ExportError> {
        self.stream(path, blob, &mut |_| {})
    }

    fn folder(&mut self, path: &Path) -> Result<(), ExportError> {
        self.header(path, Kind::Folder)
    }

    fn header(&mut self, path: &Path, kind: Kind<'_>) -> Result<(), ExportError> {
        let headers = Member { path, kind }.headers();
        let headers = headers.map_err(|path| ExportError::Name { path })?;
        self.put(&headers)
    }

    /// Writes a file piece by piece, and shows each piece to `see`.
    fn stream(
        &mut self,
        path: &Path,
        blob: &Blob,
        see: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ExportError> {
        let size = blob.size();
        self.header(path, Kind::File { size })?;
        let mut buffer = vec![0; PIECE_BYTES.min(usize::try_from(size).unwrap_or(PIECE_BYTES))];
        let mut done: u64 = 0;
        while done < size {
            let count = blob
                .read_at(&mut buffer, done)
                .map_err(|source| ExportError::Read {
                    path: path.to_owned(),
                    source,
                })?;
            let piece = buffer.get(..count).unwrap_or_default();
            if piece.is_empty() {
                return Err(changed(path));
            }
            see(piece);
            self.put(piece)?;
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            done = done.saturating_add(count);
            self.progress.advance(count);
        }
        self.put(member::padding(size))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.out.write_all(bytes).map_err(ExportError::Write)?;
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.exported.bytes = self.exported.bytes.saturating_add(count);
        Ok(())
    }
}

fn changed(path: &Path) -> ExportError {
    ExportError::Changed {
        path: path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
