//! What the test registry answers.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use signetfs::oci::Digest;
use signetfs::oci::media_type::IMAGE_INDEX;

use super::http::{Head, Reply};
use super::store::Repository;
use super::{Behaviour, DigestHeader, Login, State, SubjectHeader};

/// `user:secret`.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

/// Returns the answer that needs no body: who is not let in, what is too large, where to go instead.
pub(crate) fn early(state: &State, head: &Head) -> Option<Reply> {
    let behaviour = state.behaviour().clone();
    let (path, _) = head.split();
    if path == "/token" {
        return None;
    }
    if let Some(reply) = unauthorized(state, head, &behaviour) {
        return Some(reply);
    }
    let is_upload =
        path.contains("/blobs/uploads/") && matches!(head.method.as_str(), "PUT" | "PATCH");
    if is_upload && head.length > behaviour.body_max {
        return Some(Reply::error(413, "SIZE_INVALID"));
    }
    match &behaviour.uploads_at {
        Some(other) if is_upload && behaviour.redirects => {
            Some(Reply::new(307).with("location", format!("http://{other}{}", head.target)))
        }
        _ => None,
    }
}

fn unauthorized(state: &State, head: &Head, behaviour: &Behaviour) -> Option<Reply> {
    let shown = head.header("authorization");
    let challenge = match behaviour.login {
        Login::Nobody => return None,
        Login::Basic if shown == Some(BASIC) => return None,
        Login::Basic => "Basic realm=\"tests\"".to_owned(),
        Login::Token => {
            if let Some(token) = shown.and_then(|shown| shown.strip_prefix("Bearer ")) {
                let mut tokens = state.tokens.lock().unwrap();
                if let Some(uses) = tokens.get_mut(token).filter(|uses| **uses > 0) {
                    *uses -= 1;
                    return None;
                }
            }
            let realm = behaviour
                .realm
                .clone()
                .unwrap_or_else(|| format!("http://{}/token", state.address));
            format!("Bearer realm=\"{realm}\",service=\"tests\",scope=\"repository:x:pull\"")
        }
    };
    Some(Reply::error(401, "UNAUTHORIZED").with("www-authenticate", challenge))
}

/// Carries a request out.
pub(crate) fn handle(
    state: &State,
    head: &Head,
    body: &[u8],
    whole: bool,
) -> (Reply, Option<Vec<String>>) {
    let behaviour = state.behaviour().clone();
    let (path, query) = head.split();
    if path == "/token" {
        return (token(state, head, &behaviour), None);
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return (Reply::error(404, "NOT_FOUND"), None);
    };
    if rest.is_empty() {
        return (Reply::new(200), None);
    }
    let mut repositories = state.repositories.lock().unwrap();
    for (part, act) in PARTS {
        if let Some((name, rest)) = rest.split_once(part) {
            let mut request = Request {
                state,
                behaviour: &behaviour,
                head,
                rest,
                query: &query,
                body,
                whole,
                name,
                discoverable: None,
            };
            if act == Act::Blob && head.method == "POST" {
                let from = request
                    .parameter("from")
                    .and_then(|from| repositories.get(from))
                    .cloned();
                let repository = repositories.entry(name.to_owned()).or_default();
                return (request.open(repository, from.as_ref()), None);
            }
            let reply = match repositories.get_mut(name) {
                None if act == Act::Referrers && !behaviour.referrers_api => Reply::new(404),
                None if head.method == "GET" || head.method == "HEAD" => {
                    Reply::error(404, "NAME_UNKNOWN")
                }
                None => request.act(act, repositories.entry(name.to_owned()).or_default()),
                Some(repository) => request.act(act, repository),
            };
            return (reply, request.discoverable);
        }
    }
    (Reply::error(404, "NOT_FOUND"), None)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Upload,
    Blob,
    Manifest,
    Referrers,
}

const PARTS: [(&str, Act); 5] = [
    ("/blobs/uploads/session-", Act::Upload),
    ("/blobs/uploads/", Act::Blob),
    ("/blobs/", Act::Blob),
    ("/manifests/", Act::Manifest),
    ("/referrers/", Act::Referrers),
];

