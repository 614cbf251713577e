//! Backups of a mount: the copy is complete and verifies, and a second run finds nothing to do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::layouts::{Image, Layout};
use crate::support::{Mount, Ran, User, files_below, tool};

/// What tools say when a file changes under their hands.
const UNQUIET: [&str; 4] = [
    "changed as we read",
    "file changed",
    "vanished",
    "has been modified",
];

/// Is a user with a key and a policy, and a layout whose images are signed.
struct Scene {
    user: User,
    _images: Vec<Image>,
}

impl Scene {
    fn new() -> Self {
        let user = User::new();
        user.with_key("wabbit");
        let mut layout = Layout::new(&user.path("lay"));
        let images = vec![layout.image("v1", "one"), layout.buildx("v2", "two")];
        fs::write(user.path("lay/README"), "an extra file\n").unwrap();
        user.succeed(&["sign", "--recursive", "lay"]);
        // The time of a verdict lies anywhere in the second of its newest input, and `tar -g` compares times with its clock.
        std::thread::sleep(Duration::from_millis(1100));
        Self {
            user,
            _images: images,
        }
    }

    fn mount(&self) -> Option<Mount<'_>> {
        let mount = Mount::new(&self.user, "lay", "mnt", &[])?;
        assert!(mount.read("verify-status").starts_with("verified\n"));
        Some(mount)
    }

    /// Runs a line of bash that has to succeed and to see a quiet file system, and returns what it printed.
    #[track_caller]
    fn shell(&self, line: &str) -> String {
        let mut command = self.user.program("timeout");
        // Folders of copies are read-only as those of the mount, which stops everybody but root.
        let gone = r#"gone() { chmod -Rf u+w "$@"; rm -rf "$@"; }"#;
        let script = format!("{gone}; {line}");
        command.args(["-k", "1", "120", "bash", "-c", &script]);
        for (name, value) in [
            ("RESTIC_REPOSITORY", "restic-repo"),
            ("RESTIC_PASSWORD", "secret"),
            ("BORG_REPO", "borg-repo"),
            ("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes"),
        ] {
            command.env(name, value);
        }
        command.env("RESTIC_CACHE_DIR", self.user.path("restic-cache"));
        command.env("BORG_BASE_DIR", self.user.path("borg-base"));
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        for words in UNQUIET {
            assert!(!ran.stderr.contains(words), "{line}: {ran:?}");
            assert!(!ran.stdout.contains(words), "{line}: {ran:?}");
        }
        ran.stdout
    }

    /// Checks that a copy has the bytes of the mount and verifies, and mounts to the same tree.
    #[track_caller]
    fn assert_copy(&self, mount: &Mount<'_>, copy: &str) {
        let folder = self.user.path(copy);
        assert_eq!(files_below(&folder), files_below(&mount.path("")), "{copy}");
        let verified = self.user.succeed(&["verify", copy]);
        assert!(verified.starts_with("verified\n"), "{copy}: {verified}");
        let again = Mount::new(&self.user, copy, "again", &[]).unwrap();
        let digests = |mount: &Mount<'_>| {
            let mut files = files_below(&mount.path(""));
            // These name the scope, which comes from the name of the folder.
            files.retain(|path, _| !is_verdict(path));
            files
        };
        assert_eq!(digests(&again), digests(mount), "{copy}");
    }

    /// Runs a check on a mount three times: once as it is, once again, and once on a new mount at the same path.
    fn thrice(&self, mut check: impl FnMut(&Mount<'_>)) {
        let Some(mount) = self.mount() else { return };
        check(&mount);
        check(&mount);
        drop(mount);
        let mount = self.mount().unwrap();
        check(&mount);
    }
}

/// Returns whether a file depends on the scope, or says what was judged under it.
fn is_verdict(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let is_decoded = path.starts_with("signatures") && name.ends_with(".json");
    is_decoded || name.starts_with("verify-status")
}

/// Returns every path of a tree, folders too, with its inode number and times.
fn stamps(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        let stamp = (
            stat.ino(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.ctime(),
            stat.ctime_nsec(),
            stat.size(),
        );
        found.insert(path, stamp);
    }
    found
}

#[test]
fn everything_that_backups_compare_survives_a_remount() {
    let scene = Scene::new();
    let mut seen = None;
    scene.thrice(|mount| {
        let now = stamps(&mount.path(""));
        let before = seen.replace(now.clone());
        assert_eq!(*before.as_ref().unwrap_or(&now), now);
    });
}

#[test]
fn cp_and_diff_find_nothing_new() {
    let scene = Scene::new();
    scene.thrice(|mount| {
        let first = !scene.user.path("c1").exists();
        let printed = scene.shell("mkdir -p c1 && cp -auv mnt/. c1 && diff -r mnt c1");
        assert_eq!(printed.is_empty(), !first, "{printed}");
        scene.assert_copy(mount, "c1");
    });
}

#[test]
fn rsync_finds_nothing_new() {
    if tool("rsync").is_none() {
        return;
    }
    let scene = Scene::new();
    scene.thrice(|mount| {
        let first = !scene.user.path("d1").exists();
        let printed = scene.shell("rsync -aHXi mnt/ d1/");
        assert_eq!(printed.is_empty(), !first, "{printed}");
        for line in ["rsync -aHXic mnt/ d1/", "rsync -aHXin --delete mnt/ d1/"] {
            assert_eq!(scene.shell(line), "", "{line}");
        }
        scene.assert_copy(mount, "d1");
    });
}

