//! URLs of http and https, split once: where a request goes (the origin) is never compared as text.
//!
//! No user information, no fragments, ASCII only. <https://www.rfc-editor.org/rfc/rfc3986#section-3>

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Lists the schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Is where a request goes: scheme, host and port. Credentials never leave the origin they are for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// The host in lower case; IPv6 addresses without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Is an absolute URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// Where it goes.
    pub origin: Origin,
    /// Path and query, beginning with `/`.
    pub target: String,
}

/// Says why a text is not a URL that is used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a usable URL: {problem}")]
pub struct UrlError {
    /// The text, cut to 200 characters and without its query.
    pub text: String,
    /// What is wrong.
    pub problem: &'static str,
}

/// Bytes of the longest URL that is accepted (signed upload locations are long).
const URL_BYTES_MAX: usize = 8 << 10;

impl Origin {
    /// Parses `HOST[:PORT]` for a scheme.
    ///
    /// # Errors
    /// Refuses user information, other characters than those of host names and addresses, and bad ports.
    pub fn parse(scheme: Scheme, authority: &str) -> Result<Self, UrlError> {
        let refuse = |problem| UrlError {
            text: authority.chars().take(200).collect(),
            problem,
        };
        let (host, port) = split_port(authority).ok_or_else(|| refuse("malformed address"))?;
        let host = host.to_ascii_lowercase();
        let is_name = !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if !is_name && host.parse::<Ipv6Addr>().is_err() {
            return Err(refuse("it has no usable host"));
        }
        if is_name && ends_in_number(&host) && host.parse::<Ipv4Addr>().is_err() {
            return Err(refuse("it has an address in an unusual form"));
        }
        let port = match port {
            None => scheme.default_port(),
            Some(digits) => parse_port(digits).ok_or_else(|| refuse("the port is not one"))?,
        };
        Ok(Self { scheme, host, port })
    }

    /// Returns whether the host is this machine: `localhost`, 127.0.0.0/8 or `::1`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let name = self.host.strip_suffix('.').unwrap_or(&self.host);
        name == "localhost"
            || name.ends_with(".localhost")
            || self
                .address()
                .is_some_and(|address| address.to_canonical().is_loopback())
    }

    /// Returns whether the host is an address that no registry has: unspecified, link-local, multicast.
    #[must_use]
    pub fn is_forbidden_address(&self) -> bool {
        match self.address() {
            Some(IpAddr::V4(address)) => is_forbidden_v4(address),
            Some(IpAddr::V6(address)) => {
                address.is_unspecified()
                    || address.is_multicast()
                    || address.is_unicast_link_local()
                    || address.to_ipv4_mapped().is_some_and(is_forbidden_v4)
            }
            None => false,
        }
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Returns `HOST[:PORT]`, the port only where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == self.scheme.default_port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

/// Returns whether resolvers take a name for an address: 127.1, 2130706433 and 0x7f.1 are all this machine to them.
/// <https://url.spec.whatwg.org/#ends-in-a-number-checker>
fn ends_in_number(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal || last.strip_prefix("0x").is_some_and(is_hex)
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    address.is_unspecified()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
}

/// Splits `host:port`, `[v6]:port` and a bare host.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after {
            "" => Some((host, None)),
            _ => Some((host, Some(after.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        None => Some((authority, None)),
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|port| *port != 0)
}

impl Url {
    /// Returns the URL of a path (with query) at an origin.
    #[must_use]
    pub fn at(origin: &Origin, target: &str) -> Self {
        Self {
            origin: origin.clone(),
            target: target.to_owned(),
        }
    }

    /// Parses an absolute URL.
    ///
    /// # Errors
    /// Refuses other schemes, user information, characters that URLs do not have.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let refuse = |problem| UrlError {
            text: without_query(text),
            problem,
        };
        check_characters(text).map_err(refuse)?;
        let (scheme, rest) = split_scheme(text).ok_or_else(|| refuse("it is not http or https"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(refuse("it carries user information"));
        }
        let origin = Origin::parse(scheme, authority)?;
        Ok(Self {
            origin,
            target: clean_target(target),
        })
    }

    /// Returns where a `Location` (or a `Link`) found at this URL points.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        let refuse = |problem| UrlError {
            text: without_query(location),
            problem,
        };
        check_characters(location).map_err(refuse)?;
        if split_scheme(location).is_some() {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.origin.scheme.name()));
        }
        if location.starts_with('/') {
            return Ok(Self::at(&self.origin, &clean_target(location)));
        }
        if location
            .split(['/', '?'])
            .next()
            .is_some_and(|first| first.contains(':'))
        {
            return Err(refuse("it has another scheme"));
        }
        let path = self.target.split('?').next().unwrap_or("/");
        if location.starts_with('?') {
            return Ok(Self::at(
                &self.origin,
                &clean_target(&format!("{path}{location}")),
            ));
        }
        let folder = path
            .rfind('/')
            .and_then(|last| path.get(..=last))
            .unwrap_or("/");
        Ok(Self::at(
            &self.origin,
            &clean_target(&format!("{folder}{location}")),
        ))
    }

    /// Returns the URL with one more query parameter.
    #[must_use]
    pub fn with_query(&self, name: &str, value: &str) -> Self {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        Self {
            origin: self.origin.clone(),
            target: format!("{}{separator}{name}={}", self.target, encode_query(value)),
        }
    }

    /// Returns the text without its query, which may hold signatures of the server.
    #[must_use]
    pub fn public(&self) -> String {
        without_query(&self.to_string())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        write!(
            formatter,
            "{}://{}{}",
            origin.scheme.name(),
            origin.authority(),
            self.target
        )
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme.name(), self.authority())
    }
}

