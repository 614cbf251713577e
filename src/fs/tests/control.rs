mod touching;
mod truncating;

use super::*;
use crate::fs::create::{Create, Existing, Rename};
use crate::fs::policy_file::PolicyOpen;
use crate::fs::setattr::{Change, NewTime};
use crate::layout::Timestamp;
use crate::tree::inode::{POLICY, SIGN, STATUS};

const POLICY_NAME: &str = "trustpolicy.json";

fn touch(inode: u64, caller: Caller) -> Change {
    Change {
        inode,
        handle: None,
        size: None,
        mode: None,
        modified: Some(NewTime::Now),
        caller,
    }
}

impl Bench {
    fn create(&self, name: &str, caller: Caller) -> Result<(u64, u64), FsError> {
        let create = Create {
            folder: ROOT,
            name: OsStr::new(name),
            mode: 0o600,
            open: Mode::Write,
            existing: Existing::Take,
            caller,
            process: caller.pid,
        };
        let created = self.fs.create(&self.fs.fresh(), &create);
        created.map(|(stat, opened)| (stat.inode, opened.handle))
    }

    /// Writes the policy as `cp` does.
    fn copy_policy(&self, text: &str) -> Result<(), FsError> {
        let exists = self.fs.fresh().tree.entry(POLICY).is_some();
        let handle = match exists {
            true => self.open(POLICY, Mode::Truncate, OWNER)?,
            false => self.create(POLICY_NAME, OWNER)?.1,
        };
        let written = self.fs.write(handle, 0, text.as_bytes());
        let flushed = self.fs.flush(handle, OWNER.pid);
        self.fs.release(POLICY, handle);
        written.and(flushed)
    }

    pub(super) fn touch(&self) -> Result<(), FsError> {
        let change = touch(SIGN, OWNER);
        self.fs.setattr(&self.fs.fresh(), &change).map(drop)
    }

    fn policy_in_force(&self) -> Option<String> {
        let policy = self.fs.fresh().basis.policy.clone();
        policy.map(|policy| String::from_utf8(policy.bytes.to_vec()).unwrap())
    }
}

#[test]
fn a_touch_signs_and_the_status_shows_it() {
    let bench = Bench::new();
    assert_eq!(bench.verdict(), Verdict::Unsigned);
    bench.copy_policy(&policy("p256")).unwrap();
    bench.touch().unwrap();
    assert_eq!(
        bench.verdict(),
        Verdict::Verified,
        "{}",
        bench.text("verify-status")
    );
    assert!(bench.text("verify-status").starts_with("verified\n"));
    assert_eq!(bench.text("sign"), "");
    // Touching again leaves it alone; another policy decides otherwise.
    let before = bench.read("index.json").unwrap();
    bench.touch().unwrap();
    assert_eq!(bench.read("index.json").unwrap(), before);
    bench.copy_policy(&policy("p384")).unwrap();
    assert_eq!(bench.verdict(), Verdict::Untrusted);
}

#[test]
fn nothing_but_a_touch_signs() {
    let bench = Bench::new();
    let before = bench.read("index.json").unwrap();
    let explicit = Some(NewTime::At(Timestamp::default()));
    for change in [
        Change {
            modified: explicit,
            ..touch(SIGN, OWNER)
        },
        Change {
            modified: None,
            mode: Some(0o600),
            ..touch(SIGN, OWNER)
        },
        Change {
            modified: None,
            size: Some(0),
            ..touch(SIGN, OWNER)
        },
        Change {
            modified: explicit,
            size: Some(0),
            ..touch(SIGN, OWNER)
        },
    ] {
        bench.fs.setattr(&bench.fs.fresh(), &change).unwrap();
    }
    for mode in [Mode::Truncate, Mode::Write, Mode::Append] {
        let handle = bench.open(SIGN, mode, OWNER).unwrap();
        bench.fs.write(handle, 0, b"# comment\n\n").unwrap();
        bench.fs.flush(handle, OWNER.pid).unwrap();
        bench.fs.release(SIGN, handle);
    }
    assert_eq!(bench.read("index.json").unwrap(), before);
    assert_eq!(bench.verdict(), Verdict::Unsigned);
}

