//! `fsck`: each kind of finding, in a folder and in a tar, and nothing written.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use serde_json::{Value, json};
use signetfs::oci::Digest;

use crate::support::layouts::{Image, Layout, blob_path, buildx};
use crate::support::{Mount, Ran, User, files_below, tool};

/// Is a layout of one signed image.
fn signed(user: &User) -> Image {
    user.with_key("wabbit-networks.io");
    let image = buildx(&user.path("layout"));
    user.succeed(&["sign", "layout:v1"]);
    image
}

/// Returns the findings about a layout as kind, verdict and path, and the exit code.
fn findings(user: &User, layout: &str) -> (Vec<(String, String, String)>, i32) {
    let ran = user.run(&["fsck", "--json", layout]);
    let document = ran.json();
    assert_eq!(document["schema"], "signetfs.fsck/1");
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let found = document["findings"].as_array().unwrap();
    let found = found.iter().map(|finding| {
        for member in ["problem", "advice"] {
            let text = finding[member].as_str().unwrap();
            assert!(text.len() > 10, "{finding}");
        }
        (
            word(&finding["kind"]),
            word(&finding["verdict"]),
            word(&finding["path"]),
        )
    });
    (found.collect(), ran.code)
}

/// Checks a layout as a folder and as a tar: one finding of this kind, verdict and path among those there are, and the exit code.
#[track_caller]
fn finds(user: &User, expected: (&str, &str, &str), code: i32) {
    let before = files_below_plain(user);
    let (found, exit) = findings(user, "layout");
    let (kind, verdict, path) = expected;
    let wanted = (kind.to_owned(), verdict.to_owned(), path.to_owned());
    assert!(found.contains(&wanted), "{found:#?}");
    assert_eq!(exit, code, "{found:#?}");
    assert_eq!(before, files_below_plain(user), "something was written");
    let text = user.run(&["fsck", "layout"]);
    assert_eq!(text.code, code);
    let line = match verdict {
        "-" => format!("note {kind} {path}: "),
        _ => format!("{verdict} {kind} {path}: "),
    };
    assert!(
        text.stdout.lines().any(|text| text.starts_with(&line)),
        "{text:?}"
    );
    let status = user
        .program("tar")
        .args(["-C", "layout", "-cf", "layout.tar", "."])
        .status();
    assert!(status.unwrap().success());
    let (found, exit) = findings(user, "layout.tar");
    assert!(found.contains(&wanted), "{found:#?}");
    assert_eq!(exit, code, "{found:#?}");
}

/// Returns the names and sizes of everything in the layout, without opening anything.
fn files_below_plain(user: &User) -> String {
    let listed = user
        .program("find")
        .args(["layout", "-printf", "%p %y %s %T@ %C@\n"])
        .output();
    Ran::of(listed.unwrap()).stdout
}

#[test]
fn finds_nothing_in_a_sound_layout() {
    let user = User::new();
    signed(&user);
    let before = files_below(&user.path("layout"));
    assert_eq!(findings(&user, "layout"), (Vec::new(), 0));
    let text = user.succeed(&["fsck", "layout"]);
    assert!(
        text.starts_with("checked blobs=") && text.ends_with(" problems=0 notes=0\n"),
        "{text}"
    );
    assert_eq!(before, files_below(&user.path("layout")));
    if let Some(mount) = Mount::new(&user, "layout", "mnt", &[]) {
        assert_eq!(user.succeed(&["fsck", &mount.point]), text);
    }
}

