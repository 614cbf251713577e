use std::cell::RefCell;

use super::super::limits::{GRAPH_DEPTH_MAX, MANIFEST_BYTES_MAX};
use super::super::media_type::{
    ARTIFACT_MANIFEST, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, EMPTY_JSON,
};
use super::*;

mod hostile;
mod property;
mod referring;

/// Builds layouts in memory.
#[derive(Default)]
struct Layout {
    blobs: HashMap<Digest, Fetched>,
    entries: Vec<String>,
    fetched: RefCell<Vec<Digest>>,
}

/// Is one stored document.
#[derive(Clone)]
struct Stored {
    media_type: String,
    digest: Digest,
    size: usize,
}

impl Stored {
    /// Returns the descriptor with `more` members, as JSON.
    fn with(&self, more: &str) -> String {
        descriptor(&self.media_type, &self.digest, self.size, more)
    }

    fn json(&self) -> String {
        self.with("")
    }

    fn tagged(&self, tag: &str) -> String {
        self.with(&format!(r#","annotations":{{"{REF_NAME}":"{tag}"}}"#))
    }

    fn root(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), self.size as u64)
    }
}

const REF_NAME: &str = crate::oci::descriptor::REF_NAME;
const CONTAINERD_NAME: &str = crate::oci::descriptor::CONTAINERD_NAME;

fn descriptor(media_type: &str, digest: &Digest, size: usize, more: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}{more}}}"#)
}

/// Returns the descriptor of a blob that nobody stores.
fn blob(name: &str) -> String {
    descriptor(
        "application/octet-stream",
        &Digest::of(name.as_bytes()),
        name.len(),
        "",
    )
}

impl Layout {
    fn store(&mut self, media_type: &str, text: &str) -> Stored {
        let digest = Digest::of(text.as_bytes());
        self.blobs
            .insert(digest.clone(), Fetched::Bytes(text.as_bytes().into()));
        Stored {
            media_type: media_type.to_owned(),
            digest,
            size: text.len(),
        }
    }

    /// Stores an image with one layer of this name.
    fn image(&mut self, layer: &str) -> Stored {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE_MANIFEST}","config":{},"layers":[{}]}}"#,
            blob("config"),
            blob(layer)
        );
        self.store(IMAGE_MANIFEST, &text)
    }

    /// Stores a manifest with a subject.
    fn referrer(&mut self, layer: &str, subject: &Stored) -> Stored {
        let config = descriptor(NOTARY_SIGNATURE, &Digest::of(b"{}"), 2, "");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{config},"layers":[{}],"subject":{}}}"#,
            blob(layer),
            subject.json()
        );
        self.store(IMAGE_MANIFEST, &text)
    }

    fn index(&mut self, children: &[String], subject: Option<&Stored>) -> Stored {
        let subject = subject.map(|subject| format!(r#","subject":{}"#, subject.json()));
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{}]{}}}"#,
            children.join(","),
            subject.unwrap_or_default()
        );
        self.store(IMAGE_INDEX, &text)
    }

    fn list(&mut self, entry: String) {
        self.entries.push(entry);
    }

    fn read(&self) -> Graph {
        self.read_within(Room::MAX)
    }

    fn read_within(&self, room: Room) -> Graph {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            self.entries.join(",")
        );
        let index = ImageIndex::parse(text.as_bytes()).unwrap();
        Graph::read_within(&index, room, &mut |descriptor| {
            self.fetched.borrow_mut().push(descriptor.digest.clone());
            let blob = self.blobs.get(&descriptor.digest);
            blob.cloned().unwrap_or(Fetched::Missing)
        })
    }
}

/// Returns the images as `name@digest`, `-` for no name and `!` behind ambiguous ones, the digest cut to 6 digits.
fn images(graph: &Graph) -> Vec<String> {
    let show = |image: &Image| {
        let name = image.name.as_deref().unwrap_or("-");
        let mark = if image.ambiguous { "!" } else { "" };
        format!("{name}@{}{mark}", short(&image.descriptor.digest))
    };
    graph.images.iter().map(show).collect()
}

fn short(digest: &Digest) -> String {
    digest.hex().chars().take(6).collect()
}

fn at(name: &str, stored: &Stored) -> String {
    format!("{name}@{}", short(&stored.digest))
}