fn without_query(text: &str) -> String {
    text.split(['?', '#'])
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

fn split_scheme(text: &str) -> Option<(Scheme, &str)> {
    let (name, rest) = text.split_once("://")?;
    if name.eq_ignore_ascii_case("https") {
        Some((Scheme::Https, rest))
    } else if name.eq_ignore_ascii_case("http") {
        Some((Scheme::Http, rest))
    } else {
        None
    }
}

fn check_characters(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > URL_BYTES_MAX {
        return Err("it is empty or too long");
    }
    let fine = text.bytes().all(|byte| {
        byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
            )
    });
    if fine {
        Ok(())
    } else {
        Err("it has characters that URLs do not have")
    }
}

/// Returns path and query without a fragment, beginning with `/`.
fn clean_target(target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    }
}

/// Returns a query value with everything but unreserved characters (and `:/`, which all servers take as they are) escaped.
#[must_use]
pub fn encode_query(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        for text in [
            "http://127.0.0.1:5000/v2/a/blobs/uploads/x?_state=a%2Fb&n=1",
            "https://registry.example/v2/",
            "https://[::1]:5000/",
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn drops_default_ports_and_fragments() {
        assert_eq!(
            Url::parse("https://A.Example:443/x#y").unwrap().to_string(),
            "https://a.example/x"
        );
    }

    #[test]
    fn refuses_what_could_mislead() {
        for text in [
            "",
            "ftp://a/",
            "a/b",
            "http://",
            "http://user:pw@a/",
            "http://a@b/",
            "http://a:0/",
            "http://a:99999/",
            "http://a/\r\nX: y",
            "http://a b/",
            "http://a:1:2/",
            "http://[::1/",
            "file:///etc/passwd",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn joins_locations_as_registries_send_them() {
        let base = Url::parse("http://r.example:5000/v2/a/blobs/uploads/").unwrap();
        for (location, joined) in [
            ("/v2/a/x?y=1", "http://r.example:5000/v2/a/x?y=1"),
            ("https://s3.example/b?sig=1", "https://s3.example/b?sig=1"),
            ("//other/b", "http://other/b"),
            ("abc", "http://r.example:5000/v2/a/blobs/uploads/abc"),
            ("?n=2", "http://r.example:5000/v2/a/blobs/uploads/?n=2"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), joined);
        }
        assert!(base.join("javascript:x").is_err());
        assert!(base.join("a b").is_err());
    }

    #[test]
    fn takes_no_name_that_a_resolver_takes_for_an_address() {
        for host in [
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "a.0x",
            "1.2.3.4.5",
        ] {
            assert!(Url::parse(&format!("http://{host}/")).is_err(), "{host}");
        }
        for host in [
            "a.example",
            "r2d2",
            "registry_1",
            "a.0xg",
            "1a.b2",
            "10.0.0.1",
        ] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert!(!url.origin.is_loopback(), "{host}");
        }
        for host in ["localhost.", "a.localhost.", "[::ffff:127.0.0.1]", "[::1]"] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert!(url.origin.is_loopback(), "{host}");
        }
    }

    #[test]
    fn tells_loopback_and_forbidden_addresses() {
        let origin = |host: &str| Origin::parse(Scheme::Http, host).unwrap();
        for host in ["localhost", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(origin(host).is_loopback(), "{host}");
        }
        for host in [
            "localhost.example",
            "128.0.0.1",
            "[::2]",
            "127.0.0.1.example",
        ] {
            assert!(!origin(host).is_loopback(), "{host}");
        }
        for host in [
            "0.0.0.0",
            "169.254.169.254",
            "[fe80::1]",
            "[::]",
            "[::ffff:169.254.169.254]",
            "224.0.0.1",
        ] {
            assert!(origin(host).is_forbidden_address(), "{host}");
        }
    }

    #[test]
    fn escapes_query_values() {
        let url = Url::parse("http://a/x?y=1")
            .unwrap()
            .with_query("digest", "sha256:0a")
            .with_query("s", "a b&c+d");
        assert_eq!(
            url.to_string(),
            "http://a/x?y=1&digest=sha256:0a&s=a%20b%26c%2Bd"
        );
    }
}
