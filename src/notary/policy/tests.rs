use serde_json::{Value, json};

use super::*;
use crate::notary::StoreType;

/// A valid statement with some members replaced (`null` removes).
fn statement(changes: &Value) -> Value {
    let mut statement = json!({
        "name": "p",
        "registryScopes": ["local/x"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:s"],
        "trustedIdentities": ["*"],
    });
    for (name, value) in changes.as_object().unwrap() {
        statement[name] = value.clone();
    }
    statement
}

fn document(statements: &[Value]) -> Vec<u8> {
    json!({"version": "1.0", "trustPolicies": statements})
        .to_string()
        .into_bytes()
}

fn parse_one(changes: &Value) -> Result<Policy, PolicyError> {
    Policy::parse(&document(&[statement(changes)]))
}

/// The message that a statement with these changes is refused with.
fn message(changes: &Value) -> String {
    match parse_one(changes) {
        Err(PolicyError::Rule { problem }) => problem,
        other => panic!("{changes}: {other:?}"),
    }
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

#[test]
fn refuses_broken_documents_in_notations_words() {
    for (text, wanted) in [
        (
            r#"{"trustPolicies": []}"#,
            "trust policy document has empty version, version must be specified",
        ),
        (
            "{}",
            "trust policy document has empty version, version must be specified",
        ),
        (
            r#"{"version": null}"#,
            "trust policy document has empty version, version must be specified",
        ),
        (
            r#"{"version": "2.0"}"#,
            r#"trust policy document uses unsupported version "2.0""#,
        ),
        (
            r#"{"version": "1.0"}"#,
            "trust policy document can not have zero trust policy statements",
        ),
        (
            r#"{"version": "1.0", "trustPolicies": null}"#,
            "trust policy document can not have zero trust policy statements",
        ),
        (
            r#"{"version": "1.0", "trustPolicies": [null]}"#,
            "trust policy: a trust policy statement is missing a name, every statement requires a name",
        ),
    ] {
        let error = Policy::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), wanted, "{text}");
    }
}

#[test]
fn refuses_broken_levels_in_notations_words() {
    let prefix = "trust policy: trust policy statement \"p\" has invalid signatureVerification: ";
    for (verification, wanted) in [
        (
            json!(null),
            "signature verification level is empty or missing in the trust policy statement",
        ),
        (
            json!({"level": ""}),
            "signature verification level is empty or missing in the trust policy statement",
        ),
        (
            json!({"level": "foo"}),
            "invalid signature verification level \"foo\"",
        ),
        (
            json!({"level": "Strict"}),
            "invalid signature verification level \"Strict\"",
        ),
        (
            json!({"level": "skip", "override": {"expiry": "log"}}),
            "signature verification level \"skip\" can't be used to customize signature verification",
        ),
        (
            json!({"level": "strict", "override": {"foo": "log"}}),
            "verification type \"foo\" in custom signature verification is not supported, supported values are [\"integrity\" \"authenticity\" \"authenticTimestamp\" \"expiry\" \"revocation\"]",
        ),
        (
            json!({"level": "strict", "override": {"Expiry": "log"}}),
            "verification type \"Expiry\" in custom signature verification is not supported, supported values are [\"integrity\" \"authenticity\" \"authenticTimestamp\" \"expiry\" \"revocation\"]",
        ),
        (
            json!({"level": "strict", "override": {"expiry": "warn"}}),
            "verification action \"warn\" in custom signature verification is not supported, supported values are [\"enforce\" \"log\" \"skip\"]",
        ),
        (
            json!({"level": "strict", "override": {"expiry": null}}),
            "verification action \"\" in custom signature verification is not supported, supported values are [\"enforce\" \"log\" \"skip\"]",
        ),
        (
            json!({"level": "strict", "override": {"integrity": "log"}}),
            "\"integrity\" verification can not be overridden in custom signature verification",
        ),
        (
            json!({"level": "strict", "override": {"integrity": "enforce"}}),
            "\"integrity\" verification can not be overridden in custom signature verification",
        ),
        (
            json!({"level": "strict", "override": {"authenticity": "skip"}}),
            "\"authenticity\" verification can not be skipped in custom signature verification",
        ),
        (
            json!({"level": "strict", "override": {"expiry": "skip"}}),
            "\"expiry\" verification can not be skipped in custom signature verification",
        ),
        (
            json!({"level": "strict", "override": {"authenticTimestamp": "skip"}}),
            "\"authenticTimestamp\" verification can not be skipped in custom signature verification",
        ),
        (
            json!({"level": "strict", "verifyTimestamp": "never"}),
            "verifyTimestamp must be \"always\" or \"afterCertExpiry\", but got \"never\"",
        ),
    ] {
        let changes = json!({"signatureVerification": verification});
        assert_eq!(message(&changes), format!("{prefix}{wanted}"), "{changes}");
    }
}

