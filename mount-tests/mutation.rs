//! One byte flipped, digests and sizes mended along; and random mutations of everything that is parsed.
//!
//! Never a panic, and never another payload, signer or time accepted. The loops run for `SIGNETFS_FUZZ_SECONDS` each (20 under
//! `CI=true`, else a moment) from `SIGNETFS_FUZZ_SEED`; the seed is printed. Where that variable or `CI` is set every byte is
//! flipped, elsewhere a share of them.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use signetfs::audit::{Asked, AuditError, Content, Selection, Trust, audit};
use signetfs::layout::{
    Blob, FileFacts, Hashes, IndexBytes, Listing, Memory, Source, SourceError, Stamp, StoredBlob,
    Tar, Timestamp,
};
use signetfs::notary::{Certificate, Envelope, IntactEnvelope, Policy, dn};
use signetfs::oci::{Digest, NoProgress, Reference, Scope, UnixTime};
use signetfs::report::{Report, ScopeOrigin, Verdict};

use crate::vectors::{Case, unpack};

/// Is a layout in memory.
#[derive(Clone)]
struct Shelf {
    index: Vec<u8>,
    blobs: BTreeMap<Digest, Arc<[u8]>>,
}

const FACTS: FileFacts = FileFacts {
    uid: 0,
    gid: 0,
    mode: 0o444,
    size: 0,
    modified: Timestamp {
        seconds: 0,
        nanoseconds: 0,
    },
    changed: Timestamp {
        seconds: 0,
        nanoseconds: 0,
    },
};

impl Source for Shelf {
    fn stamp(&self) -> Result<Stamp, SourceError> {
        Ok(Stamp::default())
    }
    fn index(&self) -> Result<IndexBytes, SourceError> {
        Ok(IndexBytes {
            bytes: Arc::from(self.index.as_slice()),
            facts: FACTS,
            stamp: Stamp::default(),
            settled: true,
        })
    }
    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, SourceError> {
        Ok(self.blobs.get(digest).cloned().map(Blob::Bytes))
    }
    fn listing(&self) -> Result<Listing, SourceError> {
        let blobs = self.blobs.keys().map(|digest| StoredBlob {
            digest: digest.clone(),
            facts: FACTS,
        });
        Ok(Listing {
            blobs: std::sync::Arc::new(blobs.collect()),
            ..Listing::default()
        })
    }
    fn file(&self, _path: &Path) -> Result<Option<Blob>, SourceError> {
        Ok(None)
    }
}

impl Shelf {
    fn read(layout: &Path) -> Self {
        let mut blobs = BTreeMap::new();
        for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let entry = entry.unwrap();
            let name = format!("sha256:{}", entry.file_name().to_str().unwrap());
            if let Ok(digest) = name.parse::<Digest>() {
                blobs.insert(digest, Arc::from(fs::read(entry.path()).unwrap()));
            }
        }
        Self {
            index: fs::read(layout.join("index.json")).unwrap(),
            blobs,
        }
    }

    /// Puts other bytes in the place of a blob, and mends every document and the index above it.
    fn replace(&mut self, old: &Digest, bytes: &[u8]) {
        let new = Digest::of(bytes);
        self.blobs.insert(new.clone(), Arc::from(bytes));
        if new == *old {
            return;
        }
        let (from, to) = (old.to_string(), new.to_string());
        let parents = self
            .blobs
            .iter()
            .filter_map(|(digest, parent)| {
                let mended = mend(parent, &from, &to, bytes.len())?;
                Some((digest.clone(), mended))
            })
            .collect::<Vec<_>>();
        if let Some(mended) = mend(&self.index, &from, &to, bytes.len()) {
            self.index = mended;
        }
        for (digest, mended) in parents {
            self.replace(&digest, &mended);
        }
    }
}

/// Returns a document with the descriptor of one blob exchanged; `None` where it has none.
fn mend(document: &[u8], from: &str, to: &str, size: usize) -> Option<Vec<u8>> {
    if !document
        .windows(from.len())
        .any(|part| part == from.as_bytes())
    {
        return None;
    }
    let mut value: Value = serde_json::from_slice(document).ok()?;
    exchange(&mut value, from, to, size);
    Some(value.to_string().into_bytes())
}

