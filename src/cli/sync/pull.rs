//! `signetfs sync HOST/REPOSITORY:TAG LAYOUT[:TAG]`: brings an image with its signatures into a layout, once they are verified.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::source::refused;
use super::{Arguments, allowed};
use crate::audit::{self, Asked, Content};
use crate::cli::answer::{Answer, Failure, Form};
use crate::cli::exit::Exit;
use crate::cli::flags::Global;
use crate::cli::layouts::looks_like_registry;
use crate::cli::progress::Bar;
use crate::cli::trust;
use crate::oci::limits::SIGNATURES_MAX;
use crate::oci::{Name, Reference, Scope, causes};
use crate::registry::{Access, Depth, RegistryReference, Remote};
use crate::report::{ScopeOrigin, Verdict};
use crate::sync::{Plan, Pull, Pulled, Root, SyncError, pull};

/// Returns whether the source is a registry, and so the target a layout.
pub(super) fn is_meant(arguments: &Arguments) -> bool {
    let source = arguments.source.as_str();
    let exists = |path: &str| Path::new(path).exists();
    let is_path = Reference::parse(source, &exists).is_ok_and(|reference| exists(&reference.path))
        || ["/", "./", "../"]
            .iter()
            .any(|prefix| source.starts_with(prefix));
    !is_path && looks_like_registry(source)
}

/// Is what is asked for.
struct Wanted {
    from: RegistryReference,
    /// The tag or digest in the registry.
    name: String,
    /// The layout.
    path: String,
    /// The tag there.
    tag: Option<String>,
    scope: Option<Scope>,
}

impl Wanted {
    fn parse(arguments: &Arguments) -> Result<Self, Failure> {
        let usage = |words: String| Failure::usage(words, "write HOST/REPOSITORY:TAG PATH[:TAG]");
        let malformed = |error: &dyn std::error::Error| usage(causes(error));
        let from =
            RegistryReference::parse(&arguments.source).map_err(|error| malformed(&error))?;
        let Some(name) = from.name() else {
            return Err(usage(format!("{from} names no tag and no digest")));
        };
        let exists = |path: &str| Path::new(path).exists();
        let target =
            Reference::parse(&arguments.target, &exists).map_err(|error| malformed(&error))?;
        refuse_what_is_no_folder(&arguments.target, &target.path)?;
        let tag = match (target.name, &from.tag) {
            (Some(Name::Tag(tag)), _) => Some(tag),
            (Some(Name::Digest(_)), _) => {
                return Err(usage("the layout takes a tag, not a digest".to_owned()));
            }
            (None, tag) => tag.clone(),
        };
        let scope = match &arguments.scope {
            None => Scope::parse(&from.scope()).ok(),
            Some(text) => Some(Scope::parse(text).map_err(|error| malformed(&error))?),
        };
        Ok(Self {
            from,
            name,
            path: target.path,
            tag,
            scope,
        })
    }
}

/// Refuses a registry, of whose name a folder would be made, and an archive: what is pulled is a folder.
fn refuse_what_is_no_folder(typed: &str, path: &str) -> Result<(), Failure> {
    let is_declared = ["/", "./", "../"]
        .iter()
        .any(|prefix| typed.starts_with(prefix));
    if !is_declared && !Path::new(path).exists() && looks_like_registry(typed) {
        return Err(Failure::usage(
            format!("{typed} is in a registry too: sync goes from a layout to a registry, or back"),
            format!("pull into a layout first, then push that; or write ./{typed} for a folder"),
        ));
    }
    let is_archive = [".tar", ".tgz", ".gz", ".zst"]
        .iter()
        .any(|end| path.ends_with(end));
    if Path::new(path).is_file() || (is_archive && !Path::new(path).exists()) {
        return Err(Failure::usage(
            format!("{path}: what is pulled is a folder, not an archive"),
            "pull into a folder, then: signetfs export FOLDER OUT.tar",
        ));
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Says why not everything is in the layout now.
pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    let allow: Vec<Verdict> = allowed(&arguments.allow)?;
    let wanted = Wanted::parse(arguments)?;
    let registry =
        arguments
            .connection
            .open(wanted.from.clone(), Access::Pull, &[], &global.config())?;
    let registry = Arc::new(registry);
    let Some(remote) = Remote::open(Arc::clone(&registry), &wanted.name, Depth::Everything)? else {
        let words = format!("{} is not in the registry", wanted.from);
        return Err(Failure::new(
            Exit::CouldNot,
            words,
            "look at the name and the tag",
        ));
    };
    let hashes = arguments.hashes();
    let survey = audit::survey(&remote)?;
    let trust = trust::read(&global.config(), arguments.policy.as_deref());
    let asked = Asked {
        source: &remote,
        trust: &trust,
        scope: wanted.scope.as_ref(),
        scope_origin: ScopeOrigin::Name,
        images: audit::Selection::Digest(remote.root.digest.clone()),
        content: Content::Manifests,
        max_signatures: SIGNATURES_MAX,
        metadata: &BTreeMap::new(),
    };
    let report = audit::judge_survey(&survey, &asked, &hashes, crate::clock::now(), &Bar::new())?;
    if report.verdict().exit_code() != 0 {
        remote.complete()?;
    }
    let admitted = report.admit(&allow).map_err(|refusal| {
        let mut failure = refused(&report, refusal.verdict);
        failure.message = format!(
            "nothing was pulled: the verdict is {}",
            refusal.verdict.token()
        );
        failure.hint = format!(
            "trust whoever signed it, or have it signed; --allow {} pulls it all the same",
            refusal.verdict.token()
        );
        failure
    })?;
    let root = Root {
        descriptor: remote.root.clone(),
        tags: wanted.tag.iter().cloned().collect(),
    };
    let plan =
        Plan::of(&survey.graph, vec![root], arguments.withheld()).map_err(SyncError::Plan)?;
    let it = Pull {
        plan: &plan,
        registry: &registry,
        folder: Path::new(&wanted.path),
        tag: wanted.tag.as_deref(),
        hashes: &hashes,
        jobs: arguments.connection.jobs(),
        admitted: &admitted,
    };
    let pulled = pull(&it, &Bar::named("pulling"))?;
    Ok(render(&it, &pulled, global.form()))
}

fn render(it: &Pull<'_>, pulled: &Pulled, form: Form) -> Answer {
    let place = it.folder.display().to_string();
    let digest = it
        .plan
        .roots
        .first()
        .map(|root| root.descriptor.digest.to_string())
        .unwrap_or_default();
    let referrers: usize = it.plan.referrers.values().map(Vec::len).sum();
    if form == Form::Json {
        return Answer::json(&json!({
            "schema": "signetfs.pull/1",
            "layout": place,
            "digest": digest,
            "tag": it.tag,
            "verdict": it.admitted.report().verdict().token(),
            "blobs": {"fetched": pulled.blobs.sent, "present": pulled.blobs.present, "bytes": pulled.blobs.bytes},
            "manifests": it.plan.manifests.len(),
            "referrers": referrers,
            "entriesAdded": pulled.entries,
            "requests": it.registry.counts().requests,
            "retries": it.registry.counts().retries,
        }));
    }
    Answer::of(format!(
        "pulled {place}@{digest}\nblobs: {} fetched, {} there; {referrers} signatures and other referrers; {} requests, {} bytes\n",
        pulled.blobs.sent,
        pulled.blobs.present,
        it.registry.counts().requests,
        pulled.blobs.bytes
    ))
}
