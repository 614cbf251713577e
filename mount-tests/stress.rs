//! Everything at once for a while: readers that compare bytes, storms of signing and policies, mounts that come and go.
//!
//! Twenty seconds each, sixty under `CI=true`, or `SIGNETFS_STRESS_SECONDS`. Nothing may be wrong, hang, or be left over.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signetfs::sys::mount::extended_attribute;

use crate::support::layouts::{Layout, blob_path};
use crate::support::{Mount, Ran, User, fuse, rounds, tool};

const EIO: i32 = 5;
const EBADMSG: i32 = 74;
/// How long after its time a test counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);
const READERS: u64 = 8;

/// Is how long a test goes on, and whether it has.
struct Clock {
    started: Instant,
    length: Duration,
    failed: AtomicBool,
    laps: AtomicU64,
}

impl Clock {
    fn start() -> Arc<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let asked = variable("SIGNETFS_STRESS_SECONDS").and_then(|text| text.parse().ok());
        let usual = if variable("CI").as_deref() == Some("true") {
            60
        } else {
            20
        };
        Arc::new(Self {
            started: Instant::now(),
            length: Duration::from_secs(asked.unwrap_or(usual)),
            failed: AtomicBool::new(false),
            laps: AtomicU64::new(0),
        })
    }

    fn runs(&self) -> bool {
        self.started.elapsed() < self.length && !self.failed.load(Ordering::Relaxed)
    }

    /// Runs each of some jobs on a thread until the time is over; a hang kills the daemon, so that every caller gets an error.
    #[track_caller]
    fn run(self: &Arc<Self>, pid: &str, jobs: Vec<Box<dyn FnMut() + Send>>) {
        let threads: Vec<_> = jobs
            .into_iter()
            .map(|mut job| {
                let clock = Arc::clone(self);
                thread::spawn(move || {
                    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        while clock.runs() {
                            job();
                            clock.laps.fetch_add(1, Ordering::Relaxed);
                        }
                    }));
                    if ran.is_err() {
                        clock.failed.store(true, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            if self.started.elapsed() > self.length + PATIENCE {
                let _ = std::process::Command::new("kill")
                    .args(["-KILL", pid])
                    .status();
                panic!("something hangs");
            }
            thread::sleep(Duration::from_millis(50));
        }
        assert!(!self.failed.load(Ordering::Relaxed), "a job failed");
        eprintln!("{} laps", self.laps.load(Ordering::Relaxed));
    }
}

/// Is a small generator of numbers that need not be good.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Writes blobs of sizes around the limits of chunks and data paths; returns their digests and bytes.
fn blobs(layout: &Layout) -> Vec<(String, Vec<u8>)> {
    let mut dice = Dice(7);
    [1, 4096, 65_535, 65_536, 131_073, 700_001, 3 << 20]
        .into_iter()
        .map(|size| {
            let bytes: Vec<u8> = (0..size).map(|_| dice.below(256) as u8).collect();
            (layout.blob(&bytes), bytes)
        })
        .collect()
}

fn policy(level: &str) -> String {
    format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"test","registryScopes":["*"],
        "signatureVerification":{{"level":"{level}"}},"trustStores":["ca:wabbit"],"trustedIdentities":["*"]}}]}}"#
    )
}

fn pid(point: &Path) -> String {
    let value = extended_attribute(point, "user.signetfs.pid")
        .unwrap()
        .unwrap();
    String::from_utf8(value).unwrap()
}

/// Counts the threads and descriptors of a process.
fn holdings(pid: &str) -> (usize, usize) {
    let count = |name: &str| {
        fs::read_dir(Path::new("/proc").join(pid).join(name))
            .unwrap()
            .count()
    };
    (count("task"), count("fd"))
}

fn mounts_below(folder: &Path) -> usize {
    let mounts = signetfs::fuse::mountinfo::list().unwrap();
    mounts
        .iter()
        .filter(|mount| mount.point.starts_with(folder))
        .count()
}

/// Returns a job that reads one blob, whole or in part, and compares it.
fn reader(
    point: PathBuf,
    blobs: Arc<Vec<(String, Vec<u8>)>>,
    seed: u64,
) -> Box<dyn FnMut() + Send> {
    let mut dice = Dice(seed);
    Box::new(move || {
        let (digest, bytes) = &blobs[dice.below(blobs.len() as u64) as usize];
        let path = blob_path(&point, digest);
        if dice.below(2) == 0 {
            assert!(fs::read(&path).unwrap() == *bytes, "{digest}");
        } else {
            let from = dice.below(bytes.len() as u64) as usize;
            let length = (dice.below(200_000) as usize).min(bytes.len() - from);
            let mut part = vec![0; length];
            let file = fs::File::open(&path).unwrap();
            file.read_exact_at(&mut part, from as u64).unwrap();
            assert!(part == bytes[from..from + length], "{digest} at {from}");
        }
    })
}

