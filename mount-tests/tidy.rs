//! The limits of docs/CONTRIBUTING.md as tests: sizes, arrows between rooms, dependencies, words that must not appear.

mod semantics;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms of docs/ARCHITECTURE.md with the rooms each may use.
const ARROWS: [(&str, &[&str]); 19] = [
    ("cli", &["*"]),
    (
        "fuse",
        &[
            "fs", "tree", "report", "layout", "oci", "text", "clock", "sys",
        ],
    ),
    (
        "fs",
        &[
            "tree", "report", "audit", "signing", "layout", "settings", "notary", "oci", "files",
            "text", "clock",
        ],
    ),
    ("tree", &["report", "layout", "notary", "oci", "text"]),
    (
        "signing",
        &["audit", "settings", "oci", "notary", "report", "layout"],
    ),
    ("audit", &["oci", "notary", "report", "layout", "text"]),
    ("export", &["oci", "report", "layout"]),
    (
        "sync",
        &["oci", "layout", "registry", "report", "http", "files"],
    ),
    (
        "registry",
        &["oci", "layout", "http", "files", "text", "clock"],
    ),
    ("http", &["oci", "files", "text"]),
    ("settings", &["oci", "notary", "files", "layout", "sys"]),
    ("layout", &["oci", "files", "sys"]),
    ("report", &["oci", "notary", "text"]),
    ("notary", &["oci"]),
    ("files", &["sys"]),
    ("oci", &[]),
    ("text", &["oci"]),
    ("clock", &["oci"]),
    ("sys", &[]),
];

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const PARAMETERS_MAX: usize = 5;
const SCRIPT_LINES_MAX: usize = 50;
const PACKAGES_MAX: usize = 200;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    files_below(&root().join("src"), "rs")
        .into_iter()
        .map(|path| {
            (
                path.strip_prefix(root()).unwrap().display().to_string(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

/// Returns the lines of a file before its tests.
fn production(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .iter()
        .position(|line| *line == "#[cfg(test)]")
        .unwrap_or(lines.len());
    lines[..end].to_vec()
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(name, _)| !is_test_file(name))
        .map(|(name, text)| (name, production(text).len()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert_none("files over the limit", &long);
}

/// Returns each function as (first line number, its lines), relying on rustfmt's layout.
fn functions<'a>(lines: &[&'a str]) -> Vec<(usize, Vec<&'a str>)> {
    let mut found = Vec::new();
    for (position, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let starts = [
            "fn ",
            "pub fn ",
            "pub(crate) fn ",
            "pub(super) fn ",
            "const fn ",
            "pub const fn ",
            "unsafe fn ",
        ];
        if !starts.iter().any(|start| trimmed.starts_with(start)) {
            continue;
        }
        let indent = line.len() - trimmed.len();
        let close = format!("{}}}", " ".repeat(indent));
        let end = lines[position..]
            .iter()
            .position(|line| {
                *line == close
                    || (line.len() - line.trim_start().len() == indent
                        && (line.ends_with(';') || line.ends_with("{}")))
            })
            .unwrap_or(0);
        found.push((position + 1, lines[position..=position + end].to_vec()));
    }
    found
}

#[test]
fn functions_stay_short() {
    let mut long = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !is_test_file(name)) {
        for (line, body) in functions(&production(text)) {
            if body.len() > FUNCTION_LINES_MAX {
                long.push(format!("{name}:{line}: {} lines", body.len()));
            }
        }
    }
    assert_none("functions over the limit", &long);
}

/// Counts the parameters of a signature, `self` excluded.
fn parameters(body: &[&str]) -> usize {
    let text = body.join(" ");
    let Some(open) = text.find('(') else { return 0 };
    let (mut depth, mut angle, mut count, mut some) = (0_i32, 0_i32, 0, false);
    let mut first = String::new();
    for (position, character) in text[open..].char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '<' => angle += 1,
            '>' if !text[open..][..position].ends_with('-') => angle -= 1,
            ',' if depth == 1 && angle == 0 => {
                count += usize::from(some);
                some = false;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if !character.is_whitespace() && position != 0 {
            some = true;
            if count == 0 {
                first.push(character);
            }
        }
    }
    count += usize::from(some);
    let is_self = ["self", "&self", "&mutself", "mutself"]
        .iter()
        .any(|word| first.starts_with(word));
    count - usize::from(is_self)
}

#[test]
fn functions_take_few_parameters() {
    let mut many = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !is_test_file(name)) {
        // The kernel protocol's handlers have the parameters that fuser gives them.
        if name == "src/fuse/adapter.rs" {
            continue;
        }
        for (line, body) in functions(&production(text)) {
            let count = parameters(&body);
            if count > PARAMETERS_MAX {
                many.push(format!("{name}:{line}: {count} parameters"));
            }
        }
    }
    assert_none("functions with too many parameters", &many);
}

#[test]
fn arrows_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !is_test_file(name)) {
        let inside = name.trim_start_matches("src/");
        let room = inside.split(['/', '.']).next().unwrap();
        if matches!(room, "lib" | "main") {
            continue;
        }
        let uses = allowed
            .get(room)
            .unwrap_or_else(|| panic!("{name}: room {room} is not in the table"));
        for (position, line) in production(text).iter().enumerate() {
            let code = line.split("//").next().unwrap();
            for used in code
                .match_indices("crate::")
                .map(|(at, found)| &code[at + found.len()..])
            {
                let used = used
                    .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .next()
                    .unwrap();
                let fine =
                    used.is_empty() || used == room || uses.contains(&"*") || uses.contains(&used);
                if !fine {
                    wrong.push(format!("{name}:{}: {room} uses {used}", position + 1));
                }
            }
        }
    }
    assert_none("arrows that point up", &wrong);
}

