//! Storage that lies, and memories of hashes that somebody else wrote.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use signetfs::layout::{Hashes, Memory};
use signetfs::report::Verdict;

use super::content::Mapping;
use super::{judge, settle, signed, skip, status, tamper, verdict};
use crate::support::layouts::blob_path;
use crate::support::{User, copy, own_program, tool};

/// The uid of nobody in particular.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|facts| facts.uid() == 0)
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    let worked = output.as_ref().is_ok_and(|output| output.status.success());
    if !worked {
        eprintln!("{program} {arguments:?}: {output:?}");
    }
    worked
}

/// Is a mounted file system of a test; it is unmounted in any case.
struct Mounted(PathBuf);

impl Mounted {
    fn new(arguments: &[&str], point: &Path) -> Option<Self> {
        std::fs::create_dir_all(point).unwrap();
        let mut all = arguments.to_vec();
        all.push(point.to_str().unwrap());
        run("mount", &all).then(|| Self(point.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        assert!(
            run("umount", &[self.0.to_str().unwrap()]) || std::thread::panicking(),
            "umount {}",
            self.0.display()
        );
    }
}

/// Judges with the memory of hashes.
#[track_caller]
fn remembering(user: &User, layout: &Path) -> (Verdict, String) {
    status(
        user,
        &["verify", "--scope", "local/hello", layout.to_str().unwrap()],
    )
}

/// Makes a file with an ext4 in it; nothing where a test cannot mount one.
fn disk(user: &User, test: &str, flags: &[&str]) -> Option<String> {
    if !is_root() {
        skip(test, "only root mounts loop devices");
        return None;
    }
    let mkfs = tool("mkfs.ext4")?;
    let disk = user.path("disk");
    let file = std::fs::File::create(&disk).unwrap();
    file.set_len(8 << 20).unwrap();
    let disk = disk.to_str().unwrap().to_owned();
    let arguments = [&["-q", "-F"], flags, &[&disk]].concat();
    assert!(run(mkfs.to_str().unwrap(), &arguments));
    Some(disk)
}

#[test]
fn a_loop_image_edited_while_unmounted_is_hashed_again() {
    let name = "a_loop_image_edited_while_unmounted_is_hashed_again";
    let (user, root, image) = signed();
    let Some(disk) = disk(&user, name, &[]) else {
        return;
    };
    let disk = disk.as_str();
    let point = user.path("point");
    let layout = point.join("hello");
    let Some(mounted) = Mounted::new(&["-o", "loop", disk], &point) else {
        return skip(name, "no loop device to be had");
    };
    copy(&root, &layout);
    settle();
    for _ in 0..2 {
        assert_eq!(remembering(&user, &layout).0, Verdict::Verified);
    }
    drop(mounted);
    // Nothing but the content of one layer changes: not the inode, not its times.
    let layer = std::fs::read(blob_path(&root, &image.layers[0])).unwrap();
    let mut bytes = std::fs::read(disk).unwrap();
    let at = bytes
        .windows(layer.len())
        .position(|part| part == layer)
        .unwrap();
    bytes[at] ^= 1;
    std::fs::write(disk, bytes).unwrap();
    let _mounted = Mounted::new(&["-o", "loop", disk], &point).unwrap();
    assert_eq!(remembering(&user, &layout).0, Verdict::Corrupt);
}

#[test]
fn a_memory_that_others_could_write_is_ignored() {
    let name = "a_memory_that_others_could_write_is_ignored";
    let (user, root, image) = signed();
    let memory = user.path("cache/signetfs/hashes");
    let file = memory.join("hashes");
    assert_eq!(remembering(&user, &root).0, Verdict::Verified);
    let Ok(remembered) = std::fs::read(&file) else {
        return skip(
            name,
            "this kernel or file system lets nothing be remembered",
        );
    };
    // A layer is changed, and the memory made to hold its old digest for its new times.
    let path = blob_path(&root, &image.layers[0]);
    let times = |path: &Path| {
        let facts = std::fs::metadata(path).unwrap();
        [
            facts.mtime(),
            facts.mtime_nsec(),
            facts.ctime(),
            facts.ctime_nsec(),
        ]
        .map(i64::to_le_bytes)
        .concat()
    };
    let before = times(&path);
    tamper(&path);
    settle();
    let poison = replaced(&remembered, &before, &times(&path));
    let install = |mode: u32| {
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, &poison).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        std::fs::set_permissions(&memory, PermissionsExt::from_mode(0o700)).unwrap();
    };
    let judged = || remembering(&user, &root).0;
    // In the hands of the user alone it is believed, as a key file is: so the poison works.
    install(0o600);
    assert_eq!(judged(), Verdict::Verified);
    assert_eq!(verdict(&user, "hello"), Verdict::Corrupt);
    for mode in [0o620, 0o602, 0o640] {
        install(mode);
        assert_eq!(judged(), Verdict::Corrupt, "{mode:o}");
    }
    install(0o600);
    std::fs::set_permissions(&memory, PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(judged(), Verdict::Corrupt, "a folder that all may write");
    install(0o600);
    std::fs::rename(&file, user.path("elsewhere")).unwrap();
    symlink(user.path("elsewhere"), &file).unwrap();
    assert_eq!(judged(), Verdict::Corrupt, "a symlink");
    install(0o600);
    std::fs::hard_link(&file, user.path("second")).unwrap();
    assert_eq!(judged(), Verdict::Corrupt, "a second name");
    if is_root() {
        install(0o600);
        chown(&file, Some(NOBODY), None).unwrap();
        assert_eq!(judged(), Verdict::Corrupt, "a foreign file");
        install(0o600);
        chown(&memory, Some(NOBODY), None).unwrap();
        assert_eq!(judged(), Verdict::Corrupt, "a foreign folder");
    }
}

/// Returns bytes with every occurrence of one part replaced; there must be one.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut found = false;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
            found = true;
        }
    }
    assert!(found, "the memory knows the layer");
    bytes
}

