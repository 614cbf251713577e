//! Layouts as real tools leave them, written by hand: one image, an index of buildx's shape, docker's archive index.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::Digest as _;
use signetfs::oci::Digest;
use signetfs::oci::media_type::{IMAGE_INDEX, IMAGE_MANIFEST};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Tells which digests a layout is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

/// Is a layout that is being written.
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    algorithm: Algorithm,
    entries: Vec<Value>,
}

/// Is one image in a layout.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) tag: String,
    /// The digest that the tag names.
    pub(crate) digest: String,
    /// Its config (of an index: of the first platform).
    pub(crate) config: String,
    /// Its layers (of an index: of the first platform).
    pub(crate) layers: Vec<String>,
    /// Platform manifests, where it is an index.
    pub(crate) platforms: Vec<String>,
    /// Attestations, where it is an index.
    pub(crate) attestations: Vec<String>,
}

impl Layout {
    /// Returns an empty layout in a new folder.
    pub(crate) fn new(root: &Path) -> Self {
        Self::with_algorithm(root, Algorithm::Sha256)
    }

    /// Returns an empty layout whose blobs are named by another algorithm.
    pub(crate) fn with_algorithm(root: &Path, algorithm: Algorithm) -> Self {
        let folder = match algorithm {
            Algorithm::Sha256 => "blobs/sha256",
            Algorithm::Sha512 => "blobs/sha512",
        };
        std::fs::create_dir_all(root.join(folder)).unwrap();
        std::fs::write(
            root.join("oci-layout"),
            b"{\"imageLayoutVersion\":\"1.0.0\"}",
        )
        .unwrap();
        let layout = Self {
            root: root.to_owned(),
            algorithm,
            entries: Vec::new(),
        };
        layout.write_index(json!({}));
        layout
    }

    /// Stores a blob and returns its digest.
    pub(crate) fn blob(&self, bytes: &[u8]) -> String {
        let digest = match self.algorithm {
            Algorithm::Sha256 => Digest::of(bytes),
            Algorithm::Sha512 => Digest::Sha512(Box::new(sha2::Sha512::digest(bytes).into())),
        };
        let (algorithm, hex) = digest.to_string().split_once(':').map_or_else(
            || unreachable!("digests have a colon"),
            |(algorithm, hex)| (algorithm.to_owned(), hex.to_owned()),
        );
        std::fs::write(self.root.join("blobs").join(algorithm).join(hex), bytes).unwrap();
        digest.to_string()
    }

    /// Stores a blob and returns its descriptor.
    pub(crate) fn descriptor(&self, media_type: &str, bytes: &[u8]) -> Value {
        json!({ "mediaType": media_type, "digest": self.blob(bytes), "size": bytes.len() })
    }

    /// Stores a JSON document and returns its descriptor.
    pub(crate) fn document(&self, media_type: &str, document: &Value) -> Value {
        self.descriptor(media_type, document.to_string().as_bytes())
    }

    /// Adds an entry to index.json.
    pub(crate) fn list(&mut self, entry: Value) {
        self.entries.push(entry);
        self.write_index(json!({}));
    }

