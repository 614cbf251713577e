use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use serde_json::{Value, json};

use super::*;
use crate::layout::Directory;
use crate::oci::media_type::IMAGE_MANIFEST;

/// Is a folder with a layout `base`, and a place for an overlay beside the file `a.tar`.
struct Scene {
    folder: tempfile::TempDir,
    image: Value,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("base");
        fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        fs::write(folder.path().join("a.tar"), "").unwrap();
        let image = manifest(&root, &json!({"schemaVersion": 2, "config": config(&root)}));
        let mut listed = image.clone();
        listed["annotations"] = json!({REF_NAME: "v1"});
        write_index(&root, &[listed]);
        Self { folder, image }
    }

    fn base(&self) -> PathBuf {
        self.folder.path().join("base")
    }

    fn place(&self) -> PathBuf {
        self.folder
            .path()
            .canonicalize()
            .unwrap()
            .join("a.tar.signetfs")
    }

    fn union(&self) -> Union {
        let overlay = Overlay::beside(&self.folder.path().join("a.tar")).unwrap();
        Union::new(Arc::new(Directory::open(&self.base()).unwrap()), overlay)
    }

    /// Returns what a signature of the image adds.
    fn addition(&self, name: &str) -> Addition {
        addition(&self.image, name)
    }

    fn index(&self) -> Vec<u8> {
        fs::read(self.base().join("index.json")).unwrap()
    }

    /// Returns why nothing of the overlay but what it had is shown.
    fn problems(&self) -> Vec<String> {
        let union = self.union();
        union.index().unwrap();
        let ignored = union.listing().unwrap().ignored;
        ignored.into_iter().map(|ignored| ignored.problem).collect()
    }
}

const REF_NAME: &str = "org.opencontainers.image.ref.name";

