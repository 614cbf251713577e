//! What a command gives: an answer for stdout, or a failure with the next step to try. Only `terminal` prints them.

use crate::oci::causes;
use std::error::Error;
use std::io;

use super::exit::Exit;

/// Warnings of one command that may be many.
const WARNINGS_MAX: usize = 20;

/// Tells in which form an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Is what a command found or did.
#[derive(Debug, Default)]
pub struct Answer {
    /// Lines for stderr that come first, such as notation's warnings.
    pub warnings: Vec<String>,
    /// The bytes for stdout.
    pub output: String,
    /// What is wrong all the same: it goes to stderr, and its exit is the command's.
    pub failure: Option<Failure>,
}

impl Answer {
    /// Returns an answer that is `output` and success.
    #[must_use]
    pub fn of(output: String) -> Self {
        Self {
            output,
            ..Self::default()
        }
    }

    /// Returns a JSON document as an answer, indented, with a final newline.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        Self::of(format!("{value:#}\n"))
    }

    /// Leaves out warnings past the first 20, and says how many.
    pub fn limit_warnings(&mut self) {
        let more = self.warnings.len().saturating_sub(WARNINGS_MAX);
        if more > 0 {
            self.warnings.truncate(WARNINGS_MAX);
            self.warnings.push(format!("Warning: and {more} more"));
        }
    }

    /// Returns how the command ended.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.failure
            .as_ref()
            .map_or(Exit::Done, |failure| failure.exit)
    }
}

/// Is why a command did not succeed, and what to do next.
#[derive(Debug)]
pub struct Failure {
    /// How the command ends.
    pub exit: Exit,
    /// What went wrong, one line; empty where the answer itself says it.
    pub message: String,
    /// More lines, such as the reason of each signature.
    pub details: Vec<String>,
    /// The next step to try.
    pub hint: String,
}

impl Failure {
    /// Returns a failure.
    pub fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            details: Vec::new(),
            hint: hint.into(),
        }
    }

    /// Returns a failure with the words of an error and its causes; its exit follows from a system error among them.
    pub fn because(error: &(dyn Error + 'static), hint: impl Into<String>) -> Self {
        Self::new(exit_of(error), causes(error), hint)
    }

    /// Returns a usage error.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, hint)
    }

    /// Returns the refusal of something that notation can do and this version cannot.
    #[must_use]
    pub fn unsupported(what: &str, hint: &str) -> Self {
        Self::new(
            Exit::CouldNot,
            format!("{what} is not supported by this version"),
            hint,
        )
    }

    /// Returns an exit code without words: the answer on stdout says it all.
    #[must_use]
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "", "")
    }
}

/// Returns the exit that a system error among the causes implies.
fn exit_of(error: &(dyn Error + 'static)) -> Exit {
    let mut cause = Some(error);
    while let Some(present) = cause {
        if let Some(system) = present.downcast_ref::<io::Error>() {
            match system.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    return Exit::Permission;
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => return Exit::Space,
                _ => {}
            }
        }
        cause = present.source();
    }
    Exit::CouldNot
}
