use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::layout::ExtraKind;

const EMPTY_INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

/// Makes a layout with one blob, and returns the blob's digest.
fn layout() -> (TempDir, Digest) {
    let temporary = tempfile::tempdir().unwrap();
    let digest = Digest::of(b"content");
    let folder = temporary.path().join("blobs/sha256");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(digest.hex()), "content").unwrap();
    fs::write(temporary.path().join("index.json"), EMPTY_INDEX).unwrap();
    fs::write(
        temporary.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    (temporary, digest)
}

fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(120));
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn reads_what_is_stored() {
    let (temporary, digest) = layout();
    settle();
    let directory = Directory::open(temporary.path()).unwrap();
    let index = directory.index().unwrap();
    assert_eq!(&*index.bytes, EMPTY_INDEX.as_bytes());
    assert!(index.settled);
    assert_eq!(index.stamp, directory.stamp().unwrap());
    let blob = directory.blob(&digest).unwrap().unwrap();
    assert_eq!(blob.read_all(100).unwrap(), b"content");
    assert!(directory.blob(&Digest::of(b"other")).unwrap().is_none());
    assert!(directory.blob(&"x:y".parse().unwrap()).unwrap().is_none());
    let file = directory.file(Path::new("oci-layout")).unwrap().unwrap();
    assert_eq!(file.size(), 30);
    for path in ["", "../x", "/etc/passwd", "missing"] {
        assert!(directory.file(Path::new(path)).unwrap().is_none(), "{path}");
    }
}

#[test]
fn needs_an_index_and_nothing_else() {
    let temporary = tempfile::tempdir().unwrap();
    let refused = Directory::open(temporary.path());
    assert!(matches!(refused, Err(SourceError::NotALayout { path }) if path == temporary.path()));
    assert!(Directory::open(&temporary.path().join("missing")).is_err());
    fs::write(temporary.path().join("index.json"), EMPTY_INDEX).unwrap();
    let directory = Directory::open(temporary.path()).unwrap();
    let listing = directory.listing().unwrap();
    assert!(listing.oci_layout.is_none() && listing.blobs.is_empty());
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
}

#[test]
fn a_young_index_is_not_settled() {
    let (temporary, _) = layout();
    let directory = Directory::open(temporary.path()).unwrap();
    fs::write(temporary.path().join("index.json"), EMPTY_INDEX).unwrap();
    assert!(!directory.index().unwrap().settled);
}

#[test]
fn what_somebody_may_still_write_is_not_settled() {
    let Some(temporary) = crate::files::lease::folder_with_leases() else {
        return;
    };
    let names = ["index.json", "oci-layout", "manifest.json", "repositories"];
    for name in names {
        fs::write(temporary.path().join(name), EMPTY_INDEX).unwrap();
    }
    settle();
    let directory = Directory::open(temporary.path()).unwrap();
    for name in names {
        assert!(directory.index().unwrap().settled, "{name}");
        let mut options = fs::OpenOptions::new();
        // Nothing is written, so that no time changes: a mapping can be written into like that.
        let writer = options.append(true).open(temporary.path().join(name));
        assert!(!directory.index().unwrap().settled, "{name}");
        drop(writer);
    }
    fs::write(temporary.path().join("manifest.json"), EMPTY_INDEX).unwrap();
    assert!(!directory.index().unwrap().settled, "it just changed");
}

#[test]
fn a_layout_with_more_folders_than_the_stamp_looks_at_is_not_settled() {
    let (temporary, _) = layout();
    let folder = |number: usize| temporary.path().join(format!("{number:02}"));
    for number in 0..64 {
        fs::create_dir_all(folder(number).join("below")).unwrap();
    }
    settle();
    let directory = Directory::open(temporary.path()).unwrap();
    let before = directory.index().unwrap();
    assert!(before.settled);
    fs::write(folder(63).join("json"), "{}").unwrap();
    assert_ne!(directory.stamp().unwrap(), before.stamp);
    fs::create_dir(folder(64)).unwrap();
    settle();
    assert!(
        !Directory::open(temporary.path())
            .unwrap()
            .index()
            .unwrap()
            .settled
    );
}

