//! Every byte of an envelope is changed in turn: it never panics, and nothing that was signed may come out different.

use super::*;

fn mutate(name: &str, format: EnvelopeFormat) {
    let original = sealed(name, format).envelope;
    let wanted = check(format, &original).unwrap();
    let mut intact_count = 0;
    for position in 0..original.len() {
        for mask in [0x01, 0x20, 0x80, 0xff] {
            let mut bytes = original.clone();
            bytes[position] ^= mask;
            let Ok(found) = check(format, &bytes) else {
                continue;
            };
            // Only the unsigned agent may change, or the letters of a member name that nobody needs.
            intact_count += 1;
            assert_eq!(found.payload, wanted.payload, "at {position}");
            assert!(found.chain == wanted.chain, "at {position}");
            assert_eq!(found.signing_time, wanted.signing_time, "at {position}");
            assert_eq!(found.expiry, wanted.expiry, "at {position}");
            assert_eq!(found.attributes, wanted.attributes, "at {position}");
            assert_eq!(found.raw_signature, wanted.raw_signature, "at {position}");
        }
    }
    let agent = "io.cncf.notary.signingAgent".len() + AGENT_BYTES;
    assert!(intact_count <= 4 * agent, "{intact_count}");
}

/// Bytes that the agent, its quotes and separators may have.
const AGENT_BYTES: usize = 40;

#[test]
fn survives_any_changed_byte_of_a_jws() {
    mutate("p256", EnvelopeFormat::Jws);
}

#[test]
fn survives_any_changed_byte_of_a_cose_envelope() {
    mutate("p256", EnvelopeFormat::Cose);
}

#[test]
fn refuses_every_truncation() {
    for format in [EnvelopeFormat::Jws, EnvelopeFormat::Cose] {
        let original = sealed("p256", format).envelope;
        for length in 0..original.len() {
            assert!(check(format, &original[..length]).is_err(), "{length}");
        }
    }
}
