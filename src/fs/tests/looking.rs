//! The look at the files between judging and showing the judgement.

use std::time::Duration;

use super::*;
use crate::audit::{Content, Seen};
use crate::files::lease::folder_with_leases;
use crate::fs::look::{self, Standing};
use crate::fs::snapshot::Looked;

/// Mounts a layout and waits until nothing is left to hash; `None` where there are no leases.
fn judged() -> Option<Bench> {
    folder_with_leases()?;
    let bench = Bench::new();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(bench.decided(), Verdict::Unsigned);
    bench.fs.current().report.leases.then_some(bench)
}

/// Judges by what is known, lets something happen, and looks at the files.
fn look_after(bench: &Bench, happen: impl FnOnce()) -> (Vec<Looked>, Standing) {
    let basis = bench.fs.current().basis.clone();
    let (report, seen) = bench.fs.report(&basis, Content::Known, &NoProgress);
    let states = report.images[0].closure.parts();
    let states: Vec<bool> = states.map(|part| seen.state(part).is_some()).collect();
    // A manifest is looked at whole; config and layers were seen under a lease.
    assert_eq!(states, [false, true, true, true]);
    happen();
    look::closures(&bench.fs, &basis, &report, &seen)
}

#[test]
fn a_file_that_is_as_it_was_judged_stands_as_if_it_were_opened_again() {
    let Some(bench) = judged() else {
        return;
    };
    let (looked, standing) = look_after(&bench, || {});
    assert_eq!(standing, Standing::Stands);
    let basis = bench.fs.current().basis.clone();
    let (report, _) = bench.fs.report(&basis, Content::Known, &NoProgress);
    let (whole, standing) = look::closures(&bench.fs, &basis, &report, &Seen::default());
    assert_eq!(standing, Standing::Stands);
    assert_eq!(format!("{looked:?}"), format!("{whole:?}"));
}

#[test]
fn whatever_happens_to_a_file_between_judging_and_the_look_is_noticed() {
    let Some(bench) = judged() else {
        return;
    };
    let [small, large] = [0, 1].map(|layer| bench.path(&bench.layers[layer]));
    let sound = std::fs::read(&small).unwrap();
    let copy = bench.folder.path().join("copy");
    let write = || std::fs::write(&small, vec![b'x'; 5000]).unwrap();
    let replace = || {
        std::fs::write(&copy, vec![b'x'; 5000]).unwrap();
        std::fs::rename(&copy, &small).unwrap();
    };
    // The same bytes: nothing but its times tell.
    let touch = || {
        let file = std::fs::File::options().write(true).open(&small).unwrap();
        let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        file.set_times(times).unwrap();
    };
    let link = || {
        std::fs::rename(&small, &copy).unwrap();
        std::os::unix::fs::symlink("../../copy", &small).unwrap();
    };
    let remove = || std::fs::remove_file(&large).unwrap();
    let changes: [(&str, &dyn Fn()); 5] = [
        ("written", &write),
        ("replaced", &replace),
        ("touched", &touch),
        ("moved behind a symlink", &link),
        ("removed", &remove),
    ];
    for (name, change) in changes {
        let (_, standing) = look_after(&bench, change);
        assert!(
            matches!(standing, Standing::Unknown | Standing::Changed),
            "{name}: {standing:?}"
        );
        let _ = std::fs::remove_file(&small);
        std::fs::write(&small, &sound).unwrap();
        std::fs::write(&large, vec![b'b'; 200_000]).unwrap();
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(bench.decided(), Verdict::Unsigned, "{name}");
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(bench.decided(), Verdict::Unsigned, "{name}");
    }
}

#[test]
fn a_manifest_written_between_judging_and_the_look_is_noticed() {
    let Some(bench) = judged() else {
        return;
    };
    let manifest = bench.fs.current().report.images[0].descriptor.clone();
    let path = bench.path(&manifest.digest);
    let (_, standing) = look_after(&bench, || {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] = b' ';
        std::fs::write(&path, bytes).unwrap();
    });
    assert_eq!(standing, Standing::Changed);
}

