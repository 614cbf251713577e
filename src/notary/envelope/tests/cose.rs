//! The rules of COSE envelopes, each on an envelope whose signature holds.

use super::Expected::{Header, Intact, Parse, Signature};
use super::*;
use crate::notary::cbor::{write_bytes, write_head, write_integer, write_text};
use crate::notary::cose::signed_bytes;
use crate::notary::testing::pair;

const CONTENT_TYPE: &str = "application/vnd.cncf.notary.payload.v1+json";
const PAYLOAD: &[u8] = br#"{"targetArtifact":{"mediaType":"m","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}}"#;
const SCHEME: &str = "io.cncf.notary.signingScheme";
const TIME: &str = "io.cncf.notary.signingTime";
const AUTHENTIC: &str = "io.cncf.notary.authenticSigningTime";
const EXPIRY: &str = "io.cncf.notary.expiry";

/// Is a map as its encoded keys and values, in order.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_text(&mut out, value);
    out
}

fn number(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_integer(&mut out, value);
    out
}

fn bytes(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes(&mut out, value);
    out
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(&mut out, 4, items.len() as u64);
    [out, items.concat()].concat()
}

fn map(entries: &Entries) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(&mut out, 5, entries.len() as u64);
    for (key, value) in entries {
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
    out
}

fn time(seconds: i64) -> Vec<u8> {
    [vec![0xc1], number(seconds)].concat()
}

fn protected() -> Entries {
    vec![
        (number(1), number(-7)),
        (number(2), array(&[text(SCHEME)])),
        (number(3), text(CONTENT_TYPE)),
        (text(TIME), time(1_893_456_000)),
        (text(SCHEME), text("notary.x509")),
    ]
}

fn unprotected() -> Entries {
    let leaf = bytes(pair("p256").certificates()[0].der());
    vec![(number(33), array(&[leaf]))]
}

fn raw_signature(protected: &[u8]) -> Vec<u8> {
    PrivateKey::parse_pem(pair("p256").key)
        .unwrap()
        .sign(&signed_bytes(protected, PAYLOAD))
        .unwrap()
}

fn signed(protected: &[u8], unprotected: &[u8]) -> Vec<u8> {
    [
        vec![0xd2, 0x84],
        bytes(protected),
        unprotected.to_vec(),
        bytes(PAYLOAD),
        bytes(&raw_signature(protected)),
    ]
    .concat()
}

fn run(protected: &Entries) -> Result<IntactEnvelope, IntegrityError> {
    check(
        EnvelopeFormat::Cose,
        &signed(&map(protected), &map(&unprotected())),
    )
}

/// Returns the good protected header with one entry replaced, added (new key) or removed (empty value).
fn with(key: Vec<u8>, value: Vec<u8>) -> Entries {
    let mut entries = protected();
    entries.retain(|(present, _)| *present != key);
    if !value.is_empty() {
        entries.push((key, value));
    }
    entries
}

