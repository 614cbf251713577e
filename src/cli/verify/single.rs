//! One image's verdict in notation's words.

use super::super::answer::{Answer, Failure};
use super::super::exit::Exit;
use super::super::layouts::tag_warning;
use super::super::table::table;
use crate::notary::{Action, Check};
use crate::oci::Reference;
use crate::report::{ImageReport, Note, Problem, Report, SignatureReport, Verdict, user_metadata};
use crate::text::escape_typed;

/// Returns notation's lines for the image that the report was cut to.
pub(super) fn answer(reference: &Reference, report: &Report) -> Answer {
    let verdict = super::verdict(report);
    let mut answer = Answer::default();
    answer.warnings.extend(report.notes.iter().map(note));
    answer.warnings.extend(tag_warning("verify", reference));
    let Some(image) = report.images.first() else {
        answer.failure = Some(layout_failure(report, verdict));
        return answer;
    };
    let reference = format!(
        "{}@{}",
        escape_typed(&reference.path),
        image.descriptor.digest
    );
    match verdict {
        Verdict::Verified | Verdict::Accepted => {
            answer.output = format!("Successfully verified signature for {reference}\n");
            if let Some(signature) = passing(image) {
                answer.warnings.extend(logged(signature));
                answer.output.push_str(&metadata(signature));
            }
        }
        Verdict::Skipped => {
            answer.output = format!(
                "Trust policy is configured to skip signature verification for {reference}\n"
            );
        }
        _ => answer.failure = Some(failure(&reference, report, image, verdict)),
    }
    answer
}

fn note(note: &Note) -> String {
    let digest = note.digest.as_ref();
    let digest = digest.map_or_else(String::new, |digest| format!(" {digest}"));
    format!(
        "Warning: {} {}:{digest} {}",
        note.check, note.file, note.text
    )
}

/// Returns the best signature that passes; of equals, the first by digest.
fn passing(image: &ImageReport) -> Option<&SignatureReport> {
    let of = |wanted: Verdict| {
        image
            .signatures
            .iter()
            .find(move |signature| signature.verdict == wanted)
    };
    of(Verdict::Verified).or_else(|| of(Verdict::Accepted))
}

/// Returns one warning for each check that failed and was only logged.
fn logged(signature: &SignatureReport) -> Vec<String> {
    let Some(outcome) = &signature.outcome else {
        return Vec::new();
    };
    outcome
        .checks
        .iter()
        .filter_map(|(kind, check, action)| match (check, action) {
            (Check::Failed(reason), Action::Log) => Some(format!(
                "Warning: {} was set to \"log\" and failed with error: {reason}",
                kind.name()
            )),
            _ => None,
        })
        .collect()
}

fn metadata(signature: &SignatureReport) -> String {
    let metadata = user_metadata(signature);
    if metadata.is_empty() {
        return String::new();
    }
    let mut rows = vec![vec!["KEY".to_owned(), "VALUE".to_owned()]];
    rows.extend(metadata.into_iter().map(|(key, value)| vec![key, value]));
    format!(
        "\nThe artifact was signed with the following user metadata.\n\n{}",
        table(&rows)
    )
}

/// Returns why an image does not pass: what is wrong with content or layout first, as the verdict orders it.
fn failure(reference: &str, report: &Report, image: &ImageReport, verdict: Verdict) -> Failure {
    let problems = || report.problems.iter().chain(&image.problems);
    let hint = problems()
        .find(|problem| problem.verdict == verdict)
        .map(|problem| problem.hint.clone())
        .unwrap_or_default();
    let exit = Exit::Verdict(verdict);
    let artifact = match &report.scope {
        Some(scope) => format!("{scope}@{}", image.descriptor.digest),
        None => reference.to_owned(),
    };
    match verdict {
        Verdict::Unsigned => Failure::new(
            exit,
            format!(
                "signature verification failed: no signature is associated with \"{artifact}\", make sure the artifact was signed successfully"
            ),
            format!("sign it: signetfs sign {reference}"),
        ),
        Verdict::NoPolicy if report.policy.sha256.is_some() => Failure::new(
            exit,
            format!(
                "signature verification failed: artifact \"{artifact}\" has no applicable trust policy statement. Trust policy applicability for a given artifact is determined by registryScopes."
            ),
            "pass the scope that the policy names: --scope DOMAIN/REPOSITORY",
        ),
        Verdict::NoPolicy => Failure::new(
            exit,
            "trust policy is not present",
            "make one: signetfs policy init --trust-store ca:NAME, or import one: signetfs policy import FILE",
        ),
        Verdict::Invalid
        | Verdict::Revoked
        | Verdict::Untrusted
        | Verdict::Expired
        | Verdict::RevocationUnknown
        | Verdict::Unsupported
        | Verdict::Limit => {
            let mut failure = Failure::new(
                exit,
                format!(
                    "signature verification failed for all the signatures associated with {reference}"
                ),
                hint,
            );
            failure.details = reasons(image);
            if failure.details.is_empty() {
                failure.details = problems().map(line).collect();
            }
            failure
        }
        _ => {
            let mut failure = Failure::new(
                exit,
                format!("verification failed for {reference}: {}", verdict.token()),
                hint,
            );
            failure.details = problems()
                .filter(|problem| problem.verdict == verdict)
                .map(line)
                .collect();
            failure
        }
    }
}

/// Returns why a layout without the image does not pass.
fn layout_failure(report: &Report, verdict: Verdict) -> Failure {
    let worst = report
        .problems
        .iter()
        .find(|problem| problem.verdict == verdict);
    let mut failure = Failure::new(
        Exit::Verdict(verdict),
        format!("verification failed: {}", verdict.token()),
        worst
            .map(|problem| problem.hint.clone())
            .unwrap_or_default(),
    );
    failure.details = report.problems.iter().map(line).collect();
    failure
}

/// Returns why each signature was refused.
fn reasons(image: &ImageReport) -> Vec<String> {
    image
        .signatures
        .iter()
        .map(|signature| {
            let refusal = signature
                .outcome
                .as_ref()
                .and_then(|outcome| outcome.refusal());
            let why = match refusal {
                Some((kind, reason)) => format!("{}: {reason}", kind.name()),
                None => "not judged".to_owned(),
            };
            format!(
                "signature {}: {}: {why}",
                signature.manifest.digest,
                signature.verdict.token()
            )
        })
        .collect()
}

fn line(problem: &Problem) -> String {
    let place = match (&problem.file, &problem.digest) {
        (Some(file), _) => format!("{file}: "),
        (None, Some(digest)) => format!("{digest}: "),
        (None, None) => String::new(),
    };
    format!("{place}{}: {}", problem.check, problem.problem)
}
