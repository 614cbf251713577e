//! Which token servers are asked, and which are shown a secret.

use crate::http::{Origin, Scheme};

/// Decides whether a token server may be asked, and whether it may be shown a secret.
pub(super) fn check_realm(
    registry: &Origin,
    realm: &Origin,
    with_secret: bool,
    trusted_host: Option<&str>,
) -> Result<(), &'static str> {
    if realm.is_forbidden_address() {
        return Err("no token server has such an address");
    }
    if realm.is_loopback() && !registry.is_loopback() {
        return Err("it is this machine, and the registry is not");
    }
    let plain = realm.scheme == Scheme::Http;
    let same_host = realm.host == registry.host;
    if plain
        && !(registry.scheme == Scheme::Http
            && (same_host || registry.is_loopback() && realm.is_loopback()))
    {
        return Err("it is not https");
    }
    let related = same_host
        || registry.is_loopback() && realm.is_loopback()
        || trusted_host == Some(realm.host.as_str())
        || trusted_host == Some(realm.authority().as_str())
        || site(&registry.host).is_some_and(|own| site(&realm.host) == Some(own));
    if with_secret && !related {
        return Err(
            "it is another site than the registry's; name it with --auth-host to send your credentials there",
        );
    }
    Ok(())
}

/// Returns the part of a host name that belongs to one owner: the last two labels, three below short second-level names such as `co.uk`.
fn site(host: &str) -> Option<&str> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let mut starts = host
        .rmatch_indices('.')
        .map(|(position, _)| position.saturating_add(1));
    let (top, second) = (starts.next()?, starts.next());
    let second_start = second.unwrap_or(0);
    let second_label = host.get(second_start..top.saturating_sub(1))?;
    let is_short = host.len().saturating_sub(top) == 2 && second_label.len() <= 3;
    match (is_short, second) {
        (true, None) => None,
        (true, Some(_)) => host.get(starts.next().unwrap_or(0)..),
        (false, _) => host.get(second_start..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Url;

    fn realm(registry: &str, realm: &str) -> Result<(), &'static str> {
        check_realm(
            &Url::parse(registry).unwrap().origin,
            &Url::parse(realm).unwrap().origin,
            true,
            Some("sso.example.org"),
        )
    }

    #[test]
    fn sends_secrets_to_related_servers() {
        for (registry, server) in [
            (
                "https://registry-1.docker.io/",
                "https://auth.docker.io/token",
            ),
            ("https://ghcr.io/", "https://ghcr.io/token"),
            (
                "https://registry.gitlab.com/",
                "https://gitlab.com/jwt/auth",
            ),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token"),
            ("http://localhost:5000/", "http://127.0.0.1:5001/token"),
            (
                "http://registry.internal:5000/",
                "http://registry.internal:5001/",
            ),
            ("https://r.example.com/", "https://sso.example.org/token"),
            ("https://a.firm.co.uk/", "https://b.firm.co.uk/"),
        ] {
            assert_eq!(realm(registry, server), Ok(()), "{registry} {server}");
        }
    }

    #[test]
    fn keeps_secrets_from_everybody_else() {
        for (registry, server) in [
            ("https://r.example.com/", "https://evil.com/token"),
            ("https://r.example.com/", "http://r.example.com/token"),
            ("https://r.example.com/", "http://127.0.0.1/token"),
            ("https://r.example.com/", "https://localhost/token"),
            ("https://r.example.com/", "https://169.254.169.254/latest"),
            ("https://r.example.com/", "https://0.0.0.0/"),
            ("https://r.example.com/", "https://[fe80::1]/"),
            ("https://r.example.com/", "https://example.com.evil.org/"),
            ("https://r.example.com/", "https://notexample.com/"),
            ("https://a.firm.co.uk/", "https://b.other.co.uk/"),
            ("https://co.uk/", "https://x.co.uk/"),
            ("https://1.2.3.4/", "https://9.2.3.4/"),
            ("http://127.0.0.1:5000/", "http://r.example.com/"),
            ("http://127.0.0.1:5000/", "https://r.example.com/"),
            ("https://127.0.0.1:5000/", "http://127.0.0.1:5001/"),
        ] {
            assert!(realm(registry, server).is_err(), "{registry} {server}");
        }
    }
}