#[test]
fn refuses_what_is_not_a_file_in_the_place_of_one() {
    let (temporary, digest) = layout();
    let path = temporary.path();
    let blob_path = path.join("blobs/sha256").join(digest.hex());
    let directory = Directory::open(path).unwrap();
    let is_refused = |result: Result<Option<Blob>, SourceError>| {
        matches!(result, Err(SourceError::NotRegular { .. }))
    };
    let mut sockets = Vec::new();
    for kind in ["link", "fifo", "folder", "socket"] {
        for place in [
            &blob_path,
            &path.join("index.json"),
            &path.join("oci-layout"),
        ] {
            let _ = fs::remove_file(place);
            let _ = fs::remove_dir(place);
            match kind {
                "link" => symlink("/etc/passwd", place).unwrap(),
                "fifo" => make_fifo(place),
                "folder" => fs::create_dir(place).unwrap(),
                _ => {}
            }
        }
        if kind == "socket" {
            // The path of a blob is too long for a socket's address.
            let short = path.join("s");
            sockets.push(UnixListener::bind(&short).unwrap());
            for place in [
                &blob_path,
                &path.join("index.json"),
                &path.join("oci-layout"),
            ] {
                fs::hard_link(&short, place).unwrap();
            }
            fs::remove_file(&short).unwrap();
        }
        assert!(is_refused(directory.blob(&digest)), "{kind}");
        assert!(
            is_refused(directory.file(Path::new("oci-layout"))),
            "{kind}"
        );
        assert!(
            matches!(directory.index(), Err(SourceError::NotRegular { .. })),
            "{kind}"
        );
        let listing = directory.listing().unwrap();
        assert_eq!(listing.hidden, 3, "{kind}");
        assert!(listing.blobs.is_empty() && listing.oci_layout.is_none());
        if kind == "socket" {
            break;
        }
    }
}

#[test]
fn never_follows_a_symlinked_folder_of_blobs() {
    for place in ["blobs", "blobs/sha256"] {
        let (temporary, digest) = layout();
        let path = temporary.path();
        fs::rename(path.join(place), path.join("elsewhere")).unwrap();
        symlink(path.join("elsewhere"), path.join(place)).unwrap();
        let directory = Directory::open(path).unwrap();
        assert!(matches!(
            directory.blob(&digest),
            Err(SourceError::NotRegular { .. })
        ));
        let listing = directory.listing().unwrap();
        assert_eq!(listing.hidden, 1);
        assert!(listing.blobs.is_empty());
    }
}

#[test]
fn lists_extras_and_hides_writers() {
    let (temporary, digest) = layout();
    let path = temporary.path();
    for folder in ["ingest", "docs/deep", "blobs/blake3", "blobs/UPPER"] {
        fs::create_dir_all(path.join(folder)).unwrap();
    }
    for file in [
        "index.json.lock",
        ".signetfs-0123",
        "oci-put-blob123",
        ".umoci-1",
        "blobs/stray",
        "blobs/sha256/temporary",
        "blobs/sha256/ABCDEF",
        "blobs/blake3/00",
        "docs/deep/file",
        "docs/.signetfs-shown",
        "docs.txt",
        "manifest.json",
    ] {
        fs::write(path.join(file), "x").unwrap();
    }
    symlink("../../outside", path.join("docs/link")).unwrap();
    make_fifo(&path.join("docs/fifo"));
    let listing = Directory::open(path).unwrap().listing().unwrap();
    let leftovers: Vec<_> = listing
        .leftovers
        .iter()
        .map(|p| p.to_str().unwrap())
        .collect();
    assert_eq!(
        leftovers,
        [
            ".signetfs-0123",
            ".umoci-1",
            "blobs/UPPER",
            "blobs/sha256/ABCDEF",
            "blobs/sha256/temporary",
            "blobs/stray",
            "index.json.lock",
            "ingest",
            "oci-put-blob123",
        ]
    );
    let extras: Vec<_> = listing
        .extras
        .iter()
        .map(|extra| (extra.path.to_str().unwrap(), extra.kind.clone()))
        .collect();
    assert_eq!(
        extras,
        [
            ("blobs/blake3", ExtraKind::Directory),
            ("blobs/blake3/00", ExtraKind::File),
            ("docs", ExtraKind::Directory),
            ("docs/.signetfs-shown", ExtraKind::File),
            ("docs/deep", ExtraKind::Directory),
            ("docs/deep/file", ExtraKind::File),
            ("docs/link", ExtraKind::Link(PathBuf::from("../../outside"))),
            ("docs.txt", ExtraKind::File),
            ("manifest.json", ExtraKind::File),
        ]
    );
    assert_eq!(listing.hidden, 1);
    assert_eq!(listing.blobs.len(), 1);
    assert_eq!(listing.blobs[0].digest, digest);
    let folders: Vec<_> = listing
        .folders
        .iter()
        .map(|f| f.0.to_str().unwrap())
        .collect();
    assert_eq!(folders, ["blobs", "blobs/sha256"]);
}

