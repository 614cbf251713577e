//! Prints ratios, each taken inside one run: signetfs beside notation, a Go peer on notation-go, crane and skopeo, `openssl speed`, and the native
//! file system.
//!
//! `scripts/bench` builds what it needs and runs this. Nothing here is asserted; docs/PERFORMANCE.md records a run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measuring program"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a measuring program"
)]

mod floor;
mod layouts;
mod sync;
mod tars;
mod trees;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use layouts::{Other, Workshop};
use signetfs::sys::mount::extended_attribute;

const ROUNDS: usize = 15;

/// Is one group of measurements and its name.
type Suite = (&'static str, fn(&Workshop));

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let all: [Suite; 15] = [
        ("verify", verify_one),
        ("sign", sign_one),
        ("touch", touch_sign),
        ("thousand", verify_thousand),
        ("hashing", hash_closure),
        ("status", read_status),
        ("reads", read_blob),
        ("scale", mount_crowd),
        ("sync-large", sync::large),
        ("sync-small", sync::small),
        ("sync-sparse", sync::sparse),
        ("tars", tars::run),
        ("trees-reads", trees::reads),
        ("trees-metadata", trees::metadata),
        ("trees-small", trees::small),
    ];
    let workshop = Workshop::new(Path::new("/dev/shm"));
    println!(
        "cores {}, medians of {ROUNDS} rounds unless said otherwise, tools in turn within a round",
        cores()
    );
    for (name, run) in all {
        let is_part_of = |word: &str| {
            let rest = name.strip_prefix(word);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        if wanted.is_empty() || wanted.iter().any(|word| is_part_of(word)) {
            run(&workshop);
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs a command to its end and returns the wall time of the whole process.
fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    let output = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let time = start.elapsed();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    time
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Times two pieces of work in turn and prints both medians, the median of the pairwise ratios, and the goal.
fn compare(
    what: &str,
    goal: &str,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) {
    let (mut left, mut right, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    ours();
    theirs();
    for _ in 0..ROUNDS {
        let (a, b) = (ours(), theirs());
        ratios.push(a.as_secs_f64() / b.as_secs_f64());
        left.push(a);
        right.push(b);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "{what}: {:.2} ms beside {:.2} ms, ratio {:.2} ({:.2} to {:.2}), goal {goal}",
        milliseconds(median(left)),
        milliseconds(median(right)),
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
    );
}

fn verifying(workshop: &Workshop, reference: &str) -> Command {
    let mut command = workshop.signetfs();
    command.args(["verify", "--scope", "local/bench", reference]);
    command
}

fn verifying_elsewhere(workshop: &Workshop, other: Other, reference: &str) -> Command {
    let mut command = workshop.other(other, "verify");
    command.args(["--scope", "local/bench", reference]);
    command
}

fn verify_one(workshop: &Workshop) {
    let layout = workshop.image("verify-one", 1, 1 << 10);
    workshop.sign(&layout, "rsa");
    let reference = format!("{}:v0", layout.display());
    for other in workshop.others() {
        compare(
            &format!("one verify process / {}", other.name()),
            "<= 0.4",
            || timed(&mut verifying(workshop, &reference)),
            || timed(&mut verifying_elsewhere(workshop, other, &reference)),
        );
    }
}

/// Is a layout that is signed again and again, each time as it was.
struct Unsigned<'a> {
    workshop: &'a Workshop,
    layout: PathBuf,
    copy: PathBuf,
}

impl<'a> Unsigned<'a> {
    fn new(workshop: &'a Workshop, name: &str) -> Self {
        let layout = workshop.image(name, 1, 1 << 10);
        let copy = workshop.copy(&layout);
        Self {
            workshop,
            layout,
            copy,
        }
    }

    /// Times a command on the layout as it was.
    fn timed(&self, command: &mut Command) -> Duration {
        self.workshop.restore(&self.copy, &self.layout);
        timed(command.arg(format!("{}:v0", self.layout.display())))
    }
}

fn sign_one(workshop: &Workshop) {
    for other in workshop.others() {
        for (key, goal) in [("rsa", "<= 0.6"), ("p256", "<= 0.4")] {
            let mine = Unsigned::new(workshop, "sign-mine");
            let theirs = Unsigned::new(workshop, "sign-other");
            compare(
                &format!("one sign process ({key}) / {}", other.name()),
                goal,
                || mine.timed(workshop.signetfs().args(["sign", "--key", key])),
                || theirs.timed(workshop.other(other, "sign").args(["-k", key])),
            );
        }
    }
}

/// Signs by touch in a mount until touch returns, beside one process of another program that signs the same.
fn touch_sign(workshop: &Workshop) {
    for other in workshop.others() {
        for (key, goal) in [("rsa", "<= 0.5"), ("p256", "<= 0.3")] {
            workshop.set_default_key(key);
            let mine = Unsigned::new(workshop, "touch-mine");
            let theirs = Unsigned::new(workshop, "touch-other");
            let mount = workshop.mount(&mine.layout, &[]);
            let sign = mount.path().join("sign");
            compare(
                &format!(
                    "touch sign in a mount ({key}) / one sign process of {}",
                    other.name()
                ),
                goal,
                || {
                    workshop.restore(&mine.copy, &mine.layout);
                    workshop.judged(&mount, "unsigned");
                    let time = timed(Command::new("touch").arg(&sign));
                    workshop.judged(&mount, "verified");
                    time
                },
                || theirs.timed(workshop.other(other, "sign").args(["-k", key])),
            );
        }
    }
}

fn verify_thousand(workshop: &Workshop) {
    let layout = workshop.image("thousand", 1000, 64);
    workshop.sign(&layout, "rsa");
    let path = layout.display().to_string();
    let single = workshop.image("thousand-single", 1, 64);
    workshop.sign(&single, "rsa");
    let reference = format!("{}:v0", single.display());
    for other in workshop.others() {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            ours.push(timed(verifying(workshop, &path).arg("--no-memory")));
            let runs = 40;
            let total: Duration = (0..runs)
                .map(|_| timed(&mut verifying_elsewhere(workshop, other, &reference)))
                .sum();
            theirs.push(total / runs * 1000);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "1,000 signed images by one process / 1,000 runs of {} (40 measured): {:.0} ms beside {:.0} ms, ratio {:.3}, goal <= 0.03",
            other.name(),
            milliseconds(ours),
            milliseconds(theirs),
            ours.as_secs_f64() / theirs.as_secs_f64(),
        );
    }
}

/// Returns what `openssl speed` hashes on all cores, in bytes a second.
fn openssl_speed() -> f64 {
    let output = Command::new("openssl")
        .args([
            "speed",
            "-evp",
            "sha256",
            "-bytes",
            "16384",
            "-seconds",
            "2",
            "-mr",
            "-multi",
            &cores().to_string(),
        ])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .rev()
        .find(|line| line.starts_with("+F:"))
        .unwrap();
    line.rsplit(':').next().unwrap().trim().parse().unwrap()
}

fn hash_closure(workshop: &Workshop) {
    let layout = workshop.big("hashing", 8, 256 << 20);
    workshop.sign(&layout, "rsa");
    let path = layout.display().to_string();
    let bytes = 8.0 * f64::from(256 << 20);
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let time = timed(workshop.signetfs().args([
            "verify",
            "--scope",
            "local/bench",
            "--no-memory",
            &path,
        ]));
        ratios.push((bytes / time.as_secs_f64()) / openssl_speed());
    }
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "closure hashing (2 GiB, tmpfs) / openssl speed -evp sha256 x cores: {:.2} ({:.2} to {:.2}), goal >= 0.9",
        ratios[2], ratios[0], ratios[4]
    );
    fs::remove_dir_all(layout).unwrap();
}

fn read_status(workshop: &Workshop) {
    let layout = workshop.image("status", 1, 1 << 10);
    workshop.sign(&layout, "rsa");
    let mount = workshop.mount(&layout, &[]);
    let status = mount.path().join("verify-status");
    let mut times = Vec::new();
    for _ in 0..2000 {
        let start = Instant::now();
        let text = fs::read(&status).unwrap();
        times.push(start.elapsed());
        assert!(text.starts_with(b"verified\n"));
    }
    times.sort_unstable();
    println!(
        "read verify-status on an idle mount: p50 {:.3} ms, p99 {:.3} ms of 2,000, goal p50 <= 0.3 ms",
        milliseconds(times[1000]),
        milliseconds(times[1980])
    );
}

/// Reads a file to its end in 128 KiB pieces.
fn read_whole(path: &Path) -> Duration {
    let start = Instant::now();
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 128 << 10];
    while file.read(&mut buffer).unwrap() > 0 {}
    start.elapsed()
}

