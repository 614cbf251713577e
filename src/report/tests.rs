use super::*;

fn descriptor(content: &str) -> Descriptor {
    Descriptor::new(
        "application/vnd.oci.image.manifest.v1+json",
        Digest::of(content.as_bytes()),
        7,
    )
}

fn signature(verdict: Verdict) -> SignatureReport {
    SignatureReport {
        manifest: descriptor("signature"),
        envelope: None,
        format: None,
        bytes: None,
        intact: None,
        outcome: None,
        verdict,
        plain: true,
    }
}

fn image(name: Option<&str>, verdict: Verdict) -> ImageReport {
    ImageReport {
        descriptor: descriptor("image"),
        name: name.map(str::to_owned),
        verdict,
        statement: Some("p".to_owned()),
        level: Some("strict"),
        signatures: vec![signature(verdict)],
        content_good: 3,
        content_total: 3,
        problems: Vec::new(),
        closure: Arc::default(),
    }
}

fn problem(verdict: Verdict) -> Problem {
    Problem {
        verdict,
        file: Some("manifest.json".to_owned()),
        digest: None,
        check: "docker",
        problem: "names other blobs".to_owned(),
        hint: "remove it".to_owned(),
    }
}

fn report(images: Vec<ImageReport>) -> Report {
    Report {
        images,
        children: Vec::new(),
        problems: Vec::new(),
        policy: PolicyId {
            origin: PolicyOrigin::Config,
            path: Some("/c/trustpolicy.json".to_owned()),
            sha256: Some(Digest::of(b"policy")),
            shadowed: false,
        },
        scope: None,
        scope_origin: ScopeOrigin::Name,
        content: ContentLevel::Full,
        notes: Vec::new(),
        leases: true,
        orphans: 1,
        extras: 2,
        refused: None,
        valid_until: None,
    }
}

#[test]
fn prints_a_verified_layout_exactly() {
    let text = report(vec![image(Some("v1"), Verdict::Verified)]).text();
    let expected = format!(
        "verified\n# live only on a signetfs mount; in a copy this is plain text\n\
         policy=config sha256={} content=full scope=- scope-from=name leases=yes refused=-\n\
         pass {} v1 policy=p level=strict scope=- signatures=1/1 content=3/3 signer=-\n\
         orphans=1 extras=2\n",
        Digest::of(b"policy").hex(),
        Digest::of(b"image"),
    );
    assert_eq!(text, expected);
}

