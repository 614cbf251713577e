//! Content that changes under the eyes of the verifier, and clocks that run backwards.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use signetfs::clock;
use signetfs::layout::{Directory, Hashes, Memory};
use signetfs::report::Verdict;

use super::{judge, judge_at, look, settle, signed, tamper, verdict};
use crate::support::layouts::blob_path;
use crate::support::{copy, tool};

/// Is another process that holds a writable mapping of a file, and no descriptor.
pub(crate) struct Mapping {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

const MAPPER: &str = "
import mmap, sys
with open(sys.argv[1], 'r+b') as file:
    memory = mmap.mmap(file.fileno(), 0)
memory[0] = memory[0]
print('mapped', flush=True)
for line in sys.stdin:
    memory[0] ^= 1
    print('changed', flush=True)
";

impl Mapping {
    /// Maps a file; the page is made dirty at once, so that later changes touch no time.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let mut child = Command::new(tool("python3")?)
            .args(["-c", MAPPER])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut mapping = Self {
            child,
            commands,
            answers,
        };
        mapping.expect("mapped");
        Some(mapping)
    }

    /// Changes the first byte through the mapping.
    pub(crate) fn change(&mut self) {
        self.commands.write_all(b"\n").unwrap();
        self.expect("changed");
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_writable_mapping_held_over_the_hashing_is_noticed() {
    let (user, root, image) = signed();
    let Some(mut mapping) = Mapping::of(&blob_path(&root, &image.layers[0])) else {
        return;
    };
    settle();
    let memory = || Hashes::new(Memory::Folder(user.path("cache/signetfs/hashes")));
    let hashes = memory();
    assert_eq!(judge(&user, &root, &hashes).verdict(), Verdict::Verified);
    hashes.save().unwrap();
    mapping.change();
    // Device, inode, size and times may all be as they were.
    assert_eq!(judge(&user, &root, &hashes).verdict(), Verdict::Corrupt);
    assert_eq!(judge(&user, &root, &memory()).verdict(), Verdict::Corrupt);
    mapping.change();
    assert_eq!(judge(&user, &root, &hashes).verdict(), Verdict::Verified);
}

#[test]
fn a_result_beside_a_writer_serves_one_look() {
    let (user, root, image) = signed();
    let path = blob_path(&root, &image.layers[0]);
    let size = std::fs::metadata(&path).unwrap().len();
    let hashes = Hashes::new(Memory::None);
    let hashed = |hashes: &Hashes| {
        let before = hashes.bytes_hashed();
        assert_eq!(judge(&user, &root, hashes).verdict(), Verdict::Verified);
        hashes.bytes_hashed() - before
    };
    hashed(&hashes);
    assert_eq!(hashed(&hashes), 0, "a standing result is used again");
    let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(hashed(&hashes), size, "hashed anew beside a writer");
    assert_eq!(hashed(&hashes), size, "and again");
    drop(writer);
}

#[test]
fn content_tampered_after_verifying_is_corrupt() {
    let (user, root, image) = signed();
    for digest in [&image.layers[1], &image.config, &image.digest] {
        let path = blob_path(&root, digest);
        let hashes = Hashes::new(Memory::None);
        assert_eq!(judge(&user, &root, &hashes).verdict(), Verdict::Verified);
        tamper(&path);
        assert_eq!(
            judge(&user, &root, &hashes).verdict(),
            Verdict::Corrupt,
            "{digest}"
        );
        assert_eq!(verdict(&user, "hello"), Verdict::Corrupt, "{digest}");
        tamper(&path);
        assert_eq!(
            judge(&user, &root, &hashes).verdict(),
            Verdict::Verified,
            "{digest}"
        );
    }
}

#[test]
fn restored_times_do_not_hide_a_change() {
    let (user, root, image) = signed();
    let path = blob_path(&root, &image.layers[0]);
    let hashes = Hashes::new(Memory::None);
    assert_eq!(judge(&user, &root, &hashes).verdict(), Verdict::Verified);
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    tamper(&path);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    drop(file);
    assert_eq!(judge(&user, &root, &hashes).verdict(), Verdict::Corrupt);
}

#[test]
fn a_layout_replaced_between_reads_is_judged_by_what_is_there() {
    let (user, root, image) = signed();
    let hashes = Hashes::new(Memory::None);
    let source = Directory::open(&root).unwrap();
    let survey = look(&source);
    let layer = blob_path(&root, &image.layers[0]);
    // Between reading the index and judging, a layer goes.
    let bytes = std::fs::read(&layer).unwrap();
    std::fs::remove_file(&layer).unwrap();
    let now = clock::now();
    let report = judge_at(&user, (&source, &survey), &hashes, now);
    assert_eq!(report.verdict(), Verdict::Missing);
    // It comes back with other content of the same length, in a new file.
    let mut other = bytes.clone();
    other[0] ^= 1;
    std::fs::write(&layer, other).unwrap();
    let report = judge_at(&user, (&source, &survey), &hashes, now);
    assert_eq!(report.verdict(), Verdict::Corrupt);
    std::fs::write(&layer, bytes).unwrap();
    let report = judge_at(&user, (&source, &survey), &hashes, now);
    assert_eq!(report.verdict(), Verdict::Verified);
}

#[test]
fn a_folder_exchanged_for_another_is_read_anew() {
    let (user, root, _) = signed();
    let hashes = Hashes::new(Memory::None);
    assert_eq!(judge(&user, &root, &hashes).verdict(), Verdict::Verified);
    let evil = user.path("evil");
    copy(&root, &evil);
    let index = evil.join("index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["manifests"].as_array_mut().unwrap().truncate(1);
    std::fs::write(&index, value.to_string()).unwrap();
    std::fs::rename(&root, user.path("good")).unwrap();
    std::fs::rename(&evil, &root).unwrap();
    assert_eq!(judge(&user, &root, &hashes).verdict(), Verdict::Unsigned);
}

#[test]
fn a_clock_set_back_or_forward_leaves_the_validity_of_certificates() {
    let (user, root, _) = signed();
    let hashes = Hashes::new(Memory::None);
    let source = Directory::open(&root).unwrap();
    let survey = look(&source);
    let now = clock::now();
    let at = |seconds| judge_at(&user, (&source, &survey), &hashes, now.plus(seconds));
    let report = at(0);
    assert_eq!(report.verdict(), Verdict::Verified);
    // The key of this test is valid for a day.
    let until = report.valid_until.unwrap();
    assert!(until > now && until < now.plus(100_000), "{until}");
    assert_eq!(at(until.0 - now.0 - 1).verdict(), Verdict::Verified);
    assert_eq!(at(until.0 - now.0).verdict(), Verdict::Expired);
    assert_eq!(at(-1_000_000).verdict(), Verdict::Expired);
    // A clock that is set back says when the answer changes again.
    let back = at(-1_000_000);
    assert!(
        back.valid_until.is_some_and(|until| until <= now),
        "{:?}",
        back.valid_until
    );
}
