//! What is pushed: a layout or a mount of one, read once, judged, planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Arguments;
use super::mounted;
use crate::audit::{self, Asked, Content, PolicyState, Selection, Survey, Trust};
use crate::cli::answer::Failure;
use crate::cli::exit::Exit;
use crate::cli::flags::Global;
use crate::cli::layouts::{self, Kind, Layout};
use crate::cli::progress::Bar;
use crate::cli::trust;
use crate::layout::Hashes;
use crate::oci::limits::SIGNATURES_MAX;
use crate::oci::{Name, Reference, Scope};
use crate::registry::name::is_tag;
use crate::registry::{Depth, Registry, RegistryReference, Remote};
use crate::report::{Report, ScopeOrigin, Verdict};
use crate::sync::plan::Withheld;
use crate::sync::{Plan, Root, SyncError};

/// Is what is pushed.
pub(super) struct Source {
    /// The layout.
    pub(super) layout: Layout,
    /// What is known of its blobs.
    pub(super) hashes: Hashes,
    reference: Reference,
    survey: Survey,
    trust: Trust,
    scope: (Option<Scope>, ScopeOrigin),
}

impl Source {
    /// Opens and reads what the arguments name.
    ///
    /// # Errors
    /// Says why it cannot be read.
    pub(super) fn open(arguments: &Arguments, global: &Global) -> Result<Self, Failure> {
        crate::cli::stdin::require_scope(&arguments.source, arguments.scope.as_deref())?;
        let reference = layouts::reference(&arguments.source, Kind::Layout)?;
        let behind = mounted::open(&reference.path, arguments.overlay.as_deref())?;
        let (layout, mounted) = (behind.layout, behind.mounted);
        let hashes = arguments.hashes();
        let survey = audit::survey(layout.source())?;
        let trust = match (&mounted, &arguments.policy) {
            (Some(mounted), None) => mounted.trust(&global.config()),
            (_, policy) => trust::read(&global.config(), policy.as_deref()),
        };
        let own_scope = mounted
            .as_ref()
            .and_then(|mounted| mounted.scope.as_deref());
        let flag = arguments.scope.as_deref().or(own_scope);
        let scope = layouts::scope(&reference.path, flag)?;
        Ok(Self {
            layout,
            hashes,
            reference,
            survey,
            trust,
            scope,
        })
    }

    /// Judges the images that the reference selects: manifests and signatures, layers while they are sent.
    ///
    /// # Errors
    /// Says why nothing could be decided.
    pub(super) fn judge(&self) -> Result<Report, Failure> {
        let asked = Asked {
            source: self.layout.source(),
            trust: &self.trust,
            scope: self.scope.0.as_ref(),
            scope_origin: self.scope.1,
            images: layouts::selection(&self.reference),
            content: Content::Manifests,
            max_signatures: SIGNATURES_MAX,
            metadata: &BTreeMap::new(),
        };
        let now = crate::clock::now();
        Ok(audit::judge_survey(
            &self.survey,
            &asked,
            &self.hashes,
            now,
            &Bar::new(),
        )?)
    }

    /// Plans the push.
    ///
    /// # Errors
    /// Says what cannot be pushed.
    pub(super) fn plan(
        &self,
        target: &RegistryReference,
        withheld: Withheld,
    ) -> Result<Plan, Failure> {
        let roots = roots(&self.survey, &self.reference, target)?;
        Ok(Plan::of(&self.survey.graph, roots, withheld).map_err(SyncError::Plan)?)
    }

    /// Says before anything is sent what will be missing, and what a verifier at the other end will say.
    pub(super) fn foreseen(&self, target: &RegistryReference, plan: &Plan) -> Vec<String> {
        let mut warnings = layouts::ignored_in_overlay(&self.survey);
        warnings.extend(plan.withheld.iter().map(|layer| {
            let digest = &layer.digest;
            format!("layer {digest} is not to be distributed and stays here (--include-nondistributable pushes it)")
        }));
        let scope = target.scope();
        let parsed = Scope::parse(&scope).ok();
        if let PolicyState::Valid(policy) = &self.trust.policy
            && parsed
                .and_then(|scope| policy.statement(&scope).map(|_| ()))
                .is_none()
        {
            warnings.push(format!(
                "the trust policy has no statement for {scope}: notation will refuse the image there; {}",
                statement_for(&scope)
            ));
        }
        warnings
    }

