//! Sealing: what is written, what is refused.

use super::*;
use crate::notary::testing::{NOW, PAIRS, pair, payload, sealed};
use crate::notary::{SignatureAlgorithm, SigningScheme};
use crate::oci::{Digest, media_type};

const FORMATS: [EnvelopeFormat; 2] = [EnvelopeFormat::Jws, EnvelopeFormat::Cose];

fn terms(format: EnvelopeFormat) -> Terms {
    Terms {
        format,
        expiry_seconds: None,
    }
}

/// Returns all that an intact envelope says.
fn parts(intact: &IntactEnvelope) -> (String, Chain) {
    let IntactEnvelope {
        format,
        scheme,
        signing_time,
        expiry,
        chain,
        target,
        payload,
        attributes,
        agent,
        timestamp,
        raw_signature,
    } = intact;
    let headers = (format, scheme, signing_time, expiry, attributes);
    let rest = (target, payload, agent, timestamp, raw_signature);
    (format!("{headers:?} {rest:?}"), chain.clone())
}

#[test]
fn seals_with_all_six_types_of_key() {
    let algorithms = [
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::Es384,
        SignatureAlgorithm::Es512,
        SignatureAlgorithm::Ps256,
        SignatureAlgorithm::Ps384,
        SignatureAlgorithm::Ps512,
    ];
    for (pair, algorithm) in PAIRS.iter().zip(algorithms) {
        for format in FORMATS {
            let signer = pair.signer();
            let sealed = signer.seal(&payload(), &terms(format), NOW).unwrap();
            let intact = Envelope::parse(format.media_type(), &sealed.envelope)
                .unwrap()
                .check()
                .unwrap();
            assert_eq!(parts(&sealed.intact), parts(&intact));
            assert_eq!(intact.algorithm(), algorithm);
            assert_eq!(intact.scheme, SigningScheme::X509);
            assert_eq!(intact.signing_time, NOW);
            assert_eq!(intact.expiry, None);
            assert_eq!(intact.chain.certificates(), pair.certificates());
            assert_eq!(
                intact.agent.as_deref(),
                Some(concat!("signetfs/", env!("CARGO_PKG_VERSION")))
            );
            let target = intact.target.unwrap().descriptor;
            assert!(target.same_content(&payload().target));
            assert_eq!(target.annotations, payload().metadata);
        }
    }
}

#[test]
fn writes_the_bytes_of_a_jws_envelope() {
    let sealed = sealed("p256", EnvelopeFormat::Jws);
    let text = String::from_utf8(sealed.envelope).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(
        names(&value),
        ["payload", "protected", "header", "signature"]
    );
    assert_eq!(
        names(&value["header"]),
        ["x5c", "io.cncf.notary.signingAgent"]
    );
    assert_eq!(serde_json::to_string(&value).unwrap(), text);
    let decoded = |name: &str| {
        use base64ct::Encoding as _;
        let bytes = base64ct::Base64UrlUnpadded::decode_vec(value[name].as_str().unwrap());
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    assert_eq!(
        decoded("protected"),
        concat!(
            r#"{"alg":"ES256","crit":["io.cncf.notary.signingScheme","io.cncf.notary.expiry"],"#,
            r#""cty":"application/vnd.cncf.notary.payload.v1+json","#,
            r#""io.cncf.notary.expiry":"2030-01-02T00:00:00Z","#,
            r#""io.cncf.notary.signingScheme":"notary.x509","#,
            r#""io.cncf.notary.signingTime":"2030-01-01T00:00:00Z"}"#
        )
    );
    assert!(decoded("payload").starts_with(
        r#"{"targetArtifact":{"annotations":{"build":"a\u003cb\u003e\u0026c"},"digest":"sha256:44"#
    ));
}

#[test]
fn writes_the_bytes_of_a_cose_envelope() {
    let envelope = sealed("p256", EnvelopeFormat::Cose).envelope;
    let text = |text: &str| {
        let mut out = Vec::new();
        crate::notary::cbor::write_text(&mut out, text);
        out
    };
    let protected = [
        vec![0xa6, 0x01, 0x26, 0x02, 0x82],
        text("io.cncf.notary.signingScheme"),
        text("io.cncf.notary.expiry"),
        vec![0x03],
        text("application/vnd.cncf.notary.payload.v1+json"),
        text("io.cncf.notary.expiry"),
        vec![0xc1, 0x1a, 0x70, 0xdd, 0x2a, 0x00],
        text("io.cncf.notary.signingTime"),
        vec![0xc1, 0x1a, 0x70, 0xdb, 0xd8, 0x80],
        text("io.cncf.notary.signingScheme"),
        text("notary.x509"),
    ]
    .concat();
    let start = [
        vec![0xd2, 0x84, 0x58, u8::try_from(protected.len()).unwrap()],
        protected,
        vec![0xa2, 0x18, 0x21, 0x81, 0x59],
    ]
    .concat();
    assert_eq!(envelope[..start.len()], start);
    let payload = br#"{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"build":"a\u003cb\u003e\u0026c"}}}"#;
    let end = envelope.len() - 66 - payload.len();
    assert_eq!(envelope[end..envelope.len() - 66], payload[..]);
    assert_eq!(envelope[envelope.len() - 66..][..2], [0x58, 64]);
}

#[test]
fn writes_the_manifest_that_notation_writes() {
    for format in FORMATS {
        let sealed = sealed("p384", format);
        let thumbprint = pair("p384").certificates()[0].fingerprint().hex();
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let expected = format!(
            concat!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""config":{{"mediaType":"application/vnd.cncf.notary.signature","digest":"{empty}","size":2}},"#,
                r#""layers":[{{"mediaType":"{layer}","digest":"{digest}","size":{size}}}],"#,
                r#""subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{empty}","size":2}},"#,
                r#""annotations":{{"io.cncf.notary.x509chain.thumbprint#S256":"[\"{thumbprint}\"]","#,
                r#""org.opencontainers.image.created":"2030-01-01T00:00:00Z"}}}}"#
            ),
            empty = empty,
            layer = format.media_type(),
            digest = Digest::of(&sealed.envelope),
            size = sealed.envelope.len(),
            thumbprint = thumbprint,
        );
        assert_eq!(
            String::from_utf8(sealed.manifest.clone()).unwrap(),
            expected
        );
        assert_eq!(sealed.descriptor.media_type, media_type::IMAGE_MANIFEST);
        assert!(sealed.descriptor.digest.matches(&sealed.manifest));
        assert_eq!(sealed.descriptor.annotations.len(), 2);
    }
}

