//! Who refers to whom, and what is a fallback tag rather than an image.

use super::super::super::media_type::NOTARY_SIGNATURE;
use super::*;

/// Returns the referrers of a document as digests, `+` before what notation 1.3.2 finds.
fn referrers(graph: &Graph, subject: &Stored) -> Vec<String> {
    let show = |referrer: &Referrer| {
        let mark = if referrer.plain { "+" } else { "-" };
        format!("{mark}{}", short(&referrer.descriptor.digest))
    };
    graph.referrers(&subject.digest).iter().map(show).collect()
}

fn plain(stored: &Stored) -> Vec<String> {
    vec![format!("+{}", short(&stored.digest))]
}

fn not_plain(stored: &Stored) -> Vec<String> {
    vec![format!("-{}", short(&stored.digest))]
}

#[test]
fn finds_listed_referrers_with_their_entry() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    layout.list(image.tagged("v1"));
    layout.list(signature.with(r#","artifactType":"x/y","annotations":{"a":"b"}"#));
    let graph = layout.read();
    assert_eq!(referrers(&graph, &image), plain(&signature));
    let referrer = &graph.referrers(&image.digest)[0];
    assert_eq!(referrer.descriptor.annotation("a"), Some("b"));
    assert_eq!(referrer.artifact_type.as_deref(), Some(NOTARY_SIGNATURE));
    assert!(referrer.is_signature());
    assert_eq!(referrer.subject, image.root());
    assert!(graph.referrers(&signature.digest).is_empty());
}

#[test]
fn finds_referrers_in_nested_indexes_and_behind_subjects() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    let outer = layout.referrer("t", &signature);
    let nested = layout.index(&[signature.json()], None);
    layout.list(image.tagged("v1"));
    layout.list(nested.json());
    assert_eq!(referrers(&layout.read(), &image), plain(&signature));
    layout.entries.pop();
    layout.list(outer.json());
    let graph = layout.read();
    assert_eq!(referrers(&graph, &image), plain(&signature));
    assert_eq!(
        referrers(&graph, &signature),
        not_plain(&outer),
        "its subject has no entry"
    );
    assert_eq!(images(&graph), [at("v1", &image)]);
}

#[test]
fn finds_referrers_listed_as_layers_as_notation_does() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    let carrier = layout.store(
        IMAGE_MANIFEST,
        &format!(r#"{{"layers":[{}]}}"#, signature.json()),
    );
    layout.list(image.tagged("v1"));
    layout.list(carrier.tagged("v2"));
    let graph = layout.read();
    assert_eq!(referrers(&graph, &image), plain(&signature));
    let closure = graph.closure(&carrier.root());
    assert_eq!(closure.manifests.len(), 1);
    assert_eq!(closure.blobs[0].digest, signature.digest);
}

#[test]
fn tells_subjects_of_another_size_or_type_apart() {
    for (media_type, surplus) in [(IMAGE_MANIFEST, 1), (DOCKER_MANIFEST, 0), ("", 0)] {
        let mut layout = Layout::default();
        let image = layout.image("1");
        let mut claimed = image.clone();
        claimed.media_type = media_type.to_owned();
        claimed.size += surplus;
        let signature = layout.referrer("s", &claimed);
        layout.list(signature.json());
        layout.list(image.tagged("v1"));
        let graph = layout.read();
        assert_eq!(
            referrers(&graph, &image),
            not_plain(&signature),
            "{media_type}"
        );
        assert!(
            !graph.referrers(&image.digest)[0]
                .subject
                .same_content(&image.root())
        );
        assert!(
            graph.document(&image.digest).is_some(),
            "a referrer never harms its subject"
        );
        assert!(graph.closure(&image.root()).conflicting.is_empty());
    }
}

#[test]
fn an_entry_without_type_has_no_plain_referrers() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    layout.list(descriptor(
        "",
        &image.digest,
        image.size,
        &format!(r#","annotations":{{"{REF_NAME}":"v1"}}"#),
    ));
    layout.list(signature.json());
    let graph = layout.read();
    assert_eq!(referrers(&graph, &image), not_plain(&signature));
    assert!(graph.images[0].untyped);
}

#[test]
fn a_referrer_reached_by_an_untyped_entry_is_not_plain() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    layout.list(image.tagged("v1"));
    layout.list(descriptor("", &signature.digest, signature.size, ""));
    let graph = layout.read();
    assert_eq!(referrers(&graph, &image), not_plain(&signature));
    assert_eq!(
        graph.referrers(&image.digest)[0].descriptor.media_type,
        IMAGE_MANIFEST
    );
    assert_eq!(images(&graph), [at("v1", &image)]);
}

