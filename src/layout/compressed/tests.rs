use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;
use crate::layout::{Source, Tar};
use crate::oci::NoProgress;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// Returns bytes that do not repeat soon.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0] & 0x3f
    };
    (0..length).map(next).collect()
}

/// Returns what is unpacked, or why it is refused.
fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut source = bytes;
    let spooled = spool(&mut Input::new(&mut source), Path::new("x"), &NoProgress);
    match spooled {
        Ok(file) => Ok(file.read_bounded(1 << 30).unwrap()),
        Err(SourceError::Archive { problem, .. }) => Err(problem),
        Err(other) => panic!("{other:?}"),
    }
}

/// Returns a zstd frame of one block as it is, with the header after the magic number.
fn frame(header: &[u8], bytes: &[u8]) -> Vec<u8> {
    let block = u32::try_from(bytes.len()).unwrap() << 3 | 1;
    let magic = b"\x28\xb5\x2f\xfd";
    [magic, header, &block.to_le_bytes()[..3], bytes].concat()
}

#[test]
fn a_frame_may_leave_its_size_out_and_not_tell_another() {
    // A window descriptor instead of a size; sizes in one byte, two (less 256), four and eight.
    let long = sample(256);
    for (header, bytes) in [
        (&b"\x00\x50"[..], &b"abc"[..]),
        (b"\x20\x03", b"abc"),
        (b"\x20\x00", b""),
        (b"\x00\x50", b""),
        (b"\x40\x50\x00\x00", &long),
        (b"\x80\x50\x03\0\0\0", b"abc"),
        (b"\xc0\x50\x03\0\0\0\0\0\0\0", b"abc"),
    ] {
        let found = unpacked(&frame(header, bytes));
        assert_eq!(found.as_deref(), Ok(bytes), "{header:?}");
    }
    for header in [
        &b"\x20\x00"[..],
        b"\x20\x04",
        b"\x80\x50\0\0\0\0",
        b"\xc0\x50\0\0\0\0\0\0\0\0",
        b"\xc0\x50\x03\0\0\0\x01\0\0\0",
    ] {
        assert!(unpacked(&frame(header, b"abc")).is_err(), "{header:?}");
    }
}

