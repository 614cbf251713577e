//! The signatures of one image: found, read, judged. One broken signature never hides a good one.

use std::sync::Arc;

use super::content::blob_path;
use super::court::Court;
use super::envelopes;
use super::room::Room;
use super::standing::Standing;
use crate::notary::judge::refuse;
use crate::notary::{
    Action, Check, CheckKind, EnvelopeFormat, Evidence, IntactEnvelope, Judgement, Question,
    Reason, judge,
};
use crate::oci::limits::ENVELOPE_BYTES_MAX;
use crate::oci::{Descriptor, Document, Image, ImageManifest, Referrer, UnixTime, media_type};
use crate::report::verdict::step;
use crate::report::{Problem, SignatureReport, Verdict, reason_text};

/// Is what was found about the signatures of one image.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// The signatures, sorted by the digest of their manifest.
    pub(super) signatures: Vec<SignatureReport>,
    /// What they make of the image.
    pub(super) verdict: Verdict,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
    /// The first moment at which this may differ.
    pub(super) valid_until: Option<UnixTime>,
}

impl Judged {
    /// Returns what is said of a root that is not judged, because all roots before it took up the room.
    pub(super) fn beyond() -> Self {
        Self {
            signatures: Vec::new(),
            verdict: Verdict::Limit,
            problems: Vec::new(),
            valid_until: None,
        }
    }
}

/// Is the signatures that name one image.
pub(super) struct Found<'a> {
    candidates: Vec<Candidate<'a>>,
    /// How many name its digest, but not with its size and type.
    misfits: usize,
}

/// Is a signature manifest of an image.
struct Candidate<'a> {
    referrer: &'a Referrer,
    manifest: &'a ImageManifest,
    fate: Fate,
}

/// Says what is done about a signature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is judged, and all of it is kept for the report.
    Kept,
    /// It is judged; for the report its bytes are not kept, nor what they say unless it passes.
    Judged,
    /// It is not judged: a limit.
    Unread,
}

/// Returns the signatures of an image, in every form that may be read, sorted by digest.
pub(super) fn find<'a>(court: &Court<'a>, image: &Image, room: &mut Room) -> Found<'a> {
    let graph = &court.survey.graph;
    let artifact = &image.descriptor;
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    let mut misfits = 0_usize;
    for referrer in graph.referrers(&artifact.digest) {
        let Some(Document::Manifest(manifest)) = graph.document(&referrer.descriptor.digest) else {
            continue;
        };
        if !referrer.is_signature() || !may_be_signature(&referrer.descriptor.media_type) {
            continue;
        }
        if image.untyped || !referrer.subject.same_content(artifact) {
            misfits = misfits.saturating_add(1);
        } else {
            let fate = match candidates.len() < court.asked.max_signatures {
                true => fate(manifest, room),
                false => Fate::Unread,
            };
            candidates.push(Candidate {
                referrer,
                manifest,
                fate,
            });
        }
    }
    Found {
        candidates,
        misfits,
    }
}

fn fate(manifest: &ImageManifest, room: &mut Room) -> Fate {
    let bytes = match manifest.layers.as_slice() {
        // A larger one is refused unread.
        [layer] if layer.size <= ENVELOPE_BYTES_MAX => layer.size,
        _ => 0,
    };
    match (room.read(bytes), room.keep(bytes)) {
        (false, _) => Fate::Unread,
        (true, true) => Fate::Kept,
        (true, false) => Fate::Judged,
    }
}

fn may_be_signature(kind: &str) -> bool {
    matches!(
        kind,
        media_type::IMAGE_MANIFEST | media_type::ARTIFACT_MANIFEST
    )
}

