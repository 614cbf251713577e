//! What the tests of the whole program share: a user with an empty home, the program, layouts made without any tool.

pub(crate) mod faults;
pub(crate) mod layouts;
pub(crate) mod notation;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use signetfs::oci::Digest;

/// Returns the program under test: the copy that `SIGNETFS_TEST_PROGRAM` names, else the one that was built with the tests.
pub(crate) fn own_program() -> &'static str {
    static OWN: OnceLock<String> = OnceLock::new();
    OWN.get_or_init(|| {
        let copy = std::env::var("SIGNETFS_TEST_PROGRAM");
        copy.unwrap_or_else(|_| env!("CARGO_BIN_EXE_signetfs").to_owned())
    })
}

/// Is a user of the program: an empty home that vanishes with the test, and an environment that holds nothing else.
pub(crate) struct User {
    folder: tempfile::TempDir,
}

/// Is what a run of a program gave.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; 128 and the signal for a program that was killed, as shells count.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl User {
    /// Returns a user with an empty home.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("signetfs-test-")
            .tempdir()
            .unwrap();
        for name in ["home", "cache", "config"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// Returns a path in the folder of this test; programs run there.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns notation's configuration folder.
    pub(crate) fn config(&self) -> PathBuf {
        self.path("config/notation")
    }

    /// Returns a program with this user's environment, in this test's folder.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Returns the program under test with arguments.
    pub(crate) fn signetfs(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(own_program());
        command.args(arguments);
        command
    }

    /// Runs the program under test.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.signetfs(arguments).output().unwrap())
    }

    /// Runs the program under test and returns its stdout; anything but success is a failure of the test.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.stdout
    }

    /// Makes a key for tests, the default one, and a strict policy that trusts it everywhere.
    #[track_caller]
    pub(crate) fn with_key(&self, name: &str) {
        self.succeed(&["cert", "generate-test", "--default", name]);
        let store = format!("ca:{name}");
        self.succeed(&["policy", "init", "--force", "--trust-store", &store]);
    }
}

impl Ran {
    /// Returns what an ended program gave.
    pub(crate) fn of(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;

        let status = output.status;
        let code = status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Self {
            code,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks that this is an error in two lines with the next step, and returns the first without its name.
    #[track_caller]
    pub(crate) fn error(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        let error = lines
            .iter()
            .find_map(|line| line.strip_prefix("signetfs: error: "));
        let hint = lines
            .last()
            .and_then(|line| line.strip_prefix("signetfs: hint: "));
        assert!(hint.is_some_and(|hint| hint.len() > 3), "{self:?}");
        error.unwrap_or_else(|| panic!("no error line: {self:?}"))
    }

    /// Parses stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Returns a tool of the tests: in `$SIGNETFS_TOOLS/bin`, `target/tools/bin` or PATH.
///
/// A missing tool is printed as skipped; where `CI` is `true`, it fails the test.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    if let Some(folder) = std::env::var_os("SIGNETFS_TOOLS") {
        places.push(Path::new(&folder).join("bin"));
    }
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin"));
    if let Some(path) = std::env::var_os("PATH") {
        places.extend(std::env::split_paths(&path));
    }
    let found = places
        .into_iter()
        .map(|place| place.join(name))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none_or(|value| value != "true"),
            "{name} is not installed: run scripts/install-tools"
        );
        eprintln!("skip: {name} is not installed");
    }
    found
}

/// Returns how often a test that looks for races repeats itself: `SIGNETFS_ROUNDS`, else so often under `CI=true` and thrice elsewhere.
pub(crate) fn rounds(under_ci: usize) -> usize {
    let asked = std::env::var("SIGNETFS_ROUNDS").ok();
    let usual = if ci() { under_ci } else { 3 };
    asked.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Returns whether this runs under continuous integration, where nothing is skipped and loops are long.
pub(crate) fn ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Returns every file below a folder by its path, with the digest of its bytes (of its target, for a symlink).
pub(crate) fn files_below(folder: &Path) -> BTreeMap<PathBuf, Digest> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(present) = open.pop() {
        for entry in std::fs::read_dir(&present).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            let below = path.strip_prefix(folder).unwrap().to_owned();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                let target = std::fs::read_link(&path).unwrap();
                found.insert(below, Digest::of(target.as_os_str().as_encoded_bytes()));
            } else {
                found.insert(below, Digest::of(&std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// Returns everything that a write would change below a folder: by path, the mode, size, inode number, times and bytes.
pub(crate) fn states_below(folder: &Path) -> BTreeMap<PathBuf, (Vec<i64>, Option<Digest>)> {
    use std::os::unix::fs::MetadataExt;

    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let facts = std::fs::symlink_metadata(&path).unwrap();
        if facts.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        }
        let bytes = facts.is_file().then(|| std::fs::read(&path).unwrap());
        let numbers = vec![
            i64::from(facts.mode()),
            facts.size() as i64,
            facts.ino() as i64,
            facts.mtime(),
            facts.mtime_nsec(),
            facts.ctime(),
            facts.ctime_nsec(),
        ];
        found.insert(path, (numbers, bytes.map(|bytes| Digest::of(&bytes))));
    }
    found
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}

/// Runs commands all at once; each has to succeed.
#[track_caller]
pub(crate) fn all_succeed(commands: Vec<Command>) {
    let children: Vec<std::process::Child> = commands
        .into_iter()
        .map(|mut command| {
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

/// Is a mount that is gone when the test ends, however it ends.
pub(crate) struct Mount<'a> {
    user: &'a User,
    /// Where it is, relative to the folder of the test.
    pub(crate) point: String,
}

impl<'a> Mount<'a> {
    /// Mounts with arguments after the layout and the mount point, which is made; `None` where this machine has no FUSE.
    ///
    /// `SIGNETFS_TEST_READS` chooses the data path where the arguments do not.
    #[track_caller]
    pub(crate) fn new(user: &'a User, layout: &str, point: &str, flags: &[&str]) -> Option<Self> {
        if !fuse() {
            return None;
        }
        std::fs::create_dir_all(user.path(point)).unwrap();
        let mut arguments = [&["mount", layout, point], flags].concat();
        let reads = std::env::var("SIGNETFS_TEST_READS").unwrap_or_default();
        if !reads.is_empty() && !flags.contains(&"--reads") {
            arguments.extend(["--reads", &reads]);
        }
        user.succeed(&arguments);
        Some(Self {
            user,
            point: point.to_owned(),
        })
    }

    /// Returns a path in the mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.user.path(&self.point).join(name)
    }

    /// Reads a file of the mount as text.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let ran = self.user.run(&["umount", &self.point]);
        if ran.code != 0 {
            eprintln!("{ran:?}");
            self.user.run(&["umount", "--lazy", &self.point]);
        }
    }
}

/// Returns whether this machine can mount; where `CI` is `true`, it has to.
pub(crate) fn fuse() -> bool {
    let there = Path::new("/dev/fuse").exists();
    if !there {
        assert!(
            std::env::var_os("CI").is_none_or(|value| value != "true"),
            "/dev/fuse is missing"
        );
        eprintln!("skip: /dev/fuse is missing");
    }
    there
}
