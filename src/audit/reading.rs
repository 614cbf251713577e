//! Reads a layout once: index.json, oci-layout, manifests, listing. Every read has a limit.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::cores::{both, on_all_cores};
use super::{AuditError, Survey};
use crate::layout::{Blob, IndexBytes, Source, SourceError};
use crate::oci::graph::Answer;
use crate::oci::limits::{MANIFEST_BYTES_MAX, OCI_LAYOUT_BYTES_MAX};
use crate::oci::{Descriptor, Fetched, Graph, ImageIndex, JsonError, causes, json};

/// Is the only version of the layout format that notation opens.
const LAYOUT_VERSION: &str = "1.0.0";

/// Bytes of manifests that are read at once; what does not fit is read alone.
const READ_AT_ONCE_BYTES_MAX: u64 = 32 << 20;

/// Tells who reads a layout.
#[derive(Clone, Copy)]
pub(super) enum Reader<'a> {
    /// One who may send its manifests somewhere: their bytes are kept.
    Sender,
    /// One who shows it, and may hold an earlier graph of it to share documents with.
    Viewer(Option<&'a Graph>),
}

/// Reads a layout once.
pub(super) fn survey(source: &dyn Source, reader: Reader<'_>) -> Result<Survey, AuditError> {
    // The index comes first: what it names was stored before it, so the listing holds it.
    let read = read_index(source)?;
    let manifests = match &read {
        Ok((_, Ok(parsed))) => parsed.manifests.len(),
        Ok((_, Err(_))) | Err(_) => 0,
    };
    let (listing, graph) = both(
        manifests,
        || source.listing(),
        || match &read {
            Ok((_, Ok(parsed))) => read_graph(source, parsed, reader),
            Ok((_, Err(_))) | Err(_) => Graph::default(),
        },
    );
    let mut survey = Survey {
        index: None,
        graph,
        listing: listing.map_err(AuditError::Source)?,
        invalid: None,
        unread: false,
        envelopes: Arc::default(),
        closures: OnceLock::new(),
        uncovered: OnceLock::new(),
    };
    match read {
        Ok((index, parsed)) => {
            survey.index = Some(index);
            survey.invalid = parsed.err();
        }
        Err(problem) => survey.invalid = Some(problem),
    }
    if survey.invalid.is_none() {
        let problem = layout_problem(source);
        survey.unread = problem.as_ref().is_some_and(|(_, may_pass)| *may_pass);
        survey.invalid = problem.map(|(problem, _)| problem);
    }
    Ok(survey)
}

type Parsed = Result<ImageIndex, String>;

fn read_index(source: &dyn Source) -> Result<Result<(IndexBytes, Parsed), String>, AuditError> {
    match source.index() {
        Ok(index) => {
            let parsed = ImageIndex::parse(&index.bytes)
                .map_err(|error| format!("index.json: {}", causes(&error)));
            Ok(Ok((index, parsed)))
        }
        Err(
            error @ (SourceError::NotRegular { .. }
            | SourceError::TooLarge { .. }
            | SourceError::NotALayout { .. }
            | SourceError::Archive { .. }),
        ) => Ok(Err(causes(&error))),
        Err(error) => Err(AuditError::Source(error)),
    }
}

/// Reads the manifests, on all cores where they are at hand.
fn read_graph(source: &dyn Source, index: &ImageIndex, reader: Reader<'_>) -> Graph {
    if source.is_remote() {
        let fetch = |descriptor: &Descriptor| fetch(source.blob(&descriptor.digest));
        return Graph::read(index, &mut { fetch });
    }
    Graph::read_many(index, &mut |wanted| {
        let left = AtomicU64::new(READ_AT_ONCE_BYTES_MAX);
        on_all_cores(wanted, &|descriptor| {
            let blob = source.blob(&descriptor.digest);
            let bytes = blob
                .as_ref()
                .ok()
                .and_then(Option::as_ref)
                .map_or(0, Blob::size);
            let take = |left: u64| left.checked_sub(bytes);
            let fits = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
            if fits.is_err() && wanted.len() > 1 {
                return None;
            }
            Some(match reader {
                Reader::Sender => Answer::of(descriptor, None, || fetch(blob)),
                Reader::Viewer(before) => {
                    let known = before.and_then(|before| before.node(&descriptor.digest));
                    Answer::of(descriptor, known, || fetch(blob)).without_bytes()
                }
            })
        })
    })
}

