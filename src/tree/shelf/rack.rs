//! A folder whose entries are made when they are asked for: what they are follows from a manifest, an image or a report.

use std::fmt::Write as _;
use std::sync::Arc;

use super::super::build::Owner;
use super::super::later::{self, Later};
use super::super::node::{Attributes, Control, Entry, Node, View};
use super::super::signatures;
use super::super::stored::blob_path;
use super::super::times;
use crate::layout::Timestamp;
use crate::oci::{Descriptor, Digest, Document, ImageManifest};
use crate::report::Report;

/// Is a folder and what it holds; each thing in it has a position of its own.
#[derive(Debug, Clone)]
pub(in crate::tree) struct Rack {
    /// The folder.
    pub(in crate::tree) folder: u64,
    /// How many folders it is below the root.
    pub(in crate::tree) depth: u32,
    /// What it holds.
    pub(in crate::tree) holds: Holds,
}

/// Is what a rack holds.
#[derive(Debug, Clone)]
pub(in crate::tree) enum Holds {
    /// Links to the layers of a manifest, by their positions in it.
    Layers(Arc<Document>),
    /// What is shown of an image, by the positions in [`ImageFile::ALL`].
    Image(ShownImage),
    /// The files of an image's signatures: three positions for each signature.
    Signatures(Arc<Report>, later::Place),
}

/// Is an image, or a manifest within one.
#[derive(Debug, Clone)]
pub(in crate::tree) struct ShownImage {
    /// Its descriptor.
    pub(in crate::tree) descriptor: Descriptor,
    /// What it says, where it could be read.
    pub(in crate::tree) document: Option<Arc<Document>>,
    /// Its position in the report, where it is an image of its own.
    pub(in crate::tree) image: Option<u32>,
}

/// Lists what the folder of an image holds beside folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tree) enum ImageFile {
    Sign,
    Status,
    StatusJson,
    Signatures,
    Index,
    Manifest,
    Config,
    Blob,
}

/// Is what all racks of a shelf have in common.
#[derive(Debug, Clone, Copy)]
pub(in crate::tree) struct Common {
    /// The mounting user.
    pub(in crate::tree) owner: Owner,
    /// The mode of control files.
    pub(in crate::tree) control_mode: u16,
    /// The latest change of what the entries are made of.
    pub(in crate::tree) changed: Timestamp,
}

impl ImageFile {
    /// Lists all of them.
    pub(in crate::tree) const ALL: [Self; 8] = [
        Self::Sign,
        Self::Status,
        Self::StatusJson,
        Self::Signatures,
        Self::Index,
        Self::Manifest,
        Self::Config,
        Self::Blob,
    ];

    /// Returns the name.
    pub(in crate::tree) fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Status => "verify-status",
            Self::StatusJson => "verify-status.json",
            Self::Signatures => "signatures",
            Self::Index => "index.json",
            Self::Manifest => "manifest.json",
            Self::Config => "config.json",
            Self::Blob => "blob",
        }
    }

    /// Returns the position.
    pub(in crate::tree) fn position(self) -> u32 {
        let position = (0..).zip(Self::ALL).find(|(_, file)| *file == self);
        position.map_or(u32::MAX, |(position, _)| position)
    }

    fn at(position: u32) -> Option<Self> {
        let position = usize::try_from(position).ok()?;
        Self::ALL.get(position).copied()
    }
}

impl ShownImage {
    /// Returns where a link leads, as a path below the root; nowhere for a digest that is no path.
    pub(in crate::tree) fn target(&self, file: ImageFile) -> Option<String> {
        match file {
            ImageFile::Sign | ImageFile::Status | ImageFile::StatusJson => None,
            ImageFile::Signatures => {
                let name = self.descriptor.digest.folder_name()?;
                Some(format!("signatures/{name}"))
            }
            ImageFile::Index | ImageFile::Manifest | ImageFile::Blob => {
                blob_path(&self.descriptor.digest)
            }
            ImageFile::Config => {
                let manifest = manifest(self.document.as_deref()?)?;
                blob_path(&manifest.config.as_ref()?.digest)
            }
        }
    }

