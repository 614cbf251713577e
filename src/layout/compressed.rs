//! Compressed archives, known by their first bytes: unpacked once, to a file that has no name and so vanishes with the process.
//!
//! Members of gzip (RFC 1952) and frames of zstd (RFC 8878) may follow each other, as both tools write and read them; their
//! checksums are compared. What follows them is refused, but for the zeros that tapes and tools fill up gzip with.

mod gzip;
mod header;
mod input;
mod room;
mod zstd;

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

pub(super) use input::Input;

use super::SourceError;
use crate::files::{self, FileError, OpenFile};
use crate::oci::Progress;
use room::Room;

/// Bytes that tell the forms apart: the first ones, and whether they are a header too.
const MAGIC_BYTES: usize = header::HEADER_BYTES;

/// Tells how an archive is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Plain,
    Gzip,
    Zstd,
    /// Compressed data to some readers, a tar to others.
    Both,
    /// In a form that is not read here: its name, and what unpacks it.
    Foreign(&'static str, &'static str),
}

impl Form {
    /// Returns the form of a file.
    ///
    /// # Errors
    /// Returns what pread returns.
    pub(super) fn of_file(file: &OpenFile) -> io::Result<Self> {
        let mut start = [0; MAGIC_BYTES];
        let count = files::read_at(file.file.as_fd(), &mut start, 0)?;
        Ok(Self::of(start.get(..count).unwrap_or_default()))
    }

    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..]
            | [0x28, 0xb5, 0x2f, 0xfd, ..]
            | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]
                if header::is_of_tar(start) =>
            {
                Self::Both
            }
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Foreign(
                "xz",
                "unpack it first: xz -dk FILE.tar.xz, and name FILE.tar",
            ),
            [b'B', b'Z', b'h', b'0'..=b'9', ..] => Self::Foreign(
                "bzip2",
                "unpack it first: bzip2 -dk FILE.tar.bz2, and name FILE.tar",
            ),
            _ => Self::Plain,
        }
    }
}

/// Says why something was not unpacked.
#[derive(Debug)]
pub(super) enum UnpackError {
    /// What is read cannot be used: why, and what to do.
    Refused(String, &'static str),
    /// It cannot be read.
    Read(io::Error),
    /// There is no room for it.
    Write(io::Error),
    /// The caller said so.
    Cancelled,
}

/// What to do about data that is not what was written.
const COPY_AGAIN: &str = "copy or download it again: this one is not whole";

impl UnpackError {
    fn refused(problem: impl Into<String>, advice: &'static str) -> Self {
        Self::Refused(problem.into(), advice)
    }

    /// Tells an error of reading from one of the data.
    fn of_decoder(error: io::Error) -> Self {
        match error.kind() {
            _ if error.raw_os_error().is_some() => Self::Read(error),
            io::ErrorKind::UnexpectedEof => Self::cut_off(),
            _ => Self::damaged(&error.to_string()),
        }
    }

    fn cut_off() -> Self {
        Self::refused("the compressed data ends early", COPY_AGAIN)
    }

    fn damaged(how: &str) -> Self {
        Self::refused(format!("the compressed data is damaged: {how}"), COPY_AGAIN)
    }
}

/// Returns a reader of a whole file that leaves the descriptor's position alone.
pub(super) fn reader(file: &OpenFile) -> impl Read {
    ReadAt { file, position: 0 }
}

struct ReadAt<'a> {
    file: &'a OpenFile,
    position: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = files::read_at(self.file.file.as_fd(), buffer, self.position)?;
        self.position = self
            .position
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

/// Writes what is read to a file without a name, unpacked where it is compressed, and returns that file.
///
/// # Errors
/// Refuses what is cut off, damaged, followed by something else, or unpacks to too much; says where there is no room.
pub(super) fn spool(
    input: &mut Input<'_>,
    typed: &Path,
    progress: &dyn Progress,
) -> Result<OpenFile, SourceError> {
    let folder = files::spool_folder();
    let fail = |error| match error {
        UnpackError::Refused(problem, advice) => SourceError::Archive {
            path: typed.to_owned(),
            problem,
            advice,
        },
        UnpackError::Read(source) => FileError::io("reading", typed)(source).into(),
        UnpackError::Write(source) => FileError::io(UNPACKING, &folder)(source).into(),
        UnpackError::Cancelled => {
            FileError::io(UNPACKING, &folder)(io::Error::from(io::ErrorKind::Interrupted)).into()
        }
    };
    let mut room =
        Room::new(&folder, progress).map_err(|source| fail(UnpackError::Write(source)))?;
    fill(input, &mut room).map_err(fail)?;
    Ok(room.finish(typed)?)
}

/// The operation in errors about the room for what is unpacked.
pub const UNPACKING: &str = "unpacking into";

fn fill(input: &mut Input<'_>, room: &mut Room<'_>) -> Result<(), UnpackError> {
    let start = input.ahead(MAGIC_BYTES).map_err(UnpackError::Read)?;
    match Form::of(start) {
        Form::Plain => copy(input, room),
        Form::Gzip => gzip::unpack(input, room),
        Form::Zstd => zstd::unpack(input, room),
        Form::Both => Err(UnpackError::refused(
            "it is a tar and compressed data at once: readers differ in which they take it for",
            "do not use it: nothing writes such a file by accident",
        )),
        Form::Foreign(name, advice) => Err(UnpackError::refused(
            format!("it is compressed with {name}: only gzip and zstd are read"),
            advice,
        )),
    }
}

fn copy(input: &mut Input<'_>, room: &mut Room<'_>) -> Result<(), UnpackError> {
    loop {
        let bytes = input.ahead(1).map_err(UnpackError::Read)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let count = bytes.len();
        room.add_plain(bytes)?;
        input.skip(count);
    }
}

#[cfg(test)]
mod tests;
