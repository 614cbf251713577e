//! One request, one answer. Status codes are answers, redirects are not followed, bodies are bounded.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::header::PROXY_AUTHORIZATION;
use ureq::http::{self, HeaderMap, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, AsSendBody, Proxy, ProxyProtocol, SendBody};

use super::error::HttpError;
use super::forward::{self, Forward};
use super::handed::{Content, Handing};
use super::pace::{self, Paced};
use super::plain::Connections;
use super::{Origin, Scheme, TlsOptions, Url, proxy, tls};

/// Lists the methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the name says it")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Returns the name in requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Is what a request carries.
pub enum Body<'a> {
    /// Nothing.
    None,
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A stream of exactly `size` bytes.
    Stream {
        /// How many bytes.
        size: u64,
        /// Where they come from; an error of it cuts the connection.
        reader: &'a mut dyn Content,
    },
}

/// Is one request.
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub url: &'a Url,
    /// Its headers.
    pub headers: &'a [(&'static str, String)],
    /// What it carries.
    pub body: Body<'a>,
}

/// Is one answer whose body is not read yet.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    headers: HeaderMap,
    body: ureq::Body,
    url: String,
    stall: Duration,
}

/// Holds the settings of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// TLS.
    pub tls: TlsOptions,
    /// How long nothing may happen.
    pub stall: Duration,
    /// Connections that are kept open.
    pub connections: usize,
}

/// Sends requests over a pool of kept connections. HTTP/1.1 only: uploads are faster that way.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    /// What requests of plain HTTP go through, where a proxy is to pass them on.
    forward: Option<Forward>,
    stall: Duration,
    /// `HOST:PORT` of the proxy, for messages.
    proxy: Option<String>,
}

impl Client {
    /// Returns a client for an origin and whatever it refers to; the proxy is the origin's.
    ///
    /// # Errors
    /// Says which setting cannot be used.
    pub fn new(
        options: &ClientOptions,
        origin: &Origin,
        environment: proxy::Environment<'_>,
    ) -> Result<Self, HttpError> {
        let tls = tls::configure(&options.tls).map_err(HttpError::Tls)?;
        let proxy = proxy::for_origin(origin, environment)
            .map(|text| usable(&text, origin))
            .transpose()?;
        let proxy_name = proxy
            .as_ref()
            .map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let config = |proxy| {
            Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .proxy(proxy)
                .tls_config(tls.clone())
                .user_agent(concat!("signetfs/", env!("CARGO_PKG_VERSION")))
                // Without it a server may encode as it likes, and digests are of what is stored.
                .accept_encoding("identity")
                .input_buffer_size(INPUT_BUFFER_BYTES)
                .output_buffer_size(OUTPUT_BUFFER_BYTES)
                .max_idle_connections(options.connections.saturating_mul(2))
                .max_idle_connections_per_host(options.connections)
                .timeout_resolve(Some(options.stall))
                .timeout_connect(Some(options.stall.min(CONNECT_MAX)))
                // Lines of a head that come one by one are no progress.
                .timeout_recv_response(Some(options.stall.saturating_mul(2)))
                .timeout_per_read(Some(options.stall))
                .timeout_per_write(Some(options.stall))
                .build()
        };
        // What is spoken to in TLS is spoken to through tunnels all the same.
        let plain = proxy
            .as_ref()
            .filter(|proxy| proxy.protocol() == ProxyProtocol::Http);
        let forward = plain.and_then(|proxy| Forward::to(proxy, config(None)));
        let resolver = DefaultResolver::default();
        Ok(Self {
            agent: Agent::with_parts(config(proxy), Connections::default(), resolver),
            forward,
            stall: options.stall,
            proxy: proxy_name,
        })
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// Says why there is no answer.
    pub fn send(&self, request: Request<'_>) -> Result<Response, HttpError> {
        let Request {
            method,
            url,
            headers,
            body,
        } = request;
        let mut builder = http::Request::builder()
            .method(method.name())
            .uri(url.to_string());
        for (name, value) in headers {
            builder = builder.header(*name, value);
        }
        match body {
            Body::None => self.run(url, builder.body(())),
            Body::Bytes(bytes) => self.run(url, builder.body(bytes)),
            Body::Stream { size, reader } => {
                let builder = builder.header("content-length", size.to_string());
                if url.origin.scheme == Scheme::Https || self.agent.config().proxy().is_some() {
                    return self.run(url, builder.body(SendBody::from_reader(reader)));
                }
                let mut handing = Handing::new(reader);
                let result = self.run(url, builder.body(SendBody::from_reader(&mut handing)));
                let handed = handing.finish();
                let response = result?;
                handed.map_err(|error| self.failed(url, error.into()))?;
                Ok(response)
            }
        }
    }

    fn run<S: AsSendBody>(
        &self,
        url: &Url,
        request: Result<http::Request<S>, http::Error>,
    ) -> Result<Response, HttpError> {
        let mut request = request.map_err(|error| self.failed(url, error.into()))?;
        let answer = match self.forward.as_ref().filter(|_| Forward::is_for(url)) {
            None => self.agent.run(request),
            Some(forward) => {
                if let Some(secret) = &forward.authorization
                    && let Ok(secret) = secret.parse()
                {
                    request.headers_mut().insert(PROXY_AUTHORIZATION, secret);
                }
                let answer = forward.name(url).run(request);
                // What failed before it was sent must not name the next.
                forward::take();
                answer
            }
        };
        let (parts, body) = answer
            .map_err(|error| self.failed(url, error))?
            .into_parts();
        // No registry answers that.
        if parts.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED && self.proxy.is_some() {
            let wanted = "it wants (other) credentials of its own (407)";
            let error = io::Error::new(io::ErrorKind::InvalidData, wanted);
            return Err(self.failed(url, error.into()));
        }
        Ok(Response {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            url: url.public(),
            stall: self.stall,
        })
    }

    /// Returns the error of an exchange; a proxy is named, because it may be what fails.
    fn failed(&self, url: &Url, source: ureq::Error) -> HttpError {
        let url = match &self.proxy {
            None => url.public(),
            Some(proxy) => format!("{} through the proxy {proxy}", url.public()),
        };
        HttpError::Exchange {
            url,
            source: Box::new(source),
        }
    }
}

/// Returns a proxy that is named by a URL.
///
/// # Errors
/// Refuses what is no URL, and SOCKS, of which the library would panic.
fn usable(text: &str, origin: &Origin) -> Result<Proxy, HttpError> {
    let origin = || origin.to_string();
    let proxy = Proxy::new(text).map_err(|_| HttpError::Proxy { origin: origin() })?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
        _ => Err(HttpError::Socks { origin: origin() }),
    }
}

