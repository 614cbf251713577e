//! Tests of the file system without a kernel: a layout in a folder, fixed keys, a clock that is set.

mod control;
mod folders;
mod looking;
mod model;
mod reading;
mod refreshing;
mod swapping;
mod unread;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::inputs::{
    ConfiguredTrust, Inputs, Layout, Links, Options, Parts, PolicyFile, Reads, SignFile,
};
use super::open::{Mode, Open};
use super::workers::lock;
use super::*;
use crate::audit::{PolicyState, Trust};
use crate::layout::{Directory, Memory};
use crate::notary::{
    Anchors, Certificate, EnvelopeFormat, LocalSigner, Policy, PrivateKey, Signer, StoreName,
};
use crate::oci::{Digest, NoProgress, Scope, UnixTime};
use crate::report::{PolicyId, PolicyOrigin, ScopeOrigin, Verdict};
use crate::settings::{SettingsError, SettingsStamp};
use crate::tree::inode::ROOT;

/// 2030-01-01, within the validity of the test certificates.
const NOW: i64 = 1_893_456_000;
const OWNER: Caller = Caller {
    uid: 1000,
    gid: 1000,
    pid: 1,
};
const STRANGER: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 2,
};

/// Answers what a test set.
struct Fixed {
    now: Mutex<UnixTime>,
    policy: Mutex<Option<String>>,
    changes: Mutex<u64>,
    /// How often the trust was read.
    trusted: Mutex<u32>,
    /// What happens once, when the time is asked for next.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

/// Is a mounted layout with one image; the folder vanishes with it.
struct Bench {
    folder: tempfile::TempDir,
    inputs: Arc<Fixed>,
    fs: Arc<Fs>,
    layers: Vec<Digest>,
}

fn certificates(name: &str) -> Vec<Certificate> {
    let pem = match name {
        "p256" => &include_bytes!("../notary/testdata/p256.crt")[..],
        _ => include_bytes!("../notary/testdata/p384.crt"),
    };
    Certificate::parse_file(pem).unwrap()
}

fn policy(store: &str) -> String {
    format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"{store}","registryScopes":["*"],"signatureVerification":{{"level":"strict"}},"trustStores":["ca:{store}"],"trustedIdentities":["*"]}}]}}"#
    )
}

impl Inputs for Fixed {
    fn stamp(&self) -> SettingsStamp {
        SettingsStamp {
            values: vec![*lock(&self.changes)],
            ..SettingsStamp::default()
        }
    }

    fn trust(&self) -> ConfiguredTrust {
        *lock(&self.trusted) += 1;
        let text = lock(&self.policy).clone();
        let policy = text
            .as_ref()
            .map(|text| Policy::parse(text.as_bytes()).unwrap());
        let anchors = policy.as_ref().map(|policy| self.anchors(policy));
        ConfiguredTrust {
            trust: Trust {
                policy: policy.map_or(PolicyState::None, PolicyState::Valid),
                id: PolicyId {
                    origin: PolicyOrigin::Config,
                    path: None,
                    sha256: None,
                    shadowed: false,
                },
                anchors: anchors.unwrap_or_default(),
            },
            policy_bytes: text.map(|text| Arc::from(text.into_bytes())),
        }
    }

    fn anchors(&self, policy: &Policy) -> Anchors {
        let names = policy
            .statements
            .iter()
            .flat_map(|statement| &statement.trust_stores);
        let store = |name: &StoreName| (name.clone(), Ok(certificates(&name.name)));
        Anchors {
            stores: names.map(store).collect::<BTreeMap<_, _>>(),
        }
    }

    fn signature_format(&self) -> Result<EnvelopeFormat, SettingsError> {
        Ok(EnvelopeFormat::Jws)
    }

    fn signer(&self, _name: Option<&str>) -> Result<Arc<dyn Signer>, SettingsError> {
        let key = PrivateKey::parse_pem(include_bytes!("../notary/testdata/p256.key")).unwrap();
        Ok(Arc::new(
            LocalSigner::new(key, certificates("p256")).unwrap(),
        ))
    }

    fn avoid(&self, _device: u64) {}

    fn now(&self) -> UnixTime {
        let meanwhile = lock(&self.meanwhile).take();
        if let Some(happen) = meanwhile {
            happen();
        }
        *lock(&self.now)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.fs.stop();
    }
}

