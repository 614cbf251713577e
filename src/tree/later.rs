//! Files that are rendered when somebody asks for them: a mount of ten thousand images has a hundred thousand of these.
//!
//! Their sizes are as true as any: a stat renders, and what it found is kept (not the bytes, which a read renders again).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::build::Material;
use super::node::{Attributes, Entry, Node};
use super::times;
use crate::layout::Timestamp;
use crate::notary::Certificate;
use crate::oci::Digest;
use crate::report::{self, ImageReport, Report, SignatureReport};

/// Says what is to be rendered, by positions in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    /// `verify-status.json` of the layout.
    ReportJson,
    /// `verify-status` of an image.
    StatusText(u32),
    /// `verify-status.json` of an image.
    StatusJson(u32),
    /// Everything decoded of a signature.
    Signature(Place),
    /// The certificates of a signature.
    Chain(Place),
}

/// Names a signature of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whether it is of a manifest within an image.
    pub is_child: bool,
    /// The image.
    pub image: u32,
    /// The signature.
    pub signature: u32,
}

/// Is what was found when a file was rendered.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// What stat says.
    pub attributes: Attributes,
    /// The digest of the bytes.
    pub digest: Digest,
}

/// Renders files of one report.
#[derive(Debug, Clone, Default)]
pub(super) struct Press {
    pub(super) report: Option<Arc<Report>>,
    pub(super) newest: Timestamp,
    /// What each `sign` reads as.
    pub(super) sign: Arc<[u8]>,
    found: Arc<Mutex<HashMap<u64, Rendered>>>,
}

impl Press {
    /// Returns a press that nothing was rendered by yet.
    pub(super) fn new(material: &Material<'_>, newest: Timestamp) -> Self {
        Self {
            report: Some(Arc::clone(material.report)),
            newest,
            sign: material.sign.clone().unwrap_or_default(),
            found: Arc::default(),
        }
    }

    /// Returns the bytes of a file.
    pub(super) fn bytes(&self, later: Later) -> Arc<[u8]> {
        let text = self.report.as_ref().and_then(|report| later.text(report));
        // Positions come from the same report, so there always is a text.
        Arc::from(text.unwrap_or_default().into_bytes())
    }

    /// Returns what stat says of a file, and the digest of its bytes.
    pub(super) fn rendered(&self, entry: &Entry, later: Later) -> Rendered {
        if let Some(found) = self.found().get(&entry.inode) {
            return found.clone();
        }
        let bytes = self.bytes(later);
        let rendered = Rendered {
            attributes: self.stamped(entry, &bytes),
            digest: Digest::of(&bytes),
        };
        self.found().insert(entry.inode, rendered.clone());
        rendered
    }

    /// Returns the attributes of a file with these bytes.
    pub(super) fn stamped(&self, entry: &Entry, bytes: &[u8]) -> Attributes {
        let time = times::of_bytes(self.newest, bytes);
        Attributes {
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            modified: time,
            changed: time,
            ..entry.attributes
        }
    }

    fn found(&self) -> MutexGuard<'_, HashMap<u64, Rendered>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Later {
    fn text(self, report: &Report) -> Option<String> {
        let image = |position: u32| report.images.get(usize::try_from(position).ok()?);
        match self {
            Self::ReportJson => Some(report.json()),
            Self::StatusText(position) => Some(report.only(image(position)?).text()),
            Self::StatusJson(position) => Some(report.only(image(position)?).json()),
            Self::Signature(place) => {
                let (image, signature) = place.find(report)?;
                Some(report::signature_json(image, signature))
            }
            Self::Chain(place) => {
                let (_, signature) = place.find(report)?;
                let certificates = signature.intact.as_ref()?.chain.certificates();
                Some(certificates.iter().map(Certificate::pem).collect())
            }
        }
    }
}

impl Place {
    /// Returns the image.
    pub(super) fn image(self, report: &Report) -> Option<&ImageReport> {
        let images = match self.is_child {
            true => &report.children,
            false => &report.images,
        };
        images.get(usize::try_from(self.image).ok()?)
    }

    fn find(self, report: &Report) -> Option<(&ImageReport, &SignatureReport)> {
        let image = self.image(report)?;
        let signature = image
            .signatures
            .get(usize::try_from(self.signature).ok()?)?;
        Some((image, signature))
    }
}

/// Returns what is to be rendered of an entry, where anything is.
pub(super) fn of(entry: &Entry) -> Option<Later> {
    match entry.node {
        Node::Later(_, later) => Some(later),
        _ => None,
    }
}
