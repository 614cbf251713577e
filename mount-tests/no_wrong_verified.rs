//! The ways to get `verified` for what is not: each is tried here, and each must fail.

pub(crate) mod content;
mod names;
mod storage;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use signetfs::audit::{Asked, Content, Selection, Survey, judge_survey, survey};
use signetfs::cli::trust;
use signetfs::clock;
use signetfs::layout::{Directory, Hashes, Source};
use signetfs::oci::{NoProgress, Scope, UnixTime};
use signetfs::report::{Report, ScopeOrigin, Verdict};
use signetfs::settings::ConfigDir;

use crate::support::User;
use crate::support::layouts::{self, Image};

/// Reports a test that the kernel, the file system or the rights of this process do not allow: no installation would help, so this
/// is not a failure in CI either. Missing tools are, see `support::tool`.
fn skip(name: &str, reason: &str) {
    eprintln!("skip: {name}: {reason} (structural)");
}

/// Returns a user with a key that the policy trusts, and a layout `hello` with one image, tagged `v1` and signed.
fn signed() -> (User, PathBuf, Image) {
    let user = User::new();
    user.with_key("one");
    let root = user.path("hello");
    let image = layouts::single(&root);
    user.succeed(&["sign", "hello:v1"]);
    assert_eq!(verdict(&user, "hello"), Verdict::Verified);
    settle();
    (user, root, image)
}

/// Waits until changes made so far are old enough for their times to tell later ones apart.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(150));
}

/// Returns line 1 of `verify`, without the memory of hashes.
#[track_caller]
fn verdict(user: &User, layout: &str) -> Verdict {
    status(user, &["verify", "--no-memory", layout]).0
}

/// Returns line 1 of a status, and all of it; exit code and text must agree.
#[track_caller]
fn status(user: &User, arguments: &[&str]) -> (Verdict, String) {
    let ran = user.run(arguments);
    let first = ran.stdout.lines().next().unwrap_or_default();
    let verdict = Verdict::from_token(first).unwrap_or_else(|| panic!("{ran:?}"));
    assert_eq!(ran.code, i32::from(verdict.exit_code()), "{ran:?}");
    (verdict, ran.stdout)
}

/// Reads a layout through the library.
fn look(source: &dyn Source) -> Survey {
    survey(source).unwrap()
}

/// Judges what was read, at a time.
fn judge_at(
    user: &User,
    (source, survey): (&dyn Source, &Survey),
    hashes: &Hashes,
    now: UnixTime,
) -> Report {
    let config = ConfigDir::find(Some(&user.config()), &|_| None);
    let trust = trust::read(&config, None);
    let scope = Scope::parse("local/hello").unwrap();
    let metadata = BTreeMap::new();
    let asked = Asked {
        source,
        trust: &trust,
        scope: Some(&scope),
        scope_origin: ScopeOrigin::Flag,
        images: Selection::All,
        content: Content::Full,
        max_signatures: 100,
        metadata: &metadata,
    };
    judge_survey(survey, &asked, hashes, now, &NoProgress).unwrap()
}

/// Reads and judges a layout through the library, now.
fn judge(user: &User, root: &Path, hashes: &Hashes) -> Report {
    let source = Directory::open(root).unwrap();
    let survey = look(&source);
    judge_at(user, (&source, &survey), hashes, clock::now())
}

/// Changes the first byte of a file in place; its size stays.
fn tamper(path: &Path) {
    use std::os::unix::fs::FileExt;

    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 0).unwrap();
}

/// Everything that a write would change: by path, the kind, mode, size, inode, mtime, ctime and bytes.
fn everything(root: &Path) -> BTreeMap<PathBuf, (Vec<i64>, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let facts = std::fs::symlink_metadata(&path).unwrap();
        let mut bytes = Vec::new();
        if facts.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if facts.is_file() {
            bytes = std::fs::read(&path).unwrap();
        }
        let numbers = vec![
            i64::from(facts.mode()),
            facts.size() as i64,
            facts.ino() as i64,
            facts.mtime(),
            facts.mtime_nsec(),
            facts.ctime(),
            facts.ctime_nsec(),
        ];
        found.insert(path, (numbers, bytes));
    }
    found
}

#[test]
fn verifying_and_listing_write_nothing_into_the_layout() {
    let (user, root, _) = signed();
    // notation would create what is missing here.
    std::fs::remove_file(root.join("oci-layout")).unwrap();
    let before = everything(&root);
    for arguments in [
        &["verify", "hello"][..],
        &["verify", "hello:v1"],
        &["verify", "--json", "hello"],
        &["list", "hello:v1"],
        &["inspect", "hello:v1"],
    ] {
        user.succeed(arguments);
        assert_eq!(everything(&root), before, "{arguments:?}");
    }
}

#[test]
fn an_unsigned_or_refused_layout_is_not_written_to_either() {
    let user = User::new();
    user.with_key("one");
    let root = user.path("hello");
    layouts::single(&root);
    let before = everything(&root);
    assert_eq!(verdict(&user, "hello"), Verdict::Unsigned);
    std::fs::write(user.config().join("trustpolicy.json"), "{").unwrap();
    assert_eq!(verdict(&user, "hello"), Verdict::PolicyInvalid);
    assert_eq!(everything(&root), before);
}
