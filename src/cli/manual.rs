//! `signetfs completions` and `man`: what shells and man(1) know of the command line, made from its one description.

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::CommandLine;
use super::answer::{Answer, Failure};

/// Flags of `completions`.
#[derive(Debug, Clone, clap::Args)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Flags of `man`.
#[derive(Debug, Clone, clap::Args)]
pub struct ManArguments {
    /// The command, such as mount or cert add (default: the program)
    command: Vec<String>,
}

/// Runs `completions`.
///
/// # Errors
/// Says that what was made is no text.
pub fn run_completions(arguments: &CompletionsArguments) -> Result<Answer, Failure> {
    let mut bytes = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut CommandLine::command(),
        "signetfs",
        &mut bytes,
    );
    text(bytes)
}

/// Runs `man`.
///
/// # Errors
/// Refuses a command that is not there.
pub fn run_man(arguments: &ManArguments) -> Result<Answer, Failure> {
    let mut program = CommandLine::command();
    program.build();
    let mut command = &program;
    for name in &arguments.command {
        command = command.find_subcommand(name).ok_or_else(|| {
            Failure::usage(
                format!("there is no command {}", arguments.command.join(" ")),
                "see signetfs --help for the commands",
            )
        })?;
    }
    let mut bytes = Vec::new();
    Man::new(command.clone())
        .render(&mut bytes)
        .map_err(|error| Failure::because(&error, "try again"))?;
    text(bytes)
}

fn text(bytes: Vec<u8>) -> Result<Answer, Failure> {
    String::from_utf8(bytes)
        .map(Answer::of)
        .map_err(|error| Failure::because(&error, "see signetfs --help instead"))
}
