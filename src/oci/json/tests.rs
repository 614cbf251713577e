use super::super::limits::JSON_DEPTH_MAX;
use super::*;

#[test]
fn reads_as_serde_json_does() {
    for text in [
        "null",
        " {\"b\":[1,-2,2.5,true,null,\"\\u00e9\\n\"],\"a\":{}} \n",
        "18446744073709551615",
        "\"\\ud83d\\ude00\"",
        "[]",
    ] {
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse(text.as_bytes()).unwrap(), expected);
        let printed = serde_json::to_string(&parse(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(printed, serde_json::to_string(&expected).unwrap());
    }
}

#[test]
fn refuses_what_two_readers_could_understand_differently() {
    let refused: [&[u8]; 35] = [
        b"",
        b" ",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"{\"a\":1,\"a\":1}",
        b"{\"a\":1,\"\\u0061\":2}",
        b"{\"x\":{\"a\":1,\"b\":2,\"a\":1}}",
        b"[{\"\":1,\"\":1}]",
        b"{} {}",
        b"{}x",
        b"{}\0",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\xc0\xaf\"}",
        b"{\"a\":\"\xed\xa0\x80\"}",
        b"{\"\xff\":1}",
        b"\"\\ud800\"",
        b"\"\\ud800\\u0041\"",
        b"\"\\udc00\"",
        b"NaN",
        b"[Infinity]",
        b"1e999",
        b"-1e999",
        b"01",
        b"+1",
        b"1.",
        b".5",
        b"0x10",
        b"{\"a\":1,}",
        b"[1,]",
        b"{a:1}",
        b"{'a':1}",
        b"\"\n\"",
        b"\"\0\"",
        b"/* */ {}",
        b"{\"a\":1",
    ];
    for bytes in refused {
        assert!(parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn names_the_position_of_a_duplicate() {
    let error = parse(b"{\n \"size\": 1,\n \"size\": 2\n}").unwrap_err();
    assert_eq!(error.problem, "member \"size\" is given twice");
    assert_eq!((error.line, error.column), (3, 7));
    assert_eq!(
        error.to_string(),
        "member \"size\" is given twice at line 3 column 7"
    );
}

#[test]
fn takes_no_position_from_a_member_name() {
    let error = parse(b"{\" at line 7 column 9\":1,\" at line 7 column 9\":1}").unwrap_err();
    assert_eq!(error.line, 1);
}

#[test]
fn stops_at_the_nesting_limit() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(parse(&nested(JSON_DEPTH_MAX)).is_ok());
    assert!(parse(&nested(JSON_DEPTH_MAX + 1)).is_err());
    assert!(parse(&vec![b'['; 100_000]).is_err());
    assert!(parse(&b"{\"a\":".repeat(100_000)).is_err());
}

#[test]
fn stops_at_the_limit_of_values() {
    let list = |count: usize| [b"[".to_vec(), b"0,".repeat(count), b"0]".to_vec()].concat();
    assert!(parse(&list(JSON_VALUES_MAX - 2)).is_ok());
    let error = parse(&list(JSON_VALUES_MAX - 1)).unwrap_err();
    assert!(error.problem.contains("values"), "{error}");
}

#[test]
fn finds_members_equal_but_for_case() {
    let object = |name: &str| Map::from_iter([(name.to_owned(), Value::Null)]);
    for (member, known) in [
        ("MediaType", "mediaType"),
        ("DIGEST", "digest"),
        ("manife\u{17f}ts", "manifests"),
        ("\u{212a}ey", "key"),
    ] {
        let object = object(member);
        assert_eq!(case_variant(&object, &["x", known]), Some(member));
    }
    for member in [
        "mediaType",
        "mediatypes",
        "media_type",
        "m\u{e9}diaType",
        "",
    ] {
        assert_eq!(case_variant(&object(member), &["mediaType"]), None);
    }
}

#[test]
fn never_panics_on_a_cut_or_changed_document() {
    let text = br#"{"schemaVersion":2,"manifests":[{"digest":"sha256:00","size":-1.5e3,"x":[true,null,"\u00e9\ud83d\ude00"]}]}"#;
    for position in 0..text.len() {
        let _ = parse(&text[..position]);
        for byte in [0, b'"', b'{', b']', 0xff] {
            let mut changed = text.to_vec();
            changed[position] = byte;
            let _ = parse(&changed);
        }
    }
}
