//! Random layouts: nothing that is listed without a subject escapes judging, whatever surrounds it.

use std::collections::{BTreeMap, HashSet};

use super::*;

/// Makes numbers that look random from a seed (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Builds a layout of manifests, indexes and referrers that point at earlier ones, some broken, some listed.
fn roll(dice: &mut Dice) -> (Layout, Vec<Stored>) {
    let mut layout = Layout::default();
    let mut stored: Vec<Stored> = vec![layout.image("first")];
    for number in 0..12 {
        let pick = |dice: &mut Dice| stored[dice.below(stored.len())].clone();
        let subject = pick(dice);
        let children: Vec<String> = (0..dice.below(4)).map(|_| pick(dice).json()).collect();
        let made = match dice.below(5) {
            0 => layout.image(&number.to_string()),
            1 => layout.referrer(&number.to_string(), &subject),
            2 => layout.index(&children, Some(&subject)),
            _ => layout.index(&children, None),
        };
        stored.push(made);
    }
    for document in &stored {
        let fallback = stored[dice.below(stored.len())]
            .digest
            .folder_name()
            .unwrap();
        match dice.below(7) {
            0 => {}
            1 => layout.list(document.tagged("v1")),
            2 => layout.list(document.tagged(&fallback)),
            3 => layout.list(descriptor("", &document.digest, document.size, "")),
            _ => layout.list(document.json()),
        }
        if dice.below(12) == 0 {
            layout.blobs.remove(&document.digest);
        }
    }
    (layout, stored)
}

#[test]
fn nothing_listed_escapes_judging() {
    for seed in 0..300 {
        let (layout, stored) = roll(&mut Dice(seed));
        let graph = layout.read();
        let mut judged: HashSet<Digest> = HashSet::new();
        let mut seen = HashSet::new();
        for image in &graph.images {
            assert!(
                seen.insert((&image.name, &image.descriptor.digest)),
                "seed {seed}"
            );
            judged.insert(image.descriptor.digest.clone());
            let manifests = graph.closure(&image.descriptor).manifests;
            judged.extend(
                manifests
                    .into_iter()
                    .map(|manifest| manifest.digest.clone()),
            );
        }
        for document in &stored {
            let is_listed = |entry: &&String| entry.contains(&document.digest.to_string());
            let Some(entry) = layout.entries.iter().find(is_listed) else {
                continue;
            };
            let parsed = graph.document(&document.digest);
            let has_subject = parsed.is_some_and(|parsed| parsed.subject().is_some());
            let is_named = entry.contains(REF_NAME);
            let is_list_of_referrers = match parsed {
                Some(Document::Index(index)) => index.manifests.iter().all(|child| {
                    let child = graph.document(&child.digest);
                    child.is_some_and(|child| child.subject().is_some())
                }),
                _ => false,
            };
            let may_be_no_image = match is_named {
                true => entry.contains("sha256-") && is_list_of_referrers,
                false => has_subject,
            };
            let is_judged = judged.contains(&document.digest);
            assert!(is_judged || may_be_no_image, "seed {seed}: {entry}");
        }
    }
}

#[test]
fn untagged_images_lie_in_no_other_closure() {
    for seed in 0..300 {
        let (layout, _) = roll(&mut Dice(seed));
        let graph = layout.read();
        for image in &graph.images {
            for manifest in graph.closure(&image.descriptor).manifests.iter().skip(1) {
                let is_image = graph.images.iter().any(|other| {
                    other.name.is_none() && other.descriptor.digest == manifest.digest
                });
                assert!(!is_image, "seed {seed}: {}", manifest.digest);
            }
        }
    }
}

#[test]
fn the_order_of_entries_changes_only_the_order_of_images() {
    for seed in 0..300 {
        let (mut layout, _) = roll(&mut Dice(seed));
        let sorted = |layout: &Layout| {
            let mut images = images(&layout.read());
            images.sort_unstable();
            images
        };
        let forwards = sorted(&layout);
        layout.entries.reverse();
        assert_eq!(sorted(&layout), forwards, "seed {seed}");
    }
}

/// Returns everything that a graph holds, in an order that does not depend on hash tables.
fn shown(graph: &Graph) -> String {
    let nodes: BTreeMap<_, _> = graph.nodes.iter().collect();
    format!(
        "{:?}\n{:?}\n{nodes:?}\n{}",
        graph.images, graph.referrers, graph.limit
    )
}

#[test]
fn many_read_at_once_make_the_same_graph_as_one_after_another() {
    for seed in 0..300 {
        let dice = &mut Dice(seed);
        let (layout, _) = roll(dice);
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            layout.entries.join(",")
        );
        let index = ImageIndex::parse(text.as_bytes()).unwrap();
        let mut asked = Vec::new();
        let graph = Graph::read_many(&index, &mut |wanted| {
            asked.extend(wanted.iter().map(|descriptor| descriptor.digest.clone()));
            let answer = |descriptor: &&Descriptor| {
                // Some have to be asked for alone.
                if wanted.len() > 1 && dice.below(5) == 0 {
                    asked.retain(|digest| *digest != descriptor.digest);
                    return None;
                }
                let blob = layout.blobs.get(&descriptor.digest);
                let fetched = blob.cloned().unwrap_or(Fetched::Missing);
                Some(Answer::of(descriptor, None, || fetched))
            };
            wanted.iter().map(answer).collect()
        });
        assert_eq!(shown(&graph), shown(&layout.read()), "seed {seed}");
        let unique: HashSet<_> = asked.iter().collect();
        assert_eq!(
            unique.len(),
            asked.len(),
            "seed {seed}: nothing is read twice"
        );
    }
}

#[test]
fn a_document_is_shared_with_an_earlier_graph_if_it_says_itself_what_it_is() {
    let mut layout = Layout::default();
    let typed = layout.image("a");
    let text = format!(r#"{{"layers":[{}]}}"#, blob("b"));
    let untyped = layout.store(IMAGE_MANIFEST, &text);
    for stored in [&typed, &untyped] {
        layout.list(stored.json());
    }
    let before = layout.read();
    let answer = |stored: &Stored, bytes: &[u8]| {
        let descriptor = stored.root();
        let fetched = Fetched::Bytes(bytes.into());
        Answer::of(&descriptor, before.node(&descriptor.digest), || fetched).node
    };
    let bytes = |stored: &Stored| match &layout.blobs[&stored.digest] {
        Fetched::Bytes(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    let is_shared = |stored: &Stored, node: &Node| match node {
        Node::Present { document, .. } => {
            Arc::ptr_eq(document, before.shared_document(&stored.digest).unwrap())
        }
        other => panic!("{other:?}"),
    };
    assert!(is_shared(&typed, &answer(&typed, &bytes(&typed))));
    assert!(!is_shared(&untyped, &answer(&untyped, &bytes(&untyped))));
    // Whatever was known: other bytes are not what the digest names.
    assert!(matches!(answer(&typed, b"{}"), Node::Corrupt(_)));
}

#[test]
fn the_bytes_of_manifests_can_be_given_up_and_those_of_indexes_stay() {
    let mut layout = Layout::default();
    let image = layout.image("a");
    let index = layout.index(&[image.json()], None);
    for (stored, is_kept) in [(&image, false), (&index, true)] {
        let fetched = layout.blobs[&stored.digest].clone();
        let answer = Answer::of(&stored.root(), None, || fetched).without_bytes();
        let Node::Present { size, bytes, .. } = answer.node else {
            panic!("it is stored");
        };
        assert_eq!(bytes.is_some(), is_kept);
        assert_eq!(size, stored.size as u64);
    }
}