#[test]
fn holds_headers_against_the_rules() {
    let float = |bits: f64| [vec![0xc1, 0xfb], bits.to_bits().to_be_bytes().to_vec()].concat();
    let cases = [
        (protected(), Intact),
        (with(number(1), vec![]), Header("alg")),
        (with(number(1), text("ES256")), Header("alg")),
        (with(number(1), number(-9)), Header("alg")),
        (with(number(1), number(-35)), Signature),
        (with(number(1), number(-37)), Signature),
        (with(number(2), vec![]), Header(SCHEME)),
        (with(number(2), array(&[])), Header("crit")),
        (with(number(2), text(SCHEME)), Header("crit")),
        (with(number(2), array(&[bytes(b"x")])), Header("crit")),
        (with(number(2), array(&[text(TIME)])), Header(SCHEME)),
        (
            with(number(2), array(&[text(SCHEME), text("x")])),
            Header("x"),
        ),
        (with(number(2), array(&[text(SCHEME), number(1)])), Intact),
        (
            with(number(2), array(&[text(SCHEME), text(SCHEME)])),
            Intact,
        ),
        (with(number(3), vec![]), Header("content type")),
        (with(number(3), number(50)), Header("content type")),
        (
            with(number(3), text("application/json")),
            Header("content type"),
        ),
        (with(number(4), text("kid")), Header("4")),
        (with(number(4), bytes(b"kid")), Intact),
        (with(number(5), bytes(b"iv")), Intact),
        (with(number(6), text("iv")), Header("6")),
        (with(number(7), bytes(b"x")), Header("7")),
        (with(number(12), bytes(b"x")), Header("12")),
        (with(number(16), text("a/b")), Intact),
        (with(number(16), text("ab")), Header("16")),
        (with(text(SCHEME), vec![]), Header(SCHEME)),
        (with(text(SCHEME), number(1)), Header(SCHEME)),
        (with(text(SCHEME), text("notary.foo")), Header(SCHEME)),
        (
            with(text(SCHEME), text("notary.x509.signingAuthority")),
            Header(AUTHENTIC),
        ),
        (with(text(TIME), vec![]), Header(TIME)),
        (with(text(TIME), number(1_893_456_000)), Header(TIME)),
        (
            with(
                text(TIME),
                [vec![0xc0], text("2030-01-01T00:00:00Z")].concat(),
            ),
            Header(TIME),
        ),
        (
            with(
                text(TIME),
                [vec![0xc1], text("2030-01-01T00:00:00Z")].concat(),
            ),
            Parse("a tag around"),
        ),
        (
            with(text(TIME), [vec![0xc1], time(1)].concat()),
            Parse("a tag around"),
        ),
        (with(text(TIME), float(1_893_456_000.5)), Intact),
        (with(text(TIME), float(f64::NAN)), Header(TIME)),
        (with(text(TIME), float(f64::INFINITY)), Header(TIME)),
        (with(text(TIME), time(-62_135_596_800)), Header(TIME)),
        (with(text(TIME), time(-1)), Intact),
        (with(text(EXPIRY), time(1_893_456_001)), Header(EXPIRY)),
        (with(text("x"), vec![0xd8, 0x64, 0x00]), Intact),
        (with(text(AUTHENTIC), time(1)), Intact),
        (with(bytes(b"x"), number(0)), Parse("a key is neither")),
    ];
    for (entries, expected) in cases {
        compare(run(&entries), expected, &format!("{:02x?}", map(&entries)));
    }
}

#[test]
fn reads_expiry_and_attributes() {
    let mut entries = with(
        number(2),
        array(&[text(SCHEME), text(EXPIRY), text("plugin"), number(70)]),
    );
    entries.push((text(EXPIRY), time(1_893_456_001)));
    entries.push((text("plugin"), text("foo")));
    entries.push((number(70), number(1)));
    entries.push((number(71), text("t")));
    let intact = run(&entries).unwrap();
    assert_eq!(intact.expiry, Some(UnixTime(1_893_456_001)));
    let found: Vec<_> = intact
        .attributes
        .iter()
        .map(|found| (found.name.as_str(), found.critical, found.text.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("70", true, None),
            ("71", false, Some("t")),
            ("plugin", true, Some("foo"))
        ]
    );
    let mut early = entries.clone();
    early.retain(|(key, _)| *key != text(EXPIRY));
    early.push((text(EXPIRY), time(1_893_456_000)));
    compare(run(&early), Header(EXPIRY), "expiry at the signing time");
}

#[test]
fn refuses_other_shapes() {
    let good = signed(&map(&protected()), &map(&unprotected()));
    let leaf = bytes(pair("p256").certificates()[0].der());
    let with_unprotected = |entries: Entries| signed(&map(&protected()), &map(&entries));
    let mut agent = unprotected();
    agent.push((text("io.cncf.notary.signingAgent"), number(1)));
    let mut token = unprotected();
    token.push((text("io.cncf.notary.timestampSignature"), bytes(b"token")));
    let mut tagged = unprotected();
    tagged.push((number(70), time(1)));
    let mut critical = unprotected();
    critical.push((number(2), array(&[number(33)])));
    let also = |label: i64, value: Vec<u8>| {
        let mut entries = unprotected();
        entries.push((number(label), value));
        with_unprotected(entries)
    };
    let countersignature = array(&[bytes(b""), map(&vec![]), bytes(b"x")]);
    let cases = [
        (good.clone(), Intact),
        (also(1, bytes(b"x")), Header("1")),
        (also(4, bytes(b"kid")), Intact),
        (also(4, text("kid")), Header("4")),
        (also(9, bytes(b"x")), Intact),
        (also(9, number(1)), Header("9")),
        (also(7, countersignature.clone()), Intact),
        (also(11, array(&[countersignature])), Intact),
        (also(11, array(&[])), Header("11")),
        (good[1..].to_vec(), Parse("COSE_Sign1_Tagged")),
        (
            [vec![0xd8, 0x12], good[1..].to_vec()].concat(),
            Parse("COSE_Sign1_Tagged"),
        ),
        (
            [vec![0xd8, 0x62], good[1..].to_vec()].concat(),
            Parse("COSE_Sign1_Tagged"),
        ),
        (
            [vec![0xd2], good.clone()].concat(),
            Parse("COSE_Sign1_Tagged"),
        ),
        (
            [good.clone(), vec![0]].concat(),
            Parse("bytes after the end"),
        ),
        (good[..good.len() - 1].to_vec(), Parse("ends early")),
        (with_unprotected(vec![]), Parse("chain is not present")),
        (
            with_unprotected(vec![(number(33), leaf.clone())]),
            Parse("chain is not present"),
        ),
        (
            with_unprotected(vec![(number(33), array(&[]))]),
            Parse("chain is not present"),
        ),
        (
            with_unprotected(vec![(number(33), array(&[text("x")]))]),
            Parse("chain is not present"),
        ),
        (with_unprotected(tagged), Parse("a tag")),
        (with_unprotected(critical), Header("2")),
        (with_unprotected(agent), Intact),
        (with_unprotected(token), Intact),
        (signed(&[], &map(&unprotected())), Header("alg")),
        (
            signed(&[map(&protected()), vec![0]].concat(), &map(&unprotected())),
            Parse("bytes after"),
        ),
    ];
    for (envelope, expected) in cases {
        compare(
            check(EnvelopeFormat::Cose, &envelope),
            expected,
            &format!("{:02x?}", &envelope[..40]),
        );
    }
}

