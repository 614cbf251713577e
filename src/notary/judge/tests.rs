use super::*;
use crate::notary::{
    Attribute, Chain, EnvelopeFormat, IntegrityError, Level, Policy, StoreName, TargetArtifact,
};
use crate::oci::Digest;

const LEAF: &[u8] = include_bytes!("../testdata/policy/leaf.pem");
const MIDDLE: &[u8] = include_bytes!("../testdata/policy/middle.pem");
const ROOT: &[u8] = include_bytes!("../testdata/policy/root.pem");
const OTHER: &[u8] = include_bytes!("../testdata/policy/other.pem");
const PLAIN: &[u8] = include_bytes!("../testdata/policy/plain.pem");
const OCSP: &[u8] = include_bytes!("../testdata/policy/ocsp.pem");
const CRL: &[u8] = include_bytes!("../testdata/policy/crl.pem");
const SELF: &[u8] = include_bytes!("../testdata/policy/self.pem");

/// Validity of `leaf`: 2020 to 2030; of `middle`: 2010 to 2040; of all others: 2000 to 2100.
const YEAR_2010: UnixTime = UnixTime(1_262_304_000);
const YEAR_2020: UnixTime = UnixTime(1_577_836_800);
const YEAR_2025: UnixTime = UnixTime(1_735_689_600);
const YEAR_2030: UnixTime = UnixTime(1_893_456_000);
const YEAR_2040: UnixTime = UnixTime(2_208_988_800);

fn certificates(pem: &[&[u8]]) -> Vec<Certificate> {
    Certificate::parse_file(&pem.concat()).unwrap()
}

fn artifact() -> Descriptor {
    Descriptor::new(
        "application/vnd.oci.image.manifest.v1+json",
        Digest::of(b"artifact"),
        8,
    )
}

/// A signature of the artifact by `leaf`, made in 2025, without expiry.
fn envelope(chain: &[&[u8]]) -> IntactEnvelope {
    IntactEnvelope {
        format: EnvelopeFormat::Jws,
        scheme: SigningScheme::X509,
        signing_time: YEAR_2025,
        expiry: None,
        chain: Chain::check(certificates(chain)).unwrap(),
        target: Ok(TargetArtifact {
            descriptor: artifact(),
        }),
        payload: Vec::new(),
        attributes: Vec::new(),
        agent: None,
        timestamp: None,
        raw_signature: Vec::new(),
    }
}

fn three() -> IntactEnvelope {
    envelope(&[LEAF, MIDDLE, ROOT])
}

fn statement(verification: &str, stores: &str, identities: &str) -> Statement {
    let document = format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"p","registryScopes":["*"],
        "signatureVerification":{verification},"trustStores":{stores},"trustedIdentities":{identities}}}]}}"#
    );
    let mut policy = Policy::parse(document.as_bytes()).unwrap();
    policy.statements.remove(0)
}

