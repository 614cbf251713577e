use std::time::{Duration, Instant};

use super::*;
use crate::fs::setattr::{Change, NewTime};
use crate::tree::inode::SIGN;

impl Bench {
    fn index_path(&self) -> PathBuf {
        self.folder.path().join("index.json")
    }

    fn configure(&self, policy: &str) {
        *lock(&self.inputs.policy) = Some(policy.to_owned());
        *lock(&self.inputs.changes) += 1;
    }

    fn set_clock(&self, seconds: i64) {
        *lock(&self.inputs.now) = UnixTime(seconds);
    }

    fn sign(&self, line: &[u8]) {
        let handle = self.open(SIGN, Mode::Truncate, OWNER).unwrap();
        self.fs.write(handle, 0, line).unwrap();
        self.fs.release(SIGN, handle);
    }
}

#[test]
fn a_layout_is_pending_until_it_is_hashed() {
    let bench = Bench::unjudged(|_| {});
    assert_eq!(bench.verdict(), Verdict::Pending);
    assert!(bench.text("verify-status").starts_with("pending\n"));
    assert_eq!(bench.judge(), Verdict::Unsigned);
}

#[test]
fn a_look_at_an_unchanged_layout_makes_no_snapshot() {
    let bench = Bench::new();
    let settled = Instant::now();
    while !bench.fs.fresh().basis.settled {
        assert!(settled.elapsed() < Duration::from_secs(10));
    }
    let before = bench.fs.fresh_status();
    for _ in 0..10 {
        assert_eq!(bench.fs.fresh_status().generation, before.generation);
    }
}

#[test]
fn a_new_index_is_judged_before_it_is_shown() {
    let bench = Bench::new();
    bench.configure(&policy("p256"));
    let unsigned = std::fs::read(bench.index_path()).unwrap();
    bench.sign(b"tag=v1\n");
    let signed = std::fs::read(bench.index_path()).unwrap();
    for _ in 0..50 {
        for (bytes, verdict) in [(&unsigned, Verdict::Unsigned), (&signed, Verdict::Verified)] {
            std::fs::write(bench.index_path(), bytes).unwrap();
            let snapshot = bench.fs.fresh_status();
            assert_eq!(snapshot.report.verdict(), verdict);
            assert_eq!(&bench.read("index.json").unwrap(), bytes);
        }
    }
}

#[test]
fn the_clock_alone_changes_a_verdict_and_changes_it_back() {
    let bench = Bench::new();
    bench.configure(&policy("p256"));
    bench.sign(b"expiry=1h\n");
    assert_eq!(bench.verdict(), Verdict::Verified);
    bench.set_clock(NOW + 3601);
    assert_eq!(bench.verdict(), Verdict::Expired);
    bench.set_clock(NOW + 10);
    assert_eq!(bench.verdict(), Verdict::Verified);
}

#[test]
fn a_changed_configuration_is_followed_until_the_mount_has_its_own_policy() {
    let bench = Bench::new();
    bench.configure(&policy("p256"));
    bench.sign(b"force\n");
    assert_eq!(bench.verdict(), Verdict::Verified);
    assert_eq!(bench.text("trustpolicy.json"), policy("p256"));
    bench.configure(&policy("p384"));
    assert_eq!(bench.verdict(), Verdict::Untrusted);
    bench.fs.put_policy(policy("p256").as_bytes()).unwrap();
    bench.configure(&policy("p384"));
    assert_eq!(bench.verdict(), Verdict::Verified);
}

#[test]
fn an_index_that_does_not_parse_is_pending_for_a_while() {
    let bench = Bench::new();
    let good = std::fs::read(bench.index_path()).unwrap();
    std::fs::write(bench.index_path(), b"{").unwrap();
    let start = Instant::now();
    assert_eq!(bench.verdict(), Verdict::Pending);
    assert_eq!(bench.read("index.json").unwrap(), b"{");
    assert_eq!(bench.fs.wait_for_verdict(None), Verdict::LayoutInvalid);
    assert!(start.elapsed() >= Duration::from_secs(2));
    std::fs::remove_file(bench.index_path()).unwrap();
    assert_eq!(bench.verdict(), Verdict::Pending);
    std::fs::write(bench.index_path(), &good).unwrap();
    assert_eq!(bench.decided(), Verdict::Unsigned);
}

#[test]
fn a_missing_blob_is_noticed_when_the_status_is_opened() {
    let bench = Bench::new();
    std::fs::remove_file(bench.path(&bench.layers[0])).unwrap();
    assert_eq!(bench.decided(), Verdict::Missing);
}

