//! Broken and hostile layouts: harm stays where it is, nothing is hidden, every walk ends.

use super::*;

#[test]
fn an_index_with_a_subject_hides_nothing() {
    let mut layout = Layout::default();
    let (image, hidden) = (layout.image("1"), layout.image("2"));
    let cover = layout.index(&[hidden.json()], Some(&image));
    layout.list(image.tagged("v1"));
    layout.list(cover.json());
    layout.list(hidden.json());
    assert_eq!(images(&layout.read()), [at("v1", &image), at("-", &hidden)]);
}

#[test]
fn being_listed_as_a_blob_hides_nothing() {
    for media_type in [IMAGE_MANIFEST, "application/octet-stream"] {
        let mut layout = Layout::default();
        let hidden = layout.image("2");
        let layer = descriptor(media_type, &hidden.digest, hidden.size, "");
        let text = format!(r#"{{"layers":[{layer}]}}"#);
        let image = layout.store(IMAGE_MANIFEST, &text);
        let index = layout.index(
            &[descriptor("text/plain", &hidden.digest, hidden.size, "")],
            None,
        );
        layout.list(image.tagged("v1"));
        layout.list(index.tagged("v2"));
        layout.list(hidden.json());
        let expected = [at("v1", &image), at("v2", &index), at("-", &hidden)];
        assert_eq!(images(&layout.read()), expected);
    }
}

#[test]
fn what_cannot_be_read_is_an_image() {
    let mut layout = Layout::default();
    let unverifiable: Digest = "blake3:00".parse().unwrap();
    let malformed = layout.store(IMAGE_MANIFEST, r#"{"layers":[],"layers":[]}"#);
    let [missing, corrupt, large, unreadable] =
        ["missing", "corrupt", "large", "unreadable"].map(|name| Stored {
            media_type: IMAGE_MANIFEST.to_owned(),
            digest: Digest::of(name.as_bytes()),
            size: 1,
        });
    layout
        .blobs
        .insert(corrupt.digest.clone(), Fetched::Bytes(b"x"[..].into()));
    layout.blobs.insert(large.digest.clone(), Fetched::TooLarge);
    layout.blobs.insert(
        unreadable.digest.clone(),
        Fetched::Unreadable("a fifo".to_owned()),
    );
    layout.list(descriptor(IMAGE_MANIFEST, &unverifiable, 1, ""));
    for stored in [&malformed, &missing, &corrupt, &large, &unreadable] {
        layout.list(stored.json());
    }
    let graph = layout.read();
    assert_eq!(graph.images.len(), 6);
    assert!(matches!(
        graph.node(&unverifiable),
        Some(Node::Unverifiable)
    ));
    assert!(matches!(
        graph.node(&malformed.digest),
        Some(Node::Malformed(_))
    ));
    assert!(matches!(graph.node(&missing.digest), Some(Node::Missing)));
    assert!(matches!(
        graph.node(&corrupt.digest),
        Some(Node::Corrupt(_))
    ));
    assert!(matches!(graph.node(&large.digest), Some(Node::TooLarge)));
    assert!(matches!(
        graph.node(&unreadable.digest),
        Some(Node::Unreadable(_))
    ));
    assert!(!layout.fetched.borrow().contains(&unverifiable));
}

#[test]
fn one_broken_manifest_harms_only_itself() {
    let mut layout = Layout::default();
    let stored: Vec<Stored> = (0..50)
        .map(|number| layout.image(&number.to_string()))
        .collect();
    for (number, image) in stored.iter().enumerate() {
        layout.list(image.tagged(&number.to_string()));
    }
    layout
        .blobs
        .insert(stored[7].digest.clone(), Fetched::Bytes(b"{}"[..].into()));
    let graph = layout.read();
    assert_eq!(graph.images.len(), 50);
    for (number, image) in stored.iter().enumerate() {
        assert_eq!(graph.document(&image.digest).is_some(), number != 7);
    }
}

#[test]
fn refuses_a_manifest_of_another_size() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    layout.list(descriptor(
        IMAGE_MANIFEST,
        &image.digest,
        image.size - 1,
        "",
    ));
    let graph = layout.read();
    assert!(matches!(graph.node(&image.digest), Some(Node::Corrupt(_))));
    assert_eq!(graph.images.len(), 1);
}

#[test]
fn refuses_a_manifest_of_another_type() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let index = layout.index(&[], None);
    layout.list(descriptor(DOCKER_MANIFEST, &image.digest, image.size, ""));
    layout.list(descriptor(IMAGE_MANIFEST, &index.digest, index.size, ""));
    let graph = layout.read();
    assert!(matches!(
        graph.node(&index.digest),
        Some(Node::Malformed(error)) if **error == DocumentError::BothKinds
    ));
    assert!(matches!(
        graph.node(&image.digest),
        Some(Node::Malformed(error)) if matches!(**error, DocumentError::Member { .. })
    ));
}

