//! `signetfs fsck`: everything about a layout that can be checked without keys, each finding with what to do. Writes nothing.
//!
//! What is wrong has the verdict that `verify` would give it, and the worst is the exit code. What is merely left over, or of no
//! use to a reader, is a note and fails nothing.

mod blobs;
mod finding;
mod structure;

use std::path::Path;

use serde_json::{Value, json};

use super::answer::{Answer, Failure, Form};
use super::exit::Exit;
use super::flags::Global;
use super::layouts::{self, Kind};
use super::progress::Bar;
use super::sync::mounted;
use crate::audit;
use crate::layout::{Hashes, Memory};
use crate::text::{escape_line, escape_word};
use finding::{Finding, Place};

/// Flags of `fsck`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The layout: a folder, a tar, a compressed tar, - for one on standard input, or a mount of one
    layout: String,
    /// Folder with the new signatures of a layout that is not written to (default for a tar: TAR.signetfs beside it)
    #[arg(long, value_name = "DIR")]
    overlay: Option<std::path::PathBuf>,
}

/// Counts what was looked at.
#[derive(Debug, Default, Clone, Copy)]
struct Checked {
    blobs: usize,
    bytes: u64,
}

/// Runs the command.
///
/// # Errors
/// Says why the layout cannot be read; what is wrong with it is an answer with a failure.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    let reference = layouts::reference(&arguments.layout, Kind::Layout)?;
    if reference.name.is_some() {
        return Err(Failure::usage(
            "fsck checks whole layouts",
            format!(
                "leave the tag or digest out: signetfs fsck {}",
                reference.path
            ),
        ));
    }
    let mounted::Behind { layout, path, .. } =
        mounted::open(&reference.path, arguments.overlay.as_deref())?;
    let place = match path.is_dir() {
        true => Place::Folder(path),
        false => Place::Archive {
            overlay: layout.overlay().map(Path::to_owned),
        },
    };
    // Nothing remembered counts: every byte is read.
    let hashes = Hashes::new(Memory::None);
    let survey = audit::survey(layout.source())?;
    let mut findings = structure::check(&survey, layout.source());
    let checked = blobs::check(&survey, layout.source(), &hashes, &mut findings);
    for finding in &mut findings {
        finding.advise(&place);
    }
    findings.sort_by(|one, other| one.order().cmp(&other.order()));
    let worst = findings.iter().filter_map(|finding| finding.verdict).min();
    let mut answer = match global.form() {
        Form::Text => Answer::of(text(&findings, checked)),
        Form::Json => Answer::json(&document(&arguments.layout, &findings, checked)),
    };
    answer.failure = worst.map(|verdict| Failure::silent(Exit::Verdict(verdict)));
    Ok(answer)
}

fn text(findings: &[Finding], checked: Checked) -> String {
    let mut text = String::new();
    for finding in findings {
        let kind = finding.verdict.map_or("note", |verdict| verdict.token());
        let path = escape_word(&finding.path);
        text.push_str(&format!(
            "{kind} {} {path}: {}\n    {}\n",
            finding.kind,
            escape_line(&finding.problem),
            escape_line(&finding.advice)
        ));
    }
    let wrong = findings.iter().filter(|f| f.verdict.is_some()).count();
    let Checked { blobs, bytes } = checked;
    let notes = findings.len() - wrong;
    text.push_str(&format!(
        "checked blobs={blobs} bytes={bytes} problems={wrong} notes={notes}\n"
    ));
    text
}

fn document(typed: &str, findings: &[Finding], checked: Checked) -> Value {
    let entries: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "kind": finding.kind,
                "verdict": finding.verdict.map(crate::report::Verdict::token),
                "path": finding.path,
                "digest": finding.digest.as_ref().map(ToString::to_string),
                "problem": finding.problem,
                "advice": finding.advice,
            })
        })
        .collect();
    json!({
        "schema": "signetfs.fsck/1",
        "layout": typed,
        "blobs": checked.blobs,
        "bytes": checked.bytes,
        "findings": entries,
    })
}

/// Returns the bar that shows how much is hashed.
fn bar() -> Bar {
    Bar::new()
}
