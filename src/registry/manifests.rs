//! Manifests: looked for, read and put exactly as they are. What comes back is hashed here; headers are hints.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests>

use super::answer::ERROR_BYTES_MAX;
use super::call::{Payload, Place};
use super::error::RegistryError;
use super::session::Registry;
use super::transfer::check_digest;
use crate::http::Method;
use crate::oci::limits::MANIFEST_BYTES_MAX;
use crate::oci::media_type;
use crate::oci::{Descriptor, Digest};
use crate::text::escape_line;

/// What is accepted as a manifest.
fn accepted() -> String {
    [
        media_type::IMAGE_INDEX,
        media_type::IMAGE_MANIFEST,
        media_type::DOCKER_MANIFEST_LIST,
        media_type::DOCKER_MANIFEST,
        media_type::ARTIFACT_MANIFEST,
        "*/*",
    ]
    .join(", ")
}

/// Is a manifest as the registry gave it.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// The media type it was given with.
    pub media_type: String,
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// Their digest, in the algorithm that was asked for.
    pub digest: Digest,
    /// The entity tag, where given.
    pub etag: Option<String>,
}

/// Is what the registry said to a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The tags that it says it set (`OCI-Tag`); registries that do not know tags as parameters say none.
    pub tags: Vec<String>,
}

/// Is a manifest to put.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a> {
    /// A tag or a digest.
    pub name: &'a str,
    /// Its media type.
    pub media_type: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its digest.
    pub digest: &'a Digest,
    /// The entity tag that the present one must have, where known.
    pub replaces: Option<&'a str>,
    /// Tags to be set along with it, where it is put by its digest.
    pub tags: &'a [&'a str],
}

impl Registry {
    /// Returns the digest that a tag or digest stands for; `None` where there is none.
    ///
    /// # Errors
    /// Says why the registry did not answer.
    pub fn resolve(&self, name: &str) -> Result<Option<Digest>, RegistryError> {
        let doing = format!("looking for {}", self.named(name));
        let mut call = self.call(
            Method::Head,
            Place::Path(format!("manifests/{name}")),
            doing,
        );
        call.headers = vec![("accept", accepted())];
        let answer = self.send(&call, ERROR_BYTES_MAX)?;
        match answer.status {
            200 => match answer.digest() {
                Some(digest) => {
                    if let Ok(asked) = name.parse::<Digest>() {
                        check_digest(&asked, &answer, &call.doing)?;
                    }
                    Ok(Some(digest))
                }
                None => Ok(self.manifest(name)?.map(|stored| stored.digest)),
            },
            404 => Ok(None),
            _ => Err(match name.parse() {
                Ok(digest) => self.refused_for(&digest, &call.doing, &answer),
                Err(_) => self.refused(&call.doing, &answer),
            }),
        }
    }

    /// Returns a manifest; `None` where there is none.
    ///
    /// # Errors
    /// Says why it cannot be had, or that its bytes are not those that were asked for.
    pub fn manifest(&self, name: &str) -> Result<Option<StoredManifest>, RegistryError> {
        let doing = format!("reading {}", self.named(name));
        let mut call = self.call(Method::Get, Place::Path(format!("manifests/{name}")), doing);
        call.headers = vec![("accept", accepted())];
        let answer = self.send(&call, MANIFEST_BYTES_MAX)?;
        match answer.status {
            200 => {}
            404 => return Ok(None),
            _ => return Err(self.refused(&call.doing, &answer)),
        }
        // It was told not to (`accept-encoding`), and what it encoded is not what it stores.
        if let Some(encoding) = answer
            .header("content-encoding")
            .filter(|encoding| !encoding.eq_ignore_ascii_case("identity"))
        {
            return Err(RegistryError::Unexpected {
                doing: call.doing,
                problem: format!(
                    "the registry, or a proxy before it, gives it encoded ({}), which was not asked for",
                    escape_line(&encoding.chars().take(100).collect::<String>())
                ),
            });
        }
        let asked: Option<Digest> = name.parse().ok();
        let digest = match &asked {
            Some(asked) => asked.same_algorithm_of(&answer.body),
            None => Some(Digest::of(&answer.body)),
        };
        match (digest, asked) {
            (Some(digest), asked) if asked.as_ref().is_none_or(|asked| *asked == digest) => {
                Ok(Some(StoredManifest {
                    media_type: content_type(answer.header("content-type")),
                    etag: answer.header("etag").map(str::to_owned),
                    bytes: answer.body,
                    digest,
                }))
            }
            _ => Err(RegistryError::Unexpected {
                doing: call.doing,
                problem: "the registry gives other bytes than the digest names".to_owned(),
            }),
        }
    }

    /// Puts a manifest under a tag or its digest.
    ///
    /// # Errors
    /// Says why it is not there now.
    pub fn put_manifest(&self, put: &Put<'_>) -> Result<Accepted, RegistryError> {
        let doing = format!("pushing {}", self.named(put.name));
        let mut path = format!("manifests/{}", put.name);
        for (position, tag) in put.tags.iter().enumerate() {
            let separator = if position == 0 { '?' } else { '&' };
            path.push_str(&format!("{separator}tag={tag}"));
        }
        let mut call = self.call(Method::Put, Place::Path(path), doing);
        call.headers = vec![("content-type", put.media_type.to_owned())];
        if let Some(etag) = put.replaces {
            call.headers.push(("if-match", etag.to_owned()));
        }
        call.payload = Payload::Bytes(put.bytes);
        let answer = self.send(&call, ERROR_BYTES_MAX)?;
        if !matches!(answer.status, 200..=202) {
            return Err(self.refused_for(put.digest, &call.doing, &answer));
        }
        check_digest(put.digest, &answer, &call.doing)?;
        Ok(Accepted {
            tags: answer
                .all("oci-tag")
                .flat_map(|value| value.split(','))
                .map(|tag| tag.trim().to_owned())
                .collect(),
        })
    }

    /// Returns how a tag or digest of the repository is written.
    #[must_use]
    pub fn named(&self, name: &str) -> String {
        let separator = if name.contains(':') { '@' } else { ':' };
        format!("{}{separator}{name}", self.reference.scope())
    }
}

impl StoredManifest {
    /// Returns a descriptor of the manifest.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        let size = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        Descriptor::new(&self.media_type, self.digest.clone(), size)
    }
}

fn content_type(header: Option<&str>) -> String {
    header
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}
