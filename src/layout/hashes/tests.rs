use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::files::Folder;
use crate::files::lease::folder_with_leases;
use crate::oci::{Digest, Hasher};

const SIZES: [usize; 8] = [
    0,
    1,
    1000,
    CHUNK_LENGTH - 1,
    CHUNK_LENGTH,
    CHUNK_LENGTH + 1,
    3 * CHUNK_LENGTH,
    3 * CHUNK_LENGTH + 77,
];

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n / 7 % 253) as u8).collect()
}

/// Makes a file that last changed long enough ago, and opens it.
fn stored(folder: &Path, bytes: &[u8]) -> Blob {
    fs::write(folder.join("blob"), bytes).unwrap();
    std::thread::sleep(Duration::from_millis(120));
    open(folder)
}

fn open(folder: &Path) -> Blob {
    let folder = Folder::open(folder).unwrap();
    Blob::of_file(folder.file(Path::new("blob")).unwrap().unwrap())
}

fn descriptor(algorithm: Algorithm, bytes: &[u8]) -> Descriptor {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    Descriptor::new("", hasher.finish(), bytes.len() as u64)
}

fn sha256(bytes: &[u8]) -> Descriptor {
    descriptor(Algorithm::Sha256, bytes)
}

fn writer(folder: &Path) -> File {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK);
    options.open(folder.join("blob")).unwrap()
}

fn no_memory() -> Hashes {
    Hashes::new(Memory::None)
}

#[test]
fn verifies_every_size_and_algorithm_and_reads_it_checked() {
    let Some(temporary) = folder_with_leases() else {
        return;
    };
    for size in SIZES {
        let bytes = content(size);
        let blob = stored(temporary.path(), &bytes);
        for algorithm in Algorithm::ALL {
            let hashes = no_memory();
            let descriptor = descriptor(algorithm, &bytes);
            assert!(hashes.known(&descriptor, &blob).is_none());
            let verified = hashes.verify(&descriptor, &blob, &NoProgress).unwrap();
            assert_eq!(verified.lease(), Lease::Granted);
            assert!(verified.stands());
            assert_eq!(hashes.bytes_hashed(), size as u64);
            let again = hashes.known(&descriptor, &blob).unwrap();
            assert_eq!(hashes.bytes_hashed(), size as u64);
            for (offset, length) in [
                (0, size),
                (0, size + 10),
                (0, 1),
                (size / 2, 4096),
                (CHUNK_LENGTH - 1, 2),
                (CHUNK_LENGTH, CHUNK_LENGTH),
                (2 * CHUNK_LENGTH, 2 * CHUNK_LENGTH),
                (0, 2 * CHUNK_LENGTH),
                (CHUNK_LENGTH, 5 * CHUNK_LENGTH),
                (CHUNK_LENGTH - 5, 3 * CHUNK_LENGTH),
                (size, 1),
                (size + 5, 1),
            ] {
                let expected = bytes.get(offset..).unwrap_or_default();
                let expected = expected.get(..length).unwrap_or(expected);
                let read = again.read_checked(offset as u64, length).unwrap();
                assert!(read == expected, "{algorithm:?} {size} {offset} {length}");
            }
        }
    }
}

#[test]
fn one_flipped_byte_is_found_by_hashing_and_by_checked_reads() {
    let Some(temporary) = folder_with_leases() else {
        return;
    };
    let bytes = content(3 * CHUNK_LENGTH + 77);
    for position in [
        0,
        CHUNK_LENGTH - 1,
        CHUNK_LENGTH,
        bytes.len() - 78,
        bytes.len() - 1,
    ] {
        let hashes = no_memory();
        let descriptor = sha256(&bytes);
        let blob = stored(temporary.path(), &bytes);
        let verified = hashes.verify(&descriptor, &blob, &NoProgress).unwrap();
        writer(temporary.path())
            .write_all_at(&[!bytes[position]], position as u64)
            .unwrap();
        let start = position / CHUNK_LENGTH * CHUNK_LENGTH;
        let refused = verified.read_checked(start as u64, 1);
        assert!(
            matches!(refused, Err(HashError::Changed { .. })),
            "{position}"
        );
        let other = if start == 0 { CHUNK_LENGTH } else { 0 };
        assert!(verified.read_checked(other as u64, 10).is_ok());
        for (from, size) in [(0, bytes.len()), (start, 1), (start, bytes.len())] {
            let refused = verified.read_checked(from as u64, size);
            assert!(
                matches!(refused, Err(HashError::Changed { .. })),
                "{position} from {from}"
            );
        }
        let sound = [0, 1, 2, 3].map(|chunk| chunk * CHUNK_LENGTH);
        for from in sound.into_iter().filter(|chunk| *chunk > start) {
            let read = verified.read_checked(from as u64, bytes.len()).unwrap();
            assert!(read == bytes[from..], "{position} from {from}");
        }
        assert!(hashes.known(&descriptor, &blob).is_none());
        std::thread::sleep(Duration::from_millis(120));
        for _ in 0..2 {
            let refused = hashes.verify(&descriptor, &blob, &NoProgress);
            assert!(
                matches!(refused, Err(HashError::Digest { .. })),
                "{position}"
            );
        }
        // The corrupt content is known too, so that it is hashed once only.
        assert_eq!(hashes.bytes_hashed(), 2 * bytes.len() as u64);
    }
}