#[test]
fn a_file_that_somebody_may_still_write_counts_for_one_look() {
    let bench = Bench::unjudged(|_| {});
    let path = bench.path(&bench.layers[0]);
    let writer = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    assert_eq!(bench.judge(), Verdict::Unsigned);
    if !bench.fs.fresh().report.leases {
        return;
    }
    let first = bench.fs.fresh_status().generation;
    assert_ne!(
        bench.fs.fresh_status().generation,
        first,
        "the second look is a new one"
    );
    drop(writer);
    assert_eq!(bench.decided(), Verdict::Unsigned);
}

#[test]
fn what_somebody_may_still_write_counts_for_a_moment() {
    let bench = Bench::unjudged(|_| {});
    let path = bench.path(&bench.layers[0]);
    let writer = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    assert_eq!(bench.judge(), Verdict::Unsigned);
    if !bench.fs.fresh().report.leases {
        return;
    }
    std::thread::sleep(Duration::from_millis(1100));
    // Who mapped the file may have changed it meanwhile without changing a time.
    assert_eq!(bench.verdict(), Verdict::Pending);
    assert_eq!(bench.decided(), Verdict::Unsigned);
    drop(writer);
}

#[test]
fn an_index_that_somebody_may_still_write_is_read_for_every_look() {
    let bench = Bench::new();
    if !bench.fs.fresh().report.leases {
        return;
    }
    let look = || bench.fs.fresh_status().generation;
    while look() != look() {}
    let index = std::fs::OpenOptions::new()
        .append(true)
        .open(bench.index_path());
    // Something changes, so that all is read once beside the writer.
    std::fs::write(bench.folder.path().join("extra"), "x").unwrap();
    assert_eq!(bench.decided(), Verdict::Unsigned);
    assert_ne!(look(), look());
    // Nor does judging wait for the writer to go, where it has more to hash than for one look.
    let path = bench.path(&bench.layers[0]);
    let layer = std::fs::OpenOptions::new().append(true).open(path);
    assert_eq!(bench.decided(), Verdict::Unsigned);
    drop((index, layer));
}

#[test]
fn signing_goes_on_while_others_look() {
    let bench = Bench::new();
    let fs = Arc::clone(&bench.fs);
    let change = Change {
        inode: SIGN,
        handle: None,
        size: None,
        mode: None,
        modified: Some(NewTime::Now),
        caller: OWNER,
    };
    let signer = std::thread::spawn(move || fs.setattr(&fs.fresh(), &change).map(drop));
    while !signer.is_finished() {
        let status = bench.text("verify-status");
        assert!(
            status.starts_with("unsigned\n") || status.starts_with("no-policy\n"),
            "{status}"
        );
    }
    signer.join().unwrap().unwrap();
}

#[test]
fn a_refusal_does_not_make_a_changed_blob_count_as_looked_at() {
    let bench = Bench::new();
    assert_eq!(bench.verdict(), Verdict::Unsigned);
    std::fs::write(bench.path(&bench.layers[0]), vec![b'x'; 5000]).unwrap();
    // A refusal shows at once, without judging anything again.
    assert!(bench.fs.put_policy(b"bad").is_err());
    assert_eq!(bench.decided(), Verdict::Corrupt);
}

#[test]
fn a_changed_manifest_is_noticed_when_the_status_is_opened() {
    let bench = Bench::new();
    assert_eq!(bench.verdict(), Verdict::Unsigned);
    let manifest = bench.fs.fresh().report.images[0].descriptor.digest.clone();
    let good = std::fs::read(bench.path(&manifest)).unwrap();
    let mut bad = good.clone();
    bad[0] = b'[';
    std::fs::write(bench.path(&manifest), &bad).unwrap();
    assert_eq!(bench.decided(), Verdict::Corrupt);
    std::fs::write(bench.path(&manifest), &good).unwrap();
    assert_eq!(bench.decided(), Verdict::Unsigned);
}

#[test]
fn judging_once_is_enough_for_a_layout_at_rest() {
    let bench = Bench::new();
    let hashed = bench.fs.hashes.bytes_hashed();
    let before = bench.verdict();
    for _ in 0..5 {
        assert_eq!(bench.verdict(), before);
    }
    bench.fs.put_policy(policy("p256").as_bytes()).unwrap();
    assert!(
        !bench.fs.fresh_status().is_undecided(),
        "a policy needs no hashing"
    );
    assert_eq!(bench.fs.hashes.bytes_hashed(), hashed);
}