/// Judges the signatures of one image.
pub(super) fn judge_all(court: &Court<'_>, artifact: &Descriptor, found: &Found<'_>) -> Judged {
    let candidates = &found.candidates;
    let mut out = Judged {
        signatures: Vec::with_capacity(candidates.len()),
        verdict: Verdict::Unsigned,
        problems: Vec::new(),
        valid_until: None,
    };
    let mut furthest: Option<(u8, Verdict)> = None;
    let mut unread_count = 0_usize;
    for candidate in candidates {
        if candidate.fate == Fate::Unread {
            unread_count = unread_count.saturating_add(1);
            out.signatures.push(unread(candidate));
            continue;
        }
        let (mut report, judgement) = judge_one(court, artifact, candidate);
        if let Some(Judgement {
            outcome,
            valid_until,
        }) = judgement
        {
            out.valid_until = earlier(out.valid_until, valid_until);
            if let Some((_, reason)) = outcome.refusal() {
                let reached = (step(reason), report.verdict);
                if furthest.is_none_or(|known| reached.0 > known.0) {
                    furthest = Some(reached);
                }
            }
        }
        tell(court, &mut out.problems, &report);
        if candidate.fate == Fate::Judged {
            forget(&mut report);
        }
        out.signatures.push(report);
    }
    out.verdict = verdict(court, &out.signatures, furthest, unread_count > 0);
    if unread_count > 0 {
        out.problems.push(too_many(candidates.len(), unread_count));
    }
    if candidates.is_empty() && found.misfits > 0 {
        out.problems.push(misfit(artifact, found.misfits));
    }
    out
}

/// Drops the bytes of a signature, and what they say unless it passes.
fn forget(report: &mut SignatureReport) {
    report.bytes = None;
    if !matches!(report.verdict, Verdict::Verified | Verdict::Accepted) {
        report.intact = None;
    }
}

fn verdict(
    court: &Court<'_>,
    signatures: &[SignatureReport],
    furthest: Option<(u8, Verdict)>,
    some_unread: bool,
) -> Verdict {
    match &court.standing {
        Standing::Skip(_) => Verdict::Skipped,
        _ if signatures.is_empty() => Verdict::Unsigned,
        Standing::NoPolicy { .. } => Verdict::NoPolicy,
        Standing::Statement(_) => {
            let best = signatures.iter().map(|signature| signature.verdict).max();
            match best {
                Some(passing @ (Verdict::Verified | Verdict::Accepted)) => passing,
                _ if some_unread => Verdict::Limit,
                _ => furthest.map_or(Verdict::Invalid, |(_, verdict)| verdict),
            }
        }
    }
}

fn judge_one(
    court: &Court<'_>,
    artifact: &Descriptor,
    found: &Candidate<'_>,
) -> (SignatureReport, Option<Judgement>) {
    let mut report = unread(found);
    let opened = open(court, found, &mut report);
    let statement = match &court.standing {
        Standing::Statement(statement) => *statement,
        Standing::Skip(_) | Standing::NoPolicy { .. } => {
            report.verdict = match &opened {
                Ok(_) => court.standing.unjudged(),
                Err(_) => Verdict::Invalid,
            };
            report.intact = opened.ok();
            return (report, None);
        }
    };
    let judgement = match opened {
        Err(reason) => refuse(statement, reason),
        Ok(intact) => {
            let judgement = judge(
                &Question {
                    envelope: &intact,
                    artifact,
                    statement,
                    anchors: &court.asked.trust.anchors,
                    metadata: court.asked.metadata,
                    evidence: &Evidence::none(),
                },
                court.now,
            );
            report.intact = Some(intact);
            judgement
        }
    };
    report.verdict = Verdict::of_outcome(&judgement.outcome);
    report.outcome = Some(judgement.outcome.clone());
    (report, Some(judgement))
}

/// Reads an envelope and finds it intact, or says why not.
fn open(
    court: &Court<'_>,
    found: &Candidate<'_>,
    report: &mut SignatureReport,
) -> Result<Arc<IntactEnvelope>, Reason> {
    let [layer] = found.manifest.layers.as_slice() else {
        return Err(refused(format!(
            "the signature manifest must have exactly one envelope, it has {}",
            found.manifest.layers.len()
        )));
    };
    let bytes = envelopes::read(court, layer).map_err(refused)?;
    report.bytes = Some(Arc::clone(&bytes));
    let name = (&layer.digest, &*layer.media_type);
    let envelopes = &court.survey.envelopes;
    envelopes
        .open(name, &bytes, &court.chains)
        .map_err(Reason::Envelope)
}

