//! What one open handle sees is one state: its size and its bytes, however fast the state changes meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Mount, Scene, policy};
use crate::support::rounds;

/// The files whose bytes and sizes change in this test.
const CHANGING: [&str; 4] = [
    "verify-status",
    "verify-status.json",
    "images/v1/verify-status",
    "index.json",
];

/// Opens, asks for the size, reads to the end.
fn look(path: &Path) -> Vec<u8> {
    let mut file = fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let after = file.metadata().unwrap().len();
    let length = u64::try_from(bytes.len()).unwrap();
    assert_eq!((size, after), (length, length), "{}", path.display());
    bytes
}

fn cat(path: &Path) -> Vec<u8> {
    let ran = std::process::Command::new("cat")
        .arg(path)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    ran.stdout
}

/// Puts each of two states in force in turn: policies by writing, indexes by renaming.
struct Toggle<'a> {
    scene: &'a Scene,
    mount: &'a Mount,
    indexes: [Vec<u8>; 2],
}

impl Toggle<'_> {
    fn policy(&self, round: usize) {
        let name = ["wabbit", "other"][round % 2];
        fs::write(self.mount.path("trustpolicy.json"), policy(name)).unwrap();
    }

    fn index(&self, round: usize) {
        let path = self.scene.layout().join("index.json");
        let new = self.scene.user.path("next");
        fs::write(&new, &self.indexes[round % 2]).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    /// Returns everything that each file may read as.
    fn states(&self) -> [BTreeSet<Vec<u8>>; 4] {
        let mut states: [BTreeSet<Vec<u8>>; 4] = Default::default();
        for (one, other) in [(0, 0), (0, 1), (1, 1), (1, 0)] {
            self.policy(one);
            self.index(other);
            for (name, states) in CHANGING.iter().zip(&mut states) {
                states.insert(fs::read(self.mount.path(name)).unwrap());
            }
        }
        states
    }
}

#[test]
fn what_a_handle_reads_is_one_whole_state() {
    let Some(scene) = Scene::new() else { return };
    scene.user.succeed(&["cert", "generate-test", "other"]);
    let unsigned = fs::read(scene.layout().join("index.json")).unwrap();
    let mount = scene.mount_verified();
    let signed = fs::read(scene.layout().join("index.json")).unwrap();
    let toggle = Toggle {
        scene: &scene,
        mount: &mount,
        indexes: [signed, unsigned],
    };
    let states = toggle.states();
    assert!(states.iter().all(|states| states.len() > 1));
    let (ended, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for reader in 0..6 {
            let (mount, states, ended, looks) = (&mount, &states, &ended, &looks);
            scope.spawn(move || {
                let read = if reader < 4 { look } else { cat };
                while !ended.load(Ordering::SeqCst) {
                    for (name, states) in CHANGING.iter().zip(states) {
                        let bytes = read(&mount.path(name));
                        assert!(states.contains(&bytes), "{name}: {}", odd(&bytes, states));
                        looks.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let _end = End(&ended);
        for round in 0..rounds(3) * 60 {
            toggle.policy(round);
            toggle.index(round / 2);
        }
    });
    eprintln!("{} looks", looks.load(Ordering::SeqCst));
}

#[test]
fn a_held_handle_keeps_its_state_and_a_new_one_has_the_new_one() {
    let Some(scene) = Scene::new() else { return };
    scene.user.succeed(&["cert", "generate-test", "other"]);
    let mount = scene.mount_verified();
    let path = mount.path("verify-status");
    let before = mount.status();
    let mut held = fs::File::open(&path).unwrap();
    let number = fs::metadata(&path).unwrap().ino();
    fs::write(mount.path("trustpolicy.json"), policy("other")).unwrap();
    assert_eq!(mount.token(), "untrusted");
    let facts = held.metadata().unwrap();
    assert_eq!(facts.len(), u64::try_from(before.len()).unwrap());
    let mut text = String::new();
    held.read_to_string(&mut text).unwrap();
    assert_eq!(text, before);
    // One file for every program that compares: only the kernel tells the states apart.
    let now = fs::metadata(&path).unwrap();
    assert_eq!((facts.ino(), now.ino()), (number, number));
    let listed = scene.shell("ls -i mnt/verify-status; ls -i mnt", 0).stdout;
    assert_eq!(listed.matches(&format!("{number} ")).count(), 2, "{listed}");
    // Opened once more through the old handle, which no name leads to any more: the present state.
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    let reopened = fs::read_to_string(again).unwrap();
    assert!(reopened.starts_with("untrusted\n"), "{reopened}");
}

#[test]
fn control_files_and_statuses_can_be_mapped() {
    let Some(scene) = Scene::new() else { return };
    let _mount = scene.mount_verified();
    let program = "import mmap,sys
for path in sys.argv[1:]:
    with open(path,'rb') as file:
        text = file.read()
        for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            with mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as mapped:
                assert mapped[:] == text, path
";
    fs::write(scene.user.path("map.py"), program).unwrap();
    scene.shell(
        "python3 map.py mnt/verify-status mnt/index.json mnt/trustpolicy.json",
        0,
    );
}

/// Says how a text differs from those it may be.
fn odd(bytes: &[u8], states: &BTreeSet<Vec<u8>>) -> String {
    let read = String::from_utf8_lossy(bytes);
    let lines = states.iter().map(|state| {
        let state = String::from_utf8_lossy(state);
        let differing = read
            .lines()
            .zip(state.lines())
            .find(|(one, other)| one != other);
        format!(
            "{differing:?} ({} bytes, {} expected)",
            read.len(),
            state.len()
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