fn level(name: &str) -> Statement {
    statement(
        &format!(r#"{{"level":"{name}"}}"#),
        r#"["ca:s"]"#,
        r#"["*"]"#,
    )
}

fn store(kind: StoreType, name: &str) -> StoreName {
    StoreName {
        kind,
        name: name.to_owned(),
    }
}

/// Stores named `s`: `root` in every type.
fn anchors() -> Anchors {
    let kinds = [StoreType::Ca, StoreType::SigningAuthority, StoreType::Tsa];
    let stores = kinds.map(|kind| (store(kind, "s"), Ok(certificates(&[ROOT]))));
    Anchors {
        stores: stores.into(),
    }
}

fn only(kind: StoreType, pem: &[u8]) -> Anchors {
    Anchors {
        stores: [(store(kind, "s"), Ok(certificates(&[pem])))].into(),
    }
}

fn judged(
    envelope: &IntactEnvelope,
    statement: &Statement,
    anchors: &Anchors,
    now: UnixTime,
) -> Judgement {
    let question = Question {
        envelope,
        artifact: &artifact(),
        statement,
        anchors,
        metadata: &BTreeMap::new(),
        evidence: &Evidence::none(),
    };
    assert_eq!(needs(&question, now), []);
    judge(&question, now)
}

fn check(judgement: &Judgement, kind: CheckKind) -> &Check {
    let found = judgement.outcome.checks.iter().find(|(k, _, _)| *k == kind);
    &found.unwrap().1
}

fn failed(reason: Reason) -> Check {
    Check::Failed(Box::new(reason))
}

fn reason(judgement: &Judgement, kind: CheckKind) -> &Reason {
    match check(judgement, kind) {
        Check::Failed(reason) => reason,
        other => panic!("{kind:?}: {other:?}"),
    }
}

fn results(judgement: &Judgement) -> [char; 5] {
    judgement
        .outcome
        .checks
        .each_ref()
        .map(|(_, check, _)| match check {
            Check::Passed => 'p',
            Check::Failed(_) => 'f',
            Check::Skipped => '-',
        })
}

#[test]
fn passes_a_good_signature_at_every_level() {
    for name in ["strict", "permissive", "audit"] {
        let judgement = judged(&three(), &level(name), &anchors(), YEAR_2025);
        assert_eq!(results(&judgement), ['p'; 5], "{name}");
        assert!(judgement.outcome.accepted() && judgement.outcome.clean());
        assert_eq!(judgement.outcome.refusal(), None);
    }
}

#[test]
fn an_enforced_failure_ends_the_work_and_a_logged_one_does_not() {
    use CheckKind::{AuthenticTimestamp, Authenticity, Expiry, Integrity};
    // Untrusted, expired, certificate expired, another artifact: what is refused for, and what the five checks gave.
    let mut envelope = three();
    envelope.expiry = Some(YEAR_2025);
    envelope.target = Err("broken".to_owned());
    let untrusted = only(StoreType::Ca, OTHER);
    for (policy, anchors, refused, wanted) in [
        (
            level("strict"),
            &untrusted,
            Authenticity,
            ['p', 'f', '-', '-', '-'],
        ),
        (
            level("strict"),
            &anchors(),
            Expiry,
            ['p', 'p', '-', 'f', '-'],
        ),
        (
            level("permissive"),
            &anchors(),
            Integrity,
            ['f', 'p', 'f', 'f', 'p'],
        ),
        (
            level("audit"),
            &untrusted,
            Integrity,
            ['f', 'f', 'f', 'f', 'p'],
        ),
        (
            statement(
                r#"{"level":"strict","override":{"expiry":"log"}}"#,
                r#"["ca:s"]"#,
                r#"["*"]"#,
            ),
            &anchors(),
            AuthenticTimestamp,
            ['p', 'p', 'f', 'f', '-'],
        ),
    ] {
        let judgement = judged(&envelope, &policy, anchors, YEAR_2040);
        assert_eq!(results(&judgement), wanted, "{policy:?}");
        let (kind, _) = judgement.outcome.refusal().unwrap();
        assert_eq!(kind, refused, "{policy:?}");
        assert!(!judgement.outcome.accepted() && !judgement.outcome.clean());
    }
}

#[test]
fn a_logged_failure_is_accepted_but_not_clean() {
    let judgement = judged(
        &three(),
        &level("audit"),
        &only(StoreType::Ca, OTHER),
        YEAR_2025,
    );
    assert_eq!(results(&judgement), ['p', 'f', 'p', 'p', 'p']);
    assert_eq!(
        reason(&judgement, CheckKind::Authenticity),
        &Reason::NotAnchored
    );
    assert!(judgement.outcome.accepted());
    assert!(!judgement.outcome.clean());
}

#[test]
fn any_member_of_the_chain_may_be_the_anchor() {
    for anchor in [LEAF, MIDDLE, ROOT] {
        let judgement = judged(
            &three(),
            &level("strict"),
            &only(StoreType::Ca, anchor),
            YEAR_2025,
        );
        assert!(judgement.outcome.clean());
    }
    let judgement = judged(
        &three(),
        &level("strict"),
        &only(StoreType::Ca, OTHER),
        YEAR_2025,
    );
    assert_eq!(
        reason(&judgement, CheckKind::Authenticity),
        &Reason::NotAnchored
    );
}

#[test]
fn each_scheme_looks_in_its_own_type_of_store_only() {
    use SigningScheme::{SigningAuthority, X509};
    for (scheme, listed, trusted) in [
        (X509, r#"["ca:s"]"#, true),
        (X509, r#"["signingAuthority:s"]"#, false),
        (X509, r#"["tsa:s"]"#, false),
        (
            X509,
            r#"["signingAuthority:missing","ca:s","tsa:missing"]"#,
            true,
        ),
        (SigningAuthority, r#"["signingAuthority:s"]"#, true),
        (SigningAuthority, r#"["ca:s"]"#, false),
        (
            SigningAuthority,
            r#"["ca:missing","signingAuthority:s"]"#,
            true,
        ),
    ] {
        let mut envelope = three();
        envelope.scheme = scheme;
        let policy = statement(r#"{"level":"permissive"}"#, listed, r#"["*"]"#);
        let judgement = judged(&envelope, &policy, &anchors(), YEAR_2025);
        if trusted {
            assert_eq!(
                check(&judgement, CheckKind::Authenticity),
                &Check::Passed,
                "{listed}"
            );
        } else {
            assert_eq!(
                reason(&judgement, CheckKind::Authenticity),
                &Reason::NoStore,
                "{listed}"
            );
        }
    }
}

#[test]
fn one_unusable_store_fails_even_beside_a_good_one() {
    let policy = statement(r#"{"level":"strict"}"#, r#"["ca:s","ca:bad"]"#, r#"["*"]"#);
    let missing = judged(&three(), &policy, &anchors(), YEAR_2025);
    assert_eq!(
        reason(&missing, CheckKind::Authenticity).to_string(),
        "the trust store \"bad\" of type \"ca\" does not exist"
    );
    let error = AnchorsError {
        problem: "unreadable".to_owned(),
        may_pass: false,
    };
    let mut anchors = anchors();
    anchors
        .stores
        .insert(store(StoreType::Ca, "bad"), Err(error.clone()));
    let broken = judged(&three(), &policy, &anchors, YEAR_2025);
    assert_eq!(
        reason(&broken, CheckKind::Authenticity),
        &Reason::Store(error)
    );
}

#[test]
fn identities_are_matched_against_the_leaf_in_notations_words() {
    let words = |chain: &[&[u8]], identities: &str| {
        let policy = statement(r#"{"level":"strict"}"#, r#"["ca:s"]"#, identities);
        let judgement = judged(&envelope(chain), &policy, &anchors(), YEAR_2025);
        match check(&judgement, CheckKind::Authenticity) {
            Check::Failed(reason) => reason.to_string(),
            other => format!("{other:?}"),
        }
    };
    for (chain, identities, wanted) in [
        (
            &[LEAF, MIDDLE, ROOT][..],
            r#"["x509.subject:C=US,ST=WA,O=Notary"]"#,
            "Passed",
        ),
        (
            &[LEAF, MIDDLE, ROOT],
            r#"["x509.subject:C=US,ST=WA,O=Other","x509.subject:CN=leaf,C=US,S=WA,O=Notary"]"#,
            "Passed",
        ),
        (
            &[LEAF, MIDDLE, ROOT],
            r#"["x509.subject:C=US,ST=WA,O=Notary,L=Portland","x509.subject:C=US,ST=WA,O=x"]"#,
            r#"signing certificate from the digital signature does not match the X.509 trusted identities [map["C":"US" "L":"Portland" "O":"Notary" "ST":"WA"] map["C":"US" "O":"x" "ST":"WA"]] defined in the trust policy "p""#,
        ),
        (
            &[LEAF, MIDDLE, ROOT],
            r#"["x509.subject:C=US,ST=WA,O=Notary,CN=middle"]"#,
            r#"signing certificate from the digital signature does not match the X.509 trusted identities [map["C":"US" "CN":"middle" "O":"Notary" "ST":"WA"]] defined in the trust policy "p""#,
        ),
        (
            &[LEAF, MIDDLE, ROOT],
            r#"["x509.subject :C=US,ST=WA,O=Notary"]"#,
            r#"no x509 trusted identities are configured in the trust policy "p""#,
        ),
        (&[PLAIN, ROOT], r#"["*"]"#, "Passed"),
        (
            &[PLAIN, ROOT],
            r#"["x509.subject:C=US,ST=WA,O=Notary"]"#,
            r#"error while parsing the certificate subject from the digital signature. error : "distinguished name (DN) \"CN=plain,O=Notary,C=US\" has no mandatory RDN attribute for \"ST\", it must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum""#,
        ),
    ] {
        assert_eq!(words(chain, identities), wanted, "{identities}");
    }
}

#[test]
fn an_identity_failure_replaces_the_store_failure_only_where_both_are_logged() {
    let identities = r#"["x509.subject:C=US,ST=WA,O=x"]"#;
    for (name, replaced) in [("strict", false), ("permissive", false), ("audit", true)] {
        let policy = statement(
            &format!(r#"{{"level":"{name}"}}"#),
            r#"["ca:s"]"#,
            identities,
        );
        let judgement = judged(&three(), &policy, &only(StoreType::Ca, OTHER), YEAR_2025);
        let reason = reason(&judgement, CheckKind::Authenticity);
        assert_eq!(
            matches!(reason, Reason::Identity { .. }),
            replaced,
            "{name}"
        );
        assert_eq!(matches!(reason, Reason::NotAnchored), !replaced, "{name}");
    }
}

#[test]
fn expiry_is_reached_in_its_own_second() {
    let mut envelope = three();
    envelope.expiry = Some(YEAR_2025);
    let before = judged(&envelope, &level("strict"), &anchors(), YEAR_2025.plus(-1));
    assert!(before.outcome.clean());
    assert_eq!(before.valid_until, Some(YEAR_2025));
    let at = judged(&envelope, &level("strict"), &anchors(), YEAR_2025);
    let expired = Reason::Expired {
        expiry: YEAR_2025,
        now: YEAR_2025,
    };
    assert_eq!(reason(&at, CheckKind::Expiry), &expired);
    assert_eq!(
        expired.to_string(),
        "digital signature has expired on \"Wed, 01 Jan 2025 00:00:00 +0000\""
    );
    assert_eq!(at.valid_until, Some(YEAR_2030.plus(1)));
}

#[test]
fn certificates_are_valid_up_to_and_including_their_last_second() {
    for (now, invalid, until) in [
        (YEAR_2010.plus(-1), Some("leaf"), Some(YEAR_2010)),
        (YEAR_2020.plus(-1), Some("leaf"), Some(YEAR_2020)),
        (YEAR_2020, None, Some(YEAR_2030.plus(1))),
        (YEAR_2030, None, Some(YEAR_2030.plus(1))),
        (YEAR_2030.plus(1), Some("leaf"), Some(YEAR_2040.plus(1))),
        (
            YEAR_2040.plus(1),
            Some("leaf"),
            Some(UnixTime(4_102_444_801)),
        ),
        (UnixTime(4_102_444_801), Some("leaf"), None),
    ] {
        let judgement = judged(&three(), &level("strict"), &anchors(), now);
        assert_eq!(judgement.valid_until, until, "{now}");
        match (check(&judgement, CheckKind::AuthenticTimestamp), invalid) {
            (Check::Passed, None) => {}
            (Check::Failed(reason), Some(name)) => {
                let Reason::NotValidAt { subject, at, .. } = &**reason else {
                    panic!("{now}: {reason}");
                };
                assert!(subject.starts_with(&format!("CN={name},")), "{now}");
                assert_eq!(*at, now);
            }
            (other, _) => panic!("{now}: {other:?}"),
        }
    }
    let late = judged(&three(), &level("audit"), &anchors(), YEAR_2040);
    assert_eq!(
        reason(&late, CheckKind::AuthenticTimestamp).to_string(),
        "verification time is after certificate \"CN=leaf,O=Notary,ST=WA,C=US\" validity period, it was expired at \"Tue, 01 Jan 2030 00:00:00 +0000\""
    );
    let early = judged(&three(), &level("audit"), &anchors(), YEAR_2010);
    assert_eq!(
        reason(&early, CheckKind::AuthenticTimestamp).to_string(),
        "verification time is before certificate \"CN=leaf,O=Notary,ST=WA,C=US\" validity period, it will be valid from \"Wed, 01 Jan 2020 00:00:00 +0000\""
    );
}

#[test]
fn a_signing_authoritys_time_counts_instead_of_the_present() {
    let policy = statement(
        r#"{"level":"strict"}"#,
        r#"["signingAuthority:s","tsa:s"]"#,
        r#"["*"]"#,
    );
    let mut envelope = three();
    envelope.scheme = SigningScheme::SigningAuthority;
    for (signed, valid) in [
        (YEAR_2020.plus(-1), false),
        (YEAR_2020, true),
        (YEAR_2030, true),
        (YEAR_2030.plus(1), false),
    ] {
        envelope.signing_time = signed;
        let judgement = judged(&envelope, &policy, &anchors(), YEAR_2040);
        assert_eq!(judgement.outcome.clean(), valid, "{signed}");
        assert_eq!(judgement.valid_until, None);
    }
    let judgement = judged(&envelope, &policy, &anchors(), YEAR_2040);
    assert_eq!(
        reason(&judgement, CheckKind::AuthenticTimestamp).to_string(),
        "certificate \"CN=leaf,O=Notary,ST=WA,C=US\" was not valid when the digital signature was produced at \"Tue, 01 Jan 2030 00:00:01 +0000\""
    );
}

#[test]
fn a_timestamp_that_is_asked_for_never_passes_unchecked() {
    let stores = r#"["ca:s","tsa:s"]"#;
    let always = statement(r#"{"level":"strict"}"#, stores, r#"["*"]"#);
    let after = statement(
        r#"{"level":"strict","verifyTimestamp":"afterCertExpiry"}"#,
        stores,
        r#"["*"]"#,
    );
    let token = || Some(vec![0x30, 0]);
    for (policy, timestamp, now, wanted) in [
        (&always, None, YEAR_2025, Some(Reason::NoTimestamp)),
        (
            &always,
            Some(Vec::new()),
            YEAR_2025,
            Some(Reason::NoTimestamp),
        ),
        (
            &always,
            token(),
            YEAR_2025,
            Some(Reason::TimestampUnsupported),
        ),
        (&after, None, YEAR_2025, None),
        (&after, token(), YEAR_2030, None),
        (&after, None, YEAR_2030.plus(1), Some(Reason::NoTimestamp)),
        (
            &after,
            token(),
            YEAR_2030.plus(1),
            Some(Reason::TimestampUnsupported),
        ),
        (&level("strict"), token(), YEAR_2025, None),
    ] {
        let mut envelope = three();
        envelope.timestamp = timestamp;
        let judgement = judged(&envelope, policy, &anchors(), now);
        let expected = wanted.map_or(Check::Passed, failed);
        assert_eq!(
            check(&judgement, CheckKind::AuthenticTimestamp),
            &expected,
            "{now}"
        );
    }
}

#[test]
fn revocation_is_unknown_where_a_source_is_named_and_nobody_asked() {
    let logged = statement(
        r#"{"level":"strict","override":{"revocation":"log"}}"#,
        r#"["ca:s"]"#,
        r#"["*"]"#,
    );
    let skipped = statement(
        r#"{"level":"strict","override":{"revocation":"skip"}}"#,
        r#"["ca:s"]"#,
        r#"["*"]"#,
    );
    for leaf in [OCSP, CRL] {
        let envelope = envelope(&[leaf, ROOT]);
        let strict = judged(&envelope, &level("strict"), &anchors(), YEAR_2025);
        let Reason::RevocationUnknown { subject } = reason(&strict, CheckKind::Revocation) else {
            panic!("{strict:?}");
        };
        assert_eq!(
            reason(&strict, CheckKind::Revocation).to_string(),
            format!("signing certificate with subject \"{subject}\" revocation status is unknown")
        );
        assert!(!strict.outcome.accepted());
        let log = judged(&envelope, &logged, &anchors(), YEAR_2025);
        assert!(log.outcome.accepted() && !log.outcome.clean());
        let skip = judged(&envelope, &skipped, &anchors(), YEAR_2025);
        assert_eq!(check(&skip, CheckKind::Revocation), &Check::Skipped);
        assert!(skip.outcome.accepted() && skip.outcome.clean());
    }
    // The last certificate cannot be revoked, even if it says where to ask.
    let own_root = judged(
        &envelope(&[SELF]),
        &level("strict"),
        &only(StoreType::Ca, SELF),
        YEAR_2025,
    );
    assert!(own_root.outcome.clean());
}

#[test]
fn plugins_and_unknown_critical_attributes_are_fatal_at_every_level() {
    let attribute = |name: &str, critical: bool, text: Option<&str>| Attribute {
        name: name.to_owned(),
        critical,
        text: text.map(str::to_owned),
    };
    let plugin = |text: &str| {
        Some(Reason::Plugin {
            plugin: text.to_owned(),
        })
    };
    let unknown = |name: &str| {
        Some(Reason::CriticalAttribute {
            attribute: name.to_owned(),
        })
    };
    for (attributes, wanted) in [
        (vec![attribute("note", false, Some("x"))], None),
        (vec![attribute("note", true, Some("x"))], unknown("note")),
        (vec![attribute("42", true, None)], unknown("42")),
        (vec![attribute(PLUGIN, true, Some("acme"))], plugin("acme")),
        (vec![attribute(PLUGIN, false, Some("acme"))], plugin("acme")),
        (vec![attribute(PLUGIN, true, None)], plugin("")),
        (
            vec![
                attribute("note", true, None),
                attribute(PLUGIN, true, Some("acme")),
            ],
            plugin("acme"),
        ),
        (vec![attribute(PLUGIN_VERSION, true, Some("1.0.0"))], None),
        (
            vec![attribute(
                "IO.CNCF.NOTARY.VERIFICATIONPLUGIN",
                true,
                Some("a"),
            )],
            unknown("IO.CNCF.NOTARY.VERIFICATIONPLUGIN"),
        ),
    ] {
        for name in ["strict", "permissive", "audit"] {
            let mut envelope = three();
            envelope.attributes.clone_from(&attributes);
            let judgement = judged(&envelope, &level(name), &anchors(), YEAR_2025);
            let expected = wanted.clone().map_or(Check::Passed, failed);
            assert_eq!(check(&judgement, CheckKind::Integrity), &expected, "{name}");
            assert_eq!(judgement.outcome.accepted(), wanted.is_none());
            if wanted.is_some() {
                assert_eq!(results(&judgement), ['f', '-', '-', '-', '-']);
            }
        }
    }
}

#[test]
fn another_artifact_is_fatal_at_every_level() {
    let changed = |change: fn(&mut Descriptor)| {
        let mut envelope = three();
        let target = envelope.target.as_mut().unwrap();
        change(&mut target.descriptor);
        envelope
    };
    for envelope in [
        changed(|d| d.digest = Digest::of(b"another")),
        changed(|d| d.size = 9),
        changed(|d| d.media_type = "application/octet-stream".into()),
    ] {
        for name in ["strict", "audit"] {
            let judgement = judged(&envelope, &level(name), &anchors(), YEAR_2025);
            let reason = reason(&judgement, CheckKind::Integrity);
            assert!(matches!(reason, Reason::OtherArtifact { .. }), "{reason}");
            assert_eq!(results(&judgement), ['f', 'p', 'p', 'p', 'p']);
            assert!(!judgement.outcome.accepted());
        }
    }
    let mut broken = three();
    broken.target = Err("no targetArtifact".to_owned());
    let judgement = judged(&broken, &level("audit"), &anchors(), YEAR_2025);
    assert!(matches!(
        reason(&judgement, CheckKind::Integrity),
        Reason::Payload { .. }
    ));
    assert!(!judgement.outcome.accepted());
}

#[test]
fn requested_metadata_must_be_present_with_its_value() {
    let mut envelope = three();
    let target = envelope.target.as_mut().unwrap();
    target.descriptor.annotations = BTreeMap::from([("k".to_owned(), "v".to_owned())]).into();
    let mut other = envelope.clone();
    other.target.as_mut().unwrap().descriptor.size = 9;
    for (envelope, key, value, wanted) in [
        (&envelope, "k", "v", None),
        (&envelope, "k", "w", Some(Reason::Metadata)),
        (&envelope, "K", "v", Some(Reason::Metadata)),
        (&other, "k", "w", Some(Reason::Metadata)),
    ] {
        let question = Question {
            envelope,
            artifact: &artifact(),
            statement: &level("audit"),
            anchors: &anchors(),
            metadata: &[(key.to_owned(), value.to_owned())].into(),
            evidence: &Evidence::none(),
        };
        let judgement = judge(&question, YEAR_2025);
        let expected = wanted.map_or(Check::Passed, failed);
        assert_eq!(
            check(&judgement, CheckKind::Integrity),
            &expected,
            "{key}={value}"
        );
    }
}

#[test]
fn a_signature_that_is_not_intact_is_refused_at_every_level() {
    for name in ["strict", "permissive", "audit"] {
        let judgement = refuse(&level(name), Reason::Envelope(IntegrityError::Signature));
        assert_eq!(results(&judgement), ['f', '-', '-', '-', '-']);
        assert!(!judgement.outcome.accepted() && !judgement.outcome.clean());
        assert_eq!(judgement.valid_until, None);
    }
    let mut skip = level("strict");
    skip.level = Level::Skip;
    skip.actions = skip.actions.map(|(kind, _)| (kind, Action::Skip));
    let judgement = refuse(&skip, Reason::Envelope(IntegrityError::Signature));
    assert!(!judgement.outcome.accepted());
}
