//! What users meet most: both programs fail, or only ours does where it looks at more; the exit status says which.

use std::fs;

use super::Both;
use crate::support::Ran;
use crate::support::layouts::{self, Image, blob_path, index};

/// Tells how the line that says what is wrong compares with notation's.
#[derive(Clone, Copy)]
enum Words {
    Same,
    /// notation's goes on with the address of a page, where ours has a hint.
    Begin,
    /// Ours says it in words of its own.
    Own,
    /// notation has nothing against it.
    None,
}

/// Is one situation, in the layout `hello` with the image `v1` that the key `wabbit` signed.
struct Situation {
    name: &'static str,
    prepare: fn(&Both, &Image),
    command: &'static str,
    /// Our exit code; notation's is 1, or 0 where it has no words.
    code: i32,
    words: Words,
}

const VERIFY: &str = "verify --oci-layout --scope local/hello hello:v1";

const fn verifying(
    name: &'static str,
    prepare: fn(&Both, &Image),
    code: i32,
    words: Words,
) -> Situation {
    let command = VERIFY;
    Situation {
        name,
        prepare,
        command,
        code,
        words,
    }
}

const fn asking(name: &'static str, command: &'static str, code: i32, words: Words) -> Situation {
    let prepare: fn(&Both, &Image) = |_, _| {};
    Situation {
        name,
        prepare,
        command,
        code,
        words,
    }
}

const SITUATIONS: &[Situation] = &[
    verifying("no policy", without_policy, 16, Words::Begin),
    verifying("a broken policy", broken_policy, 19, Words::Own),
    verifying("a policy for others", policy_for_others, 16, Words::Begin),
    verifying("an untrusted signer", untrusted, 12, Words::Same),
    verifying("no signature", unsigned, 10, Words::Same),
    verifying("an expired signature", expired, 13, Words::Same),
    verifying("a tampered signature", changed_signature, 11, Words::Same),
    verifying("a tampered manifest", other_manifest, 17, Words::Own),
    verifying("a missing manifest", no_manifest, 18, Words::None),
    verifying("a tampered layer", other_layer, 17, Words::None),
    verifying("a missing layer", no_layer, 18, Words::None),
    asking(
        "other metadata",
        "verify --oci-layout --scope local/hello -m a=c hello:v1",
        12,
        Words::Same,
    ),
    asking(
        "a tag that is not there",
        "verify --oci-layout --scope local/hello hello:v2",
        1,
        Words::Own,
    ),
    asking(
        "a layout that is not there",
        "verify --oci-layout --scope local/hello nowhere:v1",
        1,
        Words::Own,
    ),
    asking(
        "a key that is not there",
        "sign --oci-layout -k nobody hello:v1",
        1,
        Words::Same,
    ),
    asking("an unknown flag", "list --nothing hello:v1", 2, Words::Own),
    Situation {
        name: "no default key",
        prepare: |both, _| {
            both.user.succeed(&["key", "delete", "wabbit"]);
        },
        command: "sign --oci-layout hello:v1",
        code: 1,
        words: Words::Same,
    },
];

fn policy_file(both: &Both) -> std::path::PathBuf {
    both.user.config().join("trustpolicy.json")
}

fn without_policy(both: &Both, _: &Image) {
    fs::remove_file(policy_file(both)).unwrap();
}

fn broken_policy(both: &Both, _: &Image) {
    fs::write(policy_file(both), "{").unwrap();
}

fn policy_for_others(both: &Both, _: &Image) {
    let init = ["policy", "init", "--force", "--trust-store", "ca:wabbit"];
    let scope = ["--scope", "registry.example/x"];
    both.user.succeed(&[&init[..], &scope].concat());
}

fn untrusted(both: &Both, _: &Image) {
    both.they_succeed(&["cert", "generate-test", "rabbit"]);
    let init = ["policy", "init", "--force", "--trust-store", "ca:rabbit"];
    both.user.succeed(&init);
}