#[test]
fn verifies_the_protected_bytes_as_received() {
    // The same header with a longer form of an integer is another text to sign.
    let mut entries = protected();
    entries[0].1 = vec![0x38, 0x06];
    let long = map(&entries);
    compare(
        check(EnvelopeFormat::Cose, &signed(&long, &map(&unprotected()))),
        Intact,
        "a longer form",
    );
    let mut swapped = signed(&map(&protected()), &map(&unprotected()));
    swapped.splice(2..4 + map(&protected()).len(), bytes(&long));
    compare(check(EnvelopeFormat::Cose, &swapped), Signature, "swapped");
    let mut reversed = protected();
    reversed.reverse();
    compare(run(&reversed), Intact, "another order");
}

#[test]
fn wants_a_salt_of_the_length_of_the_hash() {
    use sha2::Sha256;
    use signature::{RandomizedSigner as _, SignatureEncoding as _};
    let protected = map(&with(number(1), number(-37)));
    let pem = std::str::from_utf8(pair("rsa2048").key).unwrap();
    let key = <rsa::PrivateKey as pkcs8::DecodePrivateKey>::from_pkcs8_pem(pem).unwrap();
    let chain = array(&[bytes(pair("rsa2048").certificates()[0].der())]);
    for (length, expected) in [
        (32, Intact),
        (20, Signature),
        (0, Signature),
        (33, Signature),
    ] {
        let signer = rsa::pss::SigningKey::<Sha256>::new_with_salt_len(key.clone(), length);
        let raw = signer
            .try_sign_with_rng(&mut getrandom::SysRng, &signed_bytes(&protected, PAYLOAD))
            .unwrap()
            .to_vec();
        let envelope = [
            vec![0xd2, 0x84],
            bytes(&protected),
            map(&vec![(number(33), chain.clone())]),
            bytes(PAYLOAD),
            bytes(&raw),
        ]
        .concat();
        compare(
            check(EnvelopeFormat::Cose, &envelope),
            expected,
            &length.to_string(),
        );
    }
}

#[test]
fn refuses_unprotected_headers_that_cose_does_not_allow() {
    let run = |label: i64, value: Vec<u8>| {
        let mut entries = unprotected();
        entries.push((number(label), value));
        check(
            EnvelopeFormat::Cose,
            &signed(&map(&protected()), &map(&entries)),
        )
    };
    assert!(run(4, bytes(b"k")).is_ok());
    assert!(run(5, bytes(b"k")).is_ok());
    for label in [4, 5, 6, 7, 11] {
        assert!(run(label, text("k")).is_err(), "{label}");
    }
    let mut both = protected();
    both.push((number(5), bytes(b"k")));
    both.push((number(6), bytes(b"k")));
    assert!(super::cose::run(&both).is_err());
}

/// A byte an item: as values they would take fifty times the envelope.
#[test]
fn refuses_more_items_than_fit() {
    let mut items = vec![0x9a];
    items.extend(600_000_u32.to_be_bytes());
    items.resize(items.len() + 600_000, 0);
    let mut entries = unprotected();
    entries.push((text("x"), items));
    assert!(
        check(
            EnvelopeFormat::Cose,
            &signed(&map(&protected()), &map(&entries))
        )
        .is_err()
    );
}
