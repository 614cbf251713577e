//! One 512-byte header, read strictly: what two readers could understand differently is refused.
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 512;

/// Lists the types of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    File,
    HardLink,
    SymLink,
    Folder,
    /// A device or fifo.
    Special,
    /// A PAX header for the next member.
    Extended,
    /// A PAX header for all members.
    Global,
    /// A GNU header with the next member's name.
    LongName,
    /// A GNU header with the next member's link target.
    LongLink,
    /// A GNU volume label.
    Label,
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

    /// Reads a block.
    pub(super) fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Self, String> {
        let field =
            |start: usize, length: usize| block.get(start..start + length).unwrap_or_default();
        check_sum(block, field(148, 8))?;
        let format = Format::of(field(257, 8))?;
        let mut name = text(field(0, 100)).to_vec();
        let prefix = text(field(345, 155));
        if format == Format::Posix && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let size = u64::try_from(number(field(124, 12), "size")?)
            .map_err(|_| "a size is negative".to_owned())?;
        let kind = Self::kind(field(156, 1), &name, size)?;
        Ok(Self {
            kind,
            name,
            link: text(field(157, 100)).to_vec(),
            size,
            // A time that cannot be read is no reason to refuse an image.
            modified: number(field(136, 12), "time").unwrap_or(0),
        })
    }

    fn kind(flag: &[u8], name: &[u8], size: u64) -> Result<Type, String> {
        let kind = match flag {
            b"0" | b"\0" | b"7" if name.ends_with(b"/") => Type::Folder,
            b"0" | b"\0" | b"7" => Type::File,
            b"1" => Type::HardLink,
            b"2" => Type::SymLink,
            b"3" | b"4" | b"6" => Type::Special,
            b"5" => Type::Folder,
            b"x" => Type::Extended,
            b"g" => Type::Global,
            b"L" => Type::LongName,
            b"K" => Type::LongLink,
            b"V" => Type::Label,
            b"S" => return Err("sparse members are not supported".to_owned()),
            b"M" => return Err("multi-volume archives are not supported".to_owned()),
            _ => {
                return Err(format!(
                    "members of type {} are not supported",
                    flag.escape_ascii()
                ));
            }
        };
        let has_content = matches!(
            kind,
            Type::File | Type::Extended | Type::Global | Type::LongName | Type::LongLink
        );
        if size > 0 && !has_content {
            // Some readers skip that many bytes, others none.
            return Err("a member that has no content gives a size".to_owned());
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
            _ => Err("a header has an unknown magic".to_owned()),
        }
    }
}

fn check_sum(block: &[u8; BLOCK_BYTES], field: &[u8]) -> Result<(), String> {
    let sum = block
        .iter()
        .enumerate()
        .map(|(position, byte)| {
            if (148..156).contains(&position) {
                i64::from(b' ')
            } else {
                i64::from(*byte)
            }
        })
        .sum::<i64>();
    if octal(field, "checksum")? == sum {
        Ok(())
    } else {
        Err("a header has a wrong checksum".to_owned())
    }
}

/// Returns what comes before the first zero byte.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Returns an octal number, or one in base 256 whose first bit is set.
fn number(field: &[u8], what: &str) -> Result<i64, String> {
    let wrong = || format!("a {what} is not a number");
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
    let wrong = || format!("a {what} is not a number");
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