#[test]
fn names_images_by_tag_then_by_containerd_name() {
    let mut layout = Layout::default();
    let (one, other) = (layout.image("1"), layout.image("2"));
    layout.list(one.with(&format!(
        r#","annotations":{{"{REF_NAME}":"v1","{CONTAINERD_NAME}":"docker.io/library/x:v1"}}"#
    )));
    layout.list(other.with(&format!(
        r#","annotations":{{"{CONTAINERD_NAME}":"x:v2","{REF_NAME}":""}}"#
    )));
    layout.list(one.tagged("v1"));
    layout.list(one.tagged("latest"));
    let graph = layout.read();
    assert_eq!(
        images(&graph),
        [at("v1", &one), at("x:v2", &other), at("latest", &one)]
    );
    assert!(!graph.limit);
    assert!(graph.images.iter().all(|image| !image.untyped));
}

#[test]
fn one_name_on_two_digests_is_ambiguous() {
    let mut layout = Layout::default();
    let (one, other) = (layout.image("1"), layout.image("2"));
    layout.list(one.tagged("v1"));
    layout.list(one.tagged("v2"));
    layout.list(other.tagged("v1"));
    let graph = layout.read();
    let expected = [at("v1", &one) + "!", at("v2", &one), at("v1", &other) + "!"];
    assert_eq!(images(&graph), expected);
}

#[test]
fn one_containerd_name_on_two_digests_is_ambiguous() {
    let mut layout = Layout::default();
    let (one, other, third) = (layout.image("1"), layout.image("2"), layout.image("3"));
    let names = |tag: &str, name: &str| {
        format!(r#","annotations":{{"{REF_NAME}":"{tag}","{CONTAINERD_NAME}":"{name}"}}"#)
    };
    layout.list(one.with(&names("v1", "a")));
    layout.list(one.with(&names("v1", "b")));
    layout.list(other.with(&names("v2", "b")));
    layout.list(third.with(&names("v3", "v3")));
    let graph = layout.read();
    let expected = [
        at("v1", &one) + "!",
        at("v2", &other) + "!",
        at("v3", &third),
    ];
    assert_eq!(images(&graph), expected);
}

#[test]
fn entries_that_differ_about_one_digest_are_ambiguous() {
    let mut layout = Layout::default();
    let (one, other) = (layout.image("1"), layout.image("2"));
    layout.list(one.tagged("v1"));
    layout.list(descriptor(IMAGE_MANIFEST, &one.digest, one.size + 1, ""));
    layout.list(other.tagged("v2"));
    layout.list(descriptor("", &other.digest, other.size, ""));
    let graph = layout.read();
    assert_eq!(images(&graph), [at("v1", &one) + "!", at("v2", &other)]);
}

#[test]
fn anything_with_a_name_is_an_image() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    let file = layout.store("text/plain", "hello");
    layout.list(signature.tagged("s"));
    layout.list(file.tagged("f"));
    layout.list(file.json());
    let graph = layout.read();
    assert_eq!(images(&graph), [at("s", &signature), at("f", &file)]);
    let closure = graph.closure(&graph.images[1].descriptor);
    assert!(closure.manifests.is_empty());
    assert_eq!(closure.blobs[0].digest, file.digest);
    assert_eq!(
        layout.fetched.borrow().len(),
        3,
        "the subject is fetched, and a named blob, which may be a manifest under another type"
    );
}

#[test]
fn untagged_manifests_without_subject_are_images() {
    let mut layout = Layout::default();
    let (one, other) = (layout.image("1"), layout.image("2"));
    let signature = layout.referrer("s", &one);
    layout.list(one.json());
    layout.list(one.json());
    layout.list(signature.json());
    layout.list(other.json());
    assert_eq!(images(&layout.read()), [at("-", &one), at("-", &other)]);
}

#[test]
fn what_lies_in_the_closure_of_an_image_is_none() {
    let mut layout = Layout::default();
    let (one, other, third) = (layout.image("1"), layout.image("2"), layout.image("3"));
    let inner = layout.index(&[one.json()], None);
    let outer = layout.index(&[inner.json(), other.json()], None);
    for entry in [&one, &inner, &other, &third] {
        layout.list(entry.json());
    }
    layout.list(outer.tagged("v1"));
    assert_eq!(images(&layout.read()), [at("-", &third), at("v1", &outer)]);
    // The same without a name on the outer index.
    layout.entries.pop();
    layout.list(outer.json());
    assert_eq!(images(&layout.read()), [at("-", &third), at("-", &outer)]);
}