#[test]
fn garbage_in_the_memory_is_ignored() {
    let (user, root, image) = signed();
    assert_eq!(remembering(&user, &root).0, Verdict::Verified);
    let file = user.path("cache/signetfs/hashes/hashes");
    let remembered = std::fs::read(&file).unwrap_or_default();
    tamper(&blob_path(&root, &image.layers[0]));
    for garbage in [
        &b""[..],
        b"x",
        &[0xff; 4096],
        &remembered[..remembered.len() / 2],
    ] {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, garbage).unwrap();
        assert_eq!(remembering(&user, &root).0, Verdict::Corrupt);
    }
}

#[test]
fn without_the_right_to_leases_nothing_is_remembered() {
    let name = "without_the_right_to_leases_nothing_is_remembered";
    if !is_root() {
        return skip(name, "only root can give up CAP_LEASE here");
    }
    let Some(setpriv) = tool("setpriv") else {
        return;
    };
    let (user, root, image) = signed();
    let cache = user.path("cache-of-nobody");
    std::fs::create_dir(&cache).unwrap();
    chown(&cache, Some(NOBODY), Some(NOBODY)).unwrap();
    let home = user.path("");
    assert!(run("chmod", &["-R", "a+rX", home.to_str().unwrap()]));
    let program = user.path("program");
    std::fs::copy(own_program(), &program).unwrap();
    settle();
    let as_nobody = || {
        let mut command = user.program(&setpriv);
        let output = command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&program)
            .args(["verify", "hello"])
            .env("XDG_CACHE_HOME", &cache)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let text = as_nobody();
    assert!(text.starts_with("verified\n"), "{text}");
    assert!(text.contains(" leases=no "), "{text}");
    let written = std::fs::read_dir(&cache).unwrap().count();
    assert_eq!(written, 0, "nothing is remembered");
    tamper(&blob_path(&root, &image.layers[0]));
    let text = as_nobody();
    assert!(text.starts_with("corrupt\n"), "{text}");
}

#[test]
fn over_an_overlay_nothing_is_remembered() {
    let name = "over_an_overlay_nothing_is_remembered";
    if !is_root() {
        return skip(name, "only root mounts overlays");
    }
    let (user, root, image) = signed();
    for folder in ["upper", "work"] {
        std::fs::create_dir(user.path(folder)).unwrap();
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        root.display(),
        user.path("upper").display(),
        user.path("work").display()
    );
    let point = user.path("merged");
    let Some(_mounted) = Mounted::new(&["-t", "overlay", "overlay", "-o", &options], &point) else {
        return skip(name, "no overlay to be had");
    };
    // A lease on the merged file says nothing about a mapping of the lower one.
    let Some(mut mapping) = Mapping::of(&blob_path(&root, &image.layers[0])) else {
        return;
    };
    settle();
    let (verdict, text) = remembering(&user, &point);
    assert_eq!(verdict, Verdict::Verified);
    assert!(text.contains(" leases=no "), "{text}");
    mapping.change();
    assert_eq!(remembering(&user, &point).0, Verdict::Corrupt);
}

#[test]
fn a_change_within_the_second_of_another_is_noticed_where_times_are_whole_seconds() {
    let name = "a_change_within_the_second_of_another_is_noticed_where_times_are_whole_seconds";
    let (user, root, image) = signed();
    // Inodes of 128 bytes, those of ext3, have no room for parts of a second.
    let Some(disk) = disk(&user, name, &["-I", "128"]) else {
        return;
    };
    let disk = disk.as_str();
    let point = user.path("point");
    let Some(_mounted) = Mounted::new(&["-o", "loop", disk], &point) else {
        return skip(name, "no loop device to be had");
    };
    let layout = point.join("hello");
    copy(&root, &layout);
    let layer = blob_path(&layout, &image.layers[0]);
    let hashes = Hashes::new(Memory::None);
    let good = std::fs::read(&layer).unwrap();
    begin_a_second();
    std::fs::write(&layer, &good).unwrap();
    settle();
    let judged = || judge(&user, &layout, &hashes).verdict();
    assert_eq!(judged(), Verdict::Verified);
    tamper(&layer);
    assert_eq!(judged(), Verdict::Corrupt);
}

/// Waits until a second has just begun.
fn begin_a_second() {
    let now = std::time::SystemTime::now();
    let past = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let part = std::time::Duration::from_nanos(u64::from(past.subsec_nanos()));
    std::thread::sleep(std::time::Duration::from_millis(1020) - part);
}
