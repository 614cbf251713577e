//! What a registry asks for: `WWW-Authenticate`. <https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1>

/// Is one challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User name and password.
    Basic,
    /// A token from a token server. <https://distribution.github.io/distribution/spec/auth/token/>
    Bearer {
        /// The token server.
        realm: String,
        /// The service to name there.
        service: Option<String>,
        /// The scopes that the registry misses.
        scopes: Vec<String>,
    },
}

/// Returns the challenge to answer: a token where one is offered, else name and password.
pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let found: Vec<Challenge> = headers.flat_map(parse).collect();
    let bearer = |challenge: &&Challenge| matches!(challenge, Challenge::Bearer { .. });
    found.iter().find(bearer).or_else(|| found.first()).cloned()
}

/// Returns the challenges of one header that are understood.
fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = header.trim();
    while let Some((scheme, parameters, after)) = next(rest) {
        let value = |name: &str| {
            parameters
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            challenges.push(Challenge::Bearer {
                realm,
                service: value("service"),
                scopes: value("scope")
                    .map(|scope| scope.split_whitespace().map(str::to_owned).collect())
                    .unwrap_or_default(),
            });
        }
        rest = after;
    }
    challenges
}

type Parameters = Vec<(String, String)>;

/// Takes one scheme and its parameters from the front.
fn next(text: &str) -> Option<(&str, Parameters, &str)> {
    let text = text.trim_start_matches([',', ' ', '\t']);
    let end = text.find([' ', ',']).unwrap_or(text.len());
    let (scheme, mut rest) = text.split_at(end);
    if scheme.is_empty() {
        return None;
    }
    let mut parameters = Vec::new();
    while let Some((name, value, after)) = parameter(rest) {
        parameters.push((name.to_owned(), value));
        rest = after;
    }
    Some((scheme, parameters, rest))
}

/// Takes one `name=value` or `name="value"` from the front; nothing where another scheme begins.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([',', ' ', '\t']);
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_end();
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return None;
    }
    let rest = rest.trim_start();
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ' ']).unwrap_or(rest.len());
        let (value, after) = rest.split_at(end);
        return Some((name, value.to_owned(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Some((name, value, quoted.get(position.saturating_add(1)..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_challenges_as_registries_send_them() {
        let bearer = r#"Bearer realm="https://a.example/token?x=1,2",service="r.example",scope="repository:a:pull repository:b:pull,push",error="invalid_token""#;
        assert_eq!(
            choose([bearer].into_iter()),
            Some(Challenge::Bearer {
                realm: "https://a.example/token?x=1,2".to_owned(),
                service: Some("r.example".to_owned()),
                scopes: vec![
                    "repository:a:pull".to_owned(),
                    "repository:b:pull,push".to_owned()
                ],
            })
        );
        assert_eq!(
            choose([r#"Basic realm="test""#].into_iter()),
            Some(Challenge::Basic)
        );
        assert_eq!(choose(["basic"].into_iter()), Some(Challenge::Basic));
    }

    #[test]
    fn prefers_a_token() {
        for headers in [
            vec![r#"Basic realm="x""#, r#"Bearer realm="http://y/""#],
            vec![r#"Basic realm="x", Bearer realm="http://y/""#],
        ] {
            assert!(matches!(
                choose(headers.into_iter()),
                Some(Challenge::Bearer { .. })
            ));
        }
    }

    #[test]
    fn survives_nonsense() {
        for header in [
            "",
            ",",
            "Bearer",
            "Bearer realm",
            "Bearer realm=\"",
            "Digest x=y",
            "=",
            "Bearer =x",
            "\"\"",
            "Bearer realm=\"\\",
        ] {
            assert_eq!(choose([header].into_iter()), None, "{header}");
        }
    }
}
