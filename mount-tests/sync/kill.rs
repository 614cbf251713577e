//! Killed at each request, before and after it is carried out: nothing unsigned is visible, and the next run converges.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Signed, assert_complete, assert_signed_when_tagged, signed, signed_buildx, sync};
use crate::registry::{Behaviour, Fault, Registry, What};
use crate::support::files_below;

/// Pushes and kills the program at request `index`; returns whether there was such a request.
fn killed_at(made: &Signed, registry: &Registry, index: usize, what: What) -> bool {
    registry.fault(Fault {
        method: "",
        target: "",
        after: index,
        times: 1,
        what,
    });
    let target = registry.at("app");
    let push = ["sync", "--plain-http", "hello:v1", &target];
    killed_when_frozen(registry, made.user.signetfs(&push))
}

/// Kills a program when the registry does not answer it any more; returns whether that happened before it ended.
fn killed_when_frozen(registry: &Registry, mut command: Command) -> bool {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let frozen = loop {
        if registry.is_frozen() {
            break true;
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break false;
        }
        assert!(Instant::now() < deadline, "neither frozen nor ended");
        std::thread::sleep(Duration::from_millis(1));
    };
    let _ = child.kill();
    let _ = child.wait();
    registry.heal();
    frozen
}

fn kill_everywhere(made: &Signed, referrers_api: bool, step: usize) {
    for what in [What::FreezeBefore, What::FreezeAfter] {
        let mut index = 0;
        loop {
            let registry = Registry::start(Behaviour {
                referrers_api,
                ..Behaviour::default()
            });
            let frozen = killed_at(made, &registry, index, what.clone());
            assert_signed_when_tagged(made, &registry.take_log());
            let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
            assert_eq!(ran.code, 0, "killed at {index} ({what:?}): {ran:?}");
            assert_signed_when_tagged(made, &registry.take_log());
            assert_complete(made, &registry, "app");
            if !frozen {
                assert!(index > 10, "only {index} requests");
                break;
            }
            index += step;
        }
    }
}

#[test]
fn converges_from_every_request_with_the_api() {
    kill_everywhere(&signed(), true, 1);
}

#[test]
fn converges_from_every_request_without_the_api() {
    kill_everywhere(&signed(), false, 1);
}

#[test]
fn converges_for_an_index_with_attestations() {
    let made = signed_buildx();
    for referrers_api in [true, false] {
        kill_everywhere(&made, referrers_api, 7);
    }
}

#[test]
fn a_killed_pull_leaves_no_parts_of_blobs() {
    let made = signed();
    let registry = Registry::start(Behaviour::default());
    let place = registry.at("app:v1");
    assert_eq!(sync(&made.user, "hello:v1", &place, &[]).code, 0);
    // Envelopes are read before anything is written; then come the blobs.
    registry.fault(Fault {
        method: "GET",
        target: "/blobs/",
        after: made.signatures.len(),
        times: 1,
        what: What::FreezeBefore,
    });
    let pull = ["sync", "--plain-http", "--jobs", "1", &place, "back:v1"];
    assert!(killed_when_frozen(&registry, made.user.signetfs(&pull)));
    let left = files_below(&made.user.path("back"));
    let is_part = |path: &&std::path::PathBuf| path.display().to_string().contains(".signetfs-");
    assert_eq!(left.keys().find(is_part), None);
    assert!(!left.is_empty());
    assert_eq!(sync(&made.user, &place, "back:v1", &[]).code, 0);
}
