use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::files::Folder;
use crate::files::lease::folder_with_leases;
use crate::layout::hashes::{HashError, Lease, Look, Memory};
use crate::oci::{Descriptor, Digest};

const PARTS: usize = 20;

/// Is one file of many small blobs, as a tar holds them.
struct Archive {
    folder: TempDir,
    jobs: Vec<(Descriptor, Blob)>,
}

impl Archive {
    /// Returns nothing where no leases are to be had.
    fn new() -> Option<Self> {
        let folder = folder_with_leases()?;
        let parts: Vec<Vec<u8>> = (0..PARTS)
            .map(|number| format!("part {number:04}").into_bytes())
            .collect();
        fs::write(folder.path().join("archive"), parts.concat()).unwrap();
        // Long enough ago for a result to stand.
        thread::sleep(Duration::from_millis(120));
        let opened = Folder::open(folder.path()).unwrap();
        let whole = Blob::of_file(opened.file(Path::new("archive")).unwrap().unwrap());
        let Blob::File { file, identity, .. } = whole else {
            panic!("a file is in memory");
        };
        let mut offset = 0;
        let jobs = parts
            .iter()
            .map(|bytes| {
                let size = bytes.len() as u64;
                let blob = Blob::File {
                    file: Arc::clone(&file),
                    offset,
                    size,
                    identity,
                };
                offset += size;
                (Descriptor::new("", Digest::of(bytes), size), blob)
            })
            .collect();
        Some(Self { folder, jobs })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn size(&self) -> u64 {
        self.jobs.iter().map(|(_, blob)| blob.size()).sum()
    }

    fn try_writing(&self) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        options.open(self.path())
    }
}

fn hashes() -> Hashes {
    Hashes::new(Memory::None)
}

/// Answers whether to stop, told how often it was asked before.
struct Interrupted<F>(AtomicU32, F);

impl<F: Fn(u32) -> bool + Sync> Interrupted<F> {
    fn by(act: F) -> Self {
        Self(AtomicU32::new(0), act)
    }
}

impl<F: Fn(u32) -> bool + Sync> Progress for Interrupted<F> {
    fn expect(&self, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn cancelled(&self) -> bool {
        (self.1)(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[test]
fn each_blob_is_hashed_once_and_gets_its_own_result() {
    let Some(mut archive) = Archive::new() else {
        return;
    };
    archive.jobs[7].0 = Descriptor::new("", Digest::of(b"part 0008"), 9);
    let hashes = hashes();
    for _ in 0..2 {
        let results = hashes.verify_all(&archive.jobs, &NoProgress);
        for (number, result) in results.iter().enumerate() {
            match result {
                Ok(verified) => {
                    assert!(number != 7 && verified.stands());
                    assert_eq!(verified.lease(), Lease::Granted);
                    let read = verified.read_checked(0, 100).unwrap();
                    assert_eq!(read, format!("part {number:04}").into_bytes());
                }
                Err(error) => {
                    assert!(matches!(error, HashError::Digest { .. }), "{error}");
                    assert_eq!(number, 7);
                }
            }
        }
        assert_eq!(hashes.bytes_hashed(), archive.size());
    }
}

#[test]
fn beside_a_writer_every_result_serves_one_look() {
    let Some(archive) = Archive::new() else {
        return;
    };
    let _writer = archive.try_writing().unwrap();
    let hashes = hashes();
    for round in 1..3 {
        let results = hashes.verify_all(&archive.jobs, &NoProgress);
        assert!(results.iter().all(|result| {
            let verified = result.as_ref().unwrap();
            !verified.stands() && verified.lease() == Lease::Writer
        }));
        assert_eq!(hashes.bytes_hashed(), round * archive.size());
    }
}

#[test]
fn what_a_writer_at_the_door_interrupts_is_hashed_again() {
    let Some(archive) = Archive::new() else {
        return;
    };
    let hashes = hashes();
    let knock = Interrupted::by(|asked| {
        // Refused by the lease, which breaks.
        asked == 10 && archive.try_writing().is_ok()
    });
    let results = hashes.verify_all(&archive.jobs, &knock);
    assert!(results.iter().all(Result::is_ok));
    assert!(hashes.bytes_hashed() >= 2 * archive.size());
}

#[test]
fn what_changes_in_the_middle_is_hashed_again() {
    let Some(archive) = Archive::new() else {
        return;
    };
    let hashes = hashes();
    // The change time moves without a descriptor that could write.
    let change = Interrupted::by(|asked| {
        let mode = fs::Permissions::from_mode(0o600);
        asked == 10 && fs::set_permissions(archive.path(), mode).is_err()
    });
    let results = hashes.verify_all(&archive.jobs, &change);
    assert!(results.iter().all(Result::is_ok));
    assert!(hashes.bytes_hashed() >= 2 * archive.size());
    // Too young: none of it stands.
    for (descriptor, blob) in &archive.jobs {
        assert!(hashes.known(descriptor, blob).is_none());
    }
}

#[test]
fn stops_between_two_blobs() {
    let Some(archive) = Archive::new() else {
        return;
    };
    let hashes = hashes();
    let results = hashes.verify_all(&archive.jobs, &Interrupted::by(|asked| asked >= 10));
    assert!(hashes.bytes_hashed() < archive.size());
    assert!(
        results
            .iter()
            .any(|result| matches!(result, Err(HashError::Cancelled { .. })))
    );
}

#[test]
fn a_look_ends_when_a_writer_is_waiting() {
    let Some(archive) = Archive::new() else {
        return;
    };
    let hashes = hashes();
    let _ = hashes.verify_all(&archive.jobs, &NoProgress);
    let mut look = Look::default();
    let known = |look: &mut Look, (descriptor, blob): &(Descriptor, Blob)| {
        hashes.known_by(look, descriptor, blob).is_some()
    };
    assert!(archive.jobs.iter().all(|job| known(&mut look, job)));
    let path = archive.path();
    let writing = thread::spawn(move || {
        use std::os::unix::fs::FileExt;

        // Waits for the lease that the look holds.
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"PART", 0).unwrap();
        file
    });
    let begun = Instant::now();
    while !writing.is_finished() {
        // Less than the kernel lets a writer wait (45 s).
        assert!(begun.elapsed() < Duration::from_secs(20));
        let _ = known(&mut look, &archive.jobs[1]);
        thread::sleep(Duration::from_millis(1));
    }
    let file = writing.join().unwrap();
    assert!(!archive.jobs.iter().any(|job| known(&mut look, job)));
    drop(file);
    assert!(!archive.jobs.iter().any(|job| known(&mut look, job)));
}