fn exchange(value: &mut Value, from: &str, to: &str, size: usize) {
    match value {
        Value::Object(object) => {
            if object.get("digest").is_some_and(|digest| digest == from) {
                object.insert("digest".to_owned(), json!(to));
                object.insert("size".to_owned(), json!(size));
            }
            object
                .values_mut()
                .for_each(|member| exchange(member, from, to, size));
        }
        Value::Array(array) => array
            .iter_mut()
            .for_each(|item| exchange(item, from, to, size)),
        _ => {}
    }
}

/// Is what a signature says, all of which must stay as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Saying {
    payload: Vec<u8>,
    certificates: Vec<Vec<u8>>,
    signing_time: UnixTime,
    expiry: Option<UnixTime>,
    scheme: &'static str,
}

impl Saying {
    fn of(intact: &IntactEnvelope) -> Self {
        let certificates = intact.chain.certificates();
        Self {
            payload: intact.payload.clone(),
            certificates: certificates.iter().map(|one| one.der().to_vec()).collect(),
            signing_time: intact.signing_time,
            expiry: intact.expiry,
            scheme: intact.scheme.name(),
        }
    }
}

/// Returns what the passing signatures of passing images say, with the digest of the image.
fn sayings(report: &Report) -> HashSet<(Digest, Saying)> {
    let passes = |verdict| matches!(verdict, Verdict::Verified | Verdict::Accepted);
    let mut all = HashSet::new();
    for image in report.images.iter().filter(|image| passes(image.verdict)) {
        for signature in &image.signatures {
            if let Some(intact) = signature
                .intact
                .as_ref()
                .filter(|_| passes(signature.verdict))
            {
                all.insert((image.descriptor.digest.clone(), Saying::of(intact)));
            }
        }
    }
    all
}

fn judge(shelf: &Shelf, trust: &Trust) -> Report {
    let scope = Scope::parse("local/x").unwrap();
    let metadata = BTreeMap::new();
    let asked = Asked {
        source: shelf,
        trust,
        scope: Some(&scope),
        scope_origin: ScopeOrigin::Flag,
        images: Selection::All,
        content: Content::Full,
        max_signatures: 100,
        metadata: &metadata,
    };
    // A fixed time inside the validity of all certificates but those made to be expired.
    let now = UnixTime(1_800_000_000);
    match audit(&asked, &Hashes::new(Memory::None), now, &NoProgress) {
        Ok(report) => report,
        Err(error @ (AuditError::NotFound { .. } | AuditError::Source(_))) => panic!("{error}"),
    }
}

/// Is a layout with at least one signature that passes.
struct Sound {
    name: String,
    shelf: Shelf,
    trust: Trust,
    said: HashSet<(Digest, Saying)>,
    /// The blobs to flip: image manifests, signature manifests, envelopes.
    targets: Vec<Digest>,
}

/// Returns the recorded cases that pass, each pair of envelope and image once.
fn sound_cases(cases: Vec<Case>) -> Vec<Sound> {
    let mut seen = HashSet::new();
    let mut sound = Vec::new();
    for case in cases.into_iter().filter(|case| case.accepted) {
        let shelf = Shelf::read(&case.layout());
        let trust = case.trust();
        let report = judge(&shelf, &trust);
        let said = sayings(&report);
        let mut targets = Vec::new();
        for image in &report.images {
            targets.push(image.descriptor.digest.clone());
            for signature in &image.signatures {
                targets.push(signature.manifest.digest.clone());
                targets.extend(signature.envelope.iter().map(|blob| blob.digest.clone()));
            }
        }
        if !said.is_empty() && seen.insert(targets.clone()) {
            sound.push(Sound {
                name: case.name,
                shelf,
                trust,
                said,
                targets,
            });
        }
    }
    assert!(sound.len() >= 20, "only {} sound cases", sound.len());
    sound
}

/// Flips one byte and returns what is wrong with what is accepted then.
fn flipped(sound: &Sound, target: &Digest, position: usize) -> Option<String> {
    let mut bytes = sound.shelf.blobs.get(target)?.to_vec();
    bytes[position] ^= 1 << (position % 8);
    let mut shelf = sound.shelf.clone();
    shelf.replace(target, &bytes);
    let report = judge(&shelf, &sound.trust);
    let news = sayings(&report);
    let strange = news.difference(&sound.said).next()?;
    Some(format!(
        "{}: byte {position} of {target} flipped: {} accepted, saying {:?}",
        sound.name, strange.0, strange.1.signing_time
    ))
}

