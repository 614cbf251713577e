//! A look at what is known of a blob: the lease on its file, and the state of the file under it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::table::{Entry, Keep, Key};
use super::work::verified;
use super::{HashError, Hashes, Lease, VerifiedBlob};
use crate::files::{HeldLease, Refused};
use crate::layout::{Blob, Identity};
use crate::oci::{Algorithm, Descriptor};

/// Holds the lease on one file, so that its state is seen once for all blobs in it: a tar has a hundred thousand.
///
/// While the lease is held nobody writes. Where none is to be had, each blob is looked at for itself.
#[derive(Debug, Default)]
pub struct Look {
    held: Option<Held>,
    /// A file in which something that was never hashed was looked for, and its state then.
    met: Option<(Arc<OwnedFd>, Identity)>,
}

#[derive(Debug)]
struct Held {
    file: Arc<OwnedFd>,
    lease: HeldLease,
    identity: Identity,
}

/// Is a file as it was seen: its state, and whether that was under a lease.
#[derive(Clone, Copy)]
struct Seen {
    identity: Identity,
    lease: Lease,
}

/// Is how a blob is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The state of its file, where it was seen under a lease and the blob was hashed under one: while the file is in this state,
    /// its bytes are those that were hashed.
    pub state: Option<Identity>,
}

impl Hashes {
    /// Returns what an earlier result says, if one stands.
    pub(super) fn recall(
        &self,
        look: &mut Look,
        descriptor: &Descriptor,
        blob: &Blob,
        algorithm: Algorithm,
    ) -> Option<Result<VerifiedBlob, HashError>> {
        let Blob::File { file, .. } = blob else {
            return Some(self.hash_bytes(descriptor, blob, algorithm));
        };
        let (key, lease) = self.seen(look, (blob, file), algorithm)?;
        let entry = self.entry(&key)?;
        stands(entry.lease, lease).then(|| verified(descriptor, blob, (entry, true)))
    }

    /// Returns what the lease said when a blob was hashed, where [`Hashes::recall`] would return the blob as verified.
    pub(super) fn recall_lease(
        &self,
        look: &mut Look,
        descriptor: &Descriptor,
        blob: &Blob,
        algorithm: Algorithm,
    ) -> Option<Lease> {
        let Blob::File { file, .. } = blob else {
            let found = self.hash_bytes(descriptor, blob, algorithm);
            return found.ok().map(|found| found.lease());
        };
        let (key, lease) = self.seen(look, (blob, file), algorithm)?;
        let said = self.table().says(&key, &descriptor.digest);
        let (is_right, hashed) = match said {
            Some(said) => said,
            None => {
                let entry = self.entry(&key)?;
                (entry.digest == descriptor.digest, entry.lease)
            }
        };
        (is_right && stands(hashed, lease)).then_some(hashed)
    }

    /// Returns what names a blob in the present state of its file, and what the lease on that says; nothing where nothing is known
    /// of it, or somebody writes.
    fn seen(
        &self,
        look: &mut Look,
        (blob, file): (&Blob, &Arc<OwnedFd>),
        algorithm: Algorithm,
    ) -> Option<(Key, Lease)> {
        let key = |identity| Key::of(blob, identity, algorithm);
        let opened = blob.identity()?;
        let seen = match look.at(file) {
            Some(seen) => seen,
            None => {
                // Most looks are at what was never hashed; then no lease is asked for.
                if !self.knows(&key(opened)?) {
                    let now = look.meet(file)?;
                    if now == opened || !self.knows(&key(now)?) {
                        return None;
                    }
                }
                self.see(look, file)?
            }
        };
        Some((key(seen.identity)?, seen.lease))
    }

    /// Takes the lease, and looks at the file under it: what fstat says then is what the bytes are. Nothing where somebody writes.
    fn see(&self, look: &mut Look, file: &Arc<OwnedFd>) -> Option<Seen> {
        look.held = None;
        match self.lease(file) {
            Ok(lease) => {
                let identity = Identity::now(file)?;
                look.held = Some(Held {
                    file: Arc::clone(file),
                    lease,
                    identity,
                });
                look.at(file)
            }
            Err(Refused::Unavailable) => Some(Seen {
                identity: Identity::now(file)?,
                lease: Lease::Unavailable,
            }),
            Err(Refused::Writer) => None,
        }
    }

    fn knows(&self, key: &Key) -> bool {
        let table = self.table();
        let (known, distrusted) = (table.has(key), table.is_distrusted(&key.identity));
        drop(table);
        let store = self.store.as_ref().filter(|_| !distrusted);
        known || store.is_some_and(|store| store.has(key))
    }

    pub(super) fn entry(&self, key: &Key) -> Option<Entry> {
        if let Some(entry) = self.table().entry(key) {
            return Some(entry);
        }
        let entry = self.store.as_ref()?.entry(key)?;
        let mut table = self.table();
        if table.is_distrusted(&key.identity) {
            return None;
        }
        // The values of a large blob are copied out of the memory once.
        if !entry.chunks.is_empty() {
            table.insert(*key, entry.clone(), Keep::Process);
        }
        Some(entry)
    }
}

/// Returns whether a result stands that was made when the lease said one thing, now that it says another.
fn stands(hashed: Lease, now: Lease) -> bool {
    match (hashed, now) {
        (Lease::Granted, Lease::Granted) | (Lease::Unavailable, _) => true,
        (Lease::Granted | Lease::Writer, _) => false,
    }
}

impl Look {
    /// Returns the state of a blob's file, as it was seen under the lease that is held.
    pub(super) fn state_of(&self, blob: &Blob) -> Option<Identity> {
        let Blob::File { file, .. } = blob else {
            return None;
        };
        let held = self.held.as_ref()?;
        Arc::ptr_eq(&held.file, file).then_some(held.identity)
    }

    /// Returns the state of a file as it is, or was for the blob before this one: whoever hashes looks for himself.
    fn meet(&mut self, file: &Arc<OwnedFd>) -> Option<Identity> {
        match &self.met {
            Some((met, state)) if Arc::ptr_eq(met, file) => Some(*state),
            _ => {
                let state = Identity::now(file)?;
                self.met = Some((Arc::clone(file), state));
                Some(state)
            }
        }
    }

    fn at(&self, file: &Arc<OwnedFd>) -> Option<Seen> {
        let held = self.held.as_ref()?;
        // A writer that waited too long for the lease was let in by the kernel.
        let stands = Arc::ptr_eq(&held.file, file) && held.lease.stands();
        stands.then_some(Seen {
            identity: held.identity,
            lease: Lease::Granted,
        })
    }
}