    fn node(&self, file: ImageFile, depth: u32) -> Option<Node> {
        Some(match file {
            ImageFile::Sign => {
                let control = Control::SignImage(self.descriptor.digest.clone());
                // Its bytes, size and times are those of the reason of the last refusal, whatever image it is of.
                Node::Control(control, Arc::default())
            }
            ImageFile::Status => Node::Later(View::Status, Later::StatusText(self.image?)),
            ImageFile::StatusJson => Node::Later(View::Status, Later::StatusJson(self.image?)),
            link => Node::Link(up(depth, &self.target(link)?).into()),
        })
    }
}

impl Rack {
    /// Returns the name at a position.
    pub(super) fn name(&self, position: u32) -> Option<String> {
        match &self.holds {
            Holds::Layers(document) => {
                let mut name = String::new();
                push_layer_name(document, position, &mut name)?;
                Some(name)
            }
            Holds::Image(_) => ImageFile::at(position).map(|file| file.name().to_owned()),
            Holds::Signatures(report, place) => signatures::name(place.image(report)?, position),
        }
    }

    /// Returns the position that a name would have.
    pub(super) fn position(&self, name: &str) -> Option<u32> {
        let position = match &self.holds {
            Holds::Layers(_) => name.split_once('-')?.0.parse().ok()?,
            Holds::Image(_) => {
                let mut files = (0..).zip(ImageFile::ALL);
                files.find(|(_, file)| file.name() == name)?.0
            }
            Holds::Signatures(report, place) => signatures::position(place.image(report)?, name)?,
        };
        (self.name(position)? == name).then_some(position)
    }

    /// Returns the entry at a position.
    pub(super) fn entry(&self, number: u64, position: u32, common: &Common) -> Option<Entry> {
        let node = match &self.holds {
            Holds::Layers(document) => {
                let below_root = blob_path(&layer(document, position)?.digest)?;
                Node::Link(up(self.depth, &below_root).into())
            }
            Holds::Image(image) => image.node(ImageFile::at(position)?, self.depth)?,
            Holds::Signatures(report, place) => signatures::node(report, *place, position)?,
        };
        Some(Entry {
            inode: number,
            parent: self.folder,
            attributes: common.attributes(&node, self.digest(position)),
            node,
        })
    }

    /// Returns the digest of the bytes at a position, where it is known: an envelope may have 32 MiB.
    fn digest(&self, position: u32) -> Option<&Digest> {
        match &self.holds {
            Holds::Signatures(report, place) => signatures::digest(place.image(report)?, position),
            Holds::Layers(_) | Holds::Image(_) => None,
        }
    }
}

impl Common {
    /// Returns what stat says; of what is rendered later that is not known yet.
    fn attributes(&self, node: &Node, digest: Option<&Digest>) -> Attributes {
        let (mode, bytes): (_, &[u8]) = match node {
            Node::Link(target) => (0o777, target.as_os_str().as_encoded_bytes()),
            Node::Control(_, bytes) => (self.control_mode, bytes),
            Node::Rendered(_, bytes) => (0o444, bytes),
            _ => (0o444, &[]),
        };
        let time = match (node, digest) {
            (Node::Later(..), _) => self.changed,
            (_, Some(digest)) => times::of_digest(self.changed, digest),
            (_, None) => times::of_bytes(self.changed, bytes),
        };
        Attributes {
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            mode,
            uid: self.owner.uid,
            gid: self.owner.gid,
            links: 1,
            modified: time,
            changed: time,
        }
    }
}

/// Returns the target of a link in a folder so deep below the root.
fn up(depth: u32, below_root: &str) -> String {
    "../".repeat(usize::try_from(depth).unwrap_or_default()) + below_root
}

fn manifest(document: &Document) -> Option<&ImageManifest> {
    match document {
        Document::Manifest(manifest) => Some(manifest),
        Document::Index(_) => None,
    }
}