fn token(state: &State, head: &Head, behaviour: &Behaviour) -> Reply {
    if head.header("authorization") != Some(BASIC) {
        return Reply::error(401, "UNAUTHORIZED");
    }
    let token = format!("token-{}", state.next_number());
    state
        .tokens
        .lock()
        .unwrap()
        .insert(token.clone(), behaviour.token_uses);
    let body = json!({"token": token, "expires_in": 300})
        .to_string()
        .into_bytes();
    Reply {
        body,
        ..Reply::new(200)
    }
}

struct Request<'a> {
    state: &'a State,
    behaviour: &'a Behaviour,
    head: &'a Head,
    rest: &'a str,
    query: &'a [(String, String)],
    body: &'a [u8],
    whole: bool,
    name: &'a str,
    discoverable: Option<Vec<String>>,
}

impl Request<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn act(&mut self, act: Act, repository: &mut Repository) -> Reply {
        match (act, self.head.method.as_str()) {
            (Act::Upload, _) => self.upload(repository),
            (Act::Blob, "GET" | "HEAD") => self.blob(repository),
            (Act::Manifest, "GET" | "HEAD") => self.manifest(repository),
            (Act::Manifest, "PUT") => self.put_manifest(repository),
            (Act::Referrers, "GET") => self.referrers(repository),
            _ => Reply::error(405, "UNSUPPORTED"),
        }
    }

    fn blob(&self, repository: &Repository) -> Reply {
        let Some(bytes) = repository.blobs.get(self.rest) else {
            return Reply::error(404, "BLOB_UNKNOWN");
        };
        let range = self.head.header("range").filter(|_| self.behaviour.resumes);
        let start = range.and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        });
        let (status, body) = match start {
            Some(start) => (206, &bytes[start..]),
            None => (200, bytes.as_slice()),
        };
        let mut reply = Reply {
            body: body.to_vec(),
            ..Reply::new(status)
        }
        .with("content-length", body.len().to_string());
        if let Some(start) = start {
            reply = reply.with(
                "content-range",
                format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
            );
        }
        self.digested(reply, self.rest)
    }

    /// Opens an upload, or mounts.
    fn open(&self, repository: &mut Repository, from: Option<&Repository>) -> Reply {
        let mounted = self
            .parameter("mount")
            .and_then(|digest| Some((digest, from?.blobs.get(digest)?)));
        if let Some((digest, bytes)) = mounted {
            repository.blobs.insert(digest.to_owned(), bytes.clone());
            return self
                .digested(Reply::new(201), digest)
                .with("location", format!("/v2/{}/blobs/{digest}", self.name));
        }
        let id = self.state.next_number().to_string();
        repository.uploads.insert(id.clone(), Vec::new());
        let mut reply = Reply::new(202).with("location", self.location(&id));
        if let Some(least) = self.behaviour.chunk_min {
            reply = reply.with("oci-chunk-min-length", least.to_string());
        }
        reply
    }

    fn location(&self, id: &str) -> String {
        let path = format!("/v2/{}/blobs/uploads/session-{id}?_state=a%2Fb", self.name);
        match &self.behaviour.uploads_at {
            Some(other) if !self.behaviour.redirects => format!("http://{other}{path}"),
            _ => path,
        }
    }

    fn upload(&self, repository: &mut Repository) -> Reply {
        let Some(kept) = repository.uploads.get_mut(self.rest) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN");
        };
        let range = format!("0-{}", kept.len().saturating_sub(1));
        match self.head.method.as_str() {
            "GET" if self.behaviour.resumes => Reply::new(204)
                .with("location", self.location(self.rest))
                .with("range", range),
            "GET" => Reply::error(404, "BLOB_UPLOAD_INVALID"),
            "DELETE" => {
                repository.uploads.remove(self.rest);
                Reply::new(204)
            }
            "PATCH" => {
                let start = self
                    .head
                    .header("content-range")
                    .and_then(|range| range.split('-').next())
                    .and_then(|start| start.parse().ok())
                    .unwrap_or(kept.len());
                if start != kept.len() {
                    return Reply::error(416, "RANGE_INVALID").with("range", range);
                }
                kept.extend(self.body);
                let range = format!("0-{}", kept.len().saturating_sub(1));
                Reply::new(202)
                    .with("location", self.location(self.rest))
                    .with("range", range)
            }
            "PUT" => {
                kept.extend(self.body);
                if !self.whole {
                    return Reply::error(400, "SIZE_INVALID");
                }
                let digest: Digest = self
                    .parameter("digest")
                    .unwrap_or_default()
                    .parse()
                    .unwrap();
                let bytes = repository.uploads.remove(self.rest).unwrap_or_default();
                if !digest.matches(&bytes) {
                    return Reply::error(400, "DIGEST_INVALID");
                }
                repository.blobs.insert(digest.to_string(), bytes);
                self.digested(Reply::new(201), &digest.to_string())
            }
            _ => Reply::error(405, "UNSUPPORTED"),
        }
    }

    fn manifest(&self, repository: &Repository) -> Reply {
        match repository.manifest(self.rest) {
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

    fn put_manifest(&mut self, repository: &mut Repository) -> Reply {
        let digest = Digest::of(self.body).to_string();
        let Ok(document) = serde_json::from_slice::<Value>(self.body) else {
            return Reply::error(400, "MANIFEST_INVALID");
        };
        let is_tag = !self.rest.contains(':');
        if !self.whole || !is_tag && self.rest != digest {
            return Reply::error(400, "DIGEST_INVALID");
        }
        if self.body.len() > 4 << 20 {
            return Reply::error(413, "SIZE_INVALID");
        }
        if let Some(part) = repository.missing_part(&document) {
            return Reply { body: json!({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "unknown", "detail": part}]}).to_string().into_bytes(), ..Reply::new(400) };
        }
        let is_list = self.rest.starts_with("sha256-");
        let taken = repository
            .tags
            .get(self.rest)
            .is_some_and(|present| *present != digest);
        if is_tag && self.behaviour.immutable_tags && taken {
            return Reply::error(400, "TAG_INVALID");
        }
        let media_type = self
            .head
            .header("content-type")
            .unwrap_or_default()
            .to_owned();
        assert!(
            document
                .get("mediaType")
                .is_none_or(|own| *own == media_type),
            "{media_type}: {document}"
        );
        repository
            .manifests
            .insert(digest.clone(), (media_type, self.body.to_vec()));
        if is_tag {
            let writes = self
                .state
                .tag_writes
                .fetch_add(usize::from(is_list), Ordering::SeqCst);
            let forgotten = is_list
                && self
                    .behaviour
                    .forget_tag_after
                    .is_some_and(|after| writes >= after);
            if !forgotten {
                repository.tags.insert(self.rest.to_owned(), digest.clone());
            }
            if !is_list {
                self.discoverable =
                    Some(repository.discoverable(&digest, self.behaviour.referrers_api));
            }
        }
        let mut reply = self.digested(Reply::new(201), &digest);
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

    fn referrers(&self, repository: &Repository) -> Reply {
        if !self.behaviour.referrers_api {
            return Reply {
                body: b"404 page not found\n".to_vec(),
                ..Reply::new(404)
            };
        }
        let all = match self.behaviour.lists_nothing {
            true => Vec::new(),
            false => repository.referrers(self.rest),
        };
        let start: usize = self
            .parameter("start")
            .map_or(0, |text| text.parse().unwrap());
        let end = start.saturating_add(self.behaviour.page).min(all.len());
        let page = all.get(start..end).unwrap_or_default();
        let body = json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": page})
            .to_string()
            .into_bytes();
        let reply = Reply {
            body,
            ..Reply::new(200)
        }
        .with("content-type", IMAGE_INDEX);
        match end < all.len() {
            true => reply.with(
                "link",
                format!(
                    "</v2/{}/referrers/{}?start={end}>; rel=\"next\"",
                    self.name, self.rest
                ),
            ),
            false => reply,
        }
    }

    fn digested(&self, reply: Reply, digest: &str) -> Reply {
        match self.behaviour.digest_header {
            DigestHeader::Right => reply.with("docker-content-digest", digest),
            DigestHeader::Missing => reply,
            DigestHeader::Wrong => reply.with(
                "docker-content-digest",
                Digest::of(digest.as_bytes()).to_string(),
            ),
        }
    }
}
