//! Requests of plain HTTP through a proxy: their first line names the whole URL, and the proxy passes them on.
//! <https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2>
//!
//! Many proxies open tunnels (CONNECT) to port 443 only, so Go and curl ask like this too. The library would ask for a tunnel and writes
//! paths alone: the connection, which it runs on the same thread, completes the first line of each request. TLS goes through tunnels.

use std::cell::RefCell;
use std::io;

use base64ct::{Base64, Encoding};
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Agent, Error, Proxy, config::Config};

use super::plain::Connections;
use super::{Scheme, Url};

thread_local! {
    /// What goes before the path of the request that is sent next.
    static NAMED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Sends requests to a proxy.
#[derive(Debug)]
pub(super) struct Forward {
    agent: Agent,
    /// What the proxy is told of who asks.
    pub(super) authorization: Option<String>,
}

impl Forward {
    /// Returns what sends to a proxy that is spoken to in plain HTTP; `config` has no proxy.
    pub(super) fn to(proxy: &Proxy, config: Config) -> Option<Self> {
        let host = match proxy.host() {
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let uri = format!("http://{host}:{}", proxy.port()).parse().ok()?;
        let resolver = ToProxy {
            uri,
            inner: DefaultResolver::default(),
        };
        let (user, password) = (proxy.username(), proxy.password());
        let authorization = (user.is_some() || password.is_some()).then(|| {
            let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
            let secret = Base64::encode_string(format!("{user}:{password}").as_bytes());
            format!("Basic {secret}")
        });
        Some(Self {
            agent: Agent::with_parts(config, Connections::default(), resolver),
            authorization,
        })
    }

    /// Returns what to run a request for a URL with.
    pub(super) fn name(&self, url: &Url) -> &Agent {
        NAMED.set(Some(start_of(&url.to_string()).to_owned()));
        &self.agent
    }

    /// Returns whether a URL is asked for like this.
    pub(super) fn is_for(url: &Url) -> bool {
        url.origin.scheme == Scheme::Http
    }
}

/// Takes what the request that is sent now begins its URL with, where it goes to a proxy.
pub(super) fn take() -> Option<String> {
    NAMED.take()
}

/// Returns what is before the path of a URL.
fn start_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |colon| colon.saturating_add(3));
    let rest = url.get(authority..).unwrap_or_default();
    let length = rest.find('/').unwrap_or(rest.len());
    url.get(..authority.saturating_add(length)).unwrap_or(url)
}

/// Returns the beginning of a request with the whole URL in its first line.
///
/// # Errors
/// Refuses what does not begin like a request for a path.
pub(super) fn complete(output: &[u8], start: &str) -> io::Result<Vec<u8>> {
    let space = output.iter().position(|byte| *byte == b' ');
    let parts = space.and_then(|space| output.split_at_checked(space.saturating_add(1)));
    match parts {
        Some((method, rest)) if rest.first() == Some(&b'/') => {
            Ok([method, start.as_bytes(), rest].concat())
        }
        _ => Err(io::Error::other(
            "a request begins otherwise than the proxy is asked",
        )),
    }
}

/// Resolves every host to the proxy, which knows where they are.
#[derive(Debug)]
struct ToProxy {
    uri: Uri,
    inner: DefaultResolver,
}

impl Resolver for ToProxy {
    fn resolve(
        &self,
        _uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.inner.resolve(&self.uri, config, timeout)
    }
}

#[cfg(test)]
mod tests;
