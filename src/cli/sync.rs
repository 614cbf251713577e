//! `signetfs sync`: pushes images of a layout with their signatures, once they are verified.

mod failures;
pub mod flags;
pub(super) mod mounted;
mod pull;
mod render;
mod source;

use std::path::PathBuf;
use std::sync::Arc;

use super::answer::{Answer, Failure};
use super::exit::Exit;
use super::flags::{Global, cache_folder};
use super::progress::Bar;
use super::terminal;
use crate::layout::{Hashes, Memory};
use crate::registry::{Access, RegistryReference};
use crate::report::Verdict;
use crate::sync::plan::Withheld;
use crate::sync::push::TagPolicy;
use crate::sync::{Push, compare, push};
use flags::Connection;
use source::Source;

/// Flags of `sync`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The layout: PATH (every image), PATH:TAG or PATH@DIGEST; or HOST/REPOSITORY:TAG to pull
    source: String,
    /// Where it goes: HOST/REPOSITORY[:TAG] (default: the tag of the layout); or PATH[:TAG] of a layout
    target: String,
    /// Push images with this verdict too, such as unsigned or accepted; may be repeated
    #[arg(long, value_name = "TOKEN")]
    allow: Vec<String>,
    /// Registry scope that the trust policy is chosen by (default: local/NAME after the path)
    #[arg(long)]
    scope: Option<String>,
    /// Trust policy to use instead of the configuration's
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Folder with the new signatures of a layout that is not written to (default for a tar: TAR.signetfs beside it)
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// Ignore remembered hashes: hash everything while it is sent
    #[arg(long)]
    no_memory: bool,
    /// Show what would be sent; send nothing
    #[arg(long)]
    dry_run: bool,
    /// Compare only: exit 1 if anything differs
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Do not move a tag that names another image
    #[arg(long)]
    tag_only_if_absent: bool,
    /// Push layers that are marked as not to be distributed too
    #[arg(long)]
    include_nondistributable: bool,
    /// Another repository of the registry that may have the blobs; may be repeated
    #[arg(long, value_name = "REPOSITORY")]
    mount_from: Vec<String>,
    /// Verify the image in the registry when all is there
    #[arg(long)]
    verify_remote: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the command.
///
/// # Errors
/// Says why not everything is in the registry now.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    if pull::is_meant(arguments) {
        return pull::run(arguments, global);
    }
    let allow = allowed(&arguments.allow)?;
    let target = target(&arguments.target)?;
    Connection::check_repositories(&arguments.mount_from)?;
    let source = Source::open(arguments, global)?;
    let report = source.judge()?;
    let admitted = report
        .admit(&allow)
        .map_err(|refusal| source::refused(&report, refusal.verdict))?;
    let plan = source.plan(&target, arguments.withheld())?;
    for warning in source.foreseen(&target, &plan) {
        terminal::note(&format!("signetfs: warning: {warning}"));
    }
    let connection = &arguments.connection;
    let registry = connection.open(
        target,
        Access::Push,
        &arguments.mount_from,
        &global.config(),
    )?;
    let registry = Arc::new(registry);
    let push_it = Push {
        plan: &plan,
        source: source.layout.source(),
        hashes: &source.hashes,
        registry: &registry,
        jobs: connection.jobs(),
        tags: arguments.tag_policy(),
        admitted: &admitted,
    };
    if arguments.dry_run || arguments.check {
        let comparison = compare(&push_it)?;
        let mut answer = render::comparison(&push_it, &comparison, global.form());
        if arguments.check && !comparison.is_equal() {
            answer.failure = Some(Failure::silent(Exit::CouldNot));
        }
        return Ok(answer);
    }
    let outcome = push(&push_it, &Bar::named("pushing"))?;
    let mut answer = render::outcome(&push_it, &outcome, global.form());
    if arguments.verify_remote {
        answer.failure = source.verify_there(&registry, &plan)?;
    }
    Ok(answer)
}

impl Arguments {
    /// Returns the table of hashes, with the memory of earlier commands unless it is unwanted.
    fn hashes(&self) -> Hashes {
        Hashes::new(match (self.no_memory, cache_folder()) {
            (false, Some(folder)) => Memory::Folder(folder),
            _ => Memory::None,
        })
    }

    fn withheld(&self) -> Withheld {
        match self.include_nondistributable {
            true => Withheld::Push,
            false => Withheld::Keep,
        }
    }

    fn tag_policy(&self) -> TagPolicy {
        match self.tag_only_if_absent {
            true => TagPolicy::OnlyIfAbsent,
            false => TagPolicy::Move,
        }
    }
}

fn allowed(tokens: &[String]) -> Result<Vec<Verdict>, Failure> {
    tokens
        .iter()
        .map(|token| {
            Verdict::from_token(token).ok_or_else(|| {
                let known: Vec<&str> = Verdict::all().map(Verdict::token).collect();
                Failure::usage(
                    format!("--allow {token}: there is no such verdict"),
                    format!("one of {}", known.join(", ")),
                )
            })
        })
        .collect()
}

/// Reads where a push goes.
///
/// # Errors
/// Refuses what is not a registry reference, and digests: content decides its own.
pub fn target(text: &str) -> Result<RegistryReference, Failure> {
    let target = RegistryReference::parse(text).map_err(|error| {
        Failure::usage(
            error.to_string(),
            "write HOST/REPOSITORY[:TAG], such as localhost:5001/hello-world:v1",
        )
    })?;
    match target.digest {
        None => Ok(target),
        Some(_) => Err(Failure::usage(
            format!("{text}: the target takes a tag, not a digest"),
            "write HOST/REPOSITORY[:TAG]; the digest follows from the content",
        )),
    }
}
