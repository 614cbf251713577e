//! The JSON of a report, of a versioned schema, and of one signature.
//!
//! Members that notation's `inspect --output json` has too carry its names and values. Pure ASCII: it may reach a terminal.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::render::{content_word, origin_word, scope_origin_word};
use super::{ImageReport, Note, Problem, Report, SignatureReport, reason_text};
use crate::notary::{Action, Certificate, Check, CheckKind, IntactEnvelope};
use crate::oci::{Descriptor, UnixTime};

/// Is the version of the schema; it changes when a member changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// Returns the bytes of `verify-status.json`.
#[must_use]
pub(super) fn report(report: &Report) -> String {
    let verdict = report.verdict();
    let members = json!({
        "schema": SCHEMA,
        "verdict": verdict.token(),
        "exitCode": verdict.exit_code(),
        "policy": {
            "origin": origin_word(report.policy.origin),
            "path": report.policy.path,
            "sha256": report.policy.sha256.as_ref().map(crate::oci::Digest::hex),
            "shadowed": report.policy.shadowed,
        },
        "content": content_word(report.content),
        "scope": report.scope.as_ref().map(crate::oci::Scope::as_str),
        "scopeFrom": scope_origin_word(report.scope_origin),
        "leases": report.leases,
        "refused": report.refused,
        "validUntil": report.valid_until.map(UnixTime::rfc3339),
        "orphans": report.orphans,
        "extras": report.extras,
        "notes": report.notes.iter().map(note).collect::<Vec<_>>(),
        "problems": problems(&report.problems),
    });
    document(&WithImages {
        members,
        images: Images(&report.images),
    })
}

/// Is the document of a report. An image becomes values when it is written: those of all take ten times the room of their text.
struct WithImages<'a> {
    members: Value,
    images: Images<'a>,
}

impl Serialize for WithImages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.members.as_object().into_iter().flatten() {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("images", &self.images)?;
        map.end()
    }
}

struct Images<'a>(&'a [ImageReport]);

impl Serialize for Images<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(image))
    }
}

/// Returns the document of one signature.
#[must_use]
pub(super) fn signature_document(image: &ImageReport, report: &SignatureReport) -> String {
    let mut object = Map::new();
    object.insert("schema".to_owned(), json!(SCHEMA));
    object.insert("subject".to_owned(), descriptor(&image.descriptor));
    object.insert("statement".to_owned(), json!(image.statement));
    object.insert("level".to_owned(), json!(image.level));
    if let Value::Object(members) = signature(report) {
        object.extend(members);
    }
    document(&Value::Object(object))
}

fn image(image: &ImageReport) -> Value {
    json!({
        "name": image.name,
        "mediaType": image.descriptor.media_type,
        "digest": image.descriptor.digest.to_string(),
        "size": image.descriptor.size,
        "verdict": image.verdict.token(),
        "statement": image.statement,
        "level": image.level,
        "signer": super::render::signer(image),
        "content": { "good": image.content_good, "total": image.content_total },
        "signatures": image.signatures.iter().map(signature).collect::<Vec<_>>(),
        "problems": problems(&image.problems),
    })
}

fn note(note: &Note) -> Value {
    json!({
        "file": note.file,
        "digest": note.digest.as_ref().map(ToString::to_string),
        "check": note.check,
        "text": note.text,
        "hint": note.hint,
    })
}

fn problems(problems: &[Problem]) -> Value {
    problems
        .iter()
        .map(|problem| {
            json!({
                "verdict": problem.verdict.token(),
                "file": problem.file,
                "digest": problem.digest.as_ref().map(ToString::to_string),
                "check": problem.check,
                "problem": problem.problem,
                "hint": problem.hint,
            })
        })
        .collect()
}

fn signature(report: &SignatureReport) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    put("verdict", json!(report.verdict.token()));
    put("digest", json!(report.manifest.digest.to_string()));
    put("manifest", descriptor(&report.manifest));
    put(
        "envelope",
        report.envelope.as_ref().map_or(Value::Null, descriptor),
    );
    put(
        "mediaType",
        json!(report.format.map(crate::notary::EnvelopeFormat::media_type)),
    );
    put("foundByNotation", json!(report.plain));
    put("checks", checks(report));
    put("intact", json!(report.intact.is_some()));
    if let Some(intact) = &report.intact {
        decoded(intact, &mut put);
    }
    Value::Object(object)
}

