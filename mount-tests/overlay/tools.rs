//! Tars as each tool writes them mount to the same tree as the folder they unpack to, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use signetfs::oci::Digest;

use crate::registry::{Behaviour, Registry};
use crate::support::layouts::{self, Layout};
use crate::support::{Mount, Ran, User, files_below, tool};

/// Is who writes tars of a layout.
struct Writer<'a> {
    name: &'a str,
    program: &'a str,
    arguments: &'a [&'a str],
}

const PYTHON: &str = "import sys, tarfile\nwith tarfile.open('x.tar', 'w', format=int(sys.argv[1])) as out:\n    out.add('hello', arcname='.')";

/// Everybody who packs the folder `hello` into `x.tar`.
const WRITERS: [Writer<'static>; 12] = [
    writer("GNU tar", "tar", &["-C", "hello", "-cf", "x.tar", "."]),
    // buildx writes blobs first, then the files of the root, without a prefix.
    writer(
        "buildx",
        "tar",
        &[
            "--format=ustar",
            "-C",
            "hello",
            "-cf",
            "x.tar",
            "blobs",
            "index.json",
            "manifest.json",
            "oci-layout",
        ],
    ),
    writer(
        "GNU tar, names",
        "tar",
        &[
            "-C",
            "hello",
            "-cf",
            "x.tar",
            "index.json",
            "oci-layout",
            "manifest.json",
            "blobs",
        ],
    ),
    writer("GNU tar, folder", "tar", &["-cf", "x.tar", "hello"]),
    writer(
        "GNU tar, pax",
        "tar",
        &["--format=pax", "-C", "hello", "-cf", "x.tar", "."],
    ),
    writer(
        "GNU tar, v7",
        "tar",
        &["--format=v7", "-C", "hello", "-cf", "x.tar", "."],
    ),
    writer("Python, gnu", "python3", &["-c", PYTHON, "1"]),
    writer("Python, pax", "python3", &["-c", PYTHON, "2"]),
    writer("bsdtar", "bsdtar", &["-C", "hello", "-cf", "x.tar", "."]),
    writer(
        "bsdtar, pax",
        "bsdtar",
        &["--format=pax", "-C", "hello", "-cf", "x.tar", "."],
    ),
    writer(
        "bsdtar, gnu",
        "bsdtar",
        &["--format=gnutar", "-C", "hello", "-cf", "x.tar", "."],
    ),
    writer(
        "skopeo",
        "skopeo",
        &[
            "--tmpdir",
            ".",
            "copy",
            "-q",
            "--all",
            "--insecure-policy",
            "oci:hello:v2",
            "oci-archive:x.tar:v2",
        ],
    ),
];

const fn writer<'a>(name: &'a str, program: &'a str, arguments: &'a [&'a str]) -> Writer<'a> {
    Writer {
        name,
        program,
        arguments,
    }
}

/// Returns a user with a signed layout of an index and a plain image, with docker's archive index.
fn scene() -> User {
    let user = User::new();
    user.with_key("one");
    let mut layout = Layout::new(&user.path("hello"));
    layout.buildx("v1", "one");
    let plain = layout.image("v2", "two");
    layout.docker_archive(&[&plain]);
    user.succeed(&["sign", "hello:v1"]);
    user.succeed(&["sign", "hello:v2"]);
    user
}

/// Returns everything that a mount of `source` shows.
fn shown(user: &User, source: &str) -> BTreeMap<PathBuf, Digest> {
    let flags = ["--scope", "local/hello"];
    let mount = Mount::new(user, source, "mnt", &flags).unwrap();
    user.succeed(&["wait", "mnt"]);
    let files = files_below(&user.path("mnt"));
    drop(mount);
    files
}

/// Checks that `x.tar` mounts to the tree of the folder that GNU tar unpacks it to, and removes both.
fn agrees(user: &User, name: &str) {
    let folder = user.path("unpacked");
    fs::create_dir(&folder).unwrap();
    let mut command = user.program("tar");
    command.args(["-C", "unpacked", "-xf", "x.tar"]);
    assert!(command.status().unwrap().success(), "{name}");
    let root = match folder.join("index.json").exists() {
        true => "unpacked",
        false => "unpacked/hello",
    };
    let (archive, unpacked) = (shown(user, "x.tar"), shown(user, root));
    assert!(archive.contains_key(Path::new("verify-status")), "{name}");
    assert!(
        archive.keys().any(|path| path.starts_with("blobs")),
        "{name}"
    );
    assert_eq!(archive, unpacked, "{name}");
    fs::remove_dir_all(&folder).unwrap();
    fs::remove_file(user.path("x.tar")).unwrap();
}

#[test]
fn every_writer_of_tars_gives_the_tree_of_its_folder() {
    if !crate::support::fuse() {
        return;
    }
    let user = scene();
    for writer in WRITERS {
        let Some(program) = tool(writer.program) else {
            continue;
        };
        let mut command = user.program(program);
        let ran = Ran::of(command.args(writer.arguments).output().unwrap());
        assert_eq!(ran.code, 0, "{}: {ran:?}", writer.name);
        agrees(&user, writer.name);
    }
    user.succeed(&["export", "hello", "x.tar"]);
    agrees(&user, "our own");
}

#[test]
fn a_backup_of_oras_gives_the_tree_of_its_folder() {
    let Some(oras) = tool("oras").filter(|_| crate::support::fuse()) else {
        return;
    };
    let user = scene();
    let registry = Registry::start(Behaviour::default());
    let target = registry.at("app:v1");
    user.succeed(&["sync", "--plain-http", "hello:v1", &target]);
    let mut command = user.program(oras);
    command.args([
        "backup",
        "--plain-http",
        "--include-referrers",
        "--output",
        "x.tar",
        &target,
    ]);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    user.succeed(&["verify", "--scope", "local/hello", "x.tar"]);
    agrees(&user, "oras");
}

#[test]
fn a_tar_of_what_umoci_wrote_gives_the_tree_of_its_folder() {
    let Some(umoci) = tool("umoci").filter(|_| crate::support::fuse()) else {
        return;
    };
    let user = User::new();
    user.with_key("one");
    for arguments in [
        &["init", "--layout", "hello"][..],
        &["new", "--image", "hello:v1"],
        &["config", "--image", "hello:v1", "--author", "somebody"],
    ] {
        let mut command = user.program(&umoci);
        let ran = Ran::of(command.args(arguments).output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    super::tar(&user, "hello", "x.tar");
    user.succeed(&["sign", "x.tar:v1"]);
    user.succeed(&["export", "x.tar", "signed.tar"]);
    fs::remove_dir_all(user.path("x.tar.signetfs")).unwrap();
    fs::rename(user.path("signed.tar"), user.path("x.tar")).unwrap();
    user.succeed(&["verify", "--scope", "local/hello", "x.tar"]);
    agrees(&user, "umoci");
    layouts::index(&user.path("hello"));
}