#[test]
fn a_named_image_is_not_an_untagged_one_too() {
    let mut layout = Layout::default();
    let one = layout.image("1");
    layout.list(one.json());
    layout.list(one.tagged("v1"));
    assert_eq!(images(&layout.read()), [at("v1", &one)]);
}

#[test]
fn fills_in_a_missing_media_type() {
    let mut layout = Layout::default();
    let one = layout.image("1");
    let index = layout.index(&[], None);
    layout.list(descriptor("", &one.digest, one.size, ""));
    layout.list(descriptor("", &index.digest, index.size, ""));
    let graph = layout.read();
    assert_eq!(images(&graph), [at("-", &one), at("-", &index)]);
    assert_eq!(graph.images[0].descriptor.media_type, IMAGE_MANIFEST);
    assert_eq!(graph.images[1].descriptor.media_type, IMAGE_INDEX);
    assert!(graph.images[0].untyped);
}

#[test]
fn lists_a_closure_root_first_and_each_digest_once() {
    let mut layout = Layout::default();
    let (one, other) = (layout.image("1"), layout.image("2"));
    let note = blob("note");
    let inner = layout.index(&[one.json(), other.json(), note.clone(), note], None);
    let outer = layout.index(&[inner.json(), one.json()], None);
    layout.list(outer.tagged("v1"));
    let graph = layout.read();
    let closure = graph.closure(&graph.images[0].descriptor);
    let manifests: Vec<_> = closure
        .manifests
        .iter()
        .map(|found| &found.digest)
        .collect();
    assert_eq!(
        manifests,
        [&outer.digest, &inner.digest, &one.digest, &other.digest]
    );
    let mut blobs: Vec<_> = closure
        .blobs
        .iter()
        .map(|found| found.digest.clone())
        .collect();
    let mut expected = ["config", "1", "2", "note"].map(|name| Digest::of(name.as_bytes()));
    blobs.sort_unstable();
    expected.sort_unstable();
    assert_eq!(blobs, expected);
    assert!(closure.conflicting.is_empty() && !closure.limit);
}

#[test]
fn keeps_embedded_content_in_the_closure() {
    let mut layout = Layout::default();
    let config = descriptor(EMPTY_JSON, &Digest::of(b"{}"), 2, r#","data":"e30=""#);
    let image = layout.store(
        IMAGE_MANIFEST,
        &format!(r#"{{"config":{config},"layers":[]}}"#),
    );
    layout.list(image.tagged("v1"));
    let closure = layout.read().closure(&image.root());
    assert_eq!(closure.blobs[0].data.as_deref(), Some(&b"{}"[..]));
}

#[test]
fn a_closure_never_follows_subjects() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    layout.list(signature.tagged("s"));
    let graph = layout.read();
    assert!(graph.document(&image.digest).is_some());
    let closure = graph.closure(&signature.root());
    assert_eq!(closure.manifests.len(), 1);
    assert!(
        closure
            .blobs
            .iter()
            .all(|blob| blob.digest != Digest::of(b"1"))
    );
}

#[test]
fn reads_artifact_and_docker_types() {
    let mut layout = Layout::default();
    let artifact = layout.store(
        ARTIFACT_MANIFEST,
        &format!(r#"{{"blobs":[{}]}}"#, blob("b")),
    );
    let docker = layout.store(DOCKER_MANIFEST, &format!(r#"{{"layers":[{}]}}"#, blob("d")));
    let list = layout.store(
        DOCKER_MANIFEST_LIST,
        &format!(r#"{{"manifests":[{}]}}"#, docker.json()),
    );
    layout.list(artifact.tagged("a"));
    layout.list(list.tagged("l"));
    let graph = layout.read();
    assert_eq!(
        graph.closure(&artifact.root()).blobs[0].digest,
        Digest::of(b"b")
    );
    let closure = graph.closure(&list.root());
    assert_eq!(closure.manifests.len(), 2);
    assert_eq!(closure.blobs[0].digest, Digest::of(b"d"));
}