/// Takes the signature away that the layout has.
fn unsigned(both: &Both, _: &Image) {
    let layout = both.user.path("hello");
    let mut value = index(&layout);
    value["manifests"].as_array_mut().unwrap().truncate(1);
    fs::write(layout.join("index.json"), value.to_string()).unwrap();
}

fn expired(both: &Both, image: &Image) {
    unsigned(both, image);
    let sign = ["sign", "--oci-layout", "-e", "1s", "hello:v1"];
    both.they_succeed(&sign);
    std::thread::sleep(std::time::Duration::from_secs(2));
}

/// Changes the first character of the signature, and all digests along with it.
fn changed_signature(both: &Both, _: &Image) {
    let layout = both.user.path("hello");
    let mut value = index(&layout);
    let entry = value["manifests"][1].clone();
    let manifest = blob_path(&layout, entry["digest"].as_str().unwrap());
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let writer = layouts::Layout::new(&both.user.path("other"));
    let envelope = blob_path(&layout, manifest["layers"][0]["digest"].as_str().unwrap());
    let mut envelope: serde_json::Value =
        serde_json::from_slice(&fs::read(envelope).unwrap()).unwrap();
    let signature = envelope["signature"].as_str().unwrap();
    let (first, rest) = signature.split_at(1);
    let first = if first == "A" { "B" } else { "A" };
    envelope["signature"] = format!("{first}{rest}").into();
    let mut changed = manifest.clone();
    changed["layers"][0] = writer.document("application/jose+json", &envelope);
    let media_type = entry["mediaType"].as_str().unwrap();
    value["manifests"][1] = writer.document(media_type, &changed);
    crate::support::copy(&writer.root.join("blobs"), &layout.join("blobs"));
    fs::write(layout.join("index.json"), value.to_string()).unwrap();
}

/// Replaces the bytes of a blob.
fn overwrite(both: &Both, digest: &str, change: fn(&mut Vec<u8>)) {
    let path = blob_path(&both.user.path("hello"), digest);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}

fn other_manifest(both: &Both, image: &Image) {
    overwrite(both, &image.digest, |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replacen("sha256:", "sha255:", 1).into_bytes();
    });
}

fn other_layer(both: &Both, image: &Image) {
    overwrite(both, &image.layers[0], |bytes| bytes[0] ^= 1);
}

fn no_layer(both: &Both, image: &Image) {
    fs::remove_file(blob_path(&both.user.path("hello"), &image.layers[0])).unwrap();
}

fn no_manifest(both: &Both, image: &Image) {
    fs::remove_file(blob_path(&both.user.path("hello"), &image.digest)).unwrap();
}

/// Returns the line that says what is wrong, without the name of its program.
fn complaint<'a>(ran: &'a Ran, prefix: &str) -> &'a str {
    let line = ran
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix(prefix));
    line.unwrap_or_else(|| panic!("{ran:?}"))
}

#[test]
fn both_fail_in_the_same_situations() {
    for situation in SITUATIONS {
        let Some(both) = Both::with_key() else {
            return;
        };
        let name = situation.name;
        let image = layouts::single(&both.user.path("hello"));
        both.they_succeed(&["sign", "--oci-layout", "-m", "a=b", "hello:v1"]);
        (situation.prepare)(&both, &image);
        let words: Vec<&str> = situation.command.split(' ').collect();
        let (ours, theirs) = (both.ours(&words), both.theirs(&words));
        let own = ours.error(situation.code).to_owned();
        if matches!(situation.words, Words::None) {
            assert_eq!(theirs.code, 0, "{name}: {theirs:?}");
            continue;
        }
        assert_eq!(theirs.code, 1, "{name}: {theirs:?}");
        assert_eq!((&*ours.stdout, &*theirs.stdout), ("", ""), "{name}");
        let other = complaint(&theirs, "Error: ");
        match situation.words {
            Words::Same => assert_eq!(own, other, "{name}"),
            Words::Begin => assert!(
                other.len() > own.len() && other.starts_with(&own),
                "{name}: {own:?}, {other:?}"
            ),
            Words::Own | Words::None => assert_ne!(own, other, "{name}"),
        }
    }
}