fn checks(report: &SignatureReport) -> Value {
    let Some(outcome) = &report.outcome else {
        return Value::Null;
    };
    outcome
        .checks
        .iter()
        .map(|(kind, check, action)| one_check(*kind, check, *action))
        .collect()
}

fn one_check(kind: CheckKind, check: &Check, action: Action) -> Value {
    let (result, reason) = match check {
        Check::Passed => ("passed", None),
        Check::Failed(reason) => ("failed", Some(reason_text(reason))),
        Check::Skipped => ("skipped", None),
    };
    json!({
        "check": kind.name(),
        "action": match action {
            Action::Enforce => "enforce",
            Action::Log => "log",
            Action::Skip => "skip",
        },
        "result": result,
        "reason": reason,
    })
}

fn decoded(intact: &IntactEnvelope, put: &mut dyn FnMut(&str, Value)) {
    put("signatureAlgorithm", json!(intact.algorithm().long_name()));
    put("signedAttributes", signed_attributes(intact));
    let annotations = intact
        .target
        .as_ref()
        .ok()
        .map(|target| &target.descriptor.annotations)
        .filter(|annotations| !annotations.is_empty());
    put("userDefinedAttributes", json!(annotations));
    let mut unsigned = Map::new();
    if let Some(agent) = &intact.agent {
        unsigned.insert("signingAgent".to_owned(), json!(agent));
    }
    if let Some(token) = &intact.timestamp {
        unsigned.insert("timestampSignatureBytes".to_owned(), json!(token.len()));
    }
    put("unsignedAttributes", Value::Object(unsigned));
    let certificates = intact.chain.certificates();
    put(
        "certificates",
        certificates.iter().map(certificate).collect(),
    );
    match &intact.target {
        Ok(target) => put("signedArtifact", descriptor(&target.descriptor)),
        Err(problem) => put("payloadProblem", json!(problem)),
    }
}

fn signed_attributes(intact: &IntactEnvelope) -> Value {
    let mut signed = Map::new();
    signed.insert("signingScheme".to_owned(), json!(intact.scheme.name()));
    signed.insert(
        "signingTime".to_owned(),
        json!(intact.signing_time.rfc3339()),
    );
    if let Some(expiry) = intact.expiry {
        signed.insert("expiry".to_owned(), json!(expiry.rfc3339()));
    }
    for attribute in &intact.attributes {
        // A name of the signer's choice must not replace one of the four above.
        if !signed.contains_key(&attribute.name) {
            signed.insert(
                attribute.name.clone(),
                json!({ "critical": attribute.critical, "text": attribute.text }),
            );
        }
    }
    Value::Object(signed)
}

fn certificate(certificate: &Certificate) -> Value {
    json!({
        "SHA256Fingerprint": certificate.fingerprint().hex(),
        "issuedTo": certificate.subject_text(),
        "issuedBy": certificate.issuer_text(),
        "notBefore": certificate.not_before.rfc3339(),
        "expiry": certificate.not_after.rfc3339(),
    })
}

fn descriptor(descriptor: &Descriptor) -> Value {
    json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest.to_string(),
        "size": descriptor.size,
    })
}

/// Returns a document indented, in ASCII, with a newline at its end.
fn document(value: &impl Serialize) -> String {
    let mut pretty = serde_json::to_string_pretty(value)
        .expect("nothing here fails to be written, and names are texts");
    pretty.push('\n');
    if pretty.is_ascii() && !pretty.contains('\u{7f}') {
        return pretty;
    }
    let mut out = String::with_capacity(pretty.len());
    for character in pretty.chars() {
        if character.is_ascii() && character != '\u{7f}' {
            out.push(character);
            continue;
        }
        // Outside ASCII only strings have characters, so an escape is always in place.
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}
