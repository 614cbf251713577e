//! Pulling an image with everything that refers to it into a layout: blobs first, then manifests, then index.json in one commit.

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::SyncError;
use super::plan::Plan;
use super::pool::{self, Stoppable};
use super::push::Tally;
use crate::files::{self, FileError, Folder, NewFile, Temporary};
use crate::layout::{Addition, Directory, Hashes, Source, Store};
use crate::oci::descriptor::{CONTAINERD_NAME, CONTAINERD_SUBJECT, REF_NAME};
use crate::oci::media_type::IMAGE_INDEX;
use crate::oci::{Descriptor, Digest, ImageIndex, Progress};
use crate::registry::Registry;
use crate::registry::fallback::Entry;
use crate::report::Admitted;

/// Is a pull. It takes an admitted report, so that nothing is pulled that was not judged.
pub struct Pull<'a> {
    /// What is pulled: one image.
    pub plan: &'a Plan,
    /// Where it is.
    pub registry: &'a Registry,
    /// The folder of the layout; made where it is not there.
    pub folder: &'a Path,
    /// The tag it gets.
    pub tag: Option<&'a str>,
    /// What is known of blobs that are there.
    pub hashes: &'a Hashes,
    /// Connections.
    pub jobs: usize,
    /// The verdict that lets it come.
    pub admitted: &'a Admitted<'a>,
}

/// Reports what a pull did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pulled {
    /// Blobs: `sent` counts those that came.
    pub blobs: Tally,
    /// Entries that index.json did not have.
    pub entries: usize,
}

/// Permission bits of files and folders of a layout.
const FILE_MODE: u32 = 0o644;
const BLOB_MODE: u32 = 0o444;
const FOLDER_MODE: u32 = 0o755;

/// Pulls.
///
/// # Errors
/// Says why not everything is in the layout now; index.json is then as it was.
pub fn pull(pull: &Pull<'_>, progress: &dyn Progress) -> Result<Pulled, SyncError> {
    let progress = Stoppable::new(progress);
    prepare(pull.folder)?;
    let directory = Directory::open(pull.folder).map_err(SyncError::Source)?;
    check_tag(pull, &directory)?;
    let root = Folder::open(pull.folder).map_err(SyncError::File)?;
    progress.expect(pull.plan.blobs.iter().map(|blob| blob.size).sum());
    let wanted: Vec<&Descriptor> = pull.plan.blobs.iter().collect();
    let tallies = pool::run(wanted, pull.jobs, &progress, &|blob: &&Descriptor| {
        fetch(pull, (&directory, &root), blob, &progress)
    })?;
    let manifests = pull.plan.manifests.iter();
    let addition = Addition {
        blobs: manifests
            .map(|manifest| (manifest.digest.clone(), manifest.bytes.to_vec()))
            .collect(),
        entries: entries(pull),
    };
    let committed = directory.commit(&addition).map_err(SyncError::Source)?;
    Ok(Pulled {
        blobs: tallies.into_iter().fold(Tally::default(), Tally::plus),
        entries: committed.entries_added,
    })
}

/// Makes an empty layout where there is none.
fn prepare(path: &Path) -> Result<(), SyncError> {
    if path.join("index.json").symlink_metadata().is_ok() {
        return Ok(());
    }
    let made = DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path);
    made.map_err(FileError::io("making", path))
        .map_err(SyncError::File)?;
    let folder = Folder::open(path).map_err(SyncError::File)?;
    let is_empty = folder.names(0).map_err(SyncError::File)?.is_some();
    if !is_empty {
        return Err(SyncError::NotALayout {
            path: path.to_owned(),
        });
    }
    let new = NewFile {
        mode: FILE_MODE,
        owner: None,
    };
    let index = json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": []});
    // index.json comes last: it is what makes the folder a layout.
    for (name, text) in [
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned()),
        ("index.json", index.to_string()),
    ] {
        files::replace_path(&path.join(name), text.as_bytes(), &new).map_err(SyncError::File)?;
    }
    Ok(())
}

/// Refuses to put a tag of the layout on a second digest.
fn check_tag(pull: &Pull<'_>, directory: &Directory) -> Result<(), SyncError> {
    let (Some(tag), Some(root)) = (pull.tag, pull.plan.roots.first()) else {
        return Ok(());
    };
    let index = directory.index().map_err(SyncError::Source)?;
    let Ok(parsed) = ImageIndex::parse(&index.bytes) else {
        return Ok(());
    };
    let taken = parsed.manifests.iter().any(|entry| {
        entry
            .annotations
            .get(REF_NAME)
            .is_some_and(|name| name == tag)
            && entry.digest != root.descriptor.digest
    });
    match taken {
        false => Ok(()),
        true => Err(SyncError::Tag {
            tag: tag.to_owned(),
            problem: "another image of the layout has it".to_owned(),
            source: None,
        }),
    }
}

