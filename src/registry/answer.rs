//! An answer of a registry with its body, and the error documents registries send.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>

use std::time::Duration;

use serde_json::Value;

use super::error::RegistryError;
use crate::clock;
use crate::http::retry::{asked, is_transient};
use crate::http::{Failure, HttpError, Response, Url};
use crate::oci::Digest;
use crate::text::escape_line;

/// Bytes of an error document that are read.
pub const ERROR_BYTES_MAX: u64 = 16 << 10;
/// Characters of the registry's own words that are repeated.
const WORDS_MAX: usize = 400;

/// Is an answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Where it came from, after redirects.
    pub url: Url,
    /// The body.
    pub body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

/// The headers that are kept.
const HEADERS: [&str; 15] = [
    "location",
    "range",
    "docker-content-digest",
    "content-encoding",
    "content-type",
    "content-length",
    "etag",
    "oci-subject",
    "oci-tag",
    "oci-chunk-min-length",
    "link",
    "warning",
    "retry-after",
    "date",
    "content-range",
];

impl Answer {
    /// Reads an answer; error documents are cut at their own limit.
    ///
    /// # Errors
    /// Says why the body could not be read.
    pub fn read(response: Response, url: Url, limit: u64) -> Result<Self, HttpError> {
        let headers = HEADERS
            .into_iter()
            .flat_map(|name| {
                response
                    .headers(name)
                    .map(move |value| (name, value.to_owned()))
                    .collect::<Vec<_>>()
            })
            .collect();
        let status = response.status;
        let body = match response.into_bytes(limit) {
            // What is wrong is in the status; the words are a courtesy.
            Err(HttpError::TooLarge { .. }) if status >= 300 => Vec::new(),
            other => other?,
        };
        Ok(Self {
            status,
            url,
            body,
            headers,
        })
    }

    /// Returns a header's (first) value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Returns every value of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the digest that the registry gives the content.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.header("docker-content-digest")?.parse().ok()
    }

    /// Returns where the answer points.
    ///
    /// # Errors
    /// Says that it points nowhere, or where it may not.
    pub fn location(&self, doing: &str) -> Result<Option<Url>, RegistryError> {
        let Some(location) = self.header("location") else {
            return Ok(None);
        };
        let url = self.url.join(location);
        url.map(Some).map_err(|source| RegistryError::Elsewhere {
            doing: doing.to_owned(),
            source,
        })
    }

    /// Returns the codes of the error document.
    #[must_use]
    pub fn codes(&self) -> Vec<String> {
        errors(&self.body)
            .iter()
            .filter_map(|error| Some(error.get("code")?.as_str()?.to_owned()))
            .collect()
    }

    /// Returns whether the error document has this code.
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        self.codes().iter().any(|found| found == code)
    }

    /// Returns whether a refusal may be about the digest that was asked for; an answer to HEAD, or of a proxy, has no code.
    #[must_use]
    pub fn may_be_about_a_digest(&self) -> bool {
        let codes = self.codes();
        let is_about = |code: &String| matches!(code.as_str(), "DIGEST_INVALID" | "UNSUPPORTED");
        matches!(self.status, 400 | 405 | 415 | 501)
            && (codes.is_empty() || codes.iter().any(is_about))
    }

    /// Returns whether the registry asks to slow down, in whichever way.
    #[must_use]
    pub fn is_rate_limit(&self) -> bool {
        let words = String::from_utf8_lossy(&self.body).to_ascii_lowercase();
        self.has_code("TOOMANYREQUESTS") || words.contains("rate limit")
    }

    /// Returns the registry's own code and words, safe to print.
    #[must_use]
    pub fn words(&self) -> String {
        words(&self.body)
    }

    /// Returns the error for an answer that is not the one hoped for.
    #[must_use]
    pub fn refused(&self, doing: &str) -> RegistryError {
        RegistryError::Refused {
            doing: doing.to_owned(),
            status: self.status,
            answer: self.words(),
        }
    }
}

/// Returns why another attempt may be answered otherwise, and how long the registry asks to wait.
pub(super) fn reason_to_wait(
    outcome: &Result<Answer, HttpError>,
) -> (Option<String>, Option<Duration>) {
    match outcome {
        Ok(answer)
            if is_transient(answer.status) || answer.status == 403 && answer.is_rate_limit() =>
        {
            let retry_after = answer.header("retry-after");
            let asked =
                retry_after.and_then(|value| asked(value, answer.header("date"), clock::now()));
            (Some(answer.words()), asked)
        }
        Err(error) if error.failure() == Failure::Transient => {
            (Some("the connection failed".to_owned()), None)
        }
        _ => (None, None),
    }
}

fn errors(body: &[u8]) -> Vec<Value> {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    match document.and_then(|mut document| document.get_mut("errors").map(Value::take)) {
        Some(Value::Array(errors)) => errors,
        _ => Vec::new(),
    }
}

/// Returns code and words of an error document, else the beginning of whatever it is.
fn words(body: &[u8]) -> String {
    let listed: Vec<String> = errors(body)
        .iter()
        .map(|error| {
            let member = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
            let detail = match error.get("detail") {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => format!(" ({text})"),
                Some(other) => format!(" ({other})"),
            };
            format!("{}: {}{detail}", member("code"), member("message"))
        })
        .collect();
    let text = if listed.is_empty() {
        String::from_utf8_lossy(body).trim().to_owned()
    } else {
        listed.join("; ")
    };
    let text: String = text.chars().take(WORDS_MAX).collect();
    match text.as_str() {
        "" => "no explanation".to_owned(),
        text => escape_line(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_the_words_of_registries_without_control_characters() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m","detail":{"a":1}},{"code":"X"}]}"#;
        assert_eq!(words(body), r#"DENIED: no\x1b[31m ({"a":1}); X: "#);
        assert_eq!(words(b"404 page not found\n"), "404 page not found");
        assert_eq!(words(b""), "no explanation");
        assert!(words(&[b'x'; 10_000]).len() <= WORDS_MAX);
    }
}
