//! Certificates by hand, so that tests can break any rule: DER written element by element, signed with P-256.

use p256::ecdsa::{SigningKey, signature::Signer as _};

use crate::notary::Certificate;

/// Returns an element.
pub(in crate::notary) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(length as u8),
        0x80..0x100 => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// Returns a sequence.
pub(in crate::notary) fn sequence(items: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &items.concat())
}

pub(in crate::notary) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
pub(in crate::notary) const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
pub(in crate::notary) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
pub(in crate::notary) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
pub(in crate::notary) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
pub(in crate::notary) const CRL_POINTS: &[u8] = &[0x55, 0x1d, 31];
pub(in crate::notary) const ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];

/// Is an extension: identifier, criticality, content.
pub(in crate::notary) type Extension = (Vec<u8>, bool, Vec<u8>);

/// Is a certificate to be made.
#[derive(Clone)]
pub(in crate::notary) struct Forge {
    /// The number in the version field; `None` leaves it out (version 1).
    pub(in crate::notary) version: Option<u8>,
    pub(in crate::notary) serial: Vec<u8>,
    pub(in crate::notary) subject: &'static str,
    pub(in crate::notary) issuer: &'static str,
    /// Whose key signs; the subject's key has the subject's name.
    pub(in crate::notary) signer: &'static str,
    pub(in crate::notary) inner_algorithm: &'static [u8],
    pub(in crate::notary) outer_algorithm: &'static [u8],
    /// Encoded times.
    pub(in crate::notary) validity: [Vec<u8>; 2],
    pub(in crate::notary) extensions: Vec<Extension>,
}

/// Returns the key that goes with a name.
pub(in crate::notary) fn key(name: &str) -> SigningKey {
    SigningKey::from_slice(&sha2_of(name)).unwrap()
}

fn sha2_of(name: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(name.as_bytes()).into()
}

/// Returns keyUsage from the bits of its first byte (0x80 is digitalSignature, 0x04 keyCertSign).
pub(in crate::notary) fn key_usage(critical: bool, bits: u8) -> Extension {
    (KEY_USAGE.to_vec(), critical, tlv(3, &[0, bits]))
}

/// Returns basicConstraints.
pub(in crate::notary) fn basic_constraints(ca: bool, path_length: Option<u8>) -> Extension {
    let mut content = Vec::new();
    if ca {
        content.extend(tlv(1, &[0xff]));
    }
    if let Some(length) = path_length {
        content.extend(tlv(2, &[length]));
    }
    (BASIC_CONSTRAINTS.to_vec(), true, tlv(0x30, &content))
}

/// Returns extKeyUsage from the last arcs below `1.3.6.1.5.5.7.3`; 0 stands for any.
pub(in crate::notary) fn extended_key_usage(uses: &[u8]) -> Extension {
    let names: Vec<Vec<u8>> = uses
        .iter()
        .map(|last| match last {
            0 => tlv(6, &[0x55, 0x1d, 37, 0]),
            _ => tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, *last]),
        })
        .collect();
    (EXTENDED_KEY_USAGE.to_vec(), false, sequence(&names))
}

impl Forge {
    /// Returns a leaf that obeys every rule.
    pub(in crate::notary) fn leaf(subject: &'static str, issuer: &'static str) -> Self {
        Self {
            version: Some(2),
            serial: vec![1],
            subject,
            issuer,
            signer: issuer,
            inner_algorithm: ECDSA_SHA256,
            outer_algorithm: ECDSA_SHA256,
            validity: [tlv(0x17, b"260101000000Z"), tlv(0x18, b"21000101000000Z")],
            extensions: vec![key_usage(true, 0x80), extended_key_usage(&[3])],
        }
    }

    /// Returns a CA that obeys every rule.
    pub(in crate::notary) fn ca(subject: &'static str, issuer: &'static str) -> Self {
        Self {
            extensions: vec![basic_constraints(true, None), key_usage(true, 0x04)],
            ..Self::leaf(subject, issuer)
        }
    }

    /// Replaces, or adds, one extension.
    pub(in crate::notary) fn with(mut self, extension: Extension) -> Self {
        self.extensions.retain(|(name, _, _)| *name != extension.0);
        self.extensions.push(extension);
        self
    }

    /// Removes one extension.
    pub(in crate::notary) fn without(mut self, name: &[u8]) -> Self {
        self.extensions.retain(|(present, _, _)| present != name);
        self
    }

    /// Returns the DER.
    pub(in crate::notary) fn der(&self) -> Vec<u8> {
        use pkcs8::EncodePublicKey as _;
        let subject_key = key(self.subject)
            .verifying_key()
            .to_public_key_der()
            .unwrap();
        let mut fields = Vec::new();
        if let Some(version) = self.version {
            fields.push(tlv(0xa0, &tlv(2, &[version])));
        }
        fields.push(tlv(2, &self.serial));
        fields.push(sequence(&[tlv(6, self.inner_algorithm)]));
        fields.push(name(self.issuer));
        fields.push(sequence(&self.validity));
        fields.push(name(self.subject));
        fields.push(subject_key.as_bytes().to_vec());
        if !self.extensions.is_empty() {
            let extensions: Vec<Vec<u8>> = self.extensions.iter().map(extension).collect();
            fields.push(tlv(0xa3, &sequence(&extensions)));
        }
        let signed = sequence(&fields);
        let raw: p256::ecdsa::Signature = key(self.signer).sign(&signed);
        let raw = [&[0][..], raw.to_der().as_bytes()].concat();
        sequence(&[
            signed,
            sequence(&[tlv(6, self.outer_algorithm)]),
            tlv(3, &raw),
        ])
    }

    /// Returns the certificate.
    pub(in crate::notary) fn certificate(&self) -> Certificate {
        Certificate::parse(&self.der()).unwrap()
    }
}

fn extension((name, critical, content): &Extension) -> Vec<u8> {
    let mut items = vec![tlv(6, name)];
    if *critical {
        items.push(tlv(1, &[0xff]));
    }
    items.push(tlv(4, content));
    sequence(&items)
}

/// Returns a name of one common name.
fn name(common_name: &str) -> Vec<u8> {
    let attribute = sequence(&[tlv(6, &[0x55, 4, 3]), tlv(0x0c, common_name.as_bytes())]);
    sequence(&[tlv(0x31, &attribute)])
}
