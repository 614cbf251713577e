//! Envelopes: the rules of both formats on freshly signed ones, and the mutation of every byte.

mod cose;
mod jws;
mod mutation;

use super::*;
use crate::notary::testing::{PAIRS, sealed};
use crate::notary::{ChainCache, PrivateKey};

/// What a case expects: the header that is named, the first words of another problem, or nothing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Intact,
    Header(&'static str),
    Parse(&'static str),
    Signature,
    Algorithm,
}

fn check(format: EnvelopeFormat, bytes: &[u8]) -> Result<IntactEnvelope, IntegrityError> {
    Envelope::parse(format.media_type(), bytes)?.check()
}

fn compare(found: Result<IntactEnvelope, IntegrityError>, expected: Expected, case: &str) {
    let holds = match (&found, expected) {
        (Ok(_), Expected::Intact) => true,
        (Err(IntegrityError::Header { header, .. }), Expected::Header(name)) => header == name,
        (Err(IntegrityError::Parse { problem }), Expected::Parse(words)) => problem.contains(words),
        (Err(IntegrityError::Signature), Expected::Signature) => true,
        (Err(IntegrityError::Algorithm { .. }), Expected::Algorithm) => true,
        _ => false,
    };
    let found = found.map(|intact| intact.signing_time);
    assert!(holds, "{case}: expected {expected:?}, found {found:?}");
}

#[test]
fn refuses_other_media_types_and_other_formats() {
    let jws = sealed("p256", EnvelopeFormat::Jws).envelope;
    assert!(matches!(
        Envelope::parse("application/json", &jws),
        Err(IntegrityError::MediaType { .. })
    ));
    assert!(check(EnvelopeFormat::Cose, &jws).is_err());
    let cose = sealed("p256", EnvelopeFormat::Cose).envelope;
    assert!(check(EnvelopeFormat::Jws, &cose).is_err());
}

#[test]
fn refuses_an_envelope_over_the_limit() {
    let limit = usize::try_from(ENVELOPE_BYTES_MAX).unwrap();
    let padded = |length: usize| {
        let mut envelope = sealed("p256", EnvelopeFormat::Jws).envelope;
        envelope.resize(length, b' ');
        check(EnvelopeFormat::Jws, &envelope)
    };
    assert!(padded(limit).is_ok());
    assert!(padded(limit + 1).is_err());
}

#[test]
fn gives_the_same_verdicts_with_a_cache() {
    let chains = ChainCache::new();
    for pair in &PAIRS {
        for format in [
            EnvelopeFormat::Jws,
            EnvelopeFormat::Cose,
            EnvelopeFormat::Jws,
        ] {
            let envelope = sealed(pair.name, format).envelope;
            let parsed = Envelope::parse(format.media_type(), &envelope).unwrap();
            let intact = parsed.check_with(&chains).unwrap();
            assert_eq!(intact.chain.certificates(), pair.certificates());
        }
    }
    let mut broken = sealed("p256", EnvelopeFormat::Cose).envelope;
    *broken.last_mut().unwrap() ^= 1;
    let parsed = Envelope::parse(EnvelopeFormat::Cose.media_type(), &broken).unwrap();
    assert_eq!(
        parsed.check_with(&chains).unwrap_err(),
        IntegrityError::Signature
    );
}