#[test]
fn refuses_broken_stores_and_identities_in_notations_words() {
    let statement = "trust policy: trust policy statement \"p\" ";
    for (changes, wanted) in [
        (
            json!({"trustStores": []}),
            "is either missing trust stores or trusted identities, both must be specified",
        ),
        (
            json!({"trustStores": null}),
            "is either missing trust stores or trusted identities, both must be specified",
        ),
        (
            json!({"trustedIdentities": []}),
            "is either missing trust stores or trusted identities, both must be specified",
        ),
        (
            json!({"signatureVerification": {"level": "skip"}}),
            "is set to skip signature verification but configured with trust stores and/or trusted identities, remove them if signature verification needs to be skipped",
        ),
        (
            json!({"signatureVerification": {"level": "skip"}, "trustStores": []}),
            "is set to skip signature verification but configured with trust stores and/or trusted identities, remove them if signature verification needs to be skipped",
        ),
        (
            json!({"trustStores": ["s"]}),
            "has malformed trust store value \"s\". The required format is <TrustStoreType>:<TrustStoreName>",
        ),
        (
            json!({"trustStores": [null]}),
            "has malformed trust store value \"\". The required format is <TrustStoreType>:<TrustStoreName>",
        ),
        (
            json!({"trustStores": ["CA:s"]}),
            "uses an unsupported trust store type \"CA\" in trust store value \"CA:s\"",
        ),
        (
            json!({"trustStores": ["ca:"]}),
            "uses an unsupported trust store name \"\" in trust store value \"ca:\". Named store name needs to follow [a-zA-Z0-9_.-]+ format",
        ),
        (
            json!({"trustStores": ["ca:a/b"]}),
            "uses an unsupported trust store name \"a/b\" in trust store value \"ca:a/b\". Named store name needs to follow [a-zA-Z0-9_.-]+ format",
        ),
        (
            json!({"trustedIdentities": ["*", "x509.subject:C=US,ST=WA,O=Notary"]}),
            "uses a wildcard trusted identity '*', a wildcard identity cannot be used in conjunction with other values",
        ),
        (
            json!({"trustedIdentities": ["*", "*"]}),
            "uses a wildcard trusted identity '*', a wildcard identity cannot be used in conjunction with other values",
        ),
        (
            json!({"trustedIdentities": [""]}),
            "has an empty trusted identity",
        ),
        (
            json!({"trustedIdentities": ["foo"]}),
            "has trusted identity \"foo\" missing separator",
        ),
        (
            json!({"trustedIdentities": ["x509.subject:"]}),
            "has trusted identity \"x509.subject:\" without an identity value",
        ),
        (
            json!({"trustedIdentities": ["x509.subject:C=US,ST=WA"]}),
            "has trusted identity \"x509.subject:C=US,ST=WA\" with invalid identity value: distinguished name (DN) \"C=US,ST=WA\" has no mandatory RDN attribute for \"O\", it must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum",
        ),
        (
            json!({"trustedIdentities": ["x509.subject:C=US,ST=WA,O=a", "x509.subject:C=US,ST=WA,O=a,OU=x"]}),
            "has overlapping x509 trustedIdentities, \"x509.subject:C=US,ST=WA,O=a\" overlaps with \"x509.subject:C=US,ST=WA,O=a,OU=x\"",
        ),
        (
            json!({"trustedIdentities": ["x509.subject:C=US,ST=WA,O=a,OU=x", "x509.subject:O=a,S=WA,C=US"]}),
            "has overlapping x509 trustedIdentities, \"x509.subject:O=a,S=WA,C=US\" overlaps with \"x509.subject:C=US,ST=WA,O=a,OU=x\"",
        ),
        (
            json!({"trustedIdentities": ["x509.subject:C=US,ST=WA,O=a", "x509.subject:C=US,ST=WA,O=a"]}),
            "has overlapping x509 trustedIdentities, \"x509.subject:C=US,ST=WA,O=a\" overlaps with \"x509.subject:C=US,ST=WA,O=a\"",
        ),
    ] {
        assert_eq!(
            message(&changes),
            format!("{statement}{wanted}"),
            "{changes}"
        );
    }
    let unnamed = message(&json!({"name": ""}));
    assert_eq!(
        unnamed,
        "trust policy: a trust policy statement is missing a name, every statement requires a name"
    );
}

