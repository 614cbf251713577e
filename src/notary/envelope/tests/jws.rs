//! The rules of JWS envelopes, each on an envelope whose signature holds.

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};

use super::Expected::{Algorithm, Header, Intact, Parse, Signature};
use super::*;
use crate::notary::testing::pair;

const PROTECTED: &str = concat!(
    r#"{"alg":"ES256","crit":["io.cncf.notary.signingScheme"],"#,
    r#""cty":"application/vnd.cncf.notary.payload.v1+json","#,
    r#""io.cncf.notary.signingScheme":"notary.x509","#,
    r#""io.cncf.notary.signingTime":"2030-01-01T00:00:00Z"}"#
);
const PAYLOAD: &str = r#"{"targetArtifact":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"m","size":2}}"#;

/// Returns an envelope over any protected header and payload, signed with P-256.
fn signed(protected: &str, payload: &str) -> String {
    let protected = Base64UrlUnpadded::encode_string(protected.as_bytes());
    let payload = Base64UrlUnpadded::encode_string(payload.as_bytes());
    let key = PrivateKey::parse_pem(pair("p256").key).unwrap();
    let raw = key
        .sign(format!("{protected}.{payload}").as_bytes())
        .unwrap();
    let signature = Base64UrlUnpadded::encode_string(&raw);
    let leaf = Base64::encode_string(pair("p256").certificates()[0].der());
    format!(
        r#"{{"payload":"{payload}","protected":"{protected}","header":{{"x5c":["{leaf}"]}},"signature":"{signature}"}}"#
    )
}

fn run(protected: &str) -> Result<IntactEnvelope, IntegrityError> {
    check(EnvelopeFormat::Jws, signed(protected, PAYLOAD).as_bytes())
}

const SCHEME: &str = "io.cncf.notary.signingScheme";
const TIME: &str = "io.cncf.notary.signingTime";
const AUTHENTIC: &str = "io.cncf.notary.authenticSigningTime";
const EXPIRY: &str = "io.cncf.notary.expiry";

