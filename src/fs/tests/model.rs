//! Random operations against a reference: a table of names and bytes that knows what each operation does to it.
//!
//! `SIGNETFS_ROUNDS` multiplies the cases.

mod looking;
mod reference;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::fs::create::{Create, Existing, Rename};
use crate::fs::setattr::{Change, NewTime};
use crate::layout::Timestamp;
use crate::tree::inode::{POLICY, SIGN, STATUS};
use reference::{POLICY_NAME, Reference, TAGS, text_of};

/// The names of scratch files that operations use.
const SCRATCH: [&str; 3] = ["a.tmp", "b.tmp", "trustpolicy.json~"];
const EXTRAS: [&str; 2] = ["README", "notes"];

/// Is one operation. Numbers choose among the few names there are.
#[derive(Debug, Clone)]
enum Operation {
    WritePolicy {
        document: usize,
        way: usize,
    },
    RemovePolicy,
    RenamePolicyAway,
    RenameToPolicy(usize),
    Touch,
    TouchByStranger,
    SetOldTime,
    RequestLine(usize),
    WriteScratch {
        name: usize,
        offset: u64,
        length: usize,
    },
    CutScratch {
        name: usize,
        size: u64,
    },
    RenameScratch {
        from: usize,
        to: usize,
    },
    RemoveScratch(usize),
    Tag {
        tag: usize,
        image: usize,
    },
    Untag(usize),
    Flip(usize),
    WriteExtra {
        name: usize,
        length: usize,
    },
    RemoveExtra(usize),
    Refused(usize),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        4 => (0..4_usize, 0..3_usize).prop_map(|(document, way)| Operation::WritePolicy { document, way }),
        1 => Just(Operation::RemovePolicy),
        1 => Just(Operation::RenamePolicyAway),
        2 => (0..3_usize).prop_map(Operation::RenameToPolicy),
        3 => Just(Operation::Touch),
        1 => Just(Operation::TouchByStranger),
        1 => Just(Operation::SetOldTime),
        1 => (0..3_usize).prop_map(Operation::RequestLine),
        3 => (0..3_usize, 0..40_u64, 0..30_usize)
            .prop_map(|(name, offset, length)| Operation::WriteScratch { name, offset, length }),
        1 => (0..3_usize, 0..40_u64).prop_map(|(name, size)| Operation::CutScratch { name, size }),
        2 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Operation::RenameScratch { from, to }),
        1 => (0..3_usize).prop_map(Operation::RemoveScratch),
        4 => (0..3_usize, 0..3_usize).prop_map(|(tag, image)| Operation::Tag { tag, image }),
        3 => (0..3_usize).prop_map(Operation::Untag),
        2 => (0..3_usize).prop_map(Operation::Flip),
        1 => (0..2_usize, 0..50_usize).prop_map(|(name, length)| Operation::WriteExtra { name, length }),
        1 => (0..2_usize).prop_map(Operation::RemoveExtra),
        2 => (0..12_usize).prop_map(Operation::Refused),
    ];
    prop::collection::vec(operation, 1..20)
}

/// Is a file system with the reference it has to agree with.
struct Pair {
    bench: Bench,
    reference: Reference,
    /// The number of each path, for ever.
    inodes: BTreeMap<String, u64>,
    /// The time and bytes of each synthetic file when it was last seen.
    times: BTreeMap<String, (Timestamp, Vec<u8>)>,
}

impl Pair {
    fn new() -> Self {
        let bench = Bench::new();
        let reference = Reference::new(bench.folder.path());
        Self {
            bench,
            reference,
            inodes: BTreeMap::new(),
            times: BTreeMap::new(),
        }
    }

    fn create(&self, name: &str, open: Mode) -> Result<(u64, u64), FsError> {
        let create = Create {
            folder: ROOT,
            name: OsStr::new(name),
            mode: 0o600,
            open,
            existing: Existing::Take,
            caller: OWNER,
            process: OWNER.pid,
        };
        let created = self.bench.fs.create(&self.bench.fs.fresh(), &create);
        created.map(|(stat, opened)| (stat.inode, opened.handle))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let rename = Rename {
            from: (ROOT, OsStr::new(from)),
            to: (ROOT, OsStr::new(to)),
            existing: Existing::Take,
            caller: OWNER,
        };
        self.bench.fs.rename(&self.bench.fs.fresh(), &rename)
    }

    fn unlink(&self, name: &str) -> Result<(), FsError> {
        let fs = &self.bench.fs;
        fs.unlink(&fs.fresh(), (ROOT, OsStr::new(name)), OWNER)
    }

