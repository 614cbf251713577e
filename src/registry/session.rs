//! Sends calls to one repository: picks the scheme, shows credentials, follows redirects, waits and tries again.
//!
//! Credentials go to the registry's own origin only, whatever `Location` says. Bodies are opened again for each attempt.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::answer::{Answer, ERROR_BYTES_MAX, reason_to_wait};
use super::auth::{Auth, Channel, Ticket};
use super::call::{Call, Payload, Place, Repeat};
use super::challenge;
use super::error::RegistryError;
use super::name::RegistryReference;
use super::options::{Access, Counts, Options, SchemeChoice};
use super::redirect::{Attempt, redirect};
use crate::http::{
    Body, Client, Failure, HttpError, Method, Origin, Patience, Request, Response, Scheme, Url,
    proxy,
};

/// Is one repository of one registry.
pub struct Registry {
    /// Its name as typed.
    pub reference: RegistryReference,
    pub(super) mount_from: Vec<String>,
    pub(super) patience: Patience,
    client: Client,
    secure: Origin,
    plain: Origin,
    choice: SchemeChoice,
    scheme: OnceLock<Scheme>,
    pub(super) auth: Auth,
    requests: AtomicU64,
    retries: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    pub(super) features: Mutex<Features>,
    notify: Box<dyn Fn(&str) + Send + Sync>,
    warned: Mutex<Vec<String>>,
}

/// Is what was learnt about the registry.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Features {
    /// Bytes of one chunk, where whole blobs are refused.
    pub chunk_bytes: Option<u64>,
    /// Whether it has the referrers API, once known.
    pub referrers_api: Option<bool>,
}

impl Registry {
    /// Returns a client for a repository. Nothing is sent yet.
    ///
    /// # Errors
    /// Says which setting cannot be used.
    pub fn open(
        reference: RegistryReference,
        options: Options,
        environment: proxy::Environment<'_>,
    ) -> Result<Self, RegistryError> {
        let host = reference.served_by().to_owned();
        let origin = |scheme| {
            Origin::parse(scheme, &host).map_err(|source| RegistryError::Elsewhere {
                doing: format!("reading the name of {host}"),
                source,
            })
        };
        let (secure, plain) = (origin(Scheme::Https)?, origin(Scheme::Http)?);
        let shown = if options.scheme == SchemeChoice::Plain {
            &plain
        } else {
            &secure
        };
        let client = Client::new(&options.client, shown, environment).map_err(|source| {
            RegistryError::Setup {
                host: host.clone(),
                source,
            }
        })?;
        let actions = match options.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let mut scopes = vec![format!("repository:{}:{actions}", reference.repository)];
        scopes.extend(
            options
                .mount_from
                .iter()
                .map(|from| format!("repository:{from}:pull")),
        );
        let auth = Auth::new(
            options.finder,
            (&reference.host, &reference.repository),
            scopes,
            options.trusted_realm_host,
        );
        Ok(Self {
            mount_from: options.mount_from,
            patience: options.patience,
            client,
            secure,
            plain,
            choice: options.scheme,
            scheme: OnceLock::new(),
            auth,
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            features: Mutex::default(),
            notify: options.notify,
            warned: Mutex::default(),
            reference,
        })
    }