/// What to replace in the protected header, by what, and what comes of it.
const HEADER_CASES: [(&str, &str, Expected); 43] = [
    ("", "", Intact),
    (r#""ES256""#, r#""none""#, Header("alg")),
    (r#""ES256""#, r#""HS256""#, Header("alg")),
    (r#""ES256""#, r#""RS256""#, Header("alg")),
    (r#""ES256""#, r#""ES256K""#, Header("alg")),
    (r#""ES256""#, r#""es256""#, Header("alg")),
    (r#""ES256""#, r#""ES384""#, Signature),
    (r#""ES256""#, r#""PS256""#, Signature),
    (r#""ES256""#, "1", Header("alg")),
    (r#""ES256""#, "null", Header("alg")),
    (r#""alg":"ES256","#, "", Header("alg")),
    (
        r#""alg":"ES256","#,
        r#""alg":"ES256","alg":"ES256","#,
        Parse("given twice"),
    ),
    (
        r#""alg":"ES256","#,
        r#""alg":"ES256","ALG":"ES256","#,
        Parse("only in case"),
    ),
    (r#"["io.cncf.notary.signingScheme"]"#, "[]", Header("crit")),
    (
        r#"["io.cncf.notary.signingScheme"]"#,
        "null",
        Header("crit"),
    ),
    (
        r#"["io.cncf.notary.signingScheme"]"#,
        r#""io.cncf.notary.signingScheme""#,
        Header("crit"),
    ),
    (r#"["io.cncf.notary.signingScheme"]"#, "[1]", Header("crit")),
    (
        r#""crit":["io.cncf.notary.signingScheme"],"#,
        "",
        Header("crit"),
    ),
    (r#"Scheme"],"#, r#"Scheme","alg"],"#, Header("alg")),
    (r#"Scheme"],"#, r#"Scheme","cty"],"#, Header("cty")),
    (
        r#"Scheme"],"#,
        r#"Scheme","io.cncf.notary.signingTime"],"#,
        Header(TIME),
    ),
    (
        r#"Scheme"],"#,
        r#"Scheme","io.cncf.notary.signingScheme"],"#,
        Header(SCHEME),
    ),
    (r#"Scheme"],"#, r#"Scheme","x"],"#, Header("x")),
    (r#"Scheme"],"#, r#"Scheme","x"],"x":null,"#, Intact),
    (r#"Scheme"],"#, r#"Scheme","x","x"],"x":1,"#, Intact),
    (
        r#"["io.cncf.notary.signingScheme"]"#,
        r#"["x"],"x":1"#,
        Header(SCHEME),
    ),
    (r#""notary.x509""#, r#""notary.foo""#, Header(SCHEME)),
    (r#""notary.x509""#, "null", Header(SCHEME)),
    (r#""notary.x509""#, "7", Header(SCHEME)),
    (
        r#""2030-01-01T00:00:00Z""#,
        r#""2030-01-01T00:00:00z""#,
        Header(TIME),
    ),
    (r#""2030-01-01T00:00:00Z""#, "1893456000", Header(TIME)),
    // Go takes neither apart, and so refuses the first only.
    (
        r#""2030-01-01T00:00:00Z""#,
        r#""2030-01-01T00:00:00\u005a""#,
        Parse("escape sequence"),
    ),
    (
        r#""cty":"#,
        r#""io.cncf.notary.\u0065xpiry":"2031-01-01T00:00\u003a00Z","cty":"#,
        Parse("escape sequence"),
    ),
    (
        r#""cty":"#,
        r#""x":{"io.cncf.notary.expiry":"\u0032031"},"c\u0074y":"#,
        Intact,
    ),
    (r#""2030-01-01T00:00:00Z""#, "null", Header(TIME)),
    (
        r#""2030-01-01T00:00:00Z""#,
        r#""0001-01-01T00:00:00Z""#,
        Header(TIME),
    ),
    (
        r#""2030-01-01T00:00:00Z""#,
        r#""2030-01-01T08:00:00.25+08:00""#,
        Intact,
    ),
    (
        "application/vnd.cncf.notary.payload.v1+json",
        "application/json",
        Header("content type"),
    ),
    (r#""cty":"#, r#""ct":"#, Header("content type")),
    (
        r#""cty":"#,
        r#""io.cncf.notary.expiry":"2031-01-01T00:00:00Z","cty":"#,
        Header(EXPIRY),
    ),
    (
        r#""crit":["#,
        r#""io.cncf.notary.authenticSigningTime":"2030-01-01T00:00:00Z","crit":["io.cncf.notary.authenticSigningTime","#,
        Header(AUTHENTIC),
    ),
    (
        r#""notary.x509""#,
        r#""notary.x509.signingAuthority""#,
        Header(TIME),
    ),
    (
        r#""cty":"#,
        r#""io.cncf.notary.Expiry":"2031-01-01T00:00:00Z","cty":"#,
        Parse("only in case"),
    ),
];

#[test]
fn holds_headers_against_the_rules() {
    for (from, to, expected) in HEADER_CASES {
        let protected = PROTECTED.replacen(from, to, 1);
        compare(run(&protected), expected, &protected);
    }
}

#[test]
fn wants_the_expiry_after_the_signing_time() {
    let with = |expiry: &str| {
        PROTECTED
            .replace(r#"Scheme"],"#, r#"Scheme","io.cncf.notary.expiry"],"#)
            .replace(r#""cty""#, &format!(r#""{EXPIRY}":"{expiry}","cty""#))
    };
    for (expiry, expected) in [
        ("2030-01-01T00:00:00Z", Header(EXPIRY)),
        ("2029-12-31T23:59:59Z", Header(EXPIRY)),
        ("2030-01-01T00:00:00+00:01", Header(EXPIRY)),
        ("2030-01-01T00:00:00.5Z", Intact),
        ("2030-01-01T00:00:01Z", Intact),
    ] {
        compare(run(&with(expiry)), expected, expiry);
    }
    let intact = run(&with("2030-01-01T00:00:07.9Z")).unwrap();
    assert_eq!(intact.expiry, Some(UnixTime(1_893_456_007)));
}

#[test]
fn reads_the_signing_authority_scheme() {
    let protected = PROTECTED
        .replace(r#""notary.x509""#, r#""notary.x509.signingAuthority""#)
        .replace(
            r#"Scheme"],"#,
            r#"Scheme","io.cncf.notary.authenticSigningTime"],"#,
        )
        .replace(TIME, AUTHENTIC);
    let intact = run(&protected).unwrap();
    assert_eq!(intact.scheme, SigningScheme::SigningAuthority);
    assert_eq!(intact.signing_time, UnixTime(1_893_456_000));
    let uncritical = protected.replace(r#","io.cncf.notary.authenticSigningTime"],"#, "],");
    compare(run(&uncritical), Header(AUTHENTIC), &uncritical);
}

#[test]
fn reports_extended_attributes() {
    let protected = PROTECTED
        .replace(
            r#"Scheme"],"#,
            r#"Scheme","io.cncf.notary.verificationPlugin"],"#,
        )
        .replace(
            r#""cty""#,
            r#""io.cncf.notary.verificationPlugin":"foo","number":1,"cty""#,
        );
    let attribute = |name: &str, critical: bool, text: Option<&str>| Attribute {
        name: name.to_owned(),
        critical,
        text: text.map(str::to_owned),
    };
    assert_eq!(
        run(&protected).unwrap().attributes,
        [
            attribute("io.cncf.notary.verificationPlugin", true, Some("foo")),
            attribute("number", false, None)
        ]
    );
}

#[test]
fn refuses_envelopes_that_two_readers_could_understand_differently() {
    let good = signed(PROTECTED, PAYLOAD);
    let value: serde_json::Value = serde_json::from_str(&good).unwrap();
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    let signature = text("signature");
    let leaf = value["header"]["x5c"][0].as_str().unwrap();
    assert!(leaf.contains('/') || leaf.contains('+'));
    let url_leaf = leaf.replace('/', "_").replace('+', "-");
    let cases = [
        (
            good.replace(&signature, &format!("{signature}=")),
            Parse("signature is not canonical"),
        ),
        (
            good.replace(&signature, &format!("{signature}\\n")),
            Parse("signature is not canonical"),
        ),
        (
            good.replace(&signature, &next_tail(&signature)),
            Parse("signature is not canonical"),
        ),
        (good.replace(&signature, ""), Signature),
        (
            good.replace("\"signature\"", "\"SIGNATURE\""),
            Parse("only in case"),
        ),
        (good.replace("\"x5c\"", "\"X5C\""), Parse("only in case")),
        (
            good.replace("{\"payload\"", "{\"payload\":\"\",\"payload\""),
            Parse("given twice"),
        ),
        (format!("{good} x"), Parse("the envelope")),
        (format!("\u{feff}{good}"), Parse("the envelope")),
        (format!("[{good}]"), Parse("not a JSON object")),
        (good.replace(leaf, &url_leaf), Parse("x5c is not canonical")),
        (
            good.replace(leaf, leaf.trim_end_matches('=')),
            Parse("x5c is not canonical"),
        ),
        (
            good.replace("\"header\"", "\"headers\""),
            Parse("chain is not present"),
        ),
        (
            good.replace("\"x5c\"", "\"x5\""),
            Parse("chain is not present"),
        ),
        (
            good.replace(&format!("[\"{leaf}\"]"), "[]"),
            Parse("chain is not present"),
        ),
        (good.replace(&format!("[\"{leaf}\"]"), "[1]"), Parse("x5c")),
        (
            good.replace(
                "{\"x5c\"",
                "{\"io.cncf.notary.timestampSignature\":\"*\",\"x5c\"",
            ),
            Parse("timestampSignature"),
        ),
        (
            good.replace(
                "{\"x5c\"",
                "{\"io.cncf.notary.timestampSignature\":\"AAAA\",\"x5c\"",
            ),
            Intact,
        ),
        (
            good.replace("{\"payload\"", "{\"more\":1,\"payload\""),
            Intact,
        ),
        (
            good.replace("{\"x5c\"", "{\"x5u\":\"http://localhost/\",\"x5c\""),
            Intact,
        ),
        (signed(PROTECTED, "[]"), Parse("the payload is not")),
        (signed(PROTECTED, r#"{"a":1,"a":1}"#), Parse("given twice")),
        (signed(PROTECTED, "{}"), Intact),
    ];
    assert!(leaf.ends_with('='), "the case without padding needs some");
    for (envelope, expected) in cases {
        compare(
            check(EnvelopeFormat::Jws, envelope.as_bytes()),
            expected,
            &envelope,
        );
    }
    let empty = check(EnvelopeFormat::Jws, signed(PROTECTED, "{}").as_bytes());
    assert!(empty.unwrap().target.is_err());
}

/// Returns the same bytes in base64url with other bits behind the last byte.
fn next_tail(text: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = *text.as_bytes().last().unwrap();
    let position = alphabet.iter().position(|byte| *byte == last).unwrap();
    let next = char::from(alphabet[position ^ 1]);
    format!("{}{next}", &text[..text.len() - 1])
}

#[test]
fn accepts_any_length_of_salt() {
    use sha2::Sha256;
    use signature::{RandomizedSigner as _, SignatureEncoding as _};
    let protected = PROTECTED.replace("ES256", "PS256");
    let signed = signed(&protected, PAYLOAD);
    let value: serde_json::Value = serde_json::from_str(&signed).unwrap();
    let input = format!(
        "{}.{}",
        value["protected"].as_str().unwrap(),
        value["payload"].as_str().unwrap()
    );
    let pem = std::str::from_utf8(pair("rsa2048").key).unwrap();
    let key = <rsa::PrivateKey as pkcs8::DecodePrivateKey>::from_pkcs8_pem(pem).unwrap();
    for length in [0, 20, 32, 222] {
        let signer = rsa::pss::SigningKey::<Sha256>::new_with_salt_len(key.clone(), length);
        let raw = signer
            .try_sign_with_rng(&mut getrandom::SysRng, input.as_bytes())
            .unwrap()
            .to_vec();
        let mut envelope = value.clone();
        envelope["signature"] = Base64UrlUnpadded::encode_string(&raw).into();
        envelope["header"]["x5c"][0] =
            Base64::encode_string(pair("rsa2048").certificates()[0].der()).into();
        let bytes = envelope.to_string().into_bytes();
        compare(
            check(EnvelopeFormat::Jws, &bytes),
            Intact,
            &length.to_string(),
        );
    }
}

#[test]
fn wants_the_algorithm_that_the_key_implies() {
    // PS384 made with an RSA-2048 key verifies, but is not what that key implies.
    use sha2::Sha384;
    let protected = PROTECTED.replace("ES256", "PS384");
    let value: serde_json::Value = serde_json::from_str(&signed(&protected, PAYLOAD)).unwrap();
    let input = format!(
        "{}.{}",
        value["protected"].as_str().unwrap(),
        value["payload"].as_str().unwrap()
    );
    let pem = std::str::from_utf8(pair("rsa2048").key).unwrap();
    let key = <rsa::PrivateKey as pkcs8::DecodePrivateKey>::from_pkcs8_pem(pem).unwrap();
    let raw = key
        .pss_sign_with_rng::<Sha384, _>(&mut getrandom::SysRng, input.as_bytes())
        .unwrap();
    let mut envelope = value;
    envelope["signature"] = Base64UrlUnpadded::encode_string(&raw).into();
    envelope["header"]["x5c"][0] =
        Base64::encode_string(pair("rsa2048").certificates()[0].der()).into();
    let found = check(EnvelopeFormat::Jws, envelope.to_string().as_bytes());
    compare(found, Algorithm, "PS384 with RSA 2048");
}

/// Compared one by one, these names would take minutes.
#[test]
fn takes_a_long_list_of_critical_attributes_in_one_pass() {
    let names: Vec<String> = (0..200_000).map(|number| format!("\"{number}\"")).collect();
    let members: Vec<String> = names.iter().map(|name| format!("{name}:1")).collect();
    let protected = PROTECTED
        .replace(
            r#"["io.cncf.notary.signingScheme"]"#,
            &format!(r#"["io.cncf.notary.signingScheme",{}]"#, names.join(",")),
        )
        .replace(r#""alg""#, &format!(r#"{},"alg""#, members.join(",")));
    let intact = run(&protected).unwrap();
    assert_eq!(intact.attributes.len(), 200_000);
    assert!(intact.attributes.iter().all(|attribute| attribute.critical));
}
