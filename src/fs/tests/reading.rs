use std::os::fd::BorrowedFd;

use super::*;
use crate::fs::content::{Backing, Path as BlobPath};
use crate::fs::open::Data;

impl Bench {
    fn blob(&self, digest: &Digest) -> String {
        format!("blobs/sha256/{}", digest.hex())
    }

    /// Opens a blob as a kernel with passthrough does.
    fn open_blob(&self, digest: &Digest, offered: bool) -> Result<(u64, Data), FsError> {
        let open = Open {
            inode: self.inode(&self.blob(digest)),
            mode: Mode::Read,
            caller: OWNER,
            process: 1,
        };
        let mut register = |_: BorrowedFd<'_>| match offered {
            true => Ok(Arc::new(7_u32) as Backing),
            false => Err(std::io::Error::from_raw_os_error(libc::EPERM)),
        };
        let opened = self.fs.open(&self.fs.fresh(), &open, &mut register)?;
        Ok((opened.handle, opened.data))
    }

    fn has_leases(&self) -> bool {
        self.fs.fresh().report.leases
    }
}

fn is_passthrough(data: &Data) -> bool {
    matches!(data, Data::Blob(BlobPath::Passthrough(_)))
}

#[test]
fn blobs_and_files_read_as_they_are_stored() {
    let bench = Bench::new();
    for digest in &bench.layers {
        let shown = bench.read(&bench.blob(digest)).unwrap();
        assert!(digest.matches(&shown));
    }
    let stored = std::fs::read(bench.folder.path().join("oci-layout")).unwrap();
    assert_eq!(bench.read("oci-layout").unwrap(), stored);
}

#[test]
fn an_unhashed_blob_is_hashed_by_its_first_read() {
    let bench = Bench::unjudged(|_| {});
    assert_eq!(bench.fs.hashes.bytes_hashed(), 0);
    let shown = bench.read(&bench.blob(&bench.layers[0])).unwrap();
    assert_eq!(shown.len(), 5000);
    assert_eq!(bench.fs.hashes.bytes_hashed(), 5000);
    assert_eq!(bench.fs.current().report.verdict(), Verdict::Pending);
}

#[test]
fn a_blob_that_is_not_what_its_name_says_is_not_read() {
    let bench = Bench::new();
    let path = bench.path(&bench.layers[1]);
    std::fs::write(&path, vec![b'x'; 200_000]).unwrap();
    let read = bench.read(&bench.blob(&bench.layers[1]));
    assert!(matches!(read, Err(FsError::Corrupt { .. })), "{read:?}");
    assert_eq!(bench.decided(), Verdict::Corrupt);
    std::fs::write(&path, vec![b'b'; 200_000]).unwrap();
    assert!(bench.read(&bench.blob(&bench.layers[1])).is_ok());
    assert_eq!(bench.decided(), Verdict::Unsigned);
}

#[test]
fn no_read_ends_early_where_a_blob_was_cut_or_mended() {
    let bench = Bench::new();
    let (path, name) = (bench.path(&bench.layers[1]), bench.blob(&bench.layers[1]));
    let inode = bench.inode(&name);
    let size = || {
        let stat = bench.fs.getattr(&bench.fs.fresh(), inode, None).unwrap();
        stat.attributes.size
    };
    let held = bench.open(inode, Mode::Read, OWNER).unwrap();
    for length in [1000, 0] {
        std::fs::write(&path, vec![b'b'; length]).unwrap();
        // The kernel asks again, and reads as far as it is told then.
        let stale = bench.read(&name);
        assert!(matches!(stale, Err(FsError::StaleInode)), "{stale:?}");
        assert!(!bench.fs.is_blob(inode), "the next look reads the layout");
        let read = bench.read(&name);
        assert!(matches!(read, Err(FsError::Corrupt { .. })), "{read:?}");
        assert_eq!(size(), 200_000, "it is open");
    }
    bench.fs.release(inode, held);
    assert_eq!(size(), 0);
    std::fs::write(&path, vec![b'b'; 200_000]).unwrap();
    let stale = bench.read(&name);
    assert!(matches!(stale, Err(FsError::StaleInode)), "{stale:?}");
    assert_eq!(bench.read(&name).unwrap().len(), 200_000);
    assert_eq!(size(), 200_000);
}

