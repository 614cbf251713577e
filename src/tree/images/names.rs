//! Names of folders below `images/`: escaped reversibly; equal ones are told apart by digest.

use std::collections::{HashMap, HashSet};

use crate::oci::{Descriptor, Digest};
use crate::report::ImageReport;
use crate::text::escape_file_name;

/// Bytes of the longest file name.
const NAME_BYTES_MAX: usize = 255;
/// Hex digits that tell equal names apart.
const SHORT_HEX: usize = 12;
/// Hex digits of the longest digest that is verified.
const FULL_HEX: usize = 128;

/// Returns the name of each image's folder: its tag, or `ALG-HEX`; nothing for one that another stands for.
pub(super) fn of_images(images: &[ImageReport]) -> Vec<Option<String>> {
    let wanted = images.iter().map(|image| {
        let digest = &image.descriptor.digest;
        match &image.name {
            Some(name) => (escape_file_name(name.as_bytes()), digest),
            None => (of_digest(digest), digest),
        }
    });
    distinct(&wanted.collect::<Vec<_>>())
}

/// Returns the name of each platform's folder: `OS-ARCH[-VARIANT]`, or `ALG-HEX` where a child names no platform.
pub(super) fn of_platforms(children: &[&Descriptor]) -> Vec<Option<String>> {
    let wanted = children
        .iter()
        .map(|child| (platform(child), &child.digest));
    distinct(&wanted.collect::<Vec<_>>())
}

/// Returns the name of each attestation's folder: its hex digits.
pub(super) fn of_attestations(children: &[&Descriptor]) -> Vec<Option<String>> {
    let wanted = children.iter().map(|child| {
        let hex = child.digest.hex();
        (escape_file_name(hex.as_bytes()), &child.digest)
    });
    distinct(&wanted.collect::<Vec<_>>())
}

fn platform(child: &Descriptor) -> String {
    let Some(platform) = &child.platform else {
        return of_digest(&child.digest);
    };
    let parts = [
        Some(platform.os.as_str()),
        Some(platform.architecture.as_str()),
        platform.variant.as_deref(),
    ];
    let parts: Vec<&str> = parts
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() {
        return of_digest(&child.digest);
    }
    escape_file_name(parts.join("-").as_bytes())
}

fn of_digest(digest: &Digest) -> String {
    digest
        .folder_name()
        .unwrap_or_else(|| escape_file_name(digest.to_string().replace(':', "-").as_bytes()))
}

/// Makes names distinct: one on several digests gets `~HEX12` of each; the same name and digest again gets none.
///
/// Twelve digits can be forged; a name that is taken all the same gets all digits.
fn distinct(wanted: &[(String, &Digest)]) -> Vec<Option<String>> {
    let mut first: HashMap<&str, &Digest> = HashMap::new();
    let mut shared: HashSet<&str> = HashSet::new();
    for (name, digest) in wanted {
        if *first.entry(name).or_insert(digest) != *digest {
            shared.insert(name);
        }
    }
    let mut seen = HashSet::new();
    let mut taken = HashSet::new();
    let mut distinct = Vec::with_capacity(wanted.len());
    for (name, digest) in wanted {
        if !seen.insert((name, digest)) {
            distinct.push(None);
            continue;
        }
        let mut given = match shared.contains(name.as_str()) {
            true => with_hex(name, digest, SHORT_HEX),
            false => name.clone(),
        };
        if taken.contains(&given) {
            given = with_hex(name, digest, FULL_HEX);
        }
        distinct.push(taken.insert(given.clone()).then_some(given));
    }
    distinct
}

/// Returns the name with `~` and the first hex digits of a digest, cut between escapes so that it stays a file name.
fn with_hex(name: &str, digest: &Digest, digits: usize) -> String {
    let hex: String = digest.hex().chars().take(digits).collect();
    let room = NAME_BYTES_MAX.saturating_sub(hex.len().saturating_add(1));
    // Escaped names are ASCII.
    let mut cut = name.get(..room).unwrap_or(name);
    if cut.len() < name.len() {
        let tail = cut.len().saturating_sub(2);
        if let Some(mark) = cut.get(tail..).and_then(|tail| tail.find('%')) {
            cut = cut.get(..tail.saturating_add(mark)).unwrap_or(cut);
        }
    }
    format!("{cut}~{hex}")
}
