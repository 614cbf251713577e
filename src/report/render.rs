//! The text of a report: `verify-status`. docs/SEMANTICS.md, "verify-status".
//!
//! Line 1 is the token and the only whole line that can be `verified`: every later line holds at least two words, or is a constant.

use std::fmt::Write as _;

use super::{ContentLevel, ImageReport, Note, PolicyOrigin, Problem, Report, ScopeOrigin, Verdict};
use crate::text::{escape_line, escape_word};

/// Is line 2 of every text status: a copy carries the status as plain text.
pub const COPY_WARNING: &str = "# live only on a signetfs mount; in a copy this is plain text";

/// Stands for an empty field.
const EMPTY: &str = "-";

/// Returns the text of `verify-status`.
#[must_use]
pub(super) fn text(report: &Report) -> String {
    let mut out =
        String::with_capacity(512_usize.saturating_add(report.images.len().saturating_mul(256)));
    line(&mut out, format_args!("{}", report.verdict().token()));
    line(&mut out, format_args!("{COPY_WARNING}"));
    header(&mut out, report);
    for image in &report.images {
        image_line(&mut out, report, image);
    }
    line(
        &mut out,
        format_args!("orphans={} extras={}", report.orphans, report.extras),
    );
    out
}

fn header(out: &mut String, report: &Report) {
    line(
        out,
        format_args!(
            "policy={} sha256={} content={} scope={} scope-from={} leases={} refused={}",
            origin_word(report.policy.origin),
            report
                .policy
                .sha256
                .as_ref()
                .map_or_else(|| EMPTY.to_owned(), crate::oci::Digest::hex),
            content_word(report.content),
            scope_field(report),
            scope_origin_word(report.scope_origin),
            yes_or_no(report.leases),
            field(report.refused.as_deref()),
        ),
    );
    if report.policy.shadowed {
        line(
            out,
            format_args!(
                "  note trustpolicy.json - policy: it differs from the trustpolicy.oci.json in force; notation 1.3.2 reads only trustpolicy.json; make both equal or remove one"
            ),
        );
    }
    for note in &report.notes {
        note_line(out, note);
    }
    for problem in &report.problems {
        problem_line(out, problem);
    }
}

/// Writes `  note FILE DIGEST CHECK: TEXT; HINT`.
fn note_line(out: &mut String, note: &Note) {
    let digest = note.digest.as_ref().map(ToString::to_string);
    line(
        out,
        format_args!(
            "  note {} {} {}: {}; {}",
            field(Some(&note.file)),
            field(digest.as_deref()),
            note.check,
            escape_line(&note.text),
            note.hint,
        ),
    );
}

fn image_line(out: &mut String, report: &Report, image: &ImageReport) {
    let good = image
        .signatures
        .iter()
        .filter(|signature| passes(signature.verdict))
        .count();
    line(
        out,
        format_args!(
            "{} {} {} policy={} level={} scope={} signatures={}/{} content={}/{} signer={}",
            image.verdict.word(),
            escape_word(&image.descriptor.digest.to_string()),
            field(image.name.as_deref()),
            field(image.statement.as_deref()),
            image.level.unwrap_or(EMPTY),
            scope_field(report),
            good,
            image.signatures.len(),
            image.content_good,
            image.content_total,
            field(signer(image).as_deref()),
        ),
    );
    for problem in &image.problems {
        problem_line(out, problem);
    }
}

/// Writes `  TOKEN FILE DIGEST CHECK: PROBLEM; HINT`.
fn problem_line(out: &mut String, problem: &Problem) {
    let hint = if problem.hint.is_empty() {
        String::new()
    } else {
        format!("; {}", escape_line(&problem.hint))
    };
    line(
        out,
        format_args!(
            "  {} {} {} {}: {}{hint}",
            problem.verdict.word(),
            field(problem.file.as_deref()),
            problem.digest.as_ref().map_or_else(
                || EMPTY.to_owned(),
                |digest| escape_word(&digest.to_string())
            ),
            problem.check,
            escape_line(&problem.problem),
        ),
    );
}

/// Returns the subject of the certificate behind the first signature that passes.
#[must_use]
pub fn signer(image: &ImageReport) -> Option<String> {
    image
        .signatures
        .iter()
        .filter(|signature| passes(signature.verdict))
        .min_by_key(|signature| std::cmp::Reverse(signature.verdict))
        .and_then(|signature| signature.intact.as_ref())
        .map(|intact| intact.chain.leaf().subject_text())
}

/// Returns whether a signature with this verdict makes its image pass.
#[must_use]
pub fn passes(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Verified | Verdict::Accepted)
}

/// Returns one word for a text that may be empty or absent; a text that is itself `-` is escaped.
fn field(text: Option<&str>) -> String {
    match text {
        None | Some("") => EMPTY.to_owned(),
        Some(EMPTY) => "\\x2d".to_owned(),
        Some(text) => escape_word(text),
    }
}

fn scope_field(report: &Report) -> String {
    field(report.scope.as_ref().map(crate::oci::Scope::as_str))
}

/// Returns the word for where a policy came from.
#[must_use]
pub(super) fn origin_word(origin: PolicyOrigin) -> &'static str {
    match origin {
        PolicyOrigin::None => "none",
        PolicyOrigin::Config => "config",
        PolicyOrigin::Flag => "flag",
        PolicyOrigin::Mount => "mount",
    }
}

/// Returns the word for how much content was judged.
#[must_use]
pub(super) fn content_word(content: ContentLevel) -> &'static str {
    match content {
        ContentLevel::Manifests => "manifests",
        ContentLevel::Full => "full",
    }
}

/// Returns the word for where a scope came from.
#[must_use]
pub(super) fn scope_origin_word(origin: ScopeOrigin) -> &'static str {
    match origin {
        ScopeOrigin::Name => "name",
        ScopeOrigin::Flag => "flag",
    }
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(arguments);
    out.push('\n');
}
