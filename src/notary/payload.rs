//! The payload of a signature: which artifact it names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{EnvelopeFormat, TargetArtifact};
use crate::oci::{Descriptor, json};

const TARGET: &str = "targetArtifact";

/// Returns the target that a payload names.
///
/// Unknown members are accepted, as notation does; duplicates and other spellings of known ones are not.
///
/// # Errors
/// Says in words why the payload is not understood.
pub(super) fn read(payload: &[u8]) -> Result<TargetArtifact, String> {
    let value = json::parse(payload).map_err(|error| error.to_string())?;
    let Value::Object(object) = value else {
        return Err("it is not a JSON object".to_owned());
    };
    if let Some(name) = json::case_variant(&object, &[TARGET]) {
        return Err(format!(
            "member {name:?} differs from {TARGET:?} only in case"
        ));
    }
    let Some(target) = object.get(TARGET) else {
        return Err(format!("member {TARGET:?} is missing"));
    };
    let descriptor = Descriptor::from_json(target).map_err(|error| error.to_string())?;
    Ok(TargetArtifact { descriptor })
}

/// Returns the payload that notation writes: JWS with sorted members, COSE in the order of the specification.
pub(super) fn write(
    format: EnvelopeFormat,
    target: &Descriptor,
    metadata: &BTreeMap<String, String>,
) -> String {
    let media_type = go_string(&target.media_type);
    let digest = go_string(&target.digest.to_string());
    let size = target.size;
    let annotations = go_object(metadata);
    let described = match (format, metadata.is_empty()) {
        (EnvelopeFormat::Jws, true) => {
            format!(r#""digest":{digest},"mediaType":{media_type},"size":{size}"#)
        }
        (EnvelopeFormat::Jws, false) => format!(
            r#""annotations":{annotations},"digest":{digest},"mediaType":{media_type},"size":{size}"#
        ),
        (EnvelopeFormat::Cose, true) => {
            format!(r#""mediaType":{media_type},"digest":{digest},"size":{size}"#)
        }
        (EnvelopeFormat::Cose, false) => format!(
            r#""mediaType":{media_type},"digest":{digest},"size":{size},"annotations":{annotations}"#
        ),
    };
    format!(r#"{{"{TARGET}":{{{described}}}}}"#)
}

/// Returns a JSON object of texts as Go writes it, sorted by key.
pub(super) fn go_object(members: &BTreeMap<String, String>) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(key, value)| format!("{}:{}", go_string(key), go_string(value)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Returns a JSON string as Go writes it: `<`, `>`, `&`, U+2028 and U+2029 are escaped beyond what JSON asks for.
pub(super) fn go_string(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, media_type};

    fn target() -> Descriptor {
        Descriptor::new(media_type::IMAGE_MANIFEST, Digest::of(b"{}"), 2)
    }

    const HEX: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn writes_what_notation_writes() {
        let metadata = BTreeMap::from([
            ("b<".to_owned(), "&\u{2028}\n".to_owned()),
            ("a".to_owned(), "\u{fc}".to_owned()),
        ]);
        let media_type = media_type::IMAGE_MANIFEST;
        let annotations = "{\"a\":\"\u{fc}\",\"b\\u003c\":\"\\u0026\\u2028\\n\"}";
        assert_eq!(
            write(EnvelopeFormat::Jws, &target(), &metadata),
            format!(
                r#"{{"targetArtifact":{{"annotations":{annotations},"digest":"sha256:{HEX}","mediaType":"{media_type}","size":2}}}}"#
            )
        );
        assert_eq!(
            write(EnvelopeFormat::Cose, &target(), &metadata),
            format!(
                r#"{{"targetArtifact":{{"mediaType":"{media_type}","digest":"sha256:{HEX}","size":2,"annotations":{annotations}}}}}"#
            )
        );
        assert_eq!(
            write(EnvelopeFormat::Jws, &target(), &BTreeMap::new()),
            format!(
                r#"{{"targetArtifact":{{"digest":"sha256:{HEX}","mediaType":"{media_type}","size":2}}}}"#
            )
        );
    }

    #[test]
    fn reads_what_it_wrote() {
        let metadata = BTreeMap::from([("k".to_owned(), "<v>".to_owned())]);
        for format in [EnvelopeFormat::Jws, EnvelopeFormat::Cose] {
            let read = read(write(format, &target(), &metadata).as_bytes()).unwrap();
            assert!(read.descriptor.same_content(&target()));
            assert_eq!(read.descriptor.annotations, metadata);
        }
    }

    #[test]
    fn refuses_payloads_that_two_readers_could_understand_differently() {
        let good = write(EnvelopeFormat::Jws, &target(), &BTreeMap::new());
        for payload in [
            "[]".to_owned(),
            "{}".to_owned(),
            String::new(),
            good.replace("targetArtifact", "TARGETARTIFACT"),
            good.replace("\"size\":2", "\"size\":2,\"Size\":3"),
            good.replace("\"size\":2", "\"size\":2,\"size\":2"),
            good.replace("\"size\":2", "\"size\":2.0"),
            format!("{good}x"),
        ] {
            assert!(read(payload.as_bytes()).is_err(), "{payload}");
        }
        assert!(read(good.replace("{\"target", "{\"more\":1,\"target").as_bytes()).is_ok());
    }
}