/// Bytes of the buffer that answers are read through.
const INPUT_BUFFER_BYTES: usize = 64 << 10;
/// Bytes of the buffer that requests are written through.
const OUTPUT_BUFFER_BYTES: usize = 128 << 10;
/// The longest time until a connection stands.
const CONNECT_MAX: Duration = Duration::from_secs(20);

impl Response {
    /// Returns a header's value where it is there and ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns every value of a header.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
    }

    /// Returns the body whole.
    ///
    /// # Errors
    /// Says why it could not be read, or that it is larger than `limit`.
    pub fn into_bytes(self, limit: u64) -> Result<Vec<u8>, HttpError> {
        let url = self.url;
        let mut bytes = Vec::new();
        let paced = Paced::new(
            self.body.into_reader(),
            self.stall,
            pace::ANSWER_BYTES_PER_SECOND,
        );
        let mut reader = paced.take(limit.saturating_add(1));
        match reader.read_to_end(&mut bytes) {
            Err(source) => Err(HttpError::Body { url, source }),
            Ok(read) if u64::try_from(read).is_ok_and(|read| read <= limit) => Ok(bytes),
            Ok(_) => Err(HttpError::TooLarge { url, limit }),
        }
    }

    /// Returns the body as a stream. The caller bounds it.
    #[must_use]
    pub fn into_reader(self) -> impl Read {
        Paced::new(
            self.body.into_reader(),
            self.stall,
            pace::CONTENT_BYTES_PER_SECOND,
        )
    }

    /// Reads a small body to its end, so that the connection can be used again; a large one is dropped with its connection.
    pub fn discard(self) {
        let _ = self.into_bytes(DISCARD_BYTES_MAX);
    }
}

/// Bytes of an unwanted body that are read rather than the connection dropped.
const DISCARD_BYTES_MAX: u64 = 64 << 10;
