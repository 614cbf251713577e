//! Real registries, and the real verifier at the other end.

use super::doors::{ALL, Door, House, Program, certificate, issue, start};
use super::{Signed, signed_buildx, sync};
use crate::support::layouts;
use crate::support::notation::programs;
use crate::support::{User, tool};

const PLAIN: &str = "--plain-http";
const NOTATION_PLAIN: &str = "--insecure-registry";

#[test]
fn nothing_is_lost_in_the_clear() {
    for program in ALL {
        goes_there_and_back(program, Door::Open);
    }
}

#[test]
fn nothing_is_lost_behind_tls_and_a_password() {
    for program in ALL {
        goes_there_and_back(program, Door::Password);
    }
}

#[test]
fn nothing_is_lost_behind_a_token_server() {
    // The third registry knows no tokens; the tests' own has both tokens and the referrers API.
    for program in [Program::V3, Program::Debian] {
        goes_there_and_back(program, Door::Token);
    }
}

/// Pushes an image of buildx's shape, and has the peers find everything; then the other way round.
fn goes_there_and_back(program: Program, door: Door) {
    let made = signed_buildx();
    let Some(house) = House::open(&made.user, program, door) else {
        return;
    };
    let target = house.at("team/hello");
    let reference = format!("{target}:v1");
    let ran = house.signetfs(&["sync", "--json", "hello:v1", &reference], PLAIN);
    assert_eq!(ran.code, 0, "{program:?} {door:?}: {ran:?}");
    assert!(!format!("{ran:?}").contains("secret"), "{ran:?}");
    let again = house.signetfs(&["sync", "--json", "hello:v1", &reference], PLAIN);
    assert_eq!(again.json()["upToDate"], true, "{again:?}");
    // Three requests and one for each subject; a token server's door takes one more to open, and its token one.
    let subjects = made.image.platforms.len() as u64 + 1;
    let entering = match door {
        Door::Open => 0,
        Door::Password | Door::Token => 1,
    };
    let requests = again.json()["requests"].as_u64().unwrap();
    assert!(
        requests <= 3 + subjects + entering,
        "{program:?} {door:?}: {requests}"
    );
    let verified = house.signetfs(&["verify", &reference], NOTATION_PLAIN);
    assert_eq!(verified.code, 0, "{program:?} {door:?}: {verified:?}");
    found_by_notation(&made, &house, &target);
    brought_back_by_oras(&made, &house, &reference);
    pulled_by_skopeo(&made, &house, &reference);
    pulled_by_us(&made, &house, &reference);
    signed_and_pushed_by_peers(&made, &house);
}

/// Checks that notation lists every signature there and verifies the image and its platforms.
#[track_caller]
fn found_by_notation(made: &Signed, house: &House<'_>, target: &str) {
    for notation in programs() {
        let run = |command: &str, reference: &str| {
            let ran = house.peer(&notation, &[command, reference], &[NOTATION_PLAIN]);
            assert_eq!(ran.code, 0, "{notation:?}: {ran:?}");
            ran
        };
        let listed = run("list", &format!("{target}:v1"));
        for signature in &made.signatures {
            assert!(listed.stdout.contains(signature.as_str()), "{listed:?}");
        }
        run("verify", &format!("{target}:v1"));
        for platform in &made.image.platforms {
            run("verify", &format!("{target}@{platform}"));
        }
    }
}

