//! Manifests and indexes: lenient where real writers are, strict where two readers could differ.

use serde_json::{Map, Value};

use super::limits::DESCRIPTORS_MAX;
use super::media_type::{
    ARTIFACT_MANIFEST, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, IMAGE_INDEX, IMAGE_MANIFEST,
    is_index, is_manifest,
};
use super::{Annotations, Descriptor, DigestError, JsonError, json, members};

/// The members of manifests and indexes together: what one kind knows may not appear disguised in the other.
const MEMBERS: [&str; 9] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "blobs",
    "manifests",
    "subject",
    "annotations",
];
/// Characters of a member's name or text that an error repeats.
const SHOWN_CHARACTERS_MAX: usize = 128;

/// Holds what an image (or artifact) manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    /// `mediaType` in the body, where given.
    pub media_type: Option<String>,
    /// `artifactType`, where given.
    pub artifact_type: Option<String>,
    /// `config`; absent in artifact manifests.
    pub config: Option<Descriptor>,
    /// `layers` (or `blobs` of an artifact manifest), in order.
    pub layers: Vec<Descriptor>,
    /// `subject`, where given.
    pub subject: Option<Descriptor>,
    /// `annotations`, sorted by key.
    pub annotations: Annotations,
}

/// Holds what an image index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageIndex {
    /// `mediaType` in the body, where given.
    pub media_type: Option<String>,
    /// `artifactType`, where given.
    pub artifact_type: Option<String>,
    /// `manifests`, in order.
    pub manifests: Vec<Descriptor>,
    /// `subject`, where given.
    pub subject: Option<Descriptor>,
    /// `annotations`, sorted by key.
    pub annotations: Annotations,
}

/// Is one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A manifest.
    Manifest(ImageManifest),
    /// An index.
    Index(ImageIndex),
}

/// Says why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The bytes are no JSON object to any reader.
    #[error("it is no JSON document: {found}")]
    Foreign {
        /// What they are.
        found: &'static str,
    },
    /// The bytes are not acceptable JSON.
    #[error("not acceptable JSON")]
    Json(#[source] JsonError),
    /// A digest is malformed.
    #[error("member {member} holds a malformed digest")]
    Digest {
        /// The path of the member, such as `layers[2].digest`.
        member: String,
        /// Why.
        source: DigestError,
    },
    /// Anything else that is wrong with one member.
    #[error("member {member}: {problem}")]
    Member {
        /// The path of the member, such as `manifests[3].size`.
        member: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The document has both `layers` and `manifests`, or its body and descriptor disagree about what it is.
    #[error("the document can be read as a manifest and as an index")]
    BothKinds,
}

impl DocumentError {
    pub(super) fn member(member: &str, problem: impl Into<String>) -> Self {
        Self::Member {
            member: shorten(member),
            problem: problem.into(),
        }
    }

    /// Puts `parent` before the path of the member.
    pub(super) fn under(mut self, parent: &str) -> Self {
        if let Self::Digest { member, .. } | Self::Member { member, .. } = &mut self {
            *member = match member.is_empty() {
                true => parent.to_owned(),
                false => format!("{parent}.{member}"),
            };
        }
        self
    }
}

impl ImageManifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// As [`Document::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        match Document::read(bytes, IMAGE_MANIFEST)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(DocumentError::BothKinds),
        }
    }

    /// Returns the type that referrers are listed by: `artifactType`, else the config's media type.
    #[must_use]
    pub fn effective_artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref().or(self.config_type())
    }

    /// Returns the media type of the config, where there is one.
    #[must_use]
    pub fn config_type(&self) -> Option<&str> {
        self.config
            .as_ref()
            .map(|config| &*config.media_type)
            .filter(|media_type| !media_type.is_empty())
    }
}

impl ImageIndex {
    /// Parses an index (index.json included).
    ///
    /// # Errors
    /// As [`Document::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        match Document::read(bytes, IMAGE_INDEX)? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err(DocumentError::BothKinds),
        }
    }
}

