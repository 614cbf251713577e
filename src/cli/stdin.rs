//! `-` as a layout: a tar, or a compressed one, on standard input.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::Path;

use super::answer::Failure;
use super::progress::Bar;
use crate::layout::{STANDARD_INPUT, Tar};

/// Returns whether a path, or a reference to an image in it, stands for standard input.
#[must_use]
pub fn is_meant(text: &str) -> bool {
    text.strip_prefix(STANDARD_INPUT)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
}

/// Reads standard input: a regular file by seeking, a pipe to a file without a name first.
///
/// # Errors
/// Says why it cannot be read as a layout.
pub fn open() -> Result<Tar, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage(
            "standard input is a terminal, and - reads a tar from it",
            "pipe a tar into it: signetfs verify --scope local/NAME - < NAME.tar",
        ));
    }
    let own = stdin.as_fd().try_clone_to_owned();
    let own = own.map_err(|error| Failure::because(&error, "name the tar instead of -"))?;
    Ok(Tar::of_descriptor(own, &Bar::named("unpacking"))?)
}

/// Refuses to take a scope from a name that is none.
///
/// # Errors
/// Asks for `--scope` where the path is standard input and no flag gives the scope.
pub fn require_scope(text: &str, flag: Option<&str>) -> Result<(), Failure> {
    if !is_meant(text) || flag.is_some() {
        return Ok(());
    }
    Err(Failure::usage(
        "standard input has no name that a scope could be taken from",
        "say which images the trust policy is to be asked about: --scope local/hello-world",
    ))
}

/// Returns the refusal to add to standard input.
#[must_use]
pub fn takes_no_signatures() -> Failure {
    Failure::usage(
        "standard input takes no signatures",
        "name a folder for them: --overlay DIR",
    )
}

/// Returns the path of a layout for messages and attributes: absolute, but for standard input.
#[must_use]
pub fn layout_path(path: &str) -> std::path::PathBuf {
    let typed = Path::new(path);
    match is_meant(path) {
        true => typed.to_owned(),
        false => std::path::absolute(typed).unwrap_or_else(|_| typed.to_owned()),
    }
}