#[test]
fn signs_differently_each_time_in_one_second() {
    for name in ["p256", "p384", "p521", "rsa2048"] {
        let first = sealed(name, EnvelopeFormat::Jws);
        let second = sealed(name, EnvelopeFormat::Jws);
        assert_ne!(first.descriptor.digest, second.descriptor.digest, "{name}");
    }
}

#[test]
fn refuses_metadata_and_expiry_in_notations_words() {
    let signer = pair("p256").signer();
    let seal = |key: &str, value: &str, expiry_seconds: Option<i64>| {
        let mut payload = payload();
        payload.metadata.insert(key.to_owned(), value.to_owned());
        let terms = Terms {
            format: EnvelopeFormat::Jws,
            expiry_seconds,
        };
        signer.seal(&payload, &terms, NOW)
    };
    for (key, value, expiry, words) in [
        (
            "io.cncf.notary.x",
            "v",
            None,
            "error adding user metadata: metadata key io.cncf.notary.x has reserved prefix io.cncf.notary",
        ),
        ("", "v", None, "empty key or value"),
        ("k", "", None, "empty key or value"),
        (
            "k",
            "v",
            Some(-1),
            "expiry duration cannot be a negative value",
        ),
        ("k", "v", Some(i64::MAX), "the expiry is after year 9999"),
    ] {
        let error = seal(key, value, expiry).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(seal("k", "v", Some(0)).is_ok());
    assert!(seal("k", "v", Some(1)).is_ok());
}

#[test]
fn refuses_to_sign_outside_the_validity_of_the_chain() {
    let signer = pair("p256").signer();
    let certificate = &pair("p256").certificates()[0];
    let seal = |now| signer.seal(&payload(), &terms(EnvelopeFormat::Cose), now);
    assert!(seal(certificate.not_before).is_ok());
    assert!(seal(certificate.not_after).is_ok());
    for now in [
        certificate.not_before.plus(-1),
        certificate.not_after.plus(1),
    ] {
        assert!(matches!(
            seal(now),
            Err(SignError::Chain(ChainError::NotValidAt { position: 0, .. }))
        ));
    }
}

#[test]
fn refuses_a_key_that_does_not_match() {
    let key = PrivateKey::parse_pem(pair("p256").key).unwrap();
    let joined = LocalSigner::new(key, pair("p384").certificates());
    assert!(matches!(joined, Err(SignError::Mismatch)));
}