/// Has fio write a file of blocks that carry their own checksums, puts it into a layout as a blob, and returns its digest.
fn blob_of_fio(user: &User, layout: &Layout, mebibytes: u64) -> String {
    let made = layout.root.join(".signetfs-fio");
    let mut command = user.program("fio");
    command.args(["--name=write", "--rw=write", "--bs=16k", "--do_verify=0"]);
    command.args(["--verify=crc32c", &format!("--size={mebibytes}m")]);
    command.arg(format!("--filename={}", made.display()));
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let digest = signetfs::oci::Digest::of(&fs::read(&made).unwrap()).to_string();
    fs::rename(made, blob_path(&layout.root, &digest)).unwrap();
    digest
}

/// Has fio read a blob with eight readers and verify every block.
#[track_caller]
fn verify_by_fio(user: &User, blob: &Path, order: &str) {
    let mut command = user.program("fio");
    command.args(["--name=read", "--bs=16k", "--verify=crc32c", "--readonly"]);
    command.args(["--invalidate=0", "--verify_fatal=1", "--thread"]);
    command.args([
        &format!("--numjobs={READERS}"),
        &format!("--rw={order}"),
        &format!("--filename={}", blob.display()),
    ]);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stderr.contains("verify failed"), "{ran:?}");
}

/// Returns a job that looks at the status: it is whole, from its token to its last line.
fn looker(point: PathBuf) -> Box<dyn FnMut() + Send> {
    Box::new(move || {
        let status = fs::read_to_string(point.join("verify-status")).unwrap();
        let mut lines = status.lines();
        let possible = ["unsigned", "verified", "no-policy", "pending"];
        let token = lines.next().unwrap();
        assert!(possible.contains(&token), "{status}");
        assert!(lines.next().unwrap().starts_with("# live only"), "{status}");
        assert!(lines.next().unwrap().starts_with("policy="), "{status}");
        assert!(lines.last().unwrap().starts_with("orphans="), "{status}");
        assert!(status.ends_with('\n'), "{status}");
    })
}

/// Returns a job that puts policies into force, and one that breaks every third time.
fn politician(point: PathBuf) -> Box<dyn FnMut() + Send> {
    let mut lap = 0;
    Box::new(move || {
        lap += 1;
        let path = point.join("trustpolicy.json");
        match lap % 3 {
            0 => {
                let refused = fs::write(&path, "{\"version\":}").unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(EBADMSG));
            }
            1 => fs::write(&path, policy("strict")).unwrap(),
            _ => fs::write(&path, policy("permissive")).unwrap(),
        }
    })
}

#[test]
fn everything_at_once_leaves_nothing_behind() {
    if !fuse() {
        return;
    }
    let user = Arc::new(User::new());
    user.succeed(&["cert", "generate-test", "--default", "wabbit"]);
    let mut layout = Layout::new(&user.path("lay"));
    layout.image("v1", "one");
    let fio = tool("fio").map(|_| blob_of_fio(&user, &layout, 8));
    let blobs = Arc::new(blobs(&layout));
    let before = mounts_below(&user.path("."));
    let mount = Mount::new(&user, "lay", "mnt", &[]).unwrap();
    let point = user.path("mnt");
    let served_by = pid(&point);
    let clock = Clock::start();

    let touch: Box<dyn FnMut() + Send> = {
        let path = mount.path("sign");
        Box::new(move || {
            let now = fs::File::options().append(true).open(&path).unwrap();
            let times = std::process::Command::new("touch")
                .arg(&path)
                .status()
                .unwrap();
            assert!(times.success());
            drop(now);
        })
    };
    let cycle: Box<dyn FnMut() + Send> = {
        let user = Arc::clone(&user);
        Box::new(move || {
            let other = Mount::new(&user, "lay", "other", &["--no-sign"]).unwrap();
            assert!(other.read("verify-status").lines().count() > 3);
        })
    };
    // Every path once, so that what is kept for good is there before it is counted.
    let mut once = [looker(point.clone()), politician(point.clone()), touch];
    for job in &mut once {
        job();
    }
    for (digest, bytes) in blobs.iter() {
        assert!(fs::read(blob_path(&point, digest)).unwrap() == *bytes);
    }
    let at_first = holdings(&served_by);

    let [look, decide, touch] = once;
    let mut jobs = vec![look, decide, touch, cycle];
    if let Some(digest) = fio {
        let (user, blob) = (Arc::clone(&user), blob_path(&point, &digest));
        jobs.push(Box::new(move || verify_by_fio(&user, &blob, "randread")));
    }
    jobs.extend((1..=READERS).map(|seed| reader(point.clone(), Arc::clone(&blobs), seed)));
    clock.run(&served_by, jobs);

    settle("threads and descriptors", || {
        let now = holdings(&served_by);
        (now.0 <= at_first.0 && now.1 <= at_first.1)
            .then_some(())
            .ok_or(format!("{at_first:?} before, {now:?} after"))
    });
    fs::write(mount.path("trustpolicy.json"), policy("strict")).unwrap();
    assert!(mount.read("verify-status").starts_with("verified\n"));
    let entries = crate::support::layouts::index(&user.path("lay"));
    // One image, and one signature for however many touches.
    assert_eq!(entries["manifests"].as_array().unwrap().len(), 2);
    drop(mount);
    settle("the serving process", || gone(&served_by));
    assert_eq!(mounts_below(&user.path(".")), before);
}

