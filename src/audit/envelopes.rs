//! Envelopes found intact, or not, by what their bytes hash to: judging again under another policy repeats no public-key work.
//!
//! Kept is only what follows from the bytes alone ([`Envelope::check_with`]): no time, no policy, no trust store, and never a
//! verdict. The bytes are read and hashed each time all the same.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::court::Court;
use super::reading::read_all;
use crate::notary::{ChainCache, Envelope, IntactEnvelope, IntegrityError};
use crate::oci::limits::ENVELOPE_BYTES_MAX;
use crate::oci::{Descriptor, Digest, causes, media_type};

/// Envelopes remembered at most; past this the memory starts over.
const ENVELOPES_MAX: usize = 100_000;

type Opened = Result<Arc<IntactEnvelope>, IntegrityError>;

/// Is the same as it is kept: few are not intact, and why takes more room than a pointer.
type Kept = Result<Arc<IntactEnvelope>, Box<IntegrityError>>;

/// Remembers what envelopes are.
#[derive(Debug, Default)]
pub struct Envelopes {
    opened: Mutex<HashMap<(Digest, Cow<'static, str>), Kept>>,
}

impl Envelopes {
    /// Returns an envelope as intact, or why it is not; `digest` is that of `bytes`.
    pub(crate) fn open(
        &self,
        (digest, media_type): (&Digest, &str),
        bytes: &[u8],
        chains: &ChainCache,
    ) -> Opened {
        let key = (digest.clone(), media_type::shared(media_type));
        let known = self.lock().get(&key).cloned();
        if let Some(known) = known {
            return known.map_err(|error| *error);
        }
        let opened = Envelope::parse(media_type, bytes)
            .and_then(|envelope| envelope.check_with(chains))
            .map(Arc::new);
        self.keep(key, opened.clone().map_err(Box::new));
        opened
    }

    /// Takes over what sealing an envelope found when it parsed and checked the very bytes with this digest again.
    ///
    /// That is what [`Envelopes::open`] would find: it follows from the bytes alone. Whoever judges the envelope still reads and
    /// hashes what is stored, and asks under that digest; times, identities, trust and policy are judged anew each time.
    pub(crate) fn learn(&self, (digest, media_type): (&Digest, &str), intact: Arc<IntactEnvelope>) {
        self.keep((digest.clone(), media_type::shared(media_type)), Ok(intact));
    }

    fn keep(&self, key: (Digest, Cow<'static, str>), kept: Kept) {
        let mut table = self.lock();
        if table.len() >= ENVELOPES_MAX {
            table.clear();
        }
        table.insert(key, kept);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Digest, Cow<'static, str>), Kept>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads an envelope whole, or says why it cannot be judged; tells the court where that may be over without anything having changed.
pub(super) fn read(court: &Court<'_>, layer: &Descriptor) -> Result<Arc<[u8]>, String> {
    if layer.size > ENVELOPE_BYTES_MAX {
        return Err(format!(
            "the envelope has more than {ENVELOPE_BYTES_MAX} bytes"
        ));
    }
    let unread = |problem| {
        court.unread.store(true, Ordering::Relaxed);
        problem
    };
    let digest = &layer.digest;
    let blob = match court.asked.source.blob(digest) {
        Ok(Some(blob)) => blob,
        Ok(None) => return Err(format!("the envelope {digest} is missing")),
        Err(error) if error.may_pass() => return Err(unread(causes(&error))),
        Err(error) => return Err(causes(&error)),
    };
    if blob.size() != layer.size {
        return Err(format!(
            "the envelope {digest} has {} bytes, its descriptor says {}",
            blob.size(),
            layer.size
        ));
    }
    let bytes = read_all(&blob, ENVELOPE_BYTES_MAX)
        .map_err(|error| unread(format!("reading the envelope {digest}: {error}")))?;
    match digest.matches(&bytes) {
        true => Ok(bytes),
        false => Err(format!("the envelope {digest} has other content")),
    }
}