    fn set(&self, inode: u64, modified: Option<NewTime>, caller: Caller) -> Result<(), FsError> {
        let change = Change {
            inode,
            handle: None,
            size: None,
            mode: None,
            modified,
            caller,
        };
        let fs = &self.bench.fs;
        fs.setattr(&fs.fresh(), &change).map(drop)
    }

    /// Writes a document to the policy as tools do: over it, by renaming, or emptying it first and appending.
    fn write_policy(&self, text: &str, way: usize) -> Result<(), FsError> {
        let fs = &self.bench.fs;
        if way == 1 {
            let (inode, handle) = self.create("new.tmp", Mode::Truncate)?;
            fs.write(handle, 0, text.as_bytes())?;
            fs.release(inode, handle);
            let renamed = self.rename("new.tmp", POLICY_NAME);
            let _ = self.unlink("new.tmp");
            return renamed;
        }
        let exists = fs.fresh().tree.entry(POLICY).is_some();
        let mode = if way == 2 {
            Mode::Append
        } else {
            Mode::Truncate
        };
        if way == 2 && exists {
            let emptied = self.bench.open(POLICY, Mode::Truncate, OWNER)?;
            fs.release(POLICY, emptied);
        }
        let (_, handle) = self.create(POLICY_NAME, mode)?;
        // In two parts, as pipes give it.
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        let written = fs
            .write(handle, 0, first)
            .and_then(|()| fs.write(handle, first.len() as u64, second));
        let flushed = fs.flush(handle, OWNER.pid);
        fs.release(POLICY, handle);
        written.and(flushed)
    }

    fn request(&self, line: &str) -> Result<(), FsError> {
        let handle = self.bench.open(SIGN, Mode::Truncate, OWNER)?;
        let written = self.bench.fs.write(handle, 0, line.as_bytes());
        self.bench.fs.release(SIGN, handle);
        written
    }

