//! One configuration for both programs: each makes the same files, and each uses what the other made.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Both;
use crate::support::layouts;
use crate::support::{Ran, User};

const POLICY: &str = r#"{"version": "1.0", "trustPolicies": [{"name": "images", "registryScopes": ["*"],
  "signatureVerification": {"level": "strict"}, "trustStores": ["ca:a", "ca:b"], "trustedIdentities": ["*"]}]}
"#;

/// Is what may differ between two files of the same name: keys and certificates are random.
fn comparable(path: &Path, user: &User) -> String {
    let text = fs::read_to_string(path).unwrap();
    match path.extension().and_then(|name| name.to_str()) {
        Some("key" | "crt") => text.lines().filter(|line| line.starts_with("--")).collect(),
        _ => own_paths(&text, user),
    }
}

/// Replaces the folder of a user, and the time until when certificates are valid.
fn own_paths(text: &str, user: &User) -> String {
    let text = text.replace(&user.path("").display().to_string(), "HOME/");
    let lines = text.split_inclusive('\n').map(|line| {
        let expiring = line.starts_with("generated certificate expiring on 20");
        if expiring { "expiring\n" } else { line }
    });
    lines.collect()
}

/// Returns every file and folder of a configuration with its mode and its bytes, as far as they are not random.
fn files(user: &User) -> BTreeMap<String, (u32, String)> {
    let mut found = BTreeMap::new();
    let mut open = vec![user.config()];
    while let Some(path) = open.pop() {
        let facts = fs::symlink_metadata(&path).unwrap();
        let text = if facts.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
            String::new()
        } else {
            comparable(&path, user)
        };
        let name = path.strip_prefix(user.config()).unwrap();
        let mode = facts.permissions().mode() & 0o7777;
        found.insert(name.display().to_string(), (mode, text));
    }
    found
}

#[test]
fn both_make_the_same_files_and_say_the_same() {
    let (Some(theirs), Some(ours)) = (Both::new(), Both::new()) else {
        return;
    };
    for both in [&theirs, &ours] {
        fs::write(both.user.path("policy.json"), POLICY).unwrap();
    }
    let steps: &[&str] = &[
        "cert generate-test --default a",
        "cert generate-test --bits 3072 b",
        "cert generate-test b",
        "cert generate-test a/b",
        "key list",
        "key update b --default",
        "key ls",
        "key delete nobody",
        "policy show",
        "policy import nowhere.json",
        "policy import policy.json",
        "policy import --force policy.json",
        "policy show",
        "cert add -t ca -s more config/notation/localkeys/a.crt",
        "cert add -t ca -s more config/notation/localkeys/a.crt",
        "cert add -t ca -s more policy.json",
        "cert add -t nothing -s more config/notation/localkeys/a.crt",
        "cert add -t signingAuthority -s more config/notation/localkeys/a.crt config/notation/localkeys/b.crt",
        "cert list",
        "cert list -t ca",
        "cert ls -t ca -s more",
        "cert list -s more",
        "cert list -t tsa",
        "cert show -t ca -s more nothing.crt",
        "cert delete -t signingAuthority -s more b.crt -y",
        "cert delete -t signingAuthority -s more b.crt -y",
        "cert delete -t ca -s more --all -y",
        "cert list",
        "key delete a",
        "key list",
        "key delete b",
        "key list",
    ];
    for step in steps {
        let words: Vec<&str> = step.split(' ').collect();
        let (other, own) = (theirs.theirs(&words), ours.ours(&words));
        assert_eq!(own.code, other.code, "{step}: {own:?} {other:?}");
        assert_eq!(
            own_paths(&own.stdout, &ours.user),
            printed(&other, &theirs.user),
            "{step}"
        );
        assert_eq!(files(&ours.user), files(&theirs.user), "{step}");
    }
}

/// Returns what notation printed, without what it says of a certificate that it then does not write.
fn printed(ran: &Ran, user: &User) -> String {
    let text = own_paths(&ran.stdout, user);
    match ran.code {
        0 => text,
        _ => String::new(),
    }
}

