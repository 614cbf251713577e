//! The files of one signature below `signatures/ALG-HEX/`.

use std::sync::Arc;

use super::later::{Later, Place};
use crate::report::SignatureReport;

/// Is what a file holds.
pub(super) enum Content {
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// What is rendered when it is asked for.
    Later(Later),
}

/// Returns the files of one signature: the envelope as it is, everything decoded, and the chain.
pub(super) fn signature_files(place: Place, signature: &SignatureReport) -> Vec<(String, Content)> {
    let hex = signature.manifest.digest.hex();
    let mut files = Vec::new();
    if let (Some(format), Some(bytes)) = (signature.format, &signature.bytes) {
        let bytes = Content::Bytes(Arc::clone(bytes));
        files.push((format!("{hex}.{}", format.word()), bytes));
    }
    let decoded = Content::Later(Later::Signature(place));
    files.push((format!("{hex}.json"), decoded));
    if signature.intact.is_some() {
        files.push((format!("{hex}.pem"), Content::Later(Later::Chain(place))));
    }
    files
}
