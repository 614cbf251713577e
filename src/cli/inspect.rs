//! `signetfs inspect`: what the signatures of images say, as notation shows it. Judges nothing by policy.

mod view;

use super::answer::{Answer, Failure, Form};
use super::exit::Exit;
use super::flags::{Global, Reading};
use super::list::{limit_warning, max_signatures, signatures};
use super::{layouts, registries};
use crate::audit::{self, Survey};
use crate::layout::Source;
use crate::notary::{Envelope, IntactEnvelope};
use crate::oci::limits::ENVELOPE_BYTES_MAX;
use crate::oci::{Descriptor, Document, Referrer};
use crate::text::escape_typed;

/// Flags of `inspect`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// PATH (every image), PATH:TAG or PATH@DIGEST
    reference: String,
    /// Form of the answer
    #[arg(
        short,
        long,
        value_name = "text|json",
        default_value = "text",
        hide_default_value = true
    )]
    output: String,
    /// Signatures of one image that are shown
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

/// Is one signature that can be shown.
struct Shown {
    manifest: Descriptor,
    envelope: IntactEnvelope,
}

/// Runs the command.
///
/// # Errors
/// Says why the layout cannot be read.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    let maximum = max_signatures(arguments.max_signatures)?;
    let form = form(&arguments.output, global.form())?;
    let (reference, opened) =
        registries::open(&arguments.reference, &arguments.reading, &global.config())?;
    let survey = audit::survey(opened.source())?;
    let images = layouts::resolve(&survey, &layouts::selection(&reference))?;
    let mut answer = Answer {
        warnings: layouts::overlay_warnings(&survey),
        ..Answer::default()
    };
    answer
        .warnings
        .extend(layouts::tag_warning("inspect", &reference));
    let mut documents = Vec::new();
    for image in &images {
        let name = format!("{}@{}", reference.path, image.digest);
        let mut shown = Vec::new();
        let mut count = 0_usize;
        for signature in signatures(&survey, image) {
            count = count.saturating_add(1);
            if count > maximum {
                break;
            }
            match read(opened.source(), &survey, signature) {
                Ok(envelope) => shown.push(Shown {
                    manifest: signature.descriptor.clone(),
                    envelope,
                }),
                Err(why) => {
                    answer.warnings.push(format!(
                        "Warning: Skipping signature {} because of error: {why}",
                        signature.descriptor.digest
                    ));
                    answer.failure = Some(skipped());
                }
            }
        }
        match form {
            Form::Text => {
                let name = escape_typed(&name);
                answer.output.push_str(&view::text(&name, &shown));
            }
            Form::Json => documents.push(view::json(image, &shown)),
        }
        if count > maximum && form == Form::Text {
            answer.output.push_str(&limit_warning(maximum));
        }
    }
    if form == Form::Json {
        answer.output = view::documents(reference.name.is_some(), documents);
    }
    Ok(answer)
}

fn form(flag: &str, global: Form) -> Result<Form, Failure> {
    match (flag, global) {
        ("json", _) | ("text", Form::Json) => Ok(Form::Json),
        ("text", Form::Text) => Ok(Form::Text),
        (other, _) => Err(Failure::new(
            Exit::CouldNot,
            format!("unrecognized output format {other}"),
            "use --output text or --output json",
        )),
    }
}

fn skipped() -> Failure {
    Failure::new(
        Exit::CouldNot,
        "at least one signature was skipped and not displayed",
        "see what is wrong with it: signetfs verify PATH",
    )
}

/// Reads the envelope of a signature and checks that it is intact.
fn read(
    source: &dyn Source,
    survey: &Survey,
    signature: &Referrer,
) -> Result<IntactEnvelope, String> {
    let Some(Document::Manifest(manifest)) = survey.graph.document(&signature.descriptor.digest)
    else {
        return Err("the signature manifest cannot be read".to_owned());
    };
    let [layer] = manifest.layers.as_slice() else {
        return Err(format!(
            "the signature manifest names {} envelopes, not one",
            manifest.layers.len()
        ));
    };
    let blob = source
        .blob(&layer.digest)
        .map_err(|error| crate::oci::causes(&error))?
        .ok_or_else(|| format!("the envelope {} is missing", layer.digest))?;
    let bytes = crate::signing::read_whole(&blob, layer, ENVELOPE_BYTES_MAX)
        .map_err(|error| crate::oci::causes(&error))?;
    if !layer.digest.matches(&bytes) {
        return Err(format!("the envelope {} has other content", layer.digest));
    }
    Envelope::parse(&layer.media_type, &bytes)
        .and_then(Envelope::check)
        .map_err(|error| crate::oci::causes(&error))
}
