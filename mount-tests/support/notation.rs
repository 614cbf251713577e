//! Others that speak the Notary Project format: the notation command, and a small program on its libraries.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Ran, User, tool};

/// Returns both programs, or those that are installed: their flags are the same.
pub(crate) fn programs() -> Vec<PathBuf> {
    ["notation", "notation-peer"]
        .into_iter()
        .filter_map(tool)
        .collect()
}

impl User {
    /// Returns either program with this user's configuration.
    ///
    /// notation takes layouts only where it is told that they are experimental, and shows times in the zone of the machine.
    pub(crate) fn notation_command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = self.program(program);
        command
            .env("NOTATION_CONFIG", self.config())
            .env("NOTATION_EXPERIMENTAL", "1")
            .env("TZ", "UTC")
            .args(arguments);
        command
    }

    /// Runs either program with this user's configuration.
    pub(crate) fn notation(&self, program: &Path, arguments: &[&str]) -> Ran {
        Ran::of(self.notation_command(program, arguments).output().unwrap())
    }
}
