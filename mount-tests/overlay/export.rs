//! `signetfs export`: the same bytes each time, read by other tools, and never half of them.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use signetfs::oci::Digest;
use signetfs::oci::media_type::IMAGE_MANIFEST;

use super::{Scene, State, tar};
use crate::support::layouts::{self, Image, Layout, blob_path};
use crate::support::{Ran, User, files_below, tool};

#[test]
fn a_tar_and_its_overlay_become_one_tar() {
    let scene = Scene::with(layouts::buildx);
    let user = &scene.user;
    user.succeed(&["sign", "--recursive", "hello.tar:v1"]);
    let told = user
        .run(&["export", "--json", "hello.tar", "out.tar"])
        .json();
    let bytes = fs::read(user.path("out.tar")).unwrap();
    assert_eq!(told["bytes"], bytes.len());
    assert_eq!(told["schema"], "signetfs.export/1");
    user.succeed(&["export", "hello.tar", "again.tar"]);
    assert!(fs::read(user.path("again.tar")).unwrap() == bytes);
    let mut command = user.signetfs(&["export", "hello.tar", "-"]);
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stdout == bytes);
    scene.is_untouched();
    // It is complete by itself, packed or not.
    fs::rename(scene.overlay(), user.path("away")).unwrap();
    user.succeed(&["verify", "--scope", "local/hello", "out.tar"]);
    fs::create_dir(user.path("unpacked")).unwrap();
    let mut command = user.program("tar");
    command.args(["-C", "unpacked", "-xf", "out.tar"]);
    assert!(command.status().unwrap().success());
    user.succeed(&["verify", "unpacked"]);
    // The folder gives the same bytes as the tar of it.
    user.succeed(&["export", "unpacked", "folder.tar"]);
    assert!(fs::read(user.path("folder.tar")).unwrap() == bytes);
}

#[test]
fn other_tools_read_an_export() {
    let scene = Scene::new();
    let user = &scene.user;
    user.succeed(&["sign", "hello.tar:v1"]);
    user.succeed(&["export", "hello.tar", "out.tar"]);
    let expected = {
        let mut names: Vec<_> = files_below(&user.path("hello")).into_keys().collect();
        let added = files_below(&scene.overlay());
        names.extend(added.into_keys().filter(|path| path.starts_with("blobs")));
        names.sort();
        names
    };
    let python =
        "import sys, tarfile\nfor member in tarfile.open(sys.argv[1]):\n    print(member.name)";
    for (program, arguments) in [
        ("tar", &["-tf"][..]),
        ("bsdtar", &["-tf"]),
        ("python3", &["-c", python]),
    ] {
        let Some(program) = tool(program) else {
            continue;
        };
        let mut command = user.program(&program);
        let ran = Ran::of(command.args(arguments).arg("out.tar").output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        let mut names: Vec<_> = ran
            .stdout
            .lines()
            .map(|line| Path::new(line).to_owned())
            .filter(|path| !path.starts_with("blobs") || path.components().count() == 3)
            .collect();
        names.sort();
        assert_eq!(names, expected, "{program:?}");
    }
    if let Some(skopeo) = tool("skopeo") {
        let mut command = user.program(skopeo);
        let from = "oci-archive:out.tar:v1";
        command.args(["--tmpdir", ".", "inspect", "--raw", from]);
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        let digest = Digest::of(ran.stdout.as_bytes()).to_string();
        assert_eq!(digest, scene.image.digest);
    }
    if let Some(oras) = tool("oras") {
        let mut command = user.program(oras);
        command.args(["discover", "--oci-layout", "--format", "json", "out.tar:v1"]);
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.stdout.contains("application/vnd.cncf.notary.signature"),
            "{ran:?}"
        );
    }
}

