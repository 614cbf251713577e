//! The bytes of new envelopes.

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};

use super::SignError;
use crate::notary::cbor::{write_bytes, write_head, write_integer, write_text};
use crate::notary::headers::{EXPIRY, SIGNING_AGENT, SIGNING_SCHEME, SIGNING_TIME};
use crate::notary::{Chain, PrivateKey, SigningScheme, cose, payload};
use crate::oci::UnixTime;
use crate::oci::media_type::NOTARY_PAYLOAD;

/// What new envelopes name as their maker; unsigned and never validated by anyone.
const AGENT: &str = concat!("signetfs/", env!("CARGO_PKG_VERSION"));

/// Holds what an envelope is made of.
pub(super) struct Draft<'a> {
    pub(super) payload: &'a [u8],
    pub(super) chain: &'a Chain,
    pub(super) signing_time: UnixTime,
    pub(super) expiry: Option<UnixTime>,
}

/// Returns a JWS envelope.
pub(super) fn jws(draft: &Draft<'_>, key: &PrivateKey) -> Result<Vec<u8>, SignError> {
    let algorithm = draft.chain.algorithm().jws_name();
    let scheme = SigningScheme::X509.name();
    let signing_time = draft.signing_time;
    let (critical, expiry) = match draft.expiry {
        None => (format!(r#"["{SIGNING_SCHEME}"]"#), String::new()),
        Some(expiry) => (
            format!(r#"["{SIGNING_SCHEME}","{EXPIRY}"]"#),
            format!(r#""{EXPIRY}":"{expiry}","#),
        ),
    };
    let protected = format!(
        r#"{{"alg":"{algorithm}","crit":{critical},"cty":"{NOTARY_PAYLOAD}",{expiry}"{SIGNING_SCHEME}":"{scheme}","{SIGNING_TIME}":"{signing_time}"}}"#
    );
    let protected = Base64UrlUnpadded::encode_string(protected.as_bytes());
    let payload = Base64UrlUnpadded::encode_string(draft.payload);
    let raw = key.sign(format!("{protected}.{payload}").as_bytes())?;
    let signature = Base64UrlUnpadded::encode_string(&raw);
    let chain: Vec<String> = draft
        .chain
        .certificates()
        .iter()
        .map(|certificate| format!("\"{}\"", Base64::encode_string(certificate.der())))
        .collect();
    let chain = chain.join(",");
    let agent = payload::go_string(AGENT);
    Ok(format!(
        r#"{{"payload":"{payload}","protected":"{protected}","header":{{"x5c":[{chain}],"{SIGNING_AGENT}":{agent}}},"signature":"{signature}"}}"#
    )
    .into_bytes())
}

/// Returns a COSE envelope.
pub(super) fn cose(draft: &Draft<'_>, key: &PrivateKey) -> Result<Vec<u8>, SignError> {
    let protected = cose_protected(draft);
    let raw = key.sign(&cose::signed_bytes(&protected, draft.payload))?;
    let mut out = cose::PREFIX.to_vec();
    write_bytes(&mut out, &protected);
    write_head(&mut out, 5, 2);
    write_integer(&mut out, cose::X5CHAIN_NUMBER);
    let certificates = draft.chain.certificates();
    write_head(&mut out, 4, certificates.iter().map(|_| 1).sum());
    for certificate in certificates {
        write_bytes(&mut out, certificate.der());
    }
    write_text(&mut out, SIGNING_AGENT);
    write_text(&mut out, AGENT);
    write_bytes(&mut out, draft.payload);
    write_bytes(&mut out, &raw);
    Ok(out)
}

/// Returns the protected map, keys in the order of their encoded bytes.
fn cose_protected(draft: &Draft<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let expires = u64::from(draft.expiry.is_some());
    write_head(&mut out, 5, 5 + expires);
    write_integer(&mut out, 1);
    write_integer(&mut out, draft.chain.algorithm().cose_number());
    write_integer(&mut out, 2);
    write_head(&mut out, 4, 1 + expires);
    write_text(&mut out, SIGNING_SCHEME);
    if draft.expiry.is_some() {
        write_text(&mut out, EXPIRY);
    }
    write_integer(&mut out, 3);
    write_text(&mut out, NOTARY_PAYLOAD);
    if let Some(expiry) = draft.expiry {
        write_text(&mut out, EXPIRY);
        write_time(&mut out, expiry);
    }
    write_text(&mut out, SIGNING_TIME);
    write_time(&mut out, draft.signing_time);
    write_text(&mut out, SIGNING_SCHEME);
    write_text(&mut out, SigningScheme::X509.name());
    out
}

/// Writes tag 1 around whole seconds.
fn write_time(out: &mut Vec<u8>, time: UnixTime) {
    write_head(out, 6, 1);
    write_integer(out, time.0);
}
