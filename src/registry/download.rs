//! Blobs from a registry: whole into memory where they are small, or piece by piece to whoever takes them. Always hashed here.

use std::io::{self, Read};

use super::answer::{Answer, ERROR_BYTES_MAX};
use super::call::{Place, Repeat};
use super::error::RegistryError;
use super::redirect::Attempt;
use super::session::Registry;
use crate::http::{Method, Response, Url};
use crate::oci::{Descriptor, Hasher};

/// Bytes of the buffer that blobs go through.
const BUFFER_BYTES: usize = 128 << 10;

/// Takes a blob piece by piece. What was taken stands only once the whole blob was found to have its digest.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// How far a download is.
struct Progressed {
    taken: u64,
    hasher: Hasher,
}

impl Registry {
    /// Returns a small blob whole; `None` where the registry has none.
    ///
    /// # Errors
    /// Says why it cannot be had, or that it has other content.
    pub fn small_blob(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>, RegistryError> {
        let doing = format!("reading blob {}", descriptor.digest);
        let place = Place::Path(format!("blobs/{}", descriptor.digest));
        let call = self.call(Method::Get, place, doing);
        let answer = self.send(&call, descriptor.size)?;
        match answer.status {
            200 if descriptor.digest.matches(&answer.body) => Ok(Some(answer.body)),
            200 => Err(other_content(&call.doing)),
            404 => Ok(None),
            _ => Err(self.refused(&call.doing, &answer)),
        }
    }

    /// Hands a blob to `sink` piece by piece, going on where a connection broke; false where the registry has none.
    ///
    /// # Errors
    /// Says why not all of it came, or that it has other content: the pieces are then worth nothing.
    pub fn download(&self, descriptor: &Descriptor, sink: Sink<'_>) -> Result<bool, RegistryError> {
        let doing = format!("reading blob {}", descriptor.digest);
        let Some(algorithm) = descriptor.digest.algorithm() else {
            return Err(other_content(&doing));
        };
        let mut progressed = Progressed {
            taken: 0,
            hasher: Hasher::new(algorithm),
        };
        let mut attempt = 0_u32;
        loop {
            attempt = attempt.saturating_add(1);
            let mut call = self.call(
                Method::Get,
                Place::Path(format!("blobs/{}", descriptor.digest)),
                doing.clone(),
            );
            call.repeat = Repeat::No;
            if progressed.taken > 0 {
                call.headers
                    .push(("range", format!("bytes={}-", progressed.taken)));
            }
            let failed = match self.attempt(&call) {
                Err(Attempt::Registry(error)) => return Err(error),
                Err(Attempt::Http(source)) => RegistryError::Network {
                    doing: doing.clone(),
                    attempts: attempt,
                    source,
                },
                Ok((response, _)) if matches!(response.status, 200 | 206) => {
                    match take(response, descriptor, &mut progressed, sink) {
                        Ok(()) if progressed.hasher.clone().finish() == descriptor.digest => {
                            return Ok(true);
                        }
                        Ok(()) => return Err(other_content(&doing)),
                        Err(Taken::Sink(source)) => {
                            return Err(RegistryError::Read {
                                digest: descriptor.digest.clone(),
                                source,
                            });
                        }
                        Err(Taken::Broken(problem)) => RegistryError::Unexpected {
                            doing: doing.clone(),
                            problem,
                        },
                    }
                }
                Ok((response, url)) => match self.judge(response, url, &doing)? {
                    None => return Ok(false),
                    Some(error) => error,
                },
            };
            let Some(wait) = self.patience.wait(attempt, None) else {
                return Err(failed);
            };
            self.count_retry();
            self.pause(&doing, "the download broke off", wait.pause);
        }
    }

    /// Judges an answer that is no content: absent (`None`), worth another attempt, or final.
    fn judge(
        &self,
        response: Response,
        url: Url,
        doing: &str,
    ) -> Result<Option<RegistryError>, RegistryError> {
        let status = response.status;
        let Ok(answer) = Answer::read(response, url, ERROR_BYTES_MAX) else {
            return Err(RegistryError::Unexpected {
                doing: doing.to_owned(),
                problem: format!("the answer {status} cannot be read"),
            });
        };
        match status {
            404 => Ok(None),
            status if crate::http::retry::is_transient(status) => {
                Ok(Some(RegistryError::Exhausted {
                    doing: doing.to_owned(),
                    status,
                    attempts: self.patience.attempts,
                    answer: answer.words(),
                }))
            }
            _ => Err(self.refused(doing, &answer)),
        }
    }
}

/// Is why not all of an answer was taken.
enum Taken {
    Sink(io::Error),
    Broken(String),
}

/// Takes the rest of a blob out of an answer; what an answer from the start repeats is passed over.
fn take(
    response: Response,
    descriptor: &Descriptor,
    progressed: &mut Progressed,
    sink: Sink<'_>,
) -> Result<(), Taken> {
    let mut skip = match response.status {
        206 => {
            let starts = format!("bytes {}-", progressed.taken);
            let fits = response
                .header("content-range")
                .is_some_and(|range| range.starts_with(&starts));
            if !fits {
                return Err(Taken::Broken(
                    "the registry sends another part than was asked for".to_owned(),
                ));
            }
            0
        }
        _ => progressed.taken,
    };
    let mut reader = response.into_reader();
    let mut buffer = vec![0; BUFFER_BYTES];
    while progressed.taken < descriptor.size {
        let read = reader
            .read(&mut buffer)
            .map_err(|error| Taken::Broken(format!("the content breaks off: {error}")))?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return Err(Taken::Broken("the content ends early".to_owned()));
        }
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let passed = skip.min(length);
        skip = skip.saturating_sub(passed);
        let piece = piece
            .get(usize::try_from(passed).unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        let length = length.saturating_sub(passed);
        if progressed.taken.saturating_add(length) > descriptor.size {
            return Err(Taken::Broken(
                "the content is longer than its descriptor says".to_owned(),
            ));
        }
        progressed.hasher.update(piece);
        sink(piece).map_err(Taken::Sink)?;
        progressed.taken = progressed.taken.saturating_add(length);
    }
    Ok(())
}

fn other_content(doing: &str) -> RegistryError {
    RegistryError::Unexpected {
        doing: doing.to_owned(),
        problem: "the registry gives other bytes than the digest names".to_owned(),
    }
}
