//! Which names of a layout are shown, and which belong to writers in progress. docs/SEMANTICS.md.

use crate::files::replace::TEMPORARY_PREFIX;
use crate::oci::Digest;

/// Returns whether a root name belongs to a writer in progress, ours or another tool's.
pub(super) fn is_writers(name: &[u8]) -> bool {
    name == b"index.json.lock"
        || name == b"ingest"
        || name.starts_with(TEMPORARY_PREFIX.as_bytes())
        || name.starts_with(b"oci-put-blob")
        || name.starts_with(b".umoci-")
}

/// Returns whether a name below `blobs/` fits the grammar of algorithms.
pub(super) fn is_algorithm(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| format!("{name}:0").parse::<Digest>().is_ok())
}