#[test]
fn unpacks_members_and_frames_one_after_the_other() {
    let (one, two) = (sample(300_000), sample(70_000));
    let both = [&one[..], &two].concat();
    let skipped = [&b"\x5a\x2a\x4d\x18\x03\0\0\0"[..], b"abc"].concat();
    for (compressed, expected) in [
        (gzip(&one), &one),
        (zstd(&one), &one),
        ([gzip(&one), gzip(&two)].concat(), &both),
        ([zstd(&one), zstd(&two)].concat(), &both),
        ([gzip(&one), gzip(b""), gzip(&two)].concat(), &both),
        ([gzip(&one), vec![0; 700_000]].concat(), &one),
        ([skipped.clone(), zstd(&one), skipped].concat(), &one),
        (one.clone(), &one),
    ] {
        assert!(unpacked(&compressed).as_ref() == Ok(expected));
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample(3000);
    for compressed in [gzip(&bytes), zstd(&bytes)] {
        for cut in 4..compressed.len() {
            let result = unpacked(&compressed[..cut]);
            assert!(
                result
                    .as_ref()
                    .is_err_and(|text| text.contains("ends early")),
                "{cut} of {}: {result:?}",
                compressed.len()
            );
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_or_without_effect() {
    let bytes = sample(700);
    for (name, compressed) in [("gzip", gzip(&bytes)), ("zstd", zstd(&bytes))] {
        for position in 6..compressed.len() {
            for bit in 0..8 {
                let mut damaged = compressed.clone();
                damaged[position] ^= 1 << bit;
                // The first bytes of gzip carry a time and a system, which nothing depends on.
                match unpacked(&damaged) {
                    Ok(found) => assert!(found == bytes, "{name} {position} {bit}"),
                    Err(text) => assert!(!text.is_empty()),
                }
            }
        }
    }
}

#[test]
fn refuses_what_follows_the_compressed_data() {
    let bytes = sample(1000);
    for trailing in [&b"x"[..], b"\0\0x", b"garbage behind"] {
        for compressed in [gzip(&bytes), zstd(&bytes)] {
            let result = unpacked(&[&compressed, trailing].concat());
            let expected = "other bytes follow the compressed data";
            assert_eq!(result, Err(expected.to_owned()), "{trailing:?}");
        }
    }
    assert!(unpacked(&[&zstd(&bytes)[..], &[0; 512]].concat()).is_err());
}

#[test]
fn refuses_a_window_that_is_too_large_and_a_dictionary() {
    // A frame header with a window descriptor: 2^27 bytes and a quarter more.
    let large = b"\x28\xb5\x2f\xfd\x00\x8a\x01\0\0";
    let result = unpacked(large);
    assert!(
        result
            .as_ref()
            .is_err_and(|text| text.contains("window of 167772160 bytes")),
        "{result:?}"
    );
    let dictionary = b"\x28\xb5\x2f\xfd\x21\x07\0\x01\0\0";
    let result = unpacked(dictionary);
    assert!(
        result
            .as_ref()
            .is_err_and(|text| text.contains("dictionary")),
        "{result:?}"
    );
}

#[test]
fn refuses_what_is_a_tar_too() {
    for magic in [&b"\x1f\x8b\x08\x04"[..], b"\x28\xb5\x2f\xfd", b"P*M\x18"] {
        let mut plain = crate::layout::tar::tests::layout_bytes();
        plain[..magic.len()].copy_from_slice(magic);
        plain[148..156].copy_from_slice(b"        ");
        let sum: u32 = plain[..512].iter().map(|byte| u32::from(*byte)).sum();
        plain[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let result = unpacked(&plain);
        assert!(
            result
                .as_ref()
                .is_err_and(|text| text.contains("a tar and compressed data at once")),
            "{result:?}"
        );
    }
}

#[test]
fn stops_a_bomb_at_the_ratio() {
    /// Ends one byte of zeros after the other, compressed.
    struct Bomb(Vec<u8>, u64);
    impl io::Read for Bomb {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let start = usize::try_from(self.1).unwrap() % self.0.len();
            let count = self.0[start..].len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[start..start + count]);
            self.1 += count as u64;
            Ok(count)
        }
    }
    // A member of gzip is about 1,028 times as small as its zeros; the input never ends.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 64 << 20]).unwrap();
    let mut bomb = Bomb(encoder.finish().unwrap(), 0);
    let result = spool(&mut Input::new(&mut bomb), Path::new("x"), &NoProgress);
    let Err(SourceError::Archive { problem, .. }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(problem, "it unpacks to more than 1000 times its size");
    assert!(bomb.1 < 2 << 20, "{} bytes were read", bomb.1);
}

#[test]
fn a_compressed_layout_reads_as_the_plain_one() {
    let plain = crate::layout::tar::tests::layout_bytes();
    for compressed in [gzip(&plain), zstd(&plain)] {
        // The content tells, whatever the name says.
        let file = tempfile::Builder::new().suffix(".tar").tempfile().unwrap();
        std::fs::write(file.path(), &compressed).unwrap();
        let tar = Tar::open(file.path()).unwrap();
        let index = tar.index().unwrap();
        assert!(index.bytes.starts_with(b"{"));
        let before = tar.stamp().unwrap();
        std::fs::write(
            file.path(),
            gzip(&crate::layout::tar::tests::layout_bytes()),
        )
        .unwrap();
        assert_ne!(tar.stamp().unwrap(), before);
        assert_eq!(tar.index().unwrap().stamp, tar.stamp().unwrap());
        std::fs::write(file.path(), b"\x1f\x8b").unwrap();
        assert!(tar.stamp().is_ok());
        assert!(matches!(tar.index(), Err(SourceError::Archive { .. })));
    }
}