#[test]
fn refuses_other_sizes_and_digests_that_cannot_be_verified() {
    let temporary = tempfile::tempdir().unwrap();
    let blob = stored(temporary.path(), b"content");
    let hashes = no_memory();
    let mut other = sha256(b"content");
    other.size = 8;
    assert!(matches!(
        hashes.verify(&other, &blob, &NoProgress),
        Err(HashError::Size {
            expected: 8,
            found: 7,
            ..
        })
    ));
    other.digest = "x:y".parse().unwrap();
    assert!(matches!(
        hashes.verify(&other, &blob, &NoProgress),
        Err(HashError::Unverifiable { .. })
    ));
    assert_eq!(hashes.bytes_hashed(), 0);
}

#[test]
fn a_result_beside_a_writer_serves_one_look() {
    let Some(temporary) = folder_with_leases() else {
        return;
    };
    let blob = stored(temporary.path(), b"content");
    let hashes = no_memory();
    let descriptor = sha256(b"content");
    let open = writer(temporary.path());
    let verified = hashes.verify(&descriptor, &blob, &NoProgress).unwrap();
    assert_eq!(verified.lease(), Lease::Writer);
    assert!(!verified.stands());
    assert!(hashes.known(&descriptor, &blob).is_none());
    drop(open);
    assert!(hashes.known(&descriptor, &blob).is_none());
    hashes.verify(&descriptor, &blob, &NoProgress).unwrap();
    assert!(hashes.known(&descriptor, &blob).is_some());
    let _open = writer(temporary.path());
    assert!(hashes.known(&descriptor, &blob).is_none());
    assert_eq!(hashes.bytes_hashed(), 14);
}

#[test]
fn a_writable_mapping_counts_as_a_writer() {
    let Some(temporary) = folder_with_leases() else {
        return;
    };
    let blob = stored(temporary.path(), b"content");
    let script = "import mmap,sys,os
f=os.open(sys.argv[1],os.O_RDWR)
m=mmap.mmap(f,7)
os.close(f)
print('mapped',flush=True)
sys.stdin.read(1)";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .arg(temporary.path().join("blob"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    let hashes = no_memory();
    let verified = hashes.verify(&sha256(b"content"), &blob, &NoProgress);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(verified.unwrap().lease(), Lease::Writer);
    let verified = hashes.verify(&sha256(b"content"), &blob, &NoProgress);
    assert_eq!(verified.unwrap().lease(), Lease::Granted);
}

#[test]
fn a_file_that_just_changed_serves_one_look() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("blob"), "content").unwrap();
    let blob = open(temporary.path());
    let hashes = no_memory();
    let descriptor = sha256(b"content");
    let verified = hashes.verify(&descriptor, &blob, &NoProgress).unwrap();
    assert!(!verified.stands());
    assert!(hashes.known(&descriptor, &blob).is_none());
}

/// Opens the file for writing while it is hashed.
struct Intruder<'a> {
    folder: &'a Path,
    calls: AtomicU32,
}

impl Progress for Intruder<'_> {
    fn expect(&self, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {
        if self.calls.fetch_add(1, Ordering::Relaxed) == 0 {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(libc::O_NONBLOCK);
            assert!(options.open(self.folder.join("blob")).is_err());
        }
    }
}

