//! `signetfs status` and `wait`: what a mount is and whether it has judged. The daemon has no socket: it is read like any file.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::answer::{Answer, Failure, Form};
use super::duration::expiry_seconds;
use super::exit::Exit;
use super::flags::Global;
use crate::fuse::mountinfo;
use crate::report::Verdict;
use crate::sys::mount::extended_attribute;

/// The facts that a mount root tells, in the order they are shown.
const FACTS: [&str; 7] = [
    "source", "overlay", "config", "scope", "policy", "reads", "pid",
];
/// How often a pending mount is asked again.
const INTERVAL: Duration = Duration::from_millis(50);
/// Bytes of the longest first line of a status that is read.
const LINE_BYTES_MAX: u64 = 256;

/// Flags of `status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The mount point
    mount_point: PathBuf,
}

/// Flags of `wait`.
#[derive(Debug, Clone, clap::Args)]
pub struct WaitArguments {
    /// The mount point
    mount_point: PathBuf,
    /// How long to wait, such as 30s (default: until it has judged)
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
}

/// Runs `status`.
///
/// # Errors
/// Says that this is no mount of ours, or why it cannot be read.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    let point = ours(&arguments.mount_point)?;
    let verdict = verdict(&point)?;
    let mut facts = Map::new();
    for name in FACTS {
        let value = extended_attribute(&point, &format!("user.signetfs.{name}"));
        if let Some(value) = value.map_err(|error| unreadable(&point, &error))? {
            let text = String::from_utf8_lossy(&value).into_owned();
            facts.insert(name.to_owned(), Value::from(text));
        }
    }
    let token = verdict.map_or("-", Verdict::token);
    Ok(match global.form() {
        Form::Json => {
            facts.insert("verdict".to_owned(), Value::from(token));
            Answer::json(&json!({ "schema": "signetfs.status/1", "mount": facts }))
        }
        Form::Text => {
            let lines = facts.iter().map(|(name, value)| {
                let text = value.as_str().unwrap_or_default();
                format!("{name}: {}\n", crate::text::escape_line(text))
            });
            Answer::of(lines.collect::<String>() + &format!("verdict: {token}\n"))
        }
    })
}

/// Runs `wait`.
///
/// # Errors
/// Says that this is no mount of ours, or why it cannot be read.
pub fn run_wait(arguments: &WaitArguments, global: &Global) -> Result<Answer, Failure> {
    let point = ours(&arguments.mount_point)?;
    let timeout = match &arguments.timeout {
        None => None,
        Some(text) => {
            let seconds = expiry_seconds(text)
                .map_err(|error| Failure::because(&error, "write it like --timeout 30s"))?;
            Some(Duration::from_secs(
                seconds.unwrap_or(0).try_into().unwrap_or(u64::MAX),
            ))
        }
    };
    let started = Instant::now();
    loop {
        let verdict = verdict(&point)?;
        if let Some(verdict) = verdict.filter(|verdict| *verdict != Verdict::Pending) {
            return Ok(match global.form() {
                Form::Text => Answer::default(),
                Form::Json => Answer::json(
                    &json!({ "schema": "signetfs.wait/1", "verdict": verdict.token() }),
                ),
            });
        }
        if timeout.is_some_and(|timeout| started.elapsed() >= timeout) {
            return Err(Failure::new(
                Exit::Verdict(Verdict::Pending),
                format!("{} has not judged yet", arguments.mount_point.display()),
                "wait longer, or see how far it is: cat MNT/verify-status",
            ));
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Returns the absolute path of a mount of ours; nothing else is believed.
fn ours(point: &Path) -> Result<PathBuf, Failure> {
    let refuse = |error: &io::Error| unreadable(point, error);
    let absolute = point.canonicalize().map_err(|error| refuse(&error))?;
    let mounted = mountinfo::top_at(&absolute).map_err(|error| refuse(&error))?;
    if mounted.is_some_and(|mounted| mounted.is_ours()) {
        return Ok(absolute);
    }
    Err(Failure::new(
        Exit::CouldNot,
        format!("{} is not a signetfs mount", point.display()),
        "mount it: signetfs mount LAYOUT MNT",
    ))
}

/// Returns the verdict that a mount shows.
fn verdict(point: &Path) -> Result<Option<Verdict>, Failure> {
    let read = || -> io::Result<String> {
        let file = std::fs::File::open(point.join("verify-status"))?;
        let mut line = String::new();
        BufReader::new(file.take(LINE_BYTES_MAX)).read_line(&mut line)?;
        Ok(line)
    };
    let line = read().map_err(|error| unreadable(point, &error))?;
    Ok(Verdict::from_token(line.trim_end()))
}

/// Returns why a mount cannot be looked at that belongs to another user.
pub(super) fn hidden(path: &Path, error: &io::Error) -> Option<Failure> {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    let owner = crate::fuse::mount::owner(path)?;
    if owner == crate::sys::process::effective_uid() {
        return None;
    }
    Some(Failure::new(
        Exit::Permission,
        format!(
            "the mount at {} belongs to uid {owner} and is not shown to others",
            path.display()
        ),
        format!(
            "look as that user: setpriv --reuid {owner} --clear-groups COMMAND; or mount with --allow-root or --allow-other"
        ),
    ))
}

fn unreadable(point: &Path, error: &io::Error) -> Failure {
    if let Some(failure) = hidden(point, error) {
        return failure;
    }
    let mut failure = Failure::because(error, "see what is mounted: findmnt -t fuse.signetfs");
    failure.message = format!("reading {}: {}", point.display(), failure.message);
    failure
}