impl Document {
    /// Parses a document whose descriptor gives `media_type`; where that is empty, the body's own decides.
    ///
    /// # Errors
    /// Refuses malformed JSON, duplicate members, members equal but for case to known ones, malformed descriptors,
    /// a document that is both a manifest and an index, a body type that contradicts the descriptor's.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let document = Self::read(bytes, media_type)?;
        document.check_type(media_type)?;
        Ok(document)
    }

    /// Checks that a descriptor with `media_type` may point at this document; an empty one may.
    ///
    /// # Errors
    /// Refuses a type of the other kind, and one that the document itself contradicts (CVE-2021-41190).
    pub fn check_type(&self, media_type: &str) -> Result<(), DocumentError> {
        let other_kind = match self {
            Self::Manifest(_) => is_index(media_type),
            Self::Index(_) => is_manifest(media_type),
        };
        if other_kind {
            return Err(DocumentError::BothKinds);
        }
        match self.media_type() {
            Some(own) if !media_type.is_empty() && own != media_type => Err(DocumentError::member(
                "mediaType",
                format!(
                    "is {:?} where the descriptor says {:?}",
                    shorten(own),
                    shorten(media_type)
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Returns `mediaType` in the body, where given.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        match self {
            Self::Manifest(manifest) => manifest.media_type.as_deref(),
            Self::Index(index) => index.media_type.as_deref(),
        }
    }

    /// Returns the type that referrers are listed by.
    #[must_use]
    pub fn effective_artifact_type(&self) -> Option<&str> {
        match self {
            Self::Manifest(manifest) => manifest.effective_artifact_type(),
            Self::Index(index) => index.artifact_type.as_deref(),
        }
    }

    /// Returns the subject, where given.
    #[must_use]
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Manifest(manifest) => manifest.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
    }

    /// Parses a document that is what its own type says, else what its members say, else what `fallback_type` says.
    pub(super) fn read(bytes: &[u8], fallback_type: &str) -> Result<Self, DocumentError> {
        let value = json::parse(bytes).map_err(|error| match foreign(bytes) {
            Some(found) => DocumentError::Foreign { found },
            None => DocumentError::Json(error),
        })?;
        let object = members::object(&value)?;
        members::refuse_case_variants(object, &MEMBERS)?;
        if members::present(object, "schemaVersion").is_some_and(|value| !value.is_i64()) {
            return Err(DocumentError::member("schemaVersion", "is not an integer"));
        }
        let own_type = members::text(object, "mediaType")?;
        let effective_type = own_type.as_deref().unwrap_or(fallback_type).to_owned();
        let parts = Parts {
            object,
            effective_type: &effective_type,
            media_type: own_type,
        };
        match parts.is_index()? {
            true => parts.index().map(Self::Index),
            false => parts.manifest().map(Self::Manifest),
        }
    }
}

/// Says what bytes are that no reader takes for a JSON object, whatever it lets pass: neither comments, byte order marks nor wide
/// characters before it.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    match bytes.trim_ascii_start() {
        [] => Some("it is empty"),
        [0x1f, 0x8b, ..] => Some("it is compressed by gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is compressed by zstd"),
        [b'<', ..] => Some("it begins like a page of HTML or XML"),
        _ => None,
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS_MAX).collect()
}

/// Holds a document on its way to becoming a manifest or an index.
struct Parts<'a> {
    object: &'a Map<String, Value>,
    /// Its own type, else its descriptor's, else empty.
    effective_type: &'a str,
    media_type: Option<String>,
}

impl Parts<'_> {
    fn has(&self, name: &str) -> bool {
        members::present(self.object, name).is_some()
    }

    /// Decides what the document is; its own type and its members must not tell different stories.
    fn is_index(&self) -> Result<bool, DocumentError> {
        let own_type = self.media_type.as_deref().unwrap_or_default();
        let manifest_members = self.has("layers") || self.has("config") || self.has("blobs");
        let says_manifest = manifest_members || is_manifest(own_type);
        let says_index = self.has("manifests") || is_index(own_type);
        match (says_manifest, says_index) {
            (true, true) => Err(DocumentError::BothKinds),
            (false, false) if is_index(self.effective_type) => Ok(true),
            (false, false) if is_manifest(self.effective_type) => Ok(false),
            (false, false) => Err(DocumentError::member(
                "mediaType",
                "neither the document nor its descriptor says whether it is a manifest or an index",
            )),
            (_, says_index) => Ok(says_index),
        }
    }

    fn index(self) -> Result<ImageIndex, DocumentError> {
        Ok(ImageIndex {
            artifact_type: members::text(self.object, "artifactType")?,
            manifests: self.descriptors("manifests")?,
            subject: self.subject()?,
            annotations: members::annotations(self.object)?,
            media_type: self.media_type,
        })
    }

    fn manifest(self) -> Result<ImageManifest, DocumentError> {
        let image_members = self.has("layers") || self.has("config");
        let is_artifact = match self.effective_type {
            ARTIFACT_MANIFEST => true,
            "" => self.has("blobs"),
            _ => false,
        };
        if is_artifact && image_members || !is_artifact && self.has("blobs") {
            return Err(DocumentError::member(
                "blobs",
                "is for artifact manifests, config and layers are for image manifests",
            ));
        }
        Ok(ImageManifest {
            artifact_type: members::text(self.object, "artifactType")?,
            config: self.descriptor("config")?,
            layers: self.descriptors(if is_artifact { "blobs" } else { "layers" })?,
            subject: self.subject()?,
            annotations: members::annotations(self.object)?,
            media_type: self.media_type,
        })
    }

    /// Returns the subject; Docker's types have none, whatever a member of that name says.
    fn subject(&self) -> Result<Option<Descriptor>, DocumentError> {
        let subject = self.descriptor("subject")?;
        let is_docker = matches!(self.effective_type, DOCKER_MANIFEST | DOCKER_MANIFEST_LIST);
        Ok(subject.filter(|_| !is_docker))
    }

    fn descriptor(&self, name: &str) -> Result<Option<Descriptor>, DocumentError> {
        members::present(self.object, name)
            .map(Descriptor::from_json)
            .transpose()
            .map_err(|error| error.under(name))
    }

    fn descriptors(&self, name: &str) -> Result<Vec<Descriptor>, DocumentError> {
        let elements = members::elements(self.object, name)?;
        if elements.len() > DESCRIPTORS_MAX {
            return Err(DocumentError::member(
                name,
                format!("holds more than {DESCRIPTORS_MAX} descriptors"),
            ));
        }
        let mut descriptors = Vec::with_capacity(elements.len());
        for (position, element) in elements.iter().enumerate() {
            let descriptor = Descriptor::from_json(element)
                .map_err(|error| error.under(&format!("{name}[{position}]")))?;
            descriptors.push(descriptor);
        }
        Ok(descriptors)
    }
}

#[cfg(test)]
mod tests;
