//! Which images are asked for.

use super::{AuditError, Selection, Survey};
use crate::oci::graph::Node;
use crate::oci::{Descriptor, Digest, Document, Image, media_type};

/// Returns the images that are asked for.
pub(super) fn select(survey: &Survey, selection: &Selection) -> Result<Vec<Image>, AuditError> {
    let images = &survey.graph.images;
    match selection {
        Selection::All => Ok(images.clone()),
        Selection::Tag(tag) => {
            let named = images
                .iter()
                .filter(|image| image.name.as_deref() == Some(tag))
                .cloned()
                .collect::<Vec<_>>();
            if named.is_empty() {
                return Err(AuditError::NotFound { name: tag.clone() });
            }
            Ok(named)
        }
        Selection::Digest(digest) => {
            let image = images
                .iter()
                .find(|image| image.descriptor.digest == *digest)
                .cloned()
                .or_else(|| unnamed(survey, digest))
                .ok_or_else(|| AuditError::NotFound {
                    name: digest.to_string(),
                })?;
            // A digest names one image whatever its tag names besides.
            Ok(vec![Image {
                ambiguous: false,
                ..image
            }])
        }
    }
}

/// Returns a manifest of the graph as an image without a name. Its own media type counts: notation would sign `application/octet-stream`.
fn unnamed(survey: &Survey, digest: &Digest) -> Option<Image> {
    let descriptor = match survey.graph.node(digest)? {
        Node::Present { size, document, .. } => {
            let (own, usual) = match document.as_ref() {
                Document::Manifest(manifest) => (&manifest.media_type, media_type::IMAGE_MANIFEST),
                Document::Index(index) => (&index.media_type, media_type::IMAGE_INDEX),
            };
            Descriptor::new(own.as_deref().unwrap_or(usual), digest.clone(), *size)
        }
        _ => Descriptor::new("", digest.clone(), 0),
    };
    Some(Image {
        descriptor,
        name: None,
        ambiguous: false,
        untyped: false,
    })
}
