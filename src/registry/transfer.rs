//! The bytes of a blob on the wire: in one piece, in chunks, and on from where they broke off.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks>

use super::answer::{Answer, ERROR_BYTES_MAX};
use super::call::{Payload, Place, Repeat};
use super::error::RegistryError;
use super::redirect::check_leap;
use super::refusals::other_algorithm;
use super::session::Registry;
use super::upload::Upload;
use crate::http::retry::is_transient;
use crate::http::{Method, Url};
use crate::oci::Digest;

/// Bytes from which on the registry is asked before the body is sent.
const ASK_FIRST_BYTES: u64 = 1 << 20;
/// Is what one try at uploading came to.
pub(super) enum Outcome {
    /// All is there.
    Done,
    /// All has to be sent again, in a new session.
    Anew,
    /// The session is broken; the answer or error says how. Resuming may work.
    Broken(RegistryError),
    /// The body is too large for the registry, or for something before it.
    TooLarge(RegistryError),
}

impl Registry {
    /// Sends a blob in one piece.
    pub(super) fn put_whole(
        &self,
        upload: &Upload<'_>,
        session: &Session,
        doing: &str,
    ) -> Result<Outcome, RegistryError> {
        let part = upload.part(0, upload.size());
        let url = session
            .location
            .with_query("digest", &upload.digest.to_string());
        let mut call = self.call(Method::Put, Place::Url(&url), doing.to_owned());
        call.headers = body_headers(upload.size());
        call.payload = Payload::Stream(&part);
        call.repeat = Repeat::No;
        let answer = match self.send(&call, ERROR_BYTES_MAX) {
            Ok(answer) => answer,
            Err(error) => return broken(error),
        };
        self.closed(upload, &answer, doing)
    }

    /// Judges the answer that closes an upload.
    fn closed(
        &self,
        upload: &Upload<'_>,
        answer: &Answer,
        doing: &str,
    ) -> Result<Outcome, RegistryError> {
        match answer.status {
            201 | 204 => {
                check_digest(upload.digest, answer, doing)?;
                Ok(Outcome::Done)
            }
            413 | 416 => Ok(Outcome::TooLarge(answer.refused(doing))),
            status if is_transient(status) => Ok(Outcome::Broken(exhausted(answer, doing))),
            404 => Ok(Outcome::Broken(answer.refused(doing))),
            400 if answer.has_code("BLOB_UPLOAD_INVALID")
                || answer.has_code("BLOB_UPLOAD_UNKNOWN") =>
            {
                Ok(Outcome::Broken(answer.refused(doing)))
            }
            400 if answer.has_code("DIGEST_INVALID") => {
                let matches = upload.matches_now().map_err(|source| RegistryError::Read {
                    digest: upload.digest.clone(),
                    source,
                })?;
                match matches {
                    // The file was another one for a moment: what is read and hashed on its way arrives as it was hashed.
                    true if upload.read_anew() => Ok(Outcome::Anew),
                    true => Err(self.refused_for(upload.digest, doing, answer)),
                    false => Err(RegistryError::Corrupt {
                        digest: upload.digest.clone(),
                    }),
                }
            }
            _ => Err(self.refused_for(upload.digest, doing, answer)),
        }
    }

    /// Sends what the session lacks in chunks, then closes it.
    pub(super) fn put_rest(
        &self,
        upload: &Upload<'_>,
        session: &mut Session,
        doing: &str,
    ) -> Result<Outcome, RegistryError> {
        while session.sent < upload.size() {
            match self.put_chunk(upload, session, doing)? {
                Outcome::Done => {}
                other => return Ok(other),
            }
        }
        let digest = upload.digest.to_string();
        let url = session.location.with_query("digest", &digest);
        let mut call = self.call(Method::Put, Place::Url(&url), doing.to_owned());
        call.headers = vec![("content-type", "application/octet-stream".to_owned())];
        call.payload = Payload::Bytes(&[]);
        call.repeat = Repeat::No;
        match self.send(&call, ERROR_BYTES_MAX) {
            Ok(answer) => self.closed(upload, &answer, doing),
            Err(error) => broken(error),
        }
    }