#[test]
fn refuses_broken_scopes_in_notations_words() {
    let hint = "make sure it is a fully qualified repository without the scheme, protocol or tag. For example domain.com/my/repository or a local scope like local/myOCILayout";
    for (scopes, wanted) in [
        (json!(null), "trust policy statement \"p\" has zero registry scopes, it must specify registry scopes with at least one value".to_owned()),
        (json!([]), "trust policy statement \"p\" has zero registry scopes, it must specify registry scopes with at least one value".to_owned()),
        (json!(["*", "local/x"]), "trust policy statement \"p\" uses wildcard registry scope '*', a wildcard scope cannot be used in conjunction with other scope values".to_owned()),
        (json!(["*", "*"]), "trust policy statement \"p\" uses wildcard registry scope '*', a wildcard scope cannot be used in conjunction with other scope values".to_owned()),
        (json!(["local/*"]), format!("registry scope \"local/*\" with wild card(s) is not valid, {hint}")),
        (json!(["local/x:v1"]), format!("registry scope \"local/x:v1\" is not valid, {hint}")),
        (json!(["local"]), format!("registry scope \"local\" is not valid, {hint}")),
        (json!([""]), format!("registry scope \"\" is not valid, {hint}")),
        (json!(["https://a/b"]), format!("registry scope \"https://a/b\" is not valid, {hint}")),
        (json!(["local/X"]), format!("registry scope \"local/X\" is not valid, {hint}")),
        (json!(["local/x", "local/x"]), "registry scope \"local/x\" is present in multiple trust policy statements, one registry scope value can only be associated with one statement".to_owned()),
    ] {
        let changes = json!({"registryScopes": scopes});
        assert_eq!(message(&changes), wanted, "{changes}");
    }
}

