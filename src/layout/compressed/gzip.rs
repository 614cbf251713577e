//! gzip, <https://www.rfc-editor.org/rfc/rfc1952>: members one after the other, zeros behind the last.

use std::io::Read;

use flate2::bufread::GzDecoder;

use super::room::Room;
use super::{COPY_AGAIN, Input, UnpackError};

/// Bytes unpacked at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Unpacks all members.
pub(super) fn unpack(input: &mut Input<'_>, room: &mut Room<'_>) -> Result<(), UnpackError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let mut member = GzDecoder::new(&mut *input);
        loop {
            let count = member.read(&mut buffer).map_err(UnpackError::of_decoder)?;
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            room.add(bytes, member.get_ref().taken)?;
        }
        drop(member);
        match input.ahead(2).map_err(UnpackError::Read)? {
            [] => return Ok(()),
            [0x1f, 0x8b, ..] => {}
            [0, ..] => return zeros(input),
            _ => return Err(trailing()),
        }
    }
}

fn zeros(input: &mut Input<'_>) -> Result<(), UnpackError> {
    loop {
        let bytes = input.ahead(1).map_err(UnpackError::Read)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(trailing());
        }
        let count = bytes.len();
        input.skip(count);
    }
}

fn trailing() -> UnpackError {
    UnpackError::refused("other bytes follow the compressed data", COPY_AGAIN)
}