#[test]
fn no_line_but_the_first_is_the_token() {
    let mut hostile = image(Some("x\nverified\ny"), Verdict::Unsigned);
    hostile.statement = Some("a\rverified".to_owned());
    hostile.problems.push(Problem {
        problem: "bad\nverified\n".to_owned(),
        hint: "\u{2028}verified\n".to_owned(),
        file: Some("verified\n".to_owned()),
        ..problem(Verdict::Unsigned)
    });
    let mut report = report(vec![hostile]);
    report.refused = Some("because\nverified\n".to_owned());
    report.problems.push(Problem {
        problem: "\nverified".to_owned(),
        ..problem(Verdict::Ambiguous)
    });
    let text = report.text();
    assert!(text.starts_with("ambiguous\n"));
    assert!(
        text.split(['\n', '\r']).all(|line| line != "verified"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 7, "{text}");
    let line = text.lines().nth(2).unwrap();
    assert_eq!(line.split(' ').count(), 7, "{line}");
    assert!(
        line.ends_with(" refused=because\\x0averified\\x0a"),
        "{line}"
    );
    assert!(text.is_ascii());
}

#[test]
fn words_of_ours_below_line_1_never_say_verified() {
    let mut signed = image(None, Verdict::Verified);
    signed.problems.push(problem(Verdict::Verified));
    let text = report(vec![signed]).text();
    let below = text.split_once('\n').unwrap().1;
    assert!(!below.contains("verified"), "{below}");
}

#[test]
fn the_worst_counts() {
    let pass = || image(Some("a"), Verdict::Verified);
    assert_eq!(report(vec![pass()]).verdict(), Verdict::Verified);
    assert_eq!(
        report(vec![pass(), image(None, Verdict::Skipped)]).verdict(),
        Verdict::Skipped
    );
    assert_eq!(
        report(vec![pass(), image(None, Verdict::Unsigned)]).verdict(),
        Verdict::Unsigned
    );
    assert_eq!(report(vec![]).verdict(), Verdict::Empty);
    let mut flawed = report(vec![pass()]);
    flawed.problems.push(problem(Verdict::Ambiguous));
    assert_eq!(flawed.verdict(), Verdict::Ambiguous);
    assert_eq!(flawed.image_verdict(&flawed.images[0]), Verdict::Ambiguous);
    let mut invalid = report(vec![]);
    invalid.problems.push(problem(Verdict::LayoutInvalid));
    assert_eq!(invalid.verdict(), Verdict::LayoutInvalid);
}

#[test]
fn one_image_keeps_layout_level_problems_and_drops_other_images() {
    let mut both = report(vec![
        image(Some("good"), Verdict::Verified),
        image(Some("bad"), Verdict::Invalid),
    ]);
    assert_eq!(both.only(&both.images[0]).verdict(), Verdict::Verified);
    both.problems.push(problem(Verdict::Ambiguous));
    assert_eq!(both.only(&both.images[0]).verdict(), Verdict::Ambiguous);
}

#[test]
fn only_what_verified_or_is_allowed_is_admitted() {
    let good = report(vec![image(None, Verdict::Verified)]);
    assert!(good.admit(&[]).is_ok());
    let bad = report(vec![image(None, Verdict::Accepted)]);
    assert_eq!(bad.admit(&[]).unwrap_err().verdict, Verdict::Accepted);
    assert!(bad.admit(&[Verdict::Accepted]).is_ok());
    assert!(report(vec![]).admit(&[]).is_err());
}

#[test]
fn a_tag_that_looks_like_no_tag_is_escaped() {
    let text = report(vec![image(Some("-"), Verdict::Verified)]).text();
    assert!(text.contains(" \\x2d policy="), "{text}");
}

#[test]
fn json_of_many_images_is_indented_as_one_document() {
    for count in 0..3 {
        let images = vec![image(Some("v1"), Verdict::Verified); count];
        let text = report(images).json();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["images"].as_array().unwrap().len(), count);
        assert_eq!(format!("{value:#}\n"), text);
    }
}

#[test]
fn json_is_ascii_versioned_and_reads_back() {
    let text = report(vec![image(Some("v\u{202e}1\u{1f600}"), Verdict::Verified)]).json();
    assert!(text.is_ascii());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], 1);
    assert_eq!(value["verdict"], "verified");
    assert_eq!(value["exitCode"], 0);
    assert_eq!(value["images"][0]["name"], "v\u{202e}1\u{1f600}");
    assert_eq!(value["images"][0]["content"]["total"], 3);
    assert_eq!(value["policy"]["sha256"], Digest::of(b"policy").hex());
}

#[test]
fn no_reason_holds_a_clock_reading() {
    let at = |at| {
        reason_text(&Reason::NotValidAt {
            scheme: crate::notary::SigningScheme::X509,
            subject: "CN=a".to_owned(),
            not_before: UnixTime(1000),
            not_after: UnixTime(2000),
            at: UnixTime(at),
        })
    };
    assert_eq!(at(2001), at(2002));
    assert_eq!(at(998), at(999));
    assert_ne!(at(999), at(2001));
    let expired = |now| {
        reason_text(&Reason::Expired {
            expiry: UnixTime(5),
            now: UnixTime(now),
        })
    };
    assert_eq!(expired(6), expired(7));
}

#[test]
fn a_differing_second_policy_file_is_told() {
    let mut shadowed = report(vec![image(None, Verdict::Verified)]);
    shadowed.policy.shadowed = true;
    assert_eq!(shadowed.verdict(), Verdict::Verified);
    assert!(shadowed.text().contains("\n  note trustpolicy.json "));
}