#[test]
fn strangers_change_nothing_root_included() {
    let bench = Bench::new();
    let is_wrong =
        |result: Result<(), FsError>| matches!(result, Err(FsError::WrongUid { uid: 0 }));
    assert!(is_wrong(bench.open(SIGN, Mode::Write, STRANGER).map(drop)));
    assert!(is_wrong(bench.create(POLICY_NAME, STRANGER).map(drop)));
    assert!(is_wrong(bench.create("x.tmp", STRANGER).map(drop)));
    let change = touch(SIGN, STRANGER);
    assert!(is_wrong(
        bench.fs.setattr(&bench.fs.fresh(), &change).map(drop)
    ));
    bench.copy_policy(&policy("p256")).unwrap();
    assert!(is_wrong(
        bench.open(POLICY, Mode::Truncate, STRANGER).map(drop)
    ));
    let name = OsStr::new(POLICY_NAME);
    assert!(is_wrong(bench.fs.unlink(
        &bench.fs.fresh(),
        (ROOT, name),
        STRANGER
    )));
    let truncate = Change {
        size: Some(0),
        ..touch(POLICY, STRANGER)
    };
    assert!(is_wrong(
        bench.fs.setattr(&bench.fs.fresh(), &truncate).map(drop)
    ));
    // What strangers try is not told as the reason of a refusal.
    assert!(bench.fs.fresh().basis.refused.is_none());
    assert_eq!(bench.policy_in_force().unwrap(), policy("p256"));
}

#[test]
fn a_whole_document_is_judged_at_the_write_that_completes_it() {
    let bench = Bench::new();
    let text = policy("p256");
    let (first, second) = text.as_bytes().split_at(40);
    let (_, handle) = bench.create(POLICY_NAME, OWNER).unwrap();
    // A shell duplicates its descriptor and closes the copy before it writes.
    bench.fs.flush(handle, OWNER.pid).unwrap();
    bench.fs.write(handle, 0, first).unwrap();
    assert!(bench.policy_in_force().is_none());
    // A child that inherited the handle ends; the opener is not done yet.
    bench.fs.flush(handle, 77).unwrap();
    bench.fs.write(handle, 40, second).unwrap();
    assert_eq!(bench.policy_in_force().unwrap(), text);
    bench.fs.flush(handle, OWNER.pid).unwrap();
    bench.fs.release(POLICY, handle);
    assert_eq!(bench.policy_in_force().unwrap(), text);
}

#[test]
fn a_refusal_leaves_the_policy_and_tells_its_reason() {
    let bench = Bench::new();
    bench.copy_policy(&policy("p256")).unwrap();
    let cut = policy("p384")[..50].to_owned();
    let severe = policy("p384").replace("strict", "severe");
    for text in ["bad", "{\"version\":\"1.0\"}", &severe, &cut, "{}x"] {
        let refused = bench.copy_policy(text).unwrap_err();
        let is_malformed = matches!(
            refused,
            FsError::MalformedPolicy { .. } | FsError::IncompletePolicy
        );
        assert!(is_malformed, "{text}: {refused}");
        assert_eq!(bench.policy_in_force().unwrap(), policy("p256"), "{text}");
        assert!(
            bench.text("sign").starts_with("# trust policy refused"),
            "{text}"
        );
        assert!(!bench.text("verify-status").contains("refused=-"), "{text}");
    }
    bench.copy_policy(&policy("p384")).unwrap();
    assert_eq!(bench.text("sign"), "");
    assert!(bench.text("verify-status").contains("refused=-"));
}