#[test]
fn knows_all_forms_of_signatures() {
    let config = |media_type: &str| descriptor(media_type, &Digest::of(b"{}"), 2, "");
    for (media_type, members, is_signature, is_plain) in [
        (
            IMAGE_MANIFEST,
            format!(r#""config":{}"#, config(NOTARY_SIGNATURE)),
            true,
            true,
        ),
        (
            IMAGE_MANIFEST,
            format!(
                r#""artifactType":"{NOTARY_SIGNATURE}","config":{}"#,
                config(EMPTY_JSON)
            ),
            true,
            false,
        ),
        (
            IMAGE_MANIFEST,
            format!(
                r#""artifactType":"{NOTARY_SIGNATURE}","config":{}"#,
                config(NOTARY_SIGNATURE)
            ),
            true,
            true,
        ),
        (
            IMAGE_MANIFEST,
            format!(
                r#""artifactType":"x/y","config":{}"#,
                config(NOTARY_SIGNATURE)
            ),
            true,
            true,
        ),
        (
            ARTIFACT_MANIFEST,
            format!(
                r#""artifactType":"{NOTARY_SIGNATURE}","blobs":[{}]"#,
                blob("s")
            ),
            true,
            true,
        ),
        (
            IMAGE_MANIFEST,
            format!(r#""artifactType":"x/y","config":{}"#, config(EMPTY_JSON)),
            false,
            true,
        ),
    ] {
        let mut layout = Layout::default();
        let image = layout.image("1");
        let text = format!(r#"{{{members},"subject":{}}}"#, image.json());
        let signature = layout.store(media_type, &text);
        layout.list(image.tagged("v1"));
        layout.list(signature.json());
        let graph = layout.read();
        let referrer = &graph.referrers(&image.digest)[0];
        assert_eq!(
            (referrer.is_signature(), referrer.plain),
            (is_signature, is_plain),
            "{text}"
        );
    }
}

#[test]
fn docker_types_have_no_subject() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let text = format!(r#"{{"layers":[],"subject":{}}}"#, image.json());
    let docker = layout.store(DOCKER_MANIFEST, &text);
    layout.list(image.tagged("v1"));
    layout.list(docker.json());
    let graph = layout.read();
    assert!(graph.referrers(&image.digest).is_empty());
    assert_eq!(images(&graph), [at("v1", &image), at("-", &docker)]);
}

#[test]
fn keeps_referrers_of_what_is_not_stored() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    layout.blobs.remove(&image.digest);
    layout.list(signature.json());
    let graph = layout.read();
    assert!(matches!(graph.node(&image.digest), Some(Node::Missing)));
    assert_eq!(referrers(&graph, &image), not_plain(&signature));
    assert!(graph.images.is_empty());
}

#[test]
fn sorts_referrers_by_digest() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    layout.list(image.tagged("v1"));
    for name in 0..20 {
        let signature = layout.referrer(&format!("s{name}"), &image);
        layout.list(signature.json());
    }
    let graph = layout.read();
    let found = graph.referrers(&image.digest);
    assert_eq!(found.len(), 20);
    assert!(found.is_sorted_by_key(|referrer| referrer.descriptor.digest.clone()));
}

#[test]
fn a_fallback_tag_is_not_an_image() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    let fallback = layout.index(&[signature.json()], None);
    layout.list(image.tagged("v1"));
    layout.list(fallback.tagged(&image.digest.folder_name().unwrap()));
    let graph = layout.read();
    assert_eq!(images(&graph), [at("v1", &image)]);
    assert_eq!(referrers(&graph, &image), plain(&signature));
}

#[test]
fn a_fallback_tag_holds_the_digest_in_full_or_cut_to_64_digits() {
    for digits in [128, 64] {
        let mut layout = Layout::default();
        let mut image = layout.image("1");
        let bytes = b"something";
        image.digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        image.digest = image.digest.same_algorithm_of(bytes).unwrap();
        let signature = layout.referrer("s", &image);
        let fallback = layout.index(&[signature.json()], None);
        layout.list(fallback.tagged(&format!("sha512-{}", &image.digest.hex()[..digits])));
        assert!(images(&layout.read()).is_empty());
    }
}

#[test]
fn what_only_looks_like_a_fallback_tag_is_an_image() {
    let mut layout = Layout::default();
    let (image, other) = (layout.image("1"), layout.image("2"));
    let signature = layout.referrer("s", &image);
    let stray = layout.referrer("t", &other);
    let lost = Stored {
        digest: Digest::of(b"lost"),
        ..signature.clone()
    };
    let name = image.digest.folder_name().unwrap();
    let annotated =
        format!(r#","annotations":{{"{REF_NAME}":"{name}","{CONTAINERD_NAME}":"x:v1"}}"#);
    let cases = [
        layout.index(&[], None).tagged(&name),
        layout
            .index(&[signature.json(), stray.json()], None)
            .tagged(&name),
        layout
            .index(&[signature.json(), other.json()], None)
            .tagged(&name),
        layout
            .index(&[signature.json(), lost.json()], None)
            .tagged(&name),
        layout
            .index(&[signature.json(), blob("b")], None)
            .tagged(&name),
        layout.index(&[signature.json()], None).tagged("v2"),
        layout.index(&[signature.json()], None).tagged(&name[..70]),
        layout
            .index(&[signature.json()], None)
            .tagged(&name.to_uppercase()),
        layout.index(&[signature.json()], None).with(&annotated),
        layout.index(&[signature.json()], None).json(),
        signature.tagged(&name),
        image.tagged(&name),
    ];
    for entry in cases {
        layout.entries = vec![entry.clone()];
        assert_eq!(layout.read().images.len(), 1, "{entry}");
    }
}
