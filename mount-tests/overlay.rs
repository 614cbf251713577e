//! Tars and folders that are not written to: their signatures lie in an overlay, and every command takes both as one layout.

mod export;
mod faults;
mod mounted;
mod tools;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use signetfs::oci::Digest;

use crate::registry::{Behaviour, Registry};
use crate::support::layouts::{self, Image, Layout, index};
use crate::support::{Ran, User, all_succeed, files_below, rounds};

/// Is a user with a key, and an image in the tar `hello.tar`.
struct Scene {
    user: User,
    image: Image,
    before: State,
}

/// Is a file: its bytes, and what a writer would change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    digest: Digest,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
}

impl State {
    fn of(path: &Path) -> Self {
        let facts = fs::metadata(path).unwrap();
        Self {
            digest: Digest::of(&fs::read(path).unwrap()),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
            inode: facts.ino(),
        }
    }
}

impl Scene {
    fn new() -> Self {
        Self::with(layouts::single)
    }

    fn with(make: fn(&Path) -> Image) -> Self {
        let user = User::new();
        user.with_key("one");
        let image = make(&user.path("hello"));
        tar(&user, "hello", "hello.tar");
        let before = State::of(&user.path("hello.tar"));
        Self {
            user,
            image,
            before,
        }
    }

    fn overlay(&self) -> PathBuf {
        self.user.path("hello.tar.signetfs")
    }

    /// Checks that the tar is what it was: content, times and place.
    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(State::of(&self.user.path("hello.tar")), self.before);
    }

    /// Builds another image and puts it into the tar's place.
    fn rebuild(&self) {
        let root = self.user.path("rebuilt");
        Layout::new(&root).image("v1", "another");
        tar(&self.user, "rebuilt", "rebuilt.tar");
        fs::rename(self.user.path("rebuilt.tar"), self.user.path("hello.tar")).unwrap();
    }

    fn verdict(&self, arguments: &[&str]) -> String {
        let ran = self.user.run(&[&["verify"], arguments].concat());
        ran.stdout.lines().next().unwrap_or_default().to_owned()
    }
}

/// Packs a folder as GNU tar does when told to pack what is in it.
fn tar(user: &User, folder: &str, archive: &str) {
    let mut command = user.program("tar");
    command.args(["-C", folder, "-cf", archive, "."]);
    assert!(command.status().unwrap().success());
}

fn signatures(user: &User, reference: &str) -> usize {
    let listed = user.run(&["list", "--json", reference]).json();
    listed["images"][0]["signatures"].as_array().unwrap().len()
}

#[test]
fn a_tar_is_signed_beside_itself() {
    let scene = Scene::new();
    let user = &scene.user;
    assert_eq!(scene.verdict(&["hello.tar"]), "unsigned");
    assert!(!scene.overlay().exists(), "reading makes nothing");
    let signed = user.run(&["sign", "hello.tar:v1"]);
    assert_eq!(signed.code, 0, "{signed:?}");
    assert!(signed.stderr.contains("hello.tar.signetfs"), "{signed:?}");
    scene.is_untouched();
    assert_eq!(scene.verdict(&["hello.tar"]), "verified");
    user.succeed(&["verify", "hello.tar:v1"]);
    assert_eq!(signatures(user, "hello.tar:v1"), 1);
    let shown = user.succeed(&["inspect", "hello.tar:v1"]);
    assert!(shown.contains(&scene.image.digest), "{shown}");
    user.succeed(&["sign", "--signature-format", "cose", "hello.tar"]);
    assert_eq!(signatures(user, "hello.tar"), 2);
    scene.is_untouched();
    // The overlay is a layout that lists the signatures only, without names.
    let listed = index(&scene.overlay());
    for entry in listed["manifests"].as_array().unwrap() {
        let name = &entry["annotations"]["org.opencontainers.image.ref.name"];
        assert!(name.is_null(), "{entry}");
    }
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 2);
    assert!(scene.overlay().join("oci-layout").exists());
    // Without it the tar is what it was; with a symlink to the tar it is found all the same.
    symlink("hello.tar", user.path("link.tar")).unwrap();
    assert_eq!(scene.verdict(&["link.tar"]), "verified");
    fs::rename(scene.overlay(), user.path("elsewhere")).unwrap();
    assert_eq!(scene.verdict(&["hello.tar"]), "unsigned");
    assert_eq!(
        scene.verdict(&["--overlay", "elsewhere", "hello.tar"]),
        "verified"
    );
}

