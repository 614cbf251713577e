//! Whether a docker archive's own index (`manifest.json`, `repositories`) tells the same story as index.json.
//!
//! Readers of docker archives never look at index.json; what they see must be what was judged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Survey;
use super::reading;
use crate::layout::{Source, SourceError};
use crate::oci::descriptor::{CONTAINERD_NAME, REF_NAME};
use crate::oci::limits::INDEX_BYTES_MAX;
use crate::oci::{Algorithm, Closure, Digest, Document, Image, ImageManifest, json};
use crate::report::{Problem, Verdict};

/// Problems of one file that are listed.
const PROBLEMS_MAX: usize = 20;
/// What a folder of an image holds in a docker archive of the old form, without manifest.json.
const OLD_FILES: [&str; 2] = ["json", "layer.tar"];
/// The folder of the layout's own blobs.
const BLOBS: &str = "blobs";
/// The members of an entry that readers use.
const MEMBERS: [&str; 3] = ["Config", "RepoTags", "Layers"];

type Closures = HashMap<Digest, Arc<Closure>>;

/// Is a manifest as a docker archive describes it: config and ordered layers.
#[derive(PartialEq, Eq, Hash)]
struct Parts {
    config: Digest,
    layers: Vec<Digest>,
}

/// Knows what the images of the layout consist of. Every question is answered without a walk: the archive's index is hostile and long.
struct Known<'a> {
    /// Parts that some manifest of an image has, numbered.
    parts: HashMap<Parts, usize>,
    /// Which roots have a manifest of which parts.
    holds: HashSet<(&'a Digest, usize)>,
    /// Which roots have a manifest, config or last layer with which hex.
    ids: HashSet<(&'a Digest, String)>,
    /// The same, of any root.
    every_id: HashSet<String>,
    /// The roots behind every name, as written and in full; of several two are enough, as they are ambiguous anyway.
    names: HashMap<String, Vec<&'a Digest>>,
}

/// Returns where `manifest.json` or `repositories` disagree with index.json.
pub(super) fn disagreements(
    survey: &Survey,
    source: &dyn Source,
    closures: &Closures,
) -> Vec<Problem> {
    let read = |name| reading::document(source, name, INDEX_BYTES_MAX);
    let manifest = read("manifest.json");
    let mut problems = match manifest {
        Ok(None) => old_form(survey, source),
        Ok(Some(_)) | Err(_) => Vec::new(),
    };
    let mut known = None;
    for (name, document, check) in [
        (
            "manifest.json",
            manifest,
            check_manifest as fn(&Known<'_>, &Value) -> Vec<String>,
        ),
        ("repositories", read("repositories"), check_repositories),
    ] {
        let (rule, found) = match document {
            Ok(None) => continue,
            Ok(Some(document)) => {
                let known = known.get_or_insert_with(|| Known::of(survey, closures));
                ("docker-archive", check(known, &document))
            }
            Err(error) if error.may_pass() => ("read", vec![error.to_string()]),
            Err(error) => ("docker-archive", vec![error.to_string()]),
        };
        problems.extend(found.into_iter().take(PROBLEMS_MAX).map(|problem| Problem {
            verdict: Verdict::Ambiguous,
            file: Some(name.to_owned()),
            digest: None,
            check: rule,
            problem,
            hint: format!("remove {name}, or make it name the images of index.json"),
        }));
    }
    problems
}

/// Returns the images of an archive of the old form: where it has no manifest.json, docker loads every folder `ID` with `ID/json` and
/// `ID/layer.tar`, which have nothing to do with index.json. Any name will do for `ID`, that of `blobs` and of a writer's folder too.
fn old_form(survey: &Survey, source: &dyn Source) -> Vec<Problem> {
    let listing = &survey.listing;
    let mut folders: BTreeMap<&Path, usize> = BTreeMap::new();
    for extra in &listing.extras {
        if let Some(folder) = OLD_FILES
            .iter()
            .find_map(|name| root_folder(&extra.path, name))
        {
            let count = folders.entry(folder).or_default();
            *count = count.saturating_add(1);
        }
    }
    // Into these a listing does not look.
    let hidden = listing.leftovers.iter().map(PathBuf::as_path);
    for folder in hidden.filter(|path| is_name(path)).chain([BLOBS.as_ref()]) {
        let is_there = |name: &&str| {
            let file = source.file(&folder.join(name));
            matches!(file, Ok(Some(_)) | Err(SourceError::NotRegular { .. }))
        };
        folders.insert(
            folder,
            OLD_FILES.iter().filter(|name| is_there(name)).count(),
        );
    }
    folders
        .into_iter()
        .filter(|(folder, count)| *count == OLD_FILES.len() || *count > 0 && is_id(folder))
        .map(|(folder, _)| folder.to_string_lossy())
        .take(PROBLEMS_MAX)
        .map(|folder| Problem {
            verdict: Verdict::Ambiguous,
            file: Some(folder.clone().into_owned()),
            digest: None,
            check: "docker-archive",
            problem: "docker loads this folder as an image, and index.json does not list it"
                .to_owned(),
            hint: format!(
                "remove {folder}, or add a manifest.json that names the images of index.json"
            ),
        })
        .collect()
}

/// Returns the folder of the root that a file with this name lies in.
fn root_folder<'a>(path: &'a Path, name: &str) -> Option<&'a Path> {
    let folder = path.parent().filter(|folder| is_name(folder))?;
    (path.file_name()? == name).then_some(folder)
}

