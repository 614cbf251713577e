//! The layouts, keys and mounts that are measured, all in one temporary folder on tmpfs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use signetfs::oci::{Algorithm, Digest, Hasher};
use tempfile::TempDir;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Holds a notation configuration and layouts.
pub(crate) struct Workshop {
    folder: TempDir,
    programs: TempDir,
}

/// Is a mount that ends with the value.
pub(crate) struct Mount {
    path: PathBuf,
    signetfs: Command,
}

impl Mount {
    /// Returns the mount point.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        assert!(
            self.signetfs
                .arg("umount")
                .arg(&self.path)
                .status()
                .unwrap()
                .success()
        );
    }
}

const OURS: &str = "signetfs";

/// Is a program that the same work is given to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Other {
    /// A small program on notation's libraries.
    Peer,
    /// The notation command itself.
    Notation,
}

impl Other {
    fn program(self) -> &'static str {
        match self {
            Self::Peer => "notation-peer",
            Self::Notation => "notation",
        }
    }

    /// Returns what rows call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Peer => "Go peer",
            Self::Notation => "notation 1.3.2",
        }
    }
}

/// Copies ours and the others into one folder on the disk, as an installer would; what is not there is left out.
///
/// What a linker wrote page by page the kernel also maps page by page; a copy starts a tenth to a fifth faster, either program.
fn install() -> TempDir {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target");
    let tools = std::env::var_os("SIGNETFS_TOOLS").map_or(target.join("tools"), PathBuf::from);
    let programs = tempfile::tempdir_in(&target).unwrap();
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_signetfs"));
    let others = [Other::Peer, Other::Notation].map(Other::program);
    let others = others.map(|name| (name, tools.join("bin").join(name)));
    for (name, built) in [(OURS, ours)].into_iter().chain(others) {
        let Ok(bytes) = fs::read(built) else { continue };
        let installed = programs.path().join(name);
        fs::write(&installed, bytes).unwrap();
        fs::set_permissions(&installed, fs::Permissions::from_mode(0o755)).unwrap();
    }
    programs
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Workshop {
    /// Makes keys, certificates, a trust policy below `base`; finds the programs to compare with.
    pub(crate) fn new(base: &Path) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("signetfs-bench-")
            .tempdir_in(base)
            .unwrap();
        let workshop = Self {
            folder,
            programs: install(),
        };
        for (name, algorithm) in [
            ("rsa", &["rsa:2048"][..]),
            ("p256", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ] {
            workshop.key(name, algorithm);
        }
        let policy = json!({"version": "1.0", "trustPolicies": [{"name": "bench", "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"}, "trustStores": ["ca:rsa", "ca:p256"], "trustedIdentities": ["*"]}]});
        fs::write(
            workshop.config().join("trustpolicy.json"),
            policy.to_string(),
        )
        .unwrap();
        workshop
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("notation")
    }

    fn key(&self, name: &str, algorithm: &[&str]) {
        let (key, certificate) = (
            self.folder.path().join(format!("{name}.key")),
            self.folder.path().join(format!("{name}.crt")),
        );
        run(Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-nodes",
                "-days",
                "3650",
                "-subj",
                "/C=US/ST=WA/O=Notary/CN=bench",
                "-newkey",
            ])
            .args(algorithm)
            .args([
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-addext",
                "keyUsage=critical,digitalSignature",
            ])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate));
        run(self
            .signetfs()
            .args(["key", "add", name, "--key"])
            .arg(&key)
            .arg("--cert")
            .arg(&certificate));
        run(self
            .signetfs()
            .args(["cert", "add", "-t", "ca", "-s", name])
            .arg(&certificate));
    }

    /// Returns a command of ours, its configuration set.
    pub(crate) fn signetfs(&self) -> Command {
        self.with_settings(Command::new(self.programs.path().join(OURS)))
    }

    /// Returns the programs to compare with; says which are missing.
    pub(crate) fn others(&self) -> Vec<Other> {
        let mut others = vec![Other::Peer, Other::Notation];
        others.retain(|other| {
            let there = self.programs.path().join(other.program()).is_file();
            if !there {
                println!("skip: {} is not installed", other.program());
            }
            there
        });
        others
    }

    /// Returns a command of another program on a layout, its configuration set.
    pub(crate) fn other(&self, other: Other, command: &str) -> Command {
        let program = self.programs.path().join(other.program());
        let mut command_line = self.with_settings(Command::new(program));
        command_line
            .env("NOTATION_EXPERIMENTAL", "1")
            .args([command, "--oci-layout"]);
        command_line
    }

    fn with_settings(&self, mut command: Command) -> Command {
        command
            .env("HOME", self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"));
        command.env("NOTATION_CONFIG", self.config());
        command
    }

    /// Makes a layout of `count` tagged images with one layer of `size` bytes each.
    pub(crate) fn image(&self, name: &str, count: usize, size: usize) -> PathBuf {
        let layout = self.folder.path().join(name);
        let _ = fs::remove_dir_all(&layout);
        let entries = (0..count)
            .map(|position| self.one(&layout, position, &[vec![position as u8; size]]))
            .collect();
        finish(&layout, entries);
        layout
    }

    /// Makes a layout of one image with `layers` layers of `size` bytes each.
    pub(crate) fn big(&self, name: &str, layers: usize, size: usize) -> PathBuf {
        let layout = self.folder.path().join(name);
        let contents: Vec<Vec<u8>> = (0..layers).map(|layer| vec![layer as u8; size]).collect();
        let entry = self.one(&layout, 0, &contents);
        finish(&layout, vec![entry]);
        layout
    }

    /// Makes a layout of `count` tagged images that share a config and have `layers` tiny layers each.
    pub(crate) fn crowd(&self, name: &str, count: usize, layers: usize) -> PathBuf {
        let layout = self.folder.path().join(name);
        let config_bytes = br#"{"architecture":"amd64","os":"linux"}"#;
        let config = describe(
            "application/vnd.oci.image.config.v1+json",
            &put(&layout, config_bytes),
            config_bytes.len(),
        );
        let entry = |image: usize| {
            let layer = |layer: usize| {
                let bytes = format!("layer {layer} of {image}");
                let digest = put(&layout, bytes.as_bytes());
                describe(
                    "application/vnd.oci.image.layer.v1.tar",
                    &digest,
                    bytes.len(),
                )
            };
            let layers: Vec<Value> = (0..layers).map(layer).collect();
            let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
            let bytes = manifest.to_string();
            let mut entry = describe(MANIFEST, &put(&layout, bytes.as_bytes()), bytes.len());
            entry["annotations"] =
                json!({"org.opencontainers.image.ref.name": format!("v{image}")});
            entry
        };
        finish(&layout, (0..count).map(entry).collect());
        layout
    }

    /// Returns a path in the folder of this workshop.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns notation's policy of this workshop.
    pub(crate) fn policy(&self) -> PathBuf {
        self.config().join("trustpolicy.json")
    }

    /// Makes a layout of one image with `layers` layers of `size` bytes that look like gzip and do not compress.
    pub(crate) fn random(&self, name: &str, layers: usize, size: u64) -> PathBuf {
        let layout = self.folder.path().join(name);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()
        };
        let described: Vec<Value> = (0..layers)
            .map(|_| {
                let bytes: Vec<u8> = std::iter::repeat_with(&mut next)
                    .flatten()
                    .take(size as usize)
                    .collect();
                describe(GZIP, &put(&layout, &bytes), bytes.len())
            })
            .collect();
        let entry = self.described(&layout, 0, &described);
        finish(&layout, vec![entry]);
        layout
    }

    /// Makes a layout of one image with one layer of zeros, which takes no room.
    pub(crate) fn sparse(&self, name: &str, size: u64) -> PathBuf {
        let layout = self.folder.path().join(name);
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        let zeros = vec![0; 1 << 20];
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for _ in 0..size >> 20 {
            hasher.update(&zeros);
        }
        let digest = hasher.finish();
        let path = layout.join("blobs/sha256").join(digest.hex());
        fs::File::create(path).unwrap().set_len(size).unwrap();
        let layer = describe(GZIP, &digest, size as usize);
        let entry = self.described(&layout, 0, &[layer]);
        finish(&layout, vec![entry]);
        layout
    }

    fn one(&self, layout: &Path, position: usize, layers: &[Vec<u8>]) -> Value {
        let layers: Vec<Value> = layers
            .iter()
            .map(|bytes| {
                describe(
                    "application/vnd.oci.image.layer.v1.tar",
                    &put(layout, bytes),
                    bytes.len(),
                )
            })
            .collect();
        self.described(layout, position, &layers)
    }

    fn described(&self, layout: &Path, position: usize, layers: &[Value]) -> Value {
        let config = put(
            layout,
            format!(r#"{{"architecture":"amd64","os":"linux","position":{position}}}"#).as_bytes(),
        );
        let size = fs::metadata(layout.join("blobs/sha256").join(config.hex()))
            .unwrap()
            .len();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": describe("application/vnd.oci.image.config.v1+json", &config, size as usize), "layers": layers});
        let bytes = manifest.to_string();
        let mut entry = describe(MANIFEST, &put(layout, bytes.as_bytes()), bytes.len());
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": format!("v{position}")});
        entry
    }

    /// Signs every image of a layout.
    pub(crate) fn sign(&self, layout: &Path, key: &str) {
        run(self.signetfs().args(["sign", "--key", key]).arg(layout));
    }

    /// Makes a key the one that a mount signs with.
    pub(crate) fn set_default_key(&self, key: &str) {
        run(self.signetfs().args(["key", "update", "--default", key]));
    }

    /// Waits until a mount has judged, and looks whether it says so.
    pub(crate) fn judged(&self, mount: &Mount, verdict: &str) {
        let status = mount.path().join("verify-status");
        let word = || fs::read_to_string(&status).unwrap();
        for _ in 0..10_000 {
            match word().lines().next() {
                Some(found) if found == verdict => return,
                _ => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
        panic!("{}", word());
    }

    /// Copies a layout beside itself.
    pub(crate) fn copy(&self, layout: &Path) -> PathBuf {
        let copy = layout.with_extension("copy");
        self.restore(layout, &copy);
        copy
    }

    /// Makes `to` equal to `from`.
    pub(crate) fn restore(&self, from: &Path, to: &Path) {
        let _ = fs::remove_dir_all(to);
        run(Command::new("cp").arg("-a").arg(from).arg(to));
    }

    /// Mounts a layout.
    pub(crate) fn mount(&self, layout: &Path, options: &[&str]) -> Mount {
        self.mount_at(layout, "mnt", options)
    }

    /// Mounts a layout at a folder of this name.
    pub(crate) fn mount_at(&self, layout: &Path, name: &str, options: &[&str]) -> Mount {
        let path = self.folder.path().join(name);
        let _ = fs::create_dir(&path);
        run(self
            .signetfs()
            .arg("mount")
            .args(["--scope", "local/bench"])
            .args(options)
            .arg(layout)
            .arg(&path));
        Mount {
            path,
            signetfs: self.signetfs(),
        }
    }
}

fn put(layout: &Path, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let folder = layout.join("blobs/sha256");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(digest.hex()), bytes).unwrap();
    digest
}

fn describe(media_type: &str, digest: &Digest, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

fn finish(layout: &Path, entries: Vec<Value>) {
    fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}
