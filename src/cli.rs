//! The command line: one file per command, one terminal. Decisions are made elsewhere; here they are asked for and printed.

pub mod answer;
pub mod calendar;
pub mod cert;
pub mod duration;
pub mod exit;
pub mod export;
pub mod flags;
pub mod fsck;
mod hints;
pub mod inspect;
pub mod key;
pub mod layouts;
pub mod list;
pub mod login;
pub mod manual;
pub mod mount;
pub mod policy;
pub mod progress;
pub mod registries;
pub mod sign;
pub mod status;
pub mod stdin;
pub mod sync;
pub mod table;
pub mod terminal;
pub mod trust;
pub mod verify;
mod words;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser, Subcommand};

use answer::{Answer, Failure};
use exit::Exit;

/// Signs and verifies OCI image layouts in the Notary Project format, and mounts them as a filesystem whose signatures are files.
#[derive(Debug, Parser)]
#[command(name = "signetfs", version, infer_long_args = false)]
struct CommandLine {
    #[command(flatten)]
    global: flags::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign images of a layout
    Sign(sign::Arguments),
    /// Verify a layout or one image of it
    Verify(verify::Arguments),
    /// List the signatures of images
    #[command(visible_alias = "ls")]
    List(list::Arguments),
    /// Show what the signatures of images say
    Inspect(inspect::Arguments),
    /// Write a layout and its overlay as one tar
    Export(export::Arguments),
    /// Push images with their signatures to a registry
    Sync(Box<sync::Arguments>),
    /// Check every blob of a layout, and name what is left over or wrong
    Fsck(fsck::Arguments),
    /// Log in to a registry
    Login(Box<login::Arguments>),
    /// Forget the credentials for a registry
    Logout(login::LogoutArguments),
    /// Mount a layout
    Mount(mount::Arguments),
    /// Manage trust stores, and keys for tests
    #[command(subcommand, visible_alias = "certificate")]
    Cert(cert::Command),
    /// Manage signing keys
    #[command(subcommand)]
    Key(key::Command),
    /// Manage the trust policy
    #[command(subcommand)]
    Policy(policy::Command),
    /// Unmount a layout
    #[command(visible_alias = "unmount")]
    Umount(mount::UmountArguments),
    /// Wait until a mount has judged
    Wait(status::WaitArguments),
    /// Show what a mount is
    Status(status::Arguments),
    /// Print what a shell needs to complete command lines
    #[command(visible_alias = "completion")]
    Completions(manual::CompletionsArguments),
    /// Print a manual page
    Man(manual::ManArguments),
}

/// Runs a command line and returns the exit code of the process.
#[must_use]
pub fn run(arguments: Vec<OsString>) -> u8 {
    terminal::explain_panics();
    let ended = std::panic::catch_unwind(|| act(arguments));
    ended.unwrap_or(Exit::CouldNot).code()
}

fn act(arguments: Vec<OsString>) -> Exit {
    let arguments = mount::options::expand(arguments, &|word| {
        // Only mount(8) calls with `-o` in this place, so the names are looked up only then.
        CommandLine::command().get_subcommands().any(|command| {
            command.get_name() == word || command.get_all_aliases().any(|alias| alias == word)
        })
    });
    let parsed = match words::parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) => return terminal::finish(misunderstood(&error)),
    };
    terminal::finish(dispatch(&parsed))
}

fn dispatch(parsed: &CommandLine) -> Result<Answer, Failure> {
    let global = &parsed.global;
    match &parsed.command {
        Command::Sign(arguments) => sign::run(arguments, global),
        Command::Verify(arguments) => verify::run(arguments, global),
        Command::List(arguments) => list::run(arguments, global),
        Command::Inspect(arguments) => inspect::run(arguments, global),
        Command::Export(arguments) => export::run(arguments, global),
        Command::Sync(arguments) => sync::run(arguments, global),
        Command::Fsck(arguments) => fsck::run(arguments, global),
        Command::Login(arguments) => login::run(arguments, global),
        Command::Logout(arguments) => login::run_logout(arguments, global),
        Command::Cert(command) => cert::run(command, global),
        Command::Key(command) => key::run(command, global),
        Command::Policy(command) => policy::run(command, global),
        Command::Mount(arguments) => mount::run(arguments, global),
        Command::Umount(arguments) => mount::run_umount(arguments, global),
        Command::Wait(arguments) => status::run_wait(arguments, global),
        Command::Status(arguments) => status::run(arguments, global),
        Command::Completions(arguments) => manual::run_completions(arguments),
        Command::Man(arguments) => manual::run_man(arguments),
    }
}

/// Returns help as an answer, and a usage error in our two lines.
fn misunderstood(error: &clap::Error) -> Result<Answer, Failure> {
    use clap::error::ErrorKind;

    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return Ok(Answer::of(text)),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return Err(Failure::usage(
                "no command was given",
                "see signetfs --help for the commands",
            ));
        }
        ErrorKind::InvalidUtf8 => {
            return Err(Failure::usage(
                "a name on the command line is not UTF-8",
                "rename it, or go there and write a dot for it: cd FOLDER && signetfs verify --scope local/NAME .",
            ));
        }
        _ => {}
    }
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let message = lines.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let usage = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Usage: "))
        .unwrap_or("signetfs COMMAND");
    Err(Failure::usage(
        message,
        format!("usage: {usage}; see --help"),
    ))
}