/// Brings one blob that is not there, or not sound.
fn fetch(
    pull: &Pull<'_>,
    (directory, root): (&Directory, &Folder),
    blob: &Descriptor,
    progress: &Stoppable<'_>,
) -> Result<Tally, SyncError> {
    let digest = &blob.digest;
    let stored = directory.blob(digest).map_err(SyncError::Source)?;
    if stored.is_some_and(|stored| pull.hashes.verify(blob, &stored, progress).is_ok()) {
        progress.advance(blob.size);
        return Ok(Tally {
            present: 1,
            ..Tally::default()
        });
    }
    let Some(algorithm) = digest.algorithm() else {
        return Err(SyncError::Unverifiable {
            digest: digest.clone(),
        });
    };
    let folder = blobs_folder(root, algorithm.name()).map_err(SyncError::File)?;
    // A kill leaves nothing of it: a layer may be large, and whoever pulls again starts it anew.
    let mut temporary = Temporary::unnamed(&folder).map_err(SyncError::File)?;
    let came = pull.registry.download(blob, &mut |piece| {
        if progress.cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        progress.advance(u64::try_from(piece.len()).unwrap_or(0));
        temporary.append(piece)
    })?;
    if !came {
        return Err(SyncError::Missing {
            digest: digest.clone(),
        });
    }
    let new = NewFile {
        mode: BLOB_MODE,
        owner: None,
    };
    temporary.finish(&new).map_err(SyncError::File)?;
    temporary.sync().map_err(SyncError::File)?;
    temporary
        .rename(&folder, &PathBuf::from(digest.hex()))
        .map_err(SyncError::File)?;
    folder.sync().map_err(SyncError::File)?;
    Ok(Tally {
        sent: 1,
        bytes: blob.size,
        hashed: blob.size,
        ..Tally::default()
    })
}

fn blobs_folder(root: &Folder, algorithm: &str) -> Result<Folder, FileError> {
    let path = Path::new("blobs").join(algorithm);
    root.make_folder(Path::new("blobs"), FOLDER_MODE)?;
    let absent = || FileError::io("opening", path.clone())(io::ErrorKind::NotFound.into());
    let blobs = root.folder(Path::new("blobs"))?.ok_or_else(absent)?;
    blobs.make_folder(Path::new(algorithm), FOLDER_MODE)?;
    blobs.folder(Path::new(algorithm))?.ok_or_else(absent)
}

/// Returns the entries of index.json: the image by its tag; referrers and what they refer to without names.
///
/// A signed platform has to be listed, or other tools do not find its signature.
fn entries(pull: &Pull<'_>) -> Vec<Value> {
    let plan = pull.plan;
    let mut listed: HashSet<&Digest> = HashSet::new();
    let mut entries = Vec::new();
    for root in &plan.roots {
        let mut entry = root.descriptor.to_json();
        if let (Some(tag), Some(members)) = (pull.tag, entry.as_object_mut()) {
            members.insert("annotations".to_owned(), json!({ REF_NAME: tag }));
        }
        listed.insert(&root.descriptor.digest);
        entries.push(entry);
    }
    for (subject, referrers) in &plan.referrers {
        let manifest = plan
            .manifests
            .iter()
            .find(|manifest| manifest.digest == *subject);
        let is_referrer = plan
            .referrers
            .values()
            .flatten()
            .any(|entry| entry.digest == *subject);
        if let Some(manifest) = manifest.filter(|_| !is_referrer && !listed.contains(subject)) {
            let size = u64::try_from(manifest.bytes.len()).unwrap_or(u64::MAX);
            entries.push(Descriptor::new(&manifest.media_type, subject.clone(), size).to_json());
            listed.insert(subject);
        }
        entries.extend(referrers.iter().map(|entry| unnamed(entry, subject)));
    }
    entries
}

/// Returns a referrer's entry without the names that would make it an image, and with its subject where containerd looks for it.
fn unnamed(entry: &Entry, subject: &Digest) -> Value {
    let mut value = entry.value.clone();
    if let Some(members) = value.as_object_mut() {
        let annotations = members
            .entry("annotations")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.shift_remove(REF_NAME);
            annotations.shift_remove(CONTAINERD_NAME);
            annotations.insert(
                CONTAINERD_SUBJECT.to_owned(),
                Value::from(subject.to_string()),
            );
        }
    }
    value
}
