use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::layout::{Source, Store};
use crate::oci::Digest;

fn layout() -> TempDir {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(
        temporary.path().join("index.json"),
        r#"{"schemaVersion":2,"manifests":[]}"#,
    )
    .unwrap();
    temporary
}

/// Returns an addition as a signature makes it: envelope, manifest and empty config, one entry.
fn addition(name: &str) -> Addition {
    let envelope = format!("envelope {name}").into_bytes();
    let manifest = format!("manifest {name}").into_bytes();
    let digest = Digest::of(&manifest);
    Addition {
        entries: vec![json!({"digest": digest.to_string(), "size": manifest.len()})],
        blobs: vec![
            (Digest::of(&envelope), envelope),
            (Digest::of(b"{}"), b"{}".to_vec()),
            (digest, manifest),
        ],
    }
}

fn commit_to(path: &Path, name: &str) -> Result<Committed, SourceError> {
    Directory::open(path)?.commit(&addition(name))
}

fn listed(path: &Path) -> Vec<String> {
    let bytes = fs::read(path.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    manifests
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().to_owned())
        .collect()
}

fn is_complete(path: &Path, name: &str) -> bool {
    let addition = addition(name);
    let blobs = path.join("blobs/sha256");
    let blob_holds = |(digest, bytes): &(Digest, Vec<u8>)| {
        fs::read(blobs.join(digest.hex())).is_ok_and(|stored| stored == *bytes)
    };
    addition.blobs.iter().all(blob_holds) && listed(path).contains(&addition.blobs[2].0.to_string())
}

fn root_names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn adds_blobs_and_entries_once() {
    let temporary = layout();
    let path = temporary.path();
    let committed = commit_to(path, "a").unwrap();
    assert_eq!(
        committed,
        Committed {
            blobs_written: 3,
            entries_added: 1,
            // Three blobs, their folder, the index, the root; and two folders that were not there.
            fsyncs: 8,
        }
    );
    assert!(is_complete(path, "a"));
    assert_eq!(root_names(path), ["blobs", "index.json"]);
    let again = commit_to(path, "a").unwrap();
    assert_eq!(again, Committed::default());
    let other = commit_to(path, "b").unwrap();
    assert_eq!(
        other,
        Committed {
            blobs_written: 2,
            entries_added: 1,
            fsyncs: 5,
        }
    );
    let listing = Directory::open(path).unwrap().listing().unwrap();
    assert_eq!(listing.blobs.len(), 5);
    assert!(listing.blobs.iter().all(|blob| blob.facts.mode == 0o444));
    assert_eq!(listed(path).len(), 2);
}

#[test]
fn has_no_more_blobs_open_than_it_may() {
    let temporary = layout();
    let directory = Directory::open(temporary.path()).unwrap();
    let mut addition = addition("a");
    for number in 0..2 * BLOBS_OPEN_MAX {
        let bytes = number.to_string().into_bytes();
        addition.blobs.push((Digest::of(&bytes), bytes));
    }
    let count = addition.blobs.len();
    let committed = directory.commit(&addition).unwrap();
    assert_eq!(committed.blobs_written, count);
    // Each blob once, and what one signature in a layout without folders needs besides.
    assert_eq!(committed.fsyncs, count + 5);
    assert_eq!(directory.listing().unwrap().blobs.len(), count);
    assert_eq!(directory.commit(&addition).unwrap(), Committed::default());
}

