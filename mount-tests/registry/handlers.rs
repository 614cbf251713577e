//! Who is let in to the test registry, and which handler a request goes to.

use serde_json::json;
use signetfs::oci::Digest;

use super::http::{Head, Reply};
use super::store::Repository;
use super::{Behaviour, DigestHeader, Login, State};

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
        return (token(state, head, body, &behaviour), None);
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
                let from = match request.parameter("from") {
                    Some(from) => repositories.get(from),
                    None if behaviour.mounts_anonymously => {
                        let digest = request.parameter("mount").unwrap_or_default();
                        repositories
                            .values()
                            .find(|repository| repository.blobs.contains_key(digest))
                    }
                    None => None,
                }
                .cloned();
                let repository = repositories.entry(name.to_owned()).or_default();
                return (request.open_upload(repository, from.as_ref()), None);
            }
            let reply = match repositories.get_mut(name) {
                None if act == Act::Referrers && !behaviour.names_are_unknown => {
                    request.act(act, &mut Repository::default())
                }
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
    Tags,
}

const PARTS: [(&str, Act); 6] = [
    ("/blobs/uploads/session-", Act::Upload),
    ("/blobs/uploads/", Act::Blob),
    ("/blobs/", Act::Blob),
    ("/manifests/", Act::Manifest),
    ("/referrers/", Act::Referrers),
    ("/tags/list", Act::Tags),
];

/// The refresh token that buys access tokens.
const IDENTITY: &str = "an-identity";

fn token(state: &State, head: &Head, body: &[u8], behaviour: &Behaviour) -> Reply {
    let form = String::from_utf8_lossy(body);
    let is_exchange = head.method == "POST"
        && form
            .split('&')
            .any(|pair| pair == "grant_type=refresh_token")
        && form
            .split('&')
            .any(|pair| pair == format!("refresh_token={IDENTITY}"));
    if head.header("authorization") != Some(BASIC) && !is_exchange {
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

/// Is a request for a repository.
pub(super) struct Request<'a> {
    pub(super) state: &'a State,
    pub(super) behaviour: &'a Behaviour,
    pub(super) head: &'a Head,
    pub(super) rest: &'a str,
    query: &'a [(String, String)],
    pub(super) body: &'a [u8],
    pub(super) whole: bool,
    pub(super) name: &'a str,
    pub(super) discoverable: Option<Vec<String>>,
}

impl Request<'_> {
    /// Returns the first parameter with this name.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters(name).next()
    }

    /// Returns every parameter with this name.
    pub(super) fn parameters(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn act(&mut self, act: Act, repository: &mut Repository) -> Reply {
        match (act, self.head.method.as_str()) {
            (Act::Upload, _) => self.upload(repository),
            (Act::Blob, "GET" | "HEAD") => self.blob(repository),
            (Act::Blob, "DELETE") => self.delete_blob(repository),
            (Act::Manifest, "GET" | "HEAD") => self.manifest(repository),
            (Act::Manifest, "PUT") => self.put_manifest(repository),
            (Act::Manifest, "DELETE") => self.delete_manifest(repository),
            (Act::Referrers, "GET") => self.referrers(repository),
            (Act::Tags, "GET") => self.tags(repository),
            _ => Reply::error(405, "UNSUPPORTED"),
        }
    }

    /// Names the digest in an answer, as the registry behaves.
    pub(super) fn digested(&self, reply: Reply, digest: &str) -> Reply {
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
