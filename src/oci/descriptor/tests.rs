use serde_json::json;

use super::*;

const HEX: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn digest() -> String {
    format!("sha256:{HEX}")
}

fn read(text: &str) -> Result<Descriptor, DocumentError> {
    let text = text.replace("DIGEST", &digest());
    Descriptor::from_json(&super::super::json::parse(text.as_bytes()).unwrap())
}

#[test]
fn reads_every_member() {
    let descriptor = read(
        r#"{"mediaType":"a/b","digest":"DIGEST","size":2,"urls":["http://x"],"data":"e30=","artifactType":"c/d",
            "annotations":{"b":"2","a":"1"},"platform":{"architecture":"arm64","os":"linux","os.version":"1",
            "os.features":["f"],"variant":"v8"},"unknown":{"Size":[]}}"#,
    )
    .unwrap();
    let mut expected = Descriptor::new("a/b", digest().parse().unwrap(), 2);
    **expected = More {
        artifact_type: Some("c/d".to_owned()),
        annotations: std::collections::BTreeMap::from(
            [("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())),
        )
        .into(),
        platform: Some(Box::new(Platform {
            os: "linux".to_owned(),
            architecture: "arm64".to_owned(),
            variant: Some("v8".to_owned()),
        })),
        data: Some(b"{}".to_vec()),
        has_urls: true,
    };
    assert_eq!(descriptor, expected);
    assert_ne!(Descriptor::new("a/b", expected.digest.clone(), 2), expected);
    **expected = NO_MORE.clone();
    assert_eq!(Descriptor::new("a/b", expected.digest.clone(), 2), expected);
}

#[test]
fn refuses_lists_that_hold_something_other_than_texts() {
    for member in [r#""urls":[1]"#, r#""platform":{"os.features":[1]}"#] {
        let refused = read(&format!(r#"{{"digest":"DIGEST","size":0,{member}}}"#));
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("something other than strings"), "{error}");
    }
    assert!(read(r#"{"digest":"DIGEST","size":0,"platform":{"os.features":[null]}}"#).is_ok());
}

#[test]
fn takes_null_as_absent() {
    let descriptor = read(
        r#"{"mediaType":null,"digest":"DIGEST","size":0,"urls":null,"data":null,"artifactType":null,
            "annotations":null,"platform":null}"#,
    );
    assert_eq!(
        descriptor,
        Ok(Descriptor::new("", digest().parse().unwrap(), 0))
    );
    let empty =
        read(r#"{"digest":"DIGEST","size":1,"urls":[],"annotations":{"a":null},"platform":{}}"#)
            .unwrap();
    assert_eq!(empty.annotation("a"), None);
    assert!(!empty.has_urls);
}

#[test]
fn refuses_malformed_members() {
    for (text, member) in [
        ("[]", ""),
        (r#"{"size":1}"#, "digest"),
        (r#"{"digest":null,"size":1}"#, "digest"),
        (r#"{"digest":"","size":1}"#, "digest"),
        (r#"{"digest":"sha256:../x","size":1}"#, "digest"),
        (r#"{"digest":7,"size":1}"#, "digest"),
        (r#"{"digest":"DIGEST"}"#, "size"),
        (r#"{"digest":"DIGEST","size":null}"#, "size"),
        (r#"{"digest":"DIGEST","size":"5"}"#, "size"),
        (r#"{"digest":"DIGEST","size":1.0}"#, "size"),
        (r#"{"digest":"DIGEST","size":1e2}"#, "size"),
        (r#"{"digest":"DIGEST","size":-1}"#, "size"),
        (r#"{"digest":"DIGEST","size":-0}"#, "size"),
        (r#"{"digest":"DIGEST","size":9223372036854775808}"#, "size"),
        (r#"{"digest":"DIGEST","size":1,"Size":1}"#, "Size"),
        (r#"{"Digest":"DIGEST","size":1}"#, "Digest"),
        (r#"{"digest":"DIGEST","size":1,"mediaType":1}"#, "mediaType"),
        (
            r#"{"digest":"DIGEST","size":1,"MEDIATYPE":"a"}"#,
            "MEDIATYPE",
        ),
        (
            r#"{"digest":"DIGEST","size":1,"annotation\u017f":{}}"#,
            "annotation\u{17f}",
        ),
        (
            r#"{"digest":"DIGEST","size":1,"annotations":[]}"#,
            "annotations",
        ),
        (
            r#"{"digest":"DIGEST","size":1,"annotations":{"a":1}}"#,
            "annotations.a",
        ),
        (r#"{"digest":"DIGEST","size":1,"urls":[1]}"#, "urls"),
        (r#"{"digest":"DIGEST","size":1,"urls":"a"}"#, "urls"),
        (
            r#"{"digest":"DIGEST","size":1,"artifactType":[]}"#,
            "artifactType",
        ),
        (r#"{"digest":"DIGEST","size":1,"platform":"a"}"#, "platform"),
        (
            r#"{"digest":"DIGEST","size":1,"platform":{"os":1}}"#,
            "platform.os",
        ),
        (
            r#"{"digest":"DIGEST","size":1,"platform":{"OS":"a"}}"#,
            "platform.OS",
        ),
        (r#"{"digest":"DIGEST","size":2,"data":7}"#, "data"),
        (r#"{"digest":"DIGEST","size":2,"data":"e30"}"#, "data"),
        (r#"{"digest":"DIGEST","size":2,"data":"e31="}"#, "data"),
        (r#"{"digest":"DIGEST","size":3,"data":"e30="}"#, "data"),
        (r#"{"digest":"DIGEST","size":2,"data":"e33="}"#, "data"),
        (r#"{"digest":"DIGEST","size":2,"data":"W10="}"#, "data"),
    ] {
        let found = match read(text) {
            Err(DocumentError::Member { member, .. } | DocumentError::Digest { member, .. }) => {
                member
            }
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(found, member, "{text}");
    }
}

#[test]
fn accepts_sizes_up_to_the_largest_signed_integer() {
    let descriptor = read(r#"{"digest":"DIGEST","size":9223372036854775807}"#).unwrap();
    assert_eq!(i64::try_from(descriptor.size), Ok(i64::MAX));
}

#[test]
fn takes_data_of_an_unknown_algorithm_unchecked() {
    let descriptor = read(r#"{"digest":"blake3:00","size":2,"data":"e30="}"#).unwrap();
    assert_eq!(descriptor.data.as_deref(), Some(&b"{}"[..]));
    assert!(read(r#"{"digest":"blake3:00","size":3,"data":"e30="}"#).is_err());
}

#[test]
fn writes_type_digest_and_size_alone() {
    let mut descriptor =
        read(r#"{"mediaType":"a/b","digest":"DIGEST","size":2,"annotations":{"a":"b"}}"#).unwrap();
    descriptor.has_urls = true;
    let text = format!(r#"{{"mediaType":"a/b","digest":"{}","size":2}}"#, digest());
    assert_eq!(descriptor.to_json().to_string(), text);
    assert_eq!(
        descriptor.to_json(),
        json!({"mediaType":"a/b","digest":digest(),"size":2})
    );
}
