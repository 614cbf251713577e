//! The rules for chains, one broken at a time.

use super::*;
use crate::notary::testing::forge::{
    BASIC_CONSTRAINTS, ECDSA_SHA1, Extension, Forge, KEY_USAGE, basic_constraints,
    extended_key_usage, key_usage,
};
use crate::notary::testing::{NOW, PAIRS};
use crate::oci::limits::CHAIN_CERTIFICATES_MAX;

fn leaf() -> Forge {
    Forge::leaf("leaf", "middle")
}

fn middle() -> Forge {
    Forge::ca("middle", "root")
}

fn root() -> Forge {
    Forge::ca("root", "root")
}

fn alone() -> Forge {
    Forge::leaf("alone", "alone")
}

/// Is a case: certificates, then position and words of the rule that is broken, if one is.
type Case = (Vec<Forge>, Option<(usize, &'static str)>);

fn single_cases() -> Vec<Case> {
    let with = |extension: Extension| vec![alone().with(extension)];
    vec![
        (vec![alone()], None),
        (with(basic_constraints(false, None)), None),
        (
            with(basic_constraints(true, None)),
            Some((0, "ca field must be set to false")),
        ),
        (
            vec![alone().without(KEY_USAGE)],
            Some((0, "must be present")),
        ),
        (
            with(key_usage(false, 0x80)),
            Some((0, "must be marked critical")),
        ),
        (with(key_usage(true, 0x40)), Some((0, "Digital Signature"))),
        (with(key_usage(true, 0xc0)), None),
        (with(key_usage(true, 0xa0)), Some((0, "KeyEncipherment"))),
        (with(key_usage(true, 0x90)), Some((0, "DataEncipherment"))),
        (with(key_usage(true, 0x88)), Some((0, "KeyAgreement"))),
        (with(key_usage(true, 0x84)), Some((0, "CertSign"))),
        (with(key_usage(true, 0x82)), Some((0, "CRLSign"))),
        (with(key_usage(true, 0x81)), Some((0, "EncipherOnly"))),
        (
            with((KEY_USAGE.to_vec(), true, vec![3, 3, 7, 0x80, 0x80])),
            Some((0, "DecipherOnly")),
        ),
        (with(extended_key_usage(&[0])), Some((0, "any eku"))),
        (with(extended_key_usage(&[3, 1])), Some((0, "ServerAuth"))),
        (with(extended_key_usage(&[2])), Some((0, "ClientAuth"))),
        (with(extended_key_usage(&[4])), Some((0, "EmailProtection"))),
        (with(extended_key_usage(&[8])), Some((0, "Timestamping"))),
        (with(extended_key_usage(&[9])), Some((0, "OCSPSigning"))),
        (with(extended_key_usage(&[99])), None),
        (with((vec![0x2a, 3, 4], true, vec![5, 0])), None),
        (
            vec![Forge {
                signer: "other",
                ..alone()
            }],
            Some((0, "not signed by itself")),
        ),
        (
            vec![Forge {
                issuer: "other",
                signer: "alone",
                ..alone()
            }],
            Some((0, "not signed by itself")),
        ),
        (vec![leaf()], Some((0, "not signed by itself"))),
        (
            vec![Forge {
                inner_algorithm: ECDSA_SHA1,
                outer_algorithm: ECDSA_SHA1,
                ..alone()
            }],
            Some((0, "not signed by itself")),
        ),
    ]
}

fn chain_cases() -> Vec<Case> {
    let with_middle = |middle: Forge| vec![leaf(), middle, root()];
    let with_root = |root: Forge| vec![leaf(), middle(), root];
    let not_issued = |position| Some((position, "not issued by"));
    let bad_root = Some((2, "must end with a valid self-signed root"));
    vec![
        (vec![leaf(), middle(), root()], None),
        (vec![Forge::leaf("leaf", "root"), root()], None),
        (vec![middle(), leaf(), root()], not_issued(0)),
        (vec![leaf(), root(), middle()], not_issued(0)),
        (
            vec![leaf(), middle()],
            Some((1, "must end with a valid self-signed root")),
        ),
        (vec![leaf(), root()], not_issued(0)),
        (
            vec![leaf(), middle(), root(), root()],
            Some((2, "it is self-signed")),
        ),
        (
            vec![leaf(), middle(), root(), Forge::ca("other", "other")],
            Some((2, "it is self-signed")),
        ),
        (
            vec![leaf(), Forge::ca("other", "other"), root()],
            not_issued(0),
        ),
        (
            vec![leaf(), middle(), Forge::ca("other", "other")],
            not_issued(1),
        ),
        (
            with_middle(middle().with(basic_constraints(false, None))),
            not_issued(0),
        ),
        (
            with_middle(middle().without(BASIC_CONSTRAINTS)),
            not_issued(0),
        ),
        (
            with_middle(middle().with(basic_constraints(true, Some(0)))),
            None,
        ),
        (
            with_middle(middle().with(key_usage(true, 0x80))),
            not_issued(0),
        ),
        (
            with_middle(middle().with(key_usage(false, 0x04))),
            Some((1, "marked critical")),
        ),
        (
            with_middle(middle().without(KEY_USAGE)),
            Some((1, "must be present")),
        ),
        (with_middle(middle().with(key_usage(true, 0x86))), None),
        (
            with_middle(middle().with(extended_key_usage(&[0, 1, 8]))),
            None,
        ),
        (
            with_middle(Forge {
                signer: "other",
                ..middle()
            }),
            not_issued(1),
        ),
        (
            with_middle(Forge {
                inner_algorithm: ECDSA_SHA1,
                outer_algorithm: ECDSA_SHA1,
                ..middle()
            }),
            not_issued(1),
        ),
        (
            with_root(root().with(basic_constraints(true, Some(1)))),
            None,
        ),
        (
            with_root(root().with(basic_constraints(true, Some(0)))),
            Some((2, "expected path length of 1")),
        ),
        (
            with_root(root().with(basic_constraints(false, None))),
            not_issued(1),
        ),
        (
            with_root(Forge {
                issuer: "other",
                ..root()
            }),
            bad_root,
        ),
        (
            with_root(Forge {
                signer: "other",
                ..root()
            }),
            bad_root,
        ),
        (
            with_root(root().with(key_usage(false, 0x04))),
            Some((2, "marked critical")),
        ),
        (
            with_root(root().without(KEY_USAGE)),
            Some((2, "must be present")),
        ),
        (
            vec![Forge::ca("leaf", "middle"), middle(), root()],
            Some((0, "ca field must be set to false")),
        ),
        (vec![root(), root()], Some((0, "it is self-signed"))),
        // A self-signed leaf that is no CA cannot have issued itself, so notation does not call it self-signed.
        (vec![Forge::leaf("root", "root"), root()], None),
    ]
}

#[test]
fn names_the_first_broken_rule() {
    for (number, (forged, expected)) in single_cases().into_iter().chain(chain_cases()).enumerate()
    {
        let certificates = forged.iter().map(Forge::certificate).collect();
        match (Chain::check(certificates), expected) {
            (Ok(_), None) => {}
            (
                Err(ChainError::Certificate {
                    position, problem, ..
                }),
                Some((at, words)),
            ) if position == at && problem.contains(words) => {}
            (found, _) => panic!("case {number}: expected {expected:?}, found {found:?}"),
        }
    }
}

#[test]
fn refuses_an_empty_chain_and_one_over_the_limit() {
    assert_eq!(Chain::check(vec![]), Err(ChainError::Empty));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "root"];
    let mut forged = vec![Forge::leaf("leaf", "a")];
    for pair in names.windows(2).take(CHAIN_CERTIFICATES_MAX - 2) {
        forged.push(Forge::ca(pair[0], pair[1]));
    }
    let last = forged.last().unwrap().issuer;
    forged.push(Forge::ca(last, last));
    assert_eq!(forged.len(), CHAIN_CERTIFICATES_MAX);
    let certificates: Vec<_> = forged.iter().map(Forge::certificate).collect();
    assert!(Chain::check(certificates.clone()).is_ok());
    let mut longer = certificates;
    longer.push(root().certificate());
    assert!(matches!(
        Chain::check(longer),
        Err(ChainError::TooLong { .. })
    ));
}

#[test]
fn is_valid_from_the_first_to_the_last_second() {
    let certificates = PAIRS[0].certificates();
    let chain = Chain::check(certificates.clone()).unwrap();
    let (from, to) = (certificates[0].not_before, certificates[0].not_after);
    for at in [from, NOW, to] {
        assert_eq!(chain.valid_at(at), Ok(()));
    }
    for at in [from.plus(-1), to.plus(1)] {
        assert!(matches!(
            chain.valid_at(at),
            Err(ChainError::NotValidAt { position: 0, .. })
        ));
    }
}

#[test]
fn remembers_verdicts_and_tells_chains_apart() {
    let cache = ChainCache::new();
    let good: Vec<Vec<u8>> = [leaf(), middle(), root()].iter().map(Forge::der).collect();
    let bad: Vec<Vec<u8>> = good.iter().take(2).cloned().collect();
    assert!(cache.known(&good).is_none());
    assert!(cache.check(&good).is_ok());
    assert!(cache.check(&bad).is_err());
    assert!(cache.known(&good).unwrap().is_ok());
    assert!(cache.known(&bad).unwrap().is_err());
    let joined = vec![good.concat()];
    assert!(cache.known(&joined).is_none());
    assert!(cache.check(&joined).is_err());
}

#[test]
fn familiar_certificates_change_no_verdict() {
    let good: Vec<Vec<u8>> = [leaf(), middle(), root()].iter().map(Forge::der).collect();
    let known: Vec<Certificate> = good
        .iter()
        .map(|der| Certificate::parse(der).unwrap())
        .collect();
    let cache = ChainCache::familiar_with(known.iter());
    assert!(cache.check(&good).is_ok());
    let backwards: Vec<Vec<u8>> = good.iter().rev().cloned().collect();
    assert_eq!(cache.check(&backwards), ChainCache::new().check(&backwards));
    // The last byte of each signature.
    for position in 0..good.len() {
        let mut forged = good.clone();
        *forged[position].last_mut().unwrap() ^= 1;
        assert!(cache.check(&forged).is_err(), "{position}");
    }
    let chain = Chain::check(known).unwrap();
    let cache = ChainCache::with_checked(&chain);
    assert!(cache.known(&good).is_some());
    assert!(cache.known(&backwards).is_none());
}

macro_rules! chain_file {
    ($name:literal) => {
        (
            $name,
            &include_bytes!(concat!("../testdata/chains/", $name, ".pem"))[..],
        )
    };
}

/// Leaf and root in one file, the root with the key and both with the signature that the name says.
#[test]
fn verifies_what_go_verifies_on_every_link() {
    for (name, file) in [
        chain_file!("ed25519"),
        chain_file!("rsa1024"),
        chain_file!("rsa8192"),
        chain_file!("rsapss-sha384-digest"),
        chain_file!("p384-sha512"),
        chain_file!("p521-sha256"),
    ] {
        let certificates = Certificate::parse_file(file).unwrap();
        assert_eq!(certificates.len(), 2);
        assert!(Chain::check(certificates).is_ok(), "{name}");
    }
}

#[test]
fn refuses_weak_and_unknown_signatures_on_every_link() {
    for (name, file) in [
        chain_file!("ed448"),
        chain_file!("p224"),
        chain_file!("p256-sha1"),
        chain_file!("pssmgf"),
        chain_file!("psskey"),
        chain_file!("rsa2048-md5"),
        chain_file!("rsa2048-sha1"),
        chain_file!("rsapss-sha256-20"),
    ] {
        let certificates = Certificate::parse_file(file).unwrap();
        assert!(
            matches!(
                Chain::check(certificates),
                Err(ChainError::Certificate { position: 0, .. })
            ),
            "{name}"
        );
    }
}
