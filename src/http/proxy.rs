//! Proxies from the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`. This machine is never asked for through one.

use super::{Origin, Scheme};

/// Looks a variable up; tests hand in their own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Returns the proxy for an origin, or `None` where it is reached directly.
#[must_use]
pub fn for_origin(origin: &Origin, environment: Environment<'_>) -> Option<String> {
    if origin.is_loopback() || is_excluded(origin, environment) {
        return None;
    }
    // HTTP_PROXY in upper case is set by clients of CGI programs; it is read as everybody else reads it.
    let names: [&str; 4] = match origin.scheme {
        Scheme::Https => ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        Scheme::Http => ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    first(environment, &names)
}

fn first(environment: Environment<'_>, names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| environment(name))
        .find(|value| !value.is_empty())
}

fn is_excluded(origin: &Origin, environment: Environment<'_>) -> bool {
    let Some(list) = first(environment, &["no_proxy", "NO_PROXY"]) else {
        return false;
    };
    list.split(',')
        .map(str::trim)
        .any(|entry| matches(origin, entry))
}

fn matches(origin: &Origin, entry: &str) -> bool {
    if entry == "*" {
        return true;
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, digits))
            if !name.contains(':') && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            (name, digits.parse::<u16>().ok())
        }
        _ => (entry, None),
    };
    if port.is_some_and(|port| port != origin.port) {
        return false;
    }
    let name = name
        .trim_start_matches("*.")
        .trim_start_matches('.')
        .to_ascii_lowercase();
    !name.is_empty()
        && (origin.host == name
            || origin
                .host
                .strip_suffix(&name)
                .is_some_and(|before| before.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(host: &str, scheme: Scheme, variables: &[(&str, &str)]) -> Option<String> {
        let lookup = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        for_origin(&Origin::parse(scheme, host).unwrap(), &lookup)
    }

    #[test]
    fn takes_the_proxy_of_the_scheme() {
        let both = [("HTTPS_PROXY", "http://s:1"), ("HTTP_PROXY", "http://p:1")];
        assert_eq!(
            proxy("a.example", Scheme::Https, &both).as_deref(),
            Some("http://s:1")
        );
        assert_eq!(
            proxy("a.example", Scheme::Http, &both).as_deref(),
            Some("http://p:1")
        );
        assert_eq!(
            proxy("a.example", Scheme::Http, &[("HTTPS_PROXY", "http://s:1")]),
            None
        );
    }

    #[test]
    fn never_takes_one_for_this_machine_or_excluded_hosts() {
        for (host, excluded) in [
            ("localhost:5000", ""),
            ("127.0.0.1", ""),
            ("a.example", "a.example"),
            ("b.a.example", "a.example"),
            ("b.a.example", ".a.example"),
            ("a.example:5000", "a.example:5000"),
            ("x.y", "*"),
        ] {
            let variables = [("ALL_PROXY", "http://p:1"), ("NO_PROXY", excluded)];
            assert_eq!(
                proxy(host, Scheme::Http, &variables),
                None,
                "{host} {excluded}"
            );
        }
        let other = [
            ("ALL_PROXY", "http://p:1"),
            ("NO_PROXY", "ba.example,a.example:1,c"),
        ];
        assert!(proxy("a.example", Scheme::Http, &other).is_some());
    }
}