#[test]
fn bytes_found_to_be_others_between_judging_and_the_look_are_noticed() {
    let Some(bench) = judged() else {
        return;
    };
    let (_, standing) = look_after(&bench, || {
        let blob = bench.fs.source.blob(&bench.layers[0]).unwrap().unwrap();
        bench.fs.hashes.distrust(&blob);
    });
    assert_eq!(standing, Standing::Unknown);
}

#[test]
fn a_writer_who_came_between_judging_and_the_look_is_noticed_by_the_next_look() {
    let Some(bench) = judged() else {
        return;
    };
    let path = bench.path(&bench.layers[0]);
    let mut writer = None;
    let (looked, standing) = look_after(&bench, || {
        writer = Some(std::fs::File::options().write(true).open(&path).unwrap());
    });
    // Nothing is written yet, so what was judged is what is stored.
    assert_eq!(standing, Standing::Stands);
    assert!(looked.iter().all(|file| file.known));
    assert!(!bench.fs.content_stands(&bench.fs.current()));
    drop(writer);
}

#[test]
fn a_survey_after_another_shares_what_is_unchanged_and_reads_what_changed() {
    let bench = Bench::new();
    let index = bench.folder.path().join("index.json");
    let bytes = std::fs::read(&index).unwrap();
    let manifest = bench.fs.current().report.images[0].descriptor.clone();
    let document = |snapshot: &Snapshot| {
        let graph = &snapshot.basis.survey.graph;
        graph.shared_document(&manifest.digest).map(Arc::clone)
    };
    let before = bench.fs.current();
    std::fs::write(&index, &bytes).unwrap();
    let after = bench.fs.fresh();
    assert!(!Arc::ptr_eq(&before.basis.survey, &after.basis.survey));
    let [one, other] = [&before, &after].map(|snapshot| document(snapshot).unwrap());
    assert!(Arc::ptr_eq(&one, &other));
    // As large as before, and JSON: nothing but its digest tells.
    let path = bench.path(&manifest.digest);
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = text.replace("schemaVersion\":2", "schemaVersion\":3");
    assert_ne!(text, changed);
    std::fs::write(&path, changed).unwrap();
    std::fs::write(&index, &bytes).unwrap();
    let changed = bench.fs.fresh();
    assert!(document(&changed).is_none());
    assert_eq!(bench.decided(), Verdict::Corrupt);
}

#[test]
fn a_policy_is_not_judged_by_a_manifest_that_changed_meanwhile() {
    let bench = Bench::new();
    let manifest = bench.fs.current().report.images[0].descriptor.clone();
    let path = bench.path(&manifest.digest);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("schemaVersion\":2", "schemaVersion\":3"),
    )
    .unwrap();
    bench.fs.put_policy(policy("p256").as_bytes()).unwrap();
    assert_eq!(bench.decided(), Verdict::Corrupt);
}

#[test]
fn what_images_share_is_looked_at_once_and_as_the_best_of_them_says() {
    let Some(bench) = judged() else {
        return;
    };
    let basis = bench.fs.current().basis.clone();
    let (mut report, seen) = bench.fs.report(&basis, Content::Known, &NoProgress);
    let sound = report.images[0].clone();
    let mut broken = sound.clone();
    broken.content_good -= 1;
    // A layer that changes after judging tells which image was asked: only of a whole one it is no longer what it was.
    std::fs::write(bench.path(&bench.layers[0]), b"changed").unwrap();
    for (images, wanted) in [
        (vec![broken.clone(), sound.clone(), broken.clone()], false),
        (vec![sound, broken.clone()], false),
        (vec![broken.clone(), broken], true),
    ] {
        report.images = images;
        let (looked, standing) = look::closures(&bench.fs, &basis, &report, &seen);
        assert_eq!(standing == Standing::Stands, wanted);
        let digests: Vec<_> = looked.iter().map(|one| &one.descriptor.digest).collect();
        assert_eq!(digests.len(), 4);
        assert!(digests.is_sorted_by(|one, other| one < other));
    }
}
