//! Keys, certificates and signatures for the tests of this room: fixed keys, fixed time.
//!
//! The files are self-signed leaves valid from 2026 to 2126, one for each type of key that signs.

pub(super) mod forge;

use std::collections::BTreeMap;

use super::{
    Certificate, EnvelopeFormat, LocalSigner, Payload, PrivateKey, Sealed, Signer as _, Terms,
};
use crate::oci::{Descriptor, Digest, UnixTime, media_type};

/// 2030-01-01T00:00:00Z, the time of all tests.
pub(super) const NOW: UnixTime = UnixTime(1_893_456_000);

/// Key and certificate of one type, in PEM.
pub(super) struct Pair {
    pub(super) name: &'static str,
    pub(super) key: &'static [u8],
    pub(super) certificate: &'static [u8],
}

macro_rules! pair {
    ($name:literal) => {
        Pair {
            name: $name,
            key: include_bytes!(concat!("testdata/", $name, ".key")),
            certificate: include_bytes!(concat!("testdata/", $name, ".crt")),
        }
    };
}

/// All six types.
pub(super) const PAIRS: [Pair; 6] = [
    pair!("p256"),
    pair!("p384"),
    pair!("p521"),
    pair!("rsa2048"),
    pair!("rsa3072"),
    pair!("rsa4096"),
];

impl Pair {
    pub(super) fn certificates(&self) -> Vec<Certificate> {
        Certificate::parse_file(self.certificate).unwrap()
    }

    pub(super) fn signer(&self) -> LocalSigner {
        LocalSigner::new(
            PrivateKey::parse_pem(self.key).unwrap(),
            self.certificates(),
        )
        .unwrap()
    }
}

/// Returns the pair with this name.
pub(super) fn pair(name: &str) -> Pair {
    PAIRS.into_iter().find(|pair| pair.name == name).unwrap()
}

/// Returns a payload with a target of 2 bytes and one entry of metadata.
pub(super) fn payload() -> Payload {
    Payload {
        target: Descriptor::new(media_type::IMAGE_MANIFEST, Digest::of(b"{}"), 2),
        metadata: BTreeMap::from([("build".to_owned(), "a<b>&c".to_owned())]),
    }
}

/// Returns a signature that expires in a day.
pub(super) fn sealed(name: &str, format: EnvelopeFormat) -> Sealed {
    let terms = Terms {
        format,
        expiry_seconds: Some(86_400),
    };
    pair(name).signer().seal(&payload(), &terms, NOW).unwrap()
}
