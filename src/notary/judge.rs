//! Judging one signature, without I/O: what is needed is named, gathered by the caller, then judged.

use std::collections::BTreeMap;

use super::identity::Identity;
use super::policy::{SUBJECT_PREFIX, WILDCARD};
use super::words::quote;
use super::{
    Action, Anchors, AnchorsError, Certificate, Check, CheckKind, IntactEnvelope, Outcome, Reason,
    SigningScheme, Statement, StoreType, TimestampRule,
};
use crate::oci::{Descriptor, UnixTime};

/// The attribute that names the plugin a signature must be verified with.
const PLUGIN: &str = "io.cncf.notary.verificationPlugin";
/// The attribute that names the plugin's oldest version; without a plugin it means nothing.
const PLUGIN_VERSION: &str = "io.cncf.notary.verificationPluginMinVersion";

/// Is what a signature is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The envelope.
    pub envelope: &'a IntactEnvelope,
    /// The artifact, as resolved and hashed.
    pub artifact: &'a Descriptor,
    /// The statement that applies.
    pub statement: &'a Statement,
    /// The trust stores.
    pub anchors: &'a Anchors,
    /// User metadata that must be present with these values.
    pub metadata: &'a BTreeMap<String, String>,
    /// The evidence so far.
    pub evidence: &'a Evidence,
}

/// Is evidence gathered for a question: none of it exists yet (OCSP, CRL and TSA chains come later).
#[derive(Debug, Clone, Default)]
pub struct Evidence {}

impl Evidence {
    /// Returns no evidence: offline.
    #[must_use]
    pub fn none() -> Self {
        Self {}
    }
}

/// Is evidence that would help to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {}

/// Is the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The five checks.
    pub outcome: Outcome,
    /// The first moment at which the answer may differ: an expiry or an end or start of validity after `now`.
    pub valid_until: Option<UnixTime>,
}

/// Names the evidence that is still needed; asked until empty.
#[must_use]
pub fn needs(_question: &Question<'_>, _now: UnixTime) -> Vec<Need> {
    Vec::new()
}

/// Judges a signature.
///
/// An enforced failure ends the work, a logged one does not. What no policy can relax (plugins, critical attributes, another artifact,
/// metadata) is a failure of integrity.
#[must_use]
pub fn judge(question: &Question<'_>, now: UnixTime) -> Judgement {
    let mut record = Record::new(question.statement);
    judge_in_order(question, now, &mut record);
    Judgement {
        outcome: Outcome {
            checks: record.checks,
        },
        valid_until: next_boundary(question.envelope, now),
    }
}

/// Returns the outcome of a signature that never became an intact envelope.
#[must_use]
pub fn refuse(statement: &Statement, reason: Reason) -> Judgement {
    let mut record = Record::new(statement);
    let _ends_the_work = record.note(CheckKind::Integrity, Err(reason));
    Judgement {
        outcome: Outcome {
            checks: record.checks,
        },
        valid_until: None,
    }
}

/// Does the checks in notation's order until one ends the work.
fn judge_in_order(question: &Question<'_>, now: UnixTime, record: &mut Record) -> Option<()> {
    record.note(CheckKind::Integrity, attributes(question.envelope))?;
    record.note(CheckKind::Authenticity, authenticity(question))?;
    record.note(CheckKind::Expiry, expiry(question.envelope, now))?;
    record.note(CheckKind::AuthenticTimestamp, timestamp(question, now))?;
    if question.statement.action(CheckKind::Revocation) != Action::Skip {
        record.note(CheckKind::Revocation, revocation(question.envelope))?;
    }
    record.note(CheckKind::Integrity, target(question))
}

/// Holds the checks as they are done.
struct Record {
    checks: [(CheckKind, Check, Action); 5],
}

impl Record {
    /// Returns a record of nothing done.
    fn new(statement: &Statement) -> Self {
        Self {
            checks: statement
                .actions
                .map(|(kind, action)| (kind, Check::Skipped, action)),
        }
    }

