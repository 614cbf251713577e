//! The only place that prints. A closed pipe ends a command quietly; any other failure to write is an error.

use std::io::{self, BufRead, IsTerminal, Write};

use super::answer::{Answer, Failure, Form};
use super::exit::Exit;
use crate::sys::standard::stdout_was_closed;
use crate::text::escape_line;

/// The name that errors begin with.
const NAME: &str = "signetfs";

/// Prints what a command gave and returns its exit.
pub fn finish(result: Result<Answer, Failure>) -> Exit {
    match result {
        Ok(answer) => {
            for warning in &answer.warnings {
                note(warning);
            }
            let exit = answer.exit();
            if let Err(failure) = print(&answer.output) {
                complain(&failure);
                return failure.exit;
            }
            if let Some(failure) = &answer.failure {
                complain(failure);
            }
            exit
        }
        Err(failure) => {
            complain(&failure);
            failure.exit
        }
    }
}

/// Writes an answer to stdout.
///
/// # Errors
/// Says why not all of it could be written; a closed pipe is no error.
pub fn print(output: &str) -> Result<(), Failure> {
    if output.is_empty() {
        return Ok(());
    }
    refuse_closed()?;
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(output.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(()),
    }
}

fn unwritten(error: &io::Error) -> Failure {
    let mut failure = Failure::because(error, "look at where stdout goes");
    failure.message = format!("writing the answer: {}", failure.message);
    failure
}

/// Refuses a stdout that was closed when the program was started: nobody would get what is written.
fn refuse_closed() -> Result<(), Failure> {
    match stdout_was_closed() {
        true => Err(unwritten(&io::Error::from_raw_os_error(libc::EBADF))),
        false => Ok(()),
    }
}

/// Returns stdout for bytes that are not text.
///
/// # Errors
/// Refuses a terminal, and a stdout that is closed.
pub fn stdout_for_bytes() -> Result<impl Write, Failure> {
    refuse_closed()?;
    let stdout = io::stdout().lock();
    if stdout.is_terminal() {
        return Err(Failure::usage(
            "an archive is not written to a terminal",
            "name a file, or send it on: signetfs export LAYOUT - | COMMAND",
        ));
    }
    Ok(io::BufWriter::new(stdout))
}

/// Writes one line to stderr, escaped; nothing is done about a stderr that is closed.
pub fn note(line: &str) {
    let text = format!("{}\n", escape_line(line));
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints a failure: the error, its details, the next step.
pub fn complain(failure: &Failure) {
    if !failure.message.is_empty() {
        note(&format!("{NAME}: error: {}", failure.message));
    }
    for detail in &failure.details {
        note(&format!("{NAME}: {detail}"));
    }
    if !failure.hint.is_empty() {
        note(&format!("{NAME}: hint: {}", failure.hint));
    }
}

/// Asks on stdout and returns whether stdin says yes, as notation does; `flag` skips the question.
///
/// # Errors
/// Says why stdin or stdout cannot be used, and that nobody answered: a script must not take that for done.
pub fn confirm(question: &str, flag: &str, form: Form) -> Result<bool, Failure> {
    let unanswered = || {
        Failure::new(
            Exit::CouldNot,
            "nothing was changed: nobody answered the question",
            format!("pass {flag} to skip it"),
        )
    };
    if form == Form::Json {
        // Stdout is for one document.
        note(question);
        return Err(unanswered());
    }
    print(&format!("{question} [y/N] "))?;
    let mut line = String::new();
    io::Read::take(io::stdin().lock(), ANSWER_BYTES_MAX)
        .read_line(&mut line)
        .map_err(|error| Failure::because(&error, format!("pass {flag} to skip the question")))?;
    if line.is_empty() {
        return Err(unanswered());
    }
    if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(true);
    }
    print("Operation cancelled.\n")?;
    Ok(false)
}

/// Bytes of an answer to a question.
const ANSWER_BYTES_MAX: u64 = 1024;

/// Returns whether people look at stderr.
#[must_use]
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Makes a panic print as an internal error, without a stack trace.
pub fn explain_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|place| format!("{}:{}", place.file(), place.line()))
            .unwrap_or_default();
        let words = panic.payload();
        let words = words
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| words.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a panic");
        complain(&Failure::new(
            Exit::CouldNot,
            format!("internal error at {place}: {words}"),
            "this is a bug in signetfs: please report it with the command line; layouts stay as they were",
        ));
    }));
}
