//! What is printed, line by line: the lines of both programs are the same but for a closed list, which docs/COMPATIBILITY.md has too.

use serde_json::Value;

use super::Both;
use crate::interop::{FORMATS, KEYS, with_keys};
use crate::registry::{Behaviour, Registry};
use crate::support::layouts;
use crate::support::tool;

/// Names every way in which standard output may differ, as the first column of the table in docs/COMPATIBILITY.md does.
///
/// [`comparable`] undoes the first three and nothing else. Tests run in UTC, and compare JSON as values.
const DIFFERENCES: [&str; 5] = [
    "order of signatures",
    "order of attributes",
    "characters beyond ASCII",
    "times",
    "JSON",
];

const BRANCH: char = '\u{251c}';
const LAST_BRANCH: char = '\u{2514}';
const TRUNK: char = '\u{2502}';
const BAR: char = '\u{2500}';

/// Returns lines without what may differ in them: the order of signatures and of attributes, and escaped characters.
pub(super) fn comparable(text: &str) -> Vec<String> {
    let mut signatures: Vec<Vec<String>> = vec![Vec::new()];
    let escapes = text.lines().map(plain).any(|line| line.contains("\\x"));
    for line in text.lines().map(plain) {
        let table = escapes && !line.starts_with(' ');
        let line = if table { narrow(&line) } else { line };
        if line.starts_with("    `-- sha256:") {
            signatures.push(Vec::new());
        }
        signatures.last_mut().unwrap().push(line);
    }
    for signature in &mut signatures {
        for (heading, attribute) in [
            ("        `-- signed attributes", "            `-- "),
            ("        `-- user defined attributes", "            `-- "),
            ("KEY ", ""),
        ] {
            let Some(start) = signature.iter().position(|line| line.starts_with(heading)) else {
                continue;
            };
            let attributes = &mut signature[start + 1..];
            let end = attributes
                .iter()
                .position(|line| !line.starts_with(attribute));
            let end = end.unwrap_or(attributes.len());
            attributes[..end].sort();
        }
    }
    // What is before the first signature stays there.
    signatures[1..].sort();
    signatures.concat()
}

/// Returns a line whose branches do not tell whether they are the last, characters beyond ASCII as their bytes.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    for character in line.chars() {
        match character {
            BRANCH | LAST_BRANCH => plain.push('`'),
            TRUNK => plain.push(' '),
            BAR => plain.push('-'),
            ascii if ascii.is_ascii() => plain.push(ascii),
            other => {
                let mut bytes = [0; 4];
                let bytes = other.encode_utf8(&mut bytes).bytes();
                plain.extend(bytes.map(|byte| format!("\\x{byte:02x}")));
            }
        }
    }
    plain
}

/// Returns a line of a table whose columns are as narrow as they can be.
fn narrow(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.join(" ")
}

/// Returns what notation wrote to standard error, without what it says of layouts: no switch is needed here.
pub(super) fn without_experimental(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines
        .filter(|line| !line.starts_with("Warning: This feature is experimental "))
        .collect()
}