#[test]
fn keeps_owner_and_mode_of_the_index_and_other_links_to_it() {
    let temporary = layout();
    let path = temporary.path();
    let index = path.join("index.json");
    fs::set_permissions(&index, fs::Permissions::from_mode(0o464)).unwrap();
    let is_root = crate::files::effective_uid() == 0;
    if is_root {
        chown(&index, Some(1234), Some(4321)).unwrap();
    }
    fs::hard_link(&index, path.join("copy")).unwrap();
    commit_to(path, "a").unwrap();
    let stat = fs::metadata(&index).unwrap();
    assert_eq!(stat.mode() & 0o7777, 0o464);
    let blob = path.join("blobs/sha256").join(Digest::of(b"{}").hex());
    if is_root {
        for place in [
            &index,
            &blob,
            &path.join("blobs"),
            &path.join("blobs/sha256"),
        ] {
            let stat = fs::metadata(place).unwrap();
            assert_eq!(
                (stat.uid(), stat.gid()),
                (1234, 4321),
                "{}",
                place.display()
            );
        }
    }
    let copy = fs::read_to_string(path.join("copy")).unwrap();
    assert_eq!(copy, r#"{"schemaVersion":2,"manifests":[]}"#);
}

#[test]
fn replaces_a_blob_that_is_not_what_it_should_be() {
    let temporary = layout();
    let path = temporary.path();
    let folder = path.join("blobs/sha256");
    fs::create_dir_all(&folder).unwrap();
    let outside = path.join("outside");
    fs::write(&outside, "precious").unwrap();
    let addition = addition("a");
    fs::write(folder.join(addition.blobs[0].0.hex()), "corrupt").unwrap();
    symlink(&outside, folder.join(addition.blobs[1].0.hex())).unwrap();
    commit_to(path, "a").unwrap();
    assert!(is_complete(path, "a"));
    assert_eq!(fs::read_to_string(outside).unwrap(), "precious");
}

#[test]
fn refuses_what_cannot_be_edited_and_leaves_it() {
    for index in ["", "{", "[]", r#"{"manifests":[],"manifests":[]}"#] {
        let temporary = layout();
        let path = temporary.path();
        fs::write(path.join("index.json"), index).unwrap();
        let refused = commit_to(path, "a");
        assert!(matches!(refused, Err(SourceError::Index { .. })));
        assert_eq!(fs::read_to_string(path.join("index.json")).unwrap(), index);
        assert!(!path.join("index.json.lock").exists());
    }
    let temporary = layout();
    let mut wrong = addition("a");
    wrong.blobs[0].1.push(b'x');
    let directory = Directory::open(temporary.path()).unwrap();
    assert!(directory.commit(&wrong).is_err());
    assert_eq!(root_names(temporary.path()), ["index.json"]);
}

#[test]
fn waits_for_one_who_writes_the_index_in_place() {
    for half in ["", r#"{"schemaVersion":2,"manifests":["#] {
        let temporary = layout();
        let path = temporary.path();
        commit_to(path, "first").unwrap();
        let whole = fs::read(path.join("index.json")).unwrap();
        fs::write(path.join("index.json"), half).unwrap();
        let (writing, index) = (whole.clone(), path.join("index.json"));
        let writer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(700));
            fs::write(index, writing).unwrap();
        });
        commit_to(path, "second").unwrap();
        writer.join().unwrap();
        assert!(is_complete(path, "first") && is_complete(path, "second"));
    }
}

#[test]
fn never_writes_through_symlinks() {
    for place in ["blobs", "blobs/sha256", "index.json"] {
        let temporary = layout();
        let path = temporary.path();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        let directory = Directory::open(path).unwrap();
        fs::rename(path.join(place), outside.path().join("moved")).unwrap();
        symlink(outside.path().join("moved"), path.join(place)).unwrap();
        let refused = directory.commit(&addition("a"));
        assert!(
            matches!(refused, Err(SourceError::NotRegular { .. })),
            "{place}"
        );
        let moved = outside.path().join("moved");
        if moved.is_dir() {
            assert!(fs::read_dir(&moved).unwrap().all(|entry| {
                fs::read_dir(entry.unwrap().path())
                    .unwrap()
                    .next()
                    .is_none()
            }));
        } else {
            assert!(!fs::read_to_string(&moved).unwrap().contains("digest"));
        }
    }
}

#[test]
fn many_threads_lose_nothing() {
    let temporary = layout();
    let path = temporary.path();
    thread::scope(|scope| {
        for thread in 0..12 {
            scope.spawn(move || {
                for round in 0..8 {
                    commit_to(path, &format!("{thread} {round}")).unwrap();
                }
            });
        }
    });
    assert_eq!(listed(path).len(), 96);
    for thread in 0..12 {
        for round in 0..8 {
            assert!(is_complete(path, &format!("{thread} {round}")));
        }
    }
    assert_eq!(root_names(path), ["blobs", "index.json"]);
}

/// The variable that tells a child process of a test which layout to write into.
const CHILD_LAYOUT: &str = "SIGNETFS_TEST_LAYOUT";
const CHILD_NAME: &str = "SIGNETFS_TEST_NAME";

#[test]
fn child_commits_where_its_parent_says() {
    let Some(path) = std::env::var_os(CHILD_LAYOUT) else {
        return;
    };
    let name = std::env::var(CHILD_NAME).unwrap();
    commit_to(Path::new(&path), &name).unwrap();
}

