//! Credentials: from the files of docker and podman, by helpers, by tokens; and to nobody but the registry they are for.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{assert_complete, signed, signed_with, sync};
use crate::registry::{Behaviour, Fault, Login, Registry, What};
use crate::support::{User, layouts};

fn docker_config(user: &User, document: &serde_json::Value) {
    let folder = user.path("home/.docker");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), document.to_string()).unwrap();
}

/// Stores `user:secret` for a registry as `docker login` does.
pub(super) fn log_in(user: &User, registry: &Registry) {
    docker_config(
        user,
        &serde_json::json!({"auths": {(&registry.state.address): {"auth": "dXNlcjpzZWNyZXQ="}}}),
    );
}

#[test]
fn logs_in_with_what_docker_stored() {
    for login in [Login::Basic, Login::Token] {
        let made = signed();
        let registry = Registry::start(Behaviour {
            login,
            ..Behaviour::default()
        });
        let without = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        let words = without.error(30).to_owned();
        assert!(words.contains("no credentials were found"), "{words}");
        log_in(&made.user, &registry);
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        assert_eq!(ran.code, 0, "{login:?}: {ran:?}");
        assert_complete(&made, &registry, "app");
        assert!(!format!("{ran:?}").contains("secret"), "{ran:?}");
        docker_config(
            &made.user,
            &serde_json::json!({"auths": {(&registry.state.address): {"auth": "dXNlcjpuby1vbmUta25vd3M="}}}),
        );
        let wrong = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        wrong.error(30);
        assert!(wrong.stderr.contains("config.json"), "{wrong:?}");
        assert!(!wrong.stderr.contains("no-one-knows"), "{wrong:?}");
    }
}

#[test]
fn renews_tokens_in_the_middle() {
    for token_uses in [1, 2, 3, 7] {
        let made = signed_with(|user| {
            layouts::Layout::new(&user.path("hello")).image("v1", &"x".repeat(100_000))
        });
        let registry = Registry::start(Behaviour {
            login: Login::Token,
            token_uses,
            ..Behaviour::default()
        });
        log_in(&made.user, &registry);
        let ran = sync(
            &made.user,
            "hello:v1",
            &registry.at("app"),
            &["--no-memory", "--jobs", "1"],
        );
        assert_eq!(ran.code, 0, "{token_uses}: {ran:?}");
        assert_complete(&made, &registry, "app");
    }
}

#[test]
fn shows_credentials_to_no_second_host() {
    for (login, redirects) in [
        (Login::Basic, true),
        (Login::Basic, false),
        (Login::Token, true),
        (Login::Token, false),
    ] {
        let made = signed();
        let registry = Registry::start(Behaviour {
            login,
            ..Behaviour::default()
        });
        let second = registry.start_beside(Behaviour::default());
        registry.behave(|behaviour| {
            behaviour.uploads_at = Some(second.state.address.clone());
            behaviour.redirects = redirects;
        });
        log_in(&made.user, &registry);
        let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
        assert_eq!(ran.code, 0, "{login:?} {redirects}: {ran:?}");
        assert_complete(&made, &registry, "app");
        let log = second.take_log();
        assert!(
            log.iter()
                .any(|entry| entry.method == "PUT" && entry.target.contains("digest=")),
            "{log:?}"
        );
        assert!(
            log.iter().all(|entry| entry.authorization.is_none()),
            "{log:?}"
        );
    }
}

