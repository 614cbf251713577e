//! What a base must store itself: an overlay that supplied it would make a layout whole that is not, for all who lack the overlay.

use std::collections::{BTreeSet, HashSet};

use crate::layout::Source;
use crate::oci::graph::Fetched;
use crate::oci::limits::MANIFEST_BYTES_MAX;
use crate::oci::{Digest, Document, Graph, ImageIndex};

/// Removes from the blobs that an overlay may show all that a manifest of the base, reachable from this index, leads to.
pub(super) fn remove(base: &dyn Source, index: &ImageIndex, shown: &mut BTreeSet<Digest>) {
    let mut met = HashSet::new();
    let graph = Graph::read(index, &mut |descriptor| {
        met.insert(descriptor.digest.clone());
        fetch(base, &descriptor.digest)
    });
    for document in met.iter().filter_map(|digest| graph.document(digest)) {
        let parts = match document {
            Document::Manifest(manifest) => {
                manifest.config.as_slice().iter().chain(&manifest.layers)
            }
            Document::Index(index) => [].iter().chain(&index.manifests),
        };
        for part in parts {
            shown.remove(&part.digest);
        }
    }
}

fn fetch(base: &dyn Source, digest: &Digest) -> Fetched {
    match base.blob(digest) {
        Ok(None) => Fetched::Missing,
        Ok(Some(blob)) if blob.size() > MANIFEST_BYTES_MAX => Fetched::TooLarge,
        Ok(Some(blob)) => match blob.read_all(MANIFEST_BYTES_MAX) {
            Ok(bytes) => Fetched::Bytes(bytes.into()),
            Err(error) => Fetched::Unreadable(error.to_string()),
        },
        Err(error) => Fetched::Unreadable(error.to_string()),
    }
}