#[test]
fn fio_verifies_every_block_on_both_paths() {
    if !fuse() || tool("fio").is_none() {
        return;
    }
    let user = User::new();
    let layout = Layout::new(&user.path("lay"));
    let digest = blob_of_fio(&user, &layout, 48);
    // A file that was just written is hashed for one look only.
    thread::sleep(Duration::from_millis(150));
    for flags in [&[][..], &["--reads", "checked"]] {
        let mount = Mount::new(&user, "lay", "mnt", flags).unwrap();
        let blob = blob_path(&user.path("mnt"), &digest);
        // The first time it is hashed while it is read.
        for order in ["read", "randread", "read"] {
            verify_by_fio(&user, &blob, order);
        }
        drop(mount);
    }
}

#[test]
fn mounts_that_come_and_go_leave_nothing_behind() {
    if !fuse() {
        return;
    }
    let user = User::new();
    user.with_key("wabbit");
    let image = Layout::new(&user.path("lay")).image("v1", "one");
    let point = user.path("mnt");
    let flags: [&[&str]; 4] = [
        &[],
        &["--reads", "checked"],
        &["--no-wait", "--no-memory"],
        &["--read-only"],
    ];
    fs::create_dir(&point).unwrap();
    let mut served = Vec::new();
    for round in 0..rounds(5) * 12 {
        user.succeed(&[&["mount", "lay", "mnt"], flags[round % 4]].concat());
        let daemon = pid(&point);
        let status = fs::read_to_string(point.join("verify-status")).unwrap();
        assert!(status.lines().count() > 3, "{status}");
        let layer = fs::read(blob_path(&point, &image.layers[0])).unwrap();
        assert!(signetfs::oci::Digest::of(&layer).to_string() == image.layers[0]);
        match round % 3 {
            0 => drop(user.succeed(&["umount", "mnt"])),
            // A signal ends it, or kills it; the next mount comes over what is left.
            number => {
                let signal = ["-TERM", "-KILL"][number - 1];
                let sent = user.program("kill").args([signal, &daemon]).status();
                assert!(sent.unwrap().success());
                settle("a process that was ended", || gone(&daemon));
            }
        }
        served.push(daemon);
    }
    user.run(&["umount", "mnt"]);
    for daemon in served {
        settle("a serving process", || gone(&daemon));
    }
    assert_eq!(mounts_below(&user.path(".")), 0);
    let names = fs::read_dir(user.path("lay")).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
}

/// Says that a process still runs.
fn gone(pid: &str) -> Result<(), String> {
    match Path::new("/proc").join(pid).exists() {
        true => Err(format!("{pid} still runs")),
        false => Ok(()),
    }
}

#[test]
fn a_byte_toggled_in_place_is_never_served() {
    if !fuse() {
        return;
    }
    let user = User::new();
    let layout = Layout::new(&user.path("lay"));
    let bytes: Vec<u8> = (0..400_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let digest = layout.blob(&bytes);
    let stored = blob_path(&layout.root, &digest);
    let mount = Mount::new(&user, "lay", "mnt", &["--reads", "checked"]).unwrap();
    let shown = blob_path(&user.path("mnt"), &digest);
    let clock = Clock::start();

    let times = fs::metadata(&stored).unwrap().modified().unwrap();
    let toggled = stored.clone();
    let good = bytes[200_000];
    let toggle: Box<dyn FnMut() + Send> = Box::new(move || {
        let file = fs::File::options().write(true).open(&toggled).unwrap();
        for byte in [good ^ 1, good] {
            file.write_all_at(&[byte], 200_000).unwrap();
            file.set_modified(times).unwrap();
            thread::sleep(Duration::from_micros(300));
        }
    });
    let bytes = Arc::new(bytes);
    let served = Arc::new(AtomicU64::new(0));
    let mut jobs = vec![toggle];
    for _ in 0..4 {
        let (path, bytes, served) = (shown.clone(), Arc::clone(&bytes), Arc::clone(&served));
        jobs.push(Box::new(move || match fs::read(&path) {
            Ok(read) => {
                assert!(read == *bytes, "a wrong byte was served");
                served.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(EIO), "{error}"),
        }));
    }
    clock.run(&pid(&user.path("mnt")), jobs);
    eprintln!("{} whole reads", served.load(Ordering::Relaxed));
    settle("the blob", || match fs::read(&shown) {
        Ok(read) if read == *bytes => Ok(()),
        other => Err(format!("{:?}", other.map(|read| read.len()))),
    });
    drop(mount);
}

/// Waits a while for what has to be so in the end.
#[track_caller]
fn settle(what: &str, mut check: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while let Err(error) = check() {
        assert!(start.elapsed() < PATIENCE, "{what}: {error}");
        thread::sleep(Duration::from_millis(20));
    }
}
