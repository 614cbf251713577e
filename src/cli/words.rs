//! From the words of a command line to a command.
//!
//! Building every command to run one takes longer than anything else before main's work begins. So where the first word is the
//! name of a frequent command, its flags are read without the others; all else, errors and help included, is clap's in full.

use std::ffi::OsString;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser};

use super::flags::Global;
use super::stdin;
use super::{Command, CommandLine};

/// Holds the flags of one command, as if it were the whole program.
#[derive(Debug, Parser)]
#[command(name = "signetfs", disable_help_subcommand = true)]
struct Alone<A: Args> {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    arguments: A,
}

/// Parses a command line, the program's name first.
///
/// # Errors
/// Returns clap's words for help, version and mistakes.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<CommandLine, clap::Error> {
    if let Some(parsed) = quick(&arguments) {
        return Ok(parsed);
    }
    if arguments.iter().any(is_image_on_stdin) {
        return with_stdin(arguments);
    }
    CommandLine::try_parse_from(arguments)
}

/// Commands whose first word names an image, and what they call it.
const OF_IMAGES: [(&str, &str); 5] = [
    ("sign", "reference"),
    ("verify", "reference"),
    ("list", "reference"),
    ("inspect", "reference"),
    ("sync", "source"),
];

/// Returns whether a word is an image of the tar on standard input (`-:v1`), which clap takes for a flag.
fn is_image_on_stdin(word: &OsString) -> bool {
    word.to_str()
        .is_some_and(|word| word.len() > 1 && stdin::is_meant(word))
}

/// Parses a command line with such a word. Only then may a reference look like a flag: else mistyped flags would be references.
fn with_stdin(arguments: Vec<OsString>) -> Result<CommandLine, clap::Error> {
    let mut command = CommandLine::command();
    for (name, argument) in OF_IMAGES {
        command = command.mut_subcommand(name, |command| {
            // `mut_arg` would put it behind the others.
            command.mut_args(|present| match present.get_id() == argument {
                true => present.allow_hyphen_values(true),
                false => present,
            })
        });
    }
    CommandLine::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// Returns the command where it is a frequent one, stands first, and has no mistakes.
fn quick(arguments: &[OsString]) -> Option<CommandLine> {
    let [program, name, rest @ ..] = arguments else {
        return None;
    };
    let words = || std::iter::once(program).chain(rest);
    match name.to_str()? {
        "sign" => alone(words(), Command::Sign),
        "verify" => alone(words(), Command::Verify),
        "list" | "ls" => alone(words(), Command::List),
        "inspect" => alone(words(), Command::Inspect),
        "status" => alone(words(), Command::Status),
        "wait" => alone(words(), Command::Wait),
        _ => None,
    }
}

fn alone<'a, A: Args>(
    words: impl Iterator<Item = &'a OsString>,
    command: fn(A) -> Command,
) -> Option<CommandLine> {
    let parsed = Alone::<A>::try_parse_from(words).ok()?;
    Some(CommandLine {
        global: parsed.global,
        command: command(parsed.arguments),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("signetfs")
            .chain(line.split_whitespace())
            .map(OsString::from)
            .collect()
    }

    #[test]
    fn reads_a_frequent_command_as_clap_does_in_full() {
        for line in [
            "sign L",
            "sign L:v1 --key a --signature-format cose -e 24h -m a=b -m c=d --recursive --jobs 1",
            "--config /c sign L",
            "sign --config /c L --json -d",
            "sign -v L --force-referrers-tag=false --oci-layout",
            "verify L",
            "verify --scope local/x --oci-layout L:v1 --json",
            "verify L --max-signatures -1 -m a=b --no-memory --policy /p",
            "verify -- --json",
            "verify help",
            "list L",
            "ls L --json",
            "inspect L",
            "inspect --output json L",
            "status /m",
            "wait /m --timeout 5s",
            "",
            "sign",
            "verify",
            "verify --help",
            "verify -h",
            "verify --version",
            "sign -V",
            "help verify",
            "verify L M",
            "verify L --scope",
            "verify L --unknown",
            "verify --json --json L",
            "verify --scop x L",
            "verify L --config",
            "list",
            "list L M",
            "wait /m --timeout",
            "status",
            "mount L /m",
            "key list",
        ] {
            let full = CommandLine::try_parse_from(words(line));
            match (quick(&words(line)), &full) {
                (Some(quick), Ok(full)) => {
                    assert_eq!(format!("{quick:?}"), format!("{full:?}"), "{line}");
                }
                (Some(_), Err(error)) => panic!("{line}: {error}"),
                (None, _) => {}
            }
        }
    }

    #[test]
    fn an_image_on_standard_input_is_no_flag() {
        for line in [
            "verify -:v1 --scope local/x",
            "verify --scope local/x -:v1",
            "ls -@sha256:00 --json",
            "inspect -:v1",
            "sign -:v1 --overlay o",
            "sync -:v1 localhost/x --plain-http",
            "--config /c verify -:v1",
        ] {
            let found = parse(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
            let plain = line.replace("-:v1", "L").replace("-@sha256:00", "L");
            let shown = |text: String| {
                text.replace("\"-:v1\"", "\"L\"")
                    .replace("\"-@sha256:00\"", "\"L\"")
            };
            let plain = parse(words(&plain)).unwrap();
            assert_eq!(shown(format!("{found:?}")), format!("{plain:?}"), "{line}");
        }
        for line in [
            "verify -x",
            "verify --unknown",
            "verify -:v1 --unknown",
            "verify --unknown -:v1",
            "verify -:v1 -:v2",
            "mount -:v1",
        ] {
            assert!(parse(words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn reads_frequent_commands_alone() {
        for line in [
            "sign L",
            "verify --scope local/x L:v1",
            "list L --json",
            "inspect L",
        ] {
            assert!(quick(&words(line)).is_some(), "{line}");
        }
    }
}
