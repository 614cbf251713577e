//! Tags: read first, moved last, and only if nobody else moved them meanwhile.

use super::error::SyncError;
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
    let mut set = Vec::new();
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
        put(push, tag)?;
        set.push(tag.tag.clone());
    }
    Ok(set)
}

fn put(push: &Push<'_>, tag: &Before) -> Result<(), SyncError> {
    let Some(manifest) = push
        .plan
        .manifests
        .iter()
        .find(|manifest| manifest.digest == tag.root)
    else {
        return Err(moved(
            &tag.tag,
            "its image is not in the plan".to_owned(),
            None,
        ));
    };
    let put = Put {
        name: &tag.tag,
        media_type: &manifest.media_type,
        bytes: &manifest.bytes,
        digest: &manifest.digest,
        replaces: None,
    };
    match push.registry.put_manifest(&put) {
        Ok(_) => {}
        Err(error @ (RegistryError::Refused { .. } | RegistryError::Denied { .. }))
            if tag.named.is_some() =>
        {
            let problem =
                "it names another image and the registry does not let it be moved".to_owned();
            return Err(moved(&tag.tag, problem, Some(error)));
        }
        Err(error) => return Err(error.into()),
    }
    let now = push.registry.resolve(&tag.tag)?;
    if now.as_ref() != Some(&tag.root) {
        return Err(moved(
            &tag.tag,
            "it names another image right after it was set".to_owned(),
            None,
        ));
    }
    Ok(())
}

fn moved(tag: &str, problem: String, source: Option<RegistryError>) -> SyncError {
    SyncError::Tag {
        tag: tag.to_owned(),
        problem,
        source: source.map(Box::new),
    }
}
