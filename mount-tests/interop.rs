//! Live interoperation with the notation command, with a program on its libraries and with oras: what we sign they accept, and the
//! other way round.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::layouts::{self, index};
use crate::support::notation::programs;
use crate::support::{Ran, User, tool};

/// The six key types: name, and the arguments of openssl that make one.
pub(crate) const KEYS: [(&str, &[&str]); 6] = [
    ("rsa2048", &["rsa:2048"]),
    ("rsa3072", &["rsa:3072"]),
    ("rsa4096", &["rsa:4096"]),
    ("p256", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("p521", &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]),
];

pub(crate) const FORMATS: [&str; 2] = ["jws", "cose"];
const SCOPE: &str = "local/hello";

/// Makes the six keys, lists them for both programs and trusts them by a strict policy.
pub(crate) fn with_keys(user: &User, openssl: &Path) {
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

/// Returns notation's programs, and a user with all keys; none where something is missing.
fn with_programs() -> Option<(User, Vec<PathBuf>)> {
    let openssl = tool("openssl")?;
    let user = User::new();
    with_keys(&user, &openssl);
    Some((user, programs()))
}

fn named(program: &Path) -> &str {
    program.file_name().unwrap().to_str().unwrap()
}

const VERIFY: [&str; 4] = ["verify", "--oci-layout", "--scope", SCOPE];
const METADATA: [&str; 2] = ["-m", "a=<&\u{e9}>"];

/// Returns the arguments that make a signature with everything that one may hold.
fn signing<'a>(key: &'a str, format: &'a str) -> Vec<&'a str> {
    let arguments = ["sign", "--oci-layout", "-k", key, "-e", "24h"];
    let format = ["--signature-format", format];
    [&arguments[..], &format, &METADATA].concat()
}

#[test]
fn notation_accepts_what_we_sign() {
    let Some((user, programs)) = with_programs() else {
        return;
    };
    let mut accepted = 0;
    for (key, _) in KEYS {
        for format in FORMATS {
            let name = format!("ours-{key}-{format}");
            let image = layouts::single(&user.path(&name));
            let reference = format!("{name}@{}", image.digest);
            user.succeed(&[&signing(key, format)[..], &[&reference]].concat());
            let listed = user.run(&["list", "--json", &reference]).json();
            let signature = listed["images"][0]["signatures"][0].as_str().unwrap();
            for program in &programs {
                let arguments = [&VERIFY[..], &METADATA, &[&reference]].concat();
                let ran = user.notation(program, &arguments);
                assert_eq!(ran.code, 0, "{program:?} {name}: {ran:?}");
                let said = format!(
                    "Successfully verified signature for {reference}\n\nThe artifact was signed with the following user metadata.\n"
                );
                assert!(ran.stdout.starts_with(&said), "{program:?}: {ran:?}");
                let listed = user.notation(program, &["list", "--oci-layout", &reference]);
                assert!(listed.stdout.contains(signature), "{program:?}: {listed:?}");
                assert_eq!(listed.stdout.matches("sha256:").count(), 2, "{listed:?}");
                accepted += 1;
            }
        }
    }
    assert_eq!(accepted, 12 * programs.len());
}

#[test]
fn we_accept_what_notation_signs() {
    let Some((user, programs)) = with_programs() else {
        return;
    };
    let mut accepted = 0;
    for program in &programs {
        for (key, _) in KEYS {
            for format in FORMATS {
                let name = format!("{}-{key}-{format}", named(program));
                let image = layouts::single(&user.path(&name));
                let reference = format!("{name}@{}", image.digest);
                let arguments = [&signing(key, format)[..], &[&reference]].concat();
                let ran = user.notation(program, &arguments);
                assert_eq!(ran.code, 0, "{name}: {ran:?}");
                let arguments = [&VERIFY[..], &METADATA, &[&reference]].concat();
                let verified = user.run(&arguments);
                assert_eq!(verified.code, 0, "{name}: {verified:?}");
                let shown = user.succeed(&["inspect", &reference]);
                assert!(shown.contains("signingAgent: notation-go/1.3.2"), "{shown}");
                accepted += 1;
            }
        }
    }
    assert_eq!(accepted, 12 * programs.len());
}

#[test]
fn notation_finds_signatures_of_platform_children() {
    let Some((user, programs)) = with_programs() else {
        return;
    };
    for program in &programs {
        let name = named(program);
        let tagged = format!("{name}:v1");
        let image = layouts::buildx(&user.path(name));
        user.succeed(&["sign", "-k", "p256", "--recursive", &tagged]);
        for digest in [&image.digest, &image.platforms[0], &image.platforms[1]] {
            let reference = format!("{name}@{digest}");
            let ran = user.notation(program, &[&VERIFY[..], &[&reference]].concat());
            assert_eq!(ran.code, 0, "{program:?} {digest}: {ran:?}");
        }
        // What notation rewrites afterwards is still ours to verify.
        let arguments = ["sign", "--oci-layout", "-k", "p384", &tagged];
        let ran = user.notation(program, &arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        user.succeed(&["verify", name]);
        let listed = user.run(&["list", "--json", &tagged]).json();
        assert_eq!(
            listed["images"][0]["signatures"].as_array().unwrap().len(),
            2
        );
    }
}

#[test]
fn notation_and_we_agree_on_a_tampered_signature() {
    let Some((user, programs)) = with_programs() else {
        return;
    };
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
    let arguments = [&VERIFY[..], &["other:v1"]].concat();
    for program in &programs {
        assert_eq!(user.notation(program, &arguments).code, 1, "{program:?}");
    }
    user.run(&arguments).error(10);
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
