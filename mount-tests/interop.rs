//! Live interoperation with the Notary Project's own libraries and with oras: what we sign they accept, and the other way round.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::layouts::{self, index};
use crate::support::{Ran, User, tool};

/// The six key types: name, and the arguments of openssl that make one.
const KEYS: [(&str, &[&str]); 6] = [
    ("rsa2048", &["rsa:2048"]),
    ("rsa3072", &["rsa:3072"]),
    ("rsa4096", &["rsa:4096"]),
    ("p256", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("p521", &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]),
];

const FORMATS: [&str; 2] = ["jws", "cose"];
const SCOPE: &str = "local/hello";

/// Makes the six keys, lists them for both programs and trusts them by a strict policy.
fn with_keys(user: &User, openssl: &Path) {
    let folder = user.path("keys");
    std::fs::create_dir(&folder).unwrap();
    let mut stores = Vec::new();
    for (name, arguments) in KEYS {
        let key = folder.join(format!("{name}.key"));
        let certificate = folder.join(format!("{name}.crt"));
        let mut command = user.program(openssl);
        command.args(["req", "-x509", "-nodes", "-days", "2", "-newkey"]);
        command
            .args(arguments)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        command.args(["-subj", &format!("/C=US/ST=WA/O=Notary/CN={name}")]);
        for extension in [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=codeSigning",
        ] {
            command.args(["-addext", extension]);
        }
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
        user.succeed(&["key", "add", name, "--key", &key, "--cert", &certificate]);
        user.succeed(&["cert", "add", "-t", "ca", "-s", name, &certificate]);
        stores.push(format!("ca:{name}"));
    }
    let mut init = vec!["policy", "init", "--force"];
    for store in &stores {
        init.extend(["--trust-store", store]);
    }
    user.succeed(&init);
}

/// Runs the peer with this user's configuration.
fn peer(user: &User, program: &Path, arguments: &[&str]) -> Ran {
    let mut command = user.program(program);
    command
        .env("NOTATION_CONFIG", user.config())
        .args(arguments);
    Ran::of(command.output().unwrap())
}

fn tools() -> Option<(PathBuf, PathBuf)> {
    Some((tool("notation-peer")?, tool("openssl")?))
}

#[test]
fn notation_accepts_what_we_sign() {
    let Some((program, openssl)) = tools() else {
        return;
    };
    let user = User::new();
    with_keys(&user, &openssl);
    let mut accepted = 0;
    for (key, _) in KEYS {
        for format in FORMATS {
            let name = format!("ours-{key}-{format}");
            let image = layouts::single(&user.path(&name));
            let reference = format!("{name}@{}", image.digest);
            user.succeed(&[
                "sign",
                "-k",
                key,
                "--signature-format",
                format,
                "-e",
                "24h",
                "-m",
                "a=<&\u{e9}>",
                &reference,
            ]);
            let arguments = [
                "verify",
                "--oci-layout",
                "--scope",
                SCOPE,
                "-m",
                "a=<&\u{e9}>",
                &reference,
            ];
            let ran = peer(&user, &program, &arguments);
            assert_eq!(ran.code, 0, "{name}: {ran:?}");
            assert!(
                ran.stdout.starts_with(&format!(
                    "Successfully verified signature for {reference}\n"
                )),
                "{ran:?}"
            );
            accepted += 1;
        }
    }
    assert_eq!(accepted, 12);
}

#[test]
fn we_accept_what_notation_signs() {
    let Some((program, openssl)) = tools() else {
        return;
    };
    let user = User::new();
    with_keys(&user, &openssl);
    let mut accepted = 0;
    for (key, _) in KEYS {
        for format in FORMATS {
            let name = format!("theirs-{key}-{format}");
            let image = layouts::single(&user.path(&name));
            let reference = format!("{name}@{}", image.digest);
            let arguments = [
                "sign",
                "--oci-layout",
                "-k",
                key,
                "--signature-format",
                format,
                "-e",
                "24h",
                "-m",
                "a=<&\u{e9}>",
                &reference,
            ];
            let ran = peer(&user, &program, &arguments);
            assert_eq!(ran.code, 0, "{name}: {ran:?}");
            let verified = user.run(&["verify", "--scope", SCOPE, "-m", "a=<&\u{e9}>", &reference]);
            assert_eq!(verified.code, 0, "{name}: {verified:?}");
            user.succeed(&["inspect", &reference]);
            accepted += 1;
        }
    }
    assert_eq!(accepted, 12);
}