/// Returns whether a path is one name.
fn is_name(path: &Path) -> bool {
    path.components().count() == 1 && path.is_relative()
}

fn is_id(folder: &Path) -> bool {
    let hex = folder.to_str();
    hex.is_some_and(|hex| Digest::from_parts(Algorithm::Sha256, hex).is_some())
}

impl<'a> Known<'a> {
    fn of(survey: &'a Survey, closures: &'a Closures) -> Self {
        let mut known = Self {
            parts: HashMap::new(),
            holds: HashSet::new(),
            ids: HashSet::new(),
            every_id: HashSet::new(),
            names: HashMap::new(),
        };
        for (root, closure) in closures {
            for descriptor in &closure.manifests {
                if let Some(Document::Manifest(manifest)) =
                    survey.graph.document(&descriptor.digest)
                    && let Some(config) = &manifest.config
                {
                    known.add(root, &descriptor.digest, (&config.digest, manifest));
                }
            }
        }
        for image in &survey.graph.images {
            for name in names_of(image) {
                let roots = known.names.entry(name).or_default();
                if roots.len() < 2 && !roots.contains(&&image.descriptor.digest) {
                    roots.push(&image.descriptor.digest);
                }
            }
        }
        known
    }

    fn add(
        &mut self,
        root: &'a Digest,
        digest: &Digest,
        (config, manifest): (&Digest, &ImageManifest),
    ) {
        let parts = Parts {
            config: config.clone(),
            layers: manifest
                .layers
                .iter()
                .map(|layer| layer.digest.clone())
                .collect(),
        };
        let next = self.parts.len();
        let number = *self.parts.entry(parts).or_insert(next);
        self.holds.insert((root, number));
        let last = manifest.layers.last().map(|layer| &layer.digest);
        for part in [digest, config].into_iter().chain(last) {
            self.every_id.insert(part.hex());
            self.ids.insert((root, part.hex()));
        }
    }

