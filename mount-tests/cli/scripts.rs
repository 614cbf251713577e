//! What scripts meet: questions without an answer, JSON from every command, flags of notation, places that are not there.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use crate::support::{Mount, Ran, User, layouts};

const POLICY: &str = r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}"#;

#[test]
fn a_question_that_nobody_answers_changes_nothing_and_fails() {
    let user = User::new();
    std::fs::write(user.path("policy.json"), POLICY).unwrap();
    user.succeed(&["policy", "import", "policy.json"]);
    let other = POLICY.replace("\"a\"", "\"b\"");
    std::fs::write(user.path("policy.json"), &other).unwrap();
    let import = ["policy", "import", "policy.json"];
    let asked = user.run(&import);
    assert!(asked.error(1).contains("nobody answered"), "{asked:?}");
    assert!(asked.stderr.ends_with("pass --force to skip it\n"));
    // A document is all that programs get on stdout.
    let asked = user.run(&[&import[..], &["--json"]].concat());
    asked.error(1);
    assert_eq!(asked.stdout, "");
    assert_eq!(user.succeed(&["policy", "show"]), POLICY);
    // Who says no has what they wanted.
    let mut child = user
        .signetfs(&import)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"n\n").unwrap();
    let refused = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((refused.code, refused.stderr.as_str()), (0, ""));
    assert_eq!(user.succeed(&["policy", "show"]), POLICY);
    user.succeed(&["cert", "generate-test", "one"]);
    let delete = ["cert", "delete", "-t", "ca", "-s", "one", "--all"];
    assert!(user.run(&delete).error(1).contains("nobody answered"));
    assert!(user.succeed(&["cert", "ls"]).contains("one.crt"));
}

#[test]
fn commands_without_words_answer_in_json_too() {
    let user = User::new();
    user.with_key("one");
    let shown = user.run(&["--json", "key", "update", "one"]);
    assert_eq!(shown.json()["default"], true, "{shown:?}");
    layouts::single(&user.path("hello"));
    let Some(mount) = Mount::new(&user, "hello", "mnt", &[]) else {
        return;
    };
    let ran = user.run(&["--json", "umount", "mnt"]);
    assert_eq!(ran.json()["schema"], "signetfs.umount/1", "{ran:?}");
    drop(mount);
}

#[test]
fn completions_and_manual_pages_name_every_flag() {
    let user = User::new();
    let bash = user.succeed(&["completions", "bash"]);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(user.succeed(&["completions", shell]).contains("fsck"));
    }
    user.run(&["completions", "csh"]).error(2);
    let program = user.succeed(&["man"]);
    let commands = [
        "mount umount wait status sync sign verify list inspect fsck export cert key policy",
        "completions man login logout",
    ]
    .join(" ");
    for name in commands.split(' ') {
        let page = user.succeed(&["man", name]);
        assert!(program.contains(&format!("signetfs\\-{name}")), "{name}");
        for word in user.succeed(&[name, "--help"]).split_whitespace() {
            let flag = word.trim_end_matches(['[', '<', ',', ')', '.']);
            if flag.len() < 4 || !flag.starts_with("--") || flag.contains(['=', '<', '[']) {
                continue;
            }
            assert!(bash.contains(flag), "{name} {flag}");
            assert!(page.contains(&flag.replace('-', "\\-")), "{name} {flag}");
        }
    }
    assert!(
        user.succeed(&["man", "cert", "add"])
            .contains("\\-\\-store")
    );
    user.run(&["man", "nothing"]).error(2);
}

#[test]
fn notations_flags_that_change_nothing_here_are_taken() {
    let user = User::new();
    user.with_key("one");
    layouts::single(&user.path("hello"));
    user.succeed(&["sign", "hello:v1"]);
    user.succeed(&["verify", "--plugin-config", "a=b", "hello:v1"]);
    // A plugin that is to sign is another matter.
    user.run(&["sign", "--plugin-config", "a=b", "hello:v1"])
        .error(1);
}

#[test]
fn who_signs_in_a_registry_is_told_the_way() {
    let user = User::new();
    user.with_key("one");
    let refused = user.run(&["sign", "registry.example/app:v1"]);
    assert!(refused.error(2).contains("only layouts on disk"));
    assert!(refused.stderr.contains("signetfs sync --allow unsigned"));
}

#[test]
fn without_a_home_folder_a_place_is_asked_for() {
    let user = User::new();
    let mut command = user.signetfs(&["cert", "generate-test", "one"]);
    let ran = command.env_remove("HOME").env_remove("XDG_CONFIG_HOME");
    let ran = Ran::of(ran.output().unwrap());
    ran.error(1);
    assert!(ran.stderr.contains("set HOME"), "{ran:?}");
}

#[test]
fn a_name_that_is_no_text_can_be_reached_by_a_dot() {
    let user = User::new();
    user.with_key("one");
    let name = OsStr::from_bytes(b"n\xff");
    layouts::single(&user.path("hello"));
    let place = user.path("hello").with_file_name(name);
    std::fs::rename(user.path("hello"), &place).unwrap();
    let mut command = user.signetfs(&["verify"]);
    let ran = Ran::of(command.arg(name).output().unwrap());
    ran.error(2);
    assert!(ran.stderr.contains("cd FOLDER"), "{ran:?}");
    let mut command = user.signetfs(&["sign", "."]);
    assert_eq!(
        Ran::of(command.current_dir(&place).output().unwrap()).code,
        0
    );
    let mut command = user.signetfs(&["verify", "--scope", "local/hello", "."]);
    let ran = Ran::of(command.current_dir(&place).output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
}