fn fetch(blob: Result<Option<Blob>, SourceError>) -> Fetched {
    match blob {
        Ok(None) => Fetched::Missing,
        Ok(Some(blob)) if blob.size() > MANIFEST_BYTES_MAX => Fetched::TooLarge,
        Ok(Some(blob)) => match read_all(&blob, MANIFEST_BYTES_MAX) {
            Ok(bytes) => Fetched::Bytes(bytes),
            Err(error) => Fetched::Unreadable(error.to_string()),
        },
        Err(error) => Fetched::Unreadable(causes(&error)),
    }
}

/// Says why a JSON file of the root cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It cannot be opened.
    Source(SourceError),
    /// It is over its limit.
    TooLarge(io::Error),
    /// It cannot be read.
    Read(io::Error),
    /// It is no JSON.
    Json(JsonError),
}

impl Unusable {
    /// Returns whether this may be over without anything having changed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Source(error) => error.may_pass(),
            Self::Read(_) => true,
            Self::TooLarge(_) | Self::Json(_) => false,
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => formatter.write_str(&causes(error)),
            Self::TooLarge(error) | Self::Read(error) => error.fmt(formatter),
            Self::Json(error) => error.fmt(formatter),
        }
    }
}

/// Reads a JSON file of the root; `None` where there is none.
pub(super) fn document(
    source: &dyn Source,
    name: &str,
    limit: u64,
) -> Result<Option<Value>, Unusable> {
    let file = source.file(Path::new(name)).map_err(Unusable::Source)?;
    let Some(blob) = file else {
        return Ok(None);
    };
    let bytes = read_all(&blob, limit).map_err(|error| match blob.size() > limit {
        true => Unusable::TooLarge(error),
        false => Unusable::Read(error),
    })?;
    json::parse(&bytes).map(Some).map_err(Unusable::Json)
}

/// Says what is wrong with oci-layout, and whether that may pass; an absent one is fine, as it is for notation.
fn layout_problem(source: &dyn Source) -> Option<(String, bool)> {
    let document = match document(source, "oci-layout", OCI_LAYOUT_BYTES_MAX) {
        Ok(document) => document?,
        Err(error @ Unusable::Source(_)) => return Some((error.to_string(), error.may_pass())),
        Err(error) => return Some((format!("oci-layout: {error}"), error.may_pass())),
    };
    version_problem(&document).map(|problem| (format!("oci-layout: {problem}"), false))
}

fn version_problem(document: &Value) -> Option<String> {
    let variant = |document: &Value| {
        let object = document.as_object()?;
        json::case_variant(object, &["imageLayoutVersion"]).map(str::to_owned)
    };
    if let Some(member) = variant(document) {
        return Some(format!("member {member:?} equals a known one but for case"));
    }
    match document.get("imageLayoutVersion") {
        Some(Value::String(version)) if version == LAYOUT_VERSION => None,
        Some(Value::String(version)) => Some(format!(
            "version {version:?} is not supported, only {LAYOUT_VERSION}"
        )),
        _ => Some("it gives no imageLayoutVersion".to_owned()),
    }
}

/// Reads a whole blob.
///
/// # Errors
/// Returns an error where it has more than `limit` bytes, ends early or cannot be read.
pub(super) fn read_all(blob: &Blob, limit: u64) -> io::Result<Arc<[u8]>> {
    if blob.size() > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        ));
    }
    match blob {
        Blob::Bytes(bytes) => Ok(Arc::clone(bytes)),
        Blob::File { .. } => blob.read_all(limit).map(Arc::from),
    }
}