#[test]
fn a_compressed_tar_and_one_on_standard_input_are_signed_likewise() {
    let scene = Scene::new();
    let user = &scene.user;
    let mut command = user.program("gzip");
    assert!(
        command
            .args(["-k", "hello.tar"])
            .status()
            .unwrap()
            .success()
    );
    let before = State::of(&user.path("hello.tar.gz"));
    user.succeed(&["sign", "hello.tar.gz:v1"]);
    assert_eq!(scene.verdict(&["hello.tar.gz"]), "verified");
    assert_eq!(State::of(&user.path("hello.tar.gz")), before);
    assert!(user.path("hello.tar.gz.signetfs/index.json").exists());
    assert_eq!(scene.verdict(&["hello.tar"]), "unsigned");
    // The overlay of one is good for the other: it is the same layout.
    let given = |arguments: &[&str]| {
        let mut command = user.signetfs(arguments);
        let file = fs::File::open(user.path("hello.tar.gz")).unwrap();
        Ran::of(command.stdin(file).output().unwrap())
    };
    let overlay = ["--overlay", "hello.tar.gz.signetfs"];
    let verified = given(&[&["verify", "--scope", "local/hello"], &overlay[..], &["-"]].concat());
    assert_eq!(verified.code, 0, "{verified:?}");
    given(&["sign", "-"]).error(2);
    let signed = given(&[&["sign"], &overlay[..], &["-"]].concat());
    assert_eq!(signed.code, 0, "{signed:?}");
    let hint = "signetfs export --overlay hello.tar.gz.signetfs - OUT.tar";
    assert!(signed.stderr.contains(hint), "{signed:?}");
    assert_eq!(signatures(user, "hello.tar.gz"), 2);
    let exported = given(&[&["export"], &overlay[..], &["-", "out.tar"]].concat());
    assert_eq!(exported.code, 0, "{exported:?}");
    user.succeed(&["export", "hello.tar.gz", "other.tar"]);
    let bytes = |name: &str| fs::read(user.path(name)).unwrap();
    assert!(bytes("out.tar") == bytes("other.tar"));
}

#[test]
fn platforms_of_a_tar_are_signed_too() {
    let scene = Scene::with(layouts::buildx);
    scene.user.succeed(&["sign", "--recursive", "hello.tar:v1"]);
    for digest in [&scene.image.digest, &scene.image.platforms[1]] {
        scene
            .user
            .succeed(&["verify", &format!("hello.tar@{digest}")]);
    }
    assert_eq!(scene.verdict(&["hello.tar"]), "verified");
    // The same again adds signatures, and lists no platform twice.
    scene.user.succeed(&["sign", "--recursive", "hello.tar:v1"]);
    let listed = index(&scene.overlay())["manifests"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(listed, 2 * 3 + 2);
    scene.is_untouched();
}

#[test]
fn a_folder_that_takes_no_files_is_signed_in_a_named_overlay() {
    let scene = Scene::new();
    let user = &scene.user;
    let before = files_below(&user.path("hello"));
    user.succeed(&["sign", "--overlay", "new", "hello:v1"]);
    assert_eq!(files_below(&user.path("hello")), before);
    assert_eq!(scene.verdict(&["hello"]), "unsigned");
    assert_eq!(scene.verdict(&["--overlay", "new", "hello"]), "verified");
    for place in ["hello", "hello/inside", "."] {
        user.run(&["sign", "--overlay", place, "hello:v1"]).error(2);
    }
    user.run(&["verify", "--overlay", "new", "registry.example/x:v1"])
        .error(2);
    // A folder with other things in it does not become an overlay.
    user.run(&["sign", "--overlay", "config", "hello.tar"])
        .error(1);
}

#[test]
fn a_read_only_mount_without_an_overlay_names_the_flag() {
    let scene = Scene::new();
    let script = "mount --bind hello hello && mount -o remount,bind,ro hello || exit 9; \
        \"$0\" sign hello:v1; echo $?; \"$0\" sign --overlay new hello:v1 >out && \"$0\" verify --overlay new hello:v1";
    let mut command = scene.user.program("unshare");
    command.args(["-rm", "sh", "-c", script, crate::support::own_program()]);
    let ran = Ran::of(command.output().unwrap());
    if ran.code == 9 || ran.stderr.starts_with("unshare") {
        eprintln!("skip: no name spaces here: {ran:?}");
        return;
    }
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("40\nSuccessfully verified"),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("hint: sign into a folder of your own: --overlay DIR"),
        "{ran:?}"
    );
}

