//! One 512-byte header, read strictly: what two readers could understand differently is refused.
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>

use std::ffi::CStr;

use super::problem::{PLAIN, Problem, SPARSE, VOLUMES};

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 512;

/// Lists the types of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    File,
    HardLink,
    SymLink,
    Folder,
    /// A fifo.
    Special,
    /// A PAX header for the next member.
    Extended,
    /// A PAX header for all members.
    Global,
    /// A GNU header with the next member's name.
    LongName,
    /// A GNU header with the next member's link target.
    LongLink,
}

/// Holds the fields of a header that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Type,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) modified: i64,
}

impl Header {
    /// Returns whether a block is all zeros, which ends an archive.
    pub(super) fn is_end(block: &[u8; BLOCK_BYTES]) -> bool {
        block.iter().all(|byte| *byte == 0)
    }

    /// Returns the name as a block has it, whatever else is in it.
    pub(super) fn name_in(block: &[u8; BLOCK_BYTES]) -> &[u8] {
        text(block.get(..100).unwrap_or_default())
    }

    /// Returns whether the name field of an archive's first header is text that ends in zeros. Compressed data and archives of other
    /// kinds, which libarchive tells by their first bytes, begin with something else.
    pub(super) fn begins_as_text(block: &[u8; BLOCK_BYTES]) -> bool {
        let field = block.get(..100).unwrap_or_default();
        let (name, rest) = field.split_at(text(field).len());
        std::str::from_utf8(name).is_ok_and(|name| !name.chars().any(char::is_control))
            && rest.iter().all(|byte| *byte == 0)
    }

    /// Reads a block.
    pub(super) fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Self, Problem> {
        let field =
            |start: usize, length: usize| block.get(start..start + length).unwrap_or_default();
        check_sum(block, field(148, 8))?;
        let format = Format::of(field(257, 8))?;
        let mut name = text(field(0, 100)).to_vec();
        let prefix = text(field(345, 155));
        if format == Format::Posix {
            // By that trailer Go's reader knows star's headers, where the prefix ends earlier and times follow.
            if field(508, 4) == b"tar\0" && !field(345, 131).contains(&0) {
                return Err("its prefix is longer than star's header has room for".into());
            }
            if !prefix.is_empty() {
                name = [prefix, b"/", &name].concat();
            }
        } else if field(345, 155).iter().fold(0, |any, byte| any | byte) != 0 {
            // Some readers take it for the beginning of the name, others for times or a map of holes.
            return Err("its header has bytes where only a POSIX header has some".into());
        }
        // Some readers end quietly where any of them is no number.
        for (start, length, what) in [
            (100, 8, "mode"),
            (108, 8, "owner"),
            (116, 8, "group"),
            (329, 8, "device"),
            (337, 8, "device"),
        ] {
            number(field(start, length), what)?;
        }
        let size = u64::try_from(number(field(124, 12), "size")?)
            .map_err(|_| "its size is negative".to_owned())?;
        let kind = Self::kind(field(156, 1), &name, size)?;
        Ok(Self {
            kind,
            name,
            link: text(field(157, 100)).to_vec(),
            size,
            modified: number(field(136, 12), "time")?,
        })
    }