    /// Does an operation on both sides, and compares how it went.
    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::WritePolicy { document, way } => {
                let went = self.write_policy(&text_of(document), way);
                let empties = way == 2 && self.reference.policy.is_some();
                let expected = self.reference.put_policy(&text_of(document), empties);
                assert_eq!(went.is_ok(), expected, "{went:?}");
            }
            Operation::RemovePolicy => {
                let went = self.unlink(POLICY_NAME);
                let taken = self.reference.take_policy();
                assert_eq!(went.is_ok(), taken.is_some(), "{went:?}");
            }
            Operation::RenamePolicyAway => {
                let went = self.rename(POLICY_NAME, SCRATCH[2]);
                let taken = self.reference.take_policy();
                assert_eq!(went.is_ok(), taken.is_some(), "{went:?}");
                if let Some(text) = taken {
                    let scratch = &mut self.reference.scratch;
                    scratch.insert(SCRATCH[2].to_owned(), text.into_bytes());
                }
            }
            Operation::RenameToPolicy(name) => {
                let went = self.rename(SCRATCH[name], POLICY_NAME);
                let expected = self.reference.rename_to_policy(SCRATCH[name]);
                assert_eq!(went.is_ok(), expected, "{went:?}");
            }
            Operation::Touch => {
                let went = self.set(SIGN, Some(NewTime::Now), OWNER);
                assert_eq!(went.is_ok(), self.reference.touch(), "{went:?}");
            }
            Operation::TouchByStranger => {
                let went = self.set(SIGN, Some(NewTime::Now), STRANGER);
                assert!(matches!(went, Err(FsError::WrongUid { .. })), "{went:?}");
            }
            Operation::SetOldTime => {
                for inode in [SIGN, STATUS] {
                    let _ = self.set(inode, Some(NewTime::At(Timestamp::default())), OWNER);
                }
            }
            Operation::RequestLine(line) => {
                let line = ["# a comment\n", "tag=absent\n", "loudly\n"][line];
                let went = self.request(line);
                assert_eq!(went.is_ok(), line.starts_with('#'), "{went:?}");
                self.reference.refused |= went.is_err();
            }
            _ => self.apply_to_scratch(operation),
        }
    }

    fn apply_to_scratch(&mut self, operation: &Operation) {
        match *operation {
            Operation::WriteScratch {
                name,
                offset,
                length,
            } => {
                let name = SCRATCH[name];
                let bytes = vec![b'a' + offset as u8 % 26; length];
                let (inode, handle) = self.create(name, Mode::Write).unwrap();
                self.bench.fs.write(handle, offset, &bytes).unwrap();
                self.bench.fs.release(inode, handle);
                self.reference.write_scratch(name, offset as usize, &bytes);
            }
            Operation::CutScratch { name, size } => {
                let name = SCRATCH[name];
                let found = self
                    .bench
                    .fs
                    .lookup(&self.bench.fs.fresh(), ROOT, OsStr::new(name));
                let bytes = self.reference.scratch.get_mut(name);
                assert_eq!(found.is_ok(), bytes.is_some());
                if let (Ok(stat), Some(bytes)) = (found, bytes) {
                    let change = Change {
                        inode: stat.inode,
                        handle: None,
                        size: Some(size),
                        mode: None,
                        modified: None,
                        caller: OWNER,
                    };
                    let fs = &self.bench.fs;
                    assert_eq!(
                        fs.setattr(&fs.fresh(), &change).unwrap().attributes.size,
                        size
                    );
                    bytes.resize(size as usize, 0);
                }
            }
            Operation::RenameScratch { from, to } => {
                let went = self.rename(SCRATCH[from], SCRATCH[to]);
                let taken = self.reference.scratch.remove(SCRATCH[from]);
                assert_eq!(went.is_ok(), taken.is_some(), "{went:?}");
                if let Some(bytes) = taken {
                    self.reference.scratch.insert(SCRATCH[to].to_owned(), bytes);
                }
            }
            Operation::RemoveScratch(name) => {
                let went = self.unlink(SCRATCH[name]);
                let taken = self.reference.scratch.remove(SCRATCH[name]);
                assert_eq!(went.is_ok(), taken.is_some(), "{went:?}");
            }
            _ => self.apply_beneath(operation),
        }
    }

    /// Changes the layout beneath the mount, or tries what is refused.
    fn apply_beneath(&mut self, operation: &Operation) {
        match *operation {
            Operation::Tag { tag, image } => self.reference.tag(TAGS[tag], image),
            Operation::Untag(tag) => self.reference.untag(TAGS[tag]),
            Operation::Flip(image) => {
                let (path, position, byte) = self.reference.flip(image);
                let file = std::fs::File::options().write(true).open(path).unwrap();
                file.write_all_at(&[byte], position).unwrap();
            }
            Operation::WriteExtra { name, length } => {
                self.reference
                    .write_extra(EXTRAS[name], &vec![b'e'; length]);
            }
            Operation::RemoveExtra(name) => self.reference.remove_extra(EXTRAS[name]),
            Operation::Refused(number) => self.refused(number),
            _ => unreachable!("applied above"),
        }
    }

    /// Tries what is never allowed.
    fn refused(&self, number: usize) {
        let fs = &self.bench.fs;
        let went = match number {
            0 => self.create("other", Mode::Write).map(drop),
            1 => self.create("index.json", Mode::Write).map(drop),
            2 => self.unlink("blobs"),
            3 => self.rename("index.json", SCRATCH[0]),
            4 => fs
                .make_other(&fs.fresh(), ROOT, OsStr::new("link"))
                .map(drop),
            5 => self.create("sign", Mode::Write).map(drop),
            6 => self.unlink("sign"),
            7 => self.unlink("verify-status"),
            8 => self.rename("sign", SCRATCH[0]),
            9 => self.bench.open(STATUS, Mode::Truncate, OWNER).map(drop),
            10 => self
                .bench
                .open(self.bench.inode("index.json"), Mode::Write, OWNER)
                .map(drop),
            _ => self.bench.open(POLICY, Mode::Write, STRANGER).map(drop),
        };
        let is_right = match number {
            0..=4 | 10 => matches!(went, Err(FsError::ReadOnlyContent)),
            5..=8 => matches!(went, Err(FsError::ControlName)),
            9 => matches!(went, Err(FsError::ReadOnlyStatus)),
            _ => matches!(went, Err(FsError::WrongUid { .. } | FsError::StaleInode)),
        };
        assert!(is_right, "{number}: {went:?}");
    }
}

#[test]
fn random_operations_agree_with_the_reference() {
    let rounds = std::env::var("SIGNETFS_ROUNDS").ok();
    let rounds: u32 = rounds.and_then(|text| text.parse().ok()).unwrap_or(1);
    let config = Config {
        cases: 16 * rounds,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&operations(), |operations| {
            let mut pair = Pair::new();
            pair.compare();
            for operation in &operations {
                pair.apply(operation);
                pair.compare();
            }
            Ok(())
        })
        .unwrap();
}