fn put(root: &Path, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    fs::write(root.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    digest
}

fn config(root: &Path) -> Value {
    json!({"mediaType": "c", "digest": put(root, b"config").to_string(), "size": 6})
}

/// Stores a manifest and returns its descriptor.
fn manifest(root: &Path, document: &Value) -> Value {
    let bytes = document.to_string().into_bytes();
    let digest = put(root, &bytes).to_string();
    json!({"mediaType": IMAGE_MANIFEST, "digest": digest, "size": bytes.len()})
}

fn write_index(root: &Path, entries: &[Value]) {
    let index = json!({"schemaVersion": 2, "manifests": entries});
    fs::write(root.join("index.json"), index.to_string()).unwrap();
}

fn addition(subject: &Value, name: &str) -> Addition {
    let envelope = name.as_bytes().to_vec();
    let layer = json!({"mediaType": "e", "digest": Digest::of(&envelope).to_string(), "size": envelope.len()});
    let document = json!({"schemaVersion": 2, "layers": [layer], "subject": subject}).to_string();
    let bytes = document.into_bytes();
    let entry = json!({"mediaType": IMAGE_MANIFEST, "digest": Digest::of(&bytes).to_string(), "size": bytes.len()});
    Addition {
        blobs: vec![
            (Digest::of(&envelope), envelope),
            (Digest::of(&bytes), bytes),
        ],
        entries: vec![entry],
    }
}

fn entries(union: &Union) -> Vec<Value> {
    edit::entries(&union.index().unwrap().bytes).unwrap()
}

#[test]
fn without_an_overlay_it_is_the_base() {
    let scene = Scene::new();
    let union = scene.union();
    let index = union.index().unwrap();
    assert_eq!(*index.bytes, *scene.index());
    assert_eq!(index.stamp, union.stamp().unwrap());
    assert_eq!(union.listing().unwrap().blobs.len(), 2);
    assert!(!scene.place().exists());
}

#[test]
fn shows_what_was_added_after_what_was_there() {
    let scene = Scene::new();
    let before = scene.index();
    let union = scene.union();
    let empty = union.stamp().unwrap();
    let one = scene.addition("one");
    let committed = union.commit(&one).unwrap();
    assert_eq!((committed.blobs_written, committed.entries_added), (2, 1));
    assert_ne!(union.stamp().unwrap(), empty);
    let two = scene.addition("two");
    union.commit(&two).unwrap();
    let shown = entries(&union);
    assert_eq!(shown[0]["annotations"][REF_NAME], "v1");
    assert_eq!(shown[1..], [one.entries[0].clone(), two.entries[0].clone()]);
    for (digest, bytes) in one.blobs.iter().chain(&two.blobs) {
        let blob = union.blob(digest).unwrap().unwrap();
        assert_eq!(blob.read_all(1000).unwrap(), *bytes);
    }
    let listing = union.listing().unwrap();
    assert_eq!(listing.blobs.len(), 6);
    assert!(listing.blobs.is_sorted_by_key(|blob| blob.digest.clone()));
    assert_eq!(listing.ignored, []);
    // The same after a remount, and the base is as it was.
    let again = scene.union();
    assert_eq!(again.index().unwrap().bytes, union.index().unwrap().bytes);
    assert_eq!(again.stamp().unwrap(), again.index().unwrap().stamp);
    assert_eq!(scene.index(), before);
    assert_eq!(fs::read_dir(scene.base()).unwrap().count(), 2);
    // The overlay is a layout of its own.
    assert!(Directory::open(&scene.place()).is_ok());
    assert!(scene.place().join("oci-layout").exists());
}

#[test]
fn ignores_and_names_what_does_not_belong_to_the_base() {
    let scene = Scene::new();
    let union = scene.union();
    let good = scene.addition("good");
    union.commit(&good).unwrap();
    let place = scene.place();
    let good = good.entries[0].clone();
    let mut named = good.clone();
    named["annotations"] = json!({REF_NAME: "v2"});
    let stranger =
        json!({"mediaType": "m", "digest": format!("sha256:{}", "0".repeat(64)), "size": 1});
    let foreign = manifest(&place, &json!({"layers": [], "subject": stranger}));
    let image = manifest(&place, &json!({"layers": [], "schemaVersion": 2}));
    let mut longer = scene.addition("longer").entries[0].clone();
    longer["size"] = json!(3);
    let mut corrupt = manifest(
        &place,
        &json!({"layers": [], "subject": scene.image, "x": 1}),
    );
    // Of the right size, and a manifest, but not the one that is named.
    let blobs = place.join("blobs/sha256");
    let honest = corrupt["digest"].as_str().unwrap().replace("sha256:", "");
    corrupt["digest"] = json!(format!("sha256:{}", "1".repeat(64)));
    fs::rename(blobs.join(honest), blobs.join("1".repeat(64))).unwrap();
    for (entry, problem) in [
        (named, "it has a name"),
        (foreign, "its subject sha256:000"),
        (image, "it is no signature of an image"),
        (longer, "its manifest is not there"),
        (corrupt, "its manifest has another size or digest"),
        (stranger, "its manifest is not there"),
        (json!({"digest": "x"}), "an entry: "),
        (json!(7), "an entry: "),
    ] {
        for order in [[&entry, &good], [&good, &entry]] {
            write_index(&place, &order.map(Clone::clone));
            let shown = entries(&scene.union());
            assert_eq!(shown.len(), 2, "{problem}");
            assert_eq!(shown[1], good, "{problem}");
            let problems = scene.problems();
            assert_eq!(problems.len(), 1, "{problem}: {problems:?}");
            assert!(problems[0].starts_with(problem), "{problem}: {problems:?}");
        }
    }
    // A broken entry does not stand in the way of a good one with the same digest.
    let mut broken = good.clone();
    broken["size"] = json!(1);
    write_index(&place, &[broken, good.clone(), good.clone()]);
    assert_eq!(entries(&scene.union())[1..], [good]);
    let listing = scene.union().listing().unwrap();
    assert_eq!(listing.blobs.len(), 4, "what is ignored shows no blobs");
}

#[test]
fn an_overlay_that_cannot_be_understood_adds_nothing() {
    let scene = Scene::new();
    scene.union().commit(&scene.addition("one")).unwrap();
    for index in [
        "",
        "[]",
        r#"{"manifests":[],"Manifests":[]}"#,
        r#"{"manifests":7}"#,
    ] {
        fs::write(scene.place().join("index.json"), index).unwrap();
        assert_eq!(*scene.union().index().unwrap().bytes, *scene.index());
        assert_eq!(scene.problems().len(), 1, "{index}");
        assert!(scene.union().commit(&scene.addition("two")).is_err());
    }
}

#[test]
fn an_overlay_that_cannot_be_understood_is_named_when_it_is_signed() {
    let scene = Scene::new();
    scene.union().commit(&scene.addition("one")).unwrap();
    for (index, problem) in [
        ("{", "index.json cannot be edited"),
        ("[]", "not an object"),
        ("null", "not an object"),
        (r#"{"manifests":{}}"#, "not a list"),
        (r#"{"manifests":[],"manifests":[]}"#, "manifests"),
    ] {
        fs::write(scene.place().join("index.json"), index).unwrap();
        let refused = scene.union().commit(&scene.addition("two"));
        let Err(SourceError::Overlay { path, problem: why }) = refused else {
            panic!("{index}: {refused:?}");
        };
        assert_eq!(path, scene.place());
        assert!(why.contains(problem), "{index}: {why}");
        let left = fs::read_to_string(scene.place().join("index.json")).unwrap();
        assert_eq!(left, index);
    }
}

#[test]
fn nothing_is_signed_beside_an_archive_that_is_elsewhere() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    fs::write(folder.join("b.tar"), "").unwrap();
    let link = folder.join("link.tar");
    symlink("a.tar", &link).unwrap();
    let base = Arc::new(Directory::open(&scene.base()).unwrap());
    let union = Union::new(base, Overlay::beside(&link).unwrap());
    let one = scene.addition("one");
    union.commit(&one).unwrap();
    assert_eq!(entries(&union).len(), 2);
    let files = || {
        fs::read_dir(scene.place().join("blobs/sha256"))
            .unwrap()
            .count()
    };
    let refused = |step: &str| {
        let refused = union.commit(&scene.addition("two"));
        let Err(SourceError::Overlay { problem, .. }) = refused else {
            panic!("{step}: {refused:?}");
        };
        assert!(problem.contains("moved or replaced"), "{step}: {problem}");
        assert_eq!(files(), 2, "{step}: nothing is written");
        assert!(!folder.join("b.tar.signetfs").exists());
    };
    fs::remove_file(&link).unwrap();
    refused("no archive");
    symlink("b.tar", &link).unwrap();
    refused("another archive");
    // Nor is anything shown that belongs to the other.
    let base = Arc::clone(&union.base);
    let view = View::read(&*base, &union.overlay).unwrap();
    assert_eq!(*view.index.bytes, *scene.index());
    assert!(view.ignored[0].problem.contains("moved or replaced"));
    fs::remove_file(&link).unwrap();
    symlink("a.tar", &link).unwrap();
    union.commit(&scene.addition("two")).unwrap();
    assert_eq!(entries(&union).len(), 3);
    fs::rename(folder.join("a.tar"), folder.join("c.tar")).unwrap();
    let renamed = union.commit(&scene.addition("three"));
    assert!(renamed.is_err(), "{renamed:?}");
    assert_eq!(files(), 4);
}

#[test]
fn an_overlay_supplies_nothing_that_the_base_must_store() {
    let layer = |text: &[u8]| json!({"mediaType": "e", "digest": Digest::of(text).to_string(), "size": text.len()});
    for (name, is_listed) in [("listed", true), ("below an index", false)] {
        let scene = Scene::new();
        let root = scene.base();
        let whole = manifest(
            &root,
            &json!({"schemaVersion": 2, "config": config(&root), "layers": [layer(b"layer")]}),
        );
        let top = match is_listed {
            true => whole.clone(),
            false => {
                let document = json!({"schemaVersion": 2, "manifests": [whole.clone()]});
                let mut top = manifest(&root, &document);
                top["mediaType"] = json!(crate::oci::media_type::IMAGE_INDEX);
                top
            }
        };
        let mut listed = top.clone();
        listed["annotations"] = json!({REF_NAME: "v1"});
        write_index(&root, &[listed]);
        let layers = [layer(b"layer"), layer(b"envelope")];
        let document = json!({"schemaVersion": 2, "layers": layers, "subject": top}).to_string();
        let bytes = document.into_bytes();
        let entry = json!({"mediaType": IMAGE_MANIFEST, "digest": Digest::of(&bytes).to_string(), "size": bytes.len()});
        let blobs = [bytes, b"layer".to_vec(), b"envelope".to_vec()];
        let mut addition = Addition {
            blobs: blobs.map(|bytes| (Digest::of(&bytes), bytes)).to_vec(),
            entries: vec![entry],
        };
        // As an entry of its own, the manifest of the base shows its parts no more than otherwise.
        addition.entries.extend((!is_listed).then_some(whole));
        let union = scene.union();
        union.commit(&addition).unwrap();
        assert!(entries(&union).len() > 1, "{name}");
        assert!(
            scene
                .place()
                .join("blobs/sha256")
                .join(Digest::of(b"layer").hex())
                .exists()
        );
        let stored = |union: &Union, text: &[u8]| union.blob(&Digest::of(text)).unwrap().is_some();
        let listed = union.listing().unwrap().blobs;
        let is_shown = |text| listed.iter().any(|blob| blob.digest == Digest::of(text));
        assert!(
            stored(&union, b"envelope") && is_shown(b"envelope"),
            "{name}"
        );
        assert!(!stored(&union, b"layer") && !is_shown(b"layer"), "{name}");
        put(&root, b"layer");
        assert!(stored(&scene.union(), b"layer"), "{name}");
    }
}

#[test]
fn an_overlay_without_a_regular_index_adds_nothing() {
    let scene = Scene::new();
    scene.union().commit(&scene.addition("one")).unwrap();
    let index = scene.place().join("index.json");
    let elsewhere = scene.folder.path().join("index.json");
    fs::rename(&index, &elsewhere).unwrap();
    let makers: [&dyn Fn(); 3] = [
        &|| symlink(&elsewhere, &index).unwrap(),
        &|| fs::create_dir(&index).unwrap(),
        &|| {
            let made = std::process::Command::new("mkfifo").arg(&index).status();
            assert!(made.unwrap().success());
        },
    ];
    for make in makers {
        make();
        assert_eq!(*scene.union().index().unwrap().bytes, *scene.index());
        assert_eq!(scene.problems(), ["index.json is not a regular file"]);
        assert!(scene.union().commit(&scene.addition("two")).is_err());
        fs::remove_file(&index)
            .or_else(|_| fs::remove_dir(&index))
            .unwrap();
    }
    fs::rename(&elsewhere, &index).unwrap();
    assert_eq!(entries(&scene.union()).len(), 2);
}

#[test]
fn a_base_that_was_built_again_is_not_shadowed() {
    let scene = Scene::new();
    let union = scene.union();
    union.commit(&scene.addition("old")).unwrap();
    let old = union.stamp().unwrap();
    let new = manifest(&scene.base(), &json!({"layers": [], "schemaVersion": 2}));
    let hex = scene.image["digest"]
        .as_str()
        .unwrap()
        .strip_prefix("sha256:");
    fs::remove_file(scene.base().join("blobs/sha256").join(hex.unwrap())).unwrap();
    write_index(&scene.base(), &[new]);
    for union in [union, scene.union()] {
        assert_ne!(union.stamp().unwrap(), old);
        assert_eq!(*union.index().unwrap().bytes, *scene.index());
        assert_eq!(union.listing().unwrap().ignored.len(), 1);
        assert_eq!(union.listing().unwrap().blobs.len(), 2);
    }
}

#[test]
fn what_the_base_has_is_never_taken_from_the_overlay() {
    let scene = Scene::new();
    let union = scene.union();
    union.commit(&scene.addition("one")).unwrap();
    let config = Digest::of(b"config");
    let copy = scene.place().join("blobs/sha256").join(config.hex());
    fs::write(copy, "forged").unwrap();
    fs::write(scene.place().join("trustpolicy.json"), "{}").unwrap();
    let blob = scene.union().blob(&config).unwrap().unwrap();
    assert_eq!(blob.read_all(6).unwrap(), b"config");
    let policy = union.file(Path::new("trustpolicy.json")).unwrap();
    assert!(policy.is_none());
    assert_eq!(union.listing().unwrap().extras.len(), 0);
}

#[test]
fn writes_nothing_that_would_not_be_shown() {
    let scene = Scene::new();
    let gone = json!({"mediaType": "m", "digest": Digest::of(b"gone").to_string(), "size": 4});
    let refused = scene.union().commit(&addition(&gone, "lost"));
    assert!(
        matches!(refused, Err(SourceError::Overlay { .. })),
        "{refused:?}"
    );
    assert!(!scene.place().exists());
    // A platform that the base stores and does not list is added for its signature.
    let child = manifest(&scene.base(), &json!({"layers": [], "schemaVersion": 2}));
    let mut both = addition(&child, "child");
    both.entries.insert(0, child);
    scene.union().commit(&both).unwrap();
    assert_eq!(entries(&scene.union())[1..], both.entries);
}

#[test]
fn follows_no_symlink_and_trusts_no_stranger_beside_an_archive() {
    let scene = Scene::new();
    scene.union().commit(&scene.addition("one")).unwrap();
    let elsewhere = scene.folder.path().join("elsewhere");
    fs::rename(scene.place(), &elsewhere).unwrap();
    symlink(&elsewhere, scene.place()).unwrap();
    let refused = |scene: &Scene, problem: &str| {
        assert_eq!(*scene.union().index().unwrap().bytes, *scene.index());
        assert!(
            scene.problems()[0].starts_with(problem),
            "{:?}",
            scene.problems()
        );
        let refused = scene.union().commit(&scene.addition("two"));
        assert!(
            matches!(refused, Err(SourceError::Overlay { .. })),
            "{refused:?}"
        );
    };
    refused(&scene, "it is a symlink or no folder");
    fs::remove_file(scene.place()).unwrap();
    fs::write(scene.place(), "").unwrap();
    refused(&scene, "it is a symlink or no folder");
    fs::remove_file(scene.place()).unwrap();
    fs::rename(&elsewhere, scene.place()).unwrap();
    assert_eq!(entries(&scene.union()).len(), 2);
    if crate::files::effective_uid() != 0 {
        return;
    }
    chown(scene.place(), Some(4711), None).unwrap();
    refused(&scene, "it belongs to uid 4711");
    // The archive's owner is no stranger.
    chown(scene.folder.path().join("a.tar"), Some(4711), None).unwrap();
    assert_eq!(entries(&scene.union()).len(), 2);
}

#[test]
fn a_folder_without_an_index_is_no_overlay_yet() {
    let scene = Scene::new();
    fs::create_dir(scene.place()).unwrap();
    fs::write(scene.place().join(".signetfs-0"), "left").unwrap();
    fs::write(scene.place().join("oci-layout"), "").unwrap();
    let union = scene.union();
    assert_eq!(*union.index().unwrap().bytes, *scene.index());
    assert_eq!(union.listing().unwrap().ignored, []);
    union.commit(&scene.addition("one")).unwrap();
    assert_eq!(entries(&union).len(), 2);
    assert!(!scene.place().join(".signetfs-0").exists());
    // A folder of somebody's files does not become one.
    let other = scene.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter"), "").unwrap();
    let base = Arc::new(Directory::open(&scene.base()).unwrap());
    let union = Union::new(base, Overlay::named(&other, None).unwrap());
    let refused = union.commit(&scene.addition("two"));
    assert!(
        matches!(refused, Err(SourceError::Overlay { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
}

#[test]
fn a_new_overlay_is_as_open_as_its_archive() {
    let scene = Scene::new();
    let archive = scene.folder.path().join("a.tar");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o600)).unwrap();
    scene.union().commit(&scene.addition("one")).unwrap();
    assert_eq!(mode(&scene.place()), 0o700);
    assert_eq!(mode(&scene.place().join("index.json")), 0o600);
}
