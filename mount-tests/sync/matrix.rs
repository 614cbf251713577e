//! The fault matrix: what goes wrong between us and a registry, row by row, each with its test.

use super::faults::{answer, large, once};
use super::{assert_complete, assert_signed_when_tagged, signed, sync};
use crate::registry::{Behaviour, Fault, Login, Registry, What};

/// The rows: what goes wrong, the file of its test, its test.
const MATRIX: [(&str, &str, &str); 53] = [
    (
        "429 with seconds",
        "matrix.rs",
        "waits_the_seconds_that_429_asks_for",
    ),
    (
        "429 with a date",
        "matrix.rs",
        "waits_until_the_date_that_429_asks_for",
    ),
    (
        "429 with a day",
        "matrix.rs",
        "waits_no_day_because_429_asks_for_it",
    ),
    ("429 to a body", "matrix.rs", "sends_a_body_again_after_429"),
    (
        "503 to opening",
        "matrix.rs",
        "opens_an_upload_again_after_503",
    ),
    ("503 to a body", "matrix.rs", "sends_a_body_again_after_503"),
    (
        "500 to a manifest",
        "matrix.rs",
        "puts_a_manifest_again_after_500",
    ),
    (
        "503 to the tag",
        "matrix.rs",
        "sets_the_tag_again_after_503",
    ),
    (
        "503 to the referrers tag",
        "matrix.rs",
        "writes_the_referrers_tag_again_after_503",
    ),
    (
        "403 about a rate limit",
        "matrix.rs",
        "takes_a_403_about_rates_for_what_it_is",
    ),
    (
        "reset at 1 %",
        "matrix.rs",
        "goes_on_after_a_reset_at_1_percent",
    ),
    (
        "reset at 50 %",
        "matrix.rs",
        "goes_on_after_a_reset_at_50_percent",
    ),
    (
        "reset at 99 %",
        "matrix.rs",
        "goes_on_after_a_reset_at_99_percent",
    ),
    (
        "several resets",
        "matrix.rs",
        "goes_on_after_several_resets",
    ),
    (
        "answer to a body lost",
        "matrix.rs",
        "finds_a_blob_whose_answer_was_lost",
    ),
    (
        "answer to opening lost",
        "matrix.rs",
        "opens_again_when_the_answer_was_lost",
    ),
    (
        "answer to a manifest lost",
        "matrix.rs",
        "puts_again_when_the_answer_was_lost",
    ),
    (
        "answer to the tag lost",
        "matrix.rs",
        "sets_the_tag_again_when_the_answer_was_lost",
    ),
    (
        "upload session gone",
        "matrix.rs",
        "opens_another_upload_when_the_session_is_gone",
    ),
    (
        "part said to be missing",
        "matrix.rs",
        "sends_again_the_part_that_is_said_to_be_missing",
    ),
    (
        "DIGEST_INVALID without reason",
        "matrix.rs",
        "bears_with_a_digest_said_to_be_invalid",
    ),
    ("413", "matrix.rs", "sends_chunks_after_413"),
    ("416 to a body", "matrix.rs", "sends_chunks_after_416"),
    (
        "503 to a signature",
        "matrix.rs",
        "puts_a_signature_again_after_503",
    ),
    (
        "list of referrers cut",
        "matrix.rs",
        "asks_again_for_a_list_that_broke_off",
    ),
    (
        "416 to a chunk",
        "matrix.rs",
        "goes_on_where_a_416_to_a_chunk_says",
    ),
    (
        "token expired between POST and PUT",
        "matrix.rs",
        "replays_a_body_whose_token_expired",
    ),
    (
        "201 to the first chunk",
        "matrix.rs",
        "a_201_to_the_first_chunk_is_no_end",
    ),
    (
        "NAME_UNKNOWN",
        "matrix.rs",
        "an_unknown_name_says_nothing_of_the_api",
    ),
    (
        "referrers tag taken for a digest",
        "matrix.rs",
        "a_tag_taken_for_a_digest_is_no_list",
    ),
    (
        "absolute place at the registry itself",
        "matrix.rs",
        "an_absolute_place_at_the_registry_is_its_own",
    ),
    (
        "missing Location",
        "matrix.rs",
        "a_missing_place_is_refused",
    ),
    (
        "307 to another host",
        "auth.rs",
        "shows_credentials_to_no_second_host",
    ),
    (
        "upload place at another host",
        "auth.rs",
        "shows_credentials_to_no_second_host",
    ),
    (
        "wrong digest header",
        "faults.rs",
        "never_tags_what_would_be_found_unsigned",
    ),
    ("no digest header", "faults.rs", "bears_with_odd_answers"),
    (
        "no place of a manifest",
        "faults.rs",
        "bears_with_odd_answers",
    ),
    (
        "OCI-Subject without the API",
        "faults.rs",
        "bears_with_odd_answers",
    ),
    (
        "OCI-Subject and nothing listed",
        "faults.rs",
        "never_tags_what_would_be_found_unsigned",
    ),
    (
        "API without OCI-Subject",
        "faults.rs",
        "bears_with_odd_answers",
    ),
    (
        "immutable referrers tag",
        "faults.rs",
        "never_tags_what_would_be_found_unsigned",
    ),
    (
        "immutable image tag",
        "../sync.rs",
        "tags_are_moved_only_as_allowed",
    ),
    (
        "whole bodies refused for good",
        "faults.rs",
        "sends_chunks_where_whole_bodies_are_refused",
    ),
    (
        "announced least chunk",
        "faults.rs",
        "sends_chunks_where_whole_bodies_are_refused",
    ),
    (
        "resumed upload",
        "faults.rs",
        "resumes_where_a_body_broke_off",
    ),
    (
        "upload that cannot be resumed",
        "matrix.rs",
        "goes_on_after_a_reset_at_50_percent",
    ),
    (
        "foreign document under the referrers tag",
        "faults.rs",
        "is_told_by_an_image_that_it_is_no_list",
    ),
    (
        "redirect without end",
        "faults.rs",
        "ends_honestly_when_nothing_helps",
    ),
    (
        "nobody answers",
        "faults.rs",
        "ends_honestly_when_nothing_helps",
    ),
    (
        "digest renamed to another algorithm",
        "peers.rs",
        "refuses_a_registry_that_renames_digests",
    ),
    (
        "killed at each request",
        "kill.rs",
        "converges_from_every_request_without_the_api",
    ),
    (
        "other writers of the referrers tag",
        "race.rs",
        "success_means_the_signature_is_listed",
    ),
    (
        "subject that has to be there first",
        "matrix.rs",
        "referrers_wait_where_subjects_have_to_be_there",
    ),
];

