//! Archives written by hand, one for each hard case.

use super::builder::{Builder, INDEX, header, record, seal};

/// Is an archive and whether it is read.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) is_read: bool,
}

const BLOB: &str = "blobs/sha256/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

/// Returns all cases.
pub(super) fn all() -> Vec<Case> {
    let read = sound().into_iter().map(|(name, bytes)| (name, bytes, true));
    let refused = refused()
        .into_iter()
        .map(|(name, bytes)| (name, bytes, false));
    read.chain(refused)
        .map(|(name, bytes, is_read)| Case {
            name,
            bytes,
            is_read,
        })
        .collect()
}

type Named = (&'static str, Vec<u8>);

fn with_header(name: &[u8], change: impl Fn(&mut [u8; 512])) -> Builder {
    let mut block = header(name, b'0', 3);
    change(&mut block);
    seal(&mut block);
    Builder::layout().block(&block).content(b"foo")
}

fn sound() -> Vec<Named> {
    let long = format!("docs/{}", "n".repeat(150));
    let small = Builder::default().file("index.json", INDEX);
    vec![
        (
            "files before folders",
            Builder::layout()
                .file(BLOB, b"foo")
                .folder("blobs/")
                .folder("blobs/sha256/")
                .end(),
        ),
        (
            "the index last",
            Builder::default()
                .file(BLOB, b"foo")
                .file("index.json", INDEX)
                .end(),
        ),
        (
            "dot prefixes",
            Builder::default()
                .folder("./")
                .file("./index.json", INDEX)
                .file(&format!("./{BLOB}"), b"foo")
                .end(),
        ),
        (
            "one folder around",
            Builder::default()
                .file("layout/index.json", INDEX)
                .file(&format!("layout/{BLOB}"), b"foo")
                .end(),
        ),
        (
            "slashes and dots inside",
            Builder::layout().file("docs//./a", b"foo").end(),
        ),
        (
            "a hard link",
            Builder::layout()
                .file("a", b"foo")
                .link(BLOB, b'1', "a")
                .end(),
        ),
        (
            "a hard link in one folder",
            Builder::default()
                .file("layout/index.json", INDEX)
                .file("layout/a", b"foo")
                .link("layout/b", b'1', "./layout/a")
                .end(),
        ),
        (
            "a symlink that leads out",
            Builder::layout().link("docs", b'2', "/nonexistent").end(),
        ),
        (
            "the same file twice",
            Builder::layout()
                .file(BLOB, b"foo")
                .file(BLOB, b"foo")
                .end(),
        ),
        (
            "a PAX name",
            Builder::layout()
                .pax("path", long.as_bytes())
                .file("x", b"foo")
                .end(),
        ),
        (
            "the longest name that a file system holds",
            Builder::layout()
                .pax("path", "n".repeat(255).as_bytes())
                .file("x", b"foo")
                .end(),
        ),
        (
            "a GNU name",
            Builder::layout()
                .member("././@LongLink", b'L', format!("{long}\0").as_bytes())
                .file("x", b"foo")
                .end(),
        ),
        (
            "a POSIX prefix",
            with_header(b"a", |block| block[345..349].copy_from_slice(b"docs")).end(),
        ),
        (
            "a PAX size that agrees",
            Builder::layout().pax("size", b"3").file("x", b"foo").end(),
        ),
        (
            "a size in base 256",
            with_header(b"x", |block| {
                block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\0\x03")
            })
            .end(),
        ),
        (
            "a global comment",
            Builder::layout()
                .member("pax_global_header", b'g', &record("comment", b"x"))
                .file("a", b"foo")
                .end(),
        ),
        (
            "an old header",
            with_header(b"x", |block| block[257..265].fill(0)).end(),
        ),
        ("no end", Builder::layout().file("a", b"foo").bytes),
        (
            "one block of zeros",
            [Builder::layout().bytes, vec![0; 512]].concat(),
        ),
        (
            "something behind the end",
            [Builder::layout().end(), header(b"x", b'0', 0).to_vec()].concat(),
        ),
        (
            "content that looks like a header",
            Builder::layout()
                .file("x", &header(b"index.json", b'0', 0))
                .end(),
        ),
        ("a fifo", Builder::layout().member("fifo", b'6', b"").end()),
        ("nothing but an index", small.end()),
    ]
}

fn refused() -> Vec<Named> {
    let layout = Builder::layout;
    let mut desynchronised = layout().pax("size", b"1024").file("x", b"");
    desynchronised = desynchronised.file("index.json", b"{}").file("y", b"");
    vec![
        ("two indexes", layout().file("index.json", b"{}").end()),
        (
            "two indexes by a dot",
            layout().file("./index.json", b"{}").end(),
        ),
        (
            "an absolute index",
            layout().file("/index.json", b"{}").end(),
        ),
        (
            "an index by the parent",
            layout().file("docs/../index.json", b"{}").end(),
        ),
        ("a name that leads out", layout().file("../x", b"foo").end()),
        (
            "a name that no file system holds",
            layout()
                .pax("path", "n".repeat(256).as_bytes())
                .file("x", b"foo")
                .end(),
        ),
        (
            "a symlink with an empty target",
            layout().pax("linkpath", b"").link("a", b'2', "t").end(),
        ),
        (
            "a symlink with no target",
            layout().link("a", b'2', "").end(),
        ),
        (
            "a hard link to the index by an absolute name",
            layout().link("a", b'1', "/index.json").end(),
        ),
        (
            "a hard link that leads out",
            layout().link("a", b'1', "../../etc/passwd").end(),
        ),
        (
            "a hard link to a later file",
            layout().link("a", b'1', "b").file("b", b"foo").end(),
        ),
        (
            "a hard link with content",
            layout().file("b", b"foo").member("a", b'1', b"bar").end(),
        ),
        (
            "a file below a symlink",
            layout()
                .link("docs", b'2', "/nonexistent")
                .file("docs/a", b"foo")
                .end(),
        ),
        (
            "a symlink over a file",
            layout().file("a", b"foo").link("a", b'2', "b").end(),
        ),
        ("a character device", layout().member("x", b'3', b"").end()),
        ("a block device", layout().member("x", b'4', b"").end()),
        ("a sparse file", layout().member("x", b'S', b"").end()),
        (
            "a PAX sparse file",
            layout()
                .pax("GNU.sparse.major", b"1")
                .file("x", b"foo")
                .end(),
        ),
        (
            "a PAX sparse name",
            layout()
                .pax("GNU.sparse.name", b"index.json")
                .file("x", b"{}")
                .end(),
        ),
        (
            "a sparse file of Solaris",
            layout()
                .pax("SUN.holesdata", b" 0 1 2")
                .file("x", b"foo")
                .end(),
        ),
        ("a volume", layout().member("x", b'M', b"").end()),
        (
            "a volume label",
            layout().member("index.json", b'V', b"").end(),
        ),
        ("an unknown type", layout().member("x", b'Q', b"foo").end()),
        ("a PAX size that hides members", desynchronised.end()),
        (
            "a PAX size of nothing",
            layout()
                .pax("size", b"0")
                .file("x", &header(b"index.json", b'0', 0))
                .end(),
        ),
        (
            "a PAX size of a folder",
            layout()
                .pax("size", b"512")
                .folder("x")
                .file("index.json", b"{}")
                .end(),
        ),
        (
            "a folder with content",
            layout()
                .member("x", b'5', &header(b"index.json", b'0', 0))
                .end(),
        ),
        (
            "a file with the name of a folder",
            layout().member("x/", b'0', b"").end(),
        ),
        ("a GNU name that goes on behind its size", {
            let mut block = header(b"././@LongLink", b'L', 3);
            seal(&mut block);
            layout()
                .block(&block)
                .content(b"docs/a\0")
                .file("x", b"foo")
                .end()
        }),
        ("a PAX record behind the size of its header", {
            let both = [record("comment", b"x"), record("path", b"index.json")].concat();
            let size = record("comment", b"x").len() as u64;
            layout()
                .block(&header(b"PaxHeaders/x", b'x', size))
                .content(&both)
                .file("x", b"{}")
                .end()
        }),
        (
            "an empty PAX name",
            layout().pax("path", b"").file("x", b"foo").end(),
        ),
        (
            "a PAX name with a zero byte",
            layout().pax("path", b"a\0b").file("x", b"foo").end(),
        ),
        (
            "a PAX name and a GNU name",
            layout()
                .pax("path", b"a")
                .member("L", b'L', b"b\0")
                .file("x", b"foo")
                .end(),
        ),
        (
            "two PAX headers",
            layout()
                .pax("path", b"a")
                .pax("path", b"b")
                .file("x", b"foo")
                .end(),
        ),
        (
            "a global name",
            layout()
                .member("g", b'g', &record("path", b"index.json"))
                .file("x", b"{}")
                .end(),
        ),
        (
            "a GNU header with a prefix",
            with_header(b"index.json", |block| {
                block[257..265].copy_from_slice(b"ustar  \0");
                block[345..349].copy_from_slice(b"docs");
            })
            .end(),
        ),
        (
            "an old header with a prefix",
            with_header(b"index.json", |block| {
                block[257..265].fill(0);
                block[345..349].copy_from_slice(b"docs");
            })
            .end(),
        ),
        (
            "a mode that is no number",
            with_header(b"x", |block| block[100..108].copy_from_slice(b"rwxrwxrw")).end(),
        ),
        (
            "an owner that is no number",
            with_header(b"x", |block| block[108..116].copy_from_slice(b"rootroot")).end(),
        ),
        (
            "a negative size",
            with_header(b"x", |block| block[124..136].fill(0xff)).end(),
        ),
        ("a wrong checksum", {
            let mut bytes = layout().file("x", b"foo").end();
            bytes[2048] ^= 1;
            bytes
        }),
        (
            "a lone block of zeros",
            [
                layout().bytes,
                vec![0; 512],
                Builder::default().file("index.json", b"{}").end(),
            ]
            .concat(),
        ),
        ("an archive that is cut off", {
            let mut bytes = layout().file("x", &[b'x'; 2000]).bytes;
            bytes.truncate(bytes.len() - 600);
            bytes
        }),
    ]
}