fn child(path: &Path, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "layout::directory::commit::tests::child_commits_where_its_parent_says",
        ])
        .env(CHILD_LAYOUT, path)
        .env(CHILD_NAME, name)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    command
}

#[test]
fn twelve_processes_lose_nothing() {
    let temporary = layout();
    let path = temporary.path();
    for round in 0..3 {
        let children: Vec<_> = (0..12)
            .map(|number| child(path, &format!("{round} {number}")).spawn().unwrap())
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    }
    assert_eq!(listed(path).len(), 36);
    assert_eq!(root_names(path), ["blobs", "index.json"]);
}

#[test]
fn removes_what_killed_writers_left_and_nothing_else() {
    let temporary = layout();
    let path = temporary.path();
    fs::create_dir_all(path.join("blobs/sha256")).unwrap();
    for name in [
        ".signetfs-dead",
        "index.json.lock",
        "blobs/sha256/.signetfs-dead",
    ] {
        fs::write(path.join(name), "x").unwrap();
    }
    fs::write(path.join("blobs/sha256/oci-put-blob1"), "x").unwrap();
    fs::write(path.join("oci-put-blob2"), "x").unwrap();
    commit_to(path, "a").unwrap();
    // The lock of another process is left to it.
    assert_eq!(
        root_names(path),
        ["blobs", "index.json", "index.json.lock", "oci-put-blob2"]
    );
    assert!(!path.join("blobs/sha256/.signetfs-dead").exists());
    assert!(path.join("blobs/sha256/oci-put-blob1").exists());
}

#[test]
fn waits_only_where_another_writer_is_in_evidence() {
    let temporary = layout();
    let path = temporary.path();
    // What notation leaves behind.
    fs::create_dir(path.join("ingest")).unwrap();
    let names = |path: &Path| names(&Folder::open(path).unwrap(), Path::new(".")).unwrap();
    let others = |path: &Path| evidence(&Folder::open(path).unwrap(), &names(path)).unwrap();
    assert_eq!(others(path), Others::None);
    fs::write(path.join("index.json.lock"), "").unwrap();
    fs::write(path.join(".signetfs-x"), "").unwrap();
    assert_eq!(others(path), Others::None);
    for name in [
        "oci-put-blob1",
        ".umoci-1",
        "index.json.123.tmp",
        "ingest/x",
    ] {
        fs::write(path.join(name), "").unwrap();
        assert_eq!(others(path), Others::Evident, "{name}");
        fs::remove_file(path.join(name)).unwrap();
    }
}

/// Rewrites the index from a stale state, as tools without the lock do, `times` times.
fn stale_writer(path: &Path, times: usize, stop: &AtomicBool) {
    let stale = fs::read(path.join("index.json")).unwrap();
    let mut overwritten = 0;
    while overwritten < times && !stop.load(Ordering::Relaxed) {
        let current = fs::read(path.join("index.json")).unwrap();
        if current.len() > stale.len() {
            fs::write(path.join("index.json"), &stale).unwrap();
            overwritten += 1;
        }
    }
}

#[test]
fn adds_again_what_another_writer_removed() {
    let temporary = layout();
    let path = temporary.path();
    // The other writer is in evidence.
    fs::write(path.join("oci-put-blob1"), "x").unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| stale_writer(path, 3, &stop));
        // The writer has read its stale state when the commit begins, or reads it whole later.
        thread::sleep(Duration::from_millis(50));
        let committed = commit_to(path, "a").unwrap();
        assert!(committed.entries_added > 1);
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    assert!(is_complete(path, "a"));
}

#[test]
fn says_when_another_writer_always_removes_it() {
    let temporary = layout();
    let path = temporary.path();
    fs::write(path.join("oci-put-blob1"), "x").unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| stale_writer(path, usize::MAX, &stop));
        thread::sleep(Duration::from_millis(50));
        let refused = commit_to(path, "a");
        stop.store(true, Ordering::Relaxed);
        assert!(
            matches!(refused, Err(SourceError::EntryLost { attempts: 5 })),
            "{refused:?}"
        );
    });
}

#[test]
fn does_not_keep_a_reader_waiting_for_the_lock() {
    let temporary = layout();
    let folder = Folder::open(temporary.path()).unwrap();
    let _lock = Lock::take(&folder, Path::new(LOCK), Duration::ZERO).unwrap();
    // Waiting would end in an error.
    let directory = Directory::open(temporary.path()).unwrap();
    directory.index().unwrap();
    directory.listing().unwrap();
}
