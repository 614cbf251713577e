//! Why an archive is refused, and what its owner can do.

use std::borrow::Cow;

/// What helps against most: another writer.
pub(super) const REWRITE: &str = "extract it with the tool that wrote it, look at the files, and write it again: tar -C LAYOUT -cf NEW.tar .";
/// What helps where entries are of no use to a layout.
pub(super) const PLAIN: &str =
    "write it with files and folders only: tar -C LAYOUT -cf NEW.tar oci-layout index.json blobs";
/// What helps against names that lead elsewhere.
pub(super) const RELATIVE: &str = "write it with relative names: tar -C LAYOUT -cf NEW.tar .";
/// What helps against holes.
pub(super) const SPARSE: &str = "write it without --sparse: tar -C LAYOUT -cf NEW.tar .";
/// What helps against volumes.
pub(super) const VOLUMES: &str = "write it as one archive: tar -C LAYOUT -cf NEW.tar .";
/// What helps against an archive that ends early.
pub(super) const INCOMPLETE: &str = "copy or download it again: this one is not complete";
/// What helps against two of a name.
pub(super) const TWICE: &str =
    "keep one of the two: tar -xf extracts the later one; write the archive again from that folder";
/// What helps against a limit.
pub(super) const SMALLER: &str = "extract it and name the folder";

/// Is why an archive is refused; the scanner adds which entry it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// What is wrong, as words that follow on the entry's name.
    pub(super) text: Cow<'static, str>,
    /// What to do.
    pub(super) advice: &'static str,
}

impl Problem {
    /// Returns a problem with its own advice.
    pub(super) fn new(text: impl Into<Cow<'static, str>>, advice: &'static str) -> Self {
        Self {
            text: text.into(),
            advice,
        }
    }
}

impl From<&'static str> for Problem {
    fn from(text: &'static str) -> Self {
        Self::new(text, REWRITE)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self::new(text, REWRITE)
    }
}

/// Returns a name from an archive for a message: whole names are up to 4 KiB long.
pub(super) fn shown(name: &[u8]) -> String {
    const SHOWN_BYTES: usize = 200;
    match name.split_at_checked(SHOWN_BYTES) {
        Some((start, _)) => format!("{}...", String::from_utf8_lossy(start)),
        None => String::from_utf8_lossy(name).into_owned(),
    }
}
