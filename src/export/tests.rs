use std::fs;
use std::process::Command;

use super::*;
use crate::layout::{Directory, Tar};
use crate::oci::NoProgress;

fn layout(root: &Path) -> Directory {
    fs::create_dir_all(root.join("blobs/sha256")).unwrap();
    fs::write(root.join("index.json"), r#"{"manifests":[]}"#).unwrap();
    for bytes in [&b""[..], b"one", &[7; 512], &[8; 1_500_000]] {
        let name = Digest::of(bytes).hex();
        fs::write(root.join("blobs/sha256").join(name), bytes).unwrap();
    }
    Directory::open(root).unwrap()
}

fn written(source: &dyn Source) -> Result<Vec<u8>, ExportError> {
    let index = source.index().unwrap();
    let job = Job {
        source,
        index: &index.bytes,
        listing: &source.listing().unwrap(),
    };
    let mut bytes = Vec::new();
    let exported = export(&job, &mut bytes, &NoProgress)?;
    assert_eq!(exported.bytes, u64::try_from(bytes.len()).unwrap());
    Ok(bytes)
}

#[test]
fn the_same_layout_gives_the_same_bytes() {
    let temporary = tempfile::tempdir().unwrap();
    let bytes = written(&layout(&temporary.path().join("one"))).unwrap();
    // Another place, other times, and what a mount left in a copy.
    let other = temporary.path().join("other");
    let source = layout(&other);
    fs::write(other.join("verify-status"), "verified\n").unwrap();
    fs::create_dir(other.join("signatures")).unwrap();
    fs::write(other.join("signatures/file"), "").unwrap();
    assert!(written(&source).unwrap() == bytes);
    // Its own reader finds the same in it, and so does a second writing.
    let path = temporary.path().join("one.tar");
    fs::write(&path, &bytes).unwrap();
    let tar = Tar::open(&path).unwrap();
    assert_eq!(tar.listing().unwrap().blobs.len(), 4);
    assert!(written(&tar).unwrap() == bytes);
}

#[test]
fn a_corrupt_blob_ends_the_writing() {
    let temporary = tempfile::tempdir().unwrap();
    let source = layout(temporary.path());
    let digest = Digest::of(b"one");
    fs::write(
        temporary.path().join("blobs/sha256").join(digest.hex()),
        "two",
    )
    .unwrap();
    let error = written(&source).unwrap_err();
    assert!(matches!(error, ExportError::Corrupt { digest: found } if found == digest));
}

#[test]
fn carries_names_that_other_tools_read() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("layout");
    let source = layout(&root);
    let long = format!("{}/{}/{}", "a".repeat(90), "b".repeat(90), "c".repeat(90));
    let split = format!("{}/{}", "d".repeat(120), "e".repeat(90));
    for name in [
        long.as_str(),
        split.as_str(),
        "repositories",
        "manifest.json",
        "x y\n",
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    std::os::unix::fs::symlink("t".repeat(150), root.join("link")).unwrap();
    let bytes = written(&source).unwrap();
    let archive = temporary.path().join("a.tar");
    fs::write(&archive, bytes).unwrap();
    let unpacked = temporary.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let status = Command::new("tar")
        .arg("-xf")
        .args([&archive, Path::new("-C"), &unpacked])
        .status();
    assert!(status.unwrap().success());
    for name in [long.as_str(), split.as_str(), "x y\n"] {
        assert_eq!(fs::read(unpacked.join(name)).unwrap(), name.as_bytes());
    }
    let target = fs::read_link(unpacked.join("link")).unwrap();
    assert_eq!(target, Path::new(&"t".repeat(150)));
    let listed = Command::new("tar")
        .arg("-tf")
        .arg(&archive)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let first: Vec<&str> = listed.lines().take(4).collect();
    assert_eq!(
        first,
        ["oci-layout", "index.json", "manifest.json", "repositories"]
    );
}

#[test]
fn tells_the_size_of_what_eleven_digits_do_not() {
    for (size, records) in [(0o777_7777_7777_u64, 0), (0o777_7777_7777 + 1, 2)] {
        let member = Member {
            path: Path::new("x"),
            kind: Kind::File { size },
        };
        let blocks = member.headers().unwrap();
        assert_eq!(blocks.len() / member::BLOCK_BYTES, 1 + records);
        let record = format!("19 size={size}\n");
        assert_eq!(
            blocks[512.min(blocks.len() - 19)..].starts_with(record.as_bytes()),
            records > 0
        );
    }
}
