//! The files of an image's signatures below `signatures/ALG-HEX/`: of each the envelope as it is, everything decoded, and the chain.
//!
//! Each has a position: three for each signature, in the order of the report.

use std::sync::Arc;

use super::later::{Later, Place};
use super::node::{Node, View};
use crate::oci::{Algorithm, Digest};
use crate::report::{ImageReport, Report, SignatureReport};

/// Is one of a signature's files.
#[derive(Clone, Copy)]
enum File {
    Envelope,
    Decoded,
    Chain,
}

/// The files of a signature, in the order of their positions.
const FILES: [File; 3] = [File::Envelope, File::Decoded, File::Chain];

/// Returns the names of the files of an image's signatures, with their positions.
pub(super) fn names(image: &ImageReport) -> impl Iterator<Item = (u32, String)> {
    let places = image.signatures.len().saturating_mul(FILES.len());
    let positions = (0..).zip(0..places);
    positions.filter_map(|(position, _)| Some((position, name(image, position)?)))
}

/// Returns the name of the file at a position, where there is one.
pub(super) fn name(image: &ImageReport, position: u32) -> Option<String> {
    let (_, signature, file) = at(image, position)?;
    let extension = match file {
        File::Envelope => {
            signature.bytes.as_ref()?;
            signature.format?.word()
        }
        File::Decoded => "json",
        File::Chain => {
            signature.intact.as_ref()?;
            "pem"
        }
    };
    Some(format!("{}.{extension}", signature.manifest.digest.hex()))
}

/// Returns the only position that may have a name.
pub(super) fn position(image: &ImageReport, name: &str) -> Option<u32> {
    let (hex, extension) = name.rsplit_once('.')?;
    let file = match extension {
        "json" => File::Decoded,
        "pem" => File::Chain,
        _ => File::Envelope,
    };
    let digest = |algorithm| Digest::from_parts(algorithm, hex);
    let digest = Algorithm::ALL.into_iter().find_map(digest)?;
    let signatures = &image.signatures;
    let found = signatures.binary_search_by(|found| found.manifest.digest.cmp(&digest));
    let first = found.ok()?.checked_mul(FILES.len())?;
    u32::try_from(first.checked_add(file as usize)?).ok()
}

/// Returns what the file at a position is.
pub(super) fn node(report: &Report, place: Place, position: u32) -> Option<Node> {
    let (signature, found, file) = at(place.image(report)?, position)?;
    let place = Place { signature, ..place };
    Some(match file {
        File::Envelope => Node::Rendered(View::Signature, Arc::clone(found.bytes.as_ref()?)),
        File::Decoded => Node::Later(View::Signature, Later::Signature(place)),
        File::Chain => Node::Later(View::Signature, Later::Chain(place)),
    })
}

/// Returns the digest of an envelope: what was read has the one that its manifest gives.
pub(super) fn digest(image: &ImageReport, position: u32) -> Option<&Digest> {
    let (_, found, File::Envelope) = at(image, position)? else {
        return None;
    };
    let envelope = found.envelope.as_ref().filter(|_| found.bytes.is_some());
    envelope.map(|envelope| &envelope.digest)
}

fn at(image: &ImageReport, position: u32) -> Option<(u32, &SignatureReport, File)> {
    let position = usize::try_from(position).ok()?;
    let (signature, file) = (position / FILES.len(), position % FILES.len());
    let found = image.signatures.get(signature)?;
    Some((u32::try_from(signature).ok()?, found, *FILES.get(file)?))
}