#[test]
fn one_right_descriptor_is_enough() {
    let mut layout = Layout::default();
    let index = layout.index(&[], None);
    for (media_type, surplus) in [(IMAGE_MANIFEST, 0), (IMAGE_INDEX, 1), (IMAGE_INDEX, 0)] {
        assert!(layout.read().document(&index.digest).is_none());
        layout.list(descriptor(
            media_type,
            &index.digest,
            index.size + surplus,
            "",
        ));
    }
    let graph = layout.read();
    assert!(graph.document(&index.digest).is_some());
    assert!(graph.images[0].ambiguous);
}

#[test]
fn a_wrong_descriptor_is_told_where_it_stands() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let wrong_size = descriptor(IMAGE_MANIFEST, &image.digest, image.size + 1, "");
    let wrong_type = descriptor(IMAGE_INDEX, &image.digest, image.size, "");
    let wrong = [
        layout.index(&[wrong_size], None),
        layout.index(&[wrong_type], None),
    ];
    let right = layout.index(&[image.json()], None);
    layout.list(wrong[0].tagged("v1"));
    layout.list(wrong[1].tagged("v2"));
    layout.list(right.tagged("v3"));
    let graph = layout.read();
    assert!(graph.document(&image.digest).is_some());
    for index in &wrong {
        assert_eq!(
            graph.closure(&index.root()).conflicting,
            std::slice::from_ref(&image.digest)
        );
    }
    assert!(graph.closure(&right.root()).conflicting.is_empty());
}