#[test]
fn tar_makes_the_same_archive() {
    let scene = Scene::new();
    scene.thrice(|mount| {
        scene.shell("tar -C mnt --sort=name -cf new.tar . && tar -C mnt -df new.tar");
        scene.shell("test ! -e t1.tar || cmp t1.tar new.tar; cp new.tar t1.tar");
        scene.shell("gone t1 && mkdir t1 && tar -C t1 -xf t1.tar");
        scene.assert_copy(mount, "t1");
    });
    // The archive itself is a layout too.
    let verified = scene.user.succeed(&["verify", "t1.tar"]);
    assert!(verified.starts_with("verified\n"), "{verified}");
}

#[test]
fn incremental_tar_finds_only_folders() {
    let scene = Scene::new();
    scene.thrice(|mount| {
        // The device number of a mount is new each time, hence --no-check-device.
        let first = !scene.user.path("full.tar").exists();
        let archive = if first { "full.tar" } else { "more.tar" };
        let line = format!("tar -C mnt -cvf {archive} --no-check-device -g state .");
        let printed = scene.shell(&line);
        let others: Vec<&str> = printed.lines().filter(|line| !line.ends_with('/')).collect();
        assert_eq!(others.is_empty(), !first, "{printed}");
        if !first {
            scene.shell("gone g1 && mkdir g1 && for t in full.tar more.tar; do tar -C g1 -g /dev/null -xf $t; done");
            scene.assert_copy(mount, "g1");
        }
    });
}

#[test]
fn incremental_tar_in_the_same_second_takes_at_most_synthetic_files_again() {
    let scene = Scene::new();
    let Some(mount) = scene.mount() else { return };
    scene.shell("tar -C mnt -cf full.tar --no-check-device -g state .");
    // A policy is a new input. Its time, and with it that of the verdict, lies anywhere within the present second.
    fs::copy(
        scene.user.config().join("trustpolicy.json"),
        mount.path("trustpolicy.json"),
    )
    .unwrap();
    for run in 0..2 {
        let line = "tar -C mnt -cvf more.tar --no-check-device -g state .";
        let printed = scene.shell(line);
        // Whatever the second, nothing of the layout is taken again: only files that the mount makes have the new time.
        let content = ["./blobs/", "./index.json", "./oci-layout", "./README"];
        for name in printed.lines().filter(|line| !line.ends_with('/')) {
            let stored = content.iter().any(|start| name.starts_with(start));
            assert!(!stored, "run {run}: {printed}");
        }
    }
    std::thread::sleep(Duration::from_millis(1100));
    scene.shell("tar -C mnt -cf more.tar --no-check-device -g state .");
    let line = "tar -C mnt -cvf more.tar --no-check-device -g state .";
    let printed = scene.shell(line);
    assert!(printed.lines().all(|line| line.ends_with('/')), "{printed}");
}

#[test]
fn restic_finds_nothing_new() {
    if tool("restic").is_none() {
        return;
    }
    let scene = Scene::new();
    scene.shell("restic init");
    let mut device = None;
    scene.thrice(|mount| {
        let printed = scene.shell("restic backup --json mnt");
        let last: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        let now = fs::metadata(mount.path("")).unwrap().dev();
        let before = device.replace(now);
        if before.is_some() {
            for count in ["files_new", "files_changed", "dirs_new", "data_blobs"] {
                assert_eq!(last[count], 0, "{count}: {last}");
            }
        }
        // Its records of folders hold the device number, which a new mount may share with the one before or not.
        if before == Some(now) {
            for count in ["dirs_changed", "tree_blobs", "data_added"] {
                assert_eq!(last[count], 0, "{count}: {last}");
            }
        }
        assert_eq!(
            last["total_files_processed"],
            regular_files(mount).len(),
            "{last}"
        );
        let line = "gone r0 r1 && restic -q restore latest --target r0 && mv r0/mnt r1";
        scene.shell(line);
        scene.assert_copy(mount, "r1");
    });
    assert!(scene.shell("restic check").contains("no errors were found"));
}

/// Returns the regular files that a mount shows, with their change times. Links are records of a backup, not files of it.
fn regular_files(mount: &Mount<'_>) -> Vec<(i64, i64)> {
    let paths = files_below(&mount.path("")).into_keys();
    let stats = paths.map(|path| fs::symlink_metadata(mount.path("").join(path)).unwrap());
    stats
        .filter(|stat| stat.is_file())
        .map(|stat| (stat.ctime(), stat.ctime_nsec()))
        .collect()
}

#[test]
fn borg_reads_only_the_newest_again() {
    if tool("borg").is_none() {
        return;
    }
    let scene = Scene::new();
    scene.shell("borg init -e none");
    let mut number = 0;
    scene.thrice(|mount| {
        number += 1;
        let printed = scene.shell(&format!(
            "borg create --list --filter AMCE ::a{number} mnt 2>&1"
        ));
        if number > 1 {
            assert_only_newest(mount, &printed, &scene.user.path(""));
            assert_eq!(scene.shell(&format!("borg diff ::a1 a{number}")), "");
        }
        scene.shell(&format!(
            "gone b0 && mkdir b0 && cd b0 && BORG_REPO=../borg-repo borg extract ::a{number}"
        ));
        scene.assert_copy(mount, "b0/mnt");
    });
}

/// Checks that borg read no files again but those with the newest change time: it never trusts these.
fn assert_only_newest(mount: &Mount<'_>, printed: &str, base: &Path) {
    let changed = |path: &Path| {
        let stat = fs::symlink_metadata(path).unwrap();
        (stat.ctime(), stat.ctime_nsec())
    };
    let newest = regular_files(mount).into_iter().max().unwrap();
    for line in printed.lines() {
        let (letter, path) = line.split_once(' ').unwrap();
        assert_eq!(letter, "A", "{printed}");
        assert_eq!(changed(&base.join(path)), newest, "{printed}");
    }
}