#[test]
fn the_stamp_differs_after_every_change() {
    let (temporary, _) = layout();
    let path = temporary.path();
    fs::create_dir(path.join("docs")).unwrap();
    settle();
    let directory = Directory::open(path).unwrap();
    directory.listing().unwrap();
    let mut last = directory.stamp().unwrap();
    assert_eq!(last, directory.stamp().unwrap());
    let changes: [&dyn Fn(); 6] = [
        &|| fs::write(path.join("index.json"), "{}").unwrap(),
        &|| fs::write(path.join("blobs/sha256/new"), "").unwrap(),
        &|| fs::create_dir(path.join("blobs/sha512")).unwrap(),
        &|| fs::write(path.join("extra"), "").unwrap(),
        &|| fs::write(path.join("docs/extra"), "").unwrap(),
        &|| fs::rename(path.join("extra"), path.join("index.json")).unwrap(),
    ];
    for (position, change) in changes.iter().enumerate() {
        std::thread::sleep(std::time::Duration::from_millis(15));
        change();
        let stamp = directory.stamp().unwrap();
        assert_ne!(stamp, last, "change {position}");
        last = stamp;
    }
}

#[test]
fn moves_over_to_the_directory_that_the_path_names() {
    let (temporary, digest) = layout();
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("layout");
    let link = parent.path().join("link");
    fs::rename(temporary.path(), &path).unwrap();
    fs::create_dir(temporary.path()).unwrap();
    symlink("layout", &link).unwrap();
    let (direct, linked) = (
        Directory::open(&path).unwrap(),
        Directory::open(&link).unwrap(),
    );
    let stamp = direct.stamp().unwrap();
    // Gone: the last one stays.
    fs::rename(&path, parent.path().join("old")).unwrap();
    assert_eq!(direct.stamp().unwrap().0[0], stamp.0[0]);
    assert!(direct.blob(&digest).unwrap().is_some());
    assert!(linked.index().is_ok());
    // Another one: moved over.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("index.json"), "{}").unwrap();
    for directory in [&direct, &linked] {
        assert_ne!(directory.stamp().unwrap(), stamp);
        assert_eq!(&*directory.index().unwrap().bytes, b"{}");
        assert!(directory.blob(&digest).unwrap().is_none());
    }
    // A symlink that is pointed elsewhere.
    fs::remove_file(&link).unwrap();
    symlink("old", &link).unwrap();
    assert!(linked.index().unwrap().bytes.len() > 2);
    assert_eq!(&*direct.index().unwrap().bytes, b"{}");
    // No layout: an error rather than the old index.
    fs::remove_file(path.join("index.json")).unwrap();
    assert!(matches!(
        direct.index(),
        Err(SourceError::NotALayout { .. })
    ));
}

#[test]
fn refuses_an_index_over_its_limit() {
    let (temporary, _) = layout();
    let directory = Directory::open(temporary.path()).unwrap();
    let file = fs::File::create(temporary.path().join("index.json")).unwrap();
    file.set_len(INDEX_BYTES_MAX).unwrap();
    assert!(directory.index().is_ok());
    file.set_len(INDEX_BYTES_MAX + 1).unwrap();
    assert!(matches!(
        directory.index(),
        Err(SourceError::TooLarge {
            limit: INDEX_BYTES_MAX,
            ..
        })
    ));
}

#[test]
fn the_state_of_a_name_differs_with_everything_that_is_done_to_it() {
    let (temporary, digest) = layout();
    let directory = Directory::open(temporary.path()).unwrap();
    let path = temporary.path().join("blobs/sha256").join(digest.hex());
    let Some(Blob::File { identity, .. }) = directory.blob(&digest).unwrap() else {
        panic!("a blob in a folder is in a file");
    };
    assert_eq!(directory.state(&digest), Some(identity));
    assert_eq!(directory.state(&Digest::of(b"other")), None);
    let mut before = Some(identity);
    let copy = temporary.path().join("copy");
    let replace = || {
        fs::write(&copy, "content").unwrap();
        fs::rename(&copy, &path).unwrap();
    };
    let touch = || {
        let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_times(times).unwrap();
    };
    let changes: [&dyn Fn(); 4] = [
        &|| fs::write(&path, "CONTENT").unwrap(),
        &touch,
        &replace,
        &|| {
            fs::rename(&path, &copy).unwrap();
            symlink("../../copy", &path).unwrap();
        },
    ];
    for change in changes {
        settle();
        change();
        let now = directory.state(&digest);
        assert_ne!(now, before);
        before = now;
    }
    assert_eq!(before, None, "a symlink is not followed");
}
