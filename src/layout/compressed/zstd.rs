//! zstd, <https://www.rfc-editor.org/rfc/rfc8878>: frames one after the other, and frames to be skipped.

use std::error::Error;
use std::io::{self, Read};

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::room::Room;
use super::{COPY_AGAIN, Input, UnpackError};
use crate::oci::limits::ZSTD_WINDOW_BYTES_MAX;

/// Bytes unpacked at once, beyond the window.
const BUFFER_BYTES: usize = 256 << 10;

/// The bits of a frame's descriptor of which one or more is set where the frame tells its size: the decoder says 0 for none.
/// <https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.1.1>
const SIZE_FLAGS: u8 = 0b1110_0000;

/// Unpacks all frames.
pub(super) fn unpack(input: &mut Input<'_>, room: &mut Room<'_>) -> Result<(), UnpackError> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.ahead(4).map_err(UnpackError::Read)? {
            [] => return Ok(()),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                frame(input, room, (&mut decoder, &mut buffer))?;
            }
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => skip(input)?,
            _ => {
                return Err(UnpackError::refused(
                    "other bytes follow the compressed data",
                    COPY_AGAIN,
                ));
            }
        }
    }
}

fn frame(
    input: &mut Input<'_>,
    room: &mut Room<'_>,
    (decoder, buffer): (&mut FrameDecoder, &mut [u8]),
) -> Result<(), UnpackError> {
    let tells_size = input
        .ahead(5)
        .map_err(UnpackError::Read)?
        .get(4)
        .is_some_and(|descriptor| descriptor & SIZE_FLAGS != 0);
    decoder.reset(&mut *input).map_err(refused)?;
    let expected = tells_size.then(|| decoder.content_size());
    let mut written = 0_u64;
    loop {
        let ended = decoder.is_finished();
        if !ended {
            let strategy = BlockDecodingStrategy::UptoBytes(BUFFER_BYTES);
            decoder
                .decode_blocks(&mut *input, strategy)
                .map_err(refused)?;
        }
        loop {
            let count = decoder.read(buffer).map_err(UnpackError::of_decoder)?;
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            room.add(bytes, input.taken)?;
            written = written.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        if ended {
            break;
        }
    }
    if expected.is_some_and(|expected| expected != written) {
        return Err(UnpackError::damaged("a frame has another size"));
    }
    let stored = decoder.get_checksum_from_data();
    if stored.is_some() && stored != decoder.get_calculated_checksum() {
        return Err(UnpackError::damaged("a frame has another checksum"));
    }
    Ok(())
}

/// Skips a frame that holds nothing for us.
fn skip(input: &mut Input<'_>) -> Result<(), UnpackError> {
    let header = input.ahead(8).map_err(UnpackError::Read)?;
    let length = header.get(4..8).and_then(|field| field.first_chunk::<4>());
    let length = length.ok_or_else(UnpackError::cut_off)?;
    let mut left = u64::from(u32::from_le_bytes(*length)) + 8;
    while left > 0 {
        let there = input.ahead(1).map_err(UnpackError::Read)?.len();
        if there == 0 {
            return Err(UnpackError::cut_off());
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        input.skip(count);
        left -= u64::try_from(count).unwrap_or(0);
    }
    Ok(())
}

fn refused(error: FrameDecoderError) -> UnpackError {
    match error {
        FrameDecoderError::WindowSizeTooBig { requested, max } => UnpackError::refused(
            format!("its zstd window of {requested} bytes is larger than {max}"),
            "unpack it first: zstd -d --long=31 FILE, and name the tar",
        ),
        FrameDecoderError::DictNotProvided { .. } => UnpackError::refused(
            "it was compressed with a zstd dictionary",
            "unpack it first: zstd -d -D DICTIONARY FILE, and name the tar",
        ),
        error => match reading(&error).map(io::Error::raw_os_error) {
            Some(Some(code)) => UnpackError::Read(io::Error::from_raw_os_error(code)),
            Some(None) => UnpackError::cut_off(),
            None => UnpackError::damaged(&error.to_string()),
        },
    }
}

/// Returns the error of reading among the causes of an error.
fn reading<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(present) = cause {
        if let Some(found) = present.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = present.source();
    }
    None
}
