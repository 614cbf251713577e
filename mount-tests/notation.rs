//! Beside the notation command itself: the same configuration, layouts, mounts and registries, looked at by both programs.

mod configuration;
mod mounted;
mod outputs;
mod situations;
mod vectors;

use std::path::PathBuf;

use crate::support::{Ran, User, tool};

/// Is a user of both programs, with one configuration.
struct Both {
    user: User,
    notation: PathBuf,
}

impl Both {
    /// Returns a user without any configuration; nothing where notation is not installed.
    fn new() -> Option<Self> {
        let notation = tool("notation")?;
        let user = User::new();
        Some(Self { user, notation })
    }

    /// Returns a user with a default key `wabbit` and a strict policy that trusts it.
    fn with_key() -> Option<Self> {
        let both = Self::new()?;
        both.user.with_key("wabbit");
        Some(both)
    }

    fn ours(&self, arguments: &[&str]) -> Ran {
        self.user.run(arguments)
    }

    fn theirs(&self, arguments: &[&str]) -> Ran {
        self.user.notation(&self.notation, arguments)
    }

    /// Runs notation, which has to succeed.
    #[track_caller]
    fn they_succeed(&self, arguments: &[&str]) -> String {
        let ran = self.theirs(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.stdout
    }

    /// Runs both programs, which have to succeed and to print the same lines, whose differences in order are allowed for; returns them.
    #[track_caller]
    fn print_the_same(&self, arguments: &[&str]) -> String {
        let (ours, theirs) = (self.ours(arguments), self.theirs(arguments));
        assert_eq!(ours.code, 0, "{arguments:?}: {ours:?}");
        assert_eq!(theirs.code, 0, "{arguments:?}: {theirs:?}");
        let [own, other] = [&ours, &theirs].map(|ran| outputs::comparable(&ran.stdout));
        let differing = own.iter().zip(&other).find(|(own, other)| own != other);
        assert!(
            differing.is_none() && own.len() == other.len(),
            "{arguments:?}: {differing:?}\n{}\n{}",
            ours.stdout,
            theirs.stdout
        );
        assert_eq!(
            ours.stderr,
            outputs::without_experimental(&theirs.stderr),
            "{arguments:?}"
        );
        ours.stdout
    }
}