#[test]
fn an_incomplete_document_that_nobody_flushed_is_told_at_its_release() {
    let bench = Bench::new();
    let (_, handle) = bench.create(POLICY_NAME, OWNER).unwrap();
    bench.fs.write(handle, 0, b"{").unwrap();
    bench.fs.release(POLICY, handle);
    assert!(bench.text("sign").contains("incomplete"));
    assert!(bench.policy_in_force().is_none());
}

#[test]
fn an_emptied_policy_is_none_unless_another_took_its_place() {
    let bench = Bench::new();
    bench.copy_policy(&policy("p256")).unwrap();
    let emptied = bench.open(POLICY, Mode::Truncate, OWNER).unwrap();
    // `truncate -s 0 P; cat x >> P`: the release of the first may come late.
    let handle = bench.open(POLICY, Mode::Append, OWNER).unwrap();
    bench
        .fs
        .write(handle, 0, policy("p384").as_bytes())
        .unwrap();
    bench.fs.release(POLICY, emptied);
    bench.fs.release(POLICY, handle);
    assert_eq!(bench.policy_in_force().unwrap(), policy("p384"));
    let emptied = bench.open(POLICY, Mode::Truncate, OWNER).unwrap();
    bench.fs.release(POLICY, emptied);
    assert!(bench.policy_in_force().is_none());
    assert_eq!(bench.verdict(), Verdict::Unsigned);
}

#[test]
fn an_opening_waits_for_the_release_of_an_emptied_policy() {
    let bench = Bench::new();
    bench.copy_policy(&policy("p256")).unwrap();
    let emptied = bench.fs.open_policy(1, PolicyOpen::Empty);
    // Its release is under way on another thread.
    let releasing = lock(&emptied);
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| bench.fs.open_policy(2, PolicyOpen::Append));
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(releasing);
        let appended = opening.join().unwrap();
        assert_eq!(lock(&appended).bytes(), b"");
    });
}

#[test]
fn a_policy_renamed_into_place_is_judged_first() {
    let bench = Bench::new();
    bench.copy_policy(&policy("p256")).unwrap();
    let rename = |from: &str, to: &str| {
        let rename = Rename {
            from: (ROOT, OsStr::new(from)),
            to: (ROOT, OsStr::new(to)),
            existing: Existing::Take,
            caller: OWNER,
        };
        bench.fs.rename(&bench.fs.fresh(), &rename)
    };
    let (inode, handle) = bench.create("x.tmp", OWNER).unwrap();
    bench.fs.write(handle, 0, b"bad").unwrap();
    assert!(matches!(
        rename("x.tmp", POLICY_NAME),
        Err(FsError::MalformedPolicy { .. })
    ));
    assert_eq!(bench.policy_in_force().unwrap(), policy("p256"));
    bench
        .fs
        .write(handle, 0, policy("p384").as_bytes())
        .unwrap();
    bench.fs.release(inode, handle);
    rename("x.tmp", POLICY_NAME).unwrap();
    assert_eq!(bench.policy_in_force().unwrap(), policy("p384"));
    assert!(
        bench
            .fs
            .lookup(&bench.fs.fresh(), ROOT, OsStr::new("x.tmp"))
            .is_err()
    );
    // Away and back, as an editor makes its backup.
    rename(POLICY_NAME, "trustpolicy.json~").unwrap();
    assert!(bench.policy_in_force().is_none());
    rename("trustpolicy.json~", POLICY_NAME).unwrap();
    assert_eq!(bench.policy_in_force().unwrap(), policy("p384"));
    for (from, to) in [("sign", "x~"), ("x~", "sign"), ("verify-status", "x~")] {
        assert!(
            matches!(rename(from, to), Err(FsError::ControlName)),
            "{from} {to}"
        );
    }
    assert!(matches!(
        rename("index.json", "x~"),
        Err(FsError::ReadOnlyContent)
    ));
}