    /// Verifies what was pushed as somebody would who finds it in the registry; returns what does not pass.
    ///
    /// # Errors
    /// Says why nothing could be decided.
    pub(super) fn verify_there(
        &self,
        registry: &Arc<Registry>,
        plan: &Plan,
    ) -> Result<Option<Failure>, Failure> {
        let place = registry.reference.scope();
        let scope = Scope::parse(&place).ok();
        for root in &plan.roots {
            let digest = root.descriptor.digest.to_string();
            let name = root.tags.first().unwrap_or(&digest);
            let Some(remote) = Remote::open(Arc::clone(registry), name, Depth::Image)? else {
                return Ok(Some(Failure::new(
                    Exit::NotDiscoverable,
                    format!(
                        "{} is not in the registry after the push",
                        registry.named(name)
                    ),
                    "run the same command again",
                )));
            };
            let asked = Asked {
                source: &remote,
                trust: &self.trust,
                scope: scope.as_ref(),
                scope_origin: ScopeOrigin::Name,
                images: Selection::Digest(root.descriptor.digest.clone()),
                content: Content::Manifests,
                max_signatures: SIGNATURES_MAX,
                metadata: &BTreeMap::new(),
            };
            let report = audit::audit(&asked, &self.hashes, crate::clock::now(), &Bar::new())?;
            if report.verdict().exit_code() != 0 {
                remote.complete()?;
                let mut failure = refused(&report, report.verdict());
                failure.message = format!(
                    "pushed, but in the registry the verdict of {} is {}",
                    registry.named(name),
                    report.verdict().token()
                );
                failure.hint = format!("{}, or sign for it", statement_for(&place));
                return Ok(Some(failure));
            }
        }
        Ok(None)
    }
}

/// Returns what makes a statement of the trust policy apply to a repository. An address of IPv6 is no scope.
fn statement_for(place: &str) -> String {
    match Scope::parse(place) {
        Ok(scope) => format!("add {scope} to the registryScopes of the trust policy"),
        Err(_) => "no scope can name it but \"*\": use a name of the registry's host".to_owned(),
    }
}

/// Returns why nothing was pushed: the verdict, with everything that led to it.
pub(super) fn refused(report: &Report, verdict: Verdict) -> Failure {
    let mut failure = Failure::new(
        Exit::Verdict(verdict),
        format!("nothing was pushed: the verdict is {}", verdict.token()),
        format!(
            "sign it, or set the trust policy; --allow {} pushes it all the same",
            verdict.token()
        ),
    );
    if verdict.exit_code() == 0 {
        failure.exit = Exit::CouldNot;
    }
    failure.details = report.text().lines().skip(2).map(str::to_owned).collect();
    failure
}

/// Returns the images with the tags they get.
fn roots(
    survey: &Survey,
    reference: &Reference,
    target: &RegistryReference,
) -> Result<Vec<Root>, Failure> {
    let selection = layouts::selection(reference);
    let images = layouts::resolve(survey, &selection)?;
    if let (Some(tag), 2..) = (&target.tag, images.len()) {
        return Err(Failure::usage(
            format!(
                "the layout has {} images, and :{tag} is one tag",
                images.len()
            ),
            "name one image: PATH:TAG, or leave the tag of the target out to push each under its own",
        ));
    }
    images
        .into_iter()
        .map(|descriptor| {
            let tags = match (&target.tag, &reference.name) {
                (Some(tag), _) => vec![tag.clone()],
                (None, Some(Name::Tag(tag))) => vec![own_tag(tag)?],
                (None, Some(Name::Digest(_))) => Vec::new(),
                (None, None) => {
                    let names = survey
                        .graph
                        .images
                        .iter()
                        .filter(|image| image.descriptor.digest == descriptor.digest);
                    let mut tags = names
                        .filter_map(|image| image.name.as_deref())
                        .map(own_tag)
                        .collect::<Result<Vec<_>, _>>()?;
                    tags.sort();
                    tags.dedup();
                    tags
                }
            };
            Ok(Root { descriptor, tags })
        })
        .collect()
}

/// Returns the tag in a name of the layout, which may be a whole image name.
fn own_tag(name: &str) -> Result<String, Failure> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.rsplit_once(':').map_or(last, |(_, tag)| tag);
    match is_tag(tag) && (name == tag || name.contains(':')) {
        true => Ok(tag.to_owned()),
        false => Err(Failure::usage(
            format!("{name:?} is not a tag that registries take"),
            "name the tag of the target: HOST/REPOSITORY:TAG",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scope_is_advised_that_a_policy_may_not_hold() {
        let named = statement_for("r.example:5000/a");
        assert!(named.contains("add r.example:5000/a to"), "{named}");
        for place in ["[::1]:5000/a", "[fe80::1]/a"] {
            let advice = statement_for(place);
            assert!(!advice.contains(place), "{advice}");
            assert!(advice.contains("\"*\""), "{advice}");
        }
    }
}
