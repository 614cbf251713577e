//! Who refers to an image, by the two ways a verifier has: the referrers API, else the referrers tag.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>

use serde_json::Value;

use super::answer::Answer;
use super::call::Place;
use super::error::RegistryError;
use super::fallback;
use super::manifests::Put;
use super::session::Registry;
use crate::http::{Method, Url};
use crate::oci::Digest;
use crate::oci::limits::{DESCRIPTORS_MAX, INDEX_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::oci::media_type::IMAGE_INDEX;

/// Pages of one list of referrers.
const PAGES_MAX: usize = 1000;

/// Is what a verifier would be told.
#[derive(Debug, Clone)]
pub enum Listing {
    /// By the API.
    Api(Vec<Value>),
    /// By the tag, as it is now.
    Tag(Option<TagState>),
}

/// Is a referrers tag as it was read.
#[derive(Debug, Clone)]
pub struct TagState {
    /// The document.
    pub document: Value,
    /// What it lists.
    pub entries: Vec<Value>,
    /// Its entity tag.
    pub etag: Option<String>,
    /// The digest of its bytes.
    pub digest: Digest,
}

impl Listing {
    /// Returns what is listed.
    #[must_use]
    pub fn entries(&self) -> &[Value] {
        match self {
            Self::Api(entries) => entries,
            Self::Tag(state) => state
                .as_ref()
                .map(|state| state.entries.as_slice())
                .unwrap_or_default(),
        }
    }
}

impl Registry {
    /// Lists the referrers of a subject as a verifier would find them.
    ///
    /// # Errors
    /// Says why the registry did not answer.
    pub fn referrers(&self, subject: &Digest) -> Result<Listing, RegistryError> {
        if self.features().referrers_api != Some(false)
            && let Some(entries) = self.referrers_by_api(subject)?
        {
            return Ok(Listing::Api(entries));
        }
        Ok(Listing::Tag(self.referrers_tag(subject)?))
    }

    /// Returns whether the registry is known to have no referrers API.
    #[must_use]
    pub fn lists_by_tag_only(&self) -> bool {
        self.features().referrers_api == Some(false)
    }

    /// Asks the API; `None` where the registry has none.
    fn referrers_by_api(&self, subject: &Digest) -> Result<Option<Vec<Value>>, RegistryError> {
        let doing = format!(
            "listing the referrers of {}",
            self.named(&subject.to_string())
        );
        let mut listed: Vec<Value> = Vec::new();
        let mut next: Option<Url> = None;
        let mut bytes = 0_u64;
        for page in 0..PAGES_MAX {
            let place = match &next {
                None => Place::Path(format!("referrers/{subject}")),
                Some(url) => Place::Url(url),
            };
            let mut call = self.call(Method::Get, place, doing.clone());
            call.headers = vec![("accept", IMAGE_INDEX.to_owned())];
            let answer = self.send(&call, MANIFEST_BYTES_MAX)?;
            let found = match answer.status {
                200 => serde_json::from_slice::<Value>(&answer.body)
                    .ok()
                    .as_ref()
                    .and_then(fallback::entries),
                // An unknown repository says nothing about the API.
                404 if answer.has_code("NAME_UNKNOWN") => return Ok(None),
                400 | 404 | 405 | 406 | 501 => None,
                _ => return Err(self.refused(&doing, &answer)),
            };
            let Some(found) = found else {
                if page > 0 {
                    return Err(answer.refused(&doing));
                }
                self.learn(|features| features.referrers_api = Some(false));
                return Ok(None);
            };
            self.learn(|features| features.referrers_api = Some(true));
            listed.extend(found);
            bytes = bytes.saturating_add(u64::try_from(answer.body.len()).unwrap_or(u64::MAX));
            next = next_page(&answer, &doing)?;
            if next.is_none() || listed.len() > DESCRIPTORS_MAX || bytes > INDEX_BYTES_MAX {
                break;
            }
        }
        if next.is_some() || listed.len() > DESCRIPTORS_MAX {
            return Err(RegistryError::Unexpected {
                doing,
                problem: "the list of referrers has no end".to_owned(),
            });
        }
        Ok(Some(listed))
    }

    /// Reads the referrers tag; `None` where there is none.
    ///
    /// # Errors
    /// Says why it cannot be read, or that something else has that tag.
    pub fn referrers_tag(&self, subject: &Digest) -> Result<Option<TagState>, RegistryError> {
        let tag = fallback::tag(subject);
        let Some(stored) = self.manifest(&tag)? else {
            return Ok(None);
        };
        // Some registries take the tag for the digest it is made of, and answer the image itself.
        if stored.digest == *subject {
            return Ok(None);
        }
        let document: Option<Value> = serde_json::from_slice(&stored.bytes).ok();
        let entries = document.as_ref().and_then(fallback::entries);
        match (document, entries) {
            (Some(document), Some(entries)) => Ok(Some(TagState {
                document,
                entries,
                etag: stored.etag,
                digest: stored.digest,
            })),
            _ => Err(RegistryError::Unexpected {
                doing: format!("reading {}", self.named(&tag)),
                problem: "something else than a list of referrers has that tag; move it away, then try again".to_owned(),
            }),
        }
    }

    /// Puts a referrers tag.
    ///
    /// # Errors
    /// Says why it is not there now.
    pub fn put_referrers_tag(
        &self,
        subject: &Digest,
        document: &Value,
        replaces: Option<&str>,
    ) -> Result<(), RegistryError> {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let media_type = document
            .get("mediaType")
            .and_then(Value::as_str)
            .unwrap_or(IMAGE_INDEX);
        self.put_manifest(&Put {
            name: &fallback::tag(subject),
            media_type,
            bytes: &bytes,
            digest: &digest,
            replaces,
            tags: &[],
        })?;
        Ok(())
    }
}

/// Returns where the next page is; other hosts are not asked. <https://www.rfc-editor.org/rfc/rfc8288>
fn next_page(answer: &Answer, doing: &str) -> Result<Option<Url>, RegistryError> {
    let link = answer.all("link").find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let parameter: String = parameter
                .chars()
                .filter(|c| !matches!(c, '"' | ' '))
                .collect();
            parameter.eq_ignore_ascii_case("rel=next")
        });
        is_next.then_some(target)
    });
    let Some(link) = link else { return Ok(None) };
    let url = answer
        .url
        .join(link)
        .map_err(|source| RegistryError::Elsewhere {
            doing: doing.to_owned(),
            source,
        })?;
    if url.origin != answer.url.origin {
        return Err(RegistryError::Unexpected {
            doing: doing.to_owned(),
            problem: "the next page is on another host".to_owned(),
        });
    }
    Ok(Some(url))
}
