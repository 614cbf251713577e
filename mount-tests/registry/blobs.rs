//! Blobs of the test registry: reading, mounting, uploading in one piece or in chunks, deleting.

use signetfs::oci::Digest;

use super::handlers::Request;
use super::http::Reply;
use super::store::Repository;

impl Request<'_> {
    /// Gives a blob or a range of it.
    pub(super) fn blob(&self, repository: &Repository) -> Reply {
        let Some(bytes) = repository.blobs.get(self.rest) else {
            return Reply::error(404, "BLOB_UNKNOWN");
        };
        let size = bytes.len();
        let range = self.head.header("range").filter(|_| self.behaviour.resumes);
        let reply = match range.map(|range| range_of(range, size)) {
            None => Reply {
                body: bytes.clone(),
                ..Reply::new(200)
            }
            .with("content-length", size.to_string()),
            Some(None) => {
                return Reply::error(416, "SIZE_INVALID")
                    .with("content-range", format!("bytes */{size}"));
            }
            Some(Some((start, end))) => Reply {
                body: bytes[start..end].to_vec(),
                ..Reply::new(206)
            }
            .with("content-length", (end - start).to_string())
            .with("content-range", format!("bytes {start}-{}/{size}", end - 1)),
        };
        self.digested(
            reply.with("content-type", "application/octet-stream"),
            self.rest,
        )
    }

    /// Deletes a blob.
    pub(super) fn delete_blob(&self, repository: &mut Repository) -> Reply {
        match repository.blobs.remove(self.rest) {
            Some(_) => Reply::new(202),
            None => Reply::error(404, "BLOB_UNKNOWN"),
        }
    }

    /// Opens an upload, or mounts, or takes a blob at once.
    pub(super) fn open_upload(
        &self,
        repository: &mut Repository,
        from: Option<&Repository>,
    ) -> Reply {
        let mounted = self
            .parameter("mount")
            .and_then(|digest| Some((digest, from?.blobs.get(digest)?)));
        if let Some((digest, bytes)) = mounted {
            repository.blobs.insert(digest.to_owned(), bytes.clone());
            return self.created(digest);
        }
        if let Some(named) = self.parameter("digest") {
            return self.store(repository, named, self.body.to_vec());
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

    fn created(&self, digest: &str) -> Reply {
        self.digested(Reply::new(201), digest)
            .with("location", format!("/v2/{}/blobs/{digest}", self.name))
    }

    /// Stores bytes under the digest that they are said to have, if they have it.
    fn store(&self, repository: &mut Repository, named: &str, bytes: Vec<u8>) -> Reply {
        match named.parse::<Digest>() {
            Ok(digest) if digest.matches(&bytes) => {
                repository.blobs.insert(named.to_owned(), bytes);
                self.created(named)
            }
            _ => Reply::error(400, "DIGEST_INVALID"),
        }
    }

    /// Carries an upload on.
    pub(super) fn upload(&self, repository: &mut Repository) -> Reply {
        let Some(kept) = repository.uploads.get_mut(self.rest) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN");
        };
        let range = format!("0-{}", kept.len().saturating_sub(1));
        let start = self
            .head
            .header("content-range")
            .and_then(|range| range.split('-').next())
            .and_then(|start| start.parse().ok())
            .unwrap_or(kept.len());
        match self.head.method.as_str() {
            "GET" if self.behaviour.resumes => Reply::new(204)
                .with("location", self.location(self.rest))
                .with("range", range),
            "GET" => Reply::error(404, "BLOB_UPLOAD_INVALID"),
            "DELETE" => {
                repository.uploads.remove(self.rest);
                Reply::new(204)
            }
            "PATCH" | "PUT" if start != kept.len() => {
                Reply::error(416, "RANGE_INVALID").with("range", range)
            }
            "PATCH" => {
                kept.extend(self.body);
                let range = format!("0-{}", kept.len().saturating_sub(1));
                Reply::new(self.behaviour.patch_status)
                    .with("location", self.location(self.rest))
                    .with("range", range)
            }
            "PUT" => {
                kept.extend(self.body);
                if !self.whole {
                    return Reply::error(400, "SIZE_INVALID");
                }
                let bytes = repository.uploads.remove(self.rest).unwrap_or_default();
                self.store(
                    repository,
                    self.parameter("digest").unwrap_or_default(),
                    bytes,
                )
            }
            _ => Reply::error(405, "UNSUPPORTED"),
        }
    }
}

/// Returns the first byte of a range and the one after its last.
fn range_of(range: &str, size: usize) -> Option<(usize, usize)> {
    let (start, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (start.parse::<usize>(), last.parse::<usize>()) {
        (Ok(start), Ok(last)) => (start, last.saturating_add(1).min(size)),
        (Ok(start), Err(_)) => (start, size),
        (Err(_), Ok(count)) => (size.saturating_sub(count), size),
        (Err(_), Err(_)) => return None,
    };
    (start < end).then_some((start, end))
}