#[test]
fn a_certificate_that_no_store_may_hold_is_refused_before_it_is_one() {
    let Some(both) = Both::with_key() else {
        return;
    };
    let add = ["cert", "add", "-t", "tsa", "-s", "stamps"];
    let add = [&add[..], &["config/notation/localkeys/wabbit.crt"]].concat();
    let before = files(&both.user);
    let refused = both.ours(&add);
    refused.error(1);
    assert!(
        refused.stderr.contains("is not a root CA certificate"),
        "{refused:?}"
    );
    assert_eq!(files(&both.user), before);
    // notation takes it, and finds out when it verifies.
    both.they_succeed(&add);
    both.print_the_same(&["cert", "list"]);
    layouts::single(&both.user.path("hello"));
    both.they_succeed(&["sign", "--oci-layout", "hello:v1"]);
    let policy = POLICY.replace(r#""ca:a", "ca:b""#, r#""ca:wabbit", "tsa:stamps""#);
    fs::write(both.user.config().join("trustpolicy.json"), policy).unwrap();
    let verify = ["verify", "--oci-layout", "--scope", "local/x", "hello:v1"];
    assert_eq!(both.theirs(&verify).code, 1);
    assert_ne!(both.ours(&verify).code, 0);
}

#[test]
fn both_ask_before_they_overwrite() {
    for answer in ["n\n", "y\n", ""] {
        let Some(both) = Both::with_key() else {
            return;
        };
        fs::write(both.user.path("policy.json"), POLICY).unwrap();
        let policy = both.user.config().join("trustpolicy.json");
        let before = fs::read(&policy).unwrap();
        let import = ["policy", "import", "policy.json"];
        // That nobody answers is no success here: a job would go on with an earlier policy.
        let unanswered = i32::from(answer.is_empty());
        let commands = [
            (both.user.signetfs(&import), unanswered),
            (both.user.notation_command(&both.notation, &import), 0),
        ];
        let told = commands.map(|(mut command, code)| {
            fs::write(both.user.path("answer"), answer).unwrap();
            let typed = fs::File::open(both.user.path("answer")).unwrap();
            let ran = Ran::of(command.stdin(typed).output().unwrap());
            assert_eq!(ran.code, code, "{ran:?}");
            let after = fs::read(&policy).unwrap();
            fs::write(&policy, &before).unwrap();
            (ran.stdout, after)
        });
        assert_eq!(told[0], told[1], "{answer:?}");
        assert_eq!(told[0].1 == before, answer != "y\n");
    }
}

#[test]
fn each_uses_what_the_other_made() {
    let Some(both) = Both::new() else { return };
    layouts::single(&both.user.path("hello"));
    fs::write(both.user.path("policy.json"), POLICY).unwrap();
    both.they_succeed(&["cert", "generate-test", "--default", "a"]);
    both.they_succeed(&["policy", "import", "policy.json"]);
    both.user.succeed(&["cert", "generate-test", "b"]);
    let sign = ["sign", "--oci-layout", "hello:v1"];
    let verify = ["verify", "--oci-layout", "--scope", "local/x", "hello:v1"];
    both.user.succeed(&sign);
    both.print_the_same(&verify);
    both.they_succeed(&[&sign[..], &["-k", "b"]].concat());
    both.user.succeed(&["verify", "hello"]);
    both.user.succeed(&["key", "update", "--default", "b"]);
    both.they_succeed(&sign);
    both.they_succeed(&["key", "update", "--default", "a"]);
    both.user.succeed(&sign);
    let signers = both.user.succeed(&["inspect", "hello:v1"]);
    for (name, count) in [("a", 2), ("b", 2)] {
        let signer = format!("issued to: CN={name},O=Notary");
        assert_eq!(signers.matches(&signer).count(), count, "{signers}");
    }
    // A key in files of somebody else's, which notation adds for plugins only.
    let folder = both.user.config().join("localkeys");
    let [key, certificate] = ["a.key", "a.crt"].map(|name| folder.join(name));
    let [key, certificate] = [&key, &certificate].map(|path| path.to_str().unwrap());
    let add = ["key", "add", "c", "--key", key, "--cert", certificate];
    both.user.succeed(&add);
    both.print_the_same(&["key", "list"]);
    both.they_succeed(&[&sign[..], &["-k", "c"]].concat());
    both.they_succeed(&["key", "delete", "c"]);
    both.print_the_same(&["key", "list"]);
    both.ours(&[&sign[..], &["-k", "c"]].concat()).error(1);
    both.print_the_same(&verify);
}
