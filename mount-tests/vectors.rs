//! Layouts with the verdicts that notation 1.3.2 gave them, through the library and through the binary, as folders and as tars.
//!
//! `vectors/notation-verify.tar.gz` holds `notation/SUITE/NNN-NAME/{layout,config,expected.json}`; its certificates are valid until 2123.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use signetfs::audit::{Asked, AuditError, Content, Selection, Trust, audit};
use signetfs::cli::trust;
use signetfs::clock;
use signetfs::layout::{Directory, Hashes, Memory, Source, Tar};
use signetfs::oci::{Name, NoProgress, Reference, Scope};
use signetfs::report::{Report, ScopeOrigin, Verdict};
use signetfs::settings::ConfigDir;

/// Cases in the archive.
const CASES: usize = 163;

/// Is one way in which this program means to differ from notation 1.3.2.
struct Difference {
    /// `SUITE/NNN-NAME`.
    case: &'static str,
    /// What it says instead.
    verdict: Verdict,
    /// Why.
    reason: &'static str,
}

/// Lists every case whose verdict differs, and why: docs/COMPATIBILITY.md has the same two lists.
const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "certs-chains-identities/031-ss-eku-any",
        verdict: Verdict::Invalid,
        reason: "the specification forbids anyExtendedKeyUsage in a signing certificate",
    },
    Difference {
        case: "envelope-and-manifest/015-unknown-critical-attr-no-plugin-cose",
        verdict: Verdict::Unsupported,
        reason: "the specification wants an unknown critical attribute refused",
    },
    Difference {
        case: "envelope-and-manifest/067-payload-targetartifact-case",
        verdict: Verdict::Invalid,
        reason: "a member equals a known one but for case: two readers could differ",
    },
    Difference {
        case: "envelope-and-manifest/073-upper-case-key-signature",
        verdict: Verdict::Invalid,
        reason: "a member equals a known one but for case: two readers could differ",
    },
    Difference {
        case: "envelope-and-manifest/075-newline-in-signature",
        verdict: Verdict::Invalid,
        reason: "base64 must be canonical",
    },
    Difference {
        case: "layout-and-multi/001-layer-blob-tampered",
        verdict: Verdict::Corrupt,
        reason: "notation never reads layers",
    },
    Difference {
        case: "layout-and-multi/003-config-blob-tampered",
        verdict: Verdict::Corrupt,
        reason: "notation never reads configs",
    },
    Difference {
        case: "truststore-and-policy/071-case-insens-field-names",
        verdict: Verdict::PolicyInvalid,
        reason: "a member equals a known one but for case: two readers could differ",
    },
];

/// Is one recorded case.
pub(crate) struct Case {
    /// `SUITE/NNN-NAME`.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// What follows the layout's path.
    pub(crate) reference: String,
    /// The scope.
    pub(crate) scope: String,
    /// Further arguments.
    pub(crate) arguments: Vec<String>,
    /// Whether notation accepted.
    pub(crate) accepted: bool,
}

impl Case {
    /// Returns the layout's folder.
    pub(crate) fn layout(&self) -> PathBuf {
        self.folder.join("layout")
    }

    /// Returns what is trusted.
    pub(crate) fn trust(&self) -> Trust {
        let config = ConfigDir::find(Some(&self.folder.join("config")), &|_| None);
        trust::read(&config, None)
    }

    /// Returns the limit on signatures and the user metadata that the arguments ask for.
    fn wishes(&self) -> (usize, BTreeMap<String, String>) {
        let mut max = 100;
        let mut metadata = BTreeMap::new();
        let mut words = self.arguments.iter();
        while let Some(word) = words.next() {
            let value = words.next().unwrap();
            match word.as_str() {
                "--max-signatures" => max = value.parse().unwrap(),
                "-m" | "--user-metadata" => {
                    let (key, value) = value.split_once('=').unwrap();
                    metadata.insert(key.to_owned(), value.to_owned());
                }
                other => panic!("{}: unknown argument {other}", self.name),
            }
        }
        (max, metadata)
    }
}

/// Unpacks the archive into `folder` and returns its cases.
pub(crate) fn unpack(folder: &Path) -> Vec<Case> {
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("mount-tests/vectors/notation-verify.tar.gz");
    let status = Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(folder)
        .arg("--no-same-owner")
        .status()
        .unwrap();
    assert!(status.success(), "tar -xzf {}", archive.display());
    let mut cases = Vec::new();
    for suite in sorted(&folder.join("notation")) {
        for case in sorted(&suite) {
            cases.push(read_case(&case));
        }
    }
    assert_eq!(cases.len(), CASES);
    cases
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>();
    paths.sort();
    paths
}

