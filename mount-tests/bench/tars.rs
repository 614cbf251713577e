//! Tars beside the folders they were made of, beside `/bin/true`, and beside ratarmount.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::layouts::Workshop;
use super::sync::{Registry, tool};
use super::{compare, largest, median, milliseconds, peak_mebibytes, read_whole, timed};

/// Runs all of it.
pub(super) fn run(_workshop: &Workshop) {
    let workshop = Workshop::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let layout = workshop.big("large", 16, 64 << 20);
    workshop.sign(&layout, "rsa");
    let tar = pack(&layout);
    list(&workshop, &tar);
    reads(&workshop, &layout, &tar);
    push(&workshop, &layout, &tar);
    for path in [&layout, &tar.with_extension("tar.signetfs")] {
        let _ = fs::remove_dir_all(path);
    }
    fs::remove_file(tar).unwrap();
    many(&workshop);
}

/// Writes a layout as a tar beside it.
fn pack(layout: &Path) -> PathBuf {
    let tar = layout.with_extension("tar");
    timed(
        Command::new("tar")
            .arg("-C")
            .arg(layout)
            .arg("-cf")
            .arg(&tar)
            .arg("."),
    );
    tar
}

/// Lists a tar of 1 GiB: only headers and manifests are read, and nothing is written.
fn list(workshop: &Workshop, tar: &Path) {
    let size = fs::metadata(tar).unwrap().len() >> 20;
    compare(
        &format!("list of a tar of {size} MiB / a process that does nothing"),
        "<= 3 and 10 ms more",
        || timed(workshop.signetfs().arg("list").arg(tar)),
        || timed(&mut Command::new("/bin/true")),
    );
    let before = names(tar.parent().unwrap());
    let trace = Command::new("strace")
        .args([
            "-f",
            "-e",
            "trace=pread64,read,pwrite64,write",
            "-o",
            "/dev/stdout",
        ])
        .arg(env!("CARGO_BIN_EXE_signetfs"))
        .args(["list"])
        .arg(tar)
        .stderr(Stdio::null())
        .output();
    if let Ok(trace) = trace {
        let text = String::from_utf8_lossy(&trace.stdout);
        let read: u64 = text
            .lines()
            .filter(|line| line.contains("read"))
            .filter_map(|line| line.rsplit_once("= ")?.1.trim().parse::<u64>().ok())
            .sum();
        println!("list of the same tar: {} KiB read in all", read >> 10);
    }
    assert_eq!(before, names(tar.parent().unwrap()), "list made a file");
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

/// Reads a layer from the mount of a tar, warm and in order.
fn reads(workshop: &Workshop, layout: &Path, tar: &Path) {
    let native = largest(&layout.join("blobs/sha256"));
    let name = Path::new("blobs/sha256").join(native.file_name().unwrap());
    let mount = workshop.mount(tar, &[]);
    let through = mount.path().join(&name);
    compare(
        "warm 64 MiB read through the mount of a tar / native",
        "<= 1.6",
        || read_whole(&through),
        || read_whole(&native),
    );
    let Some(other) = Ratarmount::start(tar) else {
        println!("skip: ratarmount is not installed");
        return;
    };
    let theirs = other.point.path().join(&name);
    compare(
        "the same / ratarmount",
        "<= 0.2",
        || read_whole(&through),
        || read_whole(&theirs),
    );
}

/// Is a mount of ratarmount's.
struct Ratarmount {
    program: PathBuf,
    point: tempfile::TempDir,
}

impl Ratarmount {
    fn start(tar: &Path) -> Option<Self> {
        let program = tool("../venv/bin/ratarmount");
        let point = tempfile::tempdir().unwrap();
        let started = Command::new(&program)
            .args(["--index-file", ":memory:"])
            .arg(tar)
            .arg(point.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let mounted = started.is_ok_and(|status| status.success());
        mounted.then_some(Self { program, point })
    }
}

impl Drop for Ratarmount {
    fn drop(&mut self) {
        let _ = Command::new(&self.program)
            .arg("-u")
            .arg(self.point.path())
            .status();
    }
}

/// Pushes an image from a tar and from the folder, each time into an empty registry.
fn push(workshop: &Workshop, layout: &Path, tar: &Path) {
    let sync = |source: &Path| {
        let registry = Registry::start();
        let mut command = workshop.signetfs();
        command
            .args(["sync", "--plain-http", "--scope", "local/bench"])
            .arg(format!("{}:v0", source.display()))
            .arg(format!("{}/team/app:v0", registry.address));
        timed(&mut command)
    };
    compare(
        "sync of 1 GiB from a tar / from its folder",
        "<= 1.1",
        || sync(tar),
        || sync(layout),
    );
}

/// Mounts a tar of 100,000 members, all of them of signed images.
fn many(workshop: &Workshop) {
    let layout = workshop.crowd("many", 200, 498);
    workshop.sign(&layout, "p256");
    let members = fs::read_dir(layout.join("blobs/sha256")).unwrap().count();
    let tar = pack(&layout);
    fs::remove_dir_all(&layout).unwrap();
    let mut times = Vec::new();
    let mut peak = 0;
    for flags in [&["--no-memory"][..], &["--no-memory"], &[], &[], &[]] {
        let start = Instant::now();
        let mount = workshop.mount(&tar, flags);
        let time = start.elapsed();
        peak = peak.max(peak_mebibytes(mount.path()));
        times.push(time);
        println!(
            "mount of a tar of {members} blobs {flags:?}: {:.0} ms",
            milliseconds(time)
        );
    }
    println!(
        "mount of a tar of {members} blobs: {:.0} ms, goal <= 1,000 ms; VmHWM {peak} MiB, goal <= 100 MiB",
        milliseconds(median(times))
    );
}
