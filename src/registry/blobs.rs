//! Blobs: whether they are there, mounting, uploading whole or in chunks, resuming, and never half of one.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs>

use std::sync::atomic::Ordering;

use super::answer::{Answer, ERROR_BYTES_MAX};
use super::call::{Call, Payload, Place, Repeat};
use super::error::RegistryError;
use super::redirect::check_leap;
use super::session::Registry;
use super::transfer::{Outcome, Session};
use super::upload::{Failed, Upload};
use crate::http::{Method, Url};
use crate::oci::{Descriptor, Digest};

/// Bytes of one chunk where whole blobs are refused; registries that limit bodies take this much.
const CHUNK_BYTES: u64 = 4 << 20;
/// The longest chunk that a registry may ask for.
const CHUNK_BYTES_MAX: u64 = 1 << 30;

/// Tells what became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// It was sent.
    Sent,
    /// The registry had it in another repository.
    Mounted,
}

/// Tells how a broken upload goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Where it broke off.
    Resume,
    /// From the start, in a new session.
    Anew,
}

impl Registry {
    /// Returns whether the registry has a blob.
    ///
    /// # Errors
    /// Says why it did not answer.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, RegistryError> {
        let doing = format!("looking for blob {digest}");
        let call = self.call(Method::Head, Place::Path(format!("blobs/{digest}")), doing);
        let answer = self.send(&call, ERROR_BYTES_MAX)?;
        match answer.status {
            200 => {
                let length = answer
                    .header("content-length")
                    .and_then(|length| length.parse::<u64>().ok());
                Ok(length.is_none_or(|length| length == size))
            }
            // Some registries answer 403 for what is not there; the upload will tell.
            404 | 403 => Ok(false),
            _ => Err(self.refused_for(digest, &call.doing, &answer)),
        }
    }

    /// Uploads a blob that the registry lacks.
    ///
    /// # Errors
    /// Says why it is not there now; nothing was created then.
    pub fn upload(&self, upload: &Upload<'_>) -> Result<Uploaded, RegistryError> {
        let uploaded = self.carry(upload);
        self.bytes_sent.fetch_add(upload.given(), Ordering::Relaxed);
        if uploaded.is_ok() {
            // Also where it was mounted, or was there when its answer had been lost.
            upload.reached(upload.size());
        }
        uploaded
    }

    fn carry(&self, upload: &Upload<'_>) -> Result<Uploaded, RegistryError> {
        let doing = format!("uploading blob {}", upload.digest);
        let mut attempt = 0_u32;
        loop {
            let Some(location) = self.open_upload(upload, &doing)? else {
                return Ok(Uploaded::Mounted);
            };
            let mut session = Session { location, sent: 0 };
            let chunk = self.features().chunk_bytes;
            let mut outcome = match chunk {
                Some(chunk) if upload.size() > chunk => {
                    self.put_rest(upload, &mut session, &doing)?
                }
                _ => self.put_whole(upload, &session, &doing)?,
            };
            loop {
                match outcome {
                    Outcome::Done => return self.sent(upload, &doing),
                    Outcome::Anew => {
                        self.cancel(&session.location);
                        break;
                    }
                    Outcome::TooLarge(error) => {
                        self.cancel(&session.location);
                        if chunk.is_some() {
                            return Err(error);
                        }
                        self.learn(|features| {
                            features.chunk_bytes = features.chunk_bytes.or(Some(CHUNK_BYTES))
                        });
                        break;
                    }
                    Outcome::Broken(error) => {
                        if self.give_up(upload, &session.location, &doing)? == Then::Anew {
                            break;
                        }
                        attempt = attempt.saturating_add(1);
                        let Some(wait) = self.patience.wait(attempt, None) else {
                            self.cancel(&session.location);
                            return Err(error.after(attempt));
                        };
                        self.count_retry();
                        self.pause(&doing, "the upload broke off", wait.pause);
                        if !self.find_again(&mut session, upload.size())? {
                            // The blob may be there and only the answer lost.
                            if self.has_blob(upload.digest, upload.size())? {
                                return self.sent(upload, &doing);
                            }
                            break;
                        }
                        outcome = self.put_rest(upload, &mut session, &doing)?;
                    }
                }
            }
        }
    }

    /// Answers for a blob that the registry says it has. Where its file changed after places in it were handed over, it is read back:
    /// a registry that does not hash what arrives may have stored other bytes.
    fn sent(&self, upload: &Upload<'_>, doing: &str) -> Result<Uploaded, RegistryError> {
        if upload.may_have_changed() {
            let stored = Descriptor::new("", upload.digest.clone(), upload.size());
            if !self.download(&stored, &mut |_| Ok(()))? {
                return Err(RegistryError::Unexpected {
                    doing: doing.to_owned(),
                    problem: "the registry said that it is stored, and has it not".to_owned(),
                });
            }
        }
        Ok(Uploaded::Sent)
    }

    /// Returns the error where this side cut the body short for good, else how to go on.
    fn give_up(
        &self,
        upload: &Upload<'_>,
        location: &Url,
        doing: &str,
    ) -> Result<Then, RegistryError> {
        let digest = upload.digest.clone();
        let error = match upload.take_failure() {
            None => return Ok(Then::Resume),
            Some(Failed::Changed) if upload.read_anew() => {
                // What the registry has of it may be other bytes than those that were hashed.
                self.cancel(location);
                return Ok(Then::Anew);
            }
            Some(Failed::Corrupt | Failed::Changed) => RegistryError::Corrupt { digest },
            Some(Failed::Read(source)) => RegistryError::Read { digest, source },
            Some(Failed::Cancelled) => RegistryError::Cancelled {
                doing: doing.to_owned(),
            },
        };
        self.cancel(location);
        Err(error)
    }

    /// Opens an upload, offering to mount instead; `None` where the registry mounted.
    fn open_upload(&self, upload: &Upload<'_>, doing: &str) -> Result<Option<Url>, RegistryError> {
        let digest = upload.digest;
        // Without a source this asks to mount from anywhere; registries that do not know it open an upload all the same.
        let mut offers: Vec<String> = self
            .mount_from
            .iter()
            .map(|from| format!("blobs/uploads/?mount={digest}&from={from}"))
            .collect();
        if offers.is_empty() {
            offers.push(format!("blobs/uploads/?mount={digest}"));
        }
        let mut opened: Option<Url> = None;
        for offer in offers {
            if let Some(unused) = opened.take() {
                self.cancel(&unused);
            }
            let mut call = self.call(Method::Post, Place::Path(offer), doing.to_owned());
            call.payload = Payload::Bytes(&[]);
            let answer = self.send(&call, ERROR_BYTES_MAX)?;
            match answer.status {
                201 => return Ok(None),
                202 => opened = Some(self.upload_location(&answer, doing)?),
                _ => return Err(self.refused_for(digest, doing, &answer)),
            }
            if let Some(least) = answer
                .header("oci-chunk-min-length")
                .and_then(|text| text.parse::<u64>().ok())
            {
                self.learn(|features| {
                    if let Some(chunk) = features.chunk_bytes.as_mut() {
                        *chunk = (*chunk).max(least.min(CHUNK_BYTES_MAX));
                    }
                });
            }
        }
        Ok(opened)
    }

    fn upload_location(&self, answer: &Answer, doing: &str) -> Result<Url, RegistryError> {
        let unexpected = |problem: &str| RegistryError::Unexpected {
            doing: doing.to_owned(),
            problem: problem.to_owned(),
        };
        let location = answer
            .location(doing)?
            .ok_or_else(|| unexpected("the registry names no place to upload to"))?;
        check_leap(&answer.url.origin, &location.origin).map_err(unexpected)?;
        Ok(location)
    }

    /// Gives an upload up; whether the registry understands does not matter.
    fn cancel(&self, location: &Url) {
        let mut call = self.call(
            Method::Delete,
            Place::Url(location),
            "cancelling an upload".to_owned(),
        );
        call.repeat = Repeat::No;
        let _ = self.send(&call, ERROR_BYTES_MAX);
    }

    /// Returns a plain call that is repeated.
    pub(super) fn call<'a>(&self, method: Method, place: Place<'a>, doing: String) -> Call<'a> {
        Call {
            method,
            place,
            headers: Vec::new(),
            payload: Payload::None,
            repeat: Repeat::Yes,
            doing,
        }
    }
}
