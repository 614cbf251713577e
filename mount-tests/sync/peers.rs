//! Real registries, and the real verifier at the other end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use super::{Signed, signed_buildx, sync};
use crate::support::layouts;
use crate::support::{Ran, User, tool};

/// Is a registry program that runs until the value ends.
pub(super) struct Served {
    child: Child,
    pub(super) address: String,
    folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells which registry is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// distribution v3.
    V3,
    /// Debian's docker-registry 2.8.2.
    Debian,
    /// With the referrers API.
    Referrers,
}

pub(super) const ALL: [Program; 3] = [Program::V3, Program::Debian, Program::Referrers];

/// Starts a registry; `more` is added below `http:` of its configuration and after it.
pub(super) fn start(program: Program, more: &str) -> Option<Served> {
    let path = tool(match program {
        Program::V3 => "registry-v3",
        Program::Debian => "docker-registry",
        Program::Referrers => "registry-referrers",
    })?;
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(path);
    if program != Program::Referrers {
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n  secret: x\n{more}",
            folder.path().join("data").display()
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        command.arg("serve").arg(file);
    }
    command
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null());
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let child = command.spawn().unwrap();
    let mut served = Served {
        child,
        address: String::new(),
        folder,
    };
    for _ in 0..2000 {
        let file = std::fs::File::open(served.folder.path().join("log")).unwrap();
        let line = BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            .find(|line| line.contains("listening on "));
        if let Some((_, rest)) = line
            .as_deref()
            .and_then(|line| line.split_once("listening on "))
        {
            served.address = rest
                .chars()
                .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
                .collect();
            return Some(served);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let log = std::fs::read_to_string(served.folder.path().join("log")).unwrap();
    panic!("{program:?} does not listen: {log}");
}

pub(super) fn peer(user: &User, program: &Path, arguments: &[&str]) -> Ran {
    let mut command = user.program(program);
    command
        .env("NOTATION_CONFIG", user.config())
        .args(arguments);
    Ran::of(command.output().unwrap())
}

/// Checks that notation lists and verifies all signatures there, and that oras brings them back whole.
#[track_caller]
fn assert_found_by_peers(made: &Signed, target: &str) {
    let (Some(notation), Some(oras)) = (tool("notation-peer"), tool("oras")) else {
        return;
    };
    let reference = format!("{target}:v1");
    let listed = peer(&made.user, &notation, &["list", "--plain-http", &reference]);
    assert_eq!(listed.code, 0, "{listed:?}");
    for signature in &made.signatures {
        assert!(listed.stdout.contains(signature.as_str()), "{listed:?}");
    }
    let verified = peer(
        &made.user,
        &notation,
        &["verify", "--plain-http", &reference],
    );
    assert_eq!(verified.code, 0, "{verified:?}");
    for platform in &made.image.platforms {
        let reference = format!("{target}@{platform}");
        let verified = peer(
            &made.user,
            &notation,
            &["verify", "--plain-http", &reference],
        );
        assert_eq!(verified.code, 0, "{platform}: {verified:?}");
    }
    let back = made.user.path("back");
    let copied = peer(
        &made.user,
        &oras,
        &[
            "cp",
            "-r",
            "--from-plain-http",
            "--to-oci-layout",
            &reference,
            "back:v1",
        ],
    );
    assert_eq!(copied.code, 0, "{copied:?}");
    let again = made
        .user
        .run(&["verify", "--json", "--scope", "local/hello", "back:v1"]);
    assert_eq!(again.code, 0, "{again:?}");
    let signatures = made.user.run(&["list", "--json", "back:v1"]).json();
    assert_eq!(
        signatures["images"][0]["signatures"]
            .as_array()
            .unwrap()
            .len(),
        made.signatures.len()
    );
    std::fs::remove_dir_all(back).unwrap();
}

#[test]
fn notation_and_oras_find_everything_in_real_registries() {
    for program in ALL {
        let Some(served) = start(program, "") else {
            continue;
        };
        let made = signed_buildx();
        let target = format!("{}/team/hello", served.address);
        let ran = sync(&made.user, "hello:v1", &format!("{target}:v1"), &[]);
        assert_eq!(ran.code, 0, "{program:?}: {ran:?}");
        assert_found_by_peers(&made, &target);
        let again = sync(&made.user, "hello:v1", &format!("{target}:v1"), &[]);
        assert_eq!(again.json()["upToDate"], true, "{program:?}: {again:?}");
        let subjects = 3;
        assert!(
            again.json()["requests"].as_u64().unwrap() <= 3 + subjects,
            "{program:?}: {again:?}"
        );
        if let Some(skopeo) = tool("skopeo") {
            let inspected = peer(
                &made.user,
                &skopeo,
                &[
                    "inspect",
                    "--raw",
                    "--tls-verify=false",
                    &format!("docker://{target}:v1"),
                ],
            );
            assert_eq!(
                signetfs::oci::Digest::of(inspected.stdout.as_bytes()).to_string(),
                made.image.digest
            );
        }
    }
}

#[test]
fn finds_out_that_a_loopback_registry_speaks_plain_http() {
    for program in ALL {
        let Some(served) = start(program, "") else {
            continue;
        };
        let made = super::signed();
        for host in [
            served.address.clone(),
            served.address.replace("127.0.0.1", "localhost"),
        ] {
            let ran = made
                .user
                .run(&["sync", "hello:v1", &format!("{host}/hello:v1")]);
            assert_eq!(ran.code, 0, "{program:?} {host}: {ran:?}");
        }
    }
}

/// Makes a certificate for this machine.
fn certificate(folder: &Path) -> Option<()> {
    let openssl = tool("openssl")?;
    let status = std::process::Command::new(openssl)
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-keyout")
        .arg(folder.join("tls.key"))
        .arg("-out")
        .arg(folder.join("tls.crt"))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    Some(())
}

#[test]
fn speaks_tls_and_logs_in() {
    for program in [Program::V3, Program::Debian] {
        let made = super::signed();
        let folder = made.user.path("tls");
        std::fs::create_dir(&folder).unwrap();
        let (Some(()), Some(htpasswd)) = (certificate(&folder), tool("htpasswd")) else {
            return;
        };
        let line = peer(&made.user, &htpasswd, &["-Bbn", "user", "secret"]);
        std::fs::write(folder.join("htpasswd"), line.stdout).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let more = format!(
            "  tls:\n    certificate: {}\n    key: {}\nauth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            path("tls.crt"),
            path("tls.key"),
            path("htpasswd")
        );
        let Some(served) = start(program, &more) else {
            continue;
        };
        let target = format!("{}/hello:v1", served.address);
        let authority = path("tls.crt");
        made.user
            .run(&["sync", "--attempts", "1", "hello:v1", &target])
            .error(32);
        made.user
            .run(&["sync", "--ca-file", &authority, "hello:v1", &target])
            .error(30);
        let auths = serde_json::json!({"auths": {(&served.address): {"auth": "dXNlcjpzZWNyZXQ="}}});
        let docker = made.user.path("home/.docker");
        std::fs::create_dir_all(&docker).unwrap();
        std::fs::write(docker.join("config.json"), auths.to_string()).unwrap();
        let ran = made.user.run(&[
            "sync",
            "--json",
            "--ca-file",
            &authority,
            "hello:v1",
            &target,
        ]);
        assert_eq!(ran.code, 0, "{program:?}: {ran:?}");
        let insecure = made
            .user
            .run(&["sync", "--json", "--insecure", "hello:v1", &target]);
        assert_eq!(insecure.json()["upToDate"], true, "{insecure:?}");
        made.user
            .run(&[
                "sync",
                "--plain-http",
                "--attempts",
                "1",
                "hello:v1",
                &target,
            ])
            .error(31);
    }
}

#[test]
fn accepts_what_the_peers_signed_and_pushed() {
    for program in ALL {
        let Some(served) = start(program, "") else {
            continue;
        };
        let (Some(notation), Some(oras)) = (tool("notation-peer"), tool("oras")) else {
            return;
        };
        let made = signed_buildx();
        let target = format!("{}/hello", served.address);
        let reference = format!("{target}:v1");
        let copied = peer(
            &made.user,
            &oras,
            &[
                "cp",
                "-r",
                "--from-oci-layout",
                "--to-plain-http",
                "hello:v1",
                &reference,
            ],
        );
        assert_eq!(copied.code, 0, "{copied:?}");
        let signed = peer(
            &made.user,
            &notation,
            &[
                "sign",
                "--plain-http",
                &format!("{target}@{}", made.image.digest),
            ],
        );
        assert_eq!(signed.code, 0, "{signed:?}");
        let verified = made
            .user
            .run(&["verify", "--insecure-registry", &reference]);
        assert_eq!(verified.code, 0, "{program:?}: {verified:?}");
        let listed = made
            .user
            .run(&["list", "--json", "--insecure-registry", &reference])
            .json();
        assert_eq!(
            listed["images"][0]["signatures"].as_array().unwrap().len(),
            made.signatures.len() + 1,
            "{program:?}: {listed}"
        );
        // Ours beside theirs: nothing of theirs is lost.
        let pushed = sync(&made.user, "hello:v1", &reference, &[]);
        assert_eq!(pushed.code, 0, "{program:?}: {pushed:?}");
        let listed = peer(&made.user, &notation, &["list", "--plain-http", &reference]);
        assert_eq!(
            listed.stdout.matches("sha256:").count(),
            made.signatures.len() + 2,
            "{program:?}: {listed:?}"
        );
    }
}

#[test]
fn refuses_a_registry_that_renames_digests() {
    let user = User::new();
    let mut layout =
        layouts::Layout::with_algorithm(&user.path("hello"), layouts::Algorithm::Sha512);
    layout.image("v1", "one");
    for program in [Program::V3, Program::Debian] {
        let Some(served) = start(program, "") else {
            continue;
        };
        let target = format!("{}/hello:v1", served.address);
        let allowed = ["--allow", "unsigned", "--allow", "no-policy"];
        sync(&user, "hello:v1", &target, &allowed).error(31);
        let found = user.run(&["list", "--insecure-registry", &target]);
        assert_eq!(found.code, 1, "{program:?}: tagged all the same: {found:?}");
    }
}