#[test]
fn follows_no_realm_elsewhere() {
    let canary = Registry::start(Behaviour::default());
    let made = signed();
    for realm in [
        "https://evil.example/token",
        "http://evil.example/token",
        "http://169.254.169.254/latest",
        "http://user:pw@127.0.0.1/",
        "file:///etc/passwd",
        "",
    ] {
        let registry = Registry::start(Behaviour {
            login: Login::Token,
            realm: Some(realm.to_owned()),
            ..Behaviour::default()
        });
        log_in(&made.user, &registry);
        sync(&made.user, "hello:v1", &registry.at("app"), &[]).error(30);
    }
    // A token server that redirects is not followed.
    let registry = Registry::start(Behaviour {
        login: Login::Token,
        ..Behaviour::default()
    });
    log_in(&made.user, &registry);
    let place = format!("http://{}/token", canary.state.address);
    registry.fault(Fault {
        method: "GET",
        target: "/token",
        after: 0,
        times: 9,
        what: What::Answer(307, vec![("location", place)], ""),
    });
    sync(&made.user, "hello:v1", &registry.at("app"), &[]).error(30);
    assert_eq!(canary.take_log().len(), 0);
}

fn helper(user: &User, name: &str, body: &str) -> std::ffi::OsString {
    let folder = user.path("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("docker-credential-{name}"));
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap()
}

#[test]
fn asks_credential_helpers() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        login: Login::Basic,
        ..Behaviour::default()
    });
    let body = format!(
        "read server; [ \"$server\" = {} ] && printf '{{\"Username\":\"user\",\"Secret\":\"secret\"}}'",
        registry.state.address
    );
    let path = helper(&made.user, "test", &body);
    docker_config(
        &made.user,
        &serde_json::json!({"credHelpers": {(&registry.state.address): "test"}}),
    );
    let target = registry.at("app");
    let mut command = made
        .user
        .signetfs(&["sync", "--plain-http", "hello:v1", &target]);
    let ran = crate::support::Ran::of(command.env("PATH", &path).output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    docker_config(
        &made.user,
        &serde_json::json!({"credsStore": "absent-helper"}),
    );
    let ran = sync(&made.user, "hello:v1", &registry.at("other"), &[]);
    assert!(
        ran.error(30).contains("docker-credential-absent-helper"),
        "{ran:?}"
    );
    docker_config(
        &made.user,
        &serde_json::json!({"credsStore": "../../tmp/evil"}),
    );
    sync(&made.user, "hello:v1", &registry.at("other"), &[]).error(30);
}

#[test]
fn exchanges_identity_tokens() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        login: Login::Token,
        ..Behaviour::default()
    });
    let host = registry.state.address.clone();
    let auths = |entry: serde_json::Value| serde_json::json!({"auths": {(&host): entry}});
    docker_config(
        &made.user,
        &auths(serde_json::json!({"auth": "", "identitytoken": "another"})),
    );
    sync(&made.user, "hello:v1", &registry.at("app"), &[]).error(30);
    docker_config(
        &made.user,
        &auths(serde_json::json!({"auth": "", "identitytoken": "an-identity"})),
    );
    let ran = sync(&made.user, "hello:v1", &registry.at("app"), &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_complete(&made, &registry, "app");
    // The registry itself never sees it.
    let shown = |entry: &crate::registry::Logged| {
        let text = format!("{} {:?}", entry.target, entry.authorization);
        text.contains("an-identity")
    };
    assert!(!registry.take_log().iter().any(shown));
    // Helpers say the same with a user name that is none.
    let body = "cat >/dev/null; printf '{\"Username\":\"<token>\",\"Secret\":\"an-identity\"}'";
    let path = helper(&made.user, "identity", body);
    docker_config(&made.user, &serde_json::json!({"credsStore": "identity"}));
    let target = registry.at("other");
    let mut command = made
        .user
        .signetfs(&["sync", "--plain-http", "hello:v1", &target]);
    let ran = crate::support::Ran::of(command.env("PATH", &path).output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn takes_a_password_from_stdin() {
    use std::io::Write;

    let made = signed();
    let registry = Registry::start(Behaviour {
        login: Login::Basic,
        ..Behaviour::default()
    });
    let target = registry.at("app");
    let mut command = made.user.signetfs(&[
        "sync",
        "--plain-http",
        "hello:v1",
        &target,
        "--username",
        "user",
        "--password-stdin",
    ]);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
    let ran = crate::support::Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(Path::new(&made.user.path("home")).exists());
}

/// Runs the program with a line on stdin.
fn with_stdin(user: &User, arguments: &[&str], line: &[u8]) -> crate::support::Ran {
    use std::io::Write;
    use std::process::Stdio;

    let mut command = user.signetfs(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(line).unwrap();
    crate::support::Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn logs_in_with_the_flags_and_variables_of_notation() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        login: Login::Basic,
        ..Behaviour::default()
    });
    let host = registry.state.address.clone();
    let login = |more: &[&str], variables: &[(&str, &str)]| {
        let flags = ["login", "--insecure-registry", "--allow-plaintext", &host];
        let mut command = made.user.signetfs(&[&flags[..], more].concat());
        command.envs(variables.iter().copied());
        crate::support::Ran::of(command.output().unwrap())
    };
    let (user, password) = (
        ("NOTATION_USERNAME", "user"),
        ("NOTATION_PASSWORD", "secret"),
    );
    login(&[], &[]).error(2);
    login(&["-u", "user"], &[]).error(2);
    login(&["-u", "user", "-p", "wrong"], &[]).error(30);
    for (flags, variables) in [
        (&["-u", "user", "-p", "secret"][..], &[][..]),
        (&["-u", "user"], &[password]),
        (&[], &[user, password]),
    ] {
        let ran = login(flags, variables);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (0, "Login Succeeded\n"),
            "{ran:?}"
        );
        assert!(made.user.succeed(&["logout", &host]).contains("Succeeded"));
    }
    // A name alone is not a wish for what somebody else stored.
    log_in(&made.user, &registry);
    assert_eq!(
        sync(&made.user, "hello:v1", &registry.at("app"), &[]).code,
        0
    );
    sync(
        &made.user,
        "hello:v1",
        &registry.at("app"),
        &["-u", "other"],
    )
    .error(2);
    let place = registry.at("app:v1");
    let verify = ["verify", "--insecure-registry", &place];
    made.user.succeed(&verify);
    made.user
        .run(&[&verify[..], &["-u", "other"]].concat())
        .error(30);
}