fn refused(problem: String) -> Reason {
    Reason::Manifest { problem }
}

/// Returns the report of a signature that was not read.
fn unread(found: &Candidate<'_>) -> SignatureReport {
    let envelope = match found.manifest.layers.as_slice() {
        [layer] => Some(layer.clone()),
        _ => None,
    };
    SignatureReport {
        manifest: found.referrer.descriptor.clone(),
        format: envelope
            .as_ref()
            .and_then(|layer| EnvelopeFormat::from_media_type(&layer.media_type)),
        envelope,
        bytes: None,
        intact: None,
        outcome: None,
        verdict: Verdict::Limit,
        plain: found.referrer.plain,
    }
}

/// Adds a problem for every check of a signature that failed.
fn tell(court: &Court<'_>, problems: &mut Vec<Problem>, report: &SignatureReport) {
    let is_withheld = court.asked.source.is_remote() && report.bytes.is_none();
    let mut add = |verdict, check, problem, hint: &str| {
        problems.push(Problem {
            verdict,
            file: blob_path(&report.manifest.digest),
            digest: Some(report.manifest.digest.clone()),
            check,
            problem,
            hint: hint.to_owned(),
        });
    };
    let Some(outcome) = &report.outcome else {
        if report.verdict == Verdict::Invalid {
            let problem = "the signature is broken".to_owned();
            add(
                Verdict::Invalid,
                CheckKind::Integrity.name(),
                problem,
                hint(Verdict::Invalid),
            );
        }
        return;
    };
    let refusal = outcome.refusal().map(|(kind, _)| kind);
    for (kind, check, action) in &outcome.checks {
        let Check::Failed(reason) = check else {
            continue;
        };
        // A failure of what is wanted outranks its action: integrity counts at every level.
        let verdict = if refusal == Some(*kind) || *action == Action::Enforce {
            Verdict::of_reason(reason)
        } else {
            Verdict::Accepted
        };
        let hint = match &**reason {
            Reason::Metadata => "ask for what it holds: signetfs inspect shows it",
            Reason::Manifest { .. } if is_withheld && report.envelope.is_some() => {
                "the registry does not serve what its digests name: push the image with its signatures again, or ask who runs it"
            }
            _ => hint(verdict),
        };
        add(verdict, kind.name(), reason_text(reason), hint);
    }
}

fn hint(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "only logged by the trust policy",
        Verdict::Untrusted => {
            "add the signer's root certificate or identity to the trust policy, if you trust it"
        }
        Verdict::Expired => "sign again",
        Verdict::RevocationUnknown => {
            "override revocation in the trust policy, if that is acceptable"
        }
        Verdict::Unsupported => "verify with a tool that supports it",
        Verdict::Revoked => "sign again with another key",
        _ => "sign again; this signature proves nothing",
    }
}

fn too_many(count: usize, unread: usize) -> Problem {
    let judged = count.saturating_sub(unread);
    Problem {
        verdict: Verdict::Limit,
        file: None,
        digest: None,
        check: "signatures",
        problem: format!("it has {count} signatures; the first {judged} by digest were judged"),
        hint: "remove signatures or pass --max-signatures".to_owned(),
    }
}

fn misfit(artifact: &Descriptor, count: usize) -> Problem {
    Problem {
        verdict: Verdict::Unsigned,
        file: Some("index.json".to_owned()),
        digest: Some(artifact.digest.clone()),
        check: "subject",
        problem: format!(
            "{count} signatures name this digest, but not with the size and media type that index.json gives it"
        ),
        hint: "correct the entry of index.json".to_owned(),
    }
}

/// Returns the earlier of two moments, where there are any.
pub(super) fn earlier(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    [one, other].into_iter().flatten().min()
}