/// What the matrix has to hold whatever else it holds.
const REQUIRED: [&str; 15] = [
    "429 with seconds",
    "429 with a date",
    "503 to a body",
    "reset at 1 %",
    "reset at 50 %",
    "reset at 99 %",
    "token expired between POST and PUT",
    "307 to another host",
    "413",
    "416 to a body",
    "416 to a chunk",
    "missing Location",
    "wrong digest header",
    "NAME_UNKNOWN",
    "OCI-Subject without the API",
];

#[test]
fn every_row_has_its_test() {
    for row in REQUIRED {
        assert!(MATRIX.iter().any(|(known, _, _)| *known == row), "{row}");
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mount-tests/sync");
    for (row, file, name) in MATRIX {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let is_there = text.contains(&format!("#[test]\nfn {name}()"));
        assert!(is_there, "{row}: {file} has no test {name}");
        assert_eq!(
            MATRIX.iter().filter(|(known, _, _)| *known == row).count(),
            1,
            "{row} is there twice"
        );
    }
}

/// Pushes through a fault, to a registry with everything and to one with neither referrers API nor resumed uploads.
#[track_caller]
fn comes_through(fault: &Fault) {
    let made = large();
    for (referrers_api, resumes) in [(true, true), (false, false)] {
        let registry = Registry::start(Behaviour {
            referrers_api,
            resumes,
            ..Behaviour::default()
        });
        registry.fault(fault.clone());
        let to = registry.at("app");
        let ran = sync(&made.user, "hello:v1", &to, &["--no-memory"]);
        assert_eq!(ran.code, 0, "{fault:?}: {ran:?}");
        assert_complete(&made, &registry, "app");
        assert_signed_when_tagged(&made, &registry.take_log());
    }
}

#[test]
fn waits_the_seconds_that_429_asks_for() {
    comes_through(&once(
        "HEAD",
        "/blobs/",
        answer(429, &[("retry-after", "1")]),
    ));
}

#[test]
fn waits_until_the_date_that_429_asks_for() {
    comes_through(&once(
        "HEAD",
        "/blobs/",
        answer(
            429,
            &[
                ("retry-after", "Thu, 01 Jan 2026 00:00:01 GMT"),
                ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ],
        ),
    ));
}

#[test]
fn waits_no_day_because_429_asks_for_it() {
    comes_through(&once(
        "HEAD",
        "/blobs/",
        answer(429, &[("retry-after", "86400")]),
    ));
}

#[test]
fn sends_a_body_again_after_429() {
    comes_through(&once("PUT", "/blobs/uploads", answer(429, &[])));
}

#[test]
fn opens_an_upload_again_after_503() {
    comes_through(&once("POST", "/blobs/uploads", answer(503, &[])));
}

#[test]
fn sends_a_body_again_after_503() {
    comes_through(&once("PUT", "/blobs/uploads", answer(503, &[])));
}

#[test]
fn puts_a_manifest_again_after_500() {
    comes_through(&once("PUT", "/manifests/sha256:", answer(500, &[])));
}

#[test]
fn sets_the_tag_again_after_503() {
    comes_through(&once("PUT", "/manifests/v1", answer(503, &[])));
}

#[test]
fn writes_the_referrers_tag_again_after_503() {
    comes_through(&once("PUT", "/manifests/sha256-", answer(503, &[])));
}

#[test]
fn takes_a_403_about_rates_for_what_it_is() {
    comes_through(&once(
        "HEAD",
        "/blobs/",
        What::Answer(403, vec![], "secondary rate limit"),
    ));
}

#[test]
fn goes_on_after_a_reset_at_1_percent() {
    comes_through(&once("PUT", "/blobs/uploads", What::Cut(1)));
}

#[test]
fn goes_on_after_a_reset_at_50_percent() {
    comes_through(&once("PUT", "/blobs/uploads", What::Cut(50)));
}

#[test]
fn goes_on_after_a_reset_at_99_percent() {
    comes_through(&once("PUT", "/blobs/uploads", What::Cut(99)));
}

#[test]
fn goes_on_after_several_resets() {
    comes_through(&Fault {
        times: 3,
        ..once("PUT", "/blobs/uploads", What::Cut(50))
    });
}

#[test]
fn finds_a_blob_whose_answer_was_lost() {
    comes_through(&once("PUT", "/blobs/uploads", What::CutAfter));
}

#[test]
fn opens_again_when_the_answer_was_lost() {
    comes_through(&once("POST", "/blobs/uploads", What::CutAfter));
}

#[test]
fn puts_again_when_the_answer_was_lost() {
    comes_through(&once("PUT", "/manifests/", What::CutAfter));
}

#[test]
fn sets_the_tag_again_when_the_answer_was_lost() {
    comes_through(&once("PUT", "/manifests/v1", What::CutAfter));
}

#[test]
fn opens_another_upload_when_the_session_is_gone() {
    comes_through(&once("PUT", "/blobs/uploads", answer(404, &[])));
}

#[test]
fn sends_again_the_part_that_is_said_to_be_missing() {
    comes_through(&once(
        "PUT",
        "/manifests/sha256:",
        What::Answer(
            400,
            vec![],
            "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\"}]}",
        ),
    ));
}

#[test]
fn bears_with_a_digest_said_to_be_invalid() {
    comes_through(&once(
        "PUT",
        "/manifests/sha256:",
        What::Answer(400, vec![], "{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}"),
    ));
}

#[test]
fn sends_chunks_after_413() {
    comes_through(&once("PUT", "/blobs/uploads", answer(413, &[])));
}

#[test]
fn sends_chunks_after_416() {
    comes_through(&once("PUT", "/blobs/uploads", answer(416, &[])));
}

#[test]
fn puts_a_signature_again_after_503() {
    // Manifests are put in rounds: the image, then what refers to it.
    comes_through(&Fault {
        after: 1,
        ..once("PUT", "/manifests/sha256:", answer(503, &[]))
    });
}

#[test]
fn asks_again_for_a_list_that_broke_off() {
    let made = signed();
    for share in [0, 50, 99] {
        let registry = Registry::start(Behaviour::default());
        registry.fault(once("GET", "/referrers/", What::CutReply(share)));
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        assert_eq!(ran.code, 0, "{share}: {ran:?}");
        assert_eq!(ran.json()["retries"], 1, "{share}: {ran:?}");
        assert_complete(&made, &registry, "app");
    }
}

#[test]
fn goes_on_where_a_416_to_a_chunk_says() {
    let made = large();
    for resumes in [true, false] {
        let registry = Registry::start(Behaviour {
            body_max: 4 << 20,
            resumes,
            ..Behaviour::default()
        });
        registry.fault(Fault {
            after: 1,
            ..once("PATCH", "/blobs/uploads", answer(416, &[]))
        });
        let ran = sync(
            &made.user,
            "hello:v1",
            &registry.at("app"),
            &["--no-memory"],
        );
        assert_eq!(ran.code, 0, "{resumes}: {ran:?}");
        assert_complete(&made, &registry, "app");
    }
}

#[test]
fn replays_a_body_whose_token_expired() {
    let made = large();
    let registry = Registry::start(Behaviour {
        login: Login::Token,
        ..Behaviour::default()
    });
    super::auth::log_in(&made.user, &registry);
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"tests\"",
        registry.state.address
    );
    registry.fault(once(
        "PUT",
        "/blobs/uploads",
        What::Answer(401, vec![("www-authenticate", challenge)], ""),
    ));
    let flags = ["--no-memory", "--jobs", "1"];
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &flags);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_complete(&made, &registry, "app");
    let log = registry.take_log();
    let refused = log
        .iter()
        .position(|entry| entry.method == "PUT" && entry.status == 401)
        .unwrap();
    let replayed = log[refused + 1..]
        .iter()
        .find(|entry| entry.method == "PUT")
        .unwrap();
    assert_eq!(replayed.target, log[refused].target, "the same upload");
    assert_eq!(replayed.status, 201);
    assert_ne!(replayed.authorization, log[refused].authorization);
}

