//! What a touch of `sign` reads again, what it keeps, and what the kernel is told of it.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_touch_reads_the_trust_again_only_where_its_stamp_or_the_policy_changed() {
    let bench = Bench::new();
    let readings = || std::mem::take(&mut *lock(&bench.inputs.trusted));
    *lock(&bench.inputs.policy) = Some(policy("p256"));
    *lock(&bench.inputs.changes) += 1;
    assert_eq!(bench.verdict(), Verdict::Unsigned);
    assert!(readings() > 0, "the stamp changed");
    bench.touch().unwrap();
    assert_eq!(bench.verdict(), Verdict::Verified);
    assert_eq!(readings(), 0, "a signature changes nothing that is trusted");
    bench.copy_policy("nonsense").unwrap_err();
    assert_eq!(bench.verdict(), Verdict::Verified);
    assert_eq!(readings(), 0, "nor does a refusal");
    // Changed together with a signature: what is shown is of the trust as it is now.
    *lock(&bench.inputs.policy) = Some(policy("p384"));
    *lock(&bench.inputs.changes) += 1;
    bench.touch().unwrap();
    assert_eq!(bench.verdict(), Verdict::Untrusted);
    assert!(readings() > 0);
    bench.copy_policy(&policy("p256")).unwrap();
    assert_eq!(bench.verdict(), Verdict::Verified);
    let name = OsStr::new(POLICY_NAME);
    let removed = bench.fs.unlink(&bench.fs.fresh(), (ROOT, name), OWNER);
    removed.unwrap();
    bench.touch().unwrap();
    assert_eq!(bench.verdict(), Verdict::NoPolicy);
}

#[test]
fn closing_sign_is_idle_unless_something_waits_on_it() {
    let bench = Bench::new();
    let handle = bench.open(SIGN, Mode::Write, OWNER).unwrap();
    assert!(bench.fs.closes_idly(handle));
    bench.fs.write(handle, 0, b"# whole\n").unwrap();
    assert!(bench.fs.closes_idly(handle));
    bench.fs.write(handle, 0, b"tag=no").unwrap();
    assert!(!bench.fs.closes_idly(handle));
    // A child that inherited the handle ends; the line still waits.
    bench.fs.flush(handle, 77).unwrap();
    assert!(!bench.fs.closes_idly(handle));
    bench.fs.flush(handle, OWNER.pid).unwrap_err();
    assert!(bench.fs.closes_idly(handle));
    bench.fs.release(SIGN, handle);
    let (_, policy) = bench.create(POLICY_NAME, OWNER).unwrap();
    assert!(!bench.fs.closes_idly(policy));
}

#[test]
fn a_signature_just_made_is_remembered_as_its_bytes_are() {
    let bench = Bench::new();
    bench.touch().unwrap();
    let snapshot = bench.fs.fresh();
    let signature = &snapshot.report.images[0].signatures[0];
    let (envelope, bytes) = (
        signature.envelope.as_ref().unwrap(),
        signature.bytes.as_ref().unwrap(),
    );
    let read = crate::notary::Envelope::parse(&envelope.media_type, bytes);
    let read = read.unwrap().check().unwrap();
    let remembered = signature.intact.as_ref().unwrap();
    assert_eq!(remembered.raw_signature, read.raw_signature);
    assert_eq!(remembered.payload, read.payload);
    assert_eq!(remembered.chain, read.chain);
}

#[test]
fn the_kernel_is_told_of_blobs_and_the_folders_on_the_way_to_them() {
    let bench = Bench::new();
    let told: Arc<Mutex<Vec<u64>>> = Arc::default();
    let note = Arc::clone(&told);
    bench
        .fs
        .on_outdated(Box::new(move |Outdated::Inode(inode)| {
            lock(&note).push(inode);
        }));
    let told = || {
        std::mem::take(&mut *lock(&told))
            .into_iter()
            .collect::<BTreeSet<_>>()
    };
    let (blobs, home) = (bench.inode("blobs"), bench.inode("blobs/sha256"));
    bench.touch().unwrap();
    assert_eq!(
        told(),
        BTreeSet::from([ROOT, blobs, home]),
        "before any look"
    );
    bench.fs.show_change();
    assert_eq!(told(), BTreeSet::from([ROOT, home]));
    // Nothing to do: nothing is told.
    bench.touch().unwrap();
    assert_eq!(told(), BTreeSet::new());
}

#[test]
fn a_touch_leaves_judging_to_the_next_look_and_no_look_sees_the_state_before() {
    let bench = Bench::new();
    bench.copy_policy(&policy("p256")).unwrap();
    bench
        .fs
        .setattr(&bench.fs.fresh(), &touch(SIGN, STRANGER))
        .unwrap_err();
    let before = bench.fs.fresh().generation;
    bench.touch().unwrap();
    assert_eq!(bench.fs.current().generation, before);
    assert!(bench.fs.fresh_now().is_none());
    assert_eq!(bench.verdict(), Verdict::Verified);
    assert_eq!(bench.text("sign"), "", "the refusal is gone");
}

#[test]
fn a_touch_waits_for_one_who_writes_the_index_in_place() {
    let bench = Bench::new();
    bench.copy_policy(&policy("p256")).unwrap();
    let index = bench.folder.path().join("index.json");
    let whole = std::fs::read(&index).unwrap();
    for half in [0, 20] {
        std::fs::write(&index, &whole[..half]).unwrap();
        assert_eq!(bench.verdict(), Verdict::Pending);
        let (writing, index) = (whole.clone(), index.clone());
        let writer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(700));
            std::fs::write(index, writing).unwrap();
        });
        bench.touch().unwrap();
        writer.join().unwrap();
        assert_eq!(bench.decided(), Verdict::Verified);
    }
    // Who never comes back is waited for as long as the status waits.
    std::fs::write(&index, "").unwrap();
    let refused = bench.touch();
    assert!(
        matches!(refused, Err(FsError::Unsignable { .. })),
        "{refused:?}"
    );
}
