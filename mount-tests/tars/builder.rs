//! Makes archives block by block, sound ones and odd ones.

/// Is an index.json that lists nothing.
pub(super) const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

/// Builds an archive member by member.
#[derive(Default, Clone)]
pub(super) struct Builder {
    pub(super) bytes: Vec<u8>,
    /// Where the headers are.
    headers: Vec<usize>,
}

/// Returns a POSIX header; `kind` is the type.
pub(super) fn header(name: &[u8], kind: u8, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let name = &name[..name.len().min(100)];
    block[..name.len()].copy_from_slice(name);
    let mode = if kind == b'5' {
        "0000755\0"
    } else {
        "0000644\0"
    };
    block[100..108].copy_from_slice(mode.as_bytes());
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000001750\0");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

/// Sets the checksum.
pub(super) fn seal(block: &mut [u8]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Returns a PAX record with its length.
pub(super) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

impl Builder {
    /// Returns a layout of two files.
    pub(super) fn layout() -> Self {
        Self::default()
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", INDEX)
    }

    pub(super) fn block(mut self, block: &[u8; 512]) -> Self {
        self.headers.push(self.bytes.len());
        self.bytes.extend_from_slice(block);
        self
    }

    pub(super) fn content(mut self, content: &[u8]) -> Self {
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn member(self, name: &str, kind: u8, content: &[u8]) -> Self {
        self.block(&header(name.as_bytes(), kind, content.len() as u64))
            .content(content)
    }

    pub(super) fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(name, b'0', content)
    }

    pub(super) fn folder(self, name: &str) -> Self {
        self.member(name, b'5', b"")
    }

    pub(super) fn link(self, name: &str, kind: u8, target: &str) -> Self {
        let mut block = header(name.as_bytes(), kind, 0);
        block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        seal(&mut block);
        self.block(&block)
    }

    pub(super) fn pax(self, key: &str, value: &[u8]) -> Self {
        let record = record(key, value);
        self.block(&header(b"PaxHeaders/x", b'x', record.len() as u64))
            .content(&record)
    }

    /// Returns the archive with its end.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

/// Gives numbers that follow from a seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Returns a number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Returns true once in `n` times.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const NAMES: [&str; 14] = [
    "a",
    "b",
    "docs/a",
    "docs/b",
    "docs/deep/er/c",
    "./a",
    "docs//a",
    "docs/./b",
    "docs",
    "docs/",
    "blobs/sha256/",
    "blobs/sha256/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "n\u{e9}",
    "with space",
];

/// Returns a layout with members of many forms, and sometimes a few bytes changed.
pub(super) fn odd(random: &mut Random) -> Vec<u8> {
    let prefix = *random.pick(&["", "", "", "./", "layout/"]);
    let mut builder = Builder::default();
    if random.one_in(2) {
        builder = builder.file(&format!("{prefix}index.json"), INDEX);
    }
    for _ in 0..random.below(6) {
        let name = format!("{prefix}{}", random.pick(&NAMES));
        builder = one_member(builder, &name, random);
    }
    builder = builder.file(&format!("{prefix}index.json"), INDEX);
    let headers = builder.headers.clone();
    let mut bytes = builder.bytes;
    if random.one_in(2) {
        for _ in 0..=random.below(2) {
            mutate(&mut bytes, *random.pick(&headers), random);
        }
    }
    bytes.resize(bytes.len() + 512 * random.pick(&[0, 1, 2, 2, 2, 2, 18]), 0);
    if random.one_in(20) {
        bytes.truncate(bytes.len() - 1 - random.below(bytes.len() / 2));
    }
    if random.one_in(10) {
        bytes.extend_from_slice(&header(b"behind", b'0', 0));
    }
    bytes
}

fn one_member(builder: Builder, name: &str, random: &mut Random) -> Builder {
    let content = *random.pick(&[&b"foo"[..], b"foo", b"foo", b"", b"bar", &[b'x'; 600]]);
    let embedded = header(b"index.json", b'0', 2);
    match random.below(24) {
        0..5 => builder.file(name, content),
        5 => builder.folder(name),
        6 => builder.link(
            name,
            b'2',
            random.pick::<&str>(&["a", "../x", "/nonexistent"]),
        ),
        7 => builder.link(
            name,
            b'1',
            random.pick::<&str>(&["a", "b", "./a", "index.json", "docs/a"]),
        ),
        8 => builder.member(name, b'6', b""),
        9 => builder.pax("path", name.as_bytes()).file("short", content),
        10 => builder
            .pax("size", content.len().to_string().as_bytes())
            .file(name, content),
        11 => builder
            .pax("size", random.below(2000).to_string().as_bytes())
            .file(name, content),
        12 => builder
            .member("././@LongLink", b'L', format!("{name}\0").as_bytes())
            .file("short", content),
        13 => builder
            .member("pax_global_header", b'g', &record("comment", b"x"))
            .file(name, content),
        14 => builder.pax("mtime", b"1.5").file(name, content),
        15 => {
            let key = *random.pick(&[
                "GNU.sparse.size",
                "hdrcharset",
                "linkpath",
                "uid",
                "path",
                "size",
            ]);
            let value = *random.pick(&[&b"1"[..], b"", b"x", b"BINARY"]);
            builder.pax(key, value).file(name, content)
        }
        16 => {
            let kind = *random.pick(b"0\x0012345678SVLKMDNxgXA");
            builder.member(name, kind, content)
        }
        17 => builder.file(name, &embedded),
        18 => {
            let mut block = header(name.as_bytes(), b'0', content.len() as u64);
            match random.below(4) {
                0 => block[257..265].copy_from_slice(b"ustar  \0"),
                1 => block[257..265].fill(0),
                2 => block[124..136].copy_from_slice(format!("{:>11o} ", content.len()).as_bytes()),
                _ => {
                    block[124..136].fill(0);
                    block[124] = 0x80;
                    block[134..136].copy_from_slice(&(content.len() as u16).to_be_bytes());
                }
            }
            seal(&mut block);
            builder.block(&block).content(content)
        }
        19 => {
            let mut block = header(name.as_bytes(), b'0', content.len() as u64);
            block[345..349].copy_from_slice(b"docs");
            if random.one_in(3) {
                block[257..265].copy_from_slice(b"ustar  \0");
            }
            seal(&mut block);
            builder.block(&block).content(content)
        }
        20 => builder
            .pax("comment", b"x")
            .pax("path", b"y")
            .file(name, content),
        21 => {
            let long = "n".repeat(254 + random.below(4));
            builder.pax("path", long.as_bytes()).file("short", content)
        }
        22 => {
            let target = "t/".repeat(random.below(1000));
            builder
                .pax("linkpath", target.as_bytes())
                .link(name, b'2', "t")
        }
        _ => builder.block(&[0; 512]),
    }
}

/// Changes a byte or a field of a header, or of what follows it, and mends the checksum mostly.
fn mutate(bytes: &mut [u8], at: usize, random: &mut Random) {
    let fields = [
        0, 99, 100, 108, 116, 124, 125, 134, 135, 136, 147, 156, 157, 257, 262, 263, 265, 297, 329,
        337, 345, 482, 499, 500, 508,
    ];
    let place = match random.below(4) {
        0 => at + random.below(512),
        1 => (at + 512 + random.below(40)).min(bytes.len() - 1),
        _ => at + random.pick(&fields),
    };
    bytes[place] = match random.below(3) {
        0 => random.below(256) as u8,
        1 => *random.pick(b"\0 0179/.x=\n-+\x80\xff"),
        _ => bytes[place] ^ (1 << random.below(8)),
    };
    if !random.one_in(8) {
        seal(&mut bytes[at..at + 512]);
    }
}