/// Checks that oras brings everything back, and that it verifies here.
#[track_caller]
fn brought_back_by_oras(made: &Signed, house: &House<'_>, reference: &str) {
    let Some(oras) = tool("oras") else { return };
    let back = ["cp", "-r", "--to-oci-layout", reference, "back:v1"];
    let copied = house.peer(&oras, &back, &["--from-plain-http"]);
    assert_eq!(copied.code, 0, "{copied:?}");
    let again = ["verify", "--json", "--scope", "local/hello", "back:v1"];
    let again = made.user.run(&again);
    assert_eq!(again.code, 0, "{again:?}");
    let listed = made.user.run(&["list", "--json", "back:v1"]).json();
    let signatures = listed["images"][0]["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), made.signatures.len());
}

/// Checks that skopeo pulls the image with the same digest.
#[track_caller]
fn pulled_by_skopeo(made: &Signed, house: &House<'_>, reference: &str) {
    let Some(skopeo) = tool("skopeo") else { return };
    let source = format!("docker://{reference}");
    let pull = [
        "copy",
        "--insecure-policy",
        "--all",
        "--preserve-digests",
        &source,
        "dir:skopeo",
    ];
    let pulled = house.peer(&skopeo, &pull, &["--src-tls-verify=false"]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    let manifest = std::fs::read(made.user.path("skopeo/manifest.json")).unwrap();
    assert!(signetfs::oci::Digest::of(&manifest).to_string() == made.image.digest);
}

/// Checks that what we pull verifies here and by notation.
#[track_caller]
fn pulled_by_us(made: &Signed, house: &House<'_>, reference: &str) {
    let ran = house.signetfs(&["sync", reference, "./pulled:v1"], PLAIN);
    assert_eq!(ran.code, 0, "{ran:?}");
    let again = ["verify", "--scope", "local/hello", "./pulled:v1"];
    made.user.succeed(&again);
    let verify = ["verify", "--oci-layout", "--scope", "local/hello"];
    let names = [
        "pulled:v1".to_owned(),
        format!("pulled@{}", made.image.platforms[0]),
    ];
    for notation in programs() {
        for name in &names {
            let arguments = [verify.as_slice(), &[name]].concat();
            let verified = made.user.notation(&notation, &arguments);
            assert_eq!(verified.code, 0, "{notation:?} {name}: {verified:?}");
        }
    }
}

/// Checks that we verify and pull what oras pushed and notation signed, and that ours joins theirs.
#[track_caller]
fn signed_and_pushed_by_peers(made: &Signed, house: &House<'_>) {
    let Some(oras) = tool("oras") else { return };
    for (number, notation) in programs().iter().enumerate() {
        let target = house.at(&format!("theirs/hello{number}"));
        let reference = format!("{target}:v1");
        let push = ["cp", "-r", "--from-oci-layout", "hello:v1", &reference];
        let copied = house.peer(&oras, &push, &["--to-plain-http"]);
        assert_eq!(copied.code, 0, "{copied:?}");
        let by_digest = format!("{target}@{}", made.image.digest);
        let signed = house.peer(notation, &["sign", &by_digest], &[NOTATION_PLAIN]);
        assert_eq!(signed.code, 0, "{notation:?}: {signed:?}");
        let verified = house.signetfs(&["verify", &reference], NOTATION_PLAIN);
        assert_eq!(verified.code, 0, "{verified:?}");
        let listed = house.signetfs(&["list", "--json", &reference], NOTATION_PLAIN);
        let signatures = listed.json()["images"][0]["signatures"].clone();
        let expected = made.signatures.len() + 1;
        assert_eq!(signatures.as_array().unwrap().len(), expected, "{listed:?}");
        let place = format!("./theirs{number}:v1");
        let pulled = house.signetfs(&["sync", &reference, &place], PLAIN);
        assert_eq!(pulled.code, 0, "{notation:?}: {pulled:?}");
        let listed = made.user.run(&["list", "--json", &place]).json();
        assert_eq!(listed["images"][0]["signatures"], signatures);
        // Ours beside theirs: nothing of theirs is lost.
        let pushed = house.signetfs(&["sync", "hello:v1", &reference], PLAIN);
        assert_eq!(pushed.code, 0, "{pushed:?}");
        let listed = house.peer(notation, &["list", &reference], &[NOTATION_PLAIN]);
        assert_eq!(
            listed.stdout.matches("sha256:").count(),
            expected + 1,
            "{notation:?}: {listed:?}"
        );
    }
}

#[test]
fn a_token_for_one_repository_opens_no_other() {
    for program in [Program::V3, Program::Debian] {
        let made = super::signed();
        let Some(house) = House::open(&made.user, program, Door::Token) else {
            continue;
        };
        let (first, second) = (house.at("first"), house.at("second"));
        let ran = house.signetfs(&["sync", "hello:v1", &first], PLAIN);
        assert_eq!(ran.code, 0, "{ran:?}");
        // Blobs are mounted from there: the token has to be good for both.
        let mount = [
            "sync",
            "--json",
            "--mount-from",
            "first",
            "hello:v1",
            &second,
        ];
        let ran = house.signetfs(&mount, PLAIN);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.json()["blobs"]["sent"], 0, "{ran:?}");
        std::fs::remove_file(made.user.path("home/.docker/config.json")).unwrap();
        let ran = house.signetfs(&["sync", "hello:v1", &second], PLAIN);
        assert!(ran.error(30).contains("no credentials"), "{ran:?}");
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

#[test]
fn speaks_tls_and_logs_in() {
    for program in [Program::V3, Program::Debian] {
        let made = super::signed();
        let folder = made.user.path("tls");
        std::fs::create_dir(&folder).unwrap();
        let (Some(()), Some(htpasswd)) = (certificate(&folder), tool("htpasswd")) else {
            return;
        };
        let line = made.user.notation(&htpasswd, &["-Bbn", "user", "secret"]);
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
fn says_what_is_wrong_with_a_certificate() {
    let Some(openssl) = tool("openssl") else {
        return;
    };
    let cases = [
        ("IP:127.0.0.1", "CA:TRUE", "--ca-file", "CA:FALSE"),
        ("DNS:other.example", "CA:FALSE", "--ca-file", "by a name"),
        ("IP:127.0.0.1", "CA:FALSE", "", "--ca-file"),
    ];
    for (name, kind, flag, hint) in cases {
        let made = super::signed();
        let folder = made.user.path("tls");
        std::fs::create_dir(&folder).unwrap();
        issue(&openssl, &folder, name, kind);
        let place = |name: &str| folder.join(name).display().to_string();
        let (certificate, key) = (place("tls.crt"), place("tls.key"));
        let more = format!("  tls:\n    certificate: {certificate}\n    key: {key}\n");
        let Some(served) = start(Program::V3, &more) else {
            return;
        };
        let target = format!("{}/hello:v1", served.address);
        let mut arguments = vec!["sync", "--attempts", "1", "hello:v1", &target];
        if !flag.is_empty() {
            arguments.extend([flag, &certificate]);
        }
        let ran = made.user.run(&arguments);
        ran.error(32);
        let hints: Vec<&str> = ran
            .stderr
            .lines()
            .filter(|line| line.contains("hint:"))
            .collect();
        assert!(
            hints.len() == 1 && hints[0].contains(hint),
            "{name} {kind}: {ran:?}"
        );
    }
}

#[test]
fn shows_the_client_certificate_of_a_certs_folder() {
    let Some(openssl) = tool("openssl") else {
        return;
    };
    let made = super::signed();
    let folder = made.user.path("tls");
    std::fs::create_dir(&folder).unwrap();
    issue(&openssl, &folder, "IP:127.0.0.1", "CA:FALSE");
    let place = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (place("tls.crt"), place("tls.key"));
    // The same certificate serves, and is shown and trusted as a client's.
    let more = format!(
        "  tls:\n    certificate: {certificate}\n    key: {key}\n    clientcas:\n      - {certificate}\n"
    );
    let Some(served) = start(Program::V3, &more) else {
        return;
    };
    let target = format!("{}/hello:v1", served.address);
    let known = made
        .user
        .path("config/docker/certs.d")
        .join(&served.address);
    std::fs::create_dir_all(&known).unwrap();
    std::fs::copy(&certificate, known.join("ca.crt")).unwrap();
    let sync = ["sync", "--attempts", "1", "hello:v1", &target];
    made.user.run(&sync).error(32);
    std::fs::copy(&certificate, known.join("client.cert")).unwrap();
    let half = made.user.run(&sync);
    assert!(half.error(1).contains("client.cert"), "{half:?}");
    std::fs::copy(&key, known.join("client.key")).unwrap();
    made.user.succeed(&sync);
    made.user.succeed(&["sync", &target, "./back:v1"]);
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
        let ran = sync(&user, "hello:v1", &target, &allowed);
        ran.error(31);
        assert!(
            ran.stderr.contains("hint: build the image with sha256"),
            "{ran:?}"
        );
        let found = user.run(&["list", "--insecure-registry", &target]);
        assert_eq!(found.code, 1, "{program:?}: tagged all the same: {found:?}");
    }
}