#[test]
fn the_two_data_paths_are_never_mixed_on_one_inode() {
    let bench = Bench::new();
    if !bench.has_leases() {
        return;
    }
    bench.fs.allow_passthrough();
    let large = bench.layers[1].clone();
    let inode = bench.inode(&bench.blob(&large));
    let (first, data) = bench.open_blob(&large, true).unwrap();
    assert!(is_passthrough(&data));
    let (second, data) = bench.open_blob(&large, true).unwrap();
    assert!(is_passthrough(&data));
    // Written in place: the open handles are the kernel's, and no new one may join them.
    std::fs::write(bench.path(&large), vec![b'x'; 200_000]).unwrap();
    let refused = bench.open_blob(&large, true).map(drop);
    assert!(
        matches!(refused, Err(FsError::Changed { .. })),
        "{refused:?}"
    );
    bench.fs.release(inode, first);
    assert!(bench.open_blob(&large, true).is_err());
    bench.fs.release(inode, second);
    // Now it opens checked, and does not read.
    let (third, data) = bench.open_blob(&large, true).unwrap();
    assert!(matches!(data, Data::Blob(BlobPath::Dropped)));
    bench.fs.release(inode, third);
    assert!(bench.read(&bench.blob(&large)).is_err());
}

#[test]
fn passthrough_is_for_large_files_whose_hash_stands() {
    let bench = Bench::unjudged(|_| {});
    bench.fs.allow_passthrough();
    let (_, data) = bench.open_blob(&bench.layers[1], true).unwrap();
    assert!(!is_passthrough(&data), "an unhashed blob");
    let (_, data) = bench.open_blob(&bench.layers[0], true).unwrap();
    assert!(!is_passthrough(&data), "a small blob");
    let bench = Bench::with(|options| options.reads = Reads::Checked);
    bench.fs.allow_passthrough();
    let (_, data) = bench.open_blob(&bench.layers[1], true).unwrap();
    assert!(!is_passthrough(&data), "--reads checked");
}

#[test]
fn a_kernel_that_refuses_passthrough_is_not_asked_again() {
    let bench = Bench::new();
    bench.fs.allow_passthrough();
    let (_, data) = bench.open_blob(&bench.layers[1], false).unwrap();
    assert!(!is_passthrough(&data));
    if bench.has_leases() {
        assert!(!bench.fs.uses_passthrough());
    }
}

#[test]
fn an_older_handle_on_an_extra_reads_what_was_opened_last() {
    let bench = Bench::new();
    let path = bench.folder.path().join("notes");
    std::fs::write(&path, b"one").unwrap();
    let inode = bench.inode("notes");
    let old = bench.open(inode, Mode::Read, OWNER).unwrap();
    std::fs::write(path.with_extension("new"), b"two").unwrap();
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    assert_eq!(bench.text("notes"), "two");
    let (sender, receiver) = std::sync::mpsc::channel();
    let answer = Box::new(move |read| sender.send(read).unwrap());
    bench.fs.read((inode, old), (0, 10), answer);
    assert_eq!(receiver.recv().unwrap().unwrap(), b"two");
    bench.fs.release(inode, old);
    assert!(bench.fs.plains.is_empty());
}

#[test]
fn attributes_of_blobs_tell_digests_that_were_really_hashed() {
    let bench = Bench::unjudged(|_| {});
    let inode = bench.inode(&bench.blob(&bench.layers[0]));
    let name = OsStr::new("user.checksum.sha256");
    let get = |fs: &Fs| fs.getxattr(&fs.fresh(), inode, name);
    assert!(matches!(get(&bench.fs), Err(FsError::NoAttribute)));
    bench.judge();
    assert_eq!(get(&bench.fs).unwrap(), bench.layers[0].hex().as_bytes());
    let listed = |inode, caller| bench.fs.listxattr(&bench.fs.fresh(), inode, caller);
    let names = b"user.checksum.sha256\0user.oci.media-type\0";
    let root = Caller { uid: 0, ..OWNER };
    assert_eq!(listed(inode, root).unwrap(), names);
    assert!(listed(inode, OWNER).unwrap().is_empty());
    let foreign = bench
        .fs
        .getxattr(&bench.fs.fresh(), inode, OsStr::new("security.selinux"));
    assert!(matches!(foreign, Err(FsError::UnsupportedAttribute)));
    let fact = OsStr::new("user.signetfs.scope");
    assert_eq!(
        bench.fs.getxattr(&bench.fs.fresh(), ROOT, fact).unwrap(),
        b"local/test"
    );
    assert!(listed(ROOT, root).unwrap().is_empty());
}

#[test]
fn every_read_of_a_blob_whose_hash_does_not_stand_is_answered() {
    let bench = Bench::new();
    let blob = bench.blob(&bench.layers[0]);
    // A writer keeps it from being remembered: every handle has it hashed again, right after the one before.
    let writer = std::fs::OpenOptions::new()
        .append(true)
        .open(bench.path(&bench.layers[0]))
        .unwrap();
    for _ in 0..2000 {
        assert_eq!(bench.read(&blob).unwrap().len(), 5000);
    }
    drop(writer);
    std::fs::write(bench.path(&bench.layers[0]), vec![b'x'; 5000]).unwrap();
    for _ in 0..2000 {
        assert!(bench.read(&blob).is_err());
    }
}
