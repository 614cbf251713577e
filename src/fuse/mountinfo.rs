//! What is mounted where, by /proc/self/mountinfo. A mount is ours only where it says so.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The type of our mounts.
pub const FILE_SYSTEM_TYPE: &str = "fuse.signetfs";

/// Is one mount of this process's name space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Its number.
    pub id: u64,
    /// The number of the mount it is mounted on.
    pub parent: u64,
    /// The device of its file system, as `MAJOR:MINOR`.
    pub device: String,
    /// Where it is.
    pub point: PathBuf,
    /// Its type.
    pub kind: String,
    /// Its source.
    pub source: OsString,
    /// The user that a FUSE mount belongs to.
    pub user: Option<u32>,
}

impl Mounted {
    /// Returns the number of the device as stat(2) tells it.
    pub fn device_number(&self) -> Option<u64> {
        let (major, minor) = self.device.split_once(':')?;
        Some(libc::makedev(major.parse().ok()?, minor.parse().ok()?))
    }

    /// Returns whether it is a signetfs mount.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.kind == FILE_SYSTEM_TYPE
    }
}

/// Lists all mounts.
///
/// # Errors
/// Returns why the list cannot be read.
pub fn list() -> io::Result<Vec<Mounted>> {
    std::fs::read("/proc/self/mountinfo").map(|bytes| parse(&bytes))
}

/// Returns the mount on top at a path, which is what a program that opens the path sees.
///
/// # Errors
/// Returns why the list cannot be read.
pub fn top_at(point: &Path) -> io::Result<Option<Mounted>> {
    Ok(top_of(&list()?, point))
}

fn top_of(mounts: &[Mounted], point: &Path) -> Option<Mounted> {
    let here: Vec<&Mounted> = mounts.iter().filter(|mount| mount.point == point).collect();
    let is_covered = |mount: &Mounted| here.iter().any(|above| above.parent == mount.id);
    here.iter()
        .rev()
        .find(|mount| !is_covered(mount))
        .map(|mount| (*mount).clone())
}

fn parse(bytes: &[u8]) -> Vec<Mounted> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

/// Reads `36 35 98:0 /root /point options optional... - type source super`.
fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut words = line.split(|byte| *byte == b' ');
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse().ok();
    let id = number(words.next()?)?;
    let parent = number(words.next()?)?;
    let device = words.next()?;
    let point = words.nth(1)?;
    let mut rest = words.skip_while(|word| *word != b"-").skip(1);
    let kind = rest.next()?;
    let source = rest.next()?;
    let options = rest.next().unwrap_or_default();
    let user = options
        .split(|byte| *byte == b',')
        .find_map(|option| option.strip_prefix(b"user_id="))
        .and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
    Some(Mounted {
        id,
        parent,
        device: String::from_utf8_lossy(device).into_owned(),
        point: PathBuf::from(unescape(point)),
        kind: String::from_utf8_lossy(kind).into_owned(),
        source: unescape(source),
        user,
    })
}

/// Undoes the kernel's `\ooo`.
fn unescape(word: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| {
                let text = std::str::from_utf8(digits).ok()?;
                u8::from_str_radix(text, 8).ok()
            });
        match octal {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(plain)
}

/// Returns a source as a word that mount options and the mount table can hold.
pub(super) fn source_word(path: &Path) -> String {
    path.as_os_str()
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b',' | b'\\' | 0..=0x20 | 0x7f.. => '_',
            other => char::from(*other),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw - ext4 /dev/vda rw
40 22 0:35 / /mnt/a rw,nosuid shared:1 - fuse.signetfs /layout rw
41 40 0:36 / /mnt/a rw - tmpfs tmpfs rw
42 22 0:37 / /mnt/with\\040space rw - fuse.signetfs /l\\134x rw
bad line
";

    #[test]
    fn the_mount_on_top_is_found() {
        let mounts = parse(TABLE.as_bytes());
        assert_eq!(mounts.len(), 4);
        let top = top_of(&mounts, Path::new("/mnt/a")).unwrap();
        assert_eq!((top.id, top.is_ours()), (41, false));
        assert_eq!(top.device, "0:36");
        assert_eq!(top.device_number(), Some(36));
        assert!(top_of(&mounts, Path::new("/mnt")).is_none());
    }

    #[test]
    fn the_order_of_lines_does_not_matter() {
        let mut mounts = parse(TABLE.as_bytes());
        mounts.reverse();
        assert_eq!(top_of(&mounts, Path::new("/mnt/a")).unwrap().id, 41);
    }

    #[test]
    fn escaped_names_are_read() {
        let mounts = parse(TABLE.as_bytes());
        let spaced = top_of(&mounts, Path::new("/mnt/with space")).unwrap();
        assert!(spaced.is_ours());
        assert_eq!(spaced.source, "/l\\x");
    }

    #[test]
    fn sources_cannot_add_options() {
        let word = source_word(Path::new("/a,suid b\\c\u{e9}"));
        assert_eq!(word, "/a_suid_b_c__");
    }
}
