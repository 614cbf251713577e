//! All transcripts and backups once more: with checked reads, and as a user who is not root, mounting through fusermount3.
//!
//! This binary runs itself again; what differs comes from the environment (see `support`).

use std::process::Command;

use crate::support::{Ran, User, fuse, own_program, tool};

/// The modules that run again; the tests that need to be root stay out where the user is another.
const MODULES: [&str; 2] = ["transcripts::", "backup::"];
const NEED_ROOT: [&str; 1] = ["another_user_signs_nothing"];
/// Fewer tests than these would mean that the filters are wrong.
const TESTS_MIN: usize = 20;

/// Runs a command, which is this binary with filters, and checks that all went well.
#[track_caller]
fn assert_passes(mut command: Command) {
    command.args(["--test-threads", "2", "--skip", "transcripts::users"]);
    command.args(MODULES);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let passed = ran
        .stdout
        .lines()
        .filter(|line| line.starts_with("test ") && line.ends_with("... ok"))
        .count();
    assert!(passed >= TESTS_MIN, "{}", ran.stdout);
}

#[test]
fn everything_is_the_same_with_checked_reads() {
    if !fuse() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("SIGNETFS_TEST_READS", "checked");
    assert_passes(command);
}

#[test]
fn everything_is_the_same_for_a_user_who_is_not_root() {
    use std::os::unix::fs::MetadataExt;

    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !fuse() || !is_root {
        eprintln!("skip: acting as another user needs root");
        return;
    }
    // What is built lies in a folder that only root may look into, perhaps.
    let user = User::new();
    std::fs::copy(std::env::current_exe().unwrap(), user.path("tests")).unwrap();
    std::fs::copy(own_program(), user.path("signetfs")).unwrap();
    std::fs::create_dir_all(user.path("tools/bin")).unwrap();
    if let Some(oras) = tool("oras") {
        std::fs::copy(oras, user.path("tools/bin/oras")).unwrap();
    }
    let owned = user
        .program("chown")
        .args(["-R", "1000:1000", "."])
        .status()
        .unwrap();
    assert!(owned.success());
    // A mount name space of its own has a FUSE device for everybody.
    let script = r#"mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse || exit 1
        exec setpriv --reuid 1000 --regid 1000 --clear-groups ./tests "$@""#;
    let mut command = user.program("unshare");
    command.args(["-m", "bash", "-c", script, "tests"]);
    command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("CI", std::env::var_os("CI").unwrap_or_default())
        .env("TMPDIR", user.path("home"))
        .env("SIGNETFS_TOOLS", user.path("tools"))
        .env("SIGNETFS_TEST_PROGRAM", user.path("signetfs"));
    for name in NEED_ROOT {
        command.args(["--skip", name]);
    }
    assert_passes(command);
}