#[test]
fn notation_finds_signatures_of_platform_children() {
    let Some((program, openssl)) = tools() else {
        return;
    };
    let user = User::new();
    with_keys(&user, &openssl);
    let image = layouts::buildx(&user.path("hello"));
    user.succeed(&["sign", "-k", "p256", "--recursive", "hello:v1"]);
    for digest in [&image.digest, &image.platforms[0], &image.platforms[1]] {
        let reference = format!("hello@{digest}");
        let ran = peer(
            &user,
            &program,
            &["verify", "--oci-layout", "--scope", SCOPE, &reference],
        );
        assert_eq!(ran.code, 0, "{digest}: {ran:?}");
    }
    // What notation rewrites afterwards is still ours to verify.
    let arguments = ["sign", "--oci-layout", "-k", "p384", "hello:v1"];
    let ran = peer(&user, &program, &arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    user.succeed(&["verify", "hello"]);
    let listed = user.run(&["list", "--json", "hello:v1"]).json();
    assert_eq!(
        listed["images"][0]["signatures"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn notation_and_we_agree_on_a_tampered_signature() {
    let Some((program, openssl)) = tools() else {
        return;
    };
    let user = User::new();
    with_keys(&user, &openssl);
    let hello = user.path("hello");
    let image = layouts::single(&hello);
    user.succeed(&["sign", "-k", "p256", "hello:v1"]);
    // The signature of one image, named as another's.
    let mut entries = index(&hello);
    let other = user.path("other");
    layouts::Layout::new(&other).image("v1", "other");
    for entry in std::fs::read_dir(hello.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let target = other.join("blobs/sha256").join(path.file_name().unwrap());
        std::fs::copy(&path, target).unwrap();
    }
    let mut own = index(&other);
    let signature = entries["manifests"].as_array_mut().unwrap().pop().unwrap();
    own["manifests"].as_array_mut().unwrap().push(signature);
    std::fs::write(other.join("index.json"), own.to_string()).unwrap();
    let arguments = ["verify", "--oci-layout", "--scope", SCOPE, "other:v1"];
    assert_eq!(peer(&user, &program, &arguments).code, 1);
    user.run(&["verify", "other:v1"]).error(10);
    assert_ne!(json!(image.digest), own["manifests"][0]["digest"]);
}

#[test]
fn oras_shows_and_carries_our_signatures() {
    let (Some(oras), Some(openssl)) = (tool("oras"), tool("openssl")) else {
        return;
    };
    let user = User::new();
    with_keys(&user, &openssl);
    let image = layouts::buildx(&user.path("hello"));
    user.succeed(&["sign", "-k", "p256", "--recursive", "hello:v1"]);
    user.succeed(&[
        "sign",
        "-k",
        "rsa2048",
        "--signature-format",
        "cose",
        "hello:v1",
    ]);
    let run = |arguments: &[&str]| {
        let mut command = user.program(&oras);
        Ran::of(command.args(arguments).output().unwrap())
    };
    let discovered = run(&["discover", "--oci-layout", "--format", "json", "hello:v1"]);
    assert_eq!(discovered.code, 0, "{discovered:?}");
    let found = discovered
        .stdout
        .matches("application/vnd.cncf.notary.signature")
        .count();
    assert!(found >= 2, "{discovered:?}");
    let arguments = [
        "cp",
        "-r",
        "--from-oci-layout",
        "--to-oci-layout",
        "hello:v1",
        "copy:v1",
    ];
    let copied = run(&arguments);
    assert_eq!(copied.code, 0, "{copied:?}");
    let listed = user.run(&["list", "--json", "copy:v1"]).json();
    assert_eq!(
        listed["images"][0]["signatures"].as_array().unwrap().len(),
        2
    );
    for digest in [&image.digest, &image.platforms[0], &image.platforms[1]] {
        let verified = user.run(&["verify", &format!("copy@{digest}")]);
        assert_eq!(verified.code, 0, "{digest}: {verified:?}");
    }
    let whole = user.run(&["verify", "copy"]);
    assert_eq!(whole.code, 0, "{whole:?}");
}