#[test]
fn a_201_to_the_first_chunk_is_no_end() {
    let made = large();
    let registry = Registry::start(Behaviour {
        body_max: 4 << 20,
        patch_status: 201,
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
}

#[test]
fn an_unknown_name_says_nothing_of_the_api() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        names_are_unknown: true,
        ..Behaviour::default()
    });
    let target = registry.at("app:v1");
    let check = sync(&made.user, "hello:v1", &target, &["--check"]);
    assert_eq!(check.code, 1, "{check:?}");
    let ran = sync(&made.user, "hello:v1", &target, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_complete(&made, &registry, "app");
    assert_eq!(ran.json()["referrers"]["subjectsByTag"], 0, "{ran:?}");
}

#[test]
fn a_tag_taken_for_a_digest_is_no_list() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        referrers_api: false,
        takes_tags_for_digests: true,
        ..Behaviour::default()
    });
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_complete(&made, &registry, "app");
}

#[test]
fn an_absolute_place_at_the_registry_is_its_own() {
    // Places are relative in most tests; here they are absolute, at the registry itself.
    let made = signed();
    let registry = Registry::start(Behaviour {
        login: Login::Basic,
        ..Behaviour::default()
    });
    super::auth::log_in(&made.user, &registry);
    let address = registry.state.address.clone();
    registry.behave(|behaviour| behaviour.uploads_at = Some(address));
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_complete(&made, &registry, "app");
    let log = registry.take_log();
    let bodies = log.iter().filter(|entry| entry.method == "PUT");
    assert!(bodies.clone().count() > 0);
    assert!(bodies.clone().all(|entry| entry.authorization.is_some()));
}

#[test]
fn a_missing_place_is_refused() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    registry.fault(Fault {
        times: usize::MAX,
        ..once("POST", "/blobs/uploads", answer(202, &[]))
    });
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    assert!(ran.error(31).contains("no place to upload to"), "{ran:?}");
    assert!(registry.repository("app").tags.is_empty());
}

#[test]
fn referrers_wait_where_subjects_have_to_be_there() {
    for referrers_api in [true, false] {
        for made in [signed(), super::signed_buildx()] {
            let registry = Registry::start(Behaviour {
                referrers_api,
                wants_subjects: true,
                ..Behaviour::default()
            });
            let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
            assert_eq!(ran.code, 0, "{ran:?}");
            assert_complete(&made, &registry, "app");
            assert_signed_when_tagged(&made, &registry.take_log());
        }
    }
}