/// Reads through both data paths, on the file system of the checkout: on tmpfs there are no leases, and so no passthrough.
fn read_blob(_workshop: &Workshop) {
    let workshop = Workshop::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let layout = workshop.big("reads", 1, 1 << 30);
    workshop.sign(&layout, "rsa");
    let blob: PathBuf = largest(&layout.join("blobs/sha256"));
    let name = blob.file_name().unwrap();
    for (reads, goal) in [("auto", "<= 1.1 with passthrough"), ("checked", "<= 1.6")] {
        let mount = workshop.mount(&layout, &["--reads", reads]);
        let through = mount.path().join("blobs/sha256").join(name);
        compare(
            &format!("warm 1 GiB read through the mount (--reads {reads}) / native"),
            goal,
            || read_whole(&through),
            || read_whole(&blob),
        );
    }
    fs::remove_dir_all(layout).unwrap();
}

/// Mounts 100,000 blobs and 10,000 signed images, their hashes remembered: on a file system with leases.
fn mount_crowd(_workshop: &Workshop) {
    let variable = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let images = variable("SIGNETFS_BENCH_IMAGES").unwrap_or(10_000);
    let workshop = Workshop::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    // Made where syncing costs nothing.
    let made = Workshop::new(Path::new("/dev/shm"));
    let made = (made.crowd("crowd", images, 7), made);
    let layout = workshop.path("crowd");
    workshop.sign(&made.0, "p256");
    workshop.restore(&made.0, &layout);
    drop(made);
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().count();
    let first = Instant::now();
    drop(workshop.mount(&layout, &[]));
    let first = first.elapsed();
    let start = Instant::now();
    let mount = workshop.mount(&layout, &[]);
    let mounted = start.elapsed();
    let peak = peak_mebibytes(mount.path());
    let status = mount.path().join("verify-status");
    let look = || {
        let start = Instant::now();
        let text = fs::read(&status).unwrap();
        assert!(text.starts_with(b"verified\n"));
        start.elapsed()
    };
    let read = median((0..5).map(|_| look()).collect());
    let policy = fs::read(workshop.policy()).unwrap();
    let mut written = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        fs::write(mount.path().join("trustpolicy.json"), &policy).unwrap();
        written.push(start.elapsed());
        look();
    }
    let start = Instant::now();
    fs::write(mount.path().join("sign"), "tag=v1 key=rsa force\n").unwrap();
    let signed = start.elapsed();
    println!(
        "mount of {blobs} blobs and {images} signed images: {:.2} s (first time {:.2} s), goal <= 2 s; VmHWM {peak} MiB, goal <= 150 MiB; \
         policy write {:.2} s, goal <= 1 s; signing one {:.2} s; status read {:.1} ms; VmHWM at the end {} MiB",
        mounted.as_secs_f64(),
        first.as_secs_f64(),
        median(written).as_secs_f64(),
        signed.as_secs_f64(),
        milliseconds(read),
        peak_mebibytes(mount.path()),
    );
}

/// Returns the most memory that the daemon of a mount ever held.
fn peak_mebibytes(point: &Path) -> u64 {
    let pid = extended_attribute(point, "user.signetfs.pid")
        .unwrap()
        .unwrap();
    let pid = String::from_utf8(pid).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn largest(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap()
        .path()
}
