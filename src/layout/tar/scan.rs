//! Reading all headers of an archive by seeking. Content is neither read nor copied.

use std::os::fd::AsFd;

use super::header::{BLOCK_BYTES, Header, Type};
use super::pax::Extended;
use super::problem::{INCOMPLETE, Problem, SMALLER, shown};
use crate::files::{self, OpenFile};
use crate::oci::limits::{PAX_BYTES_MAX, TAR_ENTRIES_MAX};

/// Bytes of a member's name and of a link's target: what a path may have (`PATH_MAX` less its zero byte, limits.h of Linux).
const NAME_BYTES_MAX: usize = 4095;
/// Bytes of one component of a name: what a file system holds (`NAME_MAX`). No reader can extract more.
const COMPONENT_BYTES_MAX: usize = 255;
/// Components of a member's name.
const DEPTH_MAX: usize = 128;
/// Components that cost nothing beside the name: those of a blob in a folder of its own.
const DEPTH_FREE: usize = 4;
/// Bytes of all names together.
const NAMES_BYTES_MAX: usize = 256 << 20;
/// The largest size that twelve octal digits with a terminator hold; above it a PAX header says the size.
const OCTAL_SIZE_MAX: u64 = 0o77_777_777_777;
/// Bytes read at once where headers lie close together.
const WINDOW_BYTES: usize = 64 << 10;
/// Bytes read at once behind a member that was skipped: a header and, mostly, what belongs to it.
const WINDOW_BYTES_MIN: usize = 2 << 10;

/// Is what a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A file, and where its bytes are.
    File { offset: u64, size: u64 },
    /// A folder.
    Folder,
    /// Another name of an earlier file.
    HardLink(Vec<u8>),
    /// A symlink and its target.
    SymLink(Vec<u8>),
    /// A fifo.
    Special,
}

/// Is one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name as stored.
    pub(super) name: Vec<u8>,
    /// What it is.
    pub(super) content: Content,
    /// Its modification time: seconds and nanoseconds.
    pub(super) modified: (i64, u32),
    /// Where its header is.
    pub(super) at: u64,
}

impl Member {
    /// Returns what the names cost: its own, its target's, and those of the folders that only it implies.
    pub(super) fn names_bytes(&self) -> usize {
        let target = match &self.content {
            Content::HardLink(target) | Content::SymLink(target) => target.len(),
            Content::File { .. } | Content::Folder | Content::Special => 0,
        };
        let depth = depth(&self.name).saturating_sub(DEPTH_FREE).max(1);
        self.name.len().saturating_mul(depth).saturating_add(target)
    }
}

fn components(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| *byte == b'/')
}

/// Returns how many components a name has.
fn depth(name: &[u8]) -> usize {
    let slashes = name.iter().filter(|byte| **byte == b'/').count();
    slashes.saturating_add(1)
}

/// Says why an archive cannot be indexed.
#[derive(Debug)]
pub(super) enum ScanError {
    /// It is not an archive that all readers understand alike: which entry, where and why; what to do.
    Refused {
        problem: String,
        advice: &'static str,
    },
    /// Reading failed.
    Read(std::io::Error),
}

/// Is what takes the members in their order.
pub(super) type Take<'a> = &'a mut dyn FnMut(Member) -> Result<(), Problem>;

/// Hands the members of an archive over in their order.
pub(super) fn scan(file: &OpenFile, take: Take<'_>) -> Result<(), ScanError> {
    let mut scanner = Scanner {
        file,
        position: 0,
        header_at: 0,
        name: Vec::new(),
        window: Vec::new(),
        window_start: 0,
    };
    let mut members = 0_usize;
    let mut names_bytes = 0_usize;
    while let Some(member) = scanner.next_member()? {
        names_bytes = names_bytes.saturating_add(member.names_bytes());
        if members == TAR_ENTRIES_MAX || names_bytes > NAMES_BYTES_MAX {
            let problem = format!("the archive has more than {TAR_ENTRIES_MAX} entries");
            return Err(scanner.refuse(Problem::new(problem, SMALLER)));
        }
        members += 1;
        take(member).map_err(|problem| scanner.refuse(problem))?;
    }
    Ok(())
}

/// Holds headers that were read for the member to come.
#[derive(Default)]
struct Pending {
    extended: Option<Extended>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.extended.is_none() && self.name.is_none() && self.link.is_none()
    }
}

struct Scanner<'a> {
    file: &'a OpenFile,
    position: u64,
    /// Where the last header was, and the name in it.
    header_at: u64,
    name: Vec<u8>,
    window: Vec<u8>,
    window_start: u64,
}