#[test]
fn one_flipped_byte_never_makes_another_payload_signer_or_time_pass() {
    let folder = tempfile::tempdir().unwrap();
    let sound = sound_cases(unpack(folder.path()));
    let thorough = crate::support::ci() || std::env::var_os("SIGNETFS_FUZZ_SECONDS").is_some();
    let stride = if thorough { 1 } else { 16 };
    let mut work = Vec::new();
    for (number, case) in sound.iter().enumerate() {
        for target in &case.targets {
            let length = case.shelf.blobs.get(target).map_or(0, |bytes| bytes.len());
            let positions = (number % stride..length).step_by(stride);
            work.extend(positions.map(|position| (number, target, position)));
        }
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut problems = Vec::new();
        while let Some((number, target, position)) = work.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let attempt = || flipped(&sound[*number], target, *position);
            match catch_unwind(AssertUnwindSafe(attempt)) {
                Ok(problem) => problems.extend(problem),
                Err(_) => problems.push(format!(
                    "{}: byte {position} of {target} flipped: panic",
                    sound[*number].name
                )),
            }
        }
        problems
    };
    let problems = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let helpers = (0..threads).map(|_| scope.spawn(run)).collect::<Vec<_>>();
        helpers
            .into_iter()
            .flat_map(|helper| helper.join().unwrap())
            .collect::<Vec<_>>()
    });
    eprintln!("{} cases, {} flips", sound.len(), work.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Is xorshift64*: small, seeded, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    /// Changes bytes in one to four places: flips, cuts, doubles, moves, puts in words.
    fn mutate(&mut self, bytes: &mut Vec<u8>, words: &[&[u8]]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(7) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.roll() as u8,
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let part = bytes[at..end].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, part);
                }
                4 => bytes.truncate(at),
                5 if !words.is_empty() => {
                    let word = words[self.below(words.len())];
                    bytes.splice(at..at, word.iter().copied());
                }
                _ if !words.is_empty() => {
                    let word = words[self.below(words.len())];
                    bytes.splice(at..end, word.iter().copied());
                }
                _ => {}
            }
        }
    }
}

/// Runs `attempt` on mutations of the samples until the time is up.
fn fuzz(name: &str, samples: &[Vec<u8>], words: &[&[u8]], attempt: &dyn Fn(&[u8])) {
    let number = |variable: &str| {
        std::env::var(variable)
            .ok()
            .and_then(|text| text.parse().ok())
    };
    let seed: u64 = number("SIGNETFS_FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 | 1
    });
    let usual = if crate::support::ci() { 20_000 } else { 500 };
    let milliseconds = number("SIGNETFS_FUZZ_SECONDS").map_or(usual, |seconds| seconds * 1000);
    eprintln!("{name}: SIGNETFS_FUZZ_SEED={seed}, {milliseconds} ms");
    let mut dice = Dice(seed);
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let mut rounds = 0_u64;
    while rounds < 100 || Instant::now() < end {
        let mut bytes = samples[dice.below(samples.len())].clone();
        dice.mutate(&mut bytes, words);
        if catch_unwind(AssertUnwindSafe(|| attempt(&bytes))).is_err() {
            panic!(
                "{name}: SIGNETFS_FUZZ_SEED={seed}, round {rounds}: {}",
                bytes.escape_ascii()
            );
        }
        rounds += 1;
    }
    eprintln!("{name}: {rounds} rounds");
}

/// Returns the envelopes of the recorded cases that are of one media type.
fn envelopes(media_type: &str) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let mut all = HashSet::new();
    for case in unpack(folder.path()) {
        let shelf = Shelf::read(&case.layout());
        for document in shelf.blobs.values() {
            let Ok(manifest) = serde_json::from_slice::<Value>(document) else {
                continue;
            };
            for layer in manifest["layers"].as_array().into_iter().flatten() {
                let digest = layer["digest"].as_str().unwrap_or_default().parse();
                let bytes = digest
                    .ok()
                    .and_then(|digest: Digest| shelf.blobs.get(&digest));
                if layer["mediaType"] == media_type {
                    all.extend(bytes.map(|bytes| bytes.to_vec()));
                }
            }
        }
    }
    let mut all = all.into_iter().collect::<Vec<_>>();
    all.sort();
    assert!(all.len() > 3, "{} envelopes of {media_type}", all.len());
    all
}

