//! Real mounts, used with plain shell tools. They need root and FUSE, and are skipped with a word elsewhere.

mod configuration;
mod control;
mod freshness;
mod handles;
mod images;
mod lifecycle;
mod promises;
mod sync;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use signetfs::fuse::mountinfo;
use signetfs::sys::mount::{Unmount, extended_attribute, unmount};

use crate::support::layouts::{self, Image};
use crate::support::{Ran, User};

/// How long anything of a test may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// Is a user with a key, a layout with one image tagged `v1` and a policy file that trusts the key, not imported.
struct Scene {
    user: User,
    image: Image,
}

/// Is a mount that ends with the test.
struct Mount {
    point: PathBuf,
    pid: String,
}

impl Scene {
    /// Returns nothing where this machine cannot mount.
    fn new() -> Option<Self> {
        Self::with(layouts::single)
    }

    fn with(make: fn(&Path) -> Image) -> Option<Self> {
        if !can_mount() {
            eprintln!("skip: mounting needs root and /dev/fuse");
            return None;
        }
        let user = User::new();
        user.succeed(&["cert", "generate-test", "--default", "wabbit"]);
        let image = make(&user.path("lay"));
        fs::write(user.path("policy.json"), policy("wabbit")).unwrap();
        Some(Self { user, image })
    }

    fn layout(&self) -> PathBuf {
        self.user.path("lay")
    }

    fn policy(&self) -> PathBuf {
        self.user.path("policy.json")
    }

    /// Mounts the layout at `mnt`.
    #[track_caller]
    fn mount(&self, flags: &[&str]) -> Mount {
        self.mount_at("lay", "mnt", flags)
    }

    #[track_caller]
    fn mount_at(&self, source: &str, point: &str, flags: &[&str]) -> Mount {
        let path = self.user.path(point);
        // Where a dead mount is, the folder below it is there already.
        if let Err(error) = fs::create_dir_all(&path) {
            assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
        }
        let mut arguments = vec!["mount", source, point];
        arguments.extend(flags);
        self.user.succeed(&arguments);
        self.mounted(point)
    }

    /// Returns what is mounted at a point.
    #[track_caller]
    fn mounted(&self, point: &str) -> Mount {
        let path = self.user.path(point);
        let pid = extended_attribute(&path, "user.signetfs.pid")
            .unwrap()
            .unwrap();
        Mount {
            point: path,
            pid: String::from_utf8(pid).unwrap(),
        }
    }

    /// Mounts with the policy in force and every image signed.
    #[track_caller]
    fn mount_verified(&self) -> Mount {
        let mount = self.mount(&[]);
        fs::copy(self.policy(), mount.path("trustpolicy.json")).unwrap();
        self.shell("touch mnt/sign", 0);
        assert_eq!(mount.token(), "verified", "{}", mount.status());
        mount
    }

    /// Runs a line of bash and checks its exit code.
    #[track_caller]
    fn shell(&self, line: &str, code: i32) -> Ran {
        let ran = self.shell_of("bash", line);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        ran
    }

    /// Runs a line of a shell.
    fn shell_of(&self, shell: &str, line: &str) -> Ran {
        let seconds = PATIENCE.as_secs().to_string();
        let mut command = self.user.program("timeout");
        command.args(["-k", "1", &seconds, shell, "-c", line]);
        Ran::of(command.output().unwrap())
    }

    /// Returns the names of the signature files of the image.
    fn signatures(&self, mount: &Mount) -> Vec<String> {
        let folder = self.image.digest.replace(':', "-");
        names(&mount.path("signatures").join(folder))
    }
}

impl Mount {
    fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    fn status(&self) -> String {
        fs::read_to_string(self.path("verify-status")).unwrap()
    }

    /// Returns line 1 of the status.
    fn token(&self) -> String {
        self.status().lines().next().unwrap().to_owned()
    }

    /// Returns line 1 of the status once it is not `pending`.
    #[track_caller]
    fn decided(&self) -> String {
        let mut token = String::new();
        until(|| {
            token = self.token();
            token != "pending"
        });
        token
    }

    fn is_mounted(&self) -> bool {
        is_mounted(&self.point)
    }

    /// Sends a signal to the serving process of this mount.
    fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill")
            .args([&format!("-{name}"), &self.pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits until the serving process is gone.
    #[track_caller]
    fn wait_for_end(&self) {
        until(|| !Path::new("/proc").join(&self.pid).exists());
    }

    #[track_caller]
    fn end(self) {
        // A program that another test starts holds our descriptors until it runs: the mount may be in use for a moment.
        until(|| unmount(&self.point, Unmount::Idle).is_ok());
        self.wait_for_end();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.is_mounted() {
            let _ = unmount(&self.point, Unmount::Lazy);
        }
    }
}

fn can_mount() -> bool {
    use std::os::unix::fs::MetadataExt;

    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let fuse = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse");
    root && fuse.is_ok()
}

fn is_mounted(point: &Path) -> bool {
    mountinfo::top_at(point)
        .unwrap()
        .is_some_and(|top| top.is_ours())
}

/// Returns a strict policy that trusts one store everywhere.
fn policy(store: &str) -> String {
    format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"{store}","registryScopes":["*"],
        "signatureVerification":{{"level":"strict"}},"trustStores":["ca:{store}"],"trustedIdentities":["*"]}}]}}"#
    )
}

/// Returns the names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until something holds.
#[track_caller]
fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the errno of an operation that has to fail.
#[track_caller]
fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}
