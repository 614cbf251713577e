//! The test registry before the conformance suite of the distribution specification: what the tests of `sync` rely on is what registries do.
//! <https://github.com/opencontainers/distribution-spec/tree/main/conformance>

use std::process::Command;

use super::{Behaviour, Registry};
use crate::support::tool;

/// Runs the suite, checks that nothing failed, and returns its report.
fn report(behaviour: Behaviour, settings: &[(&str, &str)]) -> Option<String> {
    let suite = tool("conformance")?;
    let registry = Registry::start(Behaviour {
        takes_streams: true,
        ..behaviour
    });
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(suite);
    command
        .env_clear()
        .envs(settings.iter().copied())
        .env("OCI_REGISTRY", &registry.state.address)
        .env("OCI_TLS", "disabled")
        .env("OCI_RESULTS_DIR", folder.path())
        .current_dir(folder.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    Some(text)
}

/// Returns the names of the checks that did not pass, with what the report says instead.
fn not_passed(report: &str) -> Vec<(&str, &str)> {
    let details = report
        .split("API conformance:")
        .next()
        .unwrap_or_default()
        .lines();
    details
        .filter_map(|line| {
            line.trim()
                .strip_prefix("OCI Conformance Test/")?
                .split_once(": ")
        })
        .filter(|(_, result)| *result != "Pass")
        .collect()
}

#[test]
fn conforms_to_the_specification() {
    let everything = Behaviour {
        tag_parameter: true,
        mounts_anonymously: true,
        ..Behaviour::default()
    };
    // What is still on its way into the specification too: cancelled uploads, tags as parameters, headers that must be there.
    let Some(text) = report(everything, &[("OCI_VERSION", "dev")]) else {
        return;
    };
    assert_eq!(not_passed(&text), [], "{text}");
    assert!(text.contains("sparse"), "{text}");
}

#[test]
fn conforms_as_the_tests_use_it() {
    let Some(text) = report(Behaviour::default(), &[("OCI_VERSION", "1.1")]) else {
        return;
    };
    // Mounting without a source and cancelling are optional in this version of the specification; no such mount is offered here.
    let optional = [
        ("mount anonymous/blob-mount-anonymous", "Skip"),
        ("post cancel/blob-post-cancel", "Disabled"),
    ];
    for (name, result) in not_passed(&text) {
        assert!(
            optional
                .iter()
                .any(|(end, said)| name.ends_with(end) && result == *said),
            "{name}: {result}\n{text}"
        );
    }
    // Chunks no smaller than announced; no referrers API. The suite follows no link to a second page, so pages stay long here.
    let strict = Behaviour {
        chunk_min: Some(2048),
        referrers_api: false,
        ..Behaviour::default()
    };
    let settings = [("OCI_VERSION", "1.1"), ("OCI_API_REFERRER", "false")];
    assert!(report(strict, &settings).is_some());
}