fn fuzz_envelopes(name: &str, media_type: &str, words: &[&[u8]]) {
    let intact = |bytes: &[u8]| {
        Envelope::parse(media_type, bytes)
            .and_then(Envelope::check)
            .ok()
    };
    // From sound ones only: a mutation may mend a broken one, such as one with a byte too many.
    let mut samples = envelopes(media_type);
    samples.retain(|sample| intact(sample).is_some());
    let said = samples
        .iter()
        .filter_map(|sample| intact(sample))
        .map(|intact| Saying::of(&intact))
        .collect::<HashSet<_>>();
    assert!(said.len() > 2);
    fuzz(name, &samples, words, &|bytes| {
        if let Some(intact) = intact(bytes) {
            assert!(
                said.contains(&Saying::of(&intact)),
                "another saying is intact"
            );
        }
    });
}

#[test]
fn mutated_jws_envelopes_say_nothing_new() {
    fuzz_envelopes(
        "jws",
        "application/jose+json",
        &[
            b"\"",
            b",",
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b"\\",
            b"\\u0000",
            b"=",
            b"\n",
            b".",
            b"null",
            b"\"payload\":",
            b"\"protected\":",
            b"\"signature\":",
            b"\"header\":{",
            b"\"x5c\":[",
            b"\"Payload\":",
            b"1e999",
            b"-0",
        ],
    );
}

#[test]
fn mutated_cose_envelopes_say_nothing_new() {
    fuzz_envelopes(
        "cose",
        "application/cose",
        &[
            &[0xd2],
            &[0x84],
            &[0x9f],
            &[0xff],
            &[0xbf],
            &[0x5f],
            &[0x7f],
            &[0xc1],
            &[0xf6],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9a, 0xff, 0xff, 0xff, 0xff],
            &[0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
            &[0x81; 40],
            &[0xa1, 1, 0x38, 0x24],
        ],
    );
}

#[test]
fn mutated_policies_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let samples = unpack(folder.path())
        .iter()
        .filter_map(|case| fs::read(case.folder.join("config/trustpolicy.json")).ok())
        .filter(|bytes| !bytes.is_empty())
        .collect::<Vec<_>>();
    let scope = Scope::parse("local/x").unwrap();
    fuzz(
        "policy",
        &samples,
        &[
            b"\"",
            b",",
            b"{",
            b"}",
            b"[",
            b"]",
            b"*",
            b"x509.subject:",
            b"C=US",
            b"ST=WA",
            b"O=x",
            b"\\",
            b"\\\\2c",
            b"=#",
            b"+",
            b";",
            b"\"skip\"",
            b"\"override\":{",
            b"\"enforce\"",
            b"\"tsa:s\"",
            b"null",
        ],
        &|bytes| {
            if let Ok(policy) = Policy::parse(bytes) {
                assert!(!policy.statements.is_empty());
                let _ = policy.statement(&scope);
                assert_eq!(Policy::parse(bytes), Ok(policy));
            }
        },
    );
}

#[test]
fn mutated_names_and_certificates_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut samples = Vec::new();
    for case in unpack(folder.path()) {
        let trust = case.trust();
        for certificates in trust.anchors.stores.values().flatten() {
            for certificate in certificates {
                samples.push(certificate.der().to_vec());
                samples.push(certificate.subject.to_vec());
            }
        }
    }
    samples.sort();
    samples.dedup();
    fuzz(
        "dn",
        &samples,
        &[
            &[0x30],
            &[0x31],
            &[0x06, 3, 0x55, 4, 3],
            &[0x0c],
            &[0x13],
            &[0x1e],
            &[0x80],
            &[0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x80],
            &[0],
            &[0x17],
            &[0x18],
            &[3, 1, 7],
        ],
        &|bytes| {
            let text = dn::render(bytes);
            let _ = dn::check(bytes);
            assert_eq!(text, dn::render(bytes));
            if let Ok(certificate) = Certificate::parse(bytes) {
                assert_eq!(certificate.der(), bytes);
                let _ = (
                    certificate.subject_text(),
                    certificate.issuer_text(),
                    certificate.is_self_signed(),
                );
            }
        },
    );
}

