//! What the command line prints and how it exits. Output lines are interface: notation's, where notation has them.

mod scripts;

use std::io::Read;
use std::process::Stdio;

use crate::support::layouts::{self, Algorithm, Layout, blob_path};
use crate::support::{Mount, Ran, User, files_below, fuse};

#[test]
fn signs_and_verifies_in_notations_words() {
    let user = User::new();
    user.with_key("wabbit-networks.io");
    let image = layouts::single(&user.path("hello"));
    let digest = &image.digest;
    let signed = user.run(&["sign", "hello:v1"]);
    assert_eq!(
        signed.stdout,
        format!("Successfully signed hello@{digest}\n")
    );
    assert_eq!(
        signed.stderr,
        "Warning: Always sign the artifact using digest(@sha256:...) rather than a tag(:v1) because tags are mutable and a tag reference can point to a different artifact than the one signed.\n"
    );
    let verified = user.run(&["verify", "hello:v1"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert_eq!(
        verified.stdout,
        format!("Successfully verified signature for hello@{digest}\n")
    );
    assert_eq!(
        verified.stderr,
        "Warning: Always verify the artifact using digest(@sha256:...) rather than a tag(:v1) because resolved digest may not point to the same signed artifact, as tags are mutable.\n"
    );
    let by_digest = user.run(&["verify", &format!("hello@{digest}")]);
    assert_eq!((by_digest.code, by_digest.stderr.as_str()), (0, ""));
    let whole = user.run(&["verify", "hello"]);
    assert_eq!(whole.code, 0);
    assert!(
        whole.stdout.starts_with("verified\n# live only"),
        "{whole:?}"
    );
    assert_eq!(whole.stderr, "");
}

#[test]
fn takes_notations_command_lines_unchanged() {
    let user = User::new();
    user.with_key("wabbit-networks.io");
    layouts::single(&user.path("hello"));
    user.succeed(&[
        "sign",
        "--oci-layout",
        "hello:v1",
        "--signature-format",
        "cose",
    ]);
    user.succeed(&[
        "sign",
        "-k",
        "wabbit-networks.io",
        "-e",
        "24h",
        "-m",
        "buildId=101",
        "-d",
        "hello:v1",
    ]);
    let arguments = [
        "verify",
        "--oci-layout",
        "--scope",
        "local/hello",
        "-v",
        "--max-signatures",
        "5",
        "-m",
        "buildId=101",
        "hello:v1",
    ];
    let verified = user.run(&arguments);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(
        verified.stdout.ends_with(
            "\n\nThe artifact was signed with the following user metadata.\n\n\
             KEY       VALUE   \n\
             buildId   101     \n"
        ),
        "{verified:?}"
    );
    // Who asks for something else is not told to trust somebody.
    let other = user.run(&["verify", "-m", "buildId=102", "hello:v1"]);
    other.error(12);
    let hint = "\nsignetfs: hint: ask for what it holds: signetfs inspect shows it\n";
    assert!(other.stderr.ends_with(hint), "{other:?}");
    user.succeed(&["ls", "--oci-layout=true", "hello:v1"]);
    user.succeed(&["inspect", "-o", "json", "--insecure-registry", "hello:v1"]);
}

#[test]
fn lists_as_notation_does() {
    let user = User::new();
    user.with_key("wabbit-networks.io");
    let image = layouts::single(&user.path("hello"));
    let name = format!("hello@{}", image.digest);
    assert_eq!(
        user.succeed(&["list", "hello:v1"]),
        format!("{name} has no associated signature\n")
    );
    user.succeed(&["sign", "hello:v1"]);
    user.succeed(&["sign", "hello:v1"]);
    let listed = user.succeed(&["list", "hello"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 4, "{listed}");
    assert_eq!(lines[0], name);
    assert_eq!(
        lines[1],
        "\u{2514}\u{2500}\u{2500} application/vnd.cncf.notary.signature"
    );
    assert!(lines[2].starts_with("    \u{251c}\u{2500}\u{2500} sha256:"));
    assert!(lines[3].starts_with("    \u{2514}\u{2500}\u{2500} sha256:"));
    let cut = user.succeed(&["list", "--max-signatures", "1", "hello:v1"]);
    assert!(
        cut.ends_with("Warning: exceeded configured limit of max signatures 1 to examine\n"),
        "{cut}"
    );
}

#[test]
fn inspects_text_and_json() {
    let user = User::new();
    user.with_key("wabbit-networks.io");
    let image = layouts::single(&user.path("hello"));
    user.succeed(&["sign", "-m", "buildId=101", "hello:v1"]);
    let text = user.succeed(&["inspect", "hello:v1"]);
    assert!(text.starts_with("Inspecting all signatures for signed artifact\nhello@sha256:"));
    for line in [
        "media type: application/jose+json",
        "signature algorithm: RSASSA-PSS-SHA-256",
        "signingScheme: notary.x509",
        "buildId: 101",
        "issued to: CN=wabbit-networks.io,O=Notary,L=Seattle,ST=WA,C=US",
        &format!("digest: {}", image.digest),
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let json = user.run(&["inspect", "-o", "json", "hello:v1"]).json();
    let signature = &json["Signatures"][0];
    assert_eq!(signature["mediaType"], "application/jose+json");
    assert_eq!(signature["userDefinedAttributes"]["buildId"], "101");
    assert_eq!(signature["signedArtifact"]["digest"], image.digest.as_str());
    // A broken signature is skipped, said so, and not success.
    let envelope = files_below(&user.path("hello"))
        .into_keys()
        .map(|path| user.path("hello").join(path))
        .find(|path| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"{\"payload\"")))
        .unwrap();
    std::fs::remove_file(envelope).unwrap();
    let skipped = user.run(&["inspect", "hello:v1"]);
    let error = skipped.error(1);
    assert_eq!(
        error,
        "at least one signature was skipped and not displayed"
    );
    assert!(
        skipped
            .stderr
            .contains("\nWarning: Skipping signature sha256:")
    );
}

#[test]
fn refuses_a_key_inside_the_layout() {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    let keys = user.path("hello/keys");
    std::fs::rename(user.config().join("localkeys"), &keys).unwrap();
    let (key, certificate) = (keys.join("one.key"), keys.join("one.crt"));
    let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
    user.succeed(&["key", "add", "two", "--key", &key, "--cert", &certificate]);
    let refused = user.run(&["sign", "-k", "two", "hello:v1"]);
    assert!(refused.error(1).ends_with("is inside the layout"));
    user.run(&["verify", "hello:v1"]).error(10);
}

#[test]
fn manages_keys_in_notations_words() {
    let user = User::new();
    let made = user.succeed(&["cert", "generate-test", "--default", "one"]);
    let keys = user.config().join("localkeys");
    let lines: Vec<&str> = made.lines().collect();
    assert_eq!(lines[0], "generating RSA Key with 2048 bits");
    assert!(
        lines[1].starts_with("generated certificate expiring on 20"),
        "{made}"
    );
    assert_eq!(
        lines[2],
        format!("wrote key: {}", keys.join("one.key").display())
    );
    assert_eq!(
        lines[3],
        format!("wrote certificate: {}", keys.join("one.crt").display())
    );
    assert_eq!(
        lines[4..],
        [
            "Successfully added one.crt to named store one of type ca",
            "one: added to the key list",
            "one: mark as default signing key",
        ]
    );
    user.run(&["cert", "generate-test", "one"]).error(1);
    let key = keys.join("one.key").display().to_string();
    let certificate = keys.join("one.crt").display().to_string();
    let add = ["key", "add", "two", "--key", &key, "--cert", &certificate];
    assert_eq!(user.succeed(&add), "two\n");
    let listed = user.succeed(&["key", "ls"]);
    let columns = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(columns(lines[1])[..2], ["*", "one"]);
    assert_eq!(columns(lines[2]), ["two", &key, &certificate]);
    assert_eq!(
        user.succeed(&["key", "set", "--default", "two"]),
        "two: marked as default\n"
    );
    assert_eq!(
        user.run(&["key", "list", "--json"]).json()["default"],
        "two"
    );
    let removed = user.succeed(&["key", "delete", "two"]);
    assert_eq!(
        removed,
        "Removed default key two from Notation signing key list. The source key still exists.\n"
    );
    user.run(&["key", "delete", "two"]).error(1);
    assert!(std::path::Path::new(&key).exists());
}

#[test]
fn refuses_a_key_that_does_not_fit_its_certificate() {
    let user = User::new();
    user.succeed(&["cert", "generate-test", "one"]);
    user.succeed(&["cert", "generate-test", "two"]);
    let keys = user.config().join("localkeys");
    let key = keys.join("one.key").display().to_string();
    let certificate = keys.join("two.crt").display().to_string();
    let add = ["key", "add", "three", "--key", &key, "--cert", &certificate];
    user.run(&add).error(1);
    assert!(!user.succeed(&["key", "list"]).contains("three"));
}

#[test]
fn manages_trust_stores_in_notations_words() {
    let user = User::new();
    user.succeed(&["cert", "generate-test", "one"]);
    let certificate = user
        .config()
        .join("localkeys/one.crt")
        .display()
        .to_string();
    let added = user.run(&[
        "cert",
        "add",
        "-t",
        "ca",
        "-s",
        "acme",
        &certificate,
        "missing.crt",
    ]);
    assert_eq!(
        added.stdout,
        format!(
            "Successfully added following certificates to named store acme of type ca:\n{certificate}\n"
        )
    );
    added.error(1);
    assert!(
        added.stderr.contains("missing.crt, with error"),
        "{added:?}"
    );
    assert_eq!(
        user.succeed(&["cert", "ls"]),
        "STORE TYPE   STORE NAME   CERTIFICATE   \n\
         ca           acme         one.crt       \n\
         ca           one          one.crt       \n"
    );
    let shown = user.succeed(&["cert", "show", "-t", "ca", "-s", "acme", "one.crt"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "Certificate details");
    assert_eq!(lines[1], "-".repeat(80));
    assert_eq!(lines[2], "Issuer: CN=one,O=Notary,L=Seattle,ST=WA,C=US");
    assert!(lines[4].ends_with(" +0000 UTC"));
    assert_eq!(lines[6], "IsCA: false");
    let delete = ["cert", "delete", "-t", "ca", "-s", "acme", "one.crt"];
    // Without an answer nothing is deleted.
    let asked = user.run(&delete);
    assert_eq!(
        asked.stdout,
        "Are you sure you want to delete \"one.crt\" in \"acme\" of type \"ca\"? [y/N] "
    );
    let deleted = user.succeed(&[&delete[..], &["-y"]].concat());
    assert_eq!(deleted, "Successfully deleted one.crt\n");
    user.run(&[&delete[..], &["-y"]].concat()).error(1);
    let error = user.run(&["cert", "add", "-t", "other", "-s", "acme", &certificate]);
    assert_eq!(error.error(1), "unsupported store type: other");
}

#[test]
fn manages_the_policy_in_notations_words() {
    let user = User::new();
    user.run(&["policy", "show"]).error(1);
    let policy = user.path("policy.json");
    let text = r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}"#;
    std::fs::write(&policy, text).unwrap();
    let import = ["policy", "import", "policy.json"];
    assert_eq!(
        user.succeed(&import),
        "Trust policy configuration imported successfully.\n"
    );
    assert_eq!(user.succeed(&["policy", "show"]), text);
    // Replacing a valid policy asks first.
    let asked = user.run(&["policy", "init", "--trust-store", "ca:x"]);
    asked.error(1);
    assert_eq!(
        asked.stdout,
        "The trust policy file already exists, do you want to overwrite it? [y/N] "
    );
    assert_eq!(user.succeed(&["policy", "show"]), text);
    std::fs::write(&policy, text.replace("skip", "slack")).unwrap();
    user.run(&["policy", "import", "--force", "policy.json"])
        .error(1);
    assert_eq!(user.succeed(&["policy", "show"]), text);
    user.succeed(&[
        "policy",
        "init",
        "--force",
        "--trust-store",
        "ca:x",
        "--level",
        "audit",
    ]);
    assert!(user.succeed(&["policy", "show"]).contains("audit"));
}

#[test]
fn gives_each_verdict_its_exit_code() {
    let user = User::new();
    let hello = user.path("hello");
    let image = layouts::single(&hello);
    // Without a signature, a policy makes no difference.
    user.run(&["verify", "hello:v1"]).error(10);
    user.with_key("one");
    let unsigned = user.run(&["verify", "hello:v1"]);
    assert_eq!(
        unsigned.error(10),
        format!(
            "signature verification failed: no signature is associated with \"local/hello@{}\", make sure the artifact was signed successfully",
            image.digest
        )
    );
    user.succeed(&["sign", "hello:v1"]);
    user.succeed(&["verify", "hello:v1"]);
    let policy = user.config().join("trustpolicy.json");
    std::fs::remove_file(policy).unwrap();
    let without = user.run(&["verify", "hello:v1"]);
    assert_eq!(without.error(16), "trust policy is not present");
    assert!(
        user.run(&["verify", "hello"])
            .stdout
            .starts_with("no-policy\n")
    );
    // Somebody else's key.
    user.succeed(&["cert", "generate-test", "two"]);
    user.succeed(&["policy", "init", "--force", "--trust-store", "ca:two"]);
    let untrusted = user.run(&["verify", "hello:v1"]);
    assert_eq!(
        untrusted.error(12),
        format!(
            "signature verification failed for all the signatures associated with hello@{}",
            image.digest
        )
    );
    assert!(
        untrusted.stderr.contains("untrusted: authenticity: "),
        "{untrusted:?}"
    );
    // The same only logged.
    user.succeed(&[
        "policy",
        "init",
        "--force",
        "--trust-store",
        "ca:two",
        "--level",
        "audit",
    ]);
    let accepted = user.run(&["verify", "hello:v1"]);
    assert_eq!(accepted.code, 0, "{accepted:?}");
    assert!(
        accepted
            .stderr
            .contains("Warning: authenticity was set to \"log\" and failed with error: "),
        "{accepted:?}"
    );
    // A policy for somewhere else.
    user.succeed(&[
        "policy",
        "init",
        "--force",
        "--trust-store",
        "ca:one",
        "--scope",
        "registry.example/x",
    ]);
    let elsewhere = user.run(&["verify", "hello:v1"]);
    assert!(
        elsewhere
            .error(16)
            .contains("has no applicable trust policy statement")
    );
    user.succeed(&["verify", "--scope", "registry.example/x", "hello:v1"]);
    // Content outranks signatures.
    std::fs::write(blob_path(&hello, &image.layers[0]), b"something else").unwrap();
    let scope = ["verify", "--scope", "registry.example/x", "hello:v1"];
    user.run(&scope).error(17);
    std::fs::remove_file(blob_path(&hello, &image.layers[0])).unwrap();
    user.run(&scope).error(18);
    std::fs::write(hello.join("index.json"), b"{").unwrap();
    assert_eq!(user.run(&["verify", "hello"]).code, 25);
}

#[test]
fn says_that_a_policy_skips() {
    let user = User::new();
    let image = layouts::single(&user.path("hello"));
    let text = r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}"#;
    std::fs::write(user.path("policy.json"), text).unwrap();
    let skipped = user.succeed(&["verify", "--policy", "policy.json", "hello:v1"]);
    assert_eq!(
        skipped,
        format!(
            "Trust policy is configured to skip signature verification for hello@{}\n",
            image.digest
        )
    );
    std::fs::write(user.path("policy.json"), b"{}").unwrap();
    user.run(&["verify", "--policy", "policy.json", "hello:v1"])
        .error(19);
}

#[test]
fn a_typed_name_does_nothing_to_a_terminal() {
    let user = User::new();
    user.with_key("one");
    let name = "caf\u{e9}\u{1b}[31m";
    let shown = "caf\u{e9}\\x1b[31m";
    layouts::single(&user.path(name));
    for (command, told) in [
        ("sign", "Successfully signed "),
        ("verify", "Successfully verified signature for "),
        ("list", ""),
        ("inspect", ""),
    ] {
        let reference = format!("{name}:v1");
        let mut arguments = vec![command, &reference];
        if command == "verify" {
            arguments.extend(["--scope", "local/x"]);
        }
        let ran = user.run(&arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.stdout.contains(&format!("{told}{shown}@sha256:")),
            "{ran:?}"
        );
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'));
    }
    for command in ["sign", "verify", "list", "inspect", "fsck"] {
        let ran = user.run(&[command, &format!("no{name}")]);
        assert!(ran.code != 0 && !ran.stderr.contains('\u{1b}'), "{ran:?}");
    }
}

#[test]
fn answers_errors_in_two_lines() {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    std::fs::create_dir(user.path("empty")).unwrap();
    let cases: [(i32, &[&str]); 19] = [
        (2, &[]),
        (2, &["frobnicate"]),
        (2, &["verify"]),
        (2, &["verify", "hello", "--bogus"]),
        (2, &["verify", "--scope", "not a scope", "hello"]),
        (2, &["verify", "hello:"]),
        (2, &["verify", "registry.example/hello"]),
        (2, &["list", "localhost:5000/Hello:v1"]),
        (1, &["verify", "absent"]),
        (1, &["verify", "empty"]),
        (1, &["verify", "hello:v2"]),
        (1, &["sign", "hello:v2"]),
        (1, &["sign", "-k", "nobody", "hello:v1"]),
        (1, &["sign", "-m", "novalue", "hello:v1"]),
        (1, &["sign", "-m", "io.cncf.notary.x=y", "hello:v1"]),
        (1, &["sign", "-e", "-1h", "hello:v1"]),
        (1, &["sign", "--plugin", "p", "--id", "i", "hello:v1"]),
        (1, &["sign", "--timestamp-url", "http://x", "hello:v1"]),
        (1, &["verify", "--max-signatures", "0", "hello:v1"]),
    ];
    let before = files_below(&user.path("hello"));
    for (code, arguments) in cases {
        let ran = user.run(arguments);
        ran.error(code);
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    assert_eq!(before, files_below(&user.path("hello")));
    assert_eq!(files_below(&user.path("empty")).len(), 0);
}

#[test]
fn asks_for_dot_slash_where_a_path_could_be_a_registry() {
    let user = User::new();
    layouts::single(&user.path("a.b/hello"));
    let both = user.run(&["list", "a.b/hello:v1"]);
    both.error(2);
    assert!(both.stderr.contains("./a.b/hello:v1"), "{both:?}");
    user.succeed(&["list", "./a.b/hello:v1"]);
    user.succeed(&["list", "--oci-layout", "a.b/hello:v1"]);
}

#[test]
fn names_the_scope_after_the_folder_for_a_dot() {
    let user = User::new();
    layouts::single(&user.path("hello"));
    let mut command = user.signetfs(&["verify", "."]);
    let ran = Ran::of(command.current_dir(user.path("hello")).output().unwrap());
    assert!(
        ran.stdout.contains("scope=local/hello scope-from=name"),
        "{ran:?}"
    );
}

#[test]
fn answers_in_json_everywhere() {
    let user = User::new();
    layouts::single(&user.path("hello"));
    let commands: [&[&str]; 10] = [
        &["cert", "generate-test", "--default", "one"],
        &["cert", "list"],
        &["cert", "show", "-t", "ca", "-s", "one", "one.crt"],
        &["key", "list"],
        &["policy", "init", "--trust-store", "ca:one"],
        &["sign", "hello"],
        &["verify", "hello"],
        &["verify", "hello:v1"],
        &["list", "hello"],
        &["inspect", "hello"],
    ];
    for arguments in commands {
        let ran = user.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.json();
    }
}

#[test]
fn ends_quietly_when_nobody_reads() {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    user.succeed(&["sign", "hello:v1"]);
    for arguments in [&["verify", "hello"][..], &["list", "hello"], &["--help"]] {
        let mut command = user.signetfs(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
        assert_eq!(stderr, "", "{arguments:?}");
    }
}

#[test]
fn says_that_an_answer_could_not_be_written() {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    user.succeed(&["sign", "hello:v1"]);
    let open = |path| std::fs::File::options().write(true).open(path).unwrap();
    let into = |arguments: &[&str], stdout: std::process::Stdio| {
        let mut command = user.signetfs(arguments);
        Ran::of(command.stdout(stdout).output().unwrap())
    };
    for arguments in [
        &["key", "list"][..],
        &["verify", "hello"],
        &["verify", "hello:v1"],
        &["verify", "--json", "hello"],
        &["list", "hello"],
        &["inspect", "hello"],
        &["policy", "show"],
        &["cert", "list"],
        &["fsck", "--json", "hello"],
        &["sign", "--json", "hello:v1"],
        &["export", "hello", "-"],
        &["--version"],
        &["verify", "--help"],
    ] {
        into(arguments, open("/dev/full").into()).error(41);
        // The program puts /dev/null in place of a descriptor that is closed.
        let mut shell = user.program("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >&-"]);
        shell.arg(crate::support::own_program()).args(arguments);
        let ran = Ran::of(shell.output().unwrap());
        assert!(ran.error(1).contains("Bad file descriptor"), "{ran:?}");
        // Where nobody wants the answer, its loss is none; as callers open it that read it too.
        let mut options = std::fs::File::options();
        let null = options.read(true).write(true).open("/dev/null").unwrap();
        for null in [null, open("/dev/null")] {
            let ran = into(arguments, null.into());
            assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        }
        // A reader that went away has what it wanted; of an archive it has not all.
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(there);
        let ran = into(arguments, std::os::fd::OwnedFd::from(here).into());
        assert_eq!(ran.code, i32::from(arguments[0] == "export"), "{ran:?}");
        assert!(!ran.stderr.contains("error"), "{ran:?}");
    }
    // Without an answer nothing is lost.
    let mut shell = user.program("sh");
    shell.args(["-c", "exec \"$0\" export hello out.tar >&-"]);
    let ran = Ran::of(shell.arg(crate::support::own_program()).output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn verifies_blobs_of_other_algorithms() {
    let user = User::new();
    user.with_key("one");
    let mut layout = Layout::with_algorithm(&user.path("hello"), Algorithm::Sha512);
    let image = layout.image("v1", "one");
    assert!(image.digest.starts_with("sha512:"));
    user.succeed(&["sign", "hello:v1"]);
    user.succeed(&["verify", "hello:v1"]);
    std::fs::write(blob_path(&layout.root, &image.config), b"{}").unwrap();
    user.run(&["verify", "hello:v1"]).error(17);
}

#[test]
fn understands_what_docker_and_buildx_write() {
    let user = User::new();
    user.with_key("one");
    let mut layout = Layout::new(&user.path("hello"));
    let image = layout.image("v1", "one");
    layout.docker_archive(&[&image]);
    layouts::buildx(&user.path("multi"));
    for name in ["hello", "multi"] {
        user.succeed(&["sign", name]);
        let verified = user.run(&["verify", name]);
        assert_eq!(verified.code, 0, "{verified:?}");
        assert!(verified.stdout.starts_with("verified\n"), "{verified:?}");
    }
    let mut other = image.clone();
    other.layers.reverse();
    layout.docker_archive(&[&other]);
    user.run(&["verify", "hello:v1"]).error(22);
}

#[test]
fn reading_a_layout_writes_nothing() {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    user.succeed(&["sign", "hello:v1"]);
    let before = files_below(&user.path("hello"));
    for arguments in [
        &["verify", "hello"][..],
        &["verify", "hello:v1"],
        &["list", "hello"],
        &["inspect", "hello"],
    ] {
        user.succeed(arguments);
    }
    assert_eq!(before, files_below(&user.path("hello")));
}

#[test]
fn reads_a_tar_as_the_folder_it_was_made_of() {
    let user = User::new();
    user.with_key("one");
    layouts::buildx(&user.path("hello"));
    user.succeed(&["sign", "--recursive", "hello:v1"]);
    let mut tar = user.program("tar");
    let packed = Ran::of(
        tar.args(["-C", "hello", "-cf", "hello.tar", "."])
            .output()
            .unwrap(),
    );
    assert_eq!(packed.code, 0, "{packed:?}");
    for arguments in [["verify", "hello"], ["list", "hello"], ["inspect", "hello"]] {
        let [command, folder] = arguments;
        let of_folder = user.succeed(&[command, "--no-memory", folder]);
        let of_tar = user.succeed(&[command, "--no-memory", "hello.tar"]);
        assert_eq!(
            of_tar.replace("hello.tar@", "hello@"),
            of_folder,
            "{command}"
        );
    }
    user.succeed(&["verify", "hello.tar:v1"]);
    let before = std::fs::read(user.path("hello.tar")).unwrap();
    user.succeed(&["sign", "hello.tar:v1"]);
    assert_eq!(before, std::fs::read(user.path("hello.tar")).unwrap());
}

#[test]
fn mounts_tells_and_unmounts() {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    let Some(mount) = Mount::new(&user, "hello", "mnt", &["--json", "--scope", "local/other"])
    else {
        return;
    };
    user.succeed(&["wait", "mnt", "--timeout", "30s"]);
    assert!(mount.read("verify-status").starts_with("unsigned\n"));
    let status = user.run(&["status", "--json", "mnt"]).json();
    assert_eq!(status["mount"]["verdict"], "unsigned");
    assert_eq!(status["mount"]["scope"], "local/other");
    user.run(&["mount", "hello", "mnt"]).error(1);
    // What the command line says and what the mount says are the same bytes.
    let by_command = user.run(&["verify", "--scope", "local/other", "hello"]);
    assert_eq!(by_command.code, 10);
    assert_eq!(by_command.stdout, mount.read("verify-status"));
    drop(mount);
    user.run(&["umount", "mnt"]).error(1);
    user.run(&["wait", "mnt"]).error(1);
    let missing = user.run(&["mount", "hello", "absent"]);
    missing.error(1);
    assert!(missing.stderr.contains("mkdir -p"), "{missing:?}");
    let gated = user.run(&["mount", "--require-verified", "hello", "mnt"]);
    gated.error(10);
    user.run(&["umount", "mnt"]).error(1);
}

#[test]
fn mounts_as_mount_8_asks() {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    if !fuse() {
        return;
    }
    std::fs::create_dir(user.path("mnt")).unwrap();
    user.succeed(&["hello", "mnt", "-o", "rw,dev,suid,ro,scope=local/other"]);
    let status = user.run(&["status", "mnt"]);
    let sign = user.path("mnt/sign").exists();
    user.succeed(&["umount", "mnt"]);
    assert!(status.stdout.contains("scope: local/other\n"), "{status:?}");
    assert!(!sign);
    user.run(&["hello", "mnt", "-o", "bogus=1"]).error(2);
}

#[test]
fn signs_in_the_format_that_the_configuration_prefers() {
    let user = User::new();
    user.with_key("wabbit-networks.io");
    layouts::single(&user.path("hello"));
    let preferences = user.config().join("config.json");
    let count = |ending: &str| {
        let listed = user.succeed(&["inspect", "--output", "json", "hello:v1"]);
        listed.matches(&format!("application/{ending}\"")).count()
    };
    std::fs::write(&preferences, r#"{"auths":{},"signatureFormat":"cose"}"#).unwrap();
    user.succeed(&["sign", "hello:v1"]);
    assert_eq!((count("cose"), count("jose+json")), (1, 0));
    user.succeed(&["sign", "--signature-format", "jws", "hello:v1"]);
    assert_eq!((count("cose"), count("jose+json")), (1, 1));
    std::fs::write(&preferences, r#"{"signatureFormat":"pgp"}"#).unwrap();
    let refused = user.run(&["sign", "hello:v1"]);
    assert!(refused.error(1).contains("config.json"), "{refused:?}");
    std::fs::remove_file(&preferences).unwrap();
    user.succeed(&["sign", "hello:v1"]);
    assert_eq!((count("cose"), count("jose+json")), (1, 2));
}

/// Of the situations of notation's own end-to-end tests that need nothing but a layout, eight hold. The other three, which
/// docs/COMPATIBILITY.md lists, differ: two work without the experimental switch, one without a scope.
#[test]
fn eight_of_notations_eleven_layout_situations_hold() {
    for (format, by_tag) in [
        ("jws", false),
        ("cose", false),
        ("jws", true),
        ("cose", true),
    ] {
        let user = User::new();
        user.with_key("wabbit-networks.io");
        let digest = layouts::single(&user.path("hello")).digest;
        let by_digest = format!("hello@{digest}");
        let reference = if by_tag { "hello:v1" } else { &by_digest };
        let none = user.succeed(&["list", "--oci-layout", reference]);
        assert_eq!(none, format!("{by_digest} has no associated signature\n"));
        let sign = [
            "sign",
            "--oci-layout",
            "--signature-format",
            format,
            reference,
        ];
        assert_eq!(
            user.succeed(&sign),
            format!("Successfully signed {by_digest}\n")
        );
        let listed = user.succeed(&["list", "--oci-layout", reference]);
        assert!(
            listed.starts_with(&format!(
                "{by_digest}\n\u{2514}\u{2500}\u{2500} application/vnd.cncf.notary.signature\n"
            )),
            "{listed}"
        );
        let success = format!("Successfully verified signature for {by_digest}\n");
        let verify = [
            "verify",
            "--oci-layout",
            "--scope",
            "local/hello",
            reference,
        ];
        assert_eq!(user.succeed(&verify), success);
        // No scope named: notation refuses, here it is made from the file name. No experimental switch in either case.
        assert_eq!(
            user.succeed(&["verify", "--oci-layout", reference]),
            success
        );
    }
}
