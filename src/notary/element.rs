//! The little DER that certificates and names need: elements with lengths in their shortest form, and the primitive types.
//!
//! Reads what Go's parser reads, so that both see the same certificate or none.

/// The tag of a boolean.
pub(super) const BOOLEAN: u8 = 0x01;
/// The tag of an integer.
pub(super) const INTEGER: u8 = 0x02;
/// The tag of a bit string.
pub(super) const BIT_STRING: u8 = 0x03;
/// The tag of an octet string.
pub(super) const OCTET_STRING: u8 = 0x04;
/// The tag of an object identifier.
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
/// The tag of a time with a year of two digits.
pub(super) const UTC_TIME: u8 = 0x17;
/// The tag of a time with a year of four digits.
pub(super) const GENERALIZED_TIME: u8 = 0x18;
/// The tag of a sequence.
pub(super) const SEQUENCE: u8 = 0x30;
/// The tag of a set.
pub(super) const SET: u8 = 0x31;

/// Returns the tag of a primitive element with a context-specific number.
pub(super) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// Returns the tag of a constructed element with a context-specific number.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// Says why bytes are not the DER that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(super) struct ElementError {
    /// What is wrong.
    pub(super) problem: &'static str,
}

/// Returns the refusal for a problem.
pub(super) const fn refused(problem: &'static str) -> ElementError {
    ElementError { problem }
}

/// Reads elements one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Returns a reader of `bytes`.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns whether everything was read.
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns what was not read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Refuses bytes after the last element.
    pub(super) fn finish(&self) -> Result<(), ElementError> {
        match self.rest {
            [] => Ok(()),
            _ => Err(refused("bytes after the last element")),
        }
    }

    /// Returns whether the next element has this tag.
    pub(super) fn is_next(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    /// Returns the content of the next element, which must have this tag.
    pub(super) fn expect_tag(&mut self, expected: u8) -> Result<&'a [u8], ElementError> {
        match self.element()? {
            (tag, content) if tag == expected => Ok(content),
            _ => Err(refused("an element of another type")),
        }
    }

    /// Returns the content of the next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, ElementError> {
        if self.is_next(tag) {
            self.expect_tag(tag).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Returns a reader of the next element's content.
    pub(super) fn within(&mut self, tag: u8) -> Result<Self, ElementError> {
        self.expect_tag(tag).map(Self::new)
    }

    /// Returns the whole next element, tag and length included, which must have this tag.
    pub(super) fn whole(&mut self, tag: u8) -> Result<&'a [u8], ElementError> {
        let before = self.rest;
        self.expect_tag(tag)?;
        let length = before.len().saturating_sub(self.rest.len());
        before.get(..length).ok_or(refused("the bytes end early"))
    }

    /// Returns the tag and content of the next element.
    pub(super) fn element(&mut self) -> Result<(u8, &'a [u8]), ElementError> {
        let [tag, length, rest @ ..] = self.rest else {
            return Err(refused("the bytes end early"));
        };
        if tag & 0x1f == 0x1f {
            return Err(refused("a tag of several bytes"));
        }
        let (length, rest) = match length {
            0..0x80 => (usize::from(*length), rest),
            _ => long_length(usize::from(length & 0x7f), rest)?,
        };
        let (content, rest) = rest
            .split_at_checked(length)
            .ok_or(refused("the bytes end early"))?;
        self.rest = rest;
        Ok((*tag, content))
    }

    /// Returns the content of an integer in its shortest form, big-endian.
    pub(super) fn integer(&mut self) -> Result<&'a [u8], ElementError> {
        match self.expect_tag(INTEGER)? {
            [] => Err(refused("an empty integer")),
            [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => {
                Err(refused("an integer that is not in its shortest form"))
            }
            content => Ok(content),
        }
    }

    /// Returns an integer from 0 to `u64::MAX`.
    pub(super) fn small_integer(&mut self) -> Result<u64, ElementError> {
        let content = self.integer()?;
        if content.first().is_some_and(|first| first & 0x80 != 0) {
            return Err(refused("a negative integer"));
        }
        content.iter().try_fold(0_u64, |sum, byte| {
            sum.checked_mul(256)
                .map(|sum| sum | u64::from(*byte))
                .ok_or(refused("an oversized integer"))
        })
    }

    /// Returns a boolean.
    pub(super) fn boolean(&mut self) -> Result<bool, ElementError> {
        match self.expect_tag(BOOLEAN)? {
            [0x00] => Ok(false),
            [0xff] => Ok(true),
            _ => Err(refused("a malformed boolean")),
        }
    }

    /// Returns the number of unused bits and the bytes of a bit string; unused bits are 0.
    pub(super) fn bit_string(&mut self) -> Result<(u8, &'a [u8]), ElementError> {
        let malformed = Err(refused("a malformed bit string"));
        let Some((unused, bytes)) = self.expect_tag(BIT_STRING)?.split_first() else {
            return malformed;
        };
        let mask = match unused {
            0..=7 => (1_u8 << unused).wrapping_sub(1),
            _ => return malformed,
        };
        match bytes.last() {
            None if *unused != 0 => malformed,
            Some(last) if last & mask != 0 => malformed,
            _ => Ok((*unused, bytes)),
        }
    }

    /// Returns the content of an object identifier.
    pub(super) fn identifier(&mut self) -> Result<&'a [u8], ElementError> {
        let content = self.expect_tag(OBJECT_IDENTIFIER)?;
        object_identifier(content).map(|_| content)
    }
}