#[test]
fn names_that_are_nobodys_are_read_only() {
    let bench = Bench::new();
    for name in ["other", "index.json", "blobs", "manifest.json"] {
        let refused = bench.create(name, OWNER);
        assert!(matches!(refused, Err(FsError::ReadOnlyContent)), "{name}");
    }
    for name in ["sign", "verify-status", "images"] {
        let refused = bench.create(name, OWNER);
        assert!(matches!(refused, Err(FsError::ControlName)), "{name}");
    }
    let status = bench.open(STATUS, Mode::Truncate, OWNER);
    assert!(matches!(status, Err(FsError::ReadOnlyStatus)));
    let long = "x".repeat(256);
    assert!(matches!(
        bench.create(&long, OWNER),
        Err(FsError::NameTooLong)
    ));
}

#[test]
fn pinned_and_read_only_mounts_refuse_policies() {
    for change in [
        (|options: &mut Options| options.policy = PolicyFile::Pinned("/p".into()))
            as fn(&mut Options),
        |options| options.policy = PolicyFile::ReadOnly,
    ] {
        let bench = Bench::unjudged(change);
        assert!(matches!(
            bench.create(POLICY_NAME, OWNER),
            Err(FsError::Pinned)
        ));
    }
    let bench = Bench::unjudged(|options| options.sign = SignFile::Absent);
    assert!(bench.fs.fresh().tree.entry(SIGN).is_none());
}

#[test]
fn a_request_line_acts_when_it_ends() {
    let bench = Bench::new();
    bench.copy_policy(&policy("p256")).unwrap();
    let handle = bench.open(SIGN, Mode::Truncate, OWNER).unwrap();
    bench.fs.write(handle, 0, b"tag=v1 format=co").unwrap();
    assert_eq!(bench.verdict(), Verdict::Unsigned);
    bench.fs.write(handle, 16, b"se\n").unwrap();
    assert_eq!(bench.verdict(), Verdict::Verified);
    let refused = bench.fs.write(handle, 19, b"tag=absent\n");
    assert!(
        matches!(refused, Err(FsError::Unsignable { .. })),
        "{refused:?}"
    );
    let refused = bench.fs.write(handle, 30, b"tag=v1 loudly\n");
    assert!(
        matches!(refused, Err(FsError::MalformedRequest { .. })),
        "{refused:?}"
    );
    assert!(bench.text("sign").contains("loudly"));
    let refused = bench.fs.write(handle, 0, &[b'x'; 70_000]);
    assert!(
        matches!(refused, Err(FsError::TooLarge { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_large_policy_is_refused() {
    let bench = Bench::new();
    let (_, handle) = bench.create(POLICY_NAME, OWNER).unwrap();
    let spaces = vec![b' '; 1 << 20];
    bench.fs.write(handle, 0, &spaces).unwrap();
    let refused = bench.fs.write(handle, 1 << 20, b" ");
    assert!(matches!(refused, Err(FsError::TooLarge { .. })));
}

/// Between what a rebuild sees first and the policy that it judges by, a policy is written.
#[test]
fn a_policy_written_during_a_rebuild_is_in_force_after_it() {
    let bench = Bench::new();
    bench.copy_policy(&policy("p256")).unwrap();
    bench.touch().unwrap();
    assert_eq!(bench.decided(), Verdict::Verified);
    let fs = Arc::clone(&bench.fs);
    let (sender, receiver) = std::sync::mpsc::channel();
    *lock(&bench.inputs.meanwhile) = Some(Box::new(move || {
        let revision = lock(&fs.control).revision;
        let writer = Arc::clone(&fs);
        let written = std::thread::spawn(move || writer.put_policy(policy("p384").as_bytes()));
        // It waits for the rebuild that this is part of.
        while lock(&fs.control).revision == revision {
            std::thread::yield_now();
        }
        sender.send(written).unwrap();
    }));
    bench.fs.rebuild(refresh::Reread::Layout);
    receiver.recv().unwrap().join().unwrap().unwrap();
    assert_eq!(bench.decided(), Verdict::Untrusted);
    assert_eq!(bench.policy_in_force(), Some(policy("p384")));
}
