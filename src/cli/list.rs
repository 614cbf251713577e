//! `signetfs list`: the signatures of images, as notation lists them. Verifies nothing.

use serde_json::json;

use super::answer::{Answer, Failure, Form};
use super::exit::Exit;
use super::flags::{Global, Reading};
use super::table::Tree;
use super::{layouts, registries};
use crate::audit::{self, Survey};
use crate::oci::limits::SIGNATURES_MAX;
use crate::oci::media_type::NOTARY_SIGNATURE;
use crate::oci::{Descriptor, Referrer};
use crate::text::escape_typed;

/// Flags of `list`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// PATH (every image), PATH:TAG or PATH@DIGEST
    reference: String,
    /// Signatures of one image that are listed
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        allow_hyphen_values = true
    )]
    max_signatures: i64,
    #[command(flatten)]
    reading: Reading,
}

/// Runs the command.
///
/// # Errors
/// Says why the layout cannot be listed.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    let maximum = max_signatures(arguments.max_signatures)?;
    let (reference, opened) =
        registries::open(&arguments.reference, &arguments.reading, &global.config())?;
    let survey = audit::survey(opened.source())?;
    let images = layouts::resolve(&survey, &layouts::selection(&reference))?;
    let mut answer = match global.form() {
        Form::Text => {
            let mut output = String::new();
            for image in &images {
                output.push_str(&tree(&survey, image, &reference.path, maximum));
            }
            Answer::of(output)
        }
        Form::Json => {
            let entries: Vec<_> = images
                .iter()
                .map(|image| {
                    let digests: Vec<String> = signatures(&survey, image)
                        .take(maximum)
                        .map(|signature| signature.descriptor.digest.to_string())
                        .collect();
                    json!({
                        "reference": format!("{}@{}", reference.path, image.digest),
                        "signatures": digests,
                    })
                })
                .collect();
            Answer::json(&json!({ "schema": "signetfs.list/1", "images": entries }))
        }
    };
    answer.warnings = layouts::overlay_warnings(&survey);
    answer
        .warnings
        .extend(layouts::tag_warning("list", &reference));
    Ok(answer)
}

/// Returns the limit that a flag gives.
///
/// # Errors
/// Refuses what is not positive, in notation's words.
pub fn max_signatures(flag: i64) -> Result<usize, Failure> {
    match usize::try_from(flag) {
        Ok(maximum @ 1..) => Ok(maximum),
        _ => Err(Failure::new(
            Exit::CouldNot,
            format!("max-signatures value {flag} must be a positive number"),
            format!("leave it out for {SIGNATURES_MAX}"),
        )),
    }
}

/// Returns the signatures of an image, sorted by digest.
pub fn signatures<'a>(
    survey: &'a Survey,
    image: &Descriptor,
) -> impl Iterator<Item = &'a Referrer> {
    survey
        .graph
        .referrers(&image.digest)
        .iter()
        .filter(|referrer| referrer.artifact_type.as_deref() == Some(NOTARY_SIGNATURE))
}

fn tree(survey: &Survey, image: &Descriptor, path: &str, maximum: usize) -> String {
    let root = format!("{}@{}", escape_typed(path), image.digest);
    let mut found = signatures(survey, image).peekable();
    if found.peek().is_none() {
        return format!("{root} has no associated signature\n");
    }
    let mut tree = Tree::new(root);
    let kind = tree.add(NOTARY_SIGNATURE);
    let mut count = 0_usize;
    for signature in found {
        if count < maximum {
            kind.add(signature.descriptor.digest.to_string());
        }
        count = count.saturating_add(1);
    }
    let mut text = tree.render();
    if count > maximum {
        text.push_str(&limit_warning(maximum));
    }
    text
}

/// Returns notation's line for a list that was cut.
#[must_use]
pub fn limit_warning(maximum: usize) -> String {
    format!("Warning: exceeded configured limit of max signatures {maximum} to examine\n")
}
