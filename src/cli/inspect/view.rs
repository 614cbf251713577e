//! Signatures as trees and as JSON, in notation's shapes.

use serde_json::{Map, Value, json};

use super::super::calendar::ansic;
use super::super::table::Tree;
use super::Shown;
use crate::notary::{Certificate, IntactEnvelope};
use crate::oci::media_type::NOTARY_SIGNATURE;
use crate::oci::{Descriptor, UnixTime};

/// Returns the tree of one image.
pub(super) fn text(name: &str, shown: &[Shown]) -> String {
    if shown.is_empty() {
        return format!("{name} has no associated signature\n");
    }
    let mut root = Tree::new(name);
    let kind = root.add(NOTARY_SIGNATURE);
    for signature in shown {
        branch(kind.add(signature.manifest.digest.to_string()), signature);
    }
    format!(
        "Inspecting all signatures for signed artifact\n{}",
        root.render()
    )
}

fn branch(tree: &mut Tree, shown: &Shown) {
    let envelope = &shown.envelope;
    tree.pair("media type", envelope.format.media_type());
    tree.pair("signature algorithm", envelope.algorithm().long_name());
    let signed = tree.add("signed attributes");
    for (name, value) in signed_attributes(envelope, ansic) {
        signed.pair(&name, &value);
    }
    let user = tree.add("user defined attributes");
    let artifact = envelope
        .target
        .as_ref()
        .ok()
        .map(|target| &target.descriptor);
    match artifact.map(|artifact| &artifact.annotations) {
        Some(annotations) if !annotations.is_empty() => {
            for (name, value) in annotations.iter() {
                user.pair(name, value);
            }
        }
        _ => {
            user.add("(empty)");
        }
    }
    let unsigned = tree.add("unsigned attributes");
    if let Some(agent) = &envelope.agent {
        unsigned.pair("signingAgent", agent);
    }
    if let Some(token) = &envelope.timestamp {
        unsigned.pair("timestamp signature", &format!("{} bytes", token.len()));
    }
    let certificates = tree.add("certificates");
    for certificate in envelope.chain.certificates() {
        let fingerprint = certificate.fingerprint().hex();
        let entry = certificates.pair("SHA256 fingerprint", &fingerprint);
        entry.pair("issued to", &certificate.subject_text());
        entry.pair("issued by", &certificate.issuer_text());
        entry.pair("expiry", &ansic(certificate.not_after));
    }
    let target = tree.add("signed artifact");
    match artifact {
        Some(artifact) => {
            target.pair("media type", &artifact.media_type);
            target.pair("digest", &artifact.digest.to_string());
            target.pair("size", &artifact.size.to_string());
        }
        None => {
            target.add("(not understood)");
        }
    }
}

/// Returns signed attributes by name: scheme, times, then what the specification does not define.
fn signed_attributes(
    envelope: &IntactEnvelope,
    time: fn(UnixTime) -> String,
) -> Vec<(String, String)> {
    let mut found = vec![
        (
            "signingScheme".to_owned(),
            envelope.scheme.name().to_owned(),
        ),
        ("signingTime".to_owned(), time(envelope.signing_time)),
    ];
    if let Some(expiry) = envelope.expiry {
        found.push(("expiry".to_owned(), time(expiry)));
    }
    for attribute in &envelope.attributes {
        let text = attribute.text.clone().unwrap_or_default();
        found.push((attribute.name.clone(), text));
    }
    found
}

/// Returns the document of one image, in notation's shape.
pub(super) fn json(image: &Descriptor, shown: &[Shown]) -> Value {
    let signatures: Vec<Value> = shown.iter().map(signature).collect();
    json!({ "mediaType": image.media_type, "Signatures": signatures })
}

/// Returns one document where one image was asked for, else all with their digests.
pub(super) fn documents(one: bool, mut documents: Vec<Value>) -> String {
    let value = match documents.pop() {
        Some(document) if one => document,
        Some(document) => {
            documents.push(document);
            Value::Array(documents)
        }
        None => Value::Array(documents),
    };
    format!("{}\n", indented(&value))
}

/// Returns JSON indented by four, as notation does.
fn indented(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => value.to_string(),
    }
}

fn signature(shown: &Shown) -> Value {
    let envelope = &shown.envelope;
    let attributes: Map<String, Value> = signed_attributes(envelope, UnixTime::rfc3339)
        .into_iter()
        .map(|(name, value)| (name, Value::from(value)))
        .collect();
    let mut unsigned = Map::new();
    if let Some(agent) = &envelope.agent {
        unsigned.insert("signingAgent".to_owned(), Value::from(agent.as_str()));
    }
    if let Some(token) = &envelope.timestamp {
        let size = format!("{} bytes", token.len());
        unsigned.insert("timestampSignature".to_owned(), Value::from(size));
    }
    let artifact = envelope
        .target
        .as_ref()
        .ok()
        .map(|target| &target.descriptor);
    let user = artifact
        .map(|artifact| &artifact.annotations)
        .filter(|annotations| !annotations.is_empty());
    let certificates: Vec<Value> = envelope
        .chain
        .certificates()
        .iter()
        .map(certificate)
        .collect();
    json!({
        "mediaType": envelope.format.media_type(),
        "digest": shown.manifest.digest.to_string(),
        "signatureAlgorithm": envelope.algorithm().long_name(),
        "signedAttributes": attributes,
        "userDefinedAttributes": user,
        "unsignedAttributes": unsigned,
        "certificates": certificates,
        "signedArtifact": artifact.map(Descriptor::to_json),
    })
}

fn certificate(certificate: &Certificate) -> Value {
    json!({
        "SHA256Fingerprint": certificate.fingerprint().hex(),
        "issuedTo": certificate.subject_text(),
        "issuedBy": certificate.issuer_text(),
        "expiry": certificate.not_after.rfc3339(),
    })
}