#[test]
fn very_many_blobs_are_looked_at_once_a_second() {
    let bench = Bench::unjudged(|_| {});
    // A second image, of more files than are looked at each time.
    let mut index: Value =
        serde_json::from_slice(&std::fs::read(bench.index_path()).unwrap()).unwrap();
    let blobs = bench.folder.path().join("blobs/sha256");
    let put = |media_type: &str, bytes: &[u8]| -> Value {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
    };
    let layers: Vec<Value> = (0..1001)
        .map(|number| put("layer", format!("{number}").as_bytes()))
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "config": put("config", b"config"), "layers": layers,
    });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let entry = put(media_type, manifest.to_string().as_bytes());
    index["manifests"].as_array_mut().unwrap().push(entry);
    std::fs::write(bench.index_path(), index.to_string()).unwrap();
    // What was just written is judged for one look only.
    std::thread::sleep(Duration::from_millis(150));
    bench.judge();
    let standing = || match bench.fs.fresh_status().judged {
        crate::fs::snapshot::Judged::Complete => true,
        _ => !bench.fs.fresh().report.leases,
    };
    let start = Instant::now();
    while !standing() {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(bench.verdict(), Verdict::Unsigned);
    let set_last = |ago: Duration| {
        *lock(&bench.fs.last_look) = Instant::now().checked_sub(ago);
    };
    set_last(Duration::ZERO);
    // Written in place: nothing but the look at the file itself can tell.
    std::fs::write(bench.path(&bench.layers[0]), vec![b'x'; 5000]).unwrap();
    let before = bench.fs.current().generation;
    let shown = bench.fs.fresh_status();
    // Within the second, the verdict stands; then it does not.
    assert_eq!(shown.generation, before);
    assert_eq!(shown.report.verdict(), Verdict::Unsigned);
    set_last(Duration::from_secs(1));
    assert_eq!(bench.decided(), Verdict::Corrupt);
}

#[test]
fn a_new_policy_repeats_no_public_key_work_and_shares_what_the_layout_gives() {
    let bench = Bench::new();
    bench.fs.put_policy(policy("p256").as_bytes()).unwrap();
    bench.sign(b"tag=v1\n");
    let settled = Instant::now();
    while !bench.fs.fresh_status().basis.settled {
        assert!(settled.elapsed() < Duration::from_secs(10));
    }
    let before = bench.fs.fresh_status();
    assert_eq!(before.report.verdict(), Verdict::Verified);
    let hashed = bench.fs.counts().bytes_hashed;
    bench.fs.put_policy(policy("p384").as_bytes()).unwrap();
    let after = bench.fs.fresh_status();
    assert_eq!(after.report.verdict(), Verdict::Untrusted);
    let intact = |snapshot: &Snapshot| {
        let signature = &snapshot.report.images[0].signatures[0];
        Arc::clone(signature.intact.as_ref().unwrap())
    };
    assert!(Arc::ptr_eq(&intact(&before), &intact(&after)));
    assert_eq!(bench.fs.counts().bytes_hashed, hashed);
    assert!(after.tree.shares_with(&before.tree));
    // Another index is another tree.
    std::fs::write(bench.folder.path().join("extra"), b"x").unwrap();
    assert!(!bench.fs.fresh_status().tree.shares_with(&after.tree));
}

#[test]
fn a_signature_changed_in_place_is_noticed_when_the_status_is_opened() {
    for part in ["manifest", "envelope"] {
        let bench = Bench::new();
        bench.configure(&policy("p256"));
        bench.sign(b"tag=v1\n");
        assert_eq!(bench.decided(), Verdict::Verified);
        let snapshot = bench.fs.fresh_status();
        let signature = &snapshot.report.images[0].signatures[0];
        let path = bench.path(match part {
            "manifest" => &signature.manifest.digest,
            _ => &signature.envelope.as_ref().unwrap().digest,
        });
        let sound = std::fs::read(&path).unwrap();
        let mut broken = sound.clone();
        broken[20] ^= 1;
        let write = |bytes: &[u8]| {
            let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, bytes).unwrap();
        };
        write(&broken);
        assert_ne!(bench.decided(), Verdict::Verified, "{part}");
        write(&sound);
        assert_eq!(bench.decided(), Verdict::Verified, "{part}");
    }
}

#[test]
fn a_policy_is_not_judged_by_blobs_that_changed_meanwhile() {
    let bench = Bench::new();
    bench.configure(&policy("p256"));
    bench.sign(b"tag=v1\n");
    assert_eq!(bench.verdict(), Verdict::Verified);
    std::fs::write(bench.path(&bench.layers[0]), vec![b'x'; 5000]).unwrap();
    bench.fs.put_policy(policy("p256").as_bytes()).unwrap();
    assert_ne!(bench.fs.fresh().report.verdict(), Verdict::Verified);
    assert_eq!(bench.decided(), Verdict::Corrupt);
}
