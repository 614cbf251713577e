//! The headers of one member: ustar, and a PAX header before it where ustar has no room.
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 512;
/// Bytes of a name and of a link's target.
const NAME_BYTES: usize = 100;
/// Bytes of what comes before the name.
const PREFIX_BYTES: usize = 155;
/// The largest size that eleven octal digits tell.
const SIZE_MAX: u64 = 0o777_7777_7777;
/// The name of every PAX header.
const PAX_NAME: &[u8] = b"PaxHeaders/member";

/// Tells what a member is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    File { size: u64 },
    Folder,
    Link(&'a Path),
}

/// Is one member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    /// The path below the root.
    pub(super) path: &'a Path,
    /// What it is.
    pub(super) kind: Kind<'a>,
}

/// Returns the zeros after a content of this size.
pub(super) fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    let over = usize::try_from(size % 512).unwrap_or(0);
    match over {
        0 => &[],
        over => ZEROS.get(over..).unwrap_or_default(),
    }
}

impl Member<'_> {
    /// Returns the blocks before the content.
    ///
    /// # Errors
    /// Returns the name that no header can hold.
    pub(super) fn headers(&self) -> Result<Vec<u8>, PathBuf> {
        let mut name = self.path.as_os_str().as_bytes().to_vec();
        let (flag, mode, mut size, link) = match self.kind {
            Kind::File { size } => (b'0', 0o644, size, Path::new("")),
            Kind::Folder => {
                name.push(b'/');
                (b'5', 0o755, 0, Path::new(""))
            }
            Kind::Link(target) => (b'2', 0o777, 0, target),
        };
        let mut records = Vec::new();
        let (prefix, name) = match split(&name) {
            Some(parts) => parts,
            None => {
                records.extend(record("path", &text(self.path, &name)?));
                (&[][..], name.get(..NAME_BYTES).unwrap_or_default())
            }
        };
        let mut target = link.as_os_str().as_bytes();
        if target.len() > NAME_BYTES {
            records.extend(record("linkpath", &text(link, target)?));
            target = target.get(..NAME_BYTES).unwrap_or_default();
        }
        if size > SIZE_MAX {
            records.extend(record("size", &size.to_string()));
            size = 0;
        }
        let mut blocks = Vec::new();
        if !records.is_empty() {
            let length = u64::try_from(records.len()).unwrap_or(u64::MAX);
            let fields = Fields {
                prefix: &[],
                name: PAX_NAME,
                link: &[],
                mode: 0o644,
                flag: b'x',
                size: length,
            };
            blocks.extend(fields.block());
            blocks.extend(records);
            blocks.extend(padding(length));
        }
        let fields = Fields {
            prefix,
            name,
            link: target,
            mode,
            flag,
            size,
        };
        blocks.extend(fields.block());
        Ok(blocks)
    }
}

/// Splits a name at a slash so that both parts fit.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME_BYTES {
        return Some((&[], name));
    }
    let first = name.len().checked_sub(NAME_BYTES + 1)?;
    let slash = |position: &usize| name.get(*position) == Some(&b'/');
    let last = name.len().saturating_sub(2).min(PREFIX_BYTES);
    let position = (first.max(1)..=last).find(slash)?;
    Some((name.get(..position)?, name.get(position + 1..)?))
}

/// Returns a name as text: all that PAX knows.
fn text(path: &Path, name: &[u8]) -> Result<String, PathBuf> {
    String::from_utf8(name.to_vec()).map_err(|_| path.to_owned())
}

/// Returns `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}").into_bytes()
}

/// Holds what a header says.
struct Fields<'a> {
    prefix: &'a [u8],
    name: &'a [u8],
    link: &'a [u8],
    mode: u32,
    flag: u8,
    size: u64,
}

impl Fields<'_> {
    /// Returns the header: of nobody, at no time.
    fn block(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        let mut put = |offset: usize, bytes: &[u8]| {
            if let Some(field) = block.get_mut(offset..offset + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        };
        put(0, self.name);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", self.size).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[self.flag]);
        put(157, self.link);
        put(257, b"ustar\x0000");
        put(329, b"0000000\0");
        put(337, b"0000000\0");
        put(345, self.prefix);
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        if let Some(field) = block.get_mut(148..156) {
            field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        block
    }
}
