//! Reading private keys: every form that signs, and why the others are refused.

use super::*;
use crate::notary::testing::{PAIRS, pair};

macro_rules! key_file {
    ($name:literal) => {
        include_bytes!(concat!("../testdata/keys/", $name, ".key"))
    };
}

#[test]
fn reads_all_six_types() {
    for pair in PAIRS {
        let key = PrivateKey::parse_pem(pair.key).unwrap();
        assert_eq!(key.public(), pair.certificates()[0].key(), "{}", pair.name);
        assert_eq!(format!("{key:?}"), "PrivateKey");
    }
}

#[test]
fn reads_pkcs1_and_sec1() {
    for (pem, name) in [
        (&key_file!("rsa2048-pkcs1")[..], "rsa2048"),
        (key_file!("p256-sec1"), "p256"),
        (key_file!("p521-sec1"), "p521"),
    ] {
        let key = PrivateKey::parse_pem(pem).unwrap();
        assert_eq!(key.public(), pair(name).certificates()[0].key(), "{name}");
    }
}

#[test]
fn reads_pem_as_people_have_it() {
    let pem = std::str::from_utf8(pair("p256").key).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let wrapped =
        |body: &str| format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let certificate = pair("p256").certificates()[0].pem();
    for text in [
        wrapped(&body),
        wrapped(&format!("{}\n\n{} ", &body[..76], &body[76..])),
        pem.replace('\n', "\r\n"),
        format!("some text\n{certificate}{pem}"),
        pem.trim_end().to_owned(),
        pem.replace("BEGIN PRIVATE", "BEGIN EC PRIVATE")
            .replace("END PRIVATE", "END EC PRIVATE"),
    ] {
        assert!(PrivateKey::parse_pem(text.as_bytes()).is_ok(), "{text}");
    }
}

#[test]
fn says_why_a_key_is_refused() {
    let pem = std::str::from_utf8(pair("p256").key).unwrap();
    let certificate = pair("p256").certificates()[0].pem();
    let cut = pem.replace("-----END", "END");
    let other = pem.replace('M', "*");
    let short = pem.replace("MIGH", "");
    for (pem, words) in [
        (&key_file!("encrypted")[..], "it is encrypted"),
        (key_file!("legacy-encrypted"), "it is encrypted"),
        (key_file!("ed25519"), "it is of type Ed25519"),
        (key_file!("rsa1024"), "it is of type RSA 1024"),
        (key_file!("rsa2560"), "it is of type RSA 2560"),
        (key_file!("k1"), "it is of type EC on curve 1.3.132.0.10"),
        (b"", "no PEM block"),
        (b"hello", "no PEM block"),
        (b"\xff\xfe", "no PEM block"),
        (pair("p256").certificate, "no PEM block"),
        (certificate.as_bytes(), "no PEM block"),
        (cut.as_bytes(), "has no end"),
        (other.as_bytes(), "not base64"),
        (short.as_bytes(), "malformed"),
    ] {
        let error = PrivateKey::parse_pem(pem).unwrap_err().to_string();
        assert!(error.contains(words), "expected {words:?}, found {error:?}");
    }
}

#[test]
fn survives_any_changed_byte() {
    let original = pair("p384").key;
    for position in 0..original.len() {
        for mask in [1, 4, 0x20] {
            let mut pem = original.to_vec();
            pem[position] ^= mask;
            let _ = PrivateKey::parse_pem(&pem);
        }
    }
}