    /// Writes index.json once more, with other members beside those that the specification names.
    pub(crate) fn write_index(&self, others: Value) {
        let mut index = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_INDEX,
            "manifests": self.entries,
        });
        for (name, value) in others.as_object().unwrap() {
            index[name] = value.clone();
        }
        std::fs::write(self.root.join("index.json"), index.to_string()).unwrap();
    }

    /// Adds an image of two layers; the seed makes its digests differ from those of other images.
    pub(crate) fn image(&mut self, tag: &str, seed: &str) -> Image {
        let (mut entry, config, layers) = self.manifest("amd64", seed);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let digest = text(&entry["digest"]);
        self.list(entry);
        Image {
            tag: tag.to_owned(),
            digest,
            config,
            layers,
            platforms: Vec::new(),
            attestations: Vec::new(),
        }
    }

    /// Adds an index of two platforms and an attestation each, as `docker buildx build -o type=oci` writes it.
    pub(crate) fn buildx(&mut self, tag: &str, seed: &str) -> Image {
        let (mut amd64, config, layers) = self.manifest("amd64", seed);
        let (mut arm64, ..) = self.manifest("arm64", seed);
        let attestations: Vec<Value> = [&amd64, &arm64]
            .map(|platform| self.attestation(platform))
            .to_vec();
        amd64["platform"] = json!({ "architecture": "amd64", "os": "linux" });
        arm64["platform"] = json!({ "architecture": "arm64", "os": "linux", "variant": "v8" });
        let mut manifests = vec![amd64, arm64];
        manifests.extend(attestations.iter().cloned());
        let platforms = manifests[..2]
            .iter()
            .map(|entry| text(&entry["digest"]))
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_INDEX,
            "manifests": manifests,
        });
        let mut entry = self.document(IMAGE_INDEX, &index);
        entry["annotations"] = json!({
            "io.containerd.image.name": format!("docker.io/library/hello-world:{tag}"),
            "org.opencontainers.image.created": "2026-11-23T10:00:00Z",
            "org.opencontainers.image.ref.name": tag,
        });
        let digest = text(&entry["digest"]);
        self.list(entry);
        Image {
            tag: tag.to_owned(),
            digest,
            config,
            layers,
            platforms,
            attestations: attestations
                .iter()
                .map(|entry| text(&entry["digest"]))
                .collect(),
        }
    }

    /// Writes docker's archive index beside index.json, for images that are not indexes.
    pub(crate) fn docker_archive(&self, images: &[&Image]) {
        let path = |digest: &String| format!("blobs/{}", digest.replace(':', "/"));
        let entries: Vec<Value> = images
            .iter()
            .map(|image| {
                json!({
                    "Config": path(&image.config),
                    "RepoTags": [format!("docker.io/library/hello-world:{}", image.tag)],
                    "Layers": image.layers.iter().map(path).collect::<Vec<_>>(),
                })
            })
            .collect();
        std::fs::write(
            self.root.join("manifest.json"),
            Value::Array(entries).to_string(),
        )
        .unwrap();
    }

    /// Stores a manifest with a config and two layers; returns its descriptor, the config's and the layers' digests.
    fn manifest(&self, architecture: &str, seed: &str) -> (Value, String, Vec<String>) {
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "Env": [format!("SEED={seed}")] },
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let config = self.document(CONFIG, &config);
        let layers: Vec<Value> = (0..2)
            .map(|number| {
                let bytes = format!("layer {number} {architecture} {seed}\n").repeat(100);
                self.descriptor(LAYER, bytes.as_bytes())
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": config,
            "layers": layers,
        });
        (
            self.document(IMAGE_MANIFEST, &manifest),
            text(&config["digest"]),
            layers.iter().map(|layer| text(&layer["digest"])).collect(),
        )
    }

    /// Stores an attestation of a platform manifest, with a subject as buildx writes it, and returns its entry.
    fn attestation(&self, platform: &Value) -> Value {
        let config = json!({
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [platform["digest"]] },
        });
        let mut layer = self.descriptor(
            IN_TOTO,
            b"{\"_type\":\"https://in-toto.io/Statement/v0.1\"}",
        );
        layer["annotations"] = json!({
            "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2",
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "artifactType": "application/vnd.docker.attestation.manifest.v1+json",
            "config": self.document(CONFIG, &config),
            "layers": [layer],
            "subject": platform,
        });
        let mut entry = self.document(IMAGE_MANIFEST, &manifest);
        entry["annotations"] = json!({
            "vnd.docker.reference.digest": platform["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        });
        entry["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
        entry
    }
}

/// Writes a layout with one image, tagged `v1`.
pub(crate) fn single(root: &Path) -> Image {
    Layout::new(root).image("v1", "one")
}

/// Writes a layout with an index of buildx's shape, tagged `v1`.
pub(crate) fn buildx(root: &Path) -> Image {
    Layout::new(root).buildx("v1", "one")
}

/// Returns the path of a blob.
pub(crate) fn blob_path(root: &Path, digest: &str) -> PathBuf {
    root.join("blobs").join(digest.replace(':', "/"))
}

/// Reads index.json.
pub(crate) fn index(root: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(root.join("index.json")).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