#[test]
fn differences_in_what_is_printed_are_a_closed_list() {
    let text = include_str!("../../docs/COMPATIBILITY.md");
    let (_, section) = text.split_once("\n## What is printed\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
        .map(|(first, _)| first)
        .skip(1)
        .collect();
    assert_eq!(rows, DIFFERENCES);
}

/// Makes a layout `hello` that both signed, in both formats, with everything that a signature may hold.
fn signed() -> Option<Both> {
    let both = Both::with_key()?;
    let image = layouts::single(&both.user.path("hello"));
    let metadata = ["-m", "a=b", "-m", "c=<&\u{e9}>"];
    for name in ["hello:v1".to_owned(), format!("hello@{}", image.digest)] {
        for more in [&["-e", "24h"][..], &["--signature-format", "cose"]] {
            let arguments = [&["sign", "--oci-layout"], more, &metadata, &[&name]].concat();
            both.print_the_same(&arguments);
        }
    }
    Some(both)
}

#[test]
fn both_print_the_same_of_a_layout() {
    let Some(both) = signed() else { return };
    let listed = both.print_the_same(&["list", "--oci-layout", "hello:v1"]);
    assert_eq!(listed.matches("sha256:").count(), 9, "{listed}");
    let verify = ["verify", "--oci-layout", "--scope", "local/x"];
    both.print_the_same(&[&verify[..], &["hello:v1"]].concat());
    let told = both.print_the_same(&[&verify[..], &["-m", "a=b", "hello:v1"]].concat());
    assert!(told.contains("\nKEY   VALUE"), "{told}");
    layouts::single(&both.user.path("unsigned"));
    both.print_the_same(&["list", "--oci-layout", "unsigned:v1"]);
}

#[test]
fn both_print_the_same_of_a_registry() {
    let Some(both) = signed() else { return };
    for referrers_api in [true, false] {
        let registry = Registry::start(Behaviour {
            referrers_api,
            ..Behaviour::default()
        });
        let place = registry.at("hello:v1");
        let push = ["sync", "--plain-http", "hello:v1", &place];
        both.user.succeed(&push);
        both.they_succeed(&["sign", "--insecure-registry", &place]);
        let listed = both.print_the_same(&["list", "--insecure-registry", &place]);
        assert_eq!(listed.matches("sha256:").count(), 10, "{listed}");
        let verify = ["verify", "--insecure-registry", "-m", "a=b", &place];
        both.print_the_same(&verify);
        let shown = both.print_the_same(&["inspect", "--insecure-registry", &place]);
        assert_eq!(shown.matches("SHA256 fingerprint: ").count(), 9, "{shown}");
        let inspect = ["inspect", "-o", "json", "--insecure-registry", &place];
        let [ours, theirs] = [both.ours(&inspect), both.theirs(&inspect)].map(|ran| {
            let mut value: Value = ran.json();
            let signatures = value["Signatures"].as_array_mut().unwrap();
            signatures.sort_by_key(|signature| signature["digest"].to_string());
            value
        });
        assert_eq!(ours, theirs);
    }
}

#[test]
fn both_show_every_kind_of_key_and_format() {
    let (Some(both), Some(openssl)) = (Both::new(), tool("openssl")) else {
        return;
    };
    with_keys(&both.user, &openssl);
    layouts::buildx(&both.user.path("hello"));
    for (key, _) in KEYS {
        for format in FORMATS {
            let sign = ["sign", "-k", key, "--signature-format", format, "hello:v1"];
            both.user.succeed(&sign);
        }
    }
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("hello:v1");
    both.user
        .succeed(&["sync", "--plain-http", "hello:v1", &place]);
    let shown = both.print_the_same(&["inspect", "--insecure-registry", &place]);
    for algorithm in [
        "RSASSA-PSS-SHA-256",
        "RSASSA-PSS-SHA-384",
        "RSASSA-PSS-SHA-512",
        "ECDSA-SHA-256",
        "ECDSA-SHA-384",
        "ECDSA-SHA-512",
    ] {
        let line = format!("signature algorithm: {algorithm}\n");
        assert_eq!(shown.matches(&line).count(), 2, "{shown}");
    }
    both.print_the_same(&["verify", "--insecure-registry", &place]);
}

#[test]
fn both_print_the_same_of_a_configuration() {
    let Some(both) = Both::new() else { return };
    let lists = [["cert", "list"], ["key", "list"]];
    for list in &lists {
        both.print_the_same(list);
    }
    both.user.with_key("wabbit");
    both.they_succeed(&["cert", "generate-test", "rabbit"]);
    for list in lists.iter().chain(&[["policy", "show"]]) {
        both.print_the_same(list);
    }
    for name in ["wabbit", "rabbit"] {
        let certificate = format!("{name}.crt");
        both.print_the_same(&["cert", "show", "-t", "ca", "-s", name, &certificate]);
    }
}