#[test]
fn rooms_keep_their_secrets() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let sys = name == "src/sys.rs" || name.starts_with("src/sys/");
        let fuse = name.starts_with("src/fuse");
        let terminal = name.starts_with("src/cli") || name == "src/main.rs";
        for (position, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            let mut refuse = |what: &str| wrong.push(format!("{name}:{}: {what}", position + 1));
            if !sys
                && (code.contains("unsafe {")
                    || code.contains("unsafe fn")
                    || code.contains("allow(unsafe_code"))
            {
                refuse("unsafe outside sys");
            }
            if !fuse && code.contains("fuser::") {
                refuse("fuser outside fuse");
            }
            if code.contains("#[ignore")
                || code.contains("#[should_panic")
                || code.contains("todo!(")
                || code.contains("unimplemented!(")
            {
                refuse("ignored, panicking or unfinished code");
            }
            if !terminal && !name.starts_with("src/clock") && code.contains("SystemTime::now") {
                refuse("a clock outside clock");
            }
            if !line.is_ascii() && !is_test_file(&name) {
                refuse("not ASCII");
            }
            if line.contains("TODO") || line.contains("FIXME") {
                refuse("an open end in a comment");
            }
        }
        assert!(
            is_test_file(&name) || text.starts_with("//!"),
            "{name} does not begin by saying what it is"
        );
        assert!(
            !name.ends_with("/mod.rs"),
            "{name}: use NAME.rs beside NAME/"
        );
    }
    assert_none("secrets", &wrong);
}

#[test]
fn scripts_stay_short() {
    let mut long = Vec::new();
    for folder in ["scripts", ".ci"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > SCRIPT_LINES_MAX {
                long.push(format!("{}: {lines} lines", path.display()));
            }
        }
    }
    assert_none("scripts over the limit", &long);
}

#[test]
fn every_module_of_tests_is_run() {
    let modules = fs::read_to_string(root().join("mount-tests/main.rs")).unwrap();
    let script = fs::read_to_string(root().join("scripts/test")).unwrap();
    let words: Vec<&str> = script
        .lines()
        .filter(|line| line.starts_with("for name in "))
        .flat_map(|line| line.split([' ', ';']))
        .collect();
    let missing: Vec<String> = modules
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .filter(|module| *module != "support" && !words.contains(module))
        .map(str::to_owned)
        .collect();
    assert_none("modules of tests that scripts/test does not run", &missing);
}

