//! The tree beside its native directory, bindfs and ratarmount: reading large blobs, listing and stating very many, opening small ones.
//!
//! All of them do the same work in turn within a round. On the file system of the checkout, as tmpfs gives no leases.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::layouts::{Mount, Workshop, run};
use crate::{median, milliseconds, openssl_speed, timed};

const LARGE_BYTES: u64 = 2 << 30;
const BLOBS: usize = 100_000;
const SMALL: usize = 10_000;
const RANDOM_READS: u64 = 20_000;
const ROUNDS: usize = 5;
const COLD_ROUNDS: usize = 3;

/// Is one way to the same layout.
struct Target {
    name: &'static str,
    root: PathBuf,
    unmount: Option<PathBuf>,
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(point) = &self.unmount {
            run(Command::new("umount").arg(point));
        }
    }
}

/// Is one piece of work, and what its ratio to the native directory should be: with passthrough, with checked reads.
struct Work<'a> {
    name: &'a str,
    goals: [&'a str; 2],
    is_cold: bool,
    run: &'a dyn Fn(&Path) -> Duration,
}

/// Compares all ways to one layout of a large blob and very many small ones.
pub(crate) fn measure(_: &Workshop) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let workshop = Workshop::new(&base);
    let layout = workshop.big("trees", 1, LARGE_BYTES as usize);
    let blobs = layout.join("blobs/sha256");
    let large = crate::largest(&blobs);
    let large = Path::new("blobs/sha256").join(large.file_name().unwrap());
    let names = small_blobs(&blobs);
    workshop.sign(&layout, "rsa");
    let (checked, passthrough) = (
        workshop.mount_at(&layout, "checked", &["--reads", "checked"]),
        workshop.mount_at(&layout, "passthrough", &[]),
    );
    let targets = targets(&layout, [&passthrough, &checked]);

    let sequential = |root: &Path| crate::read_whole(&root.join(&large));
    let random = |root: &Path| read_at_random(&root.join(&large));
    let parallel = |root: &Path| read_in_parallel(&root.join(&large));
    let find = |root: &Path| {
        timed(
            Command::new("find")
                .arg(root.join("blobs"))
                .arg("-type")
                .arg("f"),
        )
    };
    let list = |root: &Path| {
        timed(
            Command::new("ls")
                .args(["-l", "--"])
                .arg(root.join("blobs/sha256")),
        )
    };
    let stat = |root: &Path| {
        each(&names, |name| {
            fs::symlink_metadata(root.join(name)).unwrap();
        })
    };
    let small = |root: &Path| {
        each(&names[..SMALL], |name| {
            assert!(!fs::read(root.join(name)).unwrap().is_empty())
        })
    };
    let work = |name, goals, is_cold, run| Work {
        name,
        goals,
        is_cold,
        run,
    };
    for work in [
        work(
            "sequential 2 GiB, warm",
            ["<= 1.1", "<= 1.6"],
            false,
            &sequential as &dyn Fn(&Path) -> Duration,
        ),
        work("random 4 KiB, warm", ["<= 1.2", "-"], false, &random),
        work("4 readers, warm", ["<= 1.1", "<= 1.6"], false, &parallel),
        work("find, warm", ["<= 1.0"; 2], false, &find),
        work("ls -l, warm", ["<= 1.0"; 2], false, &list),
        work("stat of 100k, warm", ["<= 1.0"; 2], false, &stat),
        work("open and read 10k, warm", ["<= 4.5"; 2], false, &small),
        work("sequential 2 GiB, cold", ["-", "-"], true, &sequential),
        work("random 4 KiB, cold", ["-", "-"], true, &random),
        work("4 readers, cold", ["-", "-"], true, &parallel),
        work("find, cold", ["<= 0.7"; 2], true, &find),
        work("ls -l, cold", ["<= 0.7"; 2], true, &list),
        work("stat of 100k, cold", ["<= 0.7"; 2], true, &stat),
        work("open and read 10k, cold", ["<= 4.5"; 2], true, &small),
    ] {
        compare(&work, &targets);
    }
    hashing_speed(&workshop, &layout, &large);
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