    /// Writes down what a check gave; `None` when that ends the work.
    fn note(&mut self, kind: CheckKind, result: Result<(), Reason>) -> Option<()> {
        let (_, check, action) = self
            .checks
            .iter_mut()
            .find(|(known, _, _)| *known == kind)?;
        let fatal = *action == Action::Enforce || kind == CheckKind::Integrity;
        let goes_on = result.is_ok() || !fatal;
        *check = match result {
            Ok(()) => Check::Passed,
            Err(reason) => Check::Failed(Box::new(reason)),
        };
        goes_on.then_some(())
    }
}

/// Refuses what only a plugin could check, and critical attributes that nobody here understands.
fn attributes(envelope: &IntactEnvelope) -> Result<(), Reason> {
    if let Some(plugin) = envelope.attributes.iter().find(|a| a.name == PLUGIN) {
        return Err(Reason::Plugin {
            plugin: plugin.text.clone().unwrap_or_default(),
        });
    }
    let unknown = |name: &str| name != PLUGIN_VERSION;
    match envelope
        .attributes
        .iter()
        .find(|a| a.critical && unknown(&a.name))
    {
        None => Ok(()),
        Some(attribute) => Err(Reason::CriticalAttribute {
            attribute: attribute.name.clone(),
        }),
    }
}

/// Checks that the chain is anchored and the identity trusted; where the first is only logged, the second one's reason replaces it.
fn authenticity(question: &Question<'_>) -> Result<(), Reason> {
    let anchored = anchored(question);
    let enforced = question.statement.action(CheckKind::Authenticity) == Action::Enforce;
    if anchored.is_err() && enforced {
        return anchored;
    }
    identity(question)?;
    anchored
}

/// Checks that a certificate of the chain is in a trust store of the type that the scheme asks for.
fn anchored(question: &Question<'_>) -> Result<(), Reason> {
    let kind = match question.envelope.scheme {
        SigningScheme::X509 => StoreType::Ca,
        SigningScheme::SigningAuthority => StoreType::SigningAuthority,
    };
    let mut trusted: Vec<&Certificate> = Vec::new();
    for store in &question.statement.trust_stores {
        if store.kind != kind {
            continue;
        }
        match question.anchors.stores.get(store) {
            Some(Ok(certificates)) => trusted.extend(certificates),
            Some(Err(error)) => return Err(Reason::Store(error.clone())),
            None => return Err(Reason::Store(AnchorsError::absent(store))),
        }
    }
    if trusted.is_empty() {
        return Err(Reason::NoStore);
    }
    let chain = question.envelope.chain.certificates();
    if chain.iter().any(|member| trusted.contains(&member)) {
        Ok(())
    } else {
        Err(Reason::NotAnchored)
    }
}

/// Checks that the subject of the leaf has a trusted identity.
fn identity(question: &Question<'_>) -> Result<(), Reason> {
    let statement = question.statement;
    if statement.trusted_identities.iter().any(|i| i == WILDCARD) {
        return Ok(());
    }
    let refused = |problem: String| Reason::Identity { problem };
    let names = statement
        .trusted_identities
        .iter()
        .filter_map(|identity| identity.split_once(':'))
        .filter(|(prefix, _)| *prefix == SUBJECT_PREFIX);
    let trusted = names
        .map(|(_, name)| Identity::parse(name).map_err(refused))
        .collect::<Result<Vec<_>, _>>()?;
    let policy = quote(&statement.name);
    if trusted.is_empty() {
        return Err(refused(format!(
            "no x509 trusted identities are configured in the trust policy {policy}"
        )));
    }
    let subject = Identity::parse(&question.envelope.chain.leaf().subject_text());
    let subject = subject.map_err(|problem| {
        refused(format!(
            "error while parsing the certificate subject from the digital signature. error : {}",
            quote(&problem)
        ))
    })?;
    if trusted.iter().any(|identity| identity.is_within(&subject)) {
        return Ok(());
    }
    let listed: Vec<String> = trusted.iter().map(Identity::listed).collect();
    Err(refused(format!(
        "signing certificate from the digital signature does not match the X.509 trusted identities [{}] defined in the trust policy {policy}",
        listed.join(" ")
    )))
}

