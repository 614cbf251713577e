//! `signetfs sign`: always adds a signature, as notation does.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::answer::{Answer, Failure, Form};
use super::duration::expiry_seconds;
use super::exit::Exit;
use super::flags::{Foreign, Global, Reading, pairs};
use super::layouts::{self, Layout};
use super::progress::Bar;
use crate::audit::{self, AuditError, Survey};
use crate::layout::{IndexBytes, Source, Timestamp};
use crate::notary::EnvelopeFormat;
use crate::oci::{Name, Reference};
use crate::settings::{LastChain, load_signer_outside, read_preferences};
use crate::signing::{Children, Job, Repeat, Request, Signed, Threads, sign};
use crate::text::escape_typed;

/// How long one who writes index.json in place is waited for, and how long it is left alone each time.
const WRITER_GRACE: Duration = Duration::from_secs(2);
const WRITING: Duration = Duration::from_millis(20);

/// Flags of `sign`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// PATH (every image), PATH:TAG or PATH@DIGEST
    reference: String,
    /// Name of the signing key (default: the default key)
    #[arg(short, long)]
    key: Option<String>,
    /// Envelope format (default: signatureFormat of config.json, else jws)
    #[arg(long, value_name = "jws|cose")]
    signature_format: Option<String>,
    /// Time until the signature expires, such as 24h
    #[arg(short, long, allow_hyphen_values = true)]
    expiry: Option<String>,
    /// {key}={value} that is signed along; may be repeated
    #[arg(short = 'm', long, value_name = "KEY=VALUE")]
    user_metadata: Vec<String>,
    /// Sign every platform manifest below an index too
    #[arg(long)]
    recursive: bool,
    /// Threads that hash (1: all work on one thread)
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true")]
    force_referrers_tag: bool,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    foreign: Foreign,
}

/// Runs the command.
///
/// # Errors
/// Says why nothing was signed; the layout is then unchanged.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    arguments.foreign.refuse()?;
    let request = request(arguments, global)?;
    let reference = layouts::reference(&arguments.reference, arguments.reading.kind())?;
    let request = Request {
        images: layouts::selection(&reference),
        ..request
    };
    let layout = Layout::open_with(&reference.path, arguments.reading.overlay())?;
    // From here on a key is in memory; where this fails, it is read all the same.
    let _ = crate::sys::secrecy::forbid_core_dumps();
    let (signer, warnings) = load_signer_outside(
        Path::new(&reference.path),
        &global.config(),
        arguments.key.as_deref(),
        &LastChain::default(),
    )?;
    let hashes = arguments.reading.hashes();
    let survey = survey_once_written(layout.source())?;
    let job = Job {
        store: layout.store()?,
        survey: &survey,
        signer: &signer,
        request: &request,
        hashes: &hashes,
        threads: match arguments.jobs {
            Some(0 | 1) => Threads::One,
            _ => Threads::Many,
        },
    };
    let signed = sign(&job, crate::clock::now(), &Bar::new())?;
    // Nothing depends on what is remembered.
    let _ = hashes.save();
    let mut answer = answer((&reference, layout.overlay()), &signed, global.form());
    answer.warnings = layouts::overlay_warnings(&survey);
    answer.warnings.extend(warnings);
    answer
        .warnings
        .extend(overlay_note(arguments, &reference, &layout));
    answer.warnings.extend(tag_warning(&reference));
    Ok(answer)
}

/// Surveys a layout; where its index.json does not parse and just changed, somebody may be writing it in place, and is waited for.
fn survey_once_written(source: &dyn Source) -> Result<Survey, AuditError> {
    let begun = Instant::now();
    loop {
        let survey = audit::survey(source)?;
        let index = survey.index.as_ref().filter(|_| survey.invalid.is_some());
        let is_young = |index: &IndexBytes| {
            let age = Timestamp::now()
                .seconds
                .saturating_sub(index.facts.changed.seconds);
            u64::try_from(age).is_ok_and(|age| age <= WRITER_GRACE.as_secs())
        };
        if !index.is_some_and(is_young) || begun.elapsed() >= WRITER_GRACE {
            return Ok(survey);
        }
        std::thread::sleep(WRITING);
    }
}

fn request(arguments: &Arguments, global: &Global) -> Result<Request, Failure> {
    let format = match arguments.signature_format.as_deref() {
        None => read_preferences(&global.config())?
            .signature_format
            .unwrap_or(EnvelopeFormat::Jws),
        Some("jws") => EnvelopeFormat::Jws,
        Some("cose") => EnvelopeFormat::Cose,
        Some(other) => {
            return Err(Failure::new(
                Exit::CouldNot,
                format!("signature format {other:?} is not supported"),
                "use --signature-format jws or --signature-format cose",
            ));
        }
    };
    let expiry_seconds = match &arguments.expiry {
        None => None,
        Some(text) => expiry_seconds(text)
            .map_err(|error| Failure::because(&error, "write it like --expiry 24h"))?,
    };
    Ok(Request {
        images: audit::Selection::All,
        format,
        expiry_seconds,
        metadata: pairs("user-metadata", &arguments.user_metadata)?,
        children: match arguments.recursive {
            true => Children::Recursive,
            false => Children::No,
        },
        repeat: Repeat::Another,
    })
}

/// Says where the signatures are that are not in the layout itself.
fn overlay_note(arguments: &Arguments, reference: &Reference, layout: &Layout) -> Option<String> {
    let overlay = layout.overlay()?.display();
    let path = &reference.path;
    let flag = arguments
        .reading
        .overlay()
        .map_or_else(String::new, |overlay| {
            format!("--overlay {} ", overlay.display())
        });
    Some(format!(
        "signetfs: note: the signatures of {path} are in {overlay}; to write both as one tar: signetfs export {flag}{path} OUT.tar"
    ))
}

/// Returns notation's warning about signing by tag.
fn tag_warning(reference: &Reference) -> Option<String> {
    match &reference.name {
        Some(Name::Tag(tag)) => Some(format!(
            "Warning: Always sign the artifact using digest(@sha256:...) rather than a tag(:{tag}) because tags are mutable and a tag reference can point to a different artifact than the one signed."
        )),
        _ => None,
    }
}

fn answer(
    (reference, overlay): (&Reference, Option<&Path>),
    signed: &Signed,
    form: Form,
) -> Answer {
    let path = &reference.path;
    match form {
        Form::Text => {
            let path = escape_typed(path);
            let added = signed.added.iter();
            let lines = added
                .map(|(artifact, _)| format!("Successfully signed {path}@{}\n", artifact.digest));
            Answer::of(lines.collect())
        }
        Form::Json => {
            let entries: Vec<_> = signed
                .added
                .iter()
                .map(|(artifact, signature)| {
                    json!({
                        "reference": format!("{path}@{}", artifact.digest),
                        "mediaType": artifact.media_type,
                        "digest": artifact.digest.to_string(),
                        "size": artifact.size,
                        "signature": signature.to_string(),
                    })
                })
                .collect();
            let overlay = overlay.map(|path| path.display().to_string());
            Answer::json(
                &json!({ "schema": "signetfs.sign/1", "overlay": overlay, "signed": entries }),
            )
        }
    }
}
