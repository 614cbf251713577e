//! What was wrong with the blobs of a survey when they were last looked at. Whether they are still the same is for others to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::content::{Blobs, Flaw, pending};
use crate::oci::Digest;

/// What is wrong, by digest and size.
type Flaws = HashMap<(Digest, u64), Flaw>;

/// Remembers what was wrong with the blobs of a survey.
#[derive(Debug, Default)]
pub struct LastFound(Mutex<Option<Arc<Flaws>>>);

impl LastFound {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Flaws>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was found.
    pub(super) fn set(&self, blobs: &Blobs<'_>) {
        let flaw = |((digest, size), flaw): (&(&Digest, u64), &Option<Flaw>)| {
            Some((((*digest).clone(), *size), flaw.clone()?))
        };
        *self.lock() = Some(Arc::new(blobs.iter().filter_map(flaw).collect()));
    }

    /// Fills in what was found; what was never looked at is pending.
    pub(super) fn fill(&self, blobs: &mut Blobs<'_>) {
        let found = self.lock().clone();
        for ((digest, size), flaw) in blobs {
            *flaw = match &found {
                Some(found) => found.get(&((*digest).clone(), *size)).cloned(),
                None => Some(pending()),
            };
        }
    }
}
