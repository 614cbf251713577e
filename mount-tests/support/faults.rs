//! Runs a command again and again, with a fault at each occurrence of each system call that touches files.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Ran, User, own_program, tool};

/// The system calls that touch files, by the names that the kernel of any architecture may know them by.
const CALLS: [&str; 21] = [
    "openat",
    "openat2",
    "open",
    "write",
    "pwrite64",
    "writev",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "ftruncate",
    "fchmod",
    "fchmodat",
    "flock",
    "mkdir",
    "mkdirat",
];

/// Is a command that must leave the old state or the new one.
pub(crate) struct Faults<'a> {
    pub(crate) user: &'a User,
    pub(crate) arguments: &'a [&'a str],
    /// More of its environment.
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// Makes the state before the command.
    pub(crate) prepare: &'a dyn Fn(),
    /// Checks the state after it.
    pub(crate) check: &'a dyn Fn(&Ran, &str),
}

impl Faults<'_> {
    /// Runs the command once for each occurrence of each call, with `fault` injected there.
    #[track_caller]
    pub(crate) fn at_every_call(&self, fault: &str) {
        self.at_each(fault, "rename");
    }

    /// The same for a command that only reads the layout, and writes temporary files.
    #[track_caller]
    pub(crate) fn at_every_call_of_a_reader(&self, fault: &str) {
        self.at_each(fault, "write");
    }

    /// Runs the command so; one call that it makes for sure shows that calls are seen at all.
    #[track_caller]
    fn at_each(&self, fault: &str, sure: &str) {
        let Some(strace) = tool("strace") else {
            return;
        };
        let counts = self.count_calls(&strace);
        assert!(
            counts.iter().any(|(call, _)| call.starts_with(sure)),
            "{counts:?}"
        );
        for (call, count) in counts {
            // One more than were counted: a fault that hits nothing leaves the new state.
            for when in 1..=count + 1 {
                (self.prepare)();
                let trace = format!("trace={call}");
                let inject = format!("inject={call}:{fault}:when={when}");
                let mut command = self.user.program(&strace);
                command.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
                command.arg(own_program()).args(self.arguments);
                command.envs(self.environment.iter().copied());
                let ran = Ran::of(command.output().unwrap());
                (self.check)(&ran, &format!("{fault} at {call} {when}"));
            }
        }
    }

    fn count_calls(&self, strace: &Path) -> BTreeMap<String, usize> {
        (self.prepare)();
        let log = self.user.path("strace.log");
        let trace = format!("trace={}", CALLS.join(","));
        let mut command = self.user.program(strace);
        command
            .args(["-f", "-qq", "-o"])
            .arg(&log)
            .args(["-e", &trace]);
        command.arg(own_program()).args(self.arguments);
        command.envs(self.environment.iter().copied());
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        let text = std::fs::read_to_string(log).unwrap();
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            let call = line.split_whitespace().nth(1).unwrap_or_default();
            if let Some((name, _)) = call.split_once('(') {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}