    /// Returns the roots that index.json gives a name of a docker archive: by the full name, else by the tag alone.
    fn named(&self, repository: &str, tag: &str) -> &[&'a Digest] {
        let full = full_name(repository, tag);
        [full.as_str(), tag]
            .into_iter()
            .find_map(|name| self.names.get(name))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

/// Returns the names of an image: as written, and full ones in full.
fn names_of(image: &Image) -> HashSet<String> {
    let mut names = HashSet::new();
    for key in [REF_NAME, CONTAINERD_NAME] {
        let Some(name) = image.descriptor.annotations.get(key) else {
            continue;
        };
        names.insert(name.clone());
        if let Some((repository, tag)) = split(name) {
            names.insert(full_name(repository, tag));
        }
    }
    names
}

/// Splits `REPOSITORY:TAG`.
fn split(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once(':')
        .filter(|(repository, tag)| !repository.is_empty() && !tag.contains('/'))
}

/// Returns `DOMAIN/REPOSITORY:TAG` as docker completes it.
fn full_name(repository: &str, tag: &str) -> String {
    let has_domain = repository
        .split_once('/')
        .is_some_and(|(domain, _)| domain.contains(['.', ':']) || domain == "localhost");
    let repository = match (has_domain, repository.contains('/')) {
        (true, _) => repository.to_owned(),
        (false, true) => format!("docker.io/{repository}"),
        (false, false) => format!("docker.io/library/{repository}"),
    };
    let repository = match repository.strip_prefix("index.docker.io/") {
        Some(rest) => format!("docker.io/{rest}"),
        None => repository,
    };
    format!("{repository}:{tag}")
}

fn check_manifest(known: &Known<'_>, document: &Value) -> Vec<String> {
    let entries = match document {
        Value::Array(entries) => entries,
        // No reader of docker archives takes anything else for one.
        _ => return Vec::new(),
    };
    entries
        .iter()
        .enumerate()
        .filter_map(|(position, entry)| {
            check_entry(known, entry)
                .err()
                .map(|problem| format!("entry {position}: {problem}"))
        })
        .take(PROBLEMS_MAX)
        .collect()
}

fn check_entry(known: &Known<'_>, entry: &Value) -> Result<(), String> {
    let Value::Object(entry) = entry else {
        return Err("it is not an object".to_owned());
    };
    if let Some(member) = json::case_variant(entry, &MEMBERS) {
        return Err(format!("member {member:?} equals a known one but for case"));
    }
    let parts = Parts {
        config: blob_of(entry.get("Config"))?,
        layers: match entry.get("Layers") {
            Some(Value::Array(layers)) => layers
                .iter()
                .map(|layer| blob_of(Some(layer)))
                .collect::<Result<_, _>>()?,
            None | Some(Value::Null) => Vec::new(),
            Some(_) => return Err("its Layers are not a list".to_owned()),
        },
    };
    let Some(number) = known.parts.get(&parts) else {
        return Err("its config and layers are not those of one image of index.json".to_owned());
    };
    for name in repo_tags(entry)? {
        let Some((repository, tag)) = split(name) else {
            return Err(format!("the name {name:?} has no tag"));
        };
        for root in known.named(repository, tag) {
            if !known.holds.contains(&(*root, *number)) {
                return Err(format!(
                    "it names {name:?}, which is {root} in index.json, another image"
                ));
            }
        }
    }
    Ok(())
}

fn repo_tags(entry: &Map<String, Value>) -> Result<Vec<&str>, String> {
    match entry.get("RepoTags") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(tags)) => tags
            .iter()
            .map(|tag| {
                tag.as_str()
                    .ok_or_else(|| "a name of RepoTags is not text".to_owned())
            })
            .collect(),
        Some(_) => Err("its RepoTags are not a list".to_owned()),
    }
}

/// Returns the digest of the blob that a path inside the archive names.
fn blob_of(path: Option<&Value>) -> Result<Digest, String> {
    let Some(Value::String(path)) = path else {
        return Err("it gives no path of its config or of a layer".to_owned());
    };
    let plain = path.strip_prefix("./").unwrap_or(path);
    plain
        .strip_prefix("blobs/")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(algorithm, hex)| Digest::from_parts(Algorithm::from_name(algorithm)?, hex))
        .ok_or_else(|| format!("{path:?} is not a blob of the layout"))
}

/// Checks `{"REPOSITORY": {"TAG": "HEX"}}`: each HEX must be part of the image that index.json names so.
fn check_repositories(known: &Known<'_>, document: &Value) -> Vec<String> {
    let Value::Object(repositories) = document else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for (repository, tags) in repositories {
        let Value::Object(tags) = tags else {
            problems.push(format!("the tags of {repository:?} are not an object"));
            continue;
        };
        for (tag, id) in tags {
            if problems.len() >= PROBLEMS_MAX {
                return problems;
            }
            if !repository_agrees(known, (repository, tag), id) {
                problems.push(format!(
                    "it names {repository:?}, tag {tag:?}, which is another image in index.json"
                ));
            }
        }
    }
    problems
}

fn repository_agrees(known: &Known<'_>, (repository, tag): (&str, &str), id: &Value) -> bool {
    let Some(id) = id.as_str() else {
        return false;
    };
    let id = id.to_owned();
    match known.named(repository, tag) {
        [] => known.every_id.contains(&id),
        roots => roots
            .iter()
            .all(|root| known.ids.contains(&(*root, id.clone()))),
    }
}
