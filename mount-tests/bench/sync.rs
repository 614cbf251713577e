//! Pushing beside crane and skopeo, into distribution v3 on tmpfs: wall time, CPU, memory, requests.
//!
//! Hashes are not remembered on tmpfs (a file there tells too little about when it changed, see docs/SECURITY.md), so the layout
//! whose hashes are remembered is on disk, warm in the page cache; the cold one and the peers' are on tmpfs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::layouts::Workshop;

const ROUNDS: usize = 5;
const LAYERS: usize = 20;
const LAYER_BYTES: u64 = 50 << 20;
const SMALL_LAYERS: usize = 124;
const SPARSE_BYTES: u64 = 10 << 30;
/// From here to there and back takes twice as long.
const ONE_WAY: Duration = Duration::from_millis(10);

/// Is what one push took.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    wall: f64,
    processor: f64,
    kibibytes: u64,
    requests: usize,
}

/// Is a registry with nothing in it; it and its storage end with the value.
pub(super) struct Registry {
    child: Child,
    pub(super) address: String,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:0, secret: x}}\n",
            folder.path().join("data").display()
        );
        fs::write(&config, text).unwrap();
        let log = folder.path().join("log");
        let file = File::create(&log).unwrap();
        let child = Command::new(tool("registry-v3"))
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut registry = Self {
            child,
            address: String::new(),
            log,
            _folder: folder,
        };
        while registry.address.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
            let lines = registry.lines();
            let listening = lines
                .iter()
                .find_map(|line| line.split_once("listening on "));
            if let Some((_, rest)) = listening {
                let is_address = |c: &char| c.is_ascii_digit() || matches!(c, '.' | ':');
                registry.address = rest.chars().take_while(is_address).collect();
            }
        }
        registry
    }

    fn lines(&self) -> Vec<String> {
        let file = BufReader::new(File::open(&self.log).unwrap());
        file.lines().map_while(Result::ok).collect()
    }

    /// Counts the requests of the access log.
    fn requests(&self) -> usize {
        self.requests_with("")
    }

    /// Counts the requests of the access log that have these words in their line.
    fn requests_with(&self, words: &str) -> usize {
        let lines = self.lines();
        lines
            .iter()
            .filter(|line| line.contains(" HTTP/1.1\" ") && line.contains(words))
            .count()
    }
}

pub(super) fn tool(name: &str) -> PathBuf {
    let tools = std::env::var_os("SIGNETFS_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools"),
        PathBuf::from,
    );
    match tools.join("bin").join(name) {
        path if path.exists() => path,
        _ => PathBuf::from(name),
    }
}

/// Runs a command to its end and returns what it took, as time(1) counts.
fn measured(command: &Command) -> Cost {
    let mut timed = Command::new("time");
    timed
        .args(["-f", "cost %U %S %M"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        timed.env(name, value.unwrap_or_default());
    }
    let start = Instant::now();
    let output = timed.stdout(Stdio::null()).output().unwrap();
    let wall = start.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    let line = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("cost "));
    let words: Vec<f64> = line
        .unwrap()
        .split(' ')
        .map(|word| word.parse().unwrap())
        .collect();
    Cost {
        wall,
        processor: words[0] + words[1],
        kibibytes: words[2] as u64,
        requests: 0,
    }
}

/// Is one way to push.
struct Way<'a> {
    name: &'a str,
    command: Box<dyn Fn(&str) -> Command + 'a>,
}

fn signetfs<'a>(
    name: &'a str,
    workshop: &'a Workshop,
    layout: &'a Path,
    flags: &'a [&'a str],
) -> Way<'a> {
    let command = move |host: &str| {
        let mut command = workshop.signetfs();
        command
            .args(["sync", "--plain-http", "--scope", "local/bench"])
            .args(flags);
        command.arg(format!("{}:v0", layout.display()));
        command.arg(format!("{host}/team/app:v0"));
        command
    };
    Way {
        name,
        command: Box::new(command),
    }
}