fn read_case(folder: &Path) -> Case {
    let bytes = fs::read(folder.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    Case {
        name: format!("{}/{}", name(folder.parent().unwrap()), name(folder)),
        folder: folder.to_owned(),
        reference: text(&expected["ref"]),
        scope: text(&expected["scope"]),
        arguments: expected["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect(),
        accepted: expected["exit"] == 0,
    }
}

/// Judges a case in a layout; `None` where nothing could be decided (the reference names nothing).
pub(crate) fn judge(case: &Case, source: &dyn Source) -> Option<Report> {
    let text = format!("layout{}", case.reference);
    let reference = Reference::parse(&text, &|path| path == "layout").ok()?;
    assert_eq!(reference.path, "layout");
    let trust = case.trust();
    let scope = Scope::parse(&case.scope).unwrap();
    let (max_signatures, metadata) = case.wishes();
    let asked = Asked {
        source,
        trust: &trust,
        scope: Some(&scope),
        scope_origin: ScopeOrigin::Flag,
        images: match reference.name {
            None => Selection::All,
            Some(Name::Tag(tag)) => Selection::Tag(tag),
            Some(Name::Digest(digest)) => Selection::Digest(digest),
        },
        content: Content::Full,
        max_signatures,
        metadata: &metadata,
    };
    let hashes = Hashes::new(Memory::None);
    match audit(&asked, &hashes, clock::now(), &NoProgress) {
        Ok(report) => Some(report),
        Err(AuditError::NotFound { .. }) => None,
        Err(error) => panic!("{}: {error:?}", case.name),
    }
}

/// Compares a verdict with the recorded one and the list of differences; says what does not agree.
fn disagreement(case: &Case, verdict: Option<Verdict>) -> Option<String> {
    let passes = verdict.is_some_and(|verdict| verdict.exit_code() == 0);
    let listed = DIFFERENCES.iter().find(|known| known.case == case.name);
    let shown = verdict.map_or("not found", Verdict::token);
    match listed {
        None if passes == case.accepted => None,
        None => Some(format!(
            "{}: notation {}, this says {shown}, and no reason is listed",
            case.name,
            if case.accepted { "accepts" } else { "refuses" },
        )),
        Some(known) if verdict != Some(known.verdict) => Some(format!(
            "{}: this says {shown}, but {} is listed ({})",
            case.name,
            known.verdict.token(),
            known.reason
        )),
        Some(_) if passes == case.accepted => {
            Some(format!("{}: listed, but no difference", case.name))
        }
        Some(_) => None,
    }
}

#[test]
fn the_library_agrees_with_every_recorded_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for case in unpack(folder.path()) {
        let source = Directory::open(&case.layout()).unwrap();
        let report = judge(&case, &source);
        if let Some(report) = &report {
            status_is_sound(&case, report);
        }
        wrong.extend(disagreement(&case, report.map(|report| report.verdict())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks what holds for every status: one token on line 1, `verified` nowhere else in words of ours, JSON that says the same.
fn status_is_sound(case: &Case, report: &Report) {
    let text = report.text();
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(first, report.verdict().token(), "{}", case.name);
    assert!(!rest.contains("verified"), "{}: {rest}", case.name);
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["verdict"], first, "{}", case.name);
}

#[test]
fn every_listed_difference_is_a_case() {
    let folder = tempfile::tempdir().unwrap();
    let names = unpack(folder.path())
        .into_iter()
        .map(|case| case.name)
        .collect::<BTreeSet<_>>();
    for known in DIFFERENCES {
        assert!(names.contains(known.case), "{}", known.case);
        assert!(!known.reason.is_empty(), "{}", known.case);
    }
}

#[test]
fn the_binary_agrees_with_every_recorded_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for case in unpack(folder.path()) {
        wrong.extend(binary_disagreement(&case, &case.layout()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn binary_disagreement(case: &Case, layout: &Path) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_signetfs"))
        .arg("--config")
        .arg(case.folder.join("config"))
        .args(["verify", "--no-memory", "--scope", &case.scope])
        .args(&case.arguments)
        .arg(format!("{}{}", layout.display(), case.reference))
        .output()
        .unwrap();
    let code = output.status.code();
    let verdict = match code {
        // Verified, accepted and skipped are told apart by the library's test.
        Some(0) => expected_pass(case),
        Some(code) => Verdict::all().find(|verdict| i32::from(verdict.exit_code()) == code),
        None => panic!("{}: {:?}", case.name, output.status),
    };
    disagreement(case, verdict).map(|problem| {
        format!(
            "{problem} [exit {code:?}]\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// Returns the passing verdict that exit code 0 stands for in a case.
fn expected_pass(case: &Case) -> Option<Verdict> {
    let listed = DIFFERENCES.iter().find(|known| known.case == case.name);
    let passing = listed.filter(|known| known.verdict.exit_code() == 0);
    Some(passing.map_or(Verdict::Verified, |known| known.verdict))
}

#[test]
fn a_tar_of_a_layout_has_the_same_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for case in unpack(folder.path()) {
        let tar = case.folder.join("layout.tar");
        let status = Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(case.layout())
            .arg(".")
            .status()
            .unwrap();
        assert!(status.success());
        let source = Tar::open(&tar).unwrap();
        let of_tar = judge(&case, &source).map(|report| report.verdict());
        let directory = Directory::open(&case.layout()).unwrap();
        let of_directory = judge(&case, &directory).map(|report| report.verdict());
        if of_tar != of_directory {
            wrong.push(format!(
                "{}: {of_tar:?}, but {of_directory:?} as a folder",
                case.name
            ));
        }
        wrong.extend(disagreement(&case, of_tar));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
