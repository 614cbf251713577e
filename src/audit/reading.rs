//! Reads a layout once: index.json, oci-layout, manifests, listing. Every read has a limit.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::{AuditError, Survey};
use crate::layout::{Blob, IndexBytes, Source, SourceError};
use crate::oci::limits::{MANIFEST_BYTES_MAX, OCI_LAYOUT_BYTES_MAX};
use crate::oci::{Fetched, Graph, ImageIndex, json};

/// Is the only version of the layout format that notation opens.
const LAYOUT_VERSION: &str = "1.0.0";

/// Reads a layout once.
pub(super) fn survey(source: &dyn Source) -> Result<Survey, AuditError> {
    // The index comes first: what it names was stored before it, so the listing holds it.
    let read = read_index(source)?;
    let listing = source.listing().map_err(AuditError::Source)?;
    let mut survey = Survey {
        index: None,
        graph: Graph::default(),
        listing,
        invalid: None,
        envelopes: Arc::default(),
    };
    match read {
        Ok((index, parsed)) => {
            survey.index = Some(index);
            match parsed {
                Ok(parsed) => fill(&mut survey, source, &parsed),
                Err(problem) => survey.invalid = Some(problem),
            }
        }
        Err(problem) => survey.invalid = Some(problem),
    }
    if survey.invalid.is_none() {
        survey.invalid = layout_problem(source);
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

fn fill(survey: &mut Survey, source: &dyn Source, index: &ImageIndex) {
    survey.graph = Graph::read(
        index,
        &mut |descriptor| match source.blob(&descriptor.digest) {
            Ok(None) => Fetched::Missing,
            Ok(Some(blob)) if blob.size() > MANIFEST_BYTES_MAX => Fetched::TooLarge,
            Ok(Some(blob)) => match read_all(&blob, MANIFEST_BYTES_MAX) {
                Ok(bytes) => Fetched::Bytes(bytes),
                Err(error) => Fetched::Unreadable(error.to_string()),
            },
            Err(error) => Fetched::Unreadable(causes(&error)),
        },
    );
}

/// Says what is wrong with oci-layout; an absent one is fine, as it is for notation.
fn layout_problem(source: &dyn Source) -> Option<String> {
    let blob = match source.file(Path::new("oci-layout")) {
        Ok(Some(blob)) => blob,
        Ok(None) => return None,
        Err(error) => return Some(causes(&error)),
    };
    let bytes = match read_all(&blob, OCI_LAYOUT_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) => return Some(format!("oci-layout: {error}")),
    };
    match json::parse(&bytes) {
        Ok(document) => match document.get("imageLayoutVersion") {
            Some(Value::String(version)) if version == LAYOUT_VERSION => None,
            Some(Value::String(version)) => Some(format!(
                "oci-layout: version {version:?} is not supported, only {LAYOUT_VERSION}"
            )),
            _ => Some("oci-layout: it gives no imageLayoutVersion".to_owned()),
        },
        Err(error) => Some(format!("oci-layout: {error}")),
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

/// Returns the text of an error and its causes.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