#[test]
fn twelve_signers_of_one_tar_lose_nothing() {
    for _ in 0..rounds(20) {
        let scene = Scene::new();
        let commands = (0..12)
            .map(|_| scene.user.signetfs(&["sign", "hello.tar:v1"]))
            .collect();
        all_succeed(commands);
        assert_eq!(signatures(&scene.user, "hello.tar:v1"), 12);
        let names = files_below(&scene.overlay());
        let left = names
            .keys()
            .find(|path| !path.starts_with("blobs") && path.components().count() > 1);
        assert_eq!(left, None);
        scene.is_untouched();
    }
}

#[test]
fn a_rebuilt_tar_is_not_shadowed() {
    let scene = Scene::new();
    let user = &scene.user;
    user.succeed(&["sign", "hello.tar:v1"]);
    let old = index(&scene.overlay())["manifests"][0]["digest"].clone();
    scene.rebuild();
    let ran = user.run(&["verify", "hello.tar"]);
    assert_eq!(ran.code, 10, "{ran:?}");
    let note = format!(
        "  note {} ",
        scene.overlay().canonicalize().unwrap().display()
    );
    let line = ran.stdout.lines().find(|line| line.starts_with(&note));
    let line = line.unwrap_or_else(|| panic!("{ran:?}"));
    assert!(line.contains(old.as_str().unwrap()), "{line}");
    assert!(line.contains(&scene.image.digest), "{line}");
    assert!(ran.stdout.ends_with("orphans=0 extras=0\n"), "{ran:?}");
    let told = user.run(&["verify", "--json", "hello.tar"]).json();
    assert_eq!(told["notes"][0]["digest"], old);
    assert_eq!(told["notes"][0]["check"], "overlay");
    for command in ["list", "inspect", "verify"] {
        let ran = user.run(&[command, "hello.tar:v1"]);
        assert!(
            ran.stderr.contains("is not in the layout"),
            "{command}: {ran:?}"
        );
    }
    // Signing again adds to what is there; both tars keep their own.
    user.succeed(&["sign", "hello.tar:v1"]);
    assert_eq!(scene.verdict(&["hello.tar"]), "verified");
    assert_eq!(signatures(user, "hello.tar"), 1);
    tar(user, "hello", "hello.tar");
    assert_eq!(scene.verdict(&["hello.tar"]), "verified");
}

#[test]
fn what_does_not_belong_to_the_tar_is_ignored_and_told() {
    let scene = Scene::new();
    let user = &scene.user;
    user.succeed(&["sign", "hello.tar:v1"]);
    // Another image, with a name and without; a tag on a signature; a policy.
    let mut listed = index(&scene.overlay());
    let mut named = listed["manifests"][0].clone();
    named["annotations"] = json!({"org.opencontainers.image.ref.name": "v2"});
    let other = Layout::new(&user.path("other")).image("v1", "other");
    let path = layouts::blob_path(&user.path("other"), &other.digest);
    let bytes = fs::read(&path).unwrap();
    let copy = scene
        .overlay()
        .join("blobs/sha256")
        .join(path.file_name().unwrap());
    fs::write(copy, &bytes).unwrap();
    let unnamed = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": other.digest, "size": bytes.len()});
    let entries = listed["manifests"].as_array_mut().unwrap();
    entries.extend([named, unnamed]);
    fs::write(scene.overlay().join("index.json"), listed.to_string()).unwrap();
    fs::write(scene.overlay().join("trustpolicy.json"), "{}").unwrap();
    let told = user.run(&["verify", "--json", "hello.tar"]).json();
    assert_eq!(told["verdict"], "verified", "{told}");
    assert_eq!(told["images"].as_array().unwrap().len(), 1);
    let notes: Vec<&Value> = told["notes"].as_array().unwrap().iter().collect();
    assert_eq!(notes.len(), 2, "{told}");
    assert!(notes[0]["text"].as_str().unwrap().contains("it has a name"));
    assert_eq!(notes[1]["digest"], other.digest);
    let warned = user.run(&["sign", "hello.tar:v1"]);
    assert_eq!(warned.stderr.matches("is ignored").count(), 2, "{warned:?}");
}

