//! The tree beside its native directory and bindfs: reading a large blob, listing and stating very many, opening small ones. What
//! asks for many files is done through the least file system (`floor`) too.
//!
//! All of them do the same work in turn within a round. On the file system of the checkout, as tmpfs gives no leases.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fuser::BackgroundSession;

use crate::floor;
use crate::layouts::{Mount, Workshop, run};
use crate::{median, milliseconds, openssl_speed, timed};

const LARGE_BYTES: u64 = 2 << 30;
const BLOBS: usize = 100_000;
const SMALL: usize = 10_000;
const RANDOM_READS: u64 = 20_000;
const ROUNDS: usize = 7;
const COLD_ROUNDS: usize = 3;

/// Is the layout, its mounts of ours by name, its mount of bindfs where that is installed, and the least file system where it says something.
struct Ways {
    native: PathBuf,
    ours: Vec<(&'static str, Mount)>,
    bindfs: Option<Bindfs>,
    floor: Option<(PathBuf, BackgroundSession)>,
}

/// Is a mount of bindfs.
struct Bindfs(PathBuf);

impl Drop for Bindfs {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

/// Tells what is in the page cache when work begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cache {
    /// What the round before left there.
    Warm,
    /// Nothing.
    Cold,
}

/// Is one piece of work, and what the ratio of each of ours to the native directory should be.
struct Work<'a> {
    name: &'a str,
    goals: &'a [&'a str],
    cache: Cache,
    run: &'a dyn Fn(&Path) -> Duration,
}

impl Work<'_> {
    /// Returns whether bindfs does it in good time: listing and stating very many blobs takes it half a minute.
    fn takes_bindfs(&self) -> bool {
        self.cache == Cache::Warm && !["ls -l", "stat of 100,000 as listed"].contains(&self.name)
    }
}

/// Compares reads of a large blob.
pub(crate) fn reads(_: &Workshop) {
    let workshop = workshop();
    let layout = workshop.big("trees", 1, LARGE_BYTES as usize);
    workshop.sign(&layout, "rsa");
    let large = crate::largest(&layout.join("blobs/sha256"));
    let large = Path::new("blobs/sha256").join(large.file_name().unwrap());
    let ways = Ways::to(
        &layout,
        vec![
            (
                "passthrough",
                workshop.mount_at(&layout, "passthrough", &[]),
            ),
            (
                "checked",
                workshop.mount_at(&layout, "checked", &["--reads", "checked"]),
            ),
        ],
    );
    let sequential = |root: &Path| crate::read_whole(&root.join(&large));
    let random = |root: &Path| read_at_random(&root.join(&large));
    let parallel = |root: &Path| read_in_parallel(&root.join(&large));
    for cache in [Cache::Warm, Cache::Cold] {
        let work = |name, goals, run| Work {
            name,
            goals,
            cache,
            run,
        };
        ways.compare(&work(
            "2 GiB in sequence",
            &["<= 1.1", "<= 1.6"],
            &sequential,
        ));
        ways.compare(&work("random 4 KiB", &["<= 1.2", "-"], &random));
        ways.compare(&work("4 readers", &["<= 1.1", "<= 1.6"], &parallel));
    }
    drop(ways);
    hashing_speed(&workshop, &layout, &large);
}

/// Compares listing and stating very many blobs.
pub(crate) fn metadata(_: &Workshop) {
    let workshop = workshop();
    let (ways, names) = crowded(&workshop);
    let find = |root: &Path| {
        let mut find = Command::new("find");
        timed(find.arg(root.join("blobs")).args(["-type", "f"]))
    };
    let list = |root: &Path| {
        let mut ls = Command::new("ls");
        timed(ls.args(["-l", "--"]).arg(root.join("blobs/sha256")))
    };
    let stat = |root: &Path| {
        each(&names, |name| {
            fs::symlink_metadata(root.join(name)).unwrap();
        })
    };
    let stat_all = |root: &Path| {
        let start = Instant::now();
        for entry in fs::read_dir(root.join("blobs/sha256")).unwrap() {
            fs::symlink_metadata(entry.unwrap().path()).unwrap();
        }
        start.elapsed()
    };
    for (cache, goal) in [(Cache::Warm, "<= 1.0"), (Cache::Cold, "<= 0.7")] {
        let goals = &[goal][..];
        let work = |name, run| Work {
            name,
            goals,
            cache,
            run,
        };
        ways.compare(&work("find", &find));
        ways.compare(&work("ls -l", &list));
        ways.compare(&work("stat of 100,000 as listed", &stat_all));
        ways.compare(&work("stat of 100,000 by name", &stat));
    }
}