#[test]
fn finds_blobs_that_are_not_what_their_names_say() {
    let user = User::new();
    let image = signed(&user);
    let path = blob_path(&user.path("layout"), &image.layers[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let name = format!("blobs/{}", image.layers[0].replace(':', "/"));
    finds(&user, ("digest", "corrupt", &name), 17);
    bytes.push(0);
    fs::write(&path, &bytes).unwrap();
    finds(&user, ("size", "corrupt", &name), 17);
    fs::remove_file(&path).unwrap();
    finds(&user, ("missing", "missing", &name), 18);
}

#[test]
fn finds_orphans_and_reads_them_too() {
    let user = User::new();
    signed(&user);
    let digest = Digest::of(b"orphan");
    let name = format!("blobs/sha256/{}", digest.hex());
    fs::write(user.path("layout").join(&name), b"orphan").unwrap();
    finds(&user, ("orphan", "-", &name), 0);
    fs::write(user.path("layout").join(&name), b"orphaN").unwrap();
    finds(&user, ("digest", "corrupt", &name), 17);
}

#[test]
fn finds_what_interrupted_writers_left() {
    let user = User::new();
    signed(&user);
    for name in [
        "index.json.lock",
        ".signetfs-0123",
        "oci-put-blob123",
        "blobs/sha256/.tmp-1",
        "blobs/sha256/ABCDEF",
    ] {
        fs::write(user.path("layout").join(name), "").unwrap();
        finds(&user, ("leftover", "-", name), 0);
    }
    for name in ["ingest", ".umoci-1"] {
        fs::create_dir(user.path("layout").join(name)).unwrap();
        finds(&user, ("leftover", "-", name), 0);
    }
    let text = user.run(&["fsck", "layout"]).stdout;
    assert!(text.contains("rm -r -- layout/index.json.lock"), "{text}");
}

#[test]
fn finds_what_is_no_file() {
    let user = User::new();
    let image = signed(&user);
    let status = user.program("mkfifo").arg("layout/fifo").status();
    assert!(status.unwrap().success());
    finds(&user, ("irregular", "-", "fifo"), 0);
    let path = blob_path(&user.path("layout"), &image.layers[0]);
    fs::rename(&path, user.path("layout/moved")).unwrap();
    symlink("../../moved", &path).unwrap();
    let name = format!("blobs/{}", image.layers[0].replace(':', "/"));
    finds(&user, ("irregular", "-", &name), 18);
}

#[test]
fn finds_a_name_on_two_digests() {
    let user = User::new();
    let mut layout = Layout::new(&user.path("layout"));
    layout.image("v1", "one");
    layout.image("v1", "two");
    finds(&user, ("tag", "ambiguous", "index.json"), 22);
}

#[test]
fn finds_an_index_of_docker_that_disagrees() {
    let user = User::new();
    let mut layout = Layout::new(&user.path("layout"));
    layout.image("v1", "one");
    let other = json!([{"Config": "blobs/sha256/00", "RepoTags": ["x:v1"], "Layers": []}]);
    fs::write(user.path("layout/manifest.json"), other.to_string()).unwrap();
    finds(&user, ("layout", "ambiguous", "manifest.json"), 22);
}

#[test]
fn finds_a_broken_index_and_a_wrong_version() {
    let user = User::new();
    signed(&user);
    let version = user.path("layout/oci-layout");
    fs::write(&version, br#"{"imageLayoutVersion":"1.1.0"}"#).unwrap();
    finds(&user, ("oci-layout", "layout-invalid", "oci-layout"), 25);
    fs::remove_file(&version).unwrap();
    finds(&user, ("oci-layout", "-", "oci-layout"), 0);
    fs::write(user.path("layout/index.json"), b"{\"schemaVersion\":2,").unwrap();
    finds(&user, ("index.json", "layout-invalid", "index.json"), 25);
}

#[test]
fn finds_signatures_of_images_that_are_not_here() {
    let user = User::new();
    let image = signed(&user);
    let index = fs::read_to_string(user.path("layout/index.json")).unwrap();
    let mut index: Value = serde_json::from_str(&index).unwrap();
    index["manifests"].as_array_mut().unwrap().remove(0);
    let signature = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    fs::write(user.path("layout/index.json"), index.to_string()).unwrap();
    fs::remove_file(blob_path(&user.path("layout"), &image.digest)).unwrap();
    let name = format!("blobs/{}", signature.replace(':', "/"));
    finds(&user, ("subject", "-", &name), 0);
}

#[test]
fn escapes_names_and_repeats_none_that_a_shell_would_read() {
    let user = User::new();
    signed(&user);
    let name = "oci-put-blob'; reboot;\u{1b}[2J\n'";
    fs::write(user.path("layout").join(name), "").unwrap();
    let text = user.succeed(&["fsck", "layout"]);
    assert!(
        text.contains(r"oci-put-blob';\x20reboot;\x1b[2J\x0a'"),
        "{text}"
    );
    assert!(
        !text.contains('\u{1b}') && !text.contains("rm -r"),
        "{text}"
    );
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let user = User::new();
    signed(&user);
    for number in 0..3000 {
        fs::write(
            user.path("layout").join(format!("oci-put-blob{number}")),
            "",
        )
        .unwrap();
    }
    let mut child = user
        .signetfs(&["fsck", "layout"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn refuses_a_tag_and_what_is_no_layout() {
    let user = User::new();
    signed(&user);
    let ran = user.run(&["fsck", "layout:v1"]);
    assert!(ran.error(2).contains("whole layouts"), "{ran:?}");
    fs::write(user.path("x.tar"), b"no tar").unwrap();
    let ran = user.run(&["fsck", "x.tar"]);
    assert!(ran.error(1).contains("at byte 0"), "{ran:?}");
    if tool("true").is_some() {
        user.run(&["fsck", "absent"]).error(1);
    }
}

#[test]
fn finds_an_overlay_that_cannot_be_used() {
    let user = User::new();
    signed(&user);
    let mut command = user.program("tar");
    command.args(["-C", "layout", "-cf", "layout.tar", "."]);
    assert!(command.status().unwrap().success());
    fs::write(user.path("layout.tar.signetfs"), "").unwrap();
    let ran = user.run(&["fsck", "layout.tar"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("note overlay "), "{ran:?}");
    assert!(lines[1].contains("mend it, or move it away"), "{ran:?}");
}
