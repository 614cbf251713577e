//! What was written on one handle of a control file and is not yet judged.

use super::FsError;
use crate::oci::Digest;

/// Tells in which order a handle was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// From an empty file on, or at the end: a whole document is recognised as soon as it is there.
    Sequential,
    /// In place: only a close tells that it is whole.
    Anywhere,
}

/// Tells how a handle was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// Created or truncated, when the control state had this revision.
    Empty(u64),
    /// For appending.
    Append(Vec<u8>),
    /// For writing in place.
    InPlace(Vec<u8>),
}

/// Is the writing on one handle.
#[derive(Debug)]
pub(super) struct Draft {
    /// The process that opened it (its thread group).
    pub(super) opener: u32,
    bytes: Vec<u8>,
    order: Order,
    append: bool,
    written: bool,
    truncated_at: Option<u64>,
    answer: Option<(Digest, Result<(), FsError>)>,
}

impl Draft {
    /// Begins a draft.
    pub(super) fn new(opener: u32, start: Start) -> Self {
        let (bytes, order, append, truncated_at) = match start {
            Start::Empty(revision) => (Vec::new(), Order::Sequential, false, Some(revision)),
            Start::Append(bytes) => (bytes, Order::Sequential, true, None),
            Start::InPlace(bytes) => (bytes, Order::Anywhere, false, None),
        };
        Self {
            opener,
            bytes,
            order,
            append,
            written: false,
            truncated_at,
            answer: None,
        }
    }

    /// Writes bytes; at the end where the handle appends, whatever the offset.
    pub(super) fn write(&mut self, offset: u64, data: &[u8], limit: u64) -> Result<(), FsError> {
        // Nothing written is nothing changed, wherever that is (POSIX, write).
        if data.is_empty() {
            return Ok(());
        }
        let too_large = FsError::TooLarge { limit };
        let length = self.bytes.len();
        let at = if self.append {
            length
        } else {
            usize::try_from(offset).map_err(|_| too_large.clone())?
        };
        let end = at.checked_add(data.len()).ok_or(too_large.clone())?;
        if u64::try_from(end).map_or(true, |end| end > limit) {
            return Err(too_large);
        }
        if at != length {
            self.order = Order::Anywhere;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(target) = self.bytes.get_mut(at..end) {
            target.copy_from_slice(data);
        }
        self.written = true;
        Ok(())
    }

    /// Takes back what was written behind a length.
    pub(super) fn take_back(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Changes the size; an emptied handle is sequential again.
    pub(super) fn resize(&mut self, size: u64, limit: u64, revision: u64) -> Result<(), FsError> {
        if size > limit {
            return Err(FsError::TooLarge { limit });
        }
        let size = usize::try_from(size).map_err(|_| FsError::TooLarge { limit })?;
        self.bytes.resize(size, 0);
        if size == 0 {
            self.order = Order::Sequential;
            self.written = false;
            self.truncated_at = Some(revision);
        } else {
            self.order = Order::Anywhere;
            self.written = true;
        }
        Ok(())
    }

    /// Returns the bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the bytes out, leaving an empty draft.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Returns the order.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// Returns whether anything was written on this handle.
    pub(super) fn is_written(&self) -> bool {
        self.written
    }

    /// Returns the revision at which the file was emptied, where nothing was written since.
    pub(super) fn emptied_at(&self) -> Option<u64> {
        self.truncated_at.filter(|_| !self.written)
    }

    /// Returns the size where it differs from the file's.
    pub(super) fn staged_bytes(&self) -> Option<u64> {
        (self.written || self.truncated_at.is_some())
            .then(|| u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }

    /// Returns the answer that exactly these bytes got before.
    pub(super) fn answered(&self) -> Option<Result<(), FsError>> {
        let (digest, answer) = self.answer.as_ref()?;
        digest.matches(&self.bytes).then(|| answer.clone())
    }

    /// Remembers the answer to the present bytes.
    pub(super) fn note(&mut self, answer: Result<(), FsError>) -> Result<(), FsError> {
        self.answer = Some((Digest::of(&self.bytes), answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appending_ignores_the_offset() {
        let mut draft = Draft::new(1, Start::Append(b"ab".to_vec()));
        draft.write(0, b"cd", 100).unwrap();
        assert_eq!(draft.bytes(), b"abcd");
        assert_eq!(draft.order(), Order::Sequential);
    }

    #[test]
    fn writing_elsewhere_ends_the_sequence_and_emptying_begins_it() {
        let mut draft = Draft::new(1, Start::Empty(3));
        assert_eq!(draft.emptied_at(), Some(3));
        draft.write(0, b"abcd", 100).unwrap();
        assert_eq!(draft.order(), Order::Sequential);
        draft.write(1, b"x", 100).unwrap();
        assert_eq!(
            (draft.order(), draft.bytes()),
            (Order::Anywhere, &b"axcd"[..])
        );
        draft.resize(0, 100, 5).unwrap();
        assert_eq!(
            (draft.order(), draft.emptied_at()),
            (Order::Sequential, Some(5))
        );
    }

    #[test]
    fn what_is_taken_back_leaves_the_sequence_whole() {
        let mut draft = Draft::new(1, Start::Empty(0));
        draft.write(0, b"{", 100).unwrap();
        draft.write(1, b"]", 100).unwrap();
        draft.take_back(1);
        assert!(draft.note(Err(FsError::IncompletePolicy)).is_err());
        assert!(draft.is_written() && draft.answered().is_some());
        draft.write(1, b"}", 100).unwrap();
        assert_eq!(
            (draft.order(), draft.bytes()),
            (Order::Sequential, &b"{}"[..])
        );
        assert!(draft.answered().is_none());
    }

    #[test]
    fn the_limit_is_exact() {
        let mut draft = Draft::new(1, Start::Empty(0));
        draft.write(0, &[b'x'; 10], 10).unwrap();
        assert!(draft.write(10, b"y", 10).is_err());
        assert!(draft.write(u64::MAX, b"y", 10).is_err());
        assert!(draft.resize(11, 10, 0).is_err());
        assert_eq!(draft.bytes().len(), 10);
    }

    #[test]
    fn an_answer_is_for_the_bytes_it_was_given_for() {
        let mut draft = Draft::new(1, Start::Empty(0));
        draft.write(0, b"{}", 10).unwrap();
        assert!(draft.note(Err(FsError::IncompletePolicy)).is_err());
        assert!(draft.answered().is_some_and(|answer| answer.is_err()));
        draft.write(2, b" ", 10).unwrap();
        assert!(draft.answered().is_none());
    }
}
