//! Verdicts follow the layout: never an old one for a new state, never bytes that were not verified.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::{Scene, errno, until};
use crate::no_wrong_verified::content::Mapping;
use crate::support::layouts::{self, Layout, blob_path};
use crate::support::rounds;

const EIO: i32 = 5;

#[test]
fn a_replaced_index_never_shows_an_old_verdict() {
    let Some(scene) = Scene::new() else { return };
    let unsigned = fs::read(scene.layout().join("index.json")).unwrap();
    let mount = scene.mount_verified();
    let signed = fs::read(scene.layout().join("index.json")).unwrap();
    for round in 0..rounds(3) * 20 {
        for (bytes, token) in [(&unsigned, "unsigned"), (&signed, "verified")] {
            replace(&scene.layout().join("index.json"), bytes);
            assert_eq!(mount.token(), token, "round {round}");
            assert_eq!(
                &fs::read(mount.path("index.json")).unwrap(),
                bytes,
                "round {round}"
            );
        }
    }
}

#[test]
fn a_new_image_is_judged_before_it_counts() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let mut other = Layout::new(&scene.user.path("other"));
    let image = other.image("v2", "two");
    for digest in [
        &image.digest,
        &image.config,
        &image.layers[0],
        &image.layers[1],
    ] {
        fs::copy(
            blob_path(&other.root, digest),
            blob_path(&scene.layout(), digest),
        )
        .unwrap();
    }
    let mut index = layouts::index(&scene.layout());
    let entry = layouts::index(&other.root)["manifests"][0].clone();
    index["manifests"].as_array_mut().unwrap().push(entry);
    replace(
        &scene.layout().join("index.json"),
        index.to_string().as_bytes(),
    );
    let first = mount.token();
    assert!(first == "pending" || first == "unsigned", "{first}");
    assert_eq!(mount.decided(), "unsigned", "{}", mount.status());
    assert!(blob_path(&mount.point, &image.digest).exists());
    scene.shell("touch mnt/sign", 0);
    assert_eq!(mount.token(), "verified", "{}", mount.status());
}

#[test]
fn a_flipped_byte_is_corrupt_and_not_served() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let layer = &scene.image.layers[1];
    let stored = blob_path(&scene.layout(), layer);
    let good = fs::read(&stored).unwrap();
    assert_eq!(fs::read(blob_path(&mount.point, layer)).unwrap(), good);
    let mut bad = good.clone();
    bad[5] ^= 1;
    fs::write(&stored, &bad).unwrap();
    let first = mount.token();
    assert!(first == "pending" || first == "corrupt", "{first}");
    assert_eq!(mount.decided(), "corrupt", "{}", mount.status());
    assert!(
        mount.status().contains(layer.as_str()),
        "{}",
        mount.status()
    );
    assert_eq!(errno(fs::read(blob_path(&mount.point, layer))), EIO);
    fs::write(&stored, &good).unwrap();
    until(|| mount.token() == "verified");
    assert_eq!(fs::read(blob_path(&mount.point, layer)).unwrap(), good);
    fs::remove_file(&stored).unwrap();
    assert_eq!(mount.decided(), "missing", "{}", mount.status());
}

#[test]
fn a_change_through_a_mapping_never_shows_an_old_verdict_for_long() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let has_leases = mount.status().contains("leases=yes");
    mount.end();
    if !has_leases {
        return;
    }
    let layer = blob_path(&scene.layout(), &scene.image.layers[0]);
    for path in [scene.layout().join("index.json"), layer] {
        let good = fs::read(&path).unwrap();
        let Some(mut mapping) = Mapping::of(&path) else {
            return;
        };
        sleep(Duration::from_millis(200));
        let mount = scene.mount(&["--policy", scene.policy().to_str().unwrap()]);
        until(|| mount.token() == "verified");
        mapping.change();
        // No time changed, and none will.
        sleep(Duration::from_millis(1100));
        for _ in 0..3 {
            assert_ne!(mount.token(), "verified", "{}", path.display());
        }
        drop(mapping);
        sleep(Duration::from_millis(1100));
        assert_ne!(mount.token(), "verified", "{}", path.display());
        mount.end();
        replace(&path, &good);
    }
}