    /// Returns what was sent so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
        }
    }

    pub(super) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn features(&self) -> Features {
        *self.features.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn learn(&self, change: impl FnOnce(&mut Features)) {
        change(&mut self.features.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells something once.
    pub(super) fn notify_once(&self, text: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if !warned.iter().any(|known| known == text) && warned.len() < NOTICES_MAX {
            warned.push(text.to_owned());
            (self.notify)(text);
        }
    }

    /// Asks whether the registry lets us in.
    ///
    /// # Errors
    /// Says why not.
    pub fn ping(&self) -> Result<(), RegistryError> {
        let doing = format!("logging in to {}", self.reference.host);
        let call = self.call(Method::Get, Place::Base, doing);
        let answer = self.send(&call, ERROR_BYTES_MAX)?;
        match answer.status {
            200 => Ok(()),
            _ => Err(self.refused(&call.doing, &answer)),
        }
    }

    /// Sends a call and reads its answer, of at most `limit` bytes, as often as patience allows.
    ///
    /// # Errors
    /// Says why there is no answer; statuses of an answer are the caller's to judge, but for 401, and for those that patience ran out on.
    pub fn send(&self, call: &Call<'_>, limit: u64) -> Result<Answer, RegistryError> {
        let mut attempt = 0_u32;
        loop {
            attempt = attempt.saturating_add(1);
            let outcome = match self.once(call, limit) {
                Err(Attempt::Registry(error)) => return Err(error),
                Err(Attempt::Http(error)) => Err(error),
                Ok(answer) => Ok(answer),
            };
            if call.repeat == Repeat::Yes {
                let (why, asked) = reason_to_wait(&outcome);
                let wait = why
                    .as_ref()
                    .and_then(|_| self.patience.wait(attempt, asked));
                if let (Some(why), Some(wait)) = (&why, wait) {
                    self.count_retry();
                    self.pause(&call.doing, why, wait.pause);
                    continue;
                }
                if let (Some(why), Ok(answer)) = (why, &outcome) {
                    return Err(RegistryError::Exhausted {
                        doing: call.doing.clone(),
                        status: answer.status,
                        attempts: attempt,
                        answer: why,
                    });
                }
            }
            return outcome.map_err(|source| RegistryError::Network {
                doing: call.doing.clone(),
                attempts: attempt,
                source,
            });
        }
    }

    /// Sends a call once and reads its answer.
    fn once(&self, call: &Call<'_>, limit: u64) -> Result<Answer, Attempt> {
        let (response, url) = self.attempt(call)?;
        let limit = match response.status {
            400.. => limit.min(ERROR_BYTES_MAX),
            _ => limit,
        };
        Ok(Answer::read(response, url, limit)?)
    }

    /// Waits, and says so where it takes long enough to wonder.
    pub(super) fn pause(&self, doing: &str, why: &str, pause: Duration) {
        if pause >= PAUSE_TOLD {
            (self.notify)(&format!("{doing}: {why}; waiting {} s", pause.as_secs()));
        }
        std::thread::sleep(pause);
    }

    /// Sends a call once, renewing credentials and following redirects.
    pub(super) fn attempt(&self, call: &Call<'_>) -> Result<(Response, Url), Attempt> {
        let mut url = match &call.place {
            Place::Url(url) => (*url).clone(),
            Place::Base => Url::at(self.origin(call)?, "/v2/"),
            Place::Path(path) => {
                let origin = self.origin(call)?;
                Url::at(origin, &format!("/v2/{}/{path}", self.reference.repository))
            }
        };
        let own = self.own_origin().clone();
        let channel = Channel {
            client: &self.client,
            origin: &own,
        };
        let (mut redirects, mut renewed) = (0_u32, false);
        loop {
            let is_own = url.origin == own;
            let ticket = if is_own {
                self.auth.ticket(&channel)?
            } else {
                Ticket::default()
            };
            let response = self.exchange(call, &url, ticket.header)?;
            self.note_warnings(&response);
            let follows = matches!(call.method, Method::Get | Method::Head);
            match response.status {
                401 if is_own && !renewed => {
                    let found = challenge::choose(response.headers("www-authenticate"));
                    let Some(found) = found else {
                        return Err(self.unauthorized(call, response, url).into());
                    };
                    response.discard();
                    self.auth.renew(&found, ticket.generation, &channel)?;
                    renewed = true;
                }
                401 if is_own => return Err(self.unauthorized(call, response, url).into()),
                307 | 308 => (url, redirects) = redirect(call, response, &url, redirects)?,
                301..=303 if follows => {
                    (url, redirects) = redirect(call, response, &url, redirects)?
                }
                _ => return Ok((response, url)),
            }
        }
    }

    fn exchange(
        &self,
        call: &Call<'_>,
        url: &Url,
        authorization: Option<String>,
    ) -> Result<Response, HttpError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut headers = call.headers.clone();
        headers.extend(authorization.map(|value| ("authorization", value)));
        let mut stream;
        let body = match &call.payload {
            Payload::None => Body::None,
            Payload::Bytes(bytes) => Body::Bytes(bytes),
            Payload::Stream(source) => {
                stream = source.open();
                Body::Stream {
                    size: source.size(),
                    reader: &mut *stream,
                }
            }
        };
        self.client.send(Request {
            method: call.method,
            url,
            headers: &headers,
            body,
        })
    }

    pub(super) fn own_origin(&self) -> &Origin {
        match self.scheme.get() {
            Some(Scheme::Http) => &self.plain,
            Some(Scheme::Https) => &self.secure,
            None if self.choice == SchemeChoice::Plain => &self.plain,
            None => &self.secure,
        }
    }

    /// Returns the registry's origin; on this machine the first call finds out whether it speaks TLS.
    fn origin(&self, call: &Call<'_>) -> Result<&Origin, HttpError> {
        if self.scheme.get().is_none() {
            let scheme = match self.choice {
                SchemeChoice::Plain => Scheme::Http,
                SchemeChoice::Auto if !self.secure.is_loopback() => Scheme::Https,
                SchemeChoice::Auto => self.probe(call)?,
            };
            let _ = self.scheme.set(scheme);
        }
        Ok(self.own_origin())
    }

    /// Greets with TLS; a server that does not understand is spoken to in plain HTTP.
    fn probe(&self, call: &Call<'_>) -> Result<Scheme, HttpError> {
        let url = Url::at(&self.secure, "/v2/");
        let greeting = Request {
            method: Method::Get,
            url: &url,
            headers: &[],
            body: Body::None,
        };
        match self.client.send(greeting) {
            Ok(response) => {
                self.requests.fetch_add(1, Ordering::Relaxed);
                response.discard();
                Ok(Scheme::Https)
            }
            Err(error) if error.failure() == Failure::NotTls || error.is_hangup() => {
                self.notify_once(&format!(
                    "{} does not speak TLS: using plain HTTP on this machine",
                    self.secure.authority()
                ));
                Ok(Scheme::Http)
            }
            Err(error) => {
                let _ = &call.doing;
                Err(error)
            }
        }
    }

    /// Repeats warnings of the registry, each once. <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#warnings>
    fn note_warnings(&self, response: &Response) {
        let warnings = response
            .headers("warning")
            .filter_map(|value| value.strip_prefix("299 - "));
        for warning in warnings {
            let text: String = warning.trim_matches('"').chars().take(300).collect();
            self.notify_once(&format!(
                "{} warns: {}",
                self.reference.host,
                crate::text::escape_line(&text)
            ));
        }
    }
}

/// Notices of one run.
const NOTICES_MAX: usize = 100;
/// Pauses from this length on are told.
const PAUSE_TOLD: Duration = Duration::from_secs(1);