/// Checks that the expiry, where there is one, is not reached.
fn expiry(envelope: &IntactEnvelope, now: UnixTime) -> Result<(), Reason> {
    match envelope.expiry {
        Some(expiry) if now >= expiry => Err(Reason::Expired { expiry, now }),
        _ => Ok(()),
    }
}

/// Checks that the chain was valid at a time that is authentic: a timestamp's, the present, or a signing authority's.
///
/// Timestamps themselves cannot be checked yet, so one that is asked for never passes.
fn timestamp(question: &Question<'_>, now: UnixTime) -> Result<(), Reason> {
    let envelope = question.envelope;
    match envelope.scheme {
        SigningScheme::SigningAuthority => valid_at(envelope, envelope.signing_time),
        SigningScheme::X509 if !wants_timestamp(question, now) => valid_at(envelope, now),
        SigningScheme::X509 => match &envelope.timestamp {
            Some(token) if !token.is_empty() => Err(Reason::TimestampUnsupported),
            _ => Err(Reason::NoTimestamp),
        },
    }
}

/// Returns whether the policy asks for a timestamp: a `tsa` store is listed and the rule applies now.
fn wants_timestamp(question: &Question<'_>, now: UnixTime) -> bool {
    let stores = &question.statement.trust_stores;
    let listed = stores.iter().any(|store| store.kind == StoreType::Tsa);
    let chain = question.envelope.chain.certificates();
    listed
        && match question.statement.verify_timestamp {
            TimestampRule::Always => true,
            TimestampRule::AfterCertExpiry => chain.iter().any(|member| member.not_after < now),
        }
}

/// Checks that every certificate is valid at `at`, bounds included.
fn valid_at(envelope: &IntactEnvelope, at: UnixTime) -> Result<(), Reason> {
    let invalid = |member: &&Certificate| at < member.not_before || member.not_after < at;
    match envelope.chain.certificates().iter().find(invalid) {
        None => Ok(()),
        Some(member) => Err(Reason::NotValidAt {
            scheme: envelope.scheme,
            subject: member.subject_text(),
            not_before: member.not_before,
            not_after: member.not_after,
            at,
        }),
    }
}

/// Checks that no certificate but the root names a source of revocation, which nobody asks offline.
fn revocation(envelope: &IntactEnvelope) -> Result<(), Reason> {
    let revocable = envelope
        .chain
        .certificates()
        .split_last()
        .map_or(&[][..], |(_root, others)| others);
    match revocable.iter().find(|c| c.has_ocsp || c.has_crl) {
        None => Ok(()),
        Some(member) => Err(Reason::RevocationUnknown {
            subject: member.subject_text(),
        }),
    }
}

/// Checks that the payload names this artifact and carries the metadata asked for; missing metadata is the reason shown of the two.
fn target(question: &Question<'_>) -> Result<(), Reason> {
    let target = match &question.envelope.target {
        Ok(target) => &target.descriptor,
        Err(problem) => {
            return Err(Reason::Payload {
                problem: problem.clone(),
            });
        }
    };
    let has = |(key, value): (&String, &String)| target.annotations.get(key) == Some(value);
    if !question.metadata.iter().all(has) {
        return Err(Reason::Metadata);
    }
    if target.same_content(question.artifact) {
        Ok(())
    } else {
        Err(Reason::OtherArtifact {
            signed: format!(
                "{} ({} bytes, {})",
                target.digest, target.size, target.media_type
            ),
        })
    }
}

/// Returns the first moment after `now` at which expiry or validity changes.
fn next_boundary(envelope: &IntactEnvelope, now: UnixTime) -> Option<UnixTime> {
    let chain: &[Certificate] = match envelope.scheme {
        SigningScheme::X509 => envelope.chain.certificates(),
        SigningScheme::SigningAuthority => &[],
    };
    chain
        .iter()
        .flat_map(|member| [member.not_before, member.not_after.plus(1)])
        .chain(envelope.expiry)
        .filter(|boundary| *boundary > now)
        .min()
}

#[cfg(test)]
mod tests;