impl Scanner<'_> {
    fn refuse(&self, problem: impl Into<Problem>) -> ScanError {
        let Problem { text, advice } = problem.into();
        let name = shown(&self.name);
        let at = self.header_at;
        ScanError::Refused {
            problem: format!("entry {name:?} at byte {at}: {text}"),
            advice,
        }
    }

    fn cut_off(&self) -> ScanError {
        self.refuse(Problem::new("the archive is cut off here", INCOMPLETE))
    }

    /// Returns the next member, or `None` at the end.
    fn next_member(&mut self) -> Result<Option<Member>, ScanError> {
        let mut pending = Pending::default();
        while let Some(header) = self.next_header(&pending)? {
            match header.kind {
                Type::Extended => {
                    let bytes = self.read_content(header.size)?;
                    let extended =
                        Extended::parse(&bytes).map_err(|problem| self.refuse(problem))?;
                    if pending.extended.replace(extended).is_some() {
                        return Err(self.refuse("a member has two PAX headers"));
                    }
                }
                Type::Global => {
                    let bytes = self.read_content(header.size)?;
                    let global = Extended::parse(&bytes).map_err(|problem| self.refuse(problem))?;
                    if global.moves_members() {
                        return Err(self.refuse("a global header changes members"));
                    }
                    if !pending.is_empty() {
                        return Err(self.refuse("a global header stands before a member's own"));
                    }
                }
                Type::LongName => self.long(header.size, &mut pending.name)?,
                Type::LongLink => self.long(header.size, &mut pending.link)?,
                Type::File | Type::HardLink | Type::SymLink | Type::Folder | Type::Special => {
                    return self.member(header, pending).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Returns the header at the position and moves behind it, or `None` at the end of the archive.
    fn next_header(&mut self, pending: &Pending) -> Result<Option<Header>, ScanError> {
        let at_end = |scanner: &Self| {
            if pending.is_empty() {
                Ok(None)
            } else {
                let problem = "a header stands before no member";
                Err(scanner.refuse(Problem::new(problem, INCOMPLETE)))
            }
        };
        if self.position == self.file.stat.size {
            return at_end(self);
        }
        let block = self.block(self.position)?;
        if Header::is_end(&block) {
            // Whether one block of zeros is the end or none, readers disagree.
            let next = self.position + 512;
            if next < self.file.stat.size && !Header::is_end(&self.block(next)?) {
                self.header_at = self.position;
                self.name.clear();
                return Err(self.refuse("a lone block of zeros"));
            }
            return at_end(self);
        }
        self.header_at = self.position;
        Header::name_in(&block).clone_into(&mut self.name);
        if self.position == 0 && !Header::begins_as_text(&block) {
            let problem = "an archive begins with a name that is no text: some readers take it for another kind of file";
            return Err(self.refuse(problem));
        }
        let header = Header::parse(&block).map_err(|problem| self.refuse(problem))?;
        self.name.clone_from(&header.name);
        self.position += 512;
        Ok(Some(header))
    }

    fn block(&mut self, offset: u64) -> Result<[u8; BLOCK_BYTES], ScanError> {
        if let Some(block) = self.windowed(offset) {
            return Ok(block);
        }
        // A member that reaches far beyond the window was skipped, and the next one may be as large.
        let end = self.window_start + u64::try_from(self.window.len()).unwrap_or(0);
        let is_near = offset.saturating_sub(end) < 4096;
        let length = if is_near {
            WINDOW_BYTES
        } else {
            WINDOW_BYTES_MIN
        };
        self.window.resize(length, 0);
        let count = files::read_at(self.file.file.as_fd(), &mut self.window, offset)
            .map_err(ScanError::Read)?;
        self.window.truncate(count);
        self.window_start = offset;
        self.windowed(offset).ok_or_else(|| self.cut_off())
    }

    fn windowed(&self, offset: u64) -> Option<[u8; BLOCK_BYTES]> {
        let start = usize::try_from(offset.checked_sub(self.window_start)?).ok()?;
        self.window.get(start..)?.first_chunk().copied()
    }

    /// Returns the content of a header that has one, and moves behind it.
    fn read_content(&mut self, size: u64) -> Result<Vec<u8>, ScanError> {
        let length = usize::try_from(size)
            .ok()
            .filter(|_| size <= PAX_BYTES_MAX)
            .ok_or_else(|| self.refuse(format!("a header has more than {PAX_BYTES_MAX} bytes")))?;
        let start = self.position;
        self.skip(size)?;
        // Of these, some readers take the padding too.
        let padded = length.next_multiple_of(BLOCK_BYTES);
        let mut bytes = self.read_range(start, padded)?;
        let is_padding = |rest: &[u8]| rest.iter().all(|byte| *byte == 0);
        if !bytes.get(length..).is_some_and(is_padding) {
            return Err(self.refuse("the padding of a header's content is not zero"));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn read_range(&self, start: u64, length: usize) -> Result<Vec<u8>, ScanError> {
        let in_window = start.checked_sub(self.window_start).and_then(|start| {
            self.window
                .get(usize::try_from(start).ok()?..)?
                .get(..length)
        });
        if let Some(bytes) = in_window {
            return Ok(bytes.to_vec());
        }
        let mut bytes = vec![0; length];
        let count =
            files::read_at(self.file.file.as_fd(), &mut bytes, start).map_err(ScanError::Read)?;
        if count < length {
            return Err(self.cut_off());
        }
        Ok(bytes)
    }

    /// Moves behind content of `size` bytes and its padding.
    fn skip(&mut self, size: u64) -> Result<(), ScanError> {
        let next = self
            .position
            .checked_add(size)
            .and_then(|end| end.checked_next_multiple_of(512))
            .filter(|next| *next <= self.file.stat.size)
            .ok_or_else(|| self.cut_off())?;
        self.position = next;
        Ok(())
    }

    fn long(&mut self, size: u64, place: &mut Option<Vec<u8>>) -> Result<(), ScanError> {
        let mut bytes = self.read_content(size)?;
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len());
        let rest_is_zero = bytes
            .get(end..)
            .unwrap_or_default()
            .iter()
            .all(|byte| *byte == 0);
        bytes.truncate(end);
        if bytes.is_empty() || !rest_is_zero || place.replace(bytes).is_some() {
            return Err(self.refuse("a GNU long name is malformed"));
        }
        Ok(())
    }

    fn member(&mut self, header: Header, pending: Pending) -> Result<Member, ScanError> {
        let extended = pending.extended.unwrap_or_default();
        if (extended.path.is_some() && pending.name.is_some())
            || (extended.link.is_some() && pending.link.is_some())
        {
            return Err(self.refuse("it has both a PAX name and a GNU name"));
        }
        let name = extended.path.or(pending.name).unwrap_or(header.name);
        self.name.clone_from(&name);
        let size = self.size(header.kind, header.size, extended.size)?;
        let link = extended.link.or(pending.link).unwrap_or(header.link);
        if name.len() > NAME_BYTES_MAX || link.len() > NAME_BYTES_MAX {
            return Err(self.refuse(format!("a name has more than {NAME_BYTES_MAX} bytes")));
        }
        if depth(&name) > DEPTH_MAX {
            return Err(self.refuse(format!("a name has more than {DEPTH_MAX} components")));
        }
        let is_long = |component: &[u8]| component.len() > COMPONENT_BYTES_MAX;
        if is_long(&name) && components(&name).any(is_long) {
            let limit = COMPONENT_BYTES_MAX;
            return Err(self.refuse(format!("a name has a component of more than {limit} bytes")));
        }
        let content = match header.kind {
            Type::File if name.ends_with(b"/") => {
                return Err(self.refuse("it is a file with the name of a folder"));
            }
            Type::File => {
                let offset = self.position;
                self.skip(size)?;
                Content::File { offset, size }
            }
            Type::SymLink if link.is_empty() => {
                return Err(self.refuse("it is a symlink with an empty target"));
            }
            Type::HardLink => Content::HardLink(link),
            Type::SymLink => Content::SymLink(link),
            Type::Folder => Content::Folder,
            _ => Content::Special,
        };
        Ok(Member {
            name,
            content,
            modified: extended.modified.unwrap_or((header.modified, 0)),
            at: self.header_at,
        })
    }

    /// Returns the size; readers that ignore PAX headers must find the next header at the same place wherever the field can say so.
    fn size(&self, kind: Type, field: u64, extended: Option<u64>) -> Result<u64, ScanError> {
        let Some(size) = extended else {
            return Ok(field);
        };
        let agrees =
            size == field || (size > OCTAL_SIZE_MAX && matches!(field, 0 | OCTAL_SIZE_MAX));
        if !agrees || (size > 0 && kind != Type::File) {
            return Err(self.refuse(format!(
                "its PAX size {size} and its header's size {field} disagree"
            )));
        }
        Ok(size)
    }
}
