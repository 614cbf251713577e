//! Tars: what we read, GNU tar, Python's tarfile, libarchive and Go read alike, or we refuse it. Compressed tars, standard input,
//! and archives that change under a mount.
//!
//! The random archives are made for `SIGNETFS_FUZZ_SECONDS` (30 under `CI=true`, else a moment) from `SIGNETFS_FUZZ_SEED`;
//! the seed is printed, and an archive that fails is kept.

mod builder;
mod corpus;
mod readers;
mod sources;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use builder::Random;
use readers::{Ours, Readers, ours};

/// Checks that whatever we read of an archive, all four others read too, and returns whether we read it.
#[track_caller]
fn check(readers: &Readers, archives: &[(String, Vec<u8>)]) -> Vec<bool> {
    let folder = tempfile::tempdir().unwrap();
    let mut read = Vec::new();
    let mut paths = Vec::new();
    for (position, (_, bytes)) in archives.iter().enumerate() {
        let path = folder.path().join(format!("{position:04}.tar"));
        fs::write(&path, bytes).unwrap();
        paths.push(path);
    }
    let theirs = readers.extract(folder.path(), &paths);
    for ((path, trees), (name, _)) in paths.iter().zip(theirs).zip(archives) {
        let Ours::Tree(tree, hidden) = ours(path) else {
            read.push(false);
            continue;
        };
        for (reader, mut theirs) in trees {
            for name in &hidden {
                let below = format!("{name}/");
                theirs.retain(|path, _| path != name && !path.starts_with(&below));
            }
            if theirs != tree {
                let kept = std::env::temp_dir().join("signetfs-differs.tar");
                fs::copy(path, &kept).unwrap();
                panic!(
                    "{name}: {reader} reads another tree ({}):\n{theirs:#?}\nours:\n{tree:#?}",
                    kept.display()
                );
            }
        }
        read.push(true);
    }
    read
}

#[test]
fn hard_cases_are_read_as_by_four_other_readers_or_refused() {
    let Some(readers) = Readers::find() else {
        return;
    };
    let cases = corpus::all();
    let archives: Vec<_> = cases
        .iter()
        .map(|case| (case.name.to_owned(), case.bytes.clone()))
        .collect();
    let read = check(&readers, &archives);
    for (case, read) in cases.iter().zip(read) {
        assert_eq!(read, case.is_read, "{}", case.name);
    }
}

#[test]
fn archives_of_three_writers_are_read_in_all_their_formats() {
    let Some(readers) = Readers::find() else {
        return;
    };
    let archives = readers.written();
    let read = check(&readers, &archives);
    for ((name, _), read) in archives.iter().zip(read) {
        assert!(read, "{name} is refused");
    }
}

#[test]
fn random_archives_are_read_as_by_four_other_readers_or_refused() {
    let Some(readers) = Readers::find() else {
        return;
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("SIGNETFS_FUZZ_SEED").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_nanos() as u64
    });
    let usual = if crate::support::ci() { 30 } else { 3 };
    let seconds = number("SIGNETFS_FUZZ_SECONDS").unwrap_or(usual);
    eprintln!("SIGNETFS_FUZZ_SEED={seed}");
    let mut random = Random::new(seed);
    let start = Instant::now();
    let (mut read, mut all) = (0, 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        let archives: Vec<_> = (0..40)
            .map(|position| {
                let name = format!("seed {seed}, archive {}", all + position);
                (name, builder::odd(&mut random))
            })
            .collect();
        let outcome = check(&readers, &archives);
        read += outcome.iter().filter(|read| **read).count();
        all += outcome.len();
    }
    eprintln!("{read} of {all} archives were read");
    // The generator must neither make only sound archives nor only broken ones.
    assert!(read * 20 > all && read * 20 < all * 19, "{read} of {all}");
}

/// Returns whether a path is there, whatever it is.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
