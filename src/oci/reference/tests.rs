use super::*;

const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn read(text: &str, existing: &[&str]) -> Result<(String, String), ReferenceError> {
    let text = text.replace("DIGEST", DIGEST);
    let reference = Reference::parse(&text, &|path| existing.contains(&path))?;
    let name = match reference.name {
        None => "every image".to_owned(),
        Some(Name::Tag(tag)) => tag,
        Some(Name::Digest(digest)) => digest.to_string(),
    };
    Ok((reference.path, name))
}

#[test]
fn splits_as_notation_does() {
    for (text, existing, path, name) in [
        ("l", &["l"][..], "l", "every image"),
        ("l", &[], "l", "every image"),
        ("./a/l.tar", &[], "./a/l.tar", "every image"),
        ("l:v1", &["l"], "l", "v1"),
        ("l:v1", &[], "l", "v1"),
        ("l@DIGEST", &["l"], "l", DIGEST),
        ("l@DIGEST", &[], "l", DIGEST),
        ("l:v1@DIGEST", &["l"], "l:v1", DIGEST),
        ("a:b:v1", &[], "a:b", "v1"),
        ("a@b@DIGEST", &[], "a@b", DIGEST),
        ("l:v1", &["l", "l:v1"], "l", "v1"),
    ] {
        let expected = (path.to_owned(), name.to_owned());
        assert_eq!(
            read(text, existing),
            Ok(expected.clone()).map(|(path, name)| { (path, name.replace("DIGEST", DIGEST)) }),
            "{text}"
        );
    }
}

#[test]
fn knows_paths_with_colons_and_at_signs() {
    for (text, existing, path, name) in [
        ("a:b", &["a:b"][..], "a:b", "every image"),
        ("a:b:v1", &["a:b"], "a:b", "v1"),
        ("a@b", &["a@b"], "a@b", "every image"),
        ("a@b", &["a", "a@b"], "a@b", "every image"),
        ("a@b:v1", &["a@b"], "a@b", "v1"),
        ("a@b:v1", &["a@b:v1"], "a@b:v1", "every image"),
        ("a:", &["a:"], "a:", "every image"),
    ] {
        assert_eq!(
            read(text, existing),
            Ok((path.to_owned(), name.to_owned())),
            "{text}"
        );
    }
}

#[test]
fn refuses_half_references() {
    assert!(matches!(read("", &[]), Err(ReferenceError::NoPath { .. })));
    assert!(matches!(
        read(":v1", &[]),
        Err(ReferenceError::NoPath { .. })
    ));
    assert!(matches!(
        read("@DIGEST", &[]),
        Err(ReferenceError::NoPath { .. })
    ));
    assert!(matches!(
        read("l:", &["l"]),
        Err(ReferenceError::EmptyTag { .. })
    ));
    assert!(matches!(
        read("l@", &["l"]),
        Err(ReferenceError::Digest { .. })
    ));
    assert!(matches!(
        read("l@v1", &["l"]),
        Err(ReferenceError::Digest { .. })
    ));
    assert!(matches!(
        read("l@sha256:00", &["l"]),
        Err(ReferenceError::Digest { .. })
    ));
}

#[test]
fn says_that_hex_digits_must_be_in_lower_case() {
    let error = read(&format!("l@sha256:{}", "A".repeat(64)), &["l"]).unwrap_err();
    let ReferenceError::Digest { source, .. } = error else {
        panic!("{error}");
    };
    assert!(source.problem.contains("lower case"), "{source}");
}

#[test]
fn accepts_what_notation_accepts_as_a_scope() {
    for text in [
        "local/x",
        "localhost:5000/a/b",
        "REGISTRY.Example-1.com:443/a",
        "a/b.c_d__e-f---g/0",
        "1/2",
        "a:0/b",
    ] {
        assert_eq!(Scope::parse(text).unwrap().as_str(), text);
    }
}

#[test]
fn refuses_what_notation_refuses_as_a_scope() {
    for text in [
        "",
        "hw",
        "/a",
        "a/",
        "a//b",
        "a/b/",
        "*",
        "a/B",
        "a/b:v1",
        "a/b@sha256:00",
        "http://a/b",
        "-a/b",
        "a-/b",
        "a./b",
        ".a/b",
        "a..b/c",
        "a_b/c",
        "a:/b",
        "a:x/b",
        "a:1:2/b",
        "[::1]/a",
        "a/.b",
        "a/b.",
        "a/b..c",
        "a/b___c",
        "a/b-_c",
        "a/b._c",
        "a/-b",
        "a/b c",
        "a/b\n",
        "a/\u{e9}",
        "\u{e9}/a",
    ] {
        assert!(Scope::parse(text).is_err(), "{text}");
    }
}

#[test]
fn makes_a_scope_of_a_file_name() {
    for (name, scope) in [
        ("hello-world", "local/hello-world"),
        ("hello-world.tar", "local/hello-world"),
        ("hello-world.tar.gz", "local/hello-world"),
        ("hello-world.oci.tar.zst", "local/hello-world"),
        ("a.tgz", "local/a"),
        ("a.tar.v2", "local/a.tar.v2"),
        ("tar", "local/tar"),
    ] {
        assert_eq!(Scope::of_path(name).unwrap().as_str(), scope);
    }
    for name in [
        "", ".tar", ".oci", "Hello", "a b.tar", "a/", "..", ".", "x.TAR",
    ] {
        assert!(Scope::of_path(name).is_err(), "{name}");
    }
}