/// Returns the native directory first, then ours, then the peers that are installed.
fn targets(layout: &Path, ours: [&Mount; 2]) -> Vec<Target> {
    let target = |name, root: &Path, unmount: Option<&Path>| Target {
        name,
        root: root.to_owned(),
        unmount: unmount.map(Path::to_owned),
    };
    let mut targets = vec![
        target("native", layout, None),
        target("passthrough", ours[0].path(), None),
        target("checked", ours[1].path(), None),
    ];
    let mut peer = |name: &'static str, command: &mut Command| {
        let point = layout.with_extension(name);
        fs::create_dir(&point).unwrap();
        let output = command.arg(&point).stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => {
                targets.push(target(name, &point, Some(&point)));
            }
            other => println!("{name} is left out: {other:?}"),
        }
    };
    peer("bindfs", Command::new("bindfs").arg("-r").arg(layout));
    let tar = layout.with_extension("tar");
    run(Command::new("tar")
        .arg("-C")
        .arg(layout)
        .arg("-cf")
        .arg(&tar)
        .arg("."));
    let tools = std::env::var_os("SIGNETFS_TOOLS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools"),
        PathBuf::from,
    );
    peer(
        "ratarmount",
        Command::new(tools.join("venv/bin/ratarmount")).arg(tar),
    );
    targets
}

/// Does the work on every target in turn, and prints medians, ratios to the first target, and goals.
fn compare(work: &Work<'_>, targets: &[Target]) {
    let rounds = if work.is_cold { COLD_ROUNDS } else { ROUNDS };
    let mut times = vec![Vec::new(); targets.len()];
    for round in 0..=rounds {
        for (target, times) in targets.iter().zip(&mut times) {
            if work.is_cold {
                run(Command::new("sh").args(["-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]));
            }
            let time = (work.run)(&target.root);
            // The first round warms up.
            if round > 0 {
                times.push(time);
            }
        }
    }
    let bindfs = targets.iter().position(|target| target.name == "bindfs");
    for (position, target) in targets.iter().enumerate() {
        let ratio = |other: usize| {
            let pairs = times[position].iter().zip(&times[other]);
            let mut ratios: Vec<f64> = pairs
                .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64())
                .collect();
            ratios.sort_unstable_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        };
        let goal = match target.name {
            "passthrough" => work.goals[0],
            "checked" => work.goals[1],
            _ => "-",
        };
        let beside = match (bindfs, goal != "-" || position == 1 || position == 2) {
            (Some(bindfs), true) => format!(", to bindfs {:.2} (goal <= 1.1)", ratio(bindfs)),
            _ => String::new(),
        };
        println!(
            "{}: {} {:.1} ms, to native {:.2} (goal {goal}){beside}",
            work.name,
            target.name,
            milliseconds(median(times[position].clone())),
            ratio(0),
        );
    }
}

/// Prints how fast a blob nobody has hashed yet is read with checked reads, in hashing speeds of one core.
fn hashing_speed(workshop: &Workshop, layout: &Path, large: &Path) {
    let mut ratios = Vec::new();
    for _ in 0..COLD_ROUNDS {
        let mount = workshop.mount_at(
            layout,
            "unhashed",
            &["--reads", "checked", "--no-memory", "--no-wait"],
        );
        let time = crate::read_whole(&mount.path().join(large));
        let speed = LARGE_BYTES as f64 / time.as_secs_f64();
        ratios.push(speed / (openssl_speed() / crate::cores() as f64));
    }
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "first read of 2 GiB that are not hashed, checked / openssl speed -evp sha256 on one core: {:.2} (goal >= 0.9)",
        ratios[ratios.len() / 2]
    );
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