/// Writes a layout `hello` that `docker load` takes: its config names the layer by what is in it.
fn loadable(user: &User) -> Image {
    let mut layout = Layout::new(&user.path("hello"));
    let mut command = user.program("tar");
    command.args(["-cf", "layer.tar", "home"]);
    assert!(command.status().unwrap().success());
    let layer = fs::read(user.path("layer.tar")).unwrap();
    let layer = layout.descriptor("application/vnd.oci.image.layer.v1.tar", &layer);
    let config = layout.document(
        "application/vnd.oci.image.config.v1+json",
        &json!({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
        }),
    );
    let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": [layer] });
    let mut entry = layout.document(IMAGE_MANIFEST, &manifest);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    layout.list(entry.clone());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let image = Image {
        tag: "v1".to_owned(),
        digest: text(&entry["digest"]),
        config: text(&config["digest"]),
        layers: vec![text(&layer["digest"])],
        platforms: Vec::new(),
        attestations: Vec::new(),
    };
    layout.docker_archive(&[&image]);
    image
}

#[test]
fn a_docker_archive_stays_one() {
    let user = User::new();
    user.with_key("one");
    let image = loadable(&user);
    tar(&user, "hello", "hello.tar");
    user.succeed(&["sign", "hello.tar:v1"]);
    user.succeed(&["export", "hello.tar", "out.tar"]);
    user.succeed(&["verify", "--scope", "local/hello", "out.tar"]);
    let mut command = user.program("tar");
    let ran = Ran::of(
        command
            .args(["-xOf", "out.tar", "manifest.json"])
            .output()
            .unwrap(),
    );
    assert_eq!(
        ran.stdout,
        fs::read_to_string(user.path("hello/manifest.json")).unwrap()
    );
    let Some(skopeo) = tool("skopeo") else { return };
    let mut command = user.program(skopeo);
    let from = "docker-archive:out.tar:docker.io/library/hello-world:v1";
    command.args(["--tmpdir", ".", "inspect", "--config", "--raw", from]);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let config = fs::read_to_string(blob_path(&user.path("hello"), &image.config)).unwrap();
    assert_eq!(ran.stdout, config);
}