#[test]
fn keeps_a_login_never_in_plain_text_silently() {
    let made = signed();
    let registry = Registry::start(Behaviour {
        login: Login::Token,
        ..Behaviour::default()
    });
    let host = registry.state.address.clone();
    let login = |more: &[&str], password: &[u8]| {
        let mut arguments = vec![
            "login",
            "--plain-http",
            &host,
            "--username",
            "user",
            "--password-stdin",
        ];
        arguments.extend(more);
        with_stdin(&made.user, &arguments, password)
    };
    let config = made.user.path("home/.docker/config.json");
    login(&["--allow-plaintext"], b"wrong").error(30);
    login(&[], b"secret").error(1);
    assert!(!config.exists());
    let ran = login(&["--allow-plaintext"], b"secret");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("plain text"), "{ran:?}");
    assert_eq!(
        std::fs::metadata(&config).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        sync(&made.user, "hello:v1", &registry.at("app"), &[]).code,
        0
    );
    made.user.succeed(&["logout", &host]);
    sync(&made.user, "hello:v1", &registry.at("other"), &[]).error(30);
    // With a helper, nothing secret is in the file.
    let kept = made.user.path("kept");
    let body = format!(
        "case $1 in store) cat >{0};; get) cat {0};; erase) rm {0};; esac",
        kept.display()
    );
    let path = helper(&made.user, "test", &body);
    docker_config(&made.user, &serde_json::json!({"credsStore": "test"}));
    let mut command = made.user.signetfs(&[
        "login",
        "--plain-http",
        &host,
        "--username",
        "user",
        "--password-stdin",
    ]);
    command.env("PATH", &path).stdin(
        std::fs::File::open({
            std::fs::write(made.user.path("password"), "secret\n").unwrap();
            made.user.path("password")
        })
        .unwrap(),
    );
    let ran = crate::support::Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(std::fs::read_to_string(&kept).unwrap().contains("secret"));
    assert!(!std::fs::read_to_string(&config).unwrap().contains("secret"));
}