    fn kind(flag: &[u8], name: &[u8], size: u64) -> Result<Type, Problem> {
        let kind = match flag {
            // The name to come counts for the others.
            b"\0" if name.ends_with(b"/") => {
                // A folder to some readers, a file to others.
                return Err("it is a file with the name of a folder".into());
            }
            b"0" | b"\0" | b"7" => Type::File,
            b"1" => Type::HardLink,
            b"2" => Type::SymLink,
            b"3" | b"4" => return Err(Problem::new("it is a device", PLAIN)),
            b"6" => Type::Special,
            b"5" => Type::Folder,
            b"x" => Type::Extended,
            b"g" => Type::Global,
            b"L" => Type::LongName,
            b"K" => Type::LongLink,
            // Nothing to some readers, an empty file to others.
            b"V" => return Err(Problem::new("it is a volume label", PLAIN)),
            b"S" => return Err(Problem::new("it is sparse", SPARSE)),
            b"M" => return Err(Problem::new("it continues on another volume", VOLUMES)),
            _ => {
                let kind = flag.escape_ascii();
                return Err(Problem::new(
                    format!("entries of type {kind} are not known"),
                    PLAIN,
                ));
            }
        };
        let has_content = matches!(
            kind,
            Type::File | Type::Extended | Type::Global | Type::LongName | Type::LongLink
        );
        if size > 0 && !has_content {
            // Some readers skip that many bytes, others none.
            return Err("it can have no content and yet gives a size".into());
        }
        Ok(kind)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Posix,
    Gnu,
    Old,
}

impl Format {
    fn of(magic: &[u8]) -> Result<Self, String> {
        match magic {
            b"ustar\x0000" | b"ustar\x00\x00\x00" | b"ustar\x00  " => Ok(Self::Posix),
            b"ustar  \0" => Ok(Self::Gnu),
            [0, 0, 0, 0, 0, 0, 0, 0] => Ok(Self::Old),
            _ => Err("its header has an unknown magic".to_owned()),
        }
    }
}

fn check_sum(block: &[u8; BLOCK_BYTES], field: &[u8]) -> Result<(), String> {
    // 512 bytes make no more than 17 bits; the field itself counts as spaces.
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(*byte)).sum::<i64>();
    let spaces = i64::from(b' ') * 8;
    if octal(field, "checksum")? == sum(block) - sum(field) + spaces {
        Ok(())
    } else {
        Err("its header has a wrong checksum".to_owned())
    }
}

/// Returns what comes before the first zero byte.
fn text(field: &[u8]) -> &[u8] {
    CStr::from_bytes_until_nul(field).map_or(field, CStr::to_bytes)
}

/// Returns an octal number, or one in base 256 whose first bit is set.
fn number(field: &[u8], what: &str) -> Result<i64, String> {
    let wrong = || format!("its {what} is not a number");
    let Some((first, rest)) = field.split_first() else {
        return Err(wrong());
    };
    let mut value = match *first {
        0x80 => 0_i64,
        0xff => -1,
        0..0x80 => return octal(field, what),
        _ => return Err(wrong()),
    };
    for byte in rest {
        value = value
            .checked_mul(256)
            .and_then(|value| value.checked_add(i64::from(*byte)))
            .ok_or_else(wrong)?;
    }
    Ok(value)
}

/// Returns a number in octal digits, with spaces before and spaces or zero bytes after; none at all is 0.
fn octal(field: &[u8], what: &str) -> Result<i64, String> {
    let wrong = || format!("its {what} is not a number");
    let start = field
        .iter()
        .position(|byte| *byte != b' ')
        .unwrap_or(field.len());
    let digits = field.get(start..).unwrap_or_default();
    let end = digits
        .iter()
        .position(|byte| matches!(byte, b' ' | 0))
        .unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end).ok_or_else(wrong)?;
    if rest.iter().any(|byte| !matches!(byte, b' ' | 0)) {
        return Err(wrong());
    }
    let mut value = 0_i64;
    for digit in digits {
        let digit = digit
            .checked_sub(b'0')
            .filter(|digit| *digit < 8)
            .ok_or_else(wrong)?;
        value = value
            .checked_mul(8)
            .and_then(|value| value.checked_add(i64::from(digit)))
            .ok_or_else(wrong)?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_in_both_bases() {
        assert_eq!(number(b"00000001750\0", "size"), Ok(1000));
        assert_eq!(number(b"     1750 \0\0", "size"), Ok(1000));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0\0\0\0\0", "size"), Ok(0));
        assert_eq!(number(b"777777777777", "size"), Ok((1 << 36) - 1));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0", "size"), Ok(1 << 33));
        assert_eq!(number(&[0xff; 12], "size"), Ok(-1));
        for wrong in [
            &b"0000000175x\0"[..],
            b"00000001758\0",
            b"-0000001750\0",
            b"0 0000017501",
            b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xc0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(number(wrong, "size").is_err(), "{}", wrong.escape_ascii());
        }
    }
}