#[test]
fn a_corrupt_blob_leaves_no_export() {
    let scene = Scene::new();
    let user = &scene.user;
    fs::write(user.path("out.tar"), "what was there").unwrap();
    let layer = blob_path(&user.path("hello"), &scene.image.layers[0]);
    let mut bytes = fs::read(&layer).unwrap();
    bytes[7] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let ran = user.run(&["export", "hello", "out.tar"]);
    assert!(ran.error(17).contains(&scene.image.layers[0]), "{ran:?}");
    assert_eq!(
        fs::read_to_string(user.path("out.tar")).unwrap(),
        "what was there"
    );
    let names: Vec<_> = fs::read_dir(user.path("")).unwrap().collect();
    assert!(names.iter().all(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        !name.to_string_lossy().starts_with(".signetfs-")
    }));
    // A stream that is cut does not end as an archive does.
    let mut command = user.signetfs(&["export", "hello", "-"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(17));
    assert!(!output.stdout.ends_with(&[0; 1024]));
    // What is not there is named, and the rest is written.
    fs::remove_file(&layer).unwrap();
    let ran = user.run(&["export", "hello", "out.tar"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains(&scene.image.layers[0]), "{ran:?}");
}

#[test]
fn an_export_never_goes_into_the_layout_by_another_name() {
    let scene = Scene::new();
    let user = &scene.user;
    fs::create_dir(user.path("bound")).unwrap();
    let script = "mount --bind hello bound || exit 99
        \"$0\" export hello bound/x.tar; \"$0\" export bound hello/blobs/x.tar; \"$0\" export hello bound/blobs/sha256/x.tar";
    let mut command = user.program("unshare");
    command.args(["-rm", "bash", "-c", script, crate::support::own_program()]);
    let ran = Ran::of(command.output().unwrap());
    if ran.stderr.contains("unshare:") || ran.stderr.contains("mount:") {
        assert!(!crate::support::ci(), "{ran:?}");
        eprintln!("skip: no mounts in namespaces here");
        return;
    }
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_eq!(ran.stderr.matches("would change").count(), 3, "{ran:?}");
    let left = files_below(&user.path("hello"));
    assert!(left.keys().all(|path| !path.ends_with("x.tar")));
}

#[test]
fn an_export_warns_so_often_and_no_more() {
    let user = User::new();
    let mut layout = Layout::new(&user.path("many"));
    let layers: Vec<_> = (0..30)
        .map(|number: usize| {
            let bytes = number.to_string();
            let layer =
                layout.descriptor("application/vnd.oci.image.layer.v1.tar", bytes.as_bytes());
            fs::remove_file(blob_path(&layout.root, layer["digest"].as_str().unwrap())).unwrap();
            layer
        })
        .collect();
    let config = layout.descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": layers });
    let entry = layout.document(IMAGE_MANIFEST, &manifest);
    layout.list(entry);
    let ran = user.run(&["export", "many", "out.tar"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 21, "{ran:?}");
    assert_eq!(lines[20], "Warning: and 10 more");
}

#[test]
fn an_overlay_that_cannot_be_read_ends_the_export() {
    let scene = Scene::new();
    let user = &scene.user;
    user.succeed(&["sign", "hello.tar:v1"]);
    let index = scene.overlay().join("index.json");
    let whole = fs::read(&index).unwrap();
    for text in ["{", "[]", r#"{"manifests":{}}"#] {
        fs::write(&index, text).unwrap();
        let ran = user.run(&["export", "hello.tar", "out.tar"]);
        assert!(ran.error(1).contains("hello.tar.signetfs"), "{ran:?}");
        assert!(!user.path("out.tar").exists());
        let output = user.signetfs(&["export", "hello.tar", "-"]).output();
        assert!(output.unwrap().stdout.is_empty());
    }
    // One entry that belongs to something else is told about, and the rest is exported.
    let mut listed: Value = serde_json::from_slice(&whole).unwrap();
    let entries = listed["manifests"].as_array_mut().unwrap();
    entries.push(json!({ "digest": "x" }));
    fs::write(&index, listed.to_string()).unwrap();
    let ran = user.run(&["export", "hello.tar", "out.tar"]);
    assert!(
        ran.code == 0 && ran.stderr.contains("is ignored"),
        "{ran:?}"
    );
    user.succeed(&["verify", "--scope", "local/hello", "out.tar"]);
}

#[test]
fn an_export_never_goes_where_it_would_harm() {
    let scene = Scene::new();
    let user = &scene.user;
    user.succeed(&["sign", "hello.tar:v1"]);
    std::os::unix::fs::symlink("hello.tar", user.path("link.tar")).unwrap();
    fs::hard_link(user.path("hello.tar"), user.path("hard.tar")).unwrap();
    let before = State::of(&user.path("hello.tar"));
    for output in [
        "hello.tar",
        "hard.tar",
        "link.tar",
        "hello.tar.signetfs/x.tar",
        "/dev/null",
        "hello",
    ] {
        user.run(&["export", "hello.tar", output]).error(2);
    }
    user.run(&["export", "hello", "hello/x.tar"]).error(2);
    user.run(&["export", "hello", "x.tar/"]).error(2);
    // The name of an overlay that is still to be made.
    let ran = user.run(&["export", "--overlay", "new", "hello", "new"]);
    assert!(ran.error(2).contains("would change"), "{ran:?}");
    // What could not be named in the end is refused before anything is written.
    let ran = user.run(&["export", "hello", &"x".repeat(300)]);
    assert!(ran.error(1).starts_with("examining "), "{ran:?}");
    user.run(&["export", "hello.tar:v1", "x.tar"]).error(2);
    user.run(&["export", "--json", "hello.tar", "-"]).error(2);
    user.run(&["export", "hello.tar", "nowhere/x.tar"]).error(1);
    assert_eq!(State::of(&user.path("hello.tar")), before);
    // A terminal gets no archive.
    let mut command = user.program("script");
    let line = format!("{} export hello.tar -", crate::support::own_program());
    command.args(["-qec", &line, "/dev/null"]);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 2, "{ran:?}");
    // A reader that leaves early ends it quietly; what a pipe holds is less than this.
    fs::write(user.path("hello/large"), vec![0; 2 << 20]).unwrap();
    let mut child = user
        .signetfs(&["export", "hello", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty(), "{output:?}");
}
