use super::*;

fn pairs(name: &str) -> Vec<(String, String)> {
    let identity = Identity::parse(name).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    identity
        .pairs
        .into_iter()
        .map(|(kind, value)| (text(kind), text(value)))
        .collect()
}

fn value_of(name: &str, wanted: &str) -> String {
    let found = pairs(name).into_iter().find(|(kind, _)| kind == wanted);
    found.unwrap().1
}

#[test]
fn parses_what_notation_parses() {
    for (name, organization) in [
        ("C=US,ST=WA,O=Notary", "Notary"),
        ("O=Notary,C=US,ST=WA", "Notary"),
        ("C=US;S=WA;O=Notary", "Notary"),
        (" C = US , ST = WA , O = Notary ", "Notary"),
        (r"C=US,ST=WA,O=a\+b", "a+b"),
        (r"C=US,ST=WA,O=a\<b", "a<b"),
        (r"C=US,ST=WA,O=\#ab", "#ab"),
        (r"C=US,ST=WA,O=trail\ ", "trail "),
        (r"C=US,ST=WA,O=trail\ ,OU=x", "trail "),
        (r"C=US,ST=WA,O=\ lead", " lead"),
        (r"C=US,ST=WA,O=a\\b", r"a\b"),
        (r"C=US,ST=WA,O=a\,b\;c\=d", "a,b;c=d"),
        (r"C=US,ST=WA,O=Not\61ry", "Notary"),
        (r"C=US,ST=WA,O=\C3\bcn", "\u{fc}n"),
        ("C=US,ST=WA,O=\u{fc}n\u{ef}", "\u{fc}n\u{ef}"),
        (r#"C=US,ST=WA,O="quoted""#, r#""quoted""#),
        ("C=US,ST=WA,O=a=b", "a=b"),
        ("C=US,ST=WA,O= #x", "#x"),
        ("=C=US,ST=WA,O=Notary", "Notary"),
        ("C=US,ST=WA,OU=,OU=x,O=Notary", "Notary"),
    ] {
        assert_eq!(value_of(name, "O"), organization, "{name}");
        assert_eq!(value_of(name, "ST"), "WA", "{name}");
        assert_eq!(value_of(name, "C"), "US", "{name}");
    }
}

#[test]
fn refuses_in_notations_words() {
    let parsing = |name: &str, why: &str| {
        format!(
            "parsing distinguished name (DN) {} failed with err: {why}. A valid DN must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum, and follow RFC 4514 standard",
            quote(name)
        )
    };
    let missing = |name: &str, kind: &str| {
        format!(
            "distinguished name (DN) {} has no mandatory RDN attribute for \"{kind}\", it must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum",
            quote(name)
        )
    };
    let duplicate = |name: &str, kind: &str| {
        format!(
            "distinguished name (DN) {} has duplicate RDN attribute for \"{kind}\", DN can only have unique RDN attributes",
            quote(name)
        )
    };
    let several = |name: &str| {
        format!(
            "distinguished name (DN) {} has multi-valued RDN attributes, remove multi-valued RDN attributes as they are not supported",
            quote(name)
        )
    };
    let incomplete = "incomplete type, value pair";
    let ended = "DN ended with incomplete type, value pair";
    let hex = "failed to decode escaped character: ";
    for (name, message) in [
        ("C=US,ST=WA,O=#41", "unsupported distinguished name (DN) \"C=US,ST=WA,O=#41\": notation does not support x509.subject identities containing \"=#\"".to_owned()),
        ("C=US,ST=WA", missing("C=US,ST=WA", "O")),
        ("C=US,ST=WA,O=", missing("C=US,ST=WA,O=", "O")),
        ("c=US,st=WA,o=Notary", missing("c=US,st=WA,o=Notary", "C")),
        ("2.5.4.6=US,ST=WA,O=Notary", missing("2.5.4.6=US,ST=WA,O=Notary", "C")),
        ("C=US,O=Notary", missing("C=US,O=Notary", "ST")),
        (" ", missing(" ", "C")),
        ("C=US,ST=WA,O=Notary,OU=a,OU=b", duplicate("C=US,ST=WA,O=Notary,OU=a,OU=b", "OU")),
        ("C=US,ST=WA,S=WA,O=x", duplicate("C=US,ST=WA,S=WA,O=x", "ST")),
        ("C=US+ST=WA,O=x", several("C=US+ST=WA,O=x")),
        ("C=US,C=DE,O=x+OU=y", duplicate("C=US,C=DE,O=x+OU=y", "C")),
        ("O=x+OU=y,C=US,C=DE", several("O=x+OU=y,C=US,C=DE")),
        ("foo", parsing("foo", ended)),
        ("C=US,", parsing("C=US,", ended)),
        ("C=US,,O=x", parsing("C=US,,O=x", incomplete)),
        (",", parsing(",", incomplete)),
        (r"C=US\", parsing(r"C=US\", r"got corrupted escaped character: 'US\'")),
        (r"C=\4", parsing(r"C=\4", &format!("{hex}encoding/hex: invalid byte: 4"))),
        (r"C=\zz", parsing(r"C=\zz", &format!("{hex}encoding/hex: invalid byte: U+007A 'z'"))),
        ("C=\\\u{fc}n", parsing("C=\\\u{fc}n", &format!("{hex}invalid byte: \u{fc}n"))),
    ] {
        assert_eq!(Identity::parse(name), Err(message), "{name}");
    }
}

#[test]
fn matches_when_every_pair_is_in_the_subject() {
    let subject = Identity::parse("CN=l,O=Notary,L=Seattle,ST=WA,C=US").unwrap();
    for (name, matches) in [
        ("C=US,ST=WA,O=Notary", true),
        ("C=US,S=WA,O=Notary,CN=l", true),
        ("C=US,ST=WA,O=notary", false),
        ("C=US,ST=WA,O=Notary,L=Portland", false),
        ("C=US,ST=WA,O=Notary,OU=x", false),
        ("C=US,ST=WA,O=Notary,OU=", true),
        ("C=US,ST=WA,O=Notary,cn=l", false),
        (r"C=US,ST=WA,O=Notary\ ", false),
    ] {
        let identity = Identity::parse(name).unwrap();
        assert_eq!(identity.is_within(&subject), matches, "{name}");
    }
    let injected = Identity::parse(r"CN=a\, O=evil,O=Notary,ST=WA,C=US").unwrap();
    let evil = Identity::parse("C=US,ST=WA,O=evil").unwrap();
    assert!(!evil.is_within(&injected));
}

#[test]
fn lists_pairs_sorted_by_type() {
    let identity = Identity::parse(r"O=Not\+ary,ST=WA,C=US").unwrap();
    assert_eq!(
        identity.listed(),
        r#"map["C":"US" "O":"Not+ary" "ST":"WA"]"#
    );
}

#[test]
fn any_text_is_survived() {
    let alphabet = ['C', '=', ',', '\\', '+', ' ', '#', '\u{fc}', '4', ';', '\0'];
    let mut seed: usize = 1;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..seed % 12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push(alphabet[(seed >> 33) % alphabet.len()]);
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) >> 3;
        let _either_way = Identity::parse(&text);
    }
}