#[test]
fn top_level_holds_nothing_else() {
    let listed = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE",
        "src",
        "mount-tests",
        "docs",
        "scripts",
        ".ci",
        ".gitignore",
        "rust-toolchain.toml",
        ".github",
    ];
    let other: Vec<String> = text
        .lines()
        .filter_map(|line| line.split('/').next())
        .filter(|name| !allowed.contains(name))
        .map(str::to_owned)
        .collect();
    assert_none("other things at the top", &other);
}

#[test]
fn dependencies_have_reasons() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut reason = false;
    let mut bare = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
            reason = false;
        } else if line.starts_with('#') {
            reason = true;
        } else if line.is_empty() {
            reason = false;
        } else if section.ends_with("dependencies]") && !reason {
            bare.push(line.to_owned());
        }
    }
    assert_none("dependencies without a comment", &bare);
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_tree_of_packages_stays_small() {
    let tree = cargo(&[
        "tree",
        "--offline",
        "--locked",
        "--target",
        "x86_64-unknown-linux-gnu",
        "-e",
        "normal,build",
        "--prefix",
        "none",
    ]);
    let mut packages: Vec<&str> = tree
        .lines()
        .map(|line| {
            line.trim_end_matches(" (*)")
                .trim_end_matches(" (proc-macro)")
        })
        .collect();
    packages.sort_unstable();
    packages.dedup();
    assert!(
        packages.len() <= PACKAGES_MAX,
        "{} packages",
        packages.len()
    );
}

#[test]
fn licences_and_bans_hold() {
    let metadata: serde_json::Value = serde_json::from_str(&cargo(&[
        "metadata",
        "--offline",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ]))
    .unwrap();
    let allowed = [
        "MIT",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unicode-3.0",
        "CDLA-Permissive-2.0",
        "Unlicense",
        "0BSD",
    ];
    let banned = [
        "openssl-sys",
        "native-tls",
        "aws-lc-rs",
        "daemonize",
        "serde_cbor",
        "tokio",
    ];
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        versions
            .entry(name)
            .or_default()
            .push(package["version"].as_str().unwrap());
        let licence = package["license"].as_str().unwrap_or("none");
        let fine = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            choice
                .trim_matches(['(', ')', ' '])
                .split(" AND ")
                .all(|part| allowed.contains(&part.trim_matches(['(', ')', ' '])))
        });
        if !fine {
            wrong.push(format!("{name}: licence {licence}"));
        }
        if banned.contains(&name) {
            wrong.push(format!("{name} is banned"));
        }
    }
    // Build-time twins that upstream has not joined yet.
    let twins = [
        "syn",
        "getrandom",
        "bitflags",
        "rand_core",
        "hashbrown",
        "unicode-width",
        "windows-sys",
        "rustix",
        "linux-raw-sys",
        "r-efi",
        "cpufeatures",
        "wit-bindgen",
    ];
    for (name, found) in versions {
        if found.len() > 1 && !twins.contains(&name) {
            wrong.push(format!(
                "{name} in {} versions: {}",
                found.len(),
                found.join(", ")
            ));
        }
    }
    assert_none("dependencies", &wrong);
}

#[test]
fn words_of_the_workshop_do_not_appear() {
    let listed = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    let words = [
        concat!("../", "shared"),
        concat!("/work", "/main"),
        concat!("/work", "/shared"),
        concat!("notary", ".md"),
        concat!("DESIGN", " section"),
        concat!("sub", "agent"),
        concat!("crates", ".io"),
        concat!("proxy.golang", ".org"),
        concat!("pypi", ".org"),
        concat!("deb.debian", ".org"),
    ];
    let mut found = Vec::new();
    for name in String::from_utf8(listed.stdout).unwrap().lines() {
        if name.ends_with(".gz") || name == "Cargo.lock" {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(name)) else {
            continue;
        };
        found.extend(
            words
                .iter()
                .filter(|word| text.contains(**word))
                .map(|word| format!("{name}: {word}")),
        );
    }
    assert_none("words", &found);
}
