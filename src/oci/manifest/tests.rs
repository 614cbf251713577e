use super::super::media_type::NOTARY_SIGNATURE;
use super::*;

const HEX: &str = "0c37285c04d8dc813a5c555c04739cec27a9a1d1a78adba0e8cfc0e3d88538f3";

/// Replaces `D` by a descriptor, and names of types by the types.
fn expand(text: &str) -> String {
    text.replace("#IMAGE", IMAGE_MANIFEST)
        .replace("#INDEX", IMAGE_INDEX)
        .replace("#DOCKER", DOCKER_MANIFEST)
        .replace("#LIST", DOCKER_MANIFEST_LIST)
        .replace("#ARTIFACT", ARTIFACT_MANIFEST)
        .replace("#SIGNATURE", NOTARY_SIGNATURE)
        .replace(
            "#D",
            &format!(r#"{{"mediaType":"a/b","digest":"sha256:{HEX}","size":1}}"#),
        )
}

fn read(media_type: &str, text: &str) -> Result<Document, DocumentError> {
    Document::parse(&expand(media_type), expand(text).as_bytes())
}

/// Returns the document as `kind:children,subject`.
fn summary(document: &Document) -> String {
    let (kind, children) = match document {
        Document::Manifest(manifest) => ("manifest", manifest.layers.len()),
        Document::Index(index) => ("index", index.manifests.len()),
    };
    let subject = if document.subject().is_some() {
        "+subject"
    } else {
        ""
    };
    format!("{kind}:{children}{subject}")
}

#[test]
fn reads_what_real_writers_write() {
    for (media_type, text, expected) in [
        (
            "#IMAGE",
            r##"{"schemaVersion":2,"mediaType":"#IMAGE","config":#D,"layers":[#D,#D]}"##,
            "manifest:2",
        ),
        (
            "#IMAGE",
            r##"{"config":#D,"layers":[],"subject":#D}"##,
            "manifest:0+subject",
        ),
        (
            "#IMAGE",
            r##"{"config":#D,"layers":null,"subject":null,"annotations":null}"##,
            "manifest:0",
        ),
        ("#IMAGE", r##"{"schemaVersion":2}"##, "manifest:0"),
        ("#INDEX", r##"{"schemaVersion":2}"##, "index:0"),
        (
            "#INDEX",
            r##"{"schemaVersion":2,"manifests":null,"layers":null}"##,
            "index:0",
        ),
        (
            "#INDEX",
            r##"{"mediaType":"","manifests":[#D],"subject":#D}"##,
            "index:1+subject",
        ),
        (
            "#LIST",
            r##"{"schemaVersion":2,"mediaType":"#LIST","manifests":[#D]}"##,
            "index:1",
        ),
        (
            "#DOCKER",
            r##"{"schemaVersion":2,"config":#D,"layers":[#D]}"##,
            "manifest:1",
        ),
        (
            "#DOCKER",
            r##"{"config":#D,"layers":[#D],"subject":#D}"##,
            "manifest:1",
        ),
        (
            "",
            r##"{"mediaType":"#DOCKER","layers":[#D],"subject":#D}"##,
            "manifest:1",
        ),
        (
            "",
            r##"{"mediaType":"#LIST","manifests":[#D],"subject":#D}"##,
            "index:1",
        ),
        (
            "#ARTIFACT",
            r##"{"mediaType":"#ARTIFACT","artifactType":"x","blobs":[#D],"subject":#D}"##,
            "manifest:1+subject",
        ),
        ("#ARTIFACT", r##"{"blobs":[#D]}"##, "manifest:1"),
        ("", r##"{"blobs":[#D]}"##, "manifest:1"),
        ("", r##"{"layers":[#D]}"##, "manifest:1"),
        ("", r##"{"manifests":[#D]}"##, "index:1"),
        ("", r##"{"mediaType":"#INDEX"}"##, "index:0"),
        (
            "#IMAGE",
            r##"{"layers":[#D],"zzz":{"Layers":1},"fsLayers":[]}"##,
            "manifest:1",
        ),
    ] {
        let document = read(media_type, text).unwrap();
        assert_eq!(summary(&document), expected, "{media_type} {text}");
    }
}

#[test]
fn refuses_documents_with_two_readings() {
    for (media_type, text) in [
        ("#IMAGE", r##"{"layers":[#D],"manifests":[#D]}"##),
        ("#INDEX", r##"{"layers":[#D],"manifests":[#D]}"##),
        ("", r##"{"layers":[],"manifests":[]}"##),
        ("#INDEX", r##"{"config":#D,"manifests":[#D]}"##),
        ("#INDEX", r##"{"blobs":[],"manifests":[#D]}"##),
        ("#INDEX", r##"{"layers":[#D]}"##),
        ("#IMAGE", r##"{"manifests":[#D]}"##),
        ("#INDEX", r##"{"mediaType":"#IMAGE"}"##),
        ("#IMAGE", r##"{"mediaType":"#INDEX"}"##),
        ("#DOCKER", r##"{"mediaType":"#LIST","manifests":[]}"##),
        ("", r##"{"mediaType":"#IMAGE","manifests":[#D]}"##),
        ("", r##"{"mediaType":"#INDEX","layers":[#D]}"##),
    ] {
        assert_eq!(
            read(media_type, text),
            Err(DocumentError::BothKinds),
            "{media_type} {text}"
        );
    }
}

#[test]
fn refuses_malformed_members() {
    for (media_type, text, member) in [
        (
            "#IMAGE",
            r##"{"mediaType":"#DOCKER","layers":[]}"##,
            "mediaType",
        ),
        (
            "#INDEX",
            r##"{"mediaType":"#LIST","manifests":[]}"##,
            "mediaType",
        ),
        (
            "#IMAGE",
            r##"{"mediaType":"x/y","layers":[]}"##,
            "mediaType",
        ),
        (
            "application/octet-stream",
            r##"{"mediaType":"#IMAGE","layers":[]}"##,
            "mediaType",
        ),
        ("#IMAGE", r##"{"mediaType":2}"##, "mediaType"),
        ("", r##"{}"##, "mediaType"),
        ("#IMAGE", r##"[]"##, ""),
        ("#IMAGE", r##"null"##, ""),
        ("#IMAGE", r##"{"schemaVersion":"2"}"##, "schemaVersion"),
        ("#IMAGE", r##"{"schemaVersion":2.0}"##, "schemaVersion"),
        ("#IMAGE", r##"{"Layers":[]}"##, "Layers"),
        ("#IMAGE", r##"{"layers":[],"LAYERS":[]}"##, "LAYERS"),
        ("#IMAGE", r##"{"layers":[],"Manifests":[]}"##, "Manifests"),
        ("#INDEX", r##"{"manife\u017fts":[]}"##, "manife\u{17f}ts"),
        ("#IMAGE", r##"{"layers":{}}"##, "layers"),
        ("#IMAGE", r##"{"layers":[#D,null]}"##, "layers[1]"),
        (
            "#IMAGE",
            r##"{"layers":[#D,#D,{"digest":"sha256:0","size":1}]}"##,
            "layers[2].digest",
        ),
        (
            "#INDEX",
            r##"{"manifests":[{"digest":"a:b","size":-1}]}"##,
            "manifests[0].size",
        ),
        ("#IMAGE", r##"{"config":[]}"##, "config"),
        ("#IMAGE", r##"{"subject":{}}"##, "subject.digest"),
        ("#IMAGE", r##"{"subject":"sha256:0"}"##, "subject"),
        ("#IMAGE", r##"{"artifactType":{}}"##, "artifactType"),
        ("#IMAGE", r##"{"annotations":{"a":[]}}"##, "annotations.a"),
        ("#IMAGE", r##"{"layers":[#D],"blobs":[#D]}"##, "blobs"),
        ("#IMAGE", r##"{"blobs":[#D]}"##, "blobs"),
        ("#ARTIFACT", r##"{"layers":[#D]}"##, "blobs"),
        ("#ARTIFACT", r##"{"config":#D,"blobs":[#D]}"##, "blobs"),
        ("", r##"{"layers":[#D],"blobs":[#D]}"##, "blobs"),
    ] {
        let found = match read(media_type, text) {
            Err(DocumentError::Member { member, .. } | DocumentError::Digest { member, .. }) => {
                member
            }
            other => panic!("{media_type} {text}: {other:?}"),
        };
        assert_eq!(found, member, "{media_type} {text}");
    }
    assert!(matches!(
        read("#IMAGE", r##"{"layers":[],"layers":[]}"##),
        Err(DocumentError::Json(_))
    ));
}

#[test]
fn stops_at_the_limit_of_descriptors() {
    let list = |count: usize| {
        let descriptor = r#"{"digest":"a:b","size":1}"#;
        format!(r#"{{"manifests":[{}]}}"#, vec![descriptor; count].join(","))
    };
    let most = ImageIndex::parse(list(DESCRIPTORS_MAX).as_bytes()).unwrap();
    assert_eq!(most.manifests.len(), DESCRIPTORS_MAX);
    let error = ImageIndex::parse(list(DESCRIPTORS_MAX + 1).as_bytes()).unwrap_err();
    assert!(matches!(error, DocumentError::Member { member, .. } if member == "manifests"));
}

#[test]
fn reads_index_json_of_any_writer() {
    for text in [
        r##"{"schemaVersion":2,"mediaType":"#INDEX","manifests":[]}"##,
        r##"{"schemaVersion":2,"manifests":[#D],"zzz":1}"##,
        r##"{"schemaVersion":2,"manifests":null}"##,
        r##"{}"##,
    ] {
        assert!(ImageIndex::parse(expand(text).as_bytes()).is_ok(), "{text}");
    }
    for text in [
        r##"{"layers":[]}"##,
        r##"{"mediaType":"#IMAGE"}"##,
        r##"[]"##,
        r##""##,
    ] {
        assert!(
            ImageIndex::parse(expand(text).as_bytes()).is_err(),
            "{text}"
        );
    }
    assert!(ImageManifest::parse(expand(r##"{"manifests":[]}"##).as_bytes()).is_err());
    assert!(ImageManifest::parse(expand(r##"{"layers":[#D]}"##).as_bytes()).is_ok());
}

#[test]
fn knows_the_artifact_type() {
    let config = |media_type: &str| {
        format!(r#""config":{{"mediaType":"{media_type}","digest":"a:b","size":2}}"#)
    };
    for (text, expected) in [
        (
            format!("{{{}}}", config("#SIGNATURE")),
            Some(NOTARY_SIGNATURE),
        ),
        (
            format!(r##"{{"artifactType":"#SIGNATURE",{}}}"##, config("x/y")),
            Some(NOTARY_SIGNATURE),
        ),
        (
            format!(r##"{{"artifactType":"",{}}}"##, config("x/y")),
            Some("x/y"),
        ),
        (format!("{{{}}}", config("")), None),
        (r#"{"layers":[]}"#.to_owned(), None),
    ] {
        let document = read("#IMAGE", &text).unwrap();
        assert_eq!(document.effective_artifact_type(), expected, "{text}");
    }
    let index = read("#INDEX", r##"{"artifactType":"x/y"}"##).unwrap();
    assert_eq!(index.effective_artifact_type(), Some("x/y"));
}

#[test]
fn never_panics_on_a_changed_document() {
    let text = expand(
        r##"{"mediaType":"#IMAGE","config":#D,"layers":[#D],"subject":#D,"annotations":{"a":"b"}}"##,
    );
    for position in 0..text.len() {
        for byte in [b'"', b'{', b'1', b'A', 0xc5] {
            let mut changed = text.clone().into_bytes();
            changed[position] = byte;
            let _ = Document::parse(IMAGE_MANIFEST, &changed);
        }
    }
}