impl Bench {
    /// Mounts a new layout and judges it.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: fn(&mut Options)) -> Self {
        let bench = Self::unjudged(change);
        bench.judge();
        bench
    }

    /// Mounts a new layout, without the thread that hashes.
    fn unjudged(change: fn(&mut Options)) -> Self {
        Self::unjudged_of(change, |folder| {
            Layout::Writable(Arc::new(Directory::open(folder).unwrap()))
        })
    }

    /// Does the same with whatever reads the layout.
    fn unjudged_of(change: fn(&mut Options), layout: impl FnOnce(&Path) -> Layout) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layers = write_layout(folder.path());
        let inputs = Arc::new(Fixed {
            now: Mutex::new(UnixTime(NOW)),
            policy: Mutex::new(None),
            changes: Mutex::default(),
            trusted: Mutex::default(),
            meanwhile: Mutex::default(),
        });
        let mut parts = parts(folder.path(), Arc::clone(&inputs), change);
        parts.layout = layout(folder.path());
        let fs = Fs::new(parts);
        Self {
            folder,
            inputs,
            fs,
            layers,
        }
    }

    /// Starts the thread that hashes, and waits for the verdict.
    fn judge(&self) -> Verdict {
        let fs = Arc::clone(&self.fs);
        std::thread::spawn(move || fs.judge_until_stopped(&NoProgress));
        self.fs.wait_for_verdict(None)
    }

    fn verdict(&self) -> Verdict {
        self.fs.fresh_status().report.verdict()
    }

    /// Returns the verdict once it is not `pending`.
    fn decided(&self) -> Verdict {
        let _ = self.fs.fresh_status();
        self.fs.wait_for_verdict(None)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.path().join("blobs/sha256").join(digest.hex())
    }

    fn open(&self, inode: u64, mode: Mode, caller: Caller) -> Result<u64, FsError> {
        let open = Open {
            inode,
            mode,
            caller,
            process: caller.pid,
        };
        let mut register = |_: std::os::fd::BorrowedFd<'_>| Err(std::io::ErrorKind::Other.into());
        let opened = self.fs.open(&self.fs.fresh(), &open, &mut register);
        opened.map(|opened| opened.handle)
    }

    fn inode(&self, path: &str) -> u64 {
        let snapshot = self.fs.fresh();
        path.split('/').fold(ROOT, |folder, name| {
            let stat = self.fs.lookup(&snapshot, folder, OsStr::new(name)).unwrap();
            stat.inode
        })
    }

    /// Reads a file whole, as a program does: open, read, close.
    fn read(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let inode = self.inode(path);
        let handle = self.open(inode, Mode::Read, OWNER)?;
        let (sender, receiver) = std::sync::mpsc::channel();
        let answer = Box::new(move |read| sender.send(read).unwrap());
        self.fs.read((inode, handle), (0, 1 << 20), answer);
        let read = receiver.recv().unwrap();
        self.fs.release(inode, handle);
        read
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path).unwrap()).unwrap()
    }
}

fn parts(folder: &Path, inputs: Arc<Fixed>, change: fn(&mut Options)) -> Parts {
    let mut options = Options {
        layout_path: folder.to_owned(),
        overlay_path: None,
        config_path: PathBuf::from("/config"),
        own_paths: Vec::new(),
        scope: Some(Scope::parse("local/test").unwrap()),
        scope_origin: ScopeOrigin::Flag,
        uid: OWNER.uid,
        gid: OWNER.gid,
        sign_uids: Vec::new(),
        sign: SignFile::Present,
        links: Links::Present,
        policy: PolicyFile::Writable,
        reads: Reads::Auto,
        max_signatures: 100,
    };
    change(&mut options);
    Parts {
        layout: Layout::Writable(Arc::new(Directory::open(folder).unwrap())),
        hashes: Arc::new(Hashes::new(Memory::None)),
        inputs,
        options,
    }
}

/// Writes a layout with one image of two layers, the second larger than what passthrough needs; returns the layers.
fn write_layout(folder: &Path) -> Vec<Digest> {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |media_type: &str, bytes: &[u8]| -> Value {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
    };
    let layers = [vec![b'a'; 5000], vec![b'b'; 200_000]];
    let layer = "application/vnd.oci.image.layer.v1.tar";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [put(layer, &layers[0]), put(layer, &layers[1])],
    });
    let manifest = manifest.to_string();
    let mut entry = put(
        "application/vnd.oci.image.manifest.v1+json",
        manifest.as_bytes(),
    );
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    std::fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    layers.iter().map(|layer| Digest::of(layer)).collect()
}
