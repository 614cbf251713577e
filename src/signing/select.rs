//! What a request selects: images, platform children, any manifest by digest.
//!
//! Not here: whether their content is intact (`intact`).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Artifact, Children, SigningError};
use crate::audit::{AuditError, Selection, Survey};
use crate::oci::graph::Node;
use crate::oci::limits::GRAPH_DEPTH_MAX;
use crate::oci::media_type::{is_index, is_manifest};
use crate::oci::{Descriptor, Digest, Document, Image, ImageIndex};

/// Returns what is to be signed, each digest once, in the order of index.json.
///
/// # Errors
/// Refuses a selection that names nothing or a name on two digests.
pub(super) fn artifacts(
    survey: &Survey,
    selection: &Selection,
    children: Children,
) -> Result<Vec<Artifact>, SigningError> {
    let mut roots = Vec::new();
    match selection {
        Selection::All => {
            for image in &survey.graph.images {
                roots.push(unambiguous(image)?.descriptor.clone());
            }
            if roots.is_empty() {
                return Err(SigningError::Nothing);
            }
        }
        Selection::Tag(tag) => roots.push(tagged(survey, tag)?),
        Selection::Digest(digest) => roots.push(by_digest(survey, digest)?),
    }
    let mut picked = Picked {
        survey,
        listed: listed(survey),
        seen: HashSet::new(),
        artifacts: Vec::new(),
    };
    for root in &roots {
        picked.add(root, None);
        if children == Children::Recursive {
            picked.add_children(root, 0);
        }
    }
    Ok(picked.artifacts)
}

fn unambiguous(image: &Image) -> Result<&Image, SigningError> {
    match (&image.name, image.ambiguous) {
        (Some(tag), true) => Err(SigningError::Ambiguous { tag: tag.clone() }),
        _ => Ok(image),
    }
}

fn tagged(survey: &Survey, tag: &str) -> Result<Descriptor, SigningError> {
    let image = survey
        .graph
        .images
        .iter()
        .find(|image| image.name.as_deref() == Some(tag))
        .ok_or_else(|| not_found(tag))?;
    Ok(unambiguous(image)?.descriptor.clone())
}

/// Returns the descriptor that index.json, else an index below it, gives for a digest.
///
/// The type is never guessed: a bare blob has none, and a signature over a guessed one is void after a push.
fn by_digest(survey: &Survey, digest: &Digest) -> Result<Descriptor, SigningError> {
    let images = survey.graph.images.iter().map(|image| &image.descriptor);
    if let Some(found) = images.into_iter().find(|found| found.digest == *digest) {
        return Ok(found.clone());
    }
    let top = top(survey);
    let mut found: Vec<&Descriptor> = top.iter().flat_map(|index| &index.manifests).collect();
    for node in survey.graph.nodes.values() {
        if let Node::Present { document, .. } = node
            && let Document::Index(index) = document.as_ref()
        {
            found.extend(&index.manifests);
        }
    }
    let typed = |found: &&&Descriptor| {
        found.digest == *digest && (is_manifest(&found.media_type) || is_index(&found.media_type))
    };
    found
        .iter()
        .find(typed)
        .map(|found| (**found).clone())
        .ok_or_else(|| not_found(&digest.to_string()))
}

fn not_found(name: &str) -> SigningError {
    SigningError::Audit(AuditError::NotFound {
        name: name.to_owned(),
    })
}

/// Returns index.json, parsed.
fn top(survey: &Survey) -> Option<ImageIndex> {
    let bytes = &survey.index.as_ref()?.bytes;
    ImageIndex::parse(bytes).ok()
}

fn listed(survey: &Survey) -> HashSet<Digest> {
    top(survey)
        .map(|index| {
            index
                .manifests
                .into_iter()
                .map(|entry| entry.digest.clone())
        })
        .into_iter()
        .flatten()
        .collect()
}

/// Collects artifacts.
struct Picked<'a> {
    survey: &'a Survey,
    listed: HashSet<Digest>,
    seen: HashSet<Digest>,
    artifacts: Vec<Artifact>,
}

impl Picked<'_> {
    fn add(&mut self, descriptor: &Descriptor, platform: Option<Value>) {
        if !self.seen.insert(descriptor.digest.clone()) {
            return;
        }
        let missing_entry = (!self.listed.contains(&descriptor.digest)).then(|| {
            let platform = platform.or_else(|| self.platform(&descriptor.digest));
            entry(descriptor, platform)
        });
        self.artifacts.push(Artifact {
            descriptor: Descriptor::new(
                &descriptor.media_type,
                descriptor.digest.clone(),
                descriptor.size,
            ),
            missing_entry,
        });
    }

    fn add_children(&mut self, parent: &Descriptor, depth: usize) {
        let Some(Document::Index(index)) = self.survey.graph.document(&parent.digest) else {
            return;
        };
        if depth >= GRAPH_DEPTH_MAX {
            return;
        }
        for child in &index.manifests {
            if is_index(&child.media_type) {
                self.add_children(child, depth.saturating_add(1));
            } else if is_manifest(&child.media_type) && !child.is_attestation() {
                let platform = raw_platform(self.survey, &parent.digest, &child.digest);
                self.add(child, platform);
            }
        }
    }

    /// Returns the platform that any index gives for a digest.
    fn platform(&self, digest: &Digest) -> Option<Value> {
        let mut parents: Vec<&Digest> = self.survey.graph.nodes.keys().collect();
        parents.sort();
        parents
            .into_iter()
            .find_map(|parent| raw_platform(self.survey, parent, digest))
    }
}

/// Returns `platform` of a child exactly as its parent has it, fields of the future included.
fn raw_platform(survey: &Survey, parent: &Digest, child: &Digest) -> Option<Value> {
    let Some(Node::Present {
        bytes: Some(bytes),
        document,
        ..
    }) = survey.graph.node(parent)
    else {
        return None;
    };
    if !matches!(document.as_ref(), Document::Index(_)) {
        return None;
    }
    let parsed = crate::oci::json::parse(bytes).ok()?;
    let text = child.to_string();
    parsed
        .get("manifests")?
        .as_array()?
        .iter()
        .find(|entry| entry.get("digest").and_then(Value::as_str) == Some(&text))?
        .get("platform")
        .cloned()
}

/// Returns the untagged entry of an artifact: nothing of the parent's annotations goes along, a name least of all.
fn entry(descriptor: &Descriptor, platform: Option<Value>) -> Value {
    let mut entry = Descriptor::new(
        &descriptor.media_type,
        descriptor.digest.clone(),
        descriptor.size,
    )
    .to_json();
    let members: Option<&mut Map<String, Value>> = entry.as_object_mut();
    if let (Some(members), Some(platform)) = (members, platform) {
        members.insert("platform".to_owned(), platform);
    }
    entry
}
