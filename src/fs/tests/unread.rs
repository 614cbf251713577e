//! What could not be read when it was judged, and can be a moment later.

use std::io;
use std::os::fd::OwnedFd;

use super::*;
use crate::layout::{
    Addition, Blob, Committed, Identity, IndexBytes, Listing, Source, SourceError, Stamp, Store,
};

/// Is how a file fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// It cannot be opened: no files are left.
    Open,
    /// It can, and not be read: a disk fails.
    Read,
}

/// Is a layout one file of which fails so many times more.
struct Failing {
    inner: Directory,
    next: Mutex<Option<(PathBuf, Failure, u32)>>,
}

impl Failing {
    fn fail(&self, path: impl Into<PathBuf>, failure: Failure, times: u32) {
        *lock(&self.next) = Some((path.into(), failure, times));
    }

    fn answer(
        &self,
        path: &Path,
        blob: Result<Option<Blob>, SourceError>,
    ) -> Result<Option<Blob>, SourceError> {
        let mut next = lock(&self.next);
        let Some((_, failure, times)) = next
            .as_mut()
            .filter(|(wanted, _, times)| wanted == path && *times > 0)
        else {
            return blob;
        };
        *times -= 1;
        let Failure::Read = failure else {
            return Err(SourceError::Io {
                operation: "opening",
                path: path.to_owned(),
                source: io::Error::from_raw_os_error(libc::EMFILE),
            });
        };
        let Some(Blob::File { size, identity, .. }) = blob? else {
            panic!("it is a file");
        };
        // Open for writing only: reading fails.
        let null = std::fs::File::options().write(true).open("/dev/null");
        Ok(Some(Blob::File {
            file: Arc::new(OwnedFd::from(null.unwrap())),
            offset: 0,
            size,
            identity,
        }))
    }
}

fn blob_path(digest: &Digest) -> PathBuf {
    PathBuf::from("blobs/sha256").join(digest.hex())
}

impl Source for Failing {
    fn stamp(&self) -> Result<Stamp, SourceError> {
        self.inner.stamp()
    }

    fn index(&self) -> Result<IndexBytes, SourceError> {
        self.inner.index()
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, SourceError> {
        self.answer(&blob_path(digest), self.inner.blob(digest))
    }

    fn state(&self, digest: &Digest) -> Option<Identity> {
        self.inner.state(digest)
    }

    fn tells_states(&self) -> bool {
        true
    }

    fn listing(&self) -> Result<Listing, SourceError> {
        self.inner.listing()
    }

    fn file(&self, path: &Path) -> Result<Option<Blob>, SourceError> {
        self.answer(path, self.inner.file(path))
    }
}

impl Store for Failing {
    fn commit(&self, addition: &Addition) -> Result<Committed, SourceError> {
        self.inner.commit(addition)
    }
}

/// Mounts a new layout, without the thread that hashes.
fn mounted() -> (Bench, Arc<Failing>) {
    let mut kept = None;
    let layout = |folder: &Path| {
        settle();
        let inner = Directory::open(folder).unwrap();
        let next = Mutex::default();
        let failing = Arc::new(Failing { inner, next });
        kept = Some(Arc::clone(&failing));
        Layout::Writable(failing)
    };
    let bench = Bench::unjudged_of(|_| {}, layout);
    (bench, kept.unwrap())
}

/// Waits until the times of what was written are old enough to prove something.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(150));
}

/// Has all of the layout judged again.
fn rejudged(bench: &Bench) -> Verdict {
    settle();
    let index = bench.folder.path().join("index.json");
    let bytes = std::fs::read(&index).unwrap();
    std::fs::write(&index, bytes).unwrap();
    settle();
    bench.decided()
}

#[test]
fn what_could_not_be_hashed_for_a_moment_is_hashed_again_after_one_look() {
    for failure in [Failure::Open, Failure::Read] {
        let (bench, layout) = mounted();
        layout.fail(blob_path(&bench.layers[0]), failure, 1);
        // However late it comes, a look shows what was found.
        assert_eq!(bench.judge(), Verdict::Corrupt, "{failure:?}");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert_eq!(bench.decided(), Verdict::Corrupt, "{failure:?}");
        assert_eq!(bench.decided(), Verdict::Unsigned, "{failure:?}");
    }
}

#[test]
fn what_cannot_be_opened_stays_corrupt_until_it_can() {
    let (bench, layout) = mounted();
    layout.fail(blob_path(&bench.layers[0]), Failure::Open, u32::MAX);
    assert_eq!(bench.judge(), Verdict::Corrupt);
    for _ in 0..3 {
        assert_eq!(bench.verdict(), Verdict::Corrupt, "and not pending");
    }
    layout.fail("", Failure::Open, 0);
    assert_eq!(bench.decided(), Verdict::Unsigned);
}

#[test]
fn what_could_not_be_read_for_a_moment_is_read_again_after_one_look() {
    let (bench, layout) = mounted();
    bench.judge();
    bench.fs.put_policy(policy("p256").as_bytes()).unwrap();
    bench.touch().unwrap();
    let manifest = r#"{"imageLayoutVersion":"1.0.0"}"#;
    std::fs::write(bench.folder.path().join("oci-layout"), manifest).unwrap();
    std::fs::write(bench.folder.path().join("manifest.json"), "[]").unwrap();
    assert_eq!(rejudged(&bench), Verdict::Verified);
    let report = Arc::clone(&bench.fs.current().report);
    let image = &report.images[0];
    let envelope = image.signatures[0].envelope.as_ref().unwrap();
    for (path, wanted) in [
        (blob_path(&image.descriptor.digest), Verdict::Corrupt),
        (blob_path(&envelope.digest), Verdict::Invalid),
        (PathBuf::from("manifest.json"), Verdict::Ambiguous),
        (PathBuf::from("oci-layout"), Verdict::LayoutInvalid),
    ] {
        for failure in [Failure::Open, Failure::Read] {
            settle();
            layout.fail(&path, failure, 1);
            let seen = rejudged(&bench);
            assert_eq!(lock(&layout.next).as_ref().unwrap().2, 0, "{path:?}");
            // Where reading is soon tried again, what was found is hardly seen.
            assert!(
                [wanted, Verdict::Verified].contains(&seen),
                "{path:?} {failure:?}: {seen:?}"
            );
            settle();
            let _ = bench.decided();
            assert_eq!(bench.decided(), Verdict::Verified, "{path:?} {failure:?}");
        }
    }
}