#[test]
fn a_hostile_overlay_is_not_followed() {
    let scene = Scene::new();
    let user = &scene.user;
    user.succeed(&["sign", "--overlay", "real", "hello.tar:v1"]);
    symlink("real", scene.overlay()).unwrap();
    let before = files_below(&user.path("real"));
    let ran = user.run(&["verify", "hello.tar"]);
    assert_eq!(ran.code, 10, "{ran:?}");
    assert!(
        ran.stdout.contains("overlay: it is a symlink or no folder"),
        "{ran:?}"
    );
    user.run(&["sign", "hello.tar:v1"]).error(1);
    assert_eq!(files_below(&user.path("real")), before);
    // Where the user names it, a symlink is followed as by any program.
    symlink("real", user.path("named")).unwrap();
    assert_eq!(
        scene.verdict(&["--overlay", "named", "hello.tar"]),
        "verified"
    );
    // Symlinks within are not.
    let blobs = user.path("real/blobs");
    fs::rename(&blobs, user.path("blobs")).unwrap();
    symlink("../blobs", &blobs).unwrap();
    assert_eq!(
        scene.verdict(&["--overlay", "named", "hello.tar"]),
        "unsigned"
    );
    scene.is_untouched();
}

#[test]
fn an_overlay_of_a_stranger_is_not_used() {
    let scene = Scene::new();
    let user = &scene.user;
    user.succeed(&["sign", "hello.tar:v1"]);
    let before = files_below(&scene.overlay());
    let uid = fs::metadata(scene.overlay()).unwrap().uid();
    if uid != 0 {
        return;
    }
    for path in [scene.overlay(), user.path("hello.tar")] {
        std::os::unix::fs::chown(path, Some(4711), Some(4711)).unwrap();
    }
    fs::set_permissions(user.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = user.program("setpriv");
    command.args([
        "--reuid",
        "4712",
        "--clear-groups",
        crate::support::own_program(),
    ]);
    command.args(["verify", "--no-memory", "hello.tar"]);
    // Another user reads what the archive's owner signed, and may not add to it.
    let ran = Ran::of(command.output().unwrap());
    assert!(!ran.stdout.contains("it belongs to uid"), "{ran:?}");
    assert_eq!(files_below(&scene.overlay()), before);
    std::os::unix::fs::chown(scene.overlay(), Some(4713), None).unwrap();
    let ran = user.run(&["verify", "hello.tar"]);
    assert!(ran.stdout.contains("it belongs to uid 4713"), "{ran:?}");
    assert_eq!(ran.code, 10, "{ran:?}");
    user.run(&["sign", "hello.tar:v1"]).error(1);
    // Where the user names it, whose it is is the user's to know.
    symlink("hello.tar.signetfs", user.path("named")).unwrap();
    let arguments = ["--overlay", "named", "hello.tar"];
    assert_eq!(scene.verdict(&arguments), "verified");
}

#[test]
fn sync_pushes_the_signatures_of_a_tar() {
    let scene = Scene::new();
    let registry = Registry::start(Behaviour::default());
    let target = registry.at("app:v1");
    let push = |source: &str| scene.user.run(&["sync", "--plain-http", source, &target]);
    push("hello.tar:v1").error(10);
    scene.user.succeed(&["sign", "hello.tar:v1"]);
    let ran = push("hello.tar:v1");
    assert_eq!(ran.code, 0, "{ran:?}");
    let repository = registry.repository("app");
    assert_eq!(repository.tags["v1"], scene.image.digest);
    assert_eq!(repository.referrers(&scene.image.digest).len(), 1);
    scene.is_untouched();
    // What is ignored is a warning, once.
    let index = scene.overlay().join("index.json");
    let mut listed: serde_json::Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let entries = listed["manifests"].as_array_mut().unwrap();
    entries.push(serde_json::json!({ "digest": "x" }));
    fs::write(&index, listed.to_string()).unwrap();
    let ran = push("hello.tar:v1");
    let warnings: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(warnings.len(), 1, "{ran:?}");
    assert!(
        warnings[0].starts_with("signetfs: warning: overlay "),
        "{ran:?}"
    );
}
