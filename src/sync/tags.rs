//! Tags: read first, moved last, and only if nobody else moved them meanwhile.

use super::error::SyncError;
use super::plan::PlannedManifest;
use super::push::{Push, TagPolicy};
use crate::oci::Digest;
use crate::registry::RegistryError;
use crate::registry::manifests::Put;

/// Is a tag as it was when the push began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Before {
    /// The tag.
    pub tag: String,
    /// The image it is to name.
    pub root: Digest,
    /// What it named.
    pub named: Option<Digest>,
}

impl Before {
    /// Returns whether the tag names the image already.
    pub(super) fn is_done(&self) -> bool {
        self.named.as_ref() == Some(&self.root)
    }
}

/// Reads all tags.
pub(super) fn read(push: &Push<'_>) -> Result<Vec<Before>, SyncError> {
    let mut read = Vec::new();
    for root in &push.plan.roots {
        for tag in &root.tags {
            let before = Before {
                tag: tag.clone(),
                root: root.descriptor.digest.clone(),
                named: push.registry.resolve(tag)?,
            };
            if push.tags == TagPolicy::OnlyIfAbsent && before.named.is_some() && !before.is_done() {
                return Err(moved(
                    &before.tag,
                    "it names another image, and only absent tags are to be set".to_owned(),
                    None,
                ));
            }
            read.push(before);
        }
    }
    Ok(read)
}

/// Sets the tags that do not name their image yet.
pub(super) fn set(push: &Push<'_>, before: &[Before]) -> Result<Vec<String>, SyncError> {
    let mut pending = Vec::new();
    for tag in before.iter().filter(|tag| !tag.is_done()) {
        let now = push.registry.resolve(&tag.tag)?;
        if now.as_ref() == Some(&tag.root) {
            continue;
        }
        if now != tag.named {
            return Err(moved(
                &tag.tag,
                "it was moved by somebody else during the push".to_owned(),
                None,
            ));
        }
        pending.push(tag);
    }
    let along = set_along(push, &pending);
    let mut set = Vec::new();
    for tag in pending {
        if !along.contains(&tag.tag) {
            put(push, tag)?;
        }
        confirm(push, tag)?;
        set.push(tag.tag.clone());
    }
    Ok(set)
}

/// Sets several tags of an image with one request, where the registry can; returns those that it says it set.
///
/// A refusal is not an error: the tags are then set one by one, which says what is wrong with which.
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests>
fn set_along(push: &Push<'_>, pending: &[&Before]) -> Vec<String> {
    let mut set = Vec::new();
    for root in &push.plan.roots {
        let digest = &root.descriptor.digest;
        let tags: Vec<&str> = pending
            .iter()
            .filter(|tag| tag.root == *digest)
            .map(|tag| tag.tag.as_str())
            .collect();
        let manifest = manifest(push, digest).filter(|_| tags.len() > 1);
        let Some(manifest) = manifest else { continue };
        let name = digest.to_string();
        let put = Put {
            tags: &tags,
            ..manifest.put(&name)
        };
        if let Ok(accepted) = push.registry.put_manifest(&put) {
            set.extend(accepted.tags);
        }
    }
    set
}

fn manifest<'a>(push: &Push<'a>, digest: &Digest) -> Option<&'a PlannedManifest> {
    let mut manifests = push.plan.manifests.iter();
    manifests.find(|manifest| manifest.digest == *digest)
}

fn put(push: &Push<'_>, tag: &Before) -> Result<(), SyncError> {
    let Some(manifest) = manifest(push, &tag.root) else {
        return Err(moved(
            &tag.tag,
            "its image is not in the plan".to_owned(),
            None,
        ));
    };
    match push.registry.put_manifest(&manifest.put(&tag.tag)) {
        Ok(_) => Ok(()),
        Err(error @ (RegistryError::Refused { .. } | RegistryError::Denied { .. }))
            if tag.named.is_some() =>
        {
            let problem =
                "it names another image and the registry does not let it be moved".to_owned();
            Err(moved(&tag.tag, problem, Some(error)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads a tag back.
fn confirm(push: &Push<'_>, tag: &Before) -> Result<(), SyncError> {
    match push.registry.resolve(&tag.tag)? == Some(tag.root.clone()) {
        true => Ok(()),
        false => Err(moved(
            &tag.tag,
            "it names another image right after it was set".to_owned(),
            None,
        )),
    }
}

fn moved(tag: &str, problem: String, source: Option<RegistryError>) -> SyncError {
    SyncError::Tag {
        tag: tag.to_owned(),
        problem,
        source: source.map(Box::new),
    }
}