    /// Sends one chunk and moves the session on.
    fn put_chunk(
        &self,
        upload: &Upload<'_>,
        session: &mut Session,
        doing: &str,
    ) -> Result<Outcome, RegistryError> {
        let chunk = self.features().chunk_bytes.unwrap_or(u64::MAX);
        let end = session.sent.saturating_add(chunk).min(upload.size());
        let size = end.saturating_sub(session.sent);
        let range = format!("{}-{}", session.sent, end.saturating_sub(1));
        let part = upload.part(session.sent, end);
        let mut call = self.call(
            Method::Patch,
            Place::Url(&session.location),
            doing.to_owned(),
        );
        call.headers = body_headers(size);
        call.headers.push(("content-range", range));
        call.payload = Payload::Stream(&part);
        call.repeat = Repeat::No;
        let answer = match self.send(&call, ERROR_BYTES_MAX) {
            Ok(answer) => answer,
            Err(error) => return broken(error),
        };
        match answer.status {
            // 201 is what one large registry answers to the first chunk.
            202 | 201 | 204 => {
                session.follow(&answer, doing)?;
                match received(&answer) {
                    // Going back again and again would be a push without an end, so it counts as one that broke off.
                    // One byte and none look the same.
                    Some(kept) if kept.max(1) < end => {
                        Ok(Outcome::Broken(RegistryError::Unexpected {
                            doing: doing.to_owned(),
                            problem: format!(
                                "the registry took a chunk and kept {kept} bytes, not {end}"
                            ),
                        }))
                    }
                    _ => {
                        session.sent = end;
                        Ok(Outcome::Done)
                    }
                }
            }
            413 => Ok(Outcome::TooLarge(answer.refused(doing))),
            404 | 416 => Ok(Outcome::Broken(answer.refused(doing))),
            status if is_transient(status) => Ok(Outcome::Broken(exhausted(&answer, doing))),
            400 if answer.has_code("BLOB_UPLOAD_INVALID") => {
                Ok(Outcome::Broken(answer.refused(doing)))
            }
            _ => Err(self.refused(doing, &answer)),
        }
    }

    /// Asks how much of a broken upload the registry kept; false where the session is gone.
    pub(super) fn find_again(
        &self,
        session: &mut Session,
        size: u64,
    ) -> Result<bool, RegistryError> {
        let doing = "asking how much of an upload arrived".to_owned();
        let mut call = self.call(Method::Get, Place::Url(&session.location), doing);
        call.repeat = Repeat::No;
        let Ok(answer) = self.send(&call, ERROR_BYTES_MAX) else {
            return Ok(false);
        };
        if answer.status != 204 {
            return Ok(false);
        }
        let Some(sent) = received(&answer).filter(|sent| *sent <= size) else {
            return Ok(false);
        };
        if session.follow(&answer, &call.doing).is_err() {
            return Ok(false);
        }
        session.sent = sent;
        Ok(true)
    }
}

/// Is an upload that the registry has opened.
pub(super) struct Session {
    /// Where the next request of it goes.
    pub(super) location: Url,
    /// How many bytes have arrived.
    pub(super) sent: u64,
}

impl Session {
    /// Goes on at the place that an answer names, where it names one.
    fn follow(&mut self, answer: &Answer, doing: &str) -> Result<(), RegistryError> {
        let Some(next) = answer.location(doing)? else {
            return Ok(());
        };
        check_leap(&self.location.origin, &next.origin).map_err(|problem| {
            RegistryError::Unexpected {
                doing: doing.to_owned(),
                problem: problem.to_owned(),
            }
        })?;
        self.location = next;
        Ok(())
    }
}

fn body_headers(size: u64) -> Vec<(&'static str, String)> {
    let mut headers = vec![("content-type", "application/octet-stream".to_owned())];
    if size >= ASK_FIRST_BYTES {
        headers.push(("expect", "100-continue".to_owned()));
    }
    headers
}

/// Takes a failed connection as a broken upload; everything else is final.
fn broken(error: RegistryError) -> Result<Outcome, RegistryError> {
    match error {
        error @ RegistryError::Network { .. } => Ok(Outcome::Broken(error)),
        other => Err(other),
    }
}

fn exhausted(answer: &Answer, doing: &str) -> RegistryError {
    RegistryError::Exhausted {
        doing: doing.to_owned(),
        status: answer.status,
        attempts: 1,
        answer: answer.words(),
    }
}

/// Returns how many bytes `Range: 0-LAST` says have arrived.
fn received(answer: &Answer) -> Option<u64> {
    let range = answer.header("range")?;
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (start, last) = range.split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    // One byte and none look the same; sending one twice is refused, not taken.
    match (start.trim(), last) {
        ("0", 0) => Some(0),
        ("0", last) => last.checked_add(1),
        _ => None,
    }
}

/// Refuses a registry that files the content under another digest: signatures name this one.
pub(super) fn check_digest(
    sent: &Digest,
    answer: &Answer,
    doing: &str,
) -> Result<(), RegistryError> {
    let named = match answer.header("docker-content-digest") {
        Some(named) if named != sent.to_string() => named,
        _ => return Ok(()),
    };
    let problem = format!(
        "the registry stores {sent} as {}; what refers to it would not be found",
        crate::text::escape_line(&named.chars().take(200).collect::<String>())
    );
    let doing = doing.to_owned();
    Err(match other_algorithm(sent) {
        Some(algorithm) if named.starts_with("sha256:") => RegistryError::Algorithm {
            doing,
            algorithm,
            answer: problem,
        },
        _ => RegistryError::Unexpected { doing, problem },
    })
}
