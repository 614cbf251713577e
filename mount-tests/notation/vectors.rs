//! The recorded verdicts are what notation says today: every case again, by the command itself, with every line that it prints.

use std::fs;
use std::process::Command;

use super::Both;
use crate::support::Ran;
use crate::vectors::{Case, unpack};

/// Lists the cases that notation accepts only where it was built with Go 1.27 or later: before, Go's pkix had no text for all attributes
/// of a name. docs/COMPATIBILITY.md says so.
const ACCEPTED_SINCE_GO_1_27: [&str; 2] = [
    "certs-chains-identities/095-leaf-has-emailaddress-no-go-short-name",
    "dn-escapes/021-leaf-title-unknown-to-go",
];

/// Lists the cases whose refusal is worded by Go's JSON decoder, which was another one before Go 1.27.
const WORDED_BY_GO: [&str; 4] = [
    "envelope-and-manifest/013-cose-blob-under-jose-mediatype",
    "envelope-and-manifest/035-signingtime-number",
    "envelope-and-manifest/077-x5c-base64url",
    "envelope-and-manifest/085-timestampsignature-not-base64",
];

/// Names the case of a good signature beside one whose envelope is missing: notation looks at signatures in no fixed order, and
/// gives up at the broken one if it comes first.
const BY_CHANCE: &str = "layout-and-multi/033-good-one-whose-envelope-blob-is-missing";
const CHANCES: usize = 200;

/// Returns whether notation was built with Go 1.27 or later.
fn built_with_new_go(both: &Both) -> bool {
    let told = both.they_succeed(&["version"]);
    assert!(told.contains("v1.3.2"), "{told}");
    let (_, version) = told.split_once("go1.").unwrap();
    let minor: String = version.chars().take_while(char::is_ascii_digit).collect();
    minor.parse::<u32>().unwrap() >= 27
}

fn verify(both: &Both, case: &Case) -> Ran {
    let mut command = Command::new(&both.notation);
    command
        .env_clear()
        .env("HOME", both.user.path("home"))
        .env("NOTATION_CONFIG", case.folder.join("config"))
        .env("NOTATION_EXPERIMENTAL", "1")
        .current_dir(&case.folder)
        .args(["verify", "-v", "--oci-layout", "--scope", &case.scope])
        .args(&case.arguments)
        .arg(format!("layout{}", case.reference));
    Ran::of(command.output().unwrap())
}

/// Returns the lines of a run that were recorded, in no order: what was verified, warnings and errors, without times and paths.
fn lines(ran: &Ran, case: &Case) -> Vec<String> {
    let config = case.folder.join("config").display().to_string();
    let mut lines: Vec<String> = ran
        .stdout
        .lines()
        .chain(ran.stderr.lines())
        .map(|line| match line.split_once(" level=") {
            Some((time, rest)) if time.starts_with("time=") => format!("level={rest}"),
            _ => line.to_owned(),
        })
        .filter(|line| {
            let hints = [
                "level=info",
                "level=debug",
                "Warning: This feature is experimental",
                "Warning: Always verify the artifact using digest",
            ];
            !hints.iter().any(|hint| line.starts_with(hint))
        })
        .map(|line| line.replace(&config, "CONFIG"))
        .collect();
    lines.sort();
    lines
}

fn recorded(case: &Case) -> Vec<String> {
    let bytes = fs::read(case.folder.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let mut lines: Vec<String> = expected["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap().replace("LAYOUT", "layout"))
        .collect();
    lines.sort();
    lines
}

#[test]
fn notation_still_says_what_was_recorded() {
    let Some(both) = Both::new() else { return };
    let new = built_with_new_go(&both);
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for case in unpack(folder.path()) {
        let name = case.name.as_str();
        let refused_by_old = !new && ACCEPTED_SINCE_GO_1_27.contains(&name);
        let accepted = case.accepted && !refused_by_old;
        let mut ran = verify(&both, &case);
        for _ in 0..CHANCES {
            if name != BY_CHANCE || (ran.code == 0) == accepted {
                break;
            }
            ran = verify(&both, &case);
        }
        if (ran.code == 0) != accepted || !matches!(ran.code, 0 | 1) {
            wrong.push(format!("{name}: accepted {}: {ran:?}", case.accepted));
        }
        let other_words = refused_by_old || !new && WORDED_BY_GO.contains(&name);
        let (said, expected) = (lines(&ran, &case), recorded(&case));
        if (said == expected) == other_words {
            wrong.push(format!("{name}: {expected:#?} was recorded, not {said:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
