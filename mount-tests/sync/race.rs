//! Many writers of one image without a referrers API: what is reported as done is there at the end.

use super::doors::{Program, start};
use super::{signed, sync};
use crate::registry::{Behaviour, Registry};
use crate::support::{Ran, User, copy, rounds};

const WRITERS: usize = 8;

/// Makes layouts of one image, each with another signature.
fn layouts_of_one_image(user: &User) -> Vec<String> {
    let mut names = Vec::new();
    for writer in 0..WRITERS {
        let name = format!("layout{writer}");
        copy(&user.path("unsigned"), &user.path(&name));
        user.succeed(&["sign", &format!("{name}:v1")]);
        names.push(name);
    }
    names
}

/// Pushes all at once and returns how many honest failures there were; a success without its signature fails the test.
fn race(user: &User, names: &[String], target: &str, listed: &dyn Fn() -> Vec<String>) -> usize {
    let ended: Vec<(String, Ran)> = std::thread::scope(|scope| {
        let push = |name: &String| {
            let source = format!("{name}:v1");
            (
                name.clone(),
                sync(user, &source, target, &["--scope", "local/hello"]),
            )
        };
        let running: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(move || push(name)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let listed = listed();
    let mut honest_failures = 0;
    for (name, ran) in ended {
        let list = user.run(&["list", "--json", &format!("{name}:v1")]).json();
        let signature = list["images"][0]["signatures"][0]
            .as_str()
            .unwrap()
            .to_owned();
        match ran.code {
            0 => assert!(
                listed.contains(&signature),
                "{name} said it is done, and {signature} is not in {listed:?}"
            ),
            33 => honest_failures += 1,
            _ => panic!("{ran:?}"),
        }
    }
    honest_failures
}

#[test]
fn success_means_the_signature_is_listed() {
    let made = signed();
    let user = &made.user;
    crate::support::layouts::single(&user.path("unsigned"));
    let names = layouts_of_one_image(user);
    let mut honest_failures = 0;
    for _ in 0..rounds(30) {
        let registry = Registry::start(Behaviour {
            referrers_api: false,
            ..Behaviour::default()
        });
        let listed = || {
            registry
                .repository("app")
                .discoverable(&made.image.digest, false)
        };
        honest_failures += race(user, &names, &registry.at("app"), &listed);
    }
    eprintln!(
        "honest failures: {honest_failures} of {}",
        rounds(30) * WRITERS
    );
}

#[test]
fn success_means_the_signature_is_listed_in_real_registries() {
    for program in [Program::V3, Program::Debian] {
        let Some(served) = start(program, "") else {
            continue;
        };
        let made = signed();
        let user = &made.user;
        crate::support::layouts::single(&user.path("unsigned"));
        let names = layouts_of_one_image(user);
        let mut honest_failures = 0;
        for round in 0..rounds(30) {
            let target = format!("{}/round{round}", served.address);
            let listed = || {
                let reference = format!("{target}:v1");
                let ran = user.run(&["list", "--json", "--insecure-registry", &reference]);
                let listed = ran.json()["images"][0]["signatures"].clone();
                serde_json::from_value(listed).unwrap()
            };
            honest_failures += race(user, &names, &target, &listed);
        }
        eprintln!(
            "{program:?}: honest failures: {honest_failures} of {}",
            rounds(30) * WRITERS
        );
    }
}