/// Returns a length of `count` bytes and what follows it.
fn long_length(count: usize, rest: &[u8]) -> Result<(usize, &[u8]), ElementError> {
    if count == 0 || count > 4 {
        return Err(refused("an indefinite or oversized length"));
    }
    let (bytes, rest) = rest
        .split_at_checked(count)
        .ok_or(refused("the bytes end early"))?;
    let length = bytes
        .iter()
        .fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
    let shortest = length >= 0x80 && bytes.first().is_some_and(|first| *first != 0);
    if !shortest {
        return Err(refused("a length that is not in its shortest form"));
    }
    Ok((length, rest))
}

/// Returns the arcs of an object identifier.
pub(super) fn object_identifier(content: &[u8]) -> Result<Vec<u64>, ElementError> {
    let mut arcs = Vec::new();
    let mut value: Option<u64> = None;
    for byte in content {
        if value.is_none() && *byte == 0x80 {
            return Err(refused(
                "an object identifier that is not in its shortest form",
            ));
        }
        let next = value.unwrap_or(0) << 7 | u64::from(byte & 0x7f);
        if next > u64::from(u32::MAX >> 1) {
            return Err(refused("an object identifier with an oversized arc"));
        }
        value = Some(next);
        if byte & 0x80 == 0 {
            push_arc(&mut arcs, next);
            value = None;
        }
    }
    if arcs.is_empty() || value.is_some() {
        return Err(refused("an object identifier that ends early"));
    }
    Ok(arcs)
}

/// Appends an arc; the first one of an identifier holds two.
fn push_arc(arcs: &mut Vec<u64>, value: u64) {
    if arcs.is_empty() {
        let first = (value / 40).min(2);
        arcs.push(first);
        arcs.push(value - first * 40);
    } else {
        arcs.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_lengths_and_tags_that_are_not_der() {
        let cases: [&[u8]; 9] = [
            &[],
            &[0x30],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x01, 0],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x30, 0x85, 1, 0, 0, 0, 0],
            &[0x30, 0x02, 0],
            &[0x1f, 0x01, 0],
            &[0x30, 0xff],
        ];
        for bytes in cases {
            assert!(Reader::new(bytes).element().is_err(), "{bytes:02x?}");
        }
        assert_eq!(Reader::new(&[0x30, 1, 7]).element(), Ok((0x30, &[7][..])));
    }

    #[test]
    fn reads_integers_in_their_shortest_form_only() {
        let small = |content: &[u8]| {
            let bytes = [&[INTEGER, content.len() as u8], content].concat();
            Reader::new(&bytes).small_integer().ok()
        };
        for (content, value) in [
            (&[0][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0, 0x80], Some(128)),
            (
                &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                Some(u64::MAX),
            ),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0], None),
            (&[], None),
            (&[0, 0], None),
            (&[0xff], None),
            (&[0xff, 0xff], None),
        ] {
            assert_eq!(small(content), value, "{content:02x?}");
        }
    }

    #[test]
    fn refuses_bits_that_are_not_used() {
        let bits = |content: &[u8]| {
            let bytes = [&[BIT_STRING, content.len() as u8], content].concat();
            Reader::new(&bytes).bit_string().is_ok()
        };
        for good in [&[0][..], &[0, 0xff], &[7, 0x80], &[1, 0xfe]] {
            assert!(bits(good), "{good:02x?}");
        }
        for bad in [&[][..], &[1], &[7, 0xff], &[1, 0xff], &[8, 0]] {
            assert!(!bits(bad), "{bad:02x?}");
        }
    }
}
