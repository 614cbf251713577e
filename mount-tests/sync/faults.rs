//! What registries do wrong, alone and for good: the push succeeds whole or fails honestly. The rows are in `matrix`.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::{Signed, assert_complete, assert_signed_when_tagged, signed, signed_with, sync};
use crate::registry::{Behaviour, DigestHeader, Fault, Registry, SubjectHeader, What};
use crate::support::layouts;

pub(super) fn answer(status: u16, headers: &[(&'static str, &str)]) -> What {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    What::Answer(
        status,
        headers,
        "{\"errors\":[{\"code\":\"TEST\",\"message\":\"on purpose\"}]}",
    )
}

pub(super) fn once(method: &'static str, target: &'static str, what: What) -> Fault {
    Fault {
        method,
        target,
        after: 0,
        times: 1,
        what,
    }
}

/// Makes an image whose layers take more than one buffer and more than one chunk.
pub(super) fn large() -> Signed {
    signed_with(|user| layouts::Layout::new(&user.path("hello")).image("v1", &"x".repeat(100_000)))
}

#[test]
fn resumes_where_a_body_broke_off() {
    let made = large();
    let registry = Registry::start(Behaviour::default());
    let size = std::fs::metadata(layouts::blob_path(
        &made.user.path("hello"),
        &made.image.layers[0],
    ))
    .unwrap()
    .len();
    assert!(size > 1 << 20);
    registry.fault(once("PUT", "/blobs/uploads", What::Cut(50)));
    let ran = sync(
        &made.user,
        "hello:v1",
        &registry.at("app"),
        &["--jobs", "1"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    let log = registry.take_log();
    assert!(
        log.iter()
            .any(|entry| entry.method == "PATCH" && entry.status == 202),
        "{log:?}"
    );
    assert_complete(&made, &registry, "app");
}

/// Makes an image whose layers are larger than what sockets hold of them.
fn huge() -> (Signed, Vec<PathBuf>) {
    let made = signed_with(|user| {
        layouts::Layout::new(&user.path("hello")).image("v1", &"x".repeat(500_000))
    });
    let layout = made.user.path("hello");
    let paths: Vec<PathBuf> = (made.image.layers.iter())
        .map(|layer| layouts::blob_path(&layout, layer))
        .collect();
    for path in &paths {
        assert!(std::fs::metadata(path).unwrap().len() > 45 << 20);
    }
    (made, paths)
}

#[test]
fn sends_again_what_was_written_into_while_it_was_sent() {
    let (made, paths) = huge();
    let sound = std::fs::read(&paths[0]).unwrap();
    let behind = sound.len() - 200_000;
    let more = ["--jobs", "1", "--no-memory"];
    // Into what had arrived; into what was sent and had not arrived; into what had all arrived.
    for (share, offset) in [(10, 0), (96, behind), (100, behind)] {
        for byte in [sound[offset], !sound[offset]] {
            let registry = Registry::start(Behaviour::default());
            let written = (offset as u64, byte);
            let what = What::Write(share, paths.clone(), written);
            registry.fault(once("PUT", "/blobs/uploads", what));
            let ran = sync(&made.user, "hello:v1", &registry.at("app"), &more);
            let repository = registry.repository("app");
            for (digest, bytes) in &repository.blobs {
                assert_eq!(&signetfs::oci::Digest::of(bytes).to_string(), digest);
            }
            let log = registry.take_log();
            let count = |method| log.iter().filter(|entry| entry.method == method).count();
            if byte == sound[offset] {
                assert_eq!(ran.code, 0, "{share}: {ran:?}");
                assert_complete(&made, &registry, "app");
                // A session of which nobody knows what it holds is given up; a blob of which the registry says that it is stored is read.
                let blobs_read = (log.iter())
                    .filter(|entry| entry.method == "GET" && entry.target.contains("/blobs/"));
                let doubted = count("DELETE") + blobs_read.count();
                assert_eq!((doubted, count("PATCH")), (1, 0), "{share}: {log:?}");
            } else {
                assert_eq!(ran.code, 17, "{share}: {ran:?}");
                assert!(repository.tags.is_empty());
                for path in &paths {
                    let file = std::fs::File::options().write(true).open(path).unwrap();
                    file.write_all_at(&[sound[offset]], offset as u64).unwrap();
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}

#[test]
fn ends_honestly_when_nothing_helps() {
    let made = signed();
    let always = usize::MAX;
    let cases: Vec<(i32, Fault)> = vec![
        (
            32,
            Fault {
                times: always,
                ..once("PUT", "/blobs/uploads", answer(503, &[]))
            },
        ),
        (
            32,
            Fault {
                times: always,
                ..once("HEAD", "", answer(429, &[("retry-after", "1")]))
            },
        ),
        (
            32,
            Fault {
                times: always,
                ..once("", "/blobs/uploads/session", What::Cut(50))
            },
        ),
        (
            32,
            Fault {
                times: always,
                ..once("", "", What::CutAfter)
            },
        ),
        (
            30,
            Fault {
                times: always,
                ..once("", "", answer(401, &[]))
            },
        ),
        (
            30,
            Fault {
                times: always,
                ..once("POST", "", answer(403, &[]))
            },
        ),
        (
            31,
            Fault {
                times: always,
                ..once("PUT", "/manifests/sha256:", answer(400, &[]))
            },
        ),
        (
            31,
            Fault {
                times: always,
                ..once("POST", "", answer(404, &[]))
            },
        ),
        (
            31,
            Fault {
                times: always,
                ..once("HEAD", "", answer(307, &[("location", "/loop")]))
            },
        ),
        (
            31,
            Fault {
                times: always,
                ..once("POST", "", answer(202, &[]))
            },
        ),
        (
            31,
            Fault {
                times: always,
                ..once("POST", "", answer(202, &[("location", "ftp://x/")]))
            },
        ),
    ];
    for (code, fault) in cases {
        let registry = Registry::start(Behaviour::default());
        registry.fault(fault.clone());
        let ran = sync(
            &made.user,
            "hello:v1",
            &registry.at("app"),
            &["--attempts", "3"],
        );
        assert!(!ran.error(code).is_empty(), "{fault:?}");
        assert!(registry.repository("app").tags.is_empty(), "{fault:?}");
        let requests = registry.take_log().len();
        assert!(requests < 100, "{requests}: {fault:?}");
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    sync(
        &made.user,
        "hello:v1",
        &format!("{nobody}/app"),
        &["--attempts", "2"],
    )
    .error(32);
}

#[test]
fn counts_the_tries_of_a_whole_upload() {
    let made = signed();
    for (attempts, words) in [("3", "after 3 attempts"), ("1", "after 1 attempt")] {
        for (target, what) in [
            ("/blobs/uploads", answer(503, &[])),
            ("/blobs/uploads/session", What::Cut(50)),
        ] {
            let registry = Registry::start(Behaviour::default());
            registry.fault(Fault {
                times: usize::MAX,
                ..once("PUT", target, what.clone())
            });
            let resumed = once("PATCH", target, what);
            registry.fault(Fault {
                times: usize::MAX,
                ..resumed
            });
            let more = ["--attempts", attempts];
            let ran = sync(&made.user, "hello:v1", &registry.at("app"), &more);
            let error = ran.error(32);
            let after = error.split(words).nth(1);
            assert!(
                after.is_some_and(|after| !after.starts_with('s')),
                "{ran:?}"
            );
        }
    }
}

#[test]
fn a_registry_that_forgets_what_arrived_ends_the_push() {
    let made = large();
    for range in ["0-0", "0-4194302"] {
        let registry = Registry::start(Behaviour {
            body_max: 4 << 20,
            ..Behaviour::default()
        });
        registry.fault(Fault {
            times: usize::MAX,
            ..once("PATCH", "/blobs/uploads", answer(202, &[("range", range)]))
        });
        let more = ["--no-memory", "--attempts", "3", "--jobs", "1"];
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &more);
        assert!(ran.error(31).contains("kept"), "{ran:?}");
        let requests = registry.take_log().len();
        assert!(requests < 100, "{requests}");
    }
}

#[test]
fn believes_no_other_digest_of_what_it_asked_for() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let other = format!("sha256:{}", "0".repeat(64));
    let says = answer(200, &[("docker-content-digest", &other)]);
    registry.fault(Fault {
        times: usize::MAX,
        ..once("HEAD", "/manifests/sha256:", says)
    });
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    assert!(ran.error(31).contains(&other), "{ran:?}");
    assert!(registry.repository("app").tags.is_empty());
}

#[test]
fn says_that_a_registry_knows_sha256_alone() {
    let made = super::signed_with(|user| {
        layouts::Layout::with_algorithm(&user.path("hello"), layouts::Algorithm::Sha512)
            .image("v1", "one")
    });
    assert!(made.image.digest.starts_with("sha512:"));
    let body = "{\"errors\":[{\"code\":\"DIGEST_INVALID\",\"message\":\"odd\"}]}";
    let unsupported = "{\"errors\":[{\"code\":\"UNSUPPORTED\"}]}";
    for (method, target, body) in [
        ("", "sha512", body),
        ("HEAD", "sha512", ""),
        ("POST", "mount=sha512", unsupported),
        ("PUT", "digest=sha512", body),
        ("PUT", "digest=sha512", "400 Bad Request"),
        ("PUT", "/manifests/sha512", body),
        ("PUT", "/manifests/v1", body),
    ] {
        let registry = Registry::start(Behaviour::default());
        registry.fault(Fault {
            times: usize::MAX,
            ..once(method, target, What::Answer(400, vec![], body))
        });
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        assert!(
            ran.error(31).contains("sha512"),
            "{method} {target}: {ran:?}"
        );
        assert!(
            ran.stderr.contains("hint: build the image with sha256"),
            "{ran:?}"
        );
        assert!(registry.repository("app").tags.is_empty());
    }
    // What another refusal is about, the registry's own words say.
    let registry = Registry::start(Behaviour::default());
    registry.fault(Fault {
        times: usize::MAX,
        ..once("PUT", "digest=sha512", answer(400, &[]))
    });
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    assert!(ran.error(31).contains("on purpose"), "{ran:?}");
    assert!(!ran.stderr.contains("sha256 digests"), "{ran:?}");
}

#[test]
fn counts_the_bytes_that_it_sent() {
    let made = signed();
    let push = |fault: Option<Fault>| {
        let registry = Registry::start(Behaviour::default());
        if let Some(fault) = fault {
            registry.fault(fault);
        }
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let answer = ran.json();
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let blobs = &answer["blobs"];
        (
            number(&answer["bytesSent"]),
            number(&blobs["bytes"]),
            number(&blobs["sent"]),
        )
    };
    let (whole, bytes, count) = push(None);
    assert_eq!(whole, bytes);
    // The answer is lost and the blob there: it was sent once.
    let lost = push(Some(once("PUT", "/blobs/uploads", What::CutAfter)));
    assert_eq!(lost, (whole, bytes, count));
    // Nothing of it was kept: it was sent twice, and is one blob.
    let (twice, once_each, sent) = push(Some(once("PUT", "/blobs/uploads", answer(503, &[]))));
    assert!(twice > whole && twice <= 2 * whole, "{twice} {whole}");
    assert_eq!((once_each, sent), (bytes, count));
}

#[test]
fn sends_chunks_where_whole_bodies_are_refused() {
    let made = large();
    for (body_max, chunk_min) in [(4 << 20, None), (8 << 20, Some(6 << 20))] {
        let registry = Registry::start(Behaviour {
            body_max,
            chunk_min,
            ..Behaviour::default()
        });
        let ran = sync(
            &made.user,
            "hello:v1",
            &registry.at("app"),
            &["--no-memory"],
        );
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_complete(&made, &registry, "app");
        let log = registry.take_log();
        assert!(log.iter().any(|entry| entry.method == "PATCH"), "{log:?}");
        // Corrupt content is held back in chunks too.
        let path = layouts::blob_path(&made.user.path("hello"), &made.image.layers[0]);
        let sound = std::fs::read(&path).unwrap();
        let mut flipped = sound.clone();
        flipped[5] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        sync(
            &made.user,
            "hello:v1",
            &registry.at("other"),
            &["--no-memory"],
        )
        .error(17);
        std::fs::write(&path, sound).unwrap();
        assert!(
            !registry
                .repository("other")
                .blobs
                .contains_key(&made.image.layers[0])
        );
    }
    // 416 to a whole body, as one large registry answers.
    let registry = Registry::start(Behaviour::default());
    registry.fault(once("PUT", "/blobs/uploads", answer(416, &[])));
    assert_eq!(
        sync(&made.user, "hello:v1", &registry.at("app"), &[]).code,
        0
    );
    assert_complete(&made, &registry, "app");
}

#[test]
fn bears_with_odd_answers() {
    let made = signed();
    for (name, behaviour) in [
        (
            "no digest header",
            Behaviour {
                digest_header: DigestHeader::Missing,
                ..Behaviour::default()
            },
        ),
        (
            "no place of manifests",
            Behaviour {
                manifest_location: false,
                ..Behaviour::default()
            },
        ),
        (
            "no subject header",
            Behaviour {
                subject_header: SubjectHeader::Missing,
                ..Behaviour::default()
            },
        ),
        (
            "subject header without API",
            Behaviour {
                subject_header: SubjectHeader::Fake,
                referrers_api: false,
                ..Behaviour::default()
            },
        ),
    ] {
        let registry = Registry::start(behaviour);
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        assert_complete(&made, &registry, "app");
        assert_signed_when_tagged(&made, &registry.take_log());
    }
}

#[test]
fn never_tags_what_would_be_found_unsigned() {
    let made = signed();
    for (code, behaviour) in [
        (
            33,
            Behaviour {
                lists_nothing: true,
                ..Behaviour::default()
            },
        ),
        (
            33,
            Behaviour {
                lists_nothing: true,
                subject_header: SubjectHeader::Fake,
                ..Behaviour::default()
            },
        ),
        (
            33,
            Behaviour {
                referrers_api: false,
                forget_tag_after: Some(0),
                ..Behaviour::default()
            },
        ),
        (
            31,
            Behaviour {
                digest_header: DigestHeader::Wrong,
                ..Behaviour::default()
            },
        ),
    ] {
        let registry = Registry::start(behaviour.clone());
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        assert!(!ran.error(code).is_empty(), "{behaviour:?}");
        assert!(
            !registry.repository("app").tags.contains_key("v1"),
            "{behaviour:?}"
        );
    }
    // Where tags are immutable, the list of an image that has one cannot grow.
    let registry = Registry::start(Behaviour {
        referrers_api: false,
        immutable_tags: true,
        ..Behaviour::default()
    });
    registry.change("app", |repository| {
        repository.write_list(&made.image.digest, &[])
    });
    sync(&made.user, "hello:v1", &registry.at("app"), &[]).error(33);
    assert!(!registry.repository("app").tags.contains_key("v1"));
}

#[test]
fn is_told_by_an_image_that_it_is_no_list() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        referrers_api: false,
        ..Behaviour::default()
    });
    let bytes = std::fs::read(layouts::blob_path(
        &made.user.path("hello"),
        &made.image.digest,
    ))
    .unwrap();
    let other = [bytes.as_slice(), b" "].concat();
    let digest = signetfs::oci::Digest::of(&other).to_string();
    registry.change("app", |repository| {
        repository.manifests.insert(
            digest.clone(),
            (
                signetfs::oci::media_type::IMAGE_MANIFEST.to_owned(),
                other.clone(),
            ),
        );
        repository
            .tags
            .insert(made.image.digest.replace(':', "-"), digest.clone());
    });
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    assert_ne!(ran.code, 0);
    assert_eq!(
        registry.repository("app").tags[&made.image.digest.replace(':', "-")],
        digest
    );
    assert!(!registry.repository("app").tags.contains_key("v1"));
}
