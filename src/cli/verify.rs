//! `signetfs verify`: a whole layout gives the bytes of `verify-status`, one image gives notation's lines.

mod single;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::answer::{Answer, Failure, Form};
use super::exit::Exit;
use super::flags::{Foreign, Global, Reading, pairs};
use super::layouts;
use super::list::max_signatures;
use super::progress::Bar;
use super::{registries, trust};
use crate::audit::{Asked, audit};
use crate::report::{Report, Verdict};

/// Flags of `verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// PATH (every image), PATH:TAG or PATH@DIGEST; PATH may be - for a tar on standard input
    reference: String,
    /// Registry scope that the trust policy is chosen by (default: local/NAME after the path)
    #[arg(long)]
    scope: Option<String>,
    /// Trust policy to use instead of the configuration's
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Signatures of one image that are judged
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        allow_hyphen_values = true
    )]
    max_signatures: i64,
    /// {key}={value} that a signature must carry; may be repeated
    #[arg(short = 'm', long, value_name = "KEY=VALUE")]
    user_metadata: Vec<String>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    foreign: Foreign,
}

/// Runs the command.
///
/// # Errors
/// Says why nothing could be decided; a verdict that does not pass is an answer with a failure.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    arguments.foreign.refuse_for_verification()?;
    let max_signatures = max_signatures(arguments.max_signatures)?;
    let metadata: BTreeMap<String, String> = pairs("user-metadata", &arguments.user_metadata)?;
    super::stdin::require_scope(&arguments.reference, arguments.scope.as_deref())?;
    let (reference, opened) =
        registries::open(&arguments.reference, &arguments.reading, &global.config())?;
    let (scope, scope_origin) = layouts::scope(&reference.path, arguments.scope.as_deref())?;
    let trust = trust::read(&global.config(), arguments.policy.as_deref());
    let hashes = arguments.reading.hashes();
    let asked = Asked {
        source: opened.source(),
        trust: &trust,
        scope: scope.as_ref(),
        scope_origin,
        images: layouts::selection(&reference),
        content: opened.content(),
        max_signatures,
        metadata: &metadata,
    };
    let report = audit(&asked, &hashes, crate::clock::now(), &Bar::new())?;
    // Nothing depends on what is remembered.
    let _ = hashes.save();
    if verdict(&report).exit_code() != 0 {
        opened.complete()?;
    }
    Ok(match (&reference.name, global.form()) {
        (_, Form::Json) => with_exit(Answer::of(report.json()), verdict(&report)),
        (None, Form::Text) => with_exit(Answer::of(report.text()), report.verdict()),
        (Some(_), Form::Text) => single::answer(&reference, &report),
    })
}

/// Returns the worst of the images judged and of every layout-level problem.
fn verdict(report: &Report) -> Verdict {
    report
        .images
        .iter()
        .map(|image| report.image_verdict(image))
        .min()
        .unwrap_or_else(|| report.verdict())
}

fn with_exit(mut answer: Answer, verdict: Verdict) -> Answer {
    if verdict.exit_code() != 0 {
        answer.failure = Some(Failure::silent(Exit::Verdict(verdict)));
    }
    answer
}
