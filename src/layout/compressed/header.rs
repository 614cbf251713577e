//! Whether bytes that begin like compressed data are the header of a tar too: GNU tar and Python look for a tar first, others for
//! compressed data, so each would see another archive.

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 512;
/// Where the checksum is.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Returns whether any reader takes the first bytes of a file for a header: by its checksum, as the sum of bytes with or without
/// sign, written in any way that GNU tar reads.
pub(super) fn is_of_tar(start: &[u8]) -> bool {
    let (Some(block), Some(field)) = (start.get(..HEADER_BYTES), start.get(CHECKSUM)) else {
        return false;
    };
    let others = || {
        let before = block.iter().take(CHECKSUM.start);
        before.chain(block.iter().skip(CHECKSUM.end))
    };
    let spaces = 8 * i64::from(b' ');
    let plain: i64 = others().map(|byte| i64::from(*byte)).sum();
    let signed: i64 = others().map(|byte| i64::from(byte.cast_signed())).sum();
    number(field).is_some_and(|sum| sum == plain + spaces || sum == signed + spaces)
}

/// Reads a number in octal digits, in base 256 or in base 64.
fn number(field: &[u8]) -> Option<i64> {
    let start = field
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0))?;
    let (first, rest) = field.get(start..)?.split_first()?;
    let (digits, base): (&[u8], i64) = match first {
        b'0'..=b'7' => (field.get(start..)?, 8),
        b'+' | b'-' => (rest, 64),
        0x80 | 0xff => (rest, 256),
        _ => return None,
    };
    let mut value = 0_i64;
    for digit in digits.iter().map_while(|byte| digit(*byte, base)) {
        value = value.checked_mul(base)?.checked_add(digit)?;
    }
    Some(value)
}

fn digit(byte: u8, base: i64) -> Option<i64> {
    let value = match (base, byte) {
        (8, b'0'..=b'7') => byte - b'0',
        (64, b'A'..=b'Z') => byte - b'A',
        (64, b'a'..=b'z') => byte - b'a' + 26,
        (64, b'0'..=b'9') => byte - b'0' + 52,
        (64, b'+') => 62,
        (64, b'/') => 63,
        (256, _) => byte,
        _ => return None,
    };
    Some(i64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(checksum: &[u8]) -> Vec<u8> {
        let mut block = vec![0; HEADER_BYTES];
        block[..4].copy_from_slice(&[0x1f, 0x8b, 8, 0xf0]);
        block[CHECKSUM][..checksum.len()].copy_from_slice(checksum);
        block
    }

    #[test]
    fn knows_a_checksum_however_it_is_written() {
        // 0x1f + 0x8b + 8 + 0xf0 + 256 = 674 = 0o1242; with signs 162 = 0o242.
        for checksum in [
            &b"001242\0 "[..],
            b"  1242 ",
            b"1242",
            b"\x80\0\0\0\0\0\x02\xa2",
            b"+Ki",
            b"000242\0 ",
        ] {
            assert!(is_of_tar(&header(checksum)), "{checksum:?}");
        }
        for checksum in [&b"001243\0 "[..], b"", b"x", b"\x80\0\0\0\0\0\x02\xa3"] {
            assert!(!is_of_tar(&header(checksum)), "{checksum:?}");
        }
        assert!(!is_of_tar(&header(b"001242\0 ")[..511]));
    }
}
