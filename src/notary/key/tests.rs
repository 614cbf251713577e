//! Both ways of verifying agree.

use super::*;
use crate::notary::PrivateKey;
use crate::notary::testing::PAIRS;

/// Returns the bytes, and the bytes with one bit of every tenth byte flipped, one byte too few and one too many.
fn mutated(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![
        bytes[1..].to_vec(),
        [bytes, &[0]].concat(),
        [&[0], bytes].concat(),
    ];
    for position in (0..bytes.len()).step_by(10) {
        let mut flipped = bytes.to_vec();
        flipped[position] ^= 1 << (position % 8);
        all.push(flipped);
    }
    all
}

#[test]
fn ring_and_the_crates_agree_on_signatures_of_envelopes() {
    for pair in PAIRS {
        let key = PrivateKey::parse_pem(pair.key).unwrap();
        let (public, algorithm) = (key.public(), key.algorithm());
        let raw = key.sign(b"message").unwrap();
        let quick = |message: &[u8], raw: &[u8]| quick::verifies(public, algorithm, message, raw);
        let crates = |message: &[u8], raw: &[u8]| {
            let found = public.verifies_by_crates(algorithm, message, raw, Salt::AsHash);
            assert_eq!(
                found,
                public.verifies_by_crates(algorithm, message, raw, Salt::Any)
            );
            found
        };
        assert!(crates(b"message", &raw), "{}", pair.name);
        let by_ring = algorithm != SignatureAlgorithm::Es512;
        assert_eq!(quick(b"message", &raw), by_ring, "{}", pair.name);
        assert!(!quick(b"massage", &raw) && !crates(b"massage", &raw));
        for raw in mutated(&raw) {
            assert!(
                !quick(b"message", &raw) && !crates(b"message", &raw),
                "{}",
                pair.name
            );
        }
    }
}

#[test]
fn ring_and_the_crates_agree_on_signatures_of_certificates() {
    for pair in PAIRS {
        for certificate in pair.certificates() {
            let details = certificate.details();
            for issuer in PAIRS.iter().flat_map(|pair| pair.certificates()) {
                let key = issuer.key();
                let (algorithm, signed) = (&details.algorithm, &details.signed);
                let good =
                    key.verifies_certificate_by_crates(algorithm, signed, &details.signature);
                let quick =
                    quick::verifies_certificate(&key, algorithm, signed, &details.signature);
                assert!(good || !quick, "{}", pair.name);
                assert!(
                    quick || !good || matches!(key, PublicKey::P521(_)),
                    "{}",
                    pair.name
                );
                if !good {
                    continue;
                }
                for raw in mutated(&details.signature) {
                    assert!(!quick::verifies_certificate(&key, algorithm, signed, &raw));
                    assert!(!key.verifies_certificate_by_crates(algorithm, signed, &raw));
                }
            }
        }
    }
}
