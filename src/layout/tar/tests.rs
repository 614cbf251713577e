use std::fs;
use std::io::Write;

use tempfile::NamedTempFile;

use super::scan::{Content, Member};
use super::*;
use crate::layout::ExtraKind;

const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

/// Builds an archive member by member.
#[derive(Default, Clone)]
struct Builder(Vec<u8>);

/// Returns a header; `flag` is the type.
fn header(name: &str, flag: u8, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000001750\0");
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

fn seal(block: &mut [u8; 512]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Builder {
    fn block(mut self, block: &[u8; 512]) -> Self {
        self.0.extend_from_slice(block);
        self
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn member(self, name: &str, flag: u8, content: &[u8]) -> Self {
        self.block(&header(name, flag, content.len() as u64))
            .content(content)
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(name, b'0', content)
    }

    fn folder(self, name: &str) -> Self {
        self.member(name, b'5', b"")
    }

    fn link(self, name: &str, flag: u8, target: &str) -> Self {
        let mut block = header(name, flag, 0);
        block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        seal(&mut block);
        self.block(&block)
    }

    fn pax(self, records: &str) -> Self {
        self.member("PaxHeaders/x", b'x', records.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn layout() -> Builder {
    Builder::default().file("index.json", INDEX)
}

/// Returns a small archive for other tests.
pub(in crate::layout) fn layout_bytes() -> Vec<u8> {
    layout().file("oci-layout", b"{}").end()
}

fn stored(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn open(bytes: &[u8]) -> Result<Tar, SourceError> {
    Tar::open(stored(bytes).path())
}

/// Returns why an archive is refused.
fn problem(bytes: &[u8]) -> String {
    match open(bytes) {
        Err(SourceError::Archive { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

fn read(tar: &Tar, path: &str) -> Vec<u8> {
    let blob = tar.file(Path::new(path)).unwrap().unwrap();
    blob.read_all(1 << 20).unwrap()
}

fn blob_path(content: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(content).hex())
}

#[test]
fn reads_any_order_prefix_and_leading_folder() {
    for prefix in ["", "./", ".//./", "hello-world/", "./hello world/"] {
        for order in [false, true] {
            let mut names = [
                (format!("{prefix}blobs/"), None),
                (
                    format!("{prefix}{}", blob_path(b"content")),
                    Some(&b"content"[..]),
                ),
                (format!("{prefix}index.json"), Some(INDEX)),
            ];
            if order {
                names.reverse();
            }
            let mut builder = Builder::default();
            for (name, content) in names {
                builder = match content {
                    Some(content) => builder.file(&name, content),
                    None => builder.folder(&name),
                };
            }
            let tar = open(&builder.end()).unwrap();
            assert_eq!(&*tar.index().unwrap().bytes, INDEX);
            let blob = tar.blob(&Digest::of(b"content")).unwrap().unwrap();
            assert_eq!(blob.read_all(7).unwrap(), b"content");
            assert!(tar.blob(&Digest::of(b"other")).unwrap().is_none());
            let listing = tar.listing().unwrap();
            assert_eq!(listing.blobs.len(), 1);
            let folders: Vec<_> = listing
                .folders
                .iter()
                .map(|f| f.0.to_str().unwrap())
                .collect();
            assert_eq!(folders, ["blobs", "blobs/sha256"]);
            assert!(listing.extras.is_empty() && listing.hidden == 0);
        }
    }
}

#[test]
fn is_no_layout_without_one_index() {
    let two = Builder::default()
        .file("a/index.json", INDEX)
        .file("b/index.json", INDEX);
    let folder = Builder::default().folder("index.json/");
    for bytes in [
        Vec::new(),
        vec![0; 10_240],
        two.end(),
        folder.file("x", b"").end(),
    ] {
        let result = open(&bytes).and_then(|tar| tar.index().map(|_| ()));
        assert!(
            matches!(
                result,
                Err(SourceError::NotALayout { .. } | SourceError::NotRegular { .. })
            ),
            "{result:?}"
        );
    }
}

#[test]
fn lists_extras_hidden_and_leftovers_as_a_directory_does() {
    let bytes = layout()
        .file("oci-layout", b"{}")
        .file(&blob_path(b"x"), b"x")
        .file("blobs/sha256/temporary", b"x")
        .file("ingest/x", b"x")
        .folder("ingest/")
        .file(".signetfs-1", b"x")
        .file("docs/deep/file", b"text")
        .link("docs/link", b'2', "../../outside")
        .member("docs/fifo", b'6', b"")
        .link("oci-put-blob1", b'2', "x")
        .end();
    let listing = open(&bytes).unwrap().listing().unwrap();
    assert!(listing.oci_layout.is_some());
    assert_eq!(listing.hidden, 1);
    let leftovers: Vec<_> = listing
        .leftovers
        .iter()
        .map(|p| p.to_str().unwrap())
        .collect();
    assert_eq!(
        leftovers,
        [
            ".signetfs-1",
            "blobs/sha256/temporary",
            "ingest",
            "oci-put-blob1"
        ]
    );
    let extras: Vec<_> = listing
        .extras
        .iter()
        .map(|extra| {
            (
                extra.path.to_str().unwrap(),
                extra.kind.clone(),
                extra.facts.mode,
            )
        })
        .collect();
    assert_eq!(
        extras,
        [
            ("docs", ExtraKind::Directory, 0o555),
            ("docs/deep", ExtraKind::Directory, 0o555),
            ("docs/deep/file", ExtraKind::File, 0o444),
            (
                "docs/link",
                ExtraKind::Link(PathBuf::from("../../outside")),
                0o777
            ),
        ]
    );
    assert_eq!(listing.blobs[0].facts.modified.seconds, 0o1750);
}

#[test]
fn reads_pax_and_gnu_names_and_sizes() {
    let long = format!("docs/{}", "n".repeat(200));
    let record = format!("path={long}\n");
    let record = format!("{} {record}", record.len() + 4);
    assert_eq!(record.len(), 215);
    let mut gnu = header("size", b'0', 0);
    gnu[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\0\x03");
    gnu[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut gnu);
    let mut posix = header("tail", b'0', 1);
    posix[345..351].copy_from_slice(b"prefix");
    seal(&mut posix);
    let bytes = layout()
        .pax(&format!("{record}20 mtime=-1.5000000\n"))
        .file("short", b"by pax")
        .member("././@LongLink", b'L', format!("{long}-gnu\0").as_bytes())
        .file("short", b"by gnu")
        .pax("10 size=7\n")
        .file("sized", b"content")
        .block(&gnu)
        .content(b"abc")
        .block(&posix)
        .content(b"z")
        .member("ignored", b'g', b"13 comment=x\n")
        .end();
    let tar = open(&bytes).unwrap();
    assert_eq!(read(&tar, &long), b"by pax");
    assert_eq!(read(&tar, &format!("{long}-gnu")), b"by gnu");
    assert_eq!(read(&tar, "sized"), b"content");
    assert_eq!(read(&tar, "size"), b"abc");
    assert_eq!(read(&tar, "prefix/tail"), b"z");
    let listing = tar.listing().unwrap();
    let time = listing
        .extras
        .iter()
        .find(|extra| extra.path == Path::new(&long));
    assert_eq!(
        time.unwrap().facts.modified,
        Timestamp {
            seconds: -2,
            nanoseconds: 500_000_000,
        }
    );
}

#[test]
fn reads_members_beyond_eight_gigabytes() {
    let size: u64 = 9 << 30;
    let start = Builder::default()
        .pax(&format!("19 size={size}\n"))
        .block(&header("large", b'0', 0))
        .0;
    let end = layout().end();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&start).unwrap();
    let behind = start.len() as u64 + size;
    file.as_file().set_len(behind).unwrap();
    std::os::unix::fs::FileExt::write_all_at(file.as_file(), &end, behind).unwrap();
    let tar = Tar::open(file.path()).unwrap();
    assert_eq!(tar.file(Path::new("large")).unwrap().unwrap().size(), size);
    assert_eq!(&*tar.index().unwrap().bytes, INDEX);
}

#[test]
fn resolves_hard_links_within_the_archive_only() {
    let blob = blob_path(b"content");
    let bytes = layout()
        .file("original", b"content")
        .link(&blob, b'1', "./original")
        .link("chained", b'1', &blob)
        .end();
    let tar = open(&bytes).unwrap();
    assert_eq!(read(&tar, &blob), b"content");
    assert_eq!(read(&tar, "chained"), b"content");
    assert_eq!(tar.listing().unwrap().hidden, 0);
    let original = || {
        layout()
            .file("original", b"content")
            .folder("folder")
            .link("soft", b'2', "original")
    };
    for target in [
        "later",
        "/etc/passwd",
        "/original",
        "../original",
        "folder",
        "soft",
        "",
    ] {
        let bytes = original().link("hard", b'1', target).file("later", b"x");
        let problem = problem(&bytes.end());
        assert!(problem.contains("no file before it"), "{target}: {problem}");
    }
    let bytes = original().link("./original", b'1', "original");
    let problem = problem(&bytes.end());
    assert!(problem.contains("a hard link to itself"), "{problem}");
}

#[test]
fn a_symlink_in_the_place_of_a_blob_is_not_followed() {
    let bytes = layout()
        .file("content", b"content")
        .link(&blob_path(b"content"), b'2', "../../content")
        .end();
    let tar = open(&bytes).unwrap();
    assert!(matches!(
        tar.blob(&Digest::of(b"content")),
        Err(SourceError::NotRegular { .. })
    ));
    assert_eq!(tar.listing().unwrap().hidden, 1);
}

/// Returns a header that was changed by `change` and sealed.
fn changed(kind: u8, size: u64, change: impl Fn(&mut [u8; 512])) -> [u8; 512] {
    let mut block = header("x", kind, size);
    change(&mut block);
    seal(&mut block);
    block
}

/// Checks that each archive is refused, with words and at an offset.
#[track_caller]
fn refused(cases: Vec<(Vec<u8>, &str, usize)>) {
    for (bytes, expected, at) in cases {
        let Err(SourceError::Archive {
            problem, advice, ..
        }) = open(&bytes)
        else {
            panic!("{expected:?} is read");
        };
        assert!(
            problem.contains(expected),
            "{problem:?} instead of {expected:?}"
        );
        let place = format!("at byte {at}: ");
        assert!(
            problem.contains(&place),
            "{problem:?} is not {place:?} ({expected:?})"
        );
        assert!(advice.len() > 20, "{expected:?}: {advice:?}");
    }
}

#[test]
fn refuses_two_of_a_name() {
    let file = |name: &str| layout().file(name, b"x");
    refused(vec![
        (
            layout().file("index.json", b"{}").end(),
            "there twice, and not the same: the other is at byte 0",
            1024,
        ),
        (layout().file("./index.json", b"{}").end(), "twice", 1024),
        (file("a").file("a", b"y").end(), "twice", 2048),
        (file("a").folder("a/").end(), "twice", 2048),
        (file("a").link("a", b'2', "x").end(), "twice", 2048),
        (file("a").file("a/b", b"").end(), "no folder", 2048),
        (
            layout().file("a/b", b"").file("a", b"x").end(),
            "no folder",
            1024,
        ),
        (
            layout().link("a", b'2', "/tmp").file("a/b", b"").end(),
            "no folder",
            1536,
        ),
        (
            layout()
                .link("blobs", b'2', ".")
                .file("blobs/sha256/x", b"")
                .end(),
            "no folder",
            1536,
        ),
    ]);
}

#[test]
fn refuses_names_that_lead_out_of_the_archive() {
    for name in [
        "/index.json",
        "/x",
        "../x",
        "a/../index.json",
        "a/..",
        "..",
        "//x",
    ] {
        refused(vec![(
            layout().file(name, b"x").end(),
            "leads out of the archive",
            1024,
        )]);
        let pax = format!("path={name}\n");
        let pax = format!("{} {pax}", pax.len() + 3);
        refused(vec![(
            layout().pax(&pax).file("y", b"x").end(),
            "leads out of the archive",
            2048,
        )]);
    }
    refused(vec![
        (layout().file(".", b"x").end(), "no name", 1024),
        (layout().file("", b"x").end(), "no name", 1024),
    ]);
}

#[test]
fn refuses_kinds_of_entries_that_a_layout_cannot_use() {
    refused(vec![
        (layout().member("x", b'S', b"").end(), "sparse", 1024),
        (
            layout().pax("22 GNU.sparse.major=1\n").file("x", b"").end(),
            "sparse",
            1024,
        ),
        (
            layout().pax("20 SUN.holesdata= 0\n").file("x", b"").end(),
            "sparse",
            1024,
        ),
        (
            layout().pax("22 SCHILY.realsize=10\n").file("x", b"").end(),
            "sparse",
            1024,
        ),
        (
            layout()
                .pax("26 SCHILY.filetype=sparse\n")
                .file("x", b"")
                .end(),
            "SCHILY.filetype",
            1024,
        ),
        (layout().member("x", b'M', b"").end(), "volume", 1024),
        (layout().member("x", b'V', b"").end(), "volume label", 1024),
        (layout().member("x", b'D', b"").end(), "type D", 1024),
        (layout().member("x", b'X', b"").end(), "type X", 1024),
        (layout().member("x", b'A', b"").end(), "type A", 1024),
        (layout().member("x", b'3', b"").end(), "device", 1024),
        (layout().member("x", b'4', b"").end(), "device", 1024),
    ]);
}

#[test]
fn refuses_headers_that_readers_understand_differently() {
    let gnu = |change: fn(&mut [u8; 512])| {
        changed(b'0', 0, |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            change(block);
        })
    };
    let with = |block: [u8; 512]| layout().block(&block).end();
    let mut sum = header("x", b'0', 0);
    sum[0] = b'y';
    let mut lone = layout().0;
    lone.extend_from_slice(&[0; 512]);
    refused(vec![
        (
            with(changed(b'0', 0, |b| {
                b[257..265].copy_from_slice(b"ustar!!!")
            })),
            "unknown magic",
            1024,
        ),
        (with(sum), "checksum", 1024),
        (
            with(changed(b'0', 0, |b| {
                b[124..136].copy_from_slice(&[0xff; 12])
            })),
            "negative",
            1024,
        ),
        (
            with(changed(b'0', 0, |b| {
                b[124..136].copy_from_slice(b"0 0000000007")
            })),
            "size is not a number",
            1024,
        ),
        (
            with(changed(b'0', 0, |b| {
                b[100..108].copy_from_slice(b"rw-r--r-")
            })),
            "mode is not a number",
            1024,
        ),
        (
            with(changed(b'0', 0, |b| {
                b[108..116].copy_from_slice(b"root\0\0\0\0")
            })),
            "owner is not a number",
            1024,
        ),
        (
            with(changed(b'0', 0, |b| {
                b[136..148].copy_from_slice(b"yesterday\0\0\0")
            })),
            "time is not a number",
            1024,
        ),
        (
            with(gnu(|b| b[345..351].copy_from_slice(b"prefix"))),
            "only a POSIX header",
            1024,
        ),
        (
            with(changed(b'0', 0, |b| {
                b[257..265].fill(0);
                b[345..351].copy_from_slice(b"prefix");
            })),
            "only a POSIX header",
            1024,
        ),
        (
            [&lone[..], &header("x", b'0', 0), &[0; 1024]].concat(),
            "lone block",
            1024,
        ),
        (b"not a tar".to_vec(), "cut off", 0),
    ]);
}

#[test]
fn refuses_sizes_that_readers_understand_differently() {
    refused(vec![
        (
            layout().member("x", b'1', b"data").end(),
            "no content",
            1024,
        ),
        (
            layout().member("x", b'2', b"data").end(),
            "no content",
            1024,
        ),
        (
            layout().member("x", b'6', b"data").end(),
            "no content",
            1024,
        ),
        (
            layout().member("x/", b'5', b"data").end(),
            "no content",
            1024,
        ),
        (
            layout().member("x/", b'0', b"data").end(),
            "name of a folder",
            1024,
        ),
        (
            layout().member("x/", b'0', b"").end(),
            "name of a folder",
            1024,
        ),
        (
            layout().member("x/", b'7', b"").end(),
            "name of a folder",
            1024,
        ),
        (
            layout().pax("10 size=8\n").file("x", b"content").end(),
            "PAX size 8 and its header's size 7 disagree",
            2048,
        ),
        (
            // One reader finds a member in what the other takes for content.
            layout()
                .pax("12 size=512\n")
                .file("x", b"")
                .file("index.json", b"")
                .end(),
            "PAX size 512 and its header's size 0 disagree",
            2048,
        ),
        (
            layout()
                .pax("10 size=0\n")
                .file("x", &header("index.json", b'0', 0))
                .end(),
            "PAX size 0 and its header's size 512 disagree",
            2048,
        ),
        (
            layout().pax("10 size=7\n").folder("x/").end(),
            "disagree",
            2048,
        ),
        (
            layout()
                .pax("10 size=7\n")
                .link("x", b'1', "index.json")
                .end(),
            "disagree",
            2048,
        ),
    ]);
}

#[test]
fn refuses_headers_before_headers_that_readers_understand_differently() {
    refused(vec![
        (
            layout()
                .pax("10 path=x\n")
                .pax("10 path=y\n")
                .file("z", b"")
                .end(),
            "two PAX",
            2048,
        ),
        (layout().pax("10 path=x\n").end(), "before no member", 1024),
        (
            layout().pax("10 path=x").file("z", b"").end(),
            "malformed",
            1024,
        ),
        (
            layout().pax("11 path=x/\n").file("z", b"").end(),
            "name of a folder",
            2048,
        ),
        (
            layout()
                .pax("10 path=x\n")
                .member("L", b'L', b"y\0")
                .file("z", b"")
                .end(),
            "both a PAX name",
            3072,
        ),
        (
            layout().member("L", b'L', b"a\0b\0").file("z", b"").end(),
            "long name",
            1024,
        ),
        (
            layout()
                .block(&header("L", b'L', 3))
                .content(b"docs/a\0")
                .file("z", b"")
                .end(),
            "padding of a header's content",
            1024,
        ),
        (
            layout()
                .block(&header("x", b'x', 10))
                .content(b"10 path=x\n10 path=y\n")
                .file("z", b"")
                .end(),
            "padding of a header's content",
            1024,
        ),
        (
            layout()
                .member("x", b'g', b"10 path=x\n")
                .file("z", b"")
                .end(),
            "global header changes",
            1024,
        ),
        (
            layout()
                .pax("10 path=x\n")
                .member("x", b'g', b"13 comment=x\n")
                .file("z", b"")
                .end(),
            "before a member's own",
            2048,
        ),
        (
            layout()
                .member("x", b'L', &[b'n'; 5000])
                .file("z", b"")
                .end(),
            "more than 4095 bytes",
            6656,
        ),
        (
            layout()
                .member("x", b'x', &vec![b' '; 70_000])
                .file("z", b"")
                .end(),
            "more than 65536 bytes",
            1024,
        ),
    ]);
}

#[test]
fn names_what_compressed_it() {
    for (bytes, expected) in [
        (&b"\x1f\x8b\x08"[..], "ends early"),
        (b"\x28\xb5\x2f\xfd", "ends early"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"BZh9", "compressed with bzip2"),
    ] {
        let problem = problem(bytes);
        assert!(problem.contains(expected), "{problem:?}: {expected:?}");
    }
}

#[test]
fn equal_members_of_one_name_are_one() {
    let tar = open(
        &layout()
            .file("./index.json", INDEX)
            .folder("a")
            .folder("a/")
            .end(),
    )
    .unwrap();
    assert_eq!(&*tar.index().unwrap().bytes, INDEX);
}

#[test]
fn every_truncation_is_refused_or_harmless() {
    let bytes = layout()
        .file(&blob_path(b"content"), b"content")
        .pax("10 path=x\n")
        .file("y", b"z");
    let whole = bytes.clone().end();
    let length = bytes.0.len();
    for cut in (0..whole.len()).step_by(64) {
        match open(&whole[..cut]) {
            // At the border between two members, or behind them, nothing shows that anything is missing.
            Ok(tar) => {
                assert!(cut == 1024 || cut == 2048 || cut >= length, "{cut}");
                assert_eq!(&*tar.index().unwrap().bytes, INDEX);
            }
            Err(SourceError::NotALayout { .. }) => assert_eq!(cut, 0),
            Err(SourceError::Archive { problem, .. }) => {
                let expected = ["cut off", "before no member"];
                assert!(
                    expected.iter().any(|text| problem.contains(text)),
                    "{problem}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn stops_at_the_end_of_the_first_archive() {
    let bytes = [layout().end(), layout().file("second", b"").end()].concat();
    let tar = open(&bytes).unwrap();
    assert!(tar.file(Path::new("second")).unwrap().is_none());
}

#[test]
fn limits_headers_and_names() {
    let at_limit = |length: usize| {
        let value = "v".repeat(length - 15);
        format!("{length} comment={value}\n")
    };
    let record = at_limit(65_536);
    assert_eq!(record.len(), 65_536);
    assert!(open(&layout().pax(&record).file("x", b"").end()).is_ok());
    let larger = at_limit(65_537);
    assert!(problem(&layout().pax(&larger).file("x", b"").end()).contains("65536 bytes"));
    let named = |name: String| {
        layout()
            .member("L", b'L', format!("{name}\0").as_bytes())
            .file("x", b"")
            .end()
    };
    assert!(open(&named("n".repeat(255))).is_ok());
    assert!(open(&named(format!("{}/{}", "n".repeat(255), "m".repeat(255)))).is_ok());
    assert!(problem(&named("n".repeat(256))).contains("more than 255 bytes"));
    assert!(problem(&named(format!("a/{}/b", "n".repeat(256)))).contains("more than 255 bytes"));
    let longest = vec!["n".repeat(255); 16].join("/");
    assert_eq!(longest.len(), 4095);
    assert!(open(&named(longest.clone())).is_ok());
    assert!(problem(&named(format!("{longest}n"))).contains("more than 4095 bytes"));
    let target = |length: usize| {
        let name = format!("{}\0", "t".repeat(length));
        layout()
            .member("L", b'K', name.as_bytes())
            .link("x", b'2', "")
            .end()
    };
    assert!(open(&target(4095)).is_ok());
    assert!(problem(&target(4096)).contains("more than 4095 bytes"));
}

#[test]
fn notices_that_the_path_names_another_archive() {
    let file = stored(&layout().end()).into_temp_path();
    let tar = Tar::open(&file).unwrap();
    let stamp = tar.stamp().unwrap();
    assert_eq!(tar.index().unwrap().stamp, stamp);
    assert!(!tar.index().unwrap().settled);
    std::thread::sleep(std::time::Duration::from_millis(120));
    assert!(tar.index().unwrap().settled);
    let other = stored(&Builder::default().file("index.json", b"{}").end());
    fs::rename(other.path(), &file).unwrap();
    assert_ne!(tar.stamp().unwrap(), stamp);
    assert_eq!(&*tar.index().unwrap().bytes, b"{}");
    fs::rename(stored(b"no tar at all").path(), &file).unwrap();
    assert!(matches!(tar.index(), Err(SourceError::Archive { .. })));
    fs::remove_file(&file).unwrap();
    assert_eq!(&*tar.index().unwrap().bytes, b"{}");
}

#[test]
fn an_archive_that_somebody_may_still_write_is_not_settled() {
    let Some(temporary) = crate::files::lease::folder_with_leases() else {
        return;
    };
    let path = temporary.path().join("layout.tar");
    fs::write(&path, layout().end()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(120));
    // Nothing is written, so that no time changes: a mapping can be written into like that.
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let tar = Tar::open(&path).unwrap();
    let first = tar.held();
    assert!(!tar.index().unwrap().settled);
    assert!(
        !Arc::ptr_eq(&first, &tar.held()),
        "its headers were read again"
    );
    drop(writer);
    assert!(tar.index().unwrap().settled);
    let last = tar.held();
    assert!(tar.index().unwrap().settled);
    assert!(Arc::ptr_eq(&last, &tar.held()));
}

#[test]
fn a_flipped_bit_in_a_header_never_passes_for_other_content() {
    let content = b"content";
    let whole = layout().file(&blob_path(content), content).end();
    for position in (0..512).chain(1024..1536) {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[position] ^= 1 << bit;
            let Ok(tar) = open(&bytes) else { continue };
            assert_eq!(&*tar.index().unwrap().bytes, INDEX, "{position} {bit}");
            let blob = tar.blob(&Digest::of(content)).unwrap().unwrap();
            assert_eq!(blob.read_all(100).unwrap(), content, "{position} {bit}");
        }
    }
}

/// Returns a header with a prefix and a trailer, as POSIX and star have them.
fn prefixed(prefix: &[u8], trailer: &[u8]) -> [u8; 512] {
    let mut block = header("b", b'0', 0);
    block[345..345 + prefix.len()].copy_from_slice(prefix);
    block[508..508 + trailer.len()].copy_from_slice(trailer);
    seal(&mut block);
    block
}

#[test]
fn refuses_a_prefix_that_ends_earlier_to_some_readers() {
    let archive = |prefix: &[u8], trailer: &[u8]| layout().block(&prefixed(prefix, trailer)).end();
    let long = problem(&archive(&[b'a'; 155], b"tar\0"));
    assert!(long.contains("star's header"), "{long}");
    for (prefix, trailer) in [(155, &b""[..]), (130, b"tar\0")] {
        let tar = open(&archive(&vec![b'a'; prefix], trailer)).unwrap();
        assert_eq!(read(&tar, &format!("{}/b", "a".repeat(prefix))), b"");
    }
}

#[test]
fn refuses_what_begins_like_another_kind_of_file() {
    for start in [
        &b"!<arch>\n"[..],
        b"\x04\x22\x4d\x18",
        b"\xed\xab\xee\xdb",
        b"LZIP\0\x01",
        b"begin 644 x\nM",
    ] {
        let mut block = header("", b'0', 0);
        block[..start.len()].copy_from_slice(start);
        seal(&mut block);
        let text = problem(&[&block[..], &layout().end()].concat());
        assert!(text.contains("is no text"), "{text}");
        // Behind the first header it is a name like any other.
        let later = [&layout().0, &block[..], &[0; 1024]].concat();
        assert!(!open(&later).is_err_and(|error| error.to_string().contains("is no text")));
    }
    let named = [&header("\u{fc}ber/", b'5', 0)[..], &layout().end()].concat();
    assert!(open(&named).is_ok());
}

#[test]
fn bounds_what_names_and_duplicates_cost() {
    let deep = |depth: usize| layout().file(&vec!["d"; depth].join("/")[..], b"").end();
    assert!(open(&deep(50)).is_ok());
    let long = |depth: usize| {
        let name = vec!["d"; depth].join("/");
        let record = format!("path={name}\n");
        let size = record.len() + 4;
        let size = if size + 1 > 999 { size + 1 } else { size };
        layout()
            .pax(&format!("{size} {record}"))
            .file("x", b"")
            .end()
    };
    assert!(open(&long(128)).is_ok());
    assert!(problem(&long(129)).contains("128 components"));
    let content = [0; 3000];
    let twice = |links: usize| {
        let mut builder = layout().file("a", &content).file("b", &content);
        for position in 0..links {
            builder = builder.link("x", b'1', if position % 2 == 0 { "a" } else { "b" });
        }
        builder.end()
    };
    assert!(open(&twice(3)).is_ok());
    assert!(problem(&twice(40)).contains("takes too long"));
    let member = Member {
        name: b"a/b/c/d/e/f/g/h".to_vec(),
        content: Content::SymLink(vec![b't'; 100]),
        modified: (0, 0),
        at: 0,
    };
    assert_eq!(member.names_bytes(), 15 * 4 + 100);
}
