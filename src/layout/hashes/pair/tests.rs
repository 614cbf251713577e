use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;
use crate::files::Folder;
use crate::layout::{Blob, HashError, Memory, VerifiedBlob};
use crate::oci::{Descriptor, Digest, NoProgress};

const PAIRED: usize = PAIRED_BYTES_MIN as usize;

fn content(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|n| (n / 7 % 253 + seed) as u8).collect()
}

/// Stores blobs of these sizes, and returns them with what they should be.
fn stored(folder: &Path, sizes: &[usize]) -> Vec<(Descriptor, Blob)> {
    let jobs = sizes.iter().enumerate().map(|(seed, size)| {
        let bytes = content(seed, *size);
        let name = format!("{seed}");
        fs::write(folder.join(&name), &bytes).unwrap();
        let folder = Folder::open(folder).unwrap();
        let blob = Blob::of_file(folder.file(Path::new(&name)).unwrap().unwrap());
        let digest = Digest::of(&bytes);
        (Descriptor::new("", digest, bytes.len() as u64), blob)
    });
    let jobs = jobs.collect();
    std::thread::sleep(Duration::from_millis(120));
    jobs
}

fn in_pairs(
    hashes: &Hashes,
    blobs: &[(Descriptor, Blob)],
    progress: &dyn Progress,
) -> Vec<Result<VerifiedBlob, HashError>> {
    let mut results: Vec<_> = blobs.iter().map(|_| None).collect();
    let jobs: Vec<Job<'_>> = blobs
        .iter()
        .zip(&mut results)
        .map(|((descriptor, blob), slot)| Job {
            descriptor,
            blob,
            algorithm: Algorithm::Sha256,
            slot: Mutex::new(slot),
        })
        .collect();
    for two in jobs.chunks(2) {
        hashes.hash_two([&two[0], &two[1]], progress);
    }
    drop(jobs);
    results.into_iter().map(Option::unwrap).collect()
}

/// Adds up what is reported.
#[derive(Default)]
struct Sum(AtomicU64);

impl Progress for Sum {
    fn expect(&self, _bytes: u64) {}
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn two_at_once_are_verified_as_each_alone() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [
        PAIRED,
        PAIRED,
        PAIRED + 1,
        PAIRED * 2 + 77,
        PAIRED * 3,
        PAIRED,
    ];
    let blobs = stored(folder.path(), &sizes);
    let total: u64 = blobs.iter().map(|(descriptor, _)| descriptor.size).sum();
    let hashes = Hashes::new(Memory::None);
    let sum = Sum::default();
    let found = in_pairs(&hashes, &blobs, &sum);
    assert_eq!(hashes.bytes_hashed(), total);
    assert_eq!(sum.0.into_inner(), total);
    for (found, (descriptor, blob)) in found.iter().zip(&blobs) {
        let found = found.as_ref().unwrap();
        let alone = Hashes::new(Memory::None).verify(descriptor, blob, &NoProgress);
        let alone = alone.unwrap();
        assert_eq!(found.digest, alone.digest);
        assert_eq!(found.chunks, alone.chunks);
        assert_eq!((found.lease, found.stands), (alone.lease, alone.stands));
        let whole = usize::try_from(descriptor.size).unwrap();
        assert_eq!(found.read_checked(0, whole).unwrap().len(), whole);
    }
    in_pairs(&hashes, &blobs, &NoProgress);
    assert_eq!(
        hashes.bytes_hashed(),
        total,
        "what stands is not hashed again"
    );
}

#[test]
fn a_corrupt_blob_is_found_beside_a_sound_one_on_either_side() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = stored(folder.path(), &[PAIRED, PAIRED + 5, PAIRED + 9, PAIRED]);
    blobs[0].0.digest = Digest::of(b"other");
    blobs[3].0.digest = Digest::of(b"other");
    let found = in_pairs(&Hashes::new(Memory::None), &blobs, &NoProgress);
    let sound: Vec<bool> = found.iter().map(Result::is_ok).collect();
    assert_eq!(sound, [false, true, true, false]);
    assert!(matches!(found[0], Err(HashError::Digest { .. })));
}

#[test]
fn a_blob_that_shrinks_does_not_harm_its_partner() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = stored(folder.path(), &[PAIRED, PAIRED]);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("1"));
    file.unwrap().set_len(3 << 17).unwrap();
    let found = in_pairs(&Hashes::new(Memory::None), &blobs, &NoProgress);
    assert!(found[0].is_ok());
    assert!(matches!(found[1], Err(HashError::Changed { .. })));
}

#[test]
fn cores_that_would_have_nothing_to_do_get_a_blob_of_their_own() {
    let big = PAIRED_BYTES_MIN * 100;
    for (sizes, threads, pairs) in [
        (&[big][..], 2, 0),
        (&[big, big], 2, 0),
        (&[big, big], 1, 1),
        (&[big, big, big], 2, 1),
        (&[big, big, big, big], 2, 2),
        (&[big; 8], 2, 4),
        (&[big; 8], 8, 0),
        (&[big, big, 100, 100, 100, 100], 2, 0),
        (&[1000, 1000, 1000, 1000], 1, 0),
        (&[big, big, 5, 5], 1, 1),
    ] {
        let blobs: Vec<(Descriptor, Blob)> = sizes
            .iter()
            .map(|size| (Descriptor::new("", Digest::of(b""), *size), sized(*size)))
            .collect();
        let mut results: Vec<_> = blobs.iter().map(|_| None).collect();
        let jobs: Vec<Job<'_>> = blobs
            .iter()
            .zip(&mut results)
            .map(|((descriptor, blob), slot)| Job {
                descriptor,
                blob,
                algorithm: Algorithm::Sha256,
                slot: Mutex::new(slot),
            })
            .collect();
        let units = units(&jobs, threads);
        let found = units.iter().filter(|unit| matches!(unit, Unit::Two(..)));
        assert_eq!(found.count(), pairs, "{sizes:?} {threads}");
    }
}

/// Returns a blob that is never read.
fn sized(size: u64) -> Blob {
    let file = fs::File::open("/dev/null").unwrap();
    Blob::File {
        identity: crate::layout::Identity::now(&file.try_clone().unwrap().into()).unwrap(),
        file: std::sync::Arc::new(file.into()),
        offset: 0,
        size,
    }
}
