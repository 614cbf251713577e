//! Four other readers of tars, and what each makes of an archive.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use signetfs::layout::{ExtraKind, Source, SourceError, Tar};
use signetfs::oci::Digest;

use crate::support::tool;

/// Extracts each archive member by member, as far as it goes.
const PYTHON: &str = r#"
import os, signal, sys, tarfile
# A size below zero leads many versions back to the same member, without an end.
class Endless(BaseException):
    pass
def give_up(*_):
    raise Endless
signal.signal(signal.SIGALRM, give_up)
def patient(path, flags):
    # A fifo of the same name that was extracted before has no reader.
    return os.open(path, flags | os.O_NONBLOCK, 0o666)
# These follow symlinks, out of the target too, and only names and bytes are compared.
for attribute in "chmod", "chown", "utime":
    setattr(tarfile.TarFile, attribute, lambda *given: None)
tarfile.bltn_open = lambda path, mode: open(path, mode, opener=patient)
for path in sys.argv[1:]:
    target = path + ".python"
    os.mkdir(target)
    signal.alarm(5)
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                try:
                    archive.extract(member, target, filter="tar")
                except Exception as error:
                    pass
    except (Exception, Endless) as error:
        pass
    signal.alarm(0)
"#;

/// Writes one folder as a tar in each of its formats.
const PYTHON_WRITER: &str = r#"
import sys, tarfile
folder, target = sys.argv[1:]
for name, form in ("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT):
    for prefix in ".", "layout":
        with tarfile.open(f"{target}/python-{name}-{prefix}.tar", "w", format=form) as archive:
            archive.add(folder, prefix)
"#;

/// Is a file's digest, or a symlink's target, by path; folders count only through what they hold.
pub(super) type Tree = BTreeMap<String, String>;

/// Is what we make of an archive.
pub(super) enum Ours {
    /// Nothing.
    Refused,
    /// A layout, and what of it is hidden: leftovers of writers, and what is no file.
    Tree(Tree, Vec<String>),
}

/// Is where the readers are.
pub(super) struct Readers {
    tar: PathBuf,
    bsdtar: PathBuf,
    python: PathBuf,
    /// Go's, which registries, docker and notation read with.
    go: PathBuf,
}

/// Reads an archive with our own reader.
pub(super) fn ours(path: &Path) -> Ours {
    let tar = match Tar::open(path) {
        Ok(tar) => tar,
        Err(SourceError::Archive {
            problem, advice, ..
        }) => {
            assert!(problem.contains("at byte "), "{problem}");
            assert!(!advice.is_empty());
            return Ours::Refused;
        }
        Err(SourceError::NotALayout { .. }) => return Ours::Refused,
        Err(other) => panic!("{other}"),
    };
    let listing = tar.listing().unwrap();
    let mut tree = Tree::new();
    let mut add = |path: &Path| {
        let blob = tar.file(path).unwrap().unwrap();
        let bytes = blob.read_all(1 << 30).unwrap();
        tree.insert(named(path), Digest::of(&bytes).to_string());
    };
    let Ok(Some(_)) = tar.file(Path::new("index.json")) else {
        return Ours::Refused;
    };
    add(Path::new("index.json"));
    if listing.oci_layout.is_some() {
        add(Path::new("oci-layout"));
    }
    for blob in listing.blobs.iter() {
        add(Path::new(&format!("blobs/sha256/{}", blob.digest.hex())));
    }
    let mut links = Vec::new();
    for extra in &listing.extras {
        match &extra.kind {
            ExtraKind::File => add(&extra.path),
            ExtraKind::Link(target) => links.push((extra.path.clone(), target.clone())),
            ExtraKind::Directory => {}
        }
    }
    for (path, target) in links {
        tree.insert(named(&path), link(&target));
    }
    let hidden = listing.irregular.iter().chain(&listing.leftovers);
    Ours::Tree(tree, hidden.map(|path| named(path)).collect())
}

/// Returns a path as it can be printed.
fn named(path: &Path) -> String {
    path.as_os_str().as_bytes().escape_ascii().to_string()
}

fn link(target: &Path) -> String {
    format!("-> {}", target.as_os_str().as_bytes().escape_ascii())
}

impl Readers {
    /// Finds all four, or none where one is missing.
    pub(super) fn find() -> Option<Self> {
        Some(Self {
            tar: tool("tar")?,
            bsdtar: tool("bsdtar")?,
            python: tool("python3")?,
            go: tool("tar-peer")?,
        })
    }

    /// Extracts archives in `folder` with each reader, and returns what each found.
    pub(super) fn extract(
        &self,
        folder: &Path,
        archives: &[PathBuf],
    ) -> Vec<Vec<(&'static str, Tree)>> {
        let ran = quiet(
            Command::new(&self.python)
                .args(["-c", PYTHON])
                .args(archives),
        );
        assert!(ran, "python3 does not run");
        let ran = quiet(Command::new(&self.go).args(archives));
        assert!(ran, "tar-peer does not run");
        archives
            .iter()
            .map(|path| {
                let target = |kind: &str| {
                    let name = format!("{}.{kind}", path.file_name().unwrap().to_str().unwrap());
                    folder.join(name)
                };
                for (kind, program) in [("tar", &self.tar), ("bsdtar", &self.bsdtar)] {
                    fs::create_dir(target(kind)).unwrap();
                    // What it refuses is seen in what is missing.
                    quiet(
                        Command::new(program)
                            .arg("-C")
                            .arg(target(kind))
                            .arg("-xf")
                            .arg(path),
                    );
                }
                ["tar", "bsdtar", "python", "go"]
                    .into_iter()
                    .map(|kind| {
                        let found = tree(&target(kind));
                        let _ = fs::remove_dir_all(target(kind));
                        (kind, found)
                    })
                    .collect()
            })
            .collect()
    }

    /// Returns one layout as each writer writes it, in each of its formats.
    pub(super) fn written(&self) -> Vec<(String, Vec<u8>)> {
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        crate::support::layouts::buildx(&layout);
        let deep = layout
            .join("docs")
            .join("d".repeat(90))
            .join("e".repeat(90));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "deep").unwrap();
        fs::write(layout.join("docs/h\u{e9}llo"), "named").unwrap();
        fs::hard_link(layout.join("index.json"), layout.join("docs/copy")).unwrap();
        std::os::unix::fs::symlink("h\u{e9}llo", layout.join("docs/link")).unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        for (program, formats) in [
            (&self.tar, &["gnu", "oldgnu", "pax", "posix"][..]),
            (&self.bsdtar, &["ustar", "pax", "gnutar"]),
        ] {
            for format in formats {
                for (prefix, from, what) in [
                    ("dot", layout.as_path(), &["."][..]),
                    ("folder", folder.path(), &["layout"]),
                    (
                        "names",
                        &layout,
                        &["docs", "blobs", "oci-layout", "index.json"],
                    ),
                ] {
                    let name = format!(
                        "{}-{format}-{prefix}",
                        program.file_name().unwrap().display()
                    );
                    let ran = quiet(
                        Command::new(program)
                            .arg("-C")
                            .arg(from)
                            .arg(format!("--format={format}"))
                            .arg("-cf")
                            .arg(out.join(format!("{name}.tar")))
                            .args(what),
                    );
                    assert!(ran, "{name}");
                }
            }
        }
        let mut python = Command::new(&self.python);
        python.args(["-c", PYTHON_WRITER]).arg(&layout).arg(&out);
        assert!(quiet(&mut python));
        let mut archives: Vec<_> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().display().to_string();
                (name, fs::read(&path).unwrap())
            })
            .collect();
        archives.sort();
        assert!(archives.len() >= 27, "{}", archives.len());
        archives
    }
}

/// Runs a program with names taken as UTF-8 and returns whether it succeeded.
fn quiet(command: &mut Command) -> bool {
    command
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// Returns what was extracted, without the one folder that may be around it.
fn tree(folder: &Path) -> Tree {
    let mut found = Tree::new();
    let mut open = vec![folder.to_owned()];
    while let Some(present) = open.pop() {
        for entry in fs::read_dir(&present).into_iter().flatten() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let below = named(path.strip_prefix(folder).unwrap());
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                found.insert(below, link(&fs::read_link(&path).unwrap()));
            } else if kind.is_file() {
                found.insert(below, Digest::of(&fs::read(&path).unwrap()).to_string());
            }
        }
    }
    let around = found
        .keys()
        .next()
        .and_then(|path| path.split_once('/'))
        .map(|(first, _)| format!("{first}/"));
    let Some(around) = around else {
        return found;
    };
    let is_around = found.keys().all(|path| path.starts_with(&around));
    if !is_around || !found.contains_key(&format!("{around}index.json")) {
        return found;
    }
    found
        .into_iter()
        .map(|(path, content)| (path[around.len()..].to_owned(), content))
        .collect()
}