#[test]
fn mutated_indexes_never_show_another_image_as_verified() {
    let folder = tempfile::tempdir().unwrap();
    let sound = sound_cases(unpack(folder.path()));
    for sound in sound.iter().take(3) {
        let trust = &sound.trust;
        let words: [&[u8]; 16] = [
            b"\"",
            b",",
            b"{",
            b"}",
            b"[",
            b"]",
            b"\"subject\":",
            b"\"layers\":[",
            b"\"manifests\":[",
            b"null",
            b"\"annotations\":{",
            b"\"org.opencontainers.image.ref.name\":\"v1\"",
            b"\"size\":",
            b"18446744073709551616",
            b"\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"",
            b"\"Manifests\":[",
        ];
        let signed = sound
            .said
            .iter()
            .map(|(digest, _)| digest)
            .collect::<HashSet<_>>();
        fuzz(
            "index",
            std::slice::from_ref(&sound.shelf.index),
            &words,
            &|bytes| {
                let shelf = Shelf {
                    index: bytes.to_vec(),
                    blobs: sound.shelf.blobs.clone(),
                };
                let report = judge(&shelf, trust);
                for image in &report.images {
                    if matches!(image.verdict, Verdict::Verified | Verdict::Accepted) {
                        assert!(signed.contains(&image.descriptor.digest));
                        assert_eq!(image.content_good, image.content_total);
                    }
                }
                assert_eq!(report.text().lines().next(), Some(report.verdict().token()));
                assert!(report.json().is_ascii());
            },
        );
    }
}

#[test]
fn mutated_references_never_panic() {
    let samples = [
        "./hello-world.tar:v1",
        "hello-world@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "localhost:5000/a/b:tag",
        "/x/y.oci",
        "a@b:c@d",
    ]
    .map(|text| text.as_bytes().to_vec());
    let words: [&[u8]; 9] = [
        b":",
        b"@",
        b"/",
        b"..",
        b"sha256:",
        b"%",
        b"\xc3\xa9",
        b" ",
        b"[::1]",
    ];
    fuzz("reference", &samples, &words, &|bytes| {
        let text = String::from_utf8_lossy(bytes);
        for exists in [true, false] {
            if let Ok(reference) = Reference::parse(&text, &|path| exists && !path.is_empty()) {
                assert!(!reference.path.is_empty());
                assert!(text.starts_with(&reference.path));
            }
        }
        if let Ok(scope) = Scope::parse(&text) {
            assert_eq!(scope.as_str(), text);
        }
        if let Ok(scope) = Scope::of_path(&text) {
            assert!(Scope::parse(scope.as_str()).is_ok());
        }
        if let Ok(digest) = text.parse::<Digest>() {
            assert_eq!(digest.to_string(), text);
        }
    });
}

#[test]
fn mutated_tars_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let case = unpack(folder.path()).swap_remove(0);
    let path = folder.path().join("sample.tar");
    let mut samples = Vec::new();
    for format in ["gnu", "pax", "ustar"] {
        let status = std::process::Command::new("tar")
            .args(["--format", format, "-cf"])
            .arg(&path)
            .arg("-C")
            .arg(case.layout())
            .arg(".")
            .status()
            .unwrap();
        assert!(status.success());
        samples.push(fs::read(&path).unwrap());
    }
    let words: [&[u8]; 10] = [
        b"ustar",
        b"././@LongLink",
        b"L",
        b"x",
        b"19 path=index.json\n",
        b"22 size=99999999999\n",
        &[0; 512],
        &[
            0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
        b"../",
        b"77777777777",
    ];
    let mutated = folder.path().join("mutated.tar");
    fuzz("tar", &samples, &words, &|bytes| {
        fs::write(&mutated, bytes).unwrap();
        let Ok(tar) = Tar::open(&mutated) else {
            return;
        };
        let _ = tar.index();
        for blob in tar
            .listing()
            .map(|listing| listing.blobs)
            .unwrap_or_default()
            .iter()
        {
            if let Ok(Some(blob)) = tar.blob(&blob.digest) {
                let _ = blob.read_at(&mut [0; 64], 0);
            }
        }
    });
}