/// Compares opening and reading small blobs.
pub(crate) fn small(_: &Workshop) {
    let workshop = workshop();
    let (ways, names) = crowded(&workshop);
    let read = |root: &Path| {
        each(&names[..SMALL], |name| {
            assert!(!fs::read(root.join(name)).unwrap().is_empty());
        })
    };
    for cache in [Cache::Warm, Cache::Cold] {
        ways.compare(&Work {
            name: "open and read 10,000",
            goals: &["<= 4.5"],
            cache,
            run: &read,
        });
    }
}

fn workshop() -> Workshop {
    Workshop::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target"))
}

/// Makes and mounts a layout of very many blobs; returns their paths below it too.
fn crowded(workshop: &Workshop) -> (Ways, Vec<PathBuf>) {
    let layout = workshop.image("trees", 1, 1 << 10);
    let names = small_blobs(&layout.join("blobs/sha256"));
    workshop.sign(&layout, "rsa");
    let ours = vec![("signetfs", workshop.mount_at(&layout, "signetfs", &[]))];
    let mut ways = Ways::to(&layout, ours);
    let point = layout.with_extension("floor");
    fs::create_dir(&point).unwrap();
    let mounted = floor::mount(&layout, &point);
    ways.floor = Some((point, mounted));
    (ways, names)
}

/// Puts very many small blobs into a folder, the first of 4 KiB each; returns their paths below the layout.
fn small_blobs(folder: &Path) -> Vec<PathBuf> {
    (0..BLOBS)
        .map(|number| {
            let bytes = match number < SMALL {
                true => format!("{number:08}").repeat(512),
                false => number.to_string(),
            };
            let hex = signetfs::oci::Digest::of(bytes.as_bytes()).hex();
            fs::write(folder.join(&hex), bytes).unwrap();
            Path::new("blobs/sha256").join(hex)
        })
        .collect()
}

impl Ways {
    /// Mounts bindfs beside ours.
    fn to(layout: &Path, ours: Vec<(&'static str, Mount)>) -> Self {
        let point = layout.with_extension("bindfs");
        fs::create_dir(&point).unwrap();
        let mut bindfs = Command::new("bindfs");
        let bindfs = bindfs.arg("-r").arg(layout).arg(&point);
        let bindfs = match bindfs.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Some(Bindfs(point)),
            other => {
                println!("bindfs is left out: {other:?}");
                None
            }
        };
        Self {
            native: layout.to_owned(),
            ours,
            bindfs,
            floor: None,
        }
    }

    /// Does the work on each way in turn, and prints a line for each of ours: medians, medians of the pairwise ratios, and goals.
    fn compare(&self, work: &Work<'_>) {
        let mut roots = vec![self.native.as_path()];
        roots.extend(self.ours.iter().map(|(_, mount)| mount.path()));
        let bindfs = self.bindfs.as_ref().filter(|_| work.takes_bindfs());
        roots.extend(bindfs.map(|bindfs| bindfs.0.as_path()));
        roots.extend(self.floor.iter().map(|(point, _)| point.as_path()));
        let mut times = vec![Vec::new(); roots.len()];
        if work.cache == Cache::Warm {
            for root in &roots {
                (work.run)(root);
            }
        }
        let (rounds, word) = match work.cache {
            Cache::Warm => (ROUNDS, "warm"),
            Cache::Cold => (COLD_ROUNDS, "cold"),
        };
        for _ in 0..rounds {
            for (root, times) in roots.iter().zip(&mut times) {
                if work.cache == Cache::Cold {
                    drop_caches();
                }
                times.push((work.run)(root));
            }
        }
        for (position, ((name, _), goal)) in self.ours.iter().zip(work.goals).enumerate() {
            let ours = &times[1 + position];
            let bindfs = match bindfs {
                Some(_) => beside(ours, &times[1 + self.ours.len()], "bindfs", "<= 1.1"),
                None => String::new(),
            };
            println!(
                "{}, {word}: {name} {:.1} ms{}{bindfs}",
                work.name,
                milliseconds(median(ours.clone())),
                beside(ours, &times[0], "native", goal),
            );
        }
        if let (Some(_), Some(floor)) = (&self.floor, times.last()) {
            println!(
                "{}, {word}: the least file system {:.1} ms{}",
                work.name,
                milliseconds(median(floor.clone())),
                beside(floor, &times[0], "native", "-"),
            );
        }
    }
}

