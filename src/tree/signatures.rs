//! The files of one signature below `signatures/ALG-HEX/`.

use std::sync::Arc;

use crate::report::{self, ImageReport, SignatureReport};

/// Returns the files of one signature: the envelope as it is, everything decoded, and the chain.
pub(super) fn signature_files(
    image: &ImageReport,
    signature: &SignatureReport,
) -> Vec<(String, Arc<[u8]>)> {
    let hex = signature.manifest.digest.hex();
    let mut files = Vec::new();
    if let (Some(format), Some(bytes)) = (signature.format, &signature.bytes) {
        files.push((format!("{hex}.{}", format.word()), Arc::clone(bytes)));
    }
    let json = report::signature_json(image, signature);
    files.push((format!("{hex}.json"), Arc::from(json.into_bytes())));
    if let Some(intact) = &signature.intact {
        let pem: String = intact
            .chain
            .certificates()
            .iter()
            .map(crate::notary::Certificate::pem)
            .collect();
        files.push((format!("{hex}.pem"), Arc::from(pem.into_bytes())));
    }
    files
}