/// Returns the ways of others, which take a layout with one image and nothing else.
fn others(plain: &Path) -> [Way<'_>; 2] {
    let crane = move |host: &str| {
        let mut command = Command::new(tool("crane"));
        command
            .arg("push")
            .arg(plain)
            .arg(format!("{host}/team/app:v0"));
        command
    };
    let skopeo = move |host: &str| {
        let mut command = Command::new("skopeo");
        command.args([
            "copy",
            "--insecure-policy",
            "--all",
            "--dest-tls-verify=false",
        ]);
        command.arg(format!("oci:{}:v0", plain.display()));
        command.arg(format!("docker://{host}/team/app:v0"));
        command
    };
    [
        Way {
            name: "crane",
            command: Box::new(crane),
        },
        Way {
            name: "skopeo",
            command: Box::new(skopeo),
        },
    ]
}

/// Pushes every way in turn, round after round, each time into an empty registry and each round beginning with another way.
/// Returns what each way cost, by round.
fn interleaved(ways: &[Way<'_>], delay: Duration) -> Vec<Vec<Cost>> {
    let mut costs: Vec<Vec<Cost>> = ways.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS {
        for turn in 0..ways.len() {
            let number = (round + turn) % ways.len();
            let registry = Registry::start();
            let host = match delay {
                Duration::ZERO => registry.address.clone(),
                _ => delayed(&registry.address, delay),
            };
            let cost = measured(&(ways[number].command)(&host));
            costs[number].push(Cost {
                requests: registry.requests(),
                ..cost
            });
        }
    }
    costs
}

/// Returns the median of the ratios of wall times, round by round, and the least and the greatest.
fn ratio(ours: &[Cost], theirs: &[Cost]) -> String {
    let pairs = ours.iter().zip(theirs);
    let mut ratios: Vec<f64> = pairs
        .map(|(ours, theirs)| ours.wall / theirs.wall)
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let (least, greatest) = (ratios[0], ratios[ratios.len() - 1]);
    format!(
        "{:.2} ({least:.2} to {greatest:.2})",
        ratios[ratios.len() / 2]
    )
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |value: &dyn Fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Cost {
        wall: middle(&|cost| cost.wall),
        processor: middle(&|cost| cost.processor),
        kibibytes: middle(&|cost| cost.kibibytes as f64) as u64,
        requests: middle(&|cost| cost.requests as f64) as usize,
    }
}

fn print(name: &str, cost: &Cost) {
    println!(
        "  {name}: {:.2} s, CPU {:.2} s, {:.1} MiB, {} requests",
        cost.wall,
        cost.processor,
        cost.kibibytes as f64 / 1024.0,
        cost.requests
    );
}

/// Where a layout lies whose hashes are remembered.
fn on_disk() -> Workshop {
    Workshop::new(Path::new("/var/tmp"))
}

/// Pushes large layers beside crane and skopeo.
pub(crate) fn large(workshop: &Workshop) {
    let on_disk = &on_disk();
    let plain = workshop.random("plain", LAYERS, LAYER_BYTES);
    let signed = workshop.copy(&plain);
    workshop.sign(&signed, "rsa");
    let kept = on_disk.random("warm", LAYERS, LAYER_BYTES);
    on_disk.sign(&kept, "rsa");
    remember(on_disk, &kept);
    let [crane, skopeo] = others(&plain);
    let ways = [
        signetfs("remembered", on_disk, &kept, &[]),
        signetfs("cold", workshop, &signed, &["--no-memory"]),
        crane,
        skopeo,
    ];
    println!(
        "push of {LAYERS} x {} MiB to distribution v3 on tmpfs, medians of {ROUNDS}:",
        LAYER_BYTES >> 20
    );
    let costs = interleaved(&ways, Duration::ZERO);
    for (way, costs) in ways.iter().zip(&costs) {
        print(way.name, &median(costs));
    }
    let [warm, cold, crane, skopeo] = &costs[..] else {
        unreachable!("four ways");
    };
    println!(
        "  remembered / crane {}, goal <= 1.1; / skopeo {}, goal <= 0.35; cold / crane {}, goal <= 1.5",
        ratio(warm, crane),
        ratio(warm, skopeo),
        ratio(cold, crane)
    );
    let (warm, cold) = (median(warm), median(cold));
    println!(
        "  CPU remembered {:.2} s, goal <= 0.4; cold {:.2} s, goal <= 1.3; memory {:.1} and {:.1} MiB, goal <= 12",
        warm.processor,
        cold.processor,
        warm.kibibytes as f64 / 1024.0,
        cold.kibibytes as f64 / 1024.0
    );
    for layout in [&plain, &signed] {
        fs::remove_dir_all(layout).unwrap();
    }
}

/// Has the hashes of a layout remembered: they are when they are older than the clock of the file system is coarse.
fn remember(workshop: &Workshop, layout: &Path) {
    let reference = format!("{}:v0", layout.display());
    for _ in 0..2 {
        std::thread::sleep(Duration::from_secs(3));
        let mut verify = workshop.signetfs();
        verify.args(["verify", "--scope", "local/bench", &reference]);
        assert!(
            verify
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
    }
}

/// Pushes small blobs over a slow line beside crane and skopeo, then again with nothing changed.
pub(crate) fn small(_: &Workshop) {
    let workshop = &on_disk();
    let plain = workshop.random("small-plain", SMALL_LAYERS, 3000);
    let signed = workshop.copy(&plain);
    workshop.sign(&signed, "rsa");
    remember(workshop, &signed);
    let [crane, skopeo] = others(&plain);
    let ways = [signetfs("signetfs", workshop, &signed, &[]), crane, skopeo];
    println!(
        "push of {} small blobs, {} ms there and back, medians of {ROUNDS}:",
        SMALL_LAYERS + 1,
        2 * ONE_WAY.as_millis()
    );
    let costs = interleaved(&ways, ONE_WAY);
    for (way, costs) in ways.iter().zip(&costs) {
        print(way.name, &median(costs));
    }
    let registry = Registry::start();
    let (host, way) = (delayed(&registry.address, ONE_WAY), &ways[0]);
    measured(&(way.command)(&host));
    // Each blob is looked for once, those of the signature among them.
    let blobs = registry.requests_with("\"HEAD /v2/team/app/blobs/");
    println!(
        "  goal <= 1.5 s and <= 3 requests a blob ({:.2} for each of {blobs})",
        registry.requests_with("/blobs/") as f64 / blobs as f64
    );
    let before = registry.requests();
    let again = measured(&(way.command)(&host));
    println!(
        "  unchanged: {:.2} s, {} requests, goal <= 3 and one for the subject",
        again.wall,
        registry.requests() - before
    );
}

/// Pushes one blob that is larger than any memory.
pub(crate) fn sparse(_: &Workshop) {
    let workshop = &on_disk();
    let layout = workshop.sparse("sparse", SPARSE_BYTES);
    let registry = Registry::start();
    let way = signetfs(
        "cold",
        workshop,
        &layout,
        &["--no-memory", "--allow", "unsigned"],
    );
    let mut cost = measured(&(way.command)(&registry.address));
    cost.requests = registry.requests();
    println!(
        "push of one sparse blob of {} GiB, hashed while sent:",
        SPARSE_BYTES >> 30
    );
    print("signetfs", &cost);
    println!(
        "  memory {:.1} MiB, goal <= 12",
        cost.kibibytes as f64 / 1024.0
    );
}

/// Starts a proxy that lets bytes pass after a delay, in both directions, and returns its address. It ends with the program.
fn delayed(address: &str, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().to_string();
    let address = address.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&address) else {
                return;
            };
            for stream in [&client, &server] {
                let _ = stream.set_nodelay(true);
            }
            let copies = (client.try_clone().unwrap(), server.try_clone().unwrap());
            carry(client, server, delay);
            carry(copies.1, copies.0, delay);
        }
    });
    own
}

/// Carries bytes one way: read at once, written when they are old enough.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if sender
                .send((Instant::now() + delay, buffer[..read].to_vec()))
                .is_err()
            {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}
