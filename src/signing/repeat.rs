//! Whether an artifact already carries such a signature, so that `touch` leaves it alone.
//!
//! Not here: whether a policy would trust it; policy plays no part in signing.

use std::sync::Arc;

use super::intact::read_whole;
use super::{Job, SigningError};
use crate::notary::{Chain, ChainCache, IntactEnvelope};
use crate::oci::limits::ENVELOPE_BYTES_MAX;
use crate::oci::media_type::NOTARY_SIGNATURE;
use crate::oci::{Descriptor, Document, Referrer, UnixTime};

/// Returns whether a signature by our leaf certificate in the requested format is there, intact, findable and valid now, with what is asked of it.
///
/// # Errors
/// Says why our own chain cannot sign; a broken signature is simply not one.
pub(super) fn is_signed(
    job: &Job<'_>,
    artifact: &Descriptor,
    now: UnixTime,
) -> Result<bool, SigningError> {
    let Some(chain) = job.signer.chain().map_err(SigningError::Seal)? else {
        return Ok(false);
    };
    let chains = ChainCache::new();
    let found = job
        .survey
        .graph
        .referrers(&artifact.digest)
        .iter()
        .filter(|referrer| referrer.plain)
        .filter(|referrer| referrer.artifact_type.as_deref() == Some(NOTARY_SIGNATURE))
        .filter_map(|referrer| envelope(job, referrer, &chains))
        .any(|envelope| fits(job, &envelope, artifact, &chain, now));
    Ok(found)
}

/// Returns the intact envelope of a signature in the requested format.
fn envelope(
    job: &Job<'_>,
    referrer: &Referrer,
    chains: &ChainCache,
) -> Option<Arc<IntactEnvelope>> {
    let document = job.survey.graph.document(&referrer.descriptor.digest)?;
    let Document::Manifest(manifest) = document else {
        return None;
    };
    let [layer] = manifest.layers.as_slice() else {
        return None;
    };
    if layer.media_type != job.request.format.media_type() {
        return None;
    }
    let blob = job.store.blob(&layer.digest).ok()??;
    let bytes = read_whole(&blob, layer, ENVELOPE_BYTES_MAX).ok()?;
    if !layer.digest.matches(&bytes) {
        return None;
    }
    let name = (&layer.digest, &*layer.media_type);
    let envelopes = &job.survey.envelopes;
    envelopes.open(name, &bytes, chains).ok()
}

fn fits(
    job: &Job<'_>,
    envelope: &IntactEnvelope,
    artifact: &Descriptor,
    chain: &Chain,
    now: UnixTime,
) -> bool {
    let Ok(target) = &envelope.target else {
        return false;
    };
    let metadata_there = job
        .request
        .metadata
        .iter()
        .all(|(key, value)| target.descriptor.annotations.get(key) == Some(value));
    let expiry_fits = match job.request.expiry_seconds {
        Some(seconds) => envelope.expiry == Some(envelope.signing_time.plus(seconds)),
        None => true,
    };
    envelope.chain.leaf() == chain.leaf()
        && target.descriptor.same_content(artifact)
        && envelope.expiry.is_none_or(|expiry| now < expiry)
        && envelope.chain.valid_at(now).is_ok()
        && metadata_there
        && expiry_fits
}