#[test]
fn a_blob_that_was_cut_or_mended_in_place_is_never_read_short() {
    let Some(scene) = Scene::new() else { return };
    let bytes = vec![7_u8; 700_001];
    let layout = Layout::new(&scene.user.path("large"));
    let digest = layout.blob(&bytes);
    let stored = blob_path(&layout.root, &digest);
    for flags in [&[][..], &["--reads", "checked"]] {
        let mount = scene.mount_at("large", "mnt", flags);
        let blob = blob_path(&mount.point, &digest);
        for length in [200_000, 0, 900_000] {
            fs::write(&stored, vec![7; length]).unwrap();
            assert_eq!(errno(fs::read(&blob)), EIO, "{length}");
            let _ = mount.token();
            assert_eq!(errno(fs::read(&blob)), EIO, "{length}");
            fs::write(&stored, &bytes).unwrap();
            assert!(fs::read(&blob).unwrap() == bytes, "{length}");
        }
        mount.end();
    }
}

#[test]
fn large_blobs_are_served_exactly_on_both_paths() {
    let Some(scene) = Scene::new() else { return };
    let bytes: Vec<u8> = (0..3_000_001_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let layout = Layout::new(&scene.user.path("large"));
    let digest = layout.blob(&bytes);
    for (flags, path) in [
        (&[][..], "passthrough"),
        (&["--reads", "checked"], "checked (--reads checked)"),
    ] {
        let mount = scene.mount_at("large", "mnt", flags);
        let reads = super::extended_attribute(&mount.point, "user.signetfs.reads").unwrap();
        // Kernels before 6.9 have no passthrough.
        assert!(reads.as_deref() == Some(path.as_bytes()) || path == "passthrough");
        let blob = blob_path(&mount.point, &digest);
        // The first time it is hashed while it is read; later the hash is known.
        for _ in 0..2 {
            assert!(fs::read(&blob).unwrap() == bytes, "{path}");
        }
        let file = fs::File::open(&blob).unwrap();
        let mut part = vec![0; 70_000];
        file.read_exact_at(&mut part, 131_000).unwrap();
        assert!(part == bytes[131_000..201_000], "{path}");
        drop(file);
        mount.end();
    }
}

#[test]
fn a_large_blob_written_in_place_is_not_served_as_verified() {
    let Some(scene) = Scene::new() else { return };
    let bytes = vec![7_u8; 1 << 20];
    let layout = Layout::new(&scene.user.path("large"));
    let digest = layout.blob(&bytes);
    let stored = blob_path(&layout.root, &digest);
    for flags in [&[][..], &["--reads", "checked"]] {
        let mount = scene.mount_at("large", "mnt", flags);
        let blob = blob_path(&mount.point, &digest);
        assert!(fs::read(&blob).unwrap() == bytes);
        let file = fs::OpenOptions::new().write(true).open(&stored).unwrap();
        file.write_all_at(b"X", 500_000).unwrap();
        drop(file);
        assert_eq!(errno(fs::read(&blob)), EIO, "{flags:?}");
        fs::write(&stored, &bytes).unwrap();
        assert!(fs::read(&blob).unwrap() == bytes, "{flags:?}");
        mount.end();
    }
}

#[test]
fn an_unhashed_blob_is_opened_at_once_and_read_after_hashing() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&["--no-wait", "--no-memory"]);
    for layer in &scene.image.layers {
        let shown = fs::read(blob_path(&mount.point, layer)).unwrap();
        assert_eq!(shown, fs::read(blob_path(&scene.layout(), layer)).unwrap());
    }
    assert_eq!(mount.decided(), "unsigned");
}

#[test]
fn an_index_being_written_is_pending_before_it_is_invalid() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount_verified();
    let path = scene.layout().join("index.json");
    let good = fs::read(&path).unwrap();
    let mut writer = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    writer.write_all(&good[..20]).unwrap();
    assert_eq!(mount.token(), "pending", "{}", mount.status());
    writer.write_all(&good[20..]).unwrap();
    assert_eq!(mount.token(), "verified", "{}", mount.status());
    fs::write(&path, b"{").unwrap();
    assert_eq!(mount.token(), "pending");
    assert_eq!(mount.decided(), "layout-invalid", "{}", mount.status());
    assert_eq!(fs::read(mount.path("index.json")).unwrap(), b"{");
    fs::write(&path, &good).unwrap();
    assert_eq!(mount.token(), "verified");
}

