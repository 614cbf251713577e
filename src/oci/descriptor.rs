//! Descriptors: what points at a blob. <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use serde_json::{Map, Value};

use super::{Annotations, Digest, DocumentError, media_type, members};

/// Points at content by type, digest and size.
///
/// A clone shares what it describes: the same layer is met in its manifest, in closures and in reports. Changing one copies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor(Arc<Described>);

/// Is what a descriptor says.
#[derive(Debug, Clone)]
pub struct Described {
    /// The media type; empty where the document gives none.
    pub media_type: Cow<'static, str>,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    more: Option<Box<More>>,
}

/// Is what few descriptors say beyond that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct More {
    /// The artifact type, where given.
    pub artifact_type: Option<String>,
    /// The annotations, sorted by key.
    pub annotations: Annotations,
    /// The platform, where given: few give one, and a layout has an entry for every signature.
    pub platform: Option<Box<Platform>>,
    /// The embedded content (decoded), where given.
    pub data: Option<Vec<u8>>,
    /// Whether `urls` names other places to fetch the content from.
    pub has_urls: bool,
}

/// What a descriptor says that says no more.
static NO_MORE: More = More {
    artifact_type: None,
    annotations: Annotations::NONE,
    platform: None,
    data: None,
    has_urls: false,
};

/// Names the platform of an image within an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The architecture, such as `amd64`.
    pub architecture: String,
    /// The variant, such as `v8`.
    pub variant: Option<String>,
}

/// The annotation that names an image in index.json.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation that containerd and buildx name an image with.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The annotation that containerd names the subject of a referrer with.
pub const CONTAINERD_SUBJECT: &str = "io.containerd.manifest.subject";

/// The annotation by which buildx marks attestations.
const DOCKER_REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// The members of a descriptor.
const MEMBERS: [&str; 8] = [
    "mediaType",
    "digest",
    "size",
    "urls",
    "annotations",
    "data",
    "platform",
    "artifactType",
];
/// The members of a platform.
const PLATFORM_MEMBERS: [&str; 5] = ["architecture", "os", "os.version", "os.features", "variant"];

impl Descriptor {
    /// Returns a descriptor with nothing but type, digest and size.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self::from(Described {
            media_type: media_type::shared(media_type),
            digest,
            size,
            more: None,
        })
    }

    /// Returns whether both name the same content: media type, digest and size.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.media_type == other.media_type
            && self.digest == other.digest
            && self.size == other.size
    }

    /// Returns whether a child of an index is an attestation and not an image for a platform.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        let unknown = self
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown");
        unknown || self.annotations.contains_key(DOCKER_REFERENCE_TYPE)
    }

    /// Returns the descriptor that a JSON object describes.
    ///
    /// # Errors
    /// Refuses missing or malformed `digest` or `size`, a member equal but for case to a known one, wrong types,
    /// `data` that is not what digest and size say.
    pub fn from_json(value: &Value) -> Result<Self, DocumentError> {
        let object = members::object(value)?;
        members::refuse_case_variants(object, &MEMBERS)?;
        let digest = read_digest(object)?;
        let size = read_size(object)?;
        let data = read_data(object, &digest, size)?;
        let urls = members::texts(object, "urls")?;
        let more = More {
            artifact_type: members::text(object, "artifactType")?,
            annotations: members::annotations(object)?,
            platform: members::present(object, "platform")
                .map(Platform::from_json)
                .transpose()
                .map(|platform| platform.map(Box::new))
                .map_err(|error| error.under("platform"))?,
            data,
            has_urls: !urls.is_empty(),
        };
        let media_type = members::text_ref(object, "mediaType")?;
        Ok(Self::from(Described {
            media_type: media_type::shared(media_type.unwrap_or_default()),
            digest,
            size,
            more: (more != NO_MORE).then(|| Box::new(more)),
        }))
    }

    /// Returns `mediaType`, `digest`, `size` (and nothing else) as a JSON object in that order.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(Map::from_iter([
            ("mediaType".to_owned(), Value::from(&*self.media_type)),
            ("digest".to_owned(), Value::from(self.digest.to_string())),
            ("size".to_owned(), Value::from(self.size)),
        ]))
    }

    /// Returns the annotation with this key; an empty one counts as absent.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations
            .get(key)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }
}

impl From<Described> for Descriptor {
    fn from(described: Described) -> Self {
        Self(Arc::new(described))
    }
}

impl Deref for Descriptor {
    type Target = Described;

    fn deref(&self) -> &Described {
        &self.0
    }
}

impl DerefMut for Descriptor {
    fn deref_mut(&mut self) -> &mut Described {
        Arc::make_mut(&mut self.0)
    }
}

impl PartialEq for Described {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.size == other.size
            && self.media_type == other.media_type
            && **self == **other
    }
}

impl Eq for Described {}

impl Deref for Described {
    type Target = More;

    fn deref(&self) -> &More {
        self.more.as_deref().unwrap_or(&NO_MORE)
    }
}

impl DerefMut for Described {
    fn deref_mut(&mut self) -> &mut More {
        self.more.get_or_insert_with(|| Box::new(NO_MORE.clone()))
    }
}

impl Platform {
    fn from_json(value: &Value) -> Result<Self, DocumentError> {
        let object = members::object(value)?;
        members::refuse_case_variants(object, &PLATFORM_MEMBERS)?;
        members::text(object, "os.version")?;
        members::texts(object, "os.features")?;
        Ok(Self {
            os: members::text(object, "os")?.unwrap_or_default(),
            architecture: members::text(object, "architecture")?.unwrap_or_default(),
            variant: members::text(object, "variant")?,
        })
    }
}

fn read_digest(object: &Map<String, Value>) -> Result<Digest, DocumentError> {
    let Some(text) = members::text_ref(object, "digest")? else {
        return Err(DocumentError::member("digest", "is missing"));
    };
    text.parse().map_err(|source| DocumentError::Digest {
        member: "digest".to_owned(),
        source,
    })
}

/// Accepts an integer only: readers disagree about `1.0`, `1e2`, `-0` and `"5"`.
fn read_size(object: &Map<String, Value>) -> Result<u64, DocumentError> {
    let Some(value) = members::present(object, "size") else {
        return Err(DocumentError::member("size", "is missing"));
    };
    value
        .as_u64()
        .filter(|size| i64::try_from(*size).is_ok())
        .ok_or_else(|| DocumentError::member("size", "is not an integer from 0 to 2^63-1"))
}

/// Decodes embedded content and holds it against digest and size.
/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md#embedded-content>
fn read_data(
    object: &Map<String, Value>,
    digest: &Digest,
    size: u64,
) -> Result<Option<Vec<u8>>, DocumentError> {
    let text = match members::present(object, "data") {
        None => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(DocumentError::member("data", "is not a string")),
    };
    let content = Base64::decode_vec(text)
        .map_err(|_| DocumentError::member("data", "is not canonical base64"))?;
    if u64::try_from(content.len()) != Ok(size) {
        return Err(DocumentError::member("data", "is not of the size given"));
    }
    if digest.algorithm().is_some() && !digest.matches(&content) {
        return Err(DocumentError::member(
            "data",
            "does not have the digest given",
        ));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests;
