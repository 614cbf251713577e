//! The extensions that rules evaluate, and the forms in which Go wants some others. RFC 5280 section 4.2.
//!
//! Unknown extensions are passed over, critical or not, as the Notary Project asks. Policies and name constraints are not evaluated.

use std::collections::BTreeSet;

use super::{BasicConstraints, CertificateError, ExtendedUse, KeyUsage};
use crate::notary::element::{
    BOOLEAN, ElementError, INTEGER, OCTET_STRING, Reader, SEQUENCE, constructed, context, refused,
};

/// Holds what the extensions of one certificate say.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Vec<ExtendedUse>,
    pub(super) has_ocsp: bool,
    pub(super) has_crl: bool,
}

const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const CRL_POINTS: &[u8] = &[0x55, 0x1d, 31];
const POLICIES: &[u8] = &[0x55, 0x1d, 32];
const POLICY_MAPPINGS: &[u8] = &[0x55, 0x1d, 33];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
const POLICY_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 36];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const INHIBIT_ANY_POLICY: &[u8] = &[0x55, 0x1d, 54];
const AUTHORITY_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];

const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37, 0];
/// The arcs above the extended key uses of RFC 5280.
const KEY_PURPOSE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3];
const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1];

/// The context-specific number of a URI among general names.
const URI: u8 = 6;

impl Extensions {
    /// Reads the sequence of extensions.
    ///
    /// # Errors
    /// Names the extension that is malformed or there twice.
    pub(super) fn read(&mut self, content: &[u8]) -> Result<(), CertificateError> {
        let malformed = |error: ElementError| CertificateError::new(format!("extensions: {error}"));
        let mut reader = Reader::new(content);
        let mut list = reader.within(SEQUENCE).map_err(malformed)?;
        reader.finish().map_err(malformed)?;
        let mut met = BTreeSet::new();
        while !list.is_empty() {
            let mut extension = list.within(SEQUENCE).map_err(malformed)?;
            let name = extension.identifier().map_err(malformed)?;
            let critical = match extension.is_next(BOOLEAN) {
                true => extension.boolean().map_err(malformed)?,
                false => false,
            };
            let value = extension.expect_tag(OCTET_STRING).map_err(malformed)?;
            extension.finish().map_err(malformed)?;
            if !met.insert(name) {
                return Err(CertificateError::new("duplicate extension"));
            }
            self.one(name, critical, value).map_err(|error| {
                CertificateError::new(format!("extension {}: {error}", dotted(name)))
            })?;
        }
        Ok(())
    }

    fn one(&mut self, name: &[u8], critical: bool, value: &[u8]) -> Result<(), ElementError> {
        let mut value = Reader::new(value);
        match name {
            KEY_USAGE => {
                let bits = key_usage_bits(value.bit_string()?.1);
                self.key_usage = Some(KeyUsage { critical, bits });
            }
            BASIC_CONSTRAINTS => self.basic_constraints = Some(basic_constraints(&mut value)?),
            EXTENDED_KEY_USAGE => self.extended_key_usage = extended_key_usage(&mut value)?,
            CRL_POINTS => self.has_crl = names_crl(&mut value)?,
            AUTHORITY_ACCESS | SUBJECT_KEY_IDENTIFIER | AUTHORITY_KEY_IDENTIFIER if critical => {
                return Err(refused("it is marked critical, which it must not be"));
            }
            AUTHORITY_ACCESS => self.has_ocsp = names_ocsp(&mut value)?,
            SUBJECT_KEY_IDENTIFIER => {
                value.expect_tag(OCTET_STRING)?;
            }
            ALTERNATIVE_NAME => alternative_names(&mut value)?,
            INHIBIT_ANY_POLICY => {
                value.integer()?;
            }
            AUTHORITY_KEY_IDENTIFIER | POLICY_CONSTRAINTS => {
                value.expect_tag(SEQUENCE)?;
            }
            NAME_CONSTRAINTS => {
                let empty = value.expect_tag(SEQUENCE)?.is_empty();
                return if empty {
                    Err(refused("it is empty"))
                } else {
                    Ok(())
                };
            }
            POLICIES => policies(&mut value, 1)?,
            POLICY_MAPPINGS => policies(&mut value, 2)?,
            _ => {}
        }
        Ok(())
    }
}