fn layer(document: &Document, position: u32) -> Option<&Descriptor> {
    let position = usize::try_from(position).ok()?;
    manifest(document)?.layers.get(position)
}

/// Appends the name of the link to a layer: its position, and its hex digits. Nothing where there is no such layer.
pub(in crate::tree) fn push_layer_name(
    document: &Document,
    position: u32,
    text: &mut String,
) -> Option<()> {
    let digest = &layer(document, position)?.digest;
    let last = manifest(document)?.layers.len().saturating_sub(1);
    let digits = last.checked_ilog10().unwrap_or_default().saturating_add(1);
    let width = usize::try_from(digits).unwrap_or_default().max(2);
    // Writing to a String cannot fail.
    let _ = write!(text, "{position:0width$}-");
    let _ = digest.write_hex_to(text);
    Some(())
}

/// Returns how many bytes the target of the link to a layer has; nothing for a digest that is no path.
pub(in crate::tree) fn layer_target_bytes(
    document: &Document,
    position: u32,
    depth: u32,
) -> Option<u64> {
    let algorithm = layer(document, position)?.digest.algorithm()?;
    let hex = algorithm.digest_bytes().saturating_mul(2);
    let parts = ["blobs/".len(), algorithm.name().len(), "/".len(), hex];
    let bytes = parts.into_iter().fold(0, usize::saturating_add);
    link_bytes(bytes, depth)
}

/// Returns how many bytes the target of a link has that leads to a path of so many bytes below the root.
pub(in crate::tree) fn link_bytes(below_root: usize, depth: u32) -> Option<u64> {
    let below_root = u64::try_from(below_root).ok()?;
    below_root.checked_add(u64::from(depth).checked_mul(3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rack(layers: usize) -> (Rack, Arc<Document>) {
        let digest = |layer: usize| match layer % 3 {
            0 => Digest::of(&[1]).to_string(),
            1 => format!("sha512:{}", "ab".repeat(64)),
            _ => "blake3:00ff".to_owned(),
        };
        let layers: Vec<_> = (0..layers)
            .map(|layer| serde_json::json!({"digest": digest(layer), "size": 1}))
            .collect();
        let text = serde_json::json!({"schemaVersion": 2, "layers": layers}).to_string();
        let document = Document::parse(crate::oci::media_type::IMAGE_MANIFEST, text.as_bytes());
        let document = Arc::new(document.unwrap());
        let rack = Rack {
            folder: 7,
            depth: 3,
            holds: Holds::Layers(Arc::clone(&document)),
        };
        (rack, document)
    }

    #[test]
    fn links_are_named_by_position_with_as_many_digits_as_the_last_one_has() {
        for (layers, width) in [(1, 2), (100, 2), (101, 3)] {
            let (rack, _) = rack(usize::try_from(layers).unwrap());
            let name = rack.name(0).unwrap();
            assert_eq!(name, format!("{:0width$}-{}", 0, Digest::of(&[1]).hex()));
            assert_eq!(rack.position(&name), Some(0));
            assert_eq!(rack.position(&format!("0{name}")), None);
            assert_eq!(rack.name(layers), None);
        }
        assert_eq!(rack(3).0.name(2).unwrap(), "02-00ff");
    }

    #[test]
    fn a_target_has_as_many_bytes_as_are_counted() {
        let common = Common {
            owner: Owner { uid: 0, gid: 0 },
            control_mode: 0o644,
            changed: Timestamp::default(),
        };
        let (rack, document) = rack(3);
        for position in 0..4 {
            let entry = rack.entry(9, position, &common);
            let bytes = entry.map(|entry| entry.attributes.size);
            assert_eq!(layer_target_bytes(&document, position, rack.depth), bytes);
        }
        assert!(rack.entry(9, 0, &common).is_some() && rack.entry(9, 2, &common).is_none());
    }

    #[test]
    fn every_file_of_an_image_is_at_its_position() {
        for file in ImageFile::ALL {
            assert_eq!(ImageFile::at(file.position()), Some(file));
        }
        assert_eq!(ImageFile::at(8), None);
    }
}
