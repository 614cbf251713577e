//! A second opinion: x509-parser must read the same certificate in the same bytes, or it is refused.
//!
//! What two readers could understand differently is not trusted. Not here: rules; x509-parser's own verification stays off.

use super::{Certificate, CertificateError};

/// Checks that an independent parser finds the same signed part, names, key, signature, validity and CA flag.
pub(super) fn agrees(certificate: &Certificate) -> Result<(), CertificateError> {
    let refused = || CertificateError::new("two parsers read it differently");
    let (rest, other) =
        x509_parser::parse_x509_certificate(certificate.der()).map_err(|_error| refused())?;
    let details = &certificate.details;
    let validity = other.validity();
    let ca = other
        .basic_constraints()
        .map_err(|_error| refused())?
        .is_some_and(|constraints| constraints.value.ca);
    let same = rest.is_empty()
        && other.tbs_certificate.as_ref() == details.signed.as_slice()
        && other.subject().as_raw() == &*certificate.subject
        && other.issuer().as_raw() == &*certificate.issuer
        && other.public_key().raw == details.public_key.as_slice()
        && *other.signature_value.data == *details.signature
        && validity.not_before.timestamp() == certificate.not_before.0
        && validity.not_after.timestamp() == certificate.not_after.0
        && ca == certificate.is_ca;
    if same { Ok(()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn refuses_what_the_other_parser_reads_differently() {
        let pem = include_bytes!("../testdata/policy/leaf.pem");
        let certificate = Certificate::parse_file(pem).unwrap().remove(0);
        assert!(agrees(&certificate).is_ok());
        let later = Certificate {
            not_after: certificate.not_after.plus(1),
            ..certificate.clone()
        };
        let ca = Certificate {
            is_ca: true,
            ..certificate.clone()
        };
        let other = Certificate {
            subject: Arc::from(&b"0"[..]),
            ..certificate
        };
        for changed in [later, ca, other] {
            assert!(agrees(&changed).is_err());
        }
    }
}
