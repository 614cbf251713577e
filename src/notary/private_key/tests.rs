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
        assert_eq!(*key.public(), pair.certificates()[0].key(), "{}", pair.name);
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
        assert_eq!(*key.public(), pair(name).certificates()[0].key(), "{name}");
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

#[test]
fn signs_with_every_form_of_a_key() {
    for (pem, is_quick) in [
        (pair("rsa2048").key, true),
        (&key_file!("rsa2048-pkcs1")[..], true),
        (pair("rsa3072").key, true),
        (pair("rsa4096").key, true),
        (pair("p256").key, true),
        (key_file!("p256-sec1"), true),
        (key_file!("p256-bare"), false),
        (pair("p384").key, true),
        (pair("p521").key, false),
    ] {
        let key = PrivateKey::parse_pem(pem).unwrap();
        let by_ring = matches!(key.secret, Secret::Ecdsa(_) | Secret::Rsa(_, Some(_)));
        assert_eq!(by_ring, is_quick, "{:?}", key.algorithm());
        let [one, other] = [(); 2].map(|()| key.sign(b"message").unwrap());
        assert_ne!(one, other);
        for raw in [one, other] {
            let salt = crate::notary::key::Salt::AsHash;
            assert!(
                key.public()
                    .verifies(key.algorithm(), b"message", &raw, salt)
            );
        }
    }
}

#[test]
fn a_key_without_its_public_key_is_the_same_key() {
    let [bare, whole] = [key_file!("p256-bare").as_slice(), key_file!("p256-sec1")]
        .map(|pem| PrivateKey::parse_pem(pem).unwrap());
    assert_eq!(bare.public(), whole.public());
}

#[test]
fn a_public_key_of_another_in_the_file_is_of_no_effect() {
    let blocks = crate::notary::pem::blocks(key_file!("p256-sec1")).unwrap();
    let block = blocks.iter().find(|block| is_private_key(block.label));
    let mut bytes = block.unwrap().decode().unwrap().to_vec();
    // The last byte is the end of the point, which then is on no curve.
    *bytes.last_mut().unwrap() ^= 1;
    let key = PrivateKey::parse_der(&bytes).unwrap();
    let whole = PrivateKey::parse_pem(key_file!("p256-sec1")).unwrap();
    assert_eq!(key.public(), whole.public());
    assert!(matches!(key.secret, Secret::P256(_)));
}