#[test]
fn a_lease_that_breaks_abandons_the_hashing_and_it_begins_again() {
    let Some(temporary) = folder_with_leases() else {
        return;
    };
    let bytes = content(3 * CHUNK_LENGTH);
    let blob = stored(temporary.path(), &bytes);
    let hashes = no_memory();
    let intruder = Intruder {
        folder: temporary.path(),
        calls: AtomicU32::new(0),
    };
    let verified = hashes.verify(&sha256(&bytes), &blob, &intruder).unwrap();
    assert_eq!(verified.lease(), Lease::Granted);
    assert_eq!(hashes.bytes_hashed(), 4 * CHUNK_BYTES);
    assert_eq!(intruder.calls.into_inner(), 3);
}

/// Cancels after the first chunk.
#[derive(Default)]
struct Impatient(AtomicBool);

impl Progress for Impatient {
    fn expect(&self, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn stops_when_cancelled() {
    let temporary = tempfile::tempdir().unwrap();
    let bytes = content(3 * CHUNK_LENGTH);
    let blob = stored(temporary.path(), &bytes);
    let hashes = no_memory();
    let refused = hashes.verify(&sha256(&bytes), &blob, &Impatient::default());
    assert!(matches!(refused, Err(HashError::Cancelled { .. })));
    assert_eq!(hashes.bytes_hashed(), CHUNK_BYTES);
}

#[test]
fn verifies_many_in_order_and_equal_ones_once() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::open(temporary.path()).unwrap();
    let mut jobs = Vec::new();
    for number in 0..20 {
        let bytes = content(number * 30_000);
        let name = format!("blob{number}");
        fs::write(temporary.path().join(&name), &bytes).unwrap();
        let mut descriptor = sha256(&bytes);
        if number == 7 {
            descriptor.digest = Digest::of(b"other");
        }
        jobs.push((descriptor, name));
    }
    std::thread::sleep(Duration::from_millis(120));
    let jobs: Vec<_> = jobs
        .iter()
        .chain(&jobs)
        .map(|(descriptor, name)| {
            let file = folder.file(Path::new(name)).unwrap().unwrap();
            (descriptor.clone(), Blob::of_file(file))
        })
        .collect();
    let hashes = no_memory();
    let results = hashes.verify_all(&jobs, &NoProgress);
    assert_eq!(results.len(), 40);
    for (position, (result, job)) in results.iter().zip(&jobs).enumerate() {
        match result {
            Ok(verified) => assert_eq!(verified.digest(), &job.0.digest),
            Err(HashError::Digest { .. }) => assert_eq!(position % 20, 7),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
    assert_eq!(
        hashes.bytes_hashed(),
        (0..20).map(|n| n * 30_000).sum::<u64>()
    );
}

#[test]
fn bytes_in_memory_are_verified_like_files() {
    let blob = Blob::Bytes(Arc::from(content(200_000)));
    let hashes = no_memory();
    let verified = hashes
        .verify(&sha256(&content(200_000)), &blob, &NoProgress)
        .unwrap();
    assert_eq!(verified.lease(), Lease::Granted);
    assert_eq!(
        verified.read_checked(150_000, 60_000).unwrap(),
        content(200_000)[150_000..]
    );
    assert!(hashes.known(&sha256(b"other"), &blob).is_none());
}

/// Returns whether another process would know the blob.
fn remembers(memory: &Path, descriptor: &Descriptor, blob: &Blob) -> bool {
    Hashes::new(Memory::Folder(memory.to_owned()))
        .known(descriptor, blob)
        .is_some()
}

/// Verifies a blob and saves that; `None` where nothing may be remembered on this machine.
fn remembered() -> Option<(TempDir, PathBuf, Descriptor, Blob)> {
    let temporary = folder_with_leases()?;
    let bytes = content(3 * CHUNK_LENGTH + 5);
    let blob = stored(temporary.path(), &bytes);
    let memory = temporary.path().join("cache/hashes");
    let hashes = Hashes::new(Memory::Folder(memory.clone()));
    hashes.verify(&sha256(&bytes), &blob, &NoProgress).unwrap();
    hashes.save().unwrap();
    let Blob::File { file, identity, .. } = &blob else {
        return None;
    };
    let may_remember = identity.mount.is_some()
        && crate::files::storage::is_local_and_fixed(file.as_fd(), identity.device);
    assert_eq!(memory.exists(), may_remember);
    may_remember.then(|| (temporary, memory, sha256(&bytes), blob))
}

#[test]
fn another_process_hashes_nothing() {
    let Some((temporary, memory, descriptor, blob)) = remembered() else {
        return;
    };
    let hashes = Hashes::new(Memory::Folder(memory.clone()));
    let verified = hashes.verify(&descriptor, &blob, &NoProgress).unwrap();
    let bytes = content(3 * CHUNK_LENGTH + 5);
    assert_eq!(verified.read_checked(0, bytes.len()).unwrap(), bytes);
    assert_eq!(hashes.bytes_hashed(), 0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&memory), 0o700);
    assert_eq!(mode(&memory.join("hashes")), 0o600);
    // A writer, or another state of the file, and it is not believed.
    let open = writer(temporary.path());
    assert!(!remembers(&memory, &descriptor, &blob));
    drop(open);
    assert!(remembers(&memory, &descriptor, &blob));
    fs::set_permissions(
        temporary.path().join("blob"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    assert!(!remembers(&memory, &descriptor, &blob));
}

#[test]
fn saving_adds_to_what_other_processes_saved() {
    let Some((_one, memory, descriptor, blob)) = remembered() else {
        return;
    };
    let other = folder_with_leases().unwrap();
    let other_blob = stored(other.path(), b"other");
    let hashes = Hashes::new(Memory::Folder(memory.clone()));
    hashes
        .verify(&sha256(b"other"), &other_blob, &NoProgress)
        .unwrap();
    hashes.save().unwrap();
    assert!(remembers(&memory, &descriptor, &blob));
    assert!(remembers(&memory, &sha256(b"other"), &other_blob));
}

#[test]
fn saving_keeps_what_was_read_and_what_came_since() {
    let Some((_one, memory, descriptor, blob)) = remembered() else {
        return;
    };
    let folders = [folder_with_leases().unwrap(), folder_with_leases().unwrap()];
    let [second, third] = [b"second", b"third "];
    let blobs = [
        stored(folders[0].path(), second),
        stored(folders[1].path(), third),
    ];
    // Both have read the file before either adds to it.
    let hashes = [(); 2].map(|()| Hashes::new(Memory::Folder(memory.clone())));
    for hashes in &hashes {
        assert!(hashes.known(&descriptor, &blob).is_some());
    }
    for (hashes, (bytes, blob)) in hashes.iter().zip([second, third].iter().zip(&blobs)) {
        let descriptor = sha256(*bytes);
        hashes.verify(&descriptor, blob, &NoProgress).unwrap();
        hashes.save().unwrap();
    }
    assert!(remembers(&memory, &descriptor, &blob));
    assert!(remembers(&memory, &sha256(second), &blobs[0]));
    assert!(remembers(&memory, &sha256(third), &blobs[1]));
}

#[test]
fn ignores_a_memory_that_is_not_as_it_was_written() {
    let Some((_temporary, memory, descriptor, blob)) = remembered() else {
        return;
    };
    let file = memory.join("hashes");
    let good = fs::read(&file).unwrap();
    let boot = good.iter().position(|byte| *byte == b'-').unwrap();
    let mut other_boot = good.clone();
    other_boot[boot + 1] ^= 1;
    let mut other_version = good.clone();
    other_version[16] = b'0';
    let mut longer = good.clone();
    longer.push(1);
    for bad in [
        &other_boot,
        &other_version,
        &longer,
        &good[..good.len() - 1].to_vec(),
        &vec![],
    ] {
        fs::write(&file, bad).unwrap();
        assert!(!remembers(&memory, &descriptor, &blob));
    }
    fs::write(&file, &good).unwrap();
    assert!(remembers(&memory, &descriptor, &blob));
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (path, mode) in [(&file, 0o644), (&memory, 0o755), (&memory, 0o770)] {
        let before = fs::metadata(path).unwrap().permissions().mode();
        set(path, mode);
        assert!(!remembers(&memory, &descriptor, &blob), "{mode:o}");
        set(path, before);
    }
    assert!(remembers(&memory, &descriptor, &blob));
    fs::rename(&file, memory.join("elsewhere")).unwrap();
    symlink("elsewhere", &file).unwrap();
    assert!(!remembers(&memory, &descriptor, &blob));
}

#[test]
fn a_memory_of_another_owner_is_neither_read_nor_written() {
    if crate::files::effective_uid() != 0 {
        return;
    }
    let Some((_temporary, memory, descriptor, blob)) = remembered() else {
        return;
    };
    let file = memory.join("hashes");
    let good = fs::read(&file).unwrap();
    for path in [&file, &memory] {
        std::os::unix::fs::chown(path, Some(12345), None).unwrap();
        assert!(!remembers(&memory, &descriptor, &blob));
        std::os::unix::fs::chown(path, Some(0), None).unwrap();
    }
    std::os::unix::fs::chown(&memory, Some(12345), None).unwrap();
    let hashes = Hashes::new(Memory::Folder(memory.clone()));
    hashes.verify(&descriptor, &blob, &NoProgress).unwrap();
    hashes.save().unwrap();
    assert_eq!(fs::read(&file).unwrap(), good);
}

#[test]
fn a_lease_taken_for_verifying_serves_the_look_after_it() {
    let Some((_folder, memory, descriptor, blob)) = remembered() else {
        return;
    };
    let Blob::File { file, .. } = &blob else {
        panic!("a blob in a folder is in a file");
    };
    let hashes = Hashes::new(Memory::Folder(memory));
    let mut look = Look::default();
    let verified = hashes.verify_by(&mut look, &descriptor, &blob, &NoProgress);
    assert!(verified.unwrap().stands());
    assert_eq!(hashes.bytes_hashed(), 0);
    assert!(crate::sys::lease::has_read_lease(file.as_fd()));
    let known = hashes.known_as(&mut look, &descriptor, &blob).unwrap();
    let Blob::File { identity, .. } = &blob else {
        panic!("a blob in a folder is in a file");
    };
    assert_eq!(known.state, Some(*identity));
    drop(look);
    assert!(!crate::sys::lease::has_read_lease(file.as_fd()));
}

#[test]
fn a_blob_hashed_without_leases_is_known_in_no_state() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let bytes = content(5000);
    let blob = stored(folder.path(), &bytes);
    let descriptor = sha256(&bytes);
    std::thread::sleep(Duration::from_millis(150));
    let hashes = no_memory();
    let verified = hashes.verify(&descriptor, &blob, &NoProgress).unwrap();
    assert_eq!(verified.lease(), Lease::Unavailable);
    let known = hashes.known_as(&mut Look::default(), &descriptor, &blob);
    assert_eq!(known.unwrap().state, None);
}

#[test]
fn what_is_known_is_told_alike_with_and_without_proof() {
    let Some((folder, memory, descriptor, blob)) = remembered() else {
        return;
    };
    let mut wrong = descriptor.clone();
    wrong.digest = Digest::of(b"other");
    let mut longer = descriptor.clone();
    longer.size += 1;
    let hashes = || Hashes::new(Memory::Folder(memory.clone()));
    let tell = |hashes: &Hashes, descriptor: &Descriptor| {
        let look = || Look::default();
        let proof = hashes.known_by(&mut look(), descriptor, &blob).is_some();
        let known = hashes.known_as(&mut look(), descriptor, &blob).is_some();
        assert_eq!(proof, known);
        known
    };
    // By the memory, and by what this process hashed, the wrong digest found included.
    let (remembering, fresh) = (hashes(), no_memory());
    assert!(fresh.verify(&wrong, &blob, &NoProgress).is_err());
    for hashes in [&remembering, &fresh] {
        assert!(tell(hashes, &descriptor));
        assert!(!tell(hashes, &wrong));
        assert!(!tell(hashes, &longer));
    }
    let open = writer(folder.path());
    assert!(!tell(&remembering, &descriptor) && !tell(&fresh, &descriptor));
    drop(open);
    assert!(tell(&remembering, &descriptor) && tell(&fresh, &descriptor));
    for hashes in [&remembering, &fresh] {
        hashes.distrust(&blob);
        assert!(!tell(hashes, &descriptor));
    }
    let bytes = Blob::Bytes(Arc::from(*b"bytes"));
    let known = |text: &[u8]| hashes().known_as(&mut Look::default(), &sha256(text), &bytes);
    assert!(known(b"bytes").is_some() && known(b"other").is_none());
}