#[test]
fn refuses_the_same_name_or_scope_in_two_statements() {
    let named =
        |name: &str, scope: &str| statement(&json!({"name": name, "registryScopes": [scope]}));
    for (second, wanted) in [
        (
            named("p", "local/y"),
            "multiple trust policy statements use the same name \"p\", statement names must be unique",
        ),
        (
            named("q", "local/x"),
            "registry scope \"local/x\" is present in multiple trust policy statements, one registry scope value can only be associated with one statement",
        ),
    ] {
        let error = Policy::parse(&document(&[named("p", "local/x"), second])).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn names_the_first_broken_rule_only() {
    let changes = json!({
        "signatureVerification": {"level": "foo"},
        "registryScopes": [],
        "trustStores": ["CA:s"],
        "trustedIdentities": ["foo"],
    });
    assert!(message(&changes).ends_with("invalid signature verification level \"foo\""));
}

#[test]
fn refuses_what_two_readers_could_understand_differently() {
    let good = String::from_utf8(document(&[statement(&json!({}))])).unwrap();
    for (from, to) in [
        ("\"version\"", "\"VERSION\""),
        ("\"registryScopes\"", "\"RegistryScopes\""),
        ("\"level\"", "\"Level\""),
        ("\"name\":\"p\"", "\"name\":\"p\",\"Name\":\"q\""),
        ("\"name\":\"p\"", "\"name\":\"p\",\"name\":\"p\""),
        (
            "\"level\":\"strict\"",
            "\"level\":\"skip\",\"level\":\"strict\"",
        ),
        ("\"name\":\"p\"", "\"name\":1"),
        ("[\"ca:s\"]", "\"ca:s\""),
        ("[\"ca:s\"]", "[1]"),
        ("{\"level\":\"strict\"}", "[]"),
        ("{\"version\"", "// comment\n{\"version\""),
        ("{\"version\"", "\u{feff}{\"version\""),
        ("}]}", "}]"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        let refused = Policy::parse(changed.as_bytes());
        assert!(
            matches!(
                refused,
                Err(PolicyError::Json(_) | PolicyError::Shape { .. })
            ),
            "{changed}: {refused:?}"
        );
    }
    for text in ["", " ", "[]", "null", "1"] {
        assert!(Policy::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn ignores_unknown_members_and_bytes_after_the_document() {
    let mut changed = statement(&json!({"comment": {"Name": 1}}));
    changed["signatureVerification"]["note"] = json!([]);
    let mut bytes = document(&[changed]);
    bytes.extend_from_slice(b" trailing {");
    assert!(Policy::parse(&bytes).is_ok());
}

#[test]
fn refuses_a_document_over_the_limit() {
    let limit = usize::try_from(crate::oci::limits::POLICY_BYTES_MAX).unwrap();
    let mut bytes = document(&[statement(&json!({}))]);
    bytes.resize(limit, b' ');
    assert!(Policy::parse(&bytes).is_ok());
    bytes.push(b' ');
    assert!(Policy::parse(&bytes).is_err());
}

#[test]
fn refuses_more_identities_than_the_limit() {
    let identities = |count: usize| {
        let names = (0..count).map(|i| format!("x509.subject:C=US,ST=WA,O=a,CN={i}"));
        json!({"trustedIdentities": names.collect::<Vec<_>>()})
    };
    assert!(parse_one(&identities(2_000)).is_ok());
    assert_eq!(
        message(&identities(2_001)),
        "trust policy: trust policy statement \"p\" has more than 2000 trusted identities"
    );
}

#[test]
fn gives_each_check_what_its_level_wants() {
    use Action::{Enforce, Log, Skip};
    for (verification, name, wanted) in [
        (json!({"level": "strict"}), "strict", [Enforce; 5]),
        (
            json!({"level": "permissive"}),
            "permissive",
            [Enforce, Enforce, Log, Log, Log],
        ),
        (
            json!({"level": "audit", "override": {}}),
            "audit",
            [Enforce, Log, Log, Log, Log],
        ),
        (
            json!({"level": "strict", "override": {"revocation": "skip", "expiry": "log"}}),
            "custom",
            [Enforce, Enforce, Enforce, Log, Skip],
        ),
        (
            json!({"level": "audit", "override": {"authenticity": "enforce"}}),
            "custom",
            [Enforce, Enforce, Log, Log, Log],
        ),
        (
            json!({"level": "strict", "override": {"authenticTimestamp": "log"}}),
            "custom",
            [Enforce, Enforce, Log, Enforce, Enforce],
        ),
    ] {
        let policy = parse_one(&json!({"signatureVerification": verification})).unwrap();
        let statement = &policy.statements[0];
        assert_eq!(statement.level_name(), name);
        assert_eq!(
            statement.actions.map(|(_, action)| action),
            wanted,
            "{verification}"
        );
    }
    let skip = json!({"signatureVerification": {"level": "skip"}, "trustStores": [], "trustedIdentities": null});
    let policy = parse_one(&skip).unwrap();
    assert_eq!(
        policy.statements[0].actions.map(|(_, action)| action),
        [Skip; 5]
    );
    assert_eq!(policy.statements[0].level_name(), "skip");
}

#[test]
fn keeps_stores_and_timestamp_rule() {
    let policy = parse_one(&json!({
        "trustStores": ["ca:s", "tsa:t.1", "signingAuthority:a_b", "ca:s", "ca:.."],
        "signatureVerification": {"level": "strict", "verifyTimestamp": "afterCertExpiry"},
        "trustedIdentities": ["plugin.kind:anything", "x509.subject :C=US"],
    }))
    .unwrap();
    let statement = &policy.statements[0];
    let stores: Vec<_> = statement
        .trust_stores
        .iter()
        .map(|s| (s.kind, s.name.as_str()))
        .collect();
    assert_eq!(
        stores,
        [
            (StoreType::Ca, "s"),
            (StoreType::Tsa, "t.1"),
            (StoreType::SigningAuthority, "a_b"),
            (StoreType::Ca, "s"),
            (StoreType::Ca, ".."),
        ]
    );
    assert_eq!(statement.verify_timestamp, TimestampRule::AfterCertExpiry);
    for rule in [json!(null), json!(""), json!("always")] {
        let changes =
            json!({"signatureVerification": {"level": "strict", "verifyTimestamp": rule}});
        let policy = parse_one(&changes).unwrap();
        assert_eq!(policy.statements[0].verify_timestamp, TimestampRule::Always);
    }
}

#[test]
fn chooses_the_exact_scope_before_the_wildcard() {
    let named =
        |name: &str, scopes: Value| statement(&json!({"name": name, "registryScopes": scopes}));
    let policy = Policy::parse(&document(&[
        named("any", json!(["*"])),
        named("p", json!(["local/x", "LOCAL/y"])),
    ]))
    .unwrap();
    let chosen = |text: &str| policy.statement(&scope(text)).map(|s| s.name.clone());
    assert_eq!(chosen("local/x").as_deref(), Some("p"));
    assert_eq!(chosen("LOCAL/y").as_deref(), Some("p"));
    assert_eq!(chosen("local/y").as_deref(), Some("any"));
    let only = Policy::parse(&document(&[named("p", json!(["local/x"]))])).unwrap();
    assert_eq!(only.statement(&scope("LOCAL/x")), None);
}
