use super::*;

const LEAF: &[u8] = include_bytes!("../testdata/policy/leaf.pem");
const MIDDLE: &[u8] = include_bytes!("../testdata/policy/middle.pem");
const ROOT: &[u8] = include_bytes!("../testdata/policy/root.pem");
const ROOT_DER: &[u8] = include_bytes!("../testdata/policy/root.der");
const OTHER: &[u8] = include_bytes!("../testdata/policy/other.pem");
const SELF: &[u8] = include_bytes!("../testdata/policy/self.pem");

/// Is what a store holds: names and bytes.
type Contents<'a> = &'a [(&'a str, &'a [u8])];

fn files(files: Contents<'_>) -> Vec<(String, Vec<u8>)> {
    let owned = files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
    owned.collect()
}

fn checked(kind: StoreType, contents: Contents<'_>) -> Result<usize, String> {
    let store = StoreName {
        kind,
        name: "s".to_owned(),
    };
    check_store(&store, &files(contents))
        .map(|certificates| certificates.len())
        .map_err(|error| error.to_string())
}

#[test]
fn reads_every_form_of_certificate_file() {
    let preamble = [b"Subject: root\n\n", ROOT, b"\n\n", OTHER].concat();
    let two_der = [ROOT_DER, ROOT_DER].concat();
    let crlf = String::from_utf8(ROOT.to_vec())
        .unwrap()
        .replace('\n', "\r\n");
    let cases: [(Contents<'_>, usize); 5] = [
        (&[("r.pem", ROOT), ("o.any.thing", OTHER)], 2),
        (&[("r.crt", ROOT_DER)], 1),
        (&[("r.crt", &two_der)], 2),
        (&[("r.pem", &preamble)], 2),
        (&[("r.pem", crlf.as_bytes())], 1),
    ];
    for (contents, count) in cases {
        for kind in [StoreType::Ca, StoreType::SigningAuthority, StoreType::Tsa] {
            assert_eq!(checked(kind, contents), Ok(count));
        }
    }
}

#[test]
fn refuses_a_store_for_any_file_in_it() {
    let with_key = [
        ROOT,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ]
    .concat();
    for (name, bytes) in [
        ("README.md", &b"read me"[..]),
        (".DS_Store", b"\0\0\0\x01Bud1"),
        ("empty", b""),
        ("key.pem", &with_key),
        ("cut.crt", &ROOT_DER[..100]),
    ] {
        let error = checked(StoreType::Ca, &[("r.pem", ROOT), (name, bytes)]).unwrap_err();
        let wanted =
            format!("failed to read the trusted certificate {name} in trust store s of type ca. ");
        assert!(error.starts_with(&wanted), "{error}");
    }
}

#[test]
fn says_that_an_empty_store_has_no_certificates() {
    assert_eq!(
        checked(StoreType::Ca, &[]),
        Err("no x509 certificates were found in trust store \"s\" of type \"ca\"".to_owned())
    );
}

#[test]
fn accepts_authorities_and_self_signed_certificates_only() {
    for (bytes, accepted) in [(ROOT, true), (MIDDLE, true), (SELF, true), (LEAF, false)] {
        let result = checked(StoreType::Ca, &[("r.pem", bytes)]);
        assert_eq!(result.is_ok(), accepted, "{result:?}");
    }
    assert_eq!(
        checked(StoreType::SigningAuthority, &[("r.pem", LEAF)]),
        Err("failed to validate the trusted certificate r.pem in trust store s of type signingAuthority. certificate with subject \"CN=leaf,O=Notary,ST=WA,C=US\" is not a CA certificate or self-signed signing certificate".to_owned())
    );
}

#[test]
fn accepts_roots_only_for_timestamps() {
    for (bytes, accepted) in [(ROOT, true), (MIDDLE, false), (SELF, false), (LEAF, false)] {
        let result = checked(StoreType::Tsa, &[("r.pem", bytes)]);
        assert_eq!(result.is_ok(), accepted, "{result:?}");
    }
    assert_eq!(
        checked(StoreType::Tsa, &[("r.pem", MIDDLE)]),
        Err("trusted certificate r.pem in trust store s of type tsa is invalid: certificate with subject \"CN=middle,O=Notary,ST=WA,C=US\" is not a root CA certificate".to_owned())
    );
}

#[test]
fn names_the_first_broken_file_in_the_order_of_names() {
    let contents: [(&str, &[u8]); 3] = [("c", b"x"), ("a", ROOT), ("b", b"y")];
    let error = checked(StoreType::Ca, &contents).unwrap_err();
    assert!(error.contains("certificate b in"), "{error}");
}

#[test]
fn refuses_more_files_than_the_limit() {
    let most: Vec<(&str, &[u8])> = vec![("x", b"x"); limits::TRUST_STORE_FILES_MAX];
    assert!(
        checked(StoreType::Ca, &most)
            .unwrap_err()
            .contains("failed to read")
    );
    let more: Vec<(&str, &[u8])> = vec![("x", b"x"); limits::TRUST_STORE_FILES_MAX + 1];
    assert!(
        checked(StoreType::Ca, &more)
            .unwrap_err()
            .contains("more than 10000 files")
    );
}

#[test]
fn knows_names_that_are_safe_as_files() {
    for (name, good) in [
        ("a", true),
        ("wabbit-networks.io", true),
        ("A_b.9", true),
        ("..", true),
        ("", false),
        ("a/b", false),
        ("a b", false),
        ("a\n", false),
        ("\u{e4}", false),
    ] {
        assert_eq!(is_file_name(name), good, "{name:?}");
    }
}
