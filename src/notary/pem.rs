//! PEM blocks as people have them: any line length, blank lines, CRLF, text around and between. RFC 7468, read leniently.
//!
//! A block that is broken is an error, not passed over: a trust store file must not lose a certificate silently.

use base64ct::{Base64, Encoding as _};
use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Is one block, not decoded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// What the block says it holds, such as `CERTIFICATE`.
    pub(super) label: &'a [u8],
    /// The bytes between the two marking lines.
    pub(super) body: &'a [u8],
}

/// Says what is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(super) struct PemError {
    problem: &'static str,
}

const fn refused(problem: &'static str) -> PemError {
    PemError { problem }
}

impl Block<'_> {
    /// Decodes the block. The bytes may be secret.
    pub(super) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, PemError> {
        let mut text = Zeroizing::new(Vec::with_capacity(self.body.len()));
        text.extend(self.body.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let mut buffer = Zeroizing::new(vec![0; text.len()]);
        let length = Base64::decode(text.as_slice(), &mut buffer)
            .map_err(|_| refused("a PEM block is not base64"))?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

/// Returns the blocks in a file; none if it is not PEM at all.
pub(super) fn blocks(file: &[u8]) -> Result<Vec<Block<'_>>, PemError> {
    let mut found = Vec::new();
    let mut rest = file;
    while let Some((line, after)) = next_line(rest) {
        rest = after;
        let Some(label) = marked(line, BEGIN) else {
            continue;
        };
        let (block, after) = until_end(label, after)?;
        found.push(block);
        rest = after;
    }
    Ok(found)
}

/// Returns the block whose first line was read, and what follows its last line.
fn until_end<'a>(label: &'a [u8], text: &'a [u8]) -> Result<(Block<'a>, &'a [u8]), PemError> {
    let mut rest = text;
    while let Some((line, after)) = next_line(rest) {
        if line.starts_with(END) {
            if marked(line, END) != Some(label) {
                return Err(refused("a PEM block ends with another label"));
            }
            let length = text.len().saturating_sub(rest.len());
            let body = text.get(..length).unwrap_or_default();
            return Ok((Block { label, body }, after));
        }
        rest = after;
    }
    Err(refused("a PEM block has no end"))
}

/// Returns the first line without its end, and what follows; nothing at the end of the text.
fn next_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let (line, rest) = text.split_at_checked(end)?;
            Some((line, rest.get(1..).unwrap_or_default()))
        }
        None => Some((text, &[])),
    }
}

/// Returns the label of a line that marks the begin or the end of a block.
fn marked<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    line.trim_ascii_end()
        .strip_prefix(prefix)?
        .strip_suffix(DASHES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, Vec<u8>)>, PemError> {
        blocks(text.as_bytes())?
            .iter()
            .map(|block| {
                let label = String::from_utf8(block.label.to_vec()).unwrap();
                Ok((label, block.decode()?.to_vec()))
            })
            .collect()
    }

    #[test]
    fn reads_blocks_in_any_layout() {
        let one = vec![("A B".to_owned(), b"abcdef".to_vec())];
        for text in [
            "-----BEGIN A B-----\nYWJjZGVm\n-----END A B-----\n",
            "-----BEGIN A B-----\r\nYWJj\r\n\r\nZGVm \r\n-----END A B-----",
            "x\n-----BEGIN A B----- \nYW JjZGVm\n-----END A B-----\t\ny",
        ] {
            assert_eq!(read(text).unwrap(), one, "{text}");
        }
        let two = "-----BEGIN A-----\nYQ==\n-----END A-----\n-----BEGIN B-----\n-----END B-----\n";
        assert_eq!(
            read(two).unwrap(),
            [("A".to_owned(), b"a".to_vec()), ("B".to_owned(), vec![])]
        );
    }

    #[test]
    fn finds_nothing_where_no_line_begins_a_block() {
        for text in [
            "",
            "x",
            " -----BEGIN A-----\n",
            "\u{feff}-----BEGIN A-----\n-----END A-----\n",
        ] {
            assert_eq!(read(text).unwrap(), [], "{text}");
        }
    }

    #[test]
    fn refuses_broken_blocks() {
        for text in [
            "-----BEGIN A-----\nYQ==\n",
            "-----BEGIN A-----\nYQ==\n-----END B-----\n",
            "-----BEGIN A-----\nYQ\n-----END A-----\n",
            "-----BEGIN A-----\nYR==\n-----END A-----\n",
            "-----BEGIN A-----\nKey: value\n\nYQ==\n-----END A-----\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
