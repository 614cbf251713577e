//! Manifests of the test registry: reading, putting, tagging, deleting, and who refers to whom.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use signetfs::oci::Digest;
use signetfs::oci::media_type::IMAGE_INDEX;

use super::SubjectHeader;
use super::handlers::Request;
use super::http::Reply;
use super::store::Repository;

/// Bytes that every registry takes.
const MANIFEST_BYTES_MAX: usize = 4 << 20;

impl Request<'_> {
    /// Gives a manifest.
    pub(super) fn manifest(&self, repository: &Repository) -> Reply {
        let as_digest = self.rest.replacen('-', ":", 1);
        let found = match self.behaviour.takes_tags_for_digests {
            true => repository
                .manifest(self.rest)
                .or_else(|| repository.manifest(&as_digest)),
            false => repository.manifest(self.rest),
        };
        match found {
            None => Reply::error(404, "MANIFEST_UNKNOWN"),
            Some((digest, (media_type, bytes))) => self
                .digested(
                    Reply {
                        body: bytes.clone(),
                        ..Reply::new(200)
                    },
                    digest,
                )
                .with("content-type", media_type.as_str())
                .with("content-length", bytes.len().to_string())
                .with("etag", format!("\"{digest}\"")),
        }
    }

    /// Returns the digest that a manifest is stored under: in the algorithm of its name, or of the parameter.
    fn digest_of_body(&self) -> Option<String> {
        let named = match self.rest.contains(':') {
            true => Some(self.rest),
            false => self.parameter("digest"),
        };
        match named {
            None => Some(Digest::of(self.body).to_string()),
            Some(named) => {
                let digest: Digest = named.parse().ok()?;
                digest.matches(self.body).then(|| named.to_owned())
            }
        }
    }

    /// Says why a manifest is not taken.
    fn refusal(&self, repository: &Repository, document: &Value) -> Option<Reply> {
        if !self.whole {
            return Some(Reply::error(400, "DIGEST_INVALID"));
        }
        if self.body.len() > MANIFEST_BYTES_MAX {
            return Some(Reply::error(413, "SIZE_INVALID"));
        }
        if let Some(part) = repository.missing_part(document) {
            return Some(Reply { body: json!({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "unknown", "detail": part}]}).to_string().into_bytes(), ..Reply::new(400) });
        }
        let subject = document["subject"]["digest"].as_str();
        if self.behaviour.wants_subjects
            && subject.is_some_and(|subject| !repository.manifests.contains_key(subject))
        {
            return Some(Reply::error(404, "MANIFEST_UNKNOWN"));
        }
        let present = repository.tags.get(self.rest);
        let wanted = self.head.header("if-match");
        if let (true, Some(wanted)) = (self.behaviour.arbitrates, wanted)
            && present.map(|digest| format!("\"{digest}\"")).as_deref() != Some(wanted)
        {
            return Some(Reply::error(412, "DENIED"));
        }
        None
    }

    /// Takes a manifest, and the tags that come with it.
    pub(super) fn put_manifest(&mut self, repository: &mut Repository) -> Reply {
        let Ok(document) = serde_json::from_slice::<Value>(self.body) else {
            return Reply::error(400, "MANIFEST_INVALID");
        };
        let Some(digest) = self.digest_of_body() else {
            return Reply::error(400, "DIGEST_INVALID");
        };
        if let Some(refusal) = self.refusal(repository, &document) {
            return refusal;
        }
        let mut tags: Vec<String> = match self.behaviour.tag_parameter && self.rest.contains(':') {
            true => self.parameters("tag").map(str::to_owned).collect(),
            false => Vec::new(),
        };
        let echoed = tags.join(", ");
        if !self.rest.contains(':') {
            tags.push(self.rest.to_owned());
        }
        let is_taken = |tag: &String| {
            let present = repository.tags.get(tag);
            present.is_some_and(|present| *present != digest)
        };
        if self.behaviour.immutable_tags && tags.iter().any(is_taken) {
            return Reply::error(400, "TAG_INVALID");
        }
        let media_type = self.head.header("content-type").unwrap_or_default();
        assert!(
            document
                .get("mediaType")
                .is_none_or(|own| *own == media_type),
            "{media_type}: {document}"
        );
        repository
            .manifests
            .insert(digest.clone(), (media_type.to_owned(), self.body.to_vec()));
        for tag in tags {
            self.tag(repository, tag, &digest);
        }
        let mut reply = self.digested(Reply::new(201), &digest);
        if !echoed.is_empty() {
            reply = reply.with("oci-tag", echoed);
        }
        if self.behaviour.manifest_location {
            reply = reply.with("location", format!("/v2/{}/manifests/{digest}", self.name));
        }
        match (
            document["subject"]["digest"].as_str(),
            self.behaviour.subject_header,
        ) {
            (Some(subject), SubjectHeader::Right) if self.behaviour.referrers_api => {
                reply.with("oci-subject", subject)
            }
            (Some(subject), SubjectHeader::Fake) => reply.with("oci-subject", subject),
            _ => reply,
        }
    }

    /// Sets a tag, and notes what a verifier of its image would find at that moment.
    fn tag(&mut self, repository: &mut Repository, tag: String, digest: &str) {
        let is_list = tag.starts_with("sha256-");
        let writes = self
            .state
            .tag_writes
            .fetch_add(usize::from(is_list), Ordering::SeqCst);
        let is_forgotten = is_list
            && self
                .behaviour
                .forget_tag_after
                .is_some_and(|after| writes >= after);
        if !is_forgotten {
            repository.tags.insert(tag, digest.to_owned());
        }
        if !is_list {
            self.discoverable = Some(repository.discoverable(digest, self.behaviour.referrers_api));
        }
    }

    /// Deletes a tag, or a manifest with its tags.
    pub(super) fn delete_manifest(&self, repository: &mut Repository) -> Reply {
        let is_there = match self.rest.contains(':') {
            true => {
                repository.tags.retain(|_, digest| digest != self.rest);
                repository.manifests.remove(self.rest).is_some()
            }
            false => repository.tags.remove(self.rest).is_some(),
        };
        match is_there {
            true => Reply::new(202),
            false => Reply::error(404, "MANIFEST_UNKNOWN"),
        }
    }

    /// Lists tags, in order, from a place, so many at a time.
    pub(super) fn tags(&self, repository: &Repository) -> Reply {
        let last = self.parameter("last").unwrap_or_default();
        let rest: Vec<&String> = repository
            .tags
            .keys()
            .filter(|tag| tag.as_str() > last)
            .collect();
        let count = self
            .parameter("n")
            .and_then(|n| n.parse().ok())
            .unwrap_or(self.behaviour.page);
        let page = &rest[..count.min(rest.len())];
        let reply = Reply {
            body: json!({"name": self.name, "tags": page})
                .to_string()
                .into_bytes(),
            ..Reply::new(200)
        }
        .with("content-type", "application/json");
        match page.last().filter(|_| page.len() < rest.len()) {
            None => reply,
            Some(last) => reply.with(
                "link",
                format!(
                    "</v2/{}/tags/list?n={count}&last={last}>; rel=\"next\"",
                    self.name
                ),
            ),
        }
    }

    /// Lists referrers, of one artifact type where that is asked for, page by page.
    pub(super) fn referrers(&self, repository: &Repository) -> Reply {
        if !self.behaviour.referrers_api {
            return Reply {
                body: b"404 page not found\n".to_vec(),
                ..Reply::new(404)
            };
        }
        let mut all = match self.behaviour.lists_nothing {
            true => Vec::new(),
            false => repository.referrers(self.rest),
        };
        let kind = self.parameter("artifactType");
        all.retain(|entry| kind.is_none_or(|kind| entry["artifactType"] == kind));
        let start: usize = self
            .parameter("start")
            .map_or(0, |text| text.parse().unwrap());
        let end = start.saturating_add(self.behaviour.page).min(all.len());
        let page = all.get(start..end).unwrap_or_default();
        let body = json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": page})
            .to_string()
            .into_bytes();
        let mut reply = Reply {
            body,
            ..Reply::new(200)
        }
        .with("content-type", IMAGE_INDEX);
        if kind.is_some() {
            reply = reply.with("oci-filters-applied", "artifactType");
        }
        let filter = kind.map_or(String::new(), |kind| format!("&artifactType={kind}"));
        match end < all.len() {
            true => reply.with(
                "link",
                format!(
                    "</v2/{}/referrers/{}?start={end}{filter}>; rel=\"next\"",
                    self.name, self.rest
                ),
            ),
            false => reply,
        }
    }
}