/// Returns the bits of keyUsage with digitalSignature, the first one, as the lowest.
fn key_usage_bits(bytes: &[u8]) -> u16 {
    let first = bytes.first().copied().unwrap_or_default().reverse_bits();
    let second = bytes.get(1).copied().unwrap_or_default().reverse_bits();
    u16::from(first) | (u16::from(second & 1) << 8)
}

fn basic_constraints(value: &mut Reader<'_>) -> Result<BasicConstraints, ElementError> {
    let mut fields = value.within(SEQUENCE)?;
    let ca = fields.is_next(BOOLEAN) && fields.boolean()?;
    let path_length = match fields.is_next(INTEGER) {
        true => Some(fields.small_integer()?),
        false => None,
    };
    Ok(BasicConstraints { ca, path_length })
}

fn extended_key_usage(value: &mut Reader<'_>) -> Result<Vec<ExtendedUse>, ElementError> {
    let mut list = value.within(SEQUENCE)?;
    let mut uses = Vec::new();
    while !list.is_empty() {
        let name = list.identifier()?;
        let last = name.strip_prefix(KEY_PURPOSE);
        uses.push(match (name, last) {
            (ANY_EXTENDED_KEY_USAGE, _) => ExtendedUse::Any,
            (_, Some([1])) => ExtendedUse::ServerAuth,
            (_, Some([2])) => ExtendedUse::ClientAuth,
            (_, Some([3])) => ExtendedUse::CodeSigning,
            (_, Some([4])) => ExtendedUse::EmailProtection,
            (_, Some([8])) => ExtendedUse::TimeStamping,
            (_, Some([9])) => ExtendedUse::OcspSigning,
            _ => ExtendedUse::Other,
        });
    }
    Ok(uses)
}

/// Returns whether some distribution point's full name starts with a URI.
fn names_crl(value: &mut Reader<'_>) -> Result<bool, ElementError> {
    let mut points = value.within(SEQUENCE)?;
    let mut found = false;
    while !points.is_empty() {
        let mut point = points.within(SEQUENCE)?;
        let Some(name) = point.optional(constructed(0))? else {
            continue;
        };
        let mut names = Reader::new(name).within(constructed(0))?;
        while names.is_next(context(URI)) {
            names.expect_tag(context(URI))?;
            found = true;
        }
    }
    Ok(found)
}

/// Returns whether some access description names an OCSP responder by URI.
fn names_ocsp(value: &mut Reader<'_>) -> Result<bool, ElementError> {
    let mut descriptions = value.within(SEQUENCE)?;
    let mut found = false;
    while !descriptions.is_empty() {
        let mut description = descriptions.within(SEQUENCE)?;
        let method = description.identifier()?;
        if description.optional(context(URI))?.is_some() {
            found |= method == OCSP;
        }
    }
    Ok(found)
}

/// Checks the forms of alternative names: ASCII for mail, DNS and URI, 4 or 16 bytes for IP.
fn alternative_names(value: &mut Reader<'_>) -> Result<(), ElementError> {
    let mut names = value.within(SEQUENCE)?;
    while !names.is_empty() {
        let (tag, content) = names.element()?;
        let holds = match tag {
            0x81 | 0x82 | 0x86 => content.is_ascii(),
            0x87 => matches!(content.len(), 4 | 16),
            _ => true,
        };
        if !holds {
            return Err(refused("a malformed alternative name"));
        }
    }
    Ok(())
}

/// Checks a sequence of sequences that start with `count` object identifiers.
fn policies(value: &mut Reader<'_>, count: usize) -> Result<(), ElementError> {
    let mut list = value.within(SEQUENCE)?;
    while !list.is_empty() {
        let mut policy = list.within(SEQUENCE)?;
        for _ in 0..count {
            policy.identifier()?;
        }
    }
    Ok(())
}

/// Returns an object identifier in the form that people know.
fn dotted(name: &[u8]) -> String {
    let arcs = crate::notary::element::object_identifier(name).unwrap_or_default();
    let arcs: Vec<String> = arcs.iter().map(u64::to_string).collect();
    arcs.join(".")
}