#[test]
fn reports_blobs_of_two_sizes() {
    let mut layout = Layout::default();
    let digest = Digest::of(b"layer");
    let layers = [5, 6].map(|size| descriptor("a/b", &digest, size, ""));
    let text = format!(r#"{{"layers":[{}]}}"#, layers.join(","));
    let image = layout.store(IMAGE_MANIFEST, &text);
    layout.list(image.tagged("v1"));
    let closure = layout.read().closure(&image.root());
    assert_eq!(closure.conflicting, std::slice::from_ref(&digest));
    assert_eq!(closure.blobs.len(), 1);
}

#[test]
fn refuses_bytes_over_the_manifest_limit() {
    let mut layout = Layout::default();
    let limit = usize::try_from(MANIFEST_BYTES_MAX).unwrap();
    let padded = |size: usize| format!(r#"{{"layers":[]{}}}"#, " ".repeat(size - 13));
    let fits = layout.store(IMAGE_MANIFEST, &padded(limit));
    let large = layout.store(IMAGE_MANIFEST, &padded(limit + 1));
    assert_eq!((fits.size, large.size), (limit, limit + 1));
    layout.list(fits.json());
    layout.list(large.json());
    let graph = layout.read();
    assert!(graph.document(&fits.digest).is_some());
    assert!(matches!(graph.node(&large.digest), Some(Node::TooLarge)));
}

#[test]
fn stops_at_the_depth_limit_of_nested_indexes() {
    for (depth, limit) in [(GRAPH_DEPTH_MAX, false), (GRAPH_DEPTH_MAX + 1, true)] {
        let mut layout = Layout::default();
        let image = layout.image("1");
        let mut root = image.clone();
        for _ in 1..depth {
            root = layout.index(&[root.json()], None);
        }
        layout.list(root.tagged("v1"));
        let graph = layout.read();
        assert_eq!(graph.limit, limit);
        let closure = graph.closure(&root.root());
        assert_eq!(closure.limit, limit);
        assert_eq!(closure.blobs.len(), if limit { 0 } else { 2 });
        // Listed itself, the image is met in time, but the closure stays cut and the image stays in sight.
        layout.list(image.json());
        let graph = layout.read();
        assert_eq!(graph.closure(&root.root()).limit, limit);
        assert_eq!(graph.images.len(), if limit { 2 } else { 1 });
    }
}

#[test]
fn stops_at_the_depth_limit_of_subjects() {
    for (depth, limit) in [(GRAPH_DEPTH_MAX, false), (GRAPH_DEPTH_MAX + 1, true)] {
        let mut layout = Layout::default();
        let mut last = layout.image("1");
        for number in 1..depth {
            last = layout.referrer(&number.to_string(), &last);
        }
        layout.list(last.json());
        assert_eq!(layout.read().limit, limit);
    }
}

#[test]
fn walks_a_long_chain_of_listed_subjects() {
    let mut layout = Layout::default();
    let mut last = layout.image("1");
    layout.list(last.tagged("v1"));
    for number in 0..10_000 {
        last = layout.referrer(&number.to_string(), &last);
        layout.list(last.json());
    }
    let graph = layout.read();
    assert!(!graph.limit);
    assert_eq!((graph.images.len(), graph.referrers.len()), (1, 10_000));
}

#[test]
fn fetches_shared_children_once() {
    // 10^5 paths from the root to the image, over five levels of ten.
    let mut layout = Layout::default();
    let mut level = vec![layout.image("1").json()];
    for depth in 0..5 {
        let index = |number: usize| {
            let note = format!(r#""annotations":{{"n":"{depth}.{number}"}}"#);
            format!(r#"{{"manifests":[{}],{note}}}"#, level.join(","))
        };
        let texts: Vec<String> = (0..10).map(index).collect();
        level = texts
            .iter()
            .map(|text| layout.store(IMAGE_INDEX, text).json())
            .collect();
    }
    let root = layout.index(&level, None);
    layout.list(root.tagged("v1"));
    let graph = layout.read();
    assert_eq!(layout.fetched.borrow().len(), 52);
    let closure = graph.closure(&root.root());
    assert_eq!((closure.manifests.len(), closure.blobs.len()), (52, 2));
}

#[test]
fn many_names_of_one_large_index_cost_little() {
    // Quadratic work would take minutes here.
    let mut layout = Layout::default();
    let image = layout.image("1");
    let signature = layout.referrer("s", &image);
    let fallback = layout.index(&vec![signature.json(); 20_000], None);
    let name = image.digest.folder_name().unwrap();
    for number in 0..20_000 {
        layout.list(fallback.tagged(&name));
        layout.list(fallback.tagged(&format!("v{number}")));
        layout.list(fallback.json());
    }
    let graph = layout.read();
    assert_eq!(graph.images.len(), 20_000);
    assert_eq!(layout.fetched.borrow().len(), 3);
}

#[test]
fn walks_many_images() {
    let mut layout = Layout::default();
    for number in 0..10_000 {
        let layers: Vec<String> = (0..10)
            .map(|layer| blob(&format!("{number}.{layer}")))
            .collect();
        let text = format!(
            r#"{{"config":{},"layers":[{}]}}"#,
            blob("c"),
            layers.join(",")
        );
        let image = layout.store(IMAGE_MANIFEST, &text);
        layout.list(image.tagged(&format!("v{number}")));
    }
    let graph = layout.read();
    let blobs = |image: &Image| graph.closure(&image.descriptor).blobs.len();
    assert_eq!(graph.images.iter().map(blobs).sum::<usize>(), 110_000);
}

#[test]
fn stops_at_the_limits_of_nodes_and_bytes() {
    let mut layout = Layout::default();
    let images = ["1", "2", "3"].map(|layer| layout.image(layer));
    for image in &images {
        layout.list(image.tagged(&image.digest.hex()));
    }
    let bytes: u64 = images.iter().map(|image| image.size as u64).sum();
    for (nodes, bytes, limit) in [(3, bytes, false), (2, bytes, true), (3, bytes - 1, true)] {
        let graph = layout.read_within(Room {
            nodes,
            bytes,
            ..Room::MAX
        });
        assert_eq!(graph.limit, limit);
        assert_eq!(graph.nodes.len(), if limit { 2 } else { 3 });
        // What was not reached is an image all the same, and says that it is cut.
        assert_eq!(graph.images.len(), 3);
        assert_eq!(graph.closure(&images[2].root()).limit, limit);
    }
}

#[test]
fn an_entry_of_another_type_does_not_hide_what_its_manifest_lists() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    let mut entry = image.tagged("v1");
    entry = entry.replace(IMAGE_MANIFEST, "application/octet-stream");
    layout.list(entry);
    let graph = layout.read();
    let closure = graph.closure(&graph.images[0].descriptor);
    assert_eq!(closure.manifests.len(), 1);
    assert!(!closure.blobs.is_empty());
}

#[test]
fn closures_end_where_their_room_ends() {
    let mut layout = Layout::default();
    let image = layout.image("1");
    layout.list(image.tagged("v1"));
    let graph = layout.read();
    let whole = graph.closure(&image.root());
    let parts = whole.manifests.len() + whole.blobs.len();
    for (room, limit, left) in [
        (parts, false, 0),
        (parts - 1, true, 0),
        (parts + 1, false, 1),
    ] {
        let mut room = room;
        assert_eq!(graph.closure_within(&image.root(), &mut room).limit, limit);
        assert_eq!(room, left);
    }
}

#[test]
fn stops_at_the_limit_of_descriptors_and_fetches_no_more() {
    let mut layout = Layout::default();
    for number in 0..4 {
        let image = layout.image(&format!("{number}"));
        layout.list(image.tagged(&format!("v{number}")));
    }
    let room = Room {
        descriptors: 1,
        ..Room::MAX
    };
    let graph = layout.read_within(room);
    assert!(graph.limit);
    assert_eq!(graph.nodes.len(), 1);
}