/// Says how long another way took, and what the ratio of ours to it is.
fn beside(ours: &[Duration], theirs: &[Duration], name: &str, goal: &str) -> String {
    let pairs = ours.iter().zip(theirs);
    let ratio = |(ours, theirs): (&Duration, &Duration)| ours.as_secs_f64() / theirs.as_secs_f64();
    let mut ratios: Vec<f64> = pairs.map(ratio).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    format!(
        "; {name} {:.1} ms, ratio {:.2} ({:.2} to {:.2}), goal {goal}",
        milliseconds(median(theirs.to_vec())),
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
    )
}

/// Compares how fast checked reads are with how fast one core hashes: of a blob whose hash is known, and of one that nobody hashed.
fn hashing_speed(workshop: &Workshop, layout: &Path, large: &Path) {
    let checked = |name: &str, flags: &[&str]| {
        let flags = [&["--reads", "checked"], flags].concat();
        workshop.mount_at(layout, name, &flags)
    };
    let known = checked("known", &[]);
    beside_hashing("cold read of 2 GiB that are hashed, checked", || {
        drop_caches();
        crate::read_whole(&known.path().join(large))
    });
    drop(known);
    beside_hashing("first read of 2 GiB that are not hashed, checked", || {
        let mount = checked("unhashed", &["--no-memory", "--no-wait"]);
        crate::read_whole(&mount.path().join(large))
    });
}

/// Reads a few times, each beside `openssl speed`, and prints the median of the ratios.
fn beside_hashing(name: &str, read: impl Fn() -> Duration) {
    let ratio = |_| {
        let speed = LARGE_BYTES as f64 / read().as_secs_f64();
        speed / (openssl_speed() / crate::cores() as f64)
    };
    let mut ratios: Vec<f64> = (0..COLD_ROUNDS).map(ratio).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "{name} / openssl speed -evp sha256 on one core: {:.2} ({:.2} to {:.2}; goal >= 0.9)",
        ratios[COLD_ROUNDS / 2],
        ratios[0],
        ratios[COLD_ROUNDS - 1],
    );
}

fn drop_caches() {
    run(Command::new("sh").args(["-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]));
}

fn each(names: &[PathBuf], work: impl Fn(&PathBuf)) -> Duration {
    let start = Instant::now();
    names.iter().for_each(work);
    start.elapsed()
}

fn read_at_random(path: &Path) -> Duration {
    let file = File::open(path).unwrap();
    let mut buffer = [0; 4096];
    let mut state = 88_172_645_463_325_252_u64;
    let start = Instant::now();
    for _ in 0..RANDOM_READS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let offset = state % (LARGE_BYTES / 4096) * 4096;
        file.read_exact_at(&mut buffer, offset).unwrap();
    }
    start.elapsed()
}

/// Reads a quarter of the file with each of four threads.
fn read_in_parallel(path: &Path) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for quarter in 0..4 {
            scope.spawn(move || {
                let file = File::open(path).unwrap();
                let mut buffer = vec![0; 128 << 10];
                let (mut offset, end) = (
                    quarter * (LARGE_BYTES / 4),
                    (quarter + 1) * (LARGE_BYTES / 4),
                );
                while offset < end {
                    file.read_exact_at(&mut buffer, offset).unwrap();
                    offset += buffer.len() as u64;
                }
            });
        }
    });
    start.elapsed()
}
