//! The manifest that stores an envelope, byte for byte as notation 1.3.2 writes it.

use std::collections::BTreeMap;

use crate::notary::payload::{go_object, go_string};
use crate::notary::{Chain, EnvelopeFormat};
use crate::oci::media_type::{IMAGE_MANIFEST, NOTARY_SIGNATURE};
use crate::oci::{Descriptor, Digest, UnixTime};

/// The annotation with the fingerprints of the chain.
const THUMBPRINT: &str = "io.cncf.notary.x509chain.thumbprint#S256";
/// The annotation with the signing time.
const CREATED: &str = "org.opencontainers.image.created";
/// The config blob, the same for every signature.
const CONFIG: &[u8] = b"{}";

/// Returns the manifest and its descriptor, annotations included.
pub(super) fn write(
    format: EnvelopeFormat,
    envelope: &[u8],
    subject: &Descriptor,
    chain: &Chain,
    signing_time: UnixTime,
) -> (Vec<u8>, Descriptor) {
    let thumbprints: Vec<String> = chain
        .certificates()
        .iter()
        .map(|certificate| format!("\"{}\"", certificate.fingerprint().hex()))
        .collect();
    let annotations = BTreeMap::from([
        (
            THUMBPRINT.to_owned(),
            format!("[{}]", thumbprints.join(",")),
        ),
        (CREATED.to_owned(), signing_time.rfc3339()),
    ]);
    let config = described(NOTARY_SIGNATURE, &Digest::of(CONFIG), size(CONFIG));
    let layer = described(format.media_type(), &Digest::of(envelope), size(envelope));
    let subject = described(&subject.media_type, &subject.digest, subject.size);
    let annotated = go_object(&annotations);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE_MANIFEST}","config":{config},"layers":[{layer}],"subject":{subject},"annotations":{annotated}}}"#
    )
    .into_bytes();
    let mut descriptor = Descriptor::new(IMAGE_MANIFEST, Digest::of(&manifest), size(&manifest));
    descriptor.annotations = annotations.into();
    (manifest, descriptor)
}

fn described(media_type: &str, digest: &Digest, size: u64) -> String {
    format!(
        r#"{{"mediaType":{},"digest":{},"size":{size}}}"#,
        go_string(media_type),
        go_string(&digest.to_string())
    )
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length in memory fits 64 bits")
}
