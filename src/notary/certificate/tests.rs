//! Parsing certificates: files, and the encodings that are refused.

use super::*;
use crate::notary::testing::forge::{
    ACCESS, CRL_POINTS, ECDSA_SHA1, Forge, KEY_USAGE, basic_constraints, key_usage, sequence, tlv,
};
use crate::notary::testing::{PAIRS, pair};

fn leaf() -> Forge {
    Forge::leaf("leaf", "leaf")
}

#[test]
fn reads_what_the_rules_need() {
    let certificate = Forge::ca("middle", "root")
        .with(basic_constraints(true, Some(3)))
        .certificate();
    assert_eq!(certificate.subject_text(), "CN=middle");
    assert_eq!(certificate.issuer_text(), "CN=root");
    assert_eq!(certificate.not_before, UnixTime(1_767_225_600));
    assert_eq!(certificate.not_after, UnixTime(4_102_444_800));
    assert!(certificate.is_ca && !certificate.has_ocsp && !certificate.has_crl);
    assert!(!certificate.is_self_signed());
    assert_eq!(
        certificate.details().basic_constraints.unwrap().path_length,
        Some(3)
    );
    assert!(leaf().certificate().is_self_signed());
}

#[test]
fn sees_ocsp_responders_and_crl_points() {
    let uri = tlv(0x86, b"http://localhost/");
    let method = |last: u8| tlv(6, &[0x2b, 6, 1, 5, 5, 7, 48, last]);
    let access = |last: u8| {
        let description = sequence(&[method(last), uri.clone()]);
        (ACCESS.to_vec(), false, sequence(&[description]))
    };
    assert!(leaf().with(access(1)).certificate().has_ocsp);
    assert!(!leaf().with(access(2)).certificate().has_ocsp);
    let point = sequence(&[tlv(0xa0, &tlv(0xa0, &uri))]);
    let points = (CRL_POINTS.to_vec(), false, sequence(&[point]));
    let certificate = leaf().with(points).certificate();
    assert!(certificate.has_crl && !certificate.has_ocsp);
}

#[test]
fn refuses_what_go_refuses() {
    let good = leaf().der();
    assert!(Certificate::parse(&good).is_ok());
    let mut doubled = leaf();
    doubled.extensions.push(key_usage(true, 0x80));
    let indefinite = [&[0x30, 0x80][..], &good[4..], &[0, 0]].concat();
    let long_length = [&[0x30, 0x83, 0][..], &good[2..]].concat();
    let cases = [
        ("nothing", vec![]),
        ("bytes after", [good.clone(), vec![0]].concat()),
        ("cut", good[..good.len() - 1].to_vec()),
        ("duplicate extension", doubled.der()),
        (
            "other algorithm within",
            Forge {
                inner_algorithm: ECDSA_SHA1,
                ..leaf()
            }
            .der(),
        ),
        (
            "negative serial",
            Forge {
                serial: vec![0xff],
                ..leaf()
            }
            .der(),
        ),
        (
            "empty serial",
            Forge {
                serial: vec![],
                ..leaf()
            }
            .der(),
        ),
        (
            "unknown version",
            Forge {
                version: Some(3),
                ..leaf()
            }
            .der(),
        ),
        (
            "version 1 with extensions",
            Forge {
                version: None,
                ..leaf()
            }
            .der(),
        ),
        (
            "malformed key usage",
            leaf().with((KEY_USAGE.to_vec(), true, vec![4, 1, 0])).der(),
        ),
        ("indefinite length", indefinite),
        ("longer form of a length", long_length),
        (
            "time with a fraction",
            Forge {
                validity: [tlv(0x17, b"260101000000Z"), tlv(0x18, b"21000101000000.5Z")],
                ..leaf()
            }
            .der(),
        ),
    ];
    for (case, der) in cases {
        assert!(Certificate::parse(&der).is_err(), "{case}");
    }
}

#[test]
fn refuses_every_changed_byte_outside_the_signed_part() {
    let good = leaf().der();
    let original = leaf().certificate();
    for position in 0..good.len() {
        for mask in [1, 0x20, 0x80, 0xff] {
            let mut der = good.clone();
            der[position] ^= mask;
            let Ok(certificate) = Certificate::parse(&der) else {
                continue;
            };
            assert!(certificate != original);
            assert!(!certificate.is_self_signed(), "at {position}");
        }
    }
}

#[test]
fn refuses_a_certificate_over_the_limit() {
    let padded = |(length, byte): (usize, u8)| {
        leaf()
            .with((vec![0x2a, 3, 4], false, tlv(4, &vec![byte; length])))
            .der()
    };
    // The length of an ECDSA signature varies by two bytes, so the exact length is searched for.
    let of_length = |wanted: usize| {
        (CERTIFICATE_BYTES_MAX - 340..CERTIFICATE_BYTES_MAX - 330)
            .flat_map(|length| (0..8).map(move |byte| (length, byte)))
            .map(padded)
            .find(|der| der.len() == wanted)
            .unwrap()
    };
    assert!(Certificate::parse(&of_length(CERTIFICATE_BYTES_MAX)).is_ok());
    assert!(Certificate::parse(&of_length(CERTIFICATE_BYTES_MAX + 1)).is_err());
}

#[test]
fn reads_files_of_pem_and_of_der() {
    let (first, second) = (PAIRS[0].certificates(), PAIRS[3].certificates());
    let both = [first[0].clone(), second[0].clone()];
    let text = |body: &str| Certificate::parse_file(body.as_bytes());
    let pem = format!("{}{}", both[0].pem(), both[1].pem());
    assert_eq!(text(&pem).unwrap(), both);
    assert_eq!(text(&pem.replace('\n', "\r\n")).unwrap(), both);
    assert_eq!(text(&format!("hello\n{pem}\nbye\n")).unwrap(), both);
    let der = [both[0].der(), both[1].der()].concat();
    assert_eq!(Certificate::parse_file(&der).unwrap(), both);
    assert_eq!(both[0].pem().as_bytes(), PAIRS[0].certificate);
}

#[test]
fn refuses_files_with_anything_else() {
    let pem = PAIRS[0].certificates()[0].pem();
    let key = std::str::from_utf8(PAIRS[0].key).unwrap();
    for body in [
        "",
        "hello",
        key,
        &format!("{pem}{key}"),
        &pem.replace("M", "*"),
        &pem.replace("-----END", "END"),
        &format!("\u{feff}{pem}"),
    ] {
        assert!(Certificate::parse_file(body.as_bytes()).is_err(), "{body}");
    }
    let der = PAIRS[0].certificates()[0].der().to_vec();
    assert!(Certificate::parse_file(&[der, vec![0]].concat()).is_err());
}

#[test]
fn refuses_points_that_are_not_uncompressed() {
    use p256::pkcs8::EncodePublicKey as _;
    let certificate = &pair("p256").certificates()[0];
    let PublicKey::P256(key) = certificate.key() else {
        panic!("P-256");
    };
    let whole = key.to_public_key_der().unwrap().into_vec();
    assert!(matches!(PublicKey::from_spki(&whole), PublicKey::P256(_)));
    // The same point in compressed form: 33 bytes instead of 65.
    let (head, point) = whole.split_at(whole.len() - 65);
    let mut compressed = head.to_vec();
    compressed[1] -= 32;
    let bit_string = compressed.len() - 2;
    compressed[bit_string] -= 32;
    compressed.push(2 + (point[64] & 1));
    compressed.extend(&point[1..33]);
    assert!(!matches!(
        PublicKey::from_spki(&compressed),
        PublicKey::P256(_)
    ));
}