#[test]
fn an_archive_index_rewritten_in_place_is_judged_again() {
    let Some(scene) = Scene::new() else { return };
    let layout = Layout::new(&scene.user.path("unused"));
    layout.docker_archive(&[&scene.image]);
    let good = fs::read(layout.root.join("manifest.json")).unwrap();
    let stored = scene.layout().join("manifest.json");
    fs::write(&stored, &good).unwrap();
    let mount = scene.mount_verified();
    let bad = String::from_utf8(good.clone()).unwrap();
    // The layers in another order: the same size, the same folder.
    let (one, two) = (&scene.image.layers[0], &scene.image.layers[1]);
    let (one, two) = (one.replace("sha256:", ""), two.replace("sha256:", ""));
    let bad = bad
        .replace(&one, "x")
        .replace(&two, &one)
        .replace('x', &two);
    assert_eq!(bad.len(), good.len());
    fs::write(&stored, &bad).unwrap();
    assert_eq!(mount.decided(), "ambiguous", "{}", mount.status());
    fs::write(&stored, &good).unwrap();
    assert_eq!(mount.decided(), "verified", "{}", mount.status());
}

#[test]
fn the_configuration_is_followed() {
    let Some(scene) = Scene::new() else { return };
    scene.user.with_key("second");
    scene.user.succeed(&["sign", "lay:v1"]);
    let mount = scene.mount(&[]);
    assert_eq!(mount.token(), "verified", "{}", mount.status());
    let store = scene.user.config().join("truststore/x509/ca/second");
    let hidden = scene.user.path("hidden");
    fs::rename(&store, &hidden).unwrap();
    assert_eq!(mount.token(), "untrusted", "{}", mount.status());
    fs::rename(&hidden, &store).unwrap();
    assert_eq!(mount.token(), "verified");
    fs::remove_file(scene.user.config().join("trustpolicy.json")).unwrap();
    assert_eq!(mount.token(), "no-policy", "{}", mount.status());
    assert!(!mount.path("trustpolicy.json").exists());
}

#[test]
fn what_a_mapping_of_the_mount_shows_is_verified_or_an_error() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount(&["--reads", "checked"]);
    let layer = &scene.image.layers[0];
    let mut file = fs::File::open(blob_path(&mount.point, layer)).unwrap();
    let mut before = Vec::new();
    file.read_to_end(&mut before).unwrap();
    fs::write(blob_path(&scene.layout(), layer), vec![b'x'; before.len()]).unwrap();
    // The handle is open, and the kernel may have dropped its pages: still never the new bytes.
    let mut after = vec![0; before.len()];
    let read = file.read_exact_at(&mut after, 0);
    assert!(read.is_err() || after == before);
}

/// Puts a file in the place of another as careful writers do.
fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn many_readers_never_see_a_verdict_older_than_the_last_answer() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let Some(scene) = Scene::new() else { return };
    scene.user.succeed(&["cert", "generate-test", "other"]);
    let mount = scene.mount_verified();
    let texts = [super::policy("wabbit"), super::policy("other")];
    // Odd while a policy is being written; else the round whose policy is in force.
    let state = AtomicUsize::new(0);
    let ended = AtomicUsize::new(0);
    let looks = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while ended.load(Ordering::SeqCst) == 0 {
                    let before = state.load(Ordering::SeqCst);
                    let token = mount.token();
                    let size = fs::metadata(mount.path("verify-status")).unwrap().len();
                    let length = u64::try_from(mount.status().len()).unwrap();
                    if state.load(Ordering::SeqCst) != before || before % 2 == 1 {
                        continue;
                    }
                    let expected = ["verified", "untrusted"][before / 2 % 2];
                    assert_eq!(token, expected, "round {before}");
                    assert_eq!(size, length, "round {before}");
                    looks.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // Readers end also where the writer fails.
        let _end = End(&ended);
        for round in 1..=rounds(3) * 50 {
            state.fetch_add(1, Ordering::SeqCst);
            fs::write(mount.path("trustpolicy.json"), &texts[round % 2]).unwrap();
            state.fetch_add(1, Ordering::SeqCst);
            // Some rounds are looked at in peace, the others pass at once.
            let seen = looks.load(Ordering::SeqCst);
            if round % 4 == 0 {
                until(|| looks.load(Ordering::SeqCst) > seen + 3);
            }
        }
    });
}

struct End<'a>(&'a std::sync::atomic::AtomicUsize);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(1, std::sync::atomic::Ordering::SeqCst);
    }
}
