//! A layout that is not written to, together with the overlay that takes its new signatures. docs/SEMANTICS.md, "Overlays".
//!
//! What the base has always wins: its entries come first and its blobs are never looked for in the overlay. Of the overlay only
//! what belongs to the base is shown (`view`); the rest is told about in the listing.

mod needs;
mod view;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::directory::edit;
use super::overlay::Present;
use super::{
    Addition, Blob, Committed, FileFacts, IndexBytes, Listing, Overlay, Source, SourceError, Stamp,
    Store,
};
use crate::oci::{Digest, causes};
use view::View;

/// Is a base and its overlay.
pub struct Union {
    base: Arc<dyn Source>,
    overlay: Overlay,
    /// What was shown last.
    held: Mutex<Option<Arc<View>>>,
}

impl Union {
    /// Returns the union. Writes nothing, and needs nothing at the overlay's place.
    #[must_use]
    pub fn new(base: Arc<dyn Source>, overlay: Overlay) -> Self {
        Self {
            base,
            overlay,
            held: Mutex::default(),
        }
    }

    /// Returns where new signatures go.
    #[must_use]
    pub fn overlay_path(&self) -> &Path {
        self.overlay.path()
    }

    /// Returns what is shown now: read again unless an equal stamp proves that it is the same.
    fn view(&self) -> Result<Arc<View>, SourceError> {
        let held = self.held();
        if let Some(view) = held
            && view.index.settled
            && view.index.stamp == self.stamp()?
        {
            return Ok(view);
        }
        let view = Arc::new(View::read(&*self.base, &self.overlay)?);
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&view));
        Ok(view)
    }

    fn held(&self) -> Option<Arc<View>> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Refuses to write beside an archive that is elsewhere by now: the signature would be lost.
    fn refuse_left(&self) -> Result<(), SourceError> {
        match self.overlay.left() {
            Some(problem) => Err(self.refuse(problem)),
            None => Ok(()),
        }
    }

    fn refuse(&self, problem: String) -> SourceError {
        SourceError::Overlay {
            path: self.overlay.path().to_owned(),
            problem,
        }
    }
}

impl std::fmt::Debug for Union {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Union");
        debug
            .field("overlay", &self.overlay)
            .finish_non_exhaustive()
    }
}

/// Returns the stamp of both.
fn joined(base: Stamp, overlay: &Stamp) -> Stamp {
    let mut numbers = base.0;
    numbers.push(u64::MAX);
    numbers.extend(&overlay.0);
    Stamp(numbers)
}

impl Source for Union {
    fn stores_files(&self) -> bool {
        self.base.stores_files()
    }

    fn stamp(&self) -> Result<Stamp, SourceError> {
        Ok(joined(self.base.stamp()?, &self.overlay.stamp()))
    }

    fn index(&self) -> Result<IndexBytes, SourceError> {
        Ok(self.view()?.index.clone())
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Blob>, SourceError> {
        if let Some(blob) = self.base.blob(digest)? {
            return Ok(Some(blob));
        }
        let view = match self.held() {
            Some(view) => view,
            None => self.view()?,
        };
        match &view.overlay {
            Some(held) if view.shown.contains(digest) => held.directory.blob(digest),
            _ => Ok(None),
        }
    }

    fn listing(&self) -> Result<Listing, SourceError> {
        let view = self.view()?;
        let mut listing = self.base.listing()?;
        listing.ignored.clone_from(&view.ignored);
        let Some(held) = &view.overlay else {
            return Ok(listing);
        };
        // Not left out where it fails: a copy of what is shown would lack what was judged.
        let added = held.directory.listing()?;
        let place = self.overlay.path();
        listing
            .leftovers
            .extend(added.leftovers.iter().map(|name| place.join(name)));
        for blob in added.blobs.iter() {
            let position = listing
                .blobs
                .binary_search_by(|known| known.digest.cmp(&blob.digest));
            if let Err(position) = position
                && view.shown.contains(&blob.digest)
            {
                show_in_folder(&mut listing, &added.folders, &blob.digest);
                Arc::make_mut(&mut listing.blobs).insert(position, blob.clone());
            }
        }
        Ok(listing)
    }

    fn file(&self, path: &Path) -> Result<Option<Blob>, SourceError> {
        self.base.file(path)
    }
}

/// Makes the folders of an added blob look as if it were in them: there, and changed when the overlay's were.
fn show_in_folder(listing: &mut Listing, added: &[(PathBuf, FileFacts)], digest: &Digest) {
    let algorithm = digest.algorithm().map(|algorithm| algorithm.name());
    let wanted = [
        "blobs".to_owned(),
        format!("blobs/{}", algorithm.unwrap_or_default()),
    ];
    for wanted in wanted.iter().map(Path::new) {
        let Some((_, facts)) = added.iter().find(|(path, _)| path == wanted) else {
            continue;
        };
        match listing.folders.iter_mut().find(|(path, _)| path == wanted) {
            Some((_, shown)) => {
                shown.modified = shown.modified.max(facts.modified);
                shown.changed = shown.changed.max(facts.changed);
            }
            None => listing.folders.push((wanted.to_owned(), *facts)),
        }
    }
}

impl Store for Union {
    fn commit(&self, addition: &Addition) -> Result<Committed, SourceError> {
        self.refuse_left()?;
        match self.overlay.present() {
            Present::Unusable(problem) => return Err(self.refuse(problem)),
            Present::Folder(held) => {
                // Before anything is written: the writer of a layout would take it for one that others keep on changing.
                let own = held.directory.index();
                let entries = own.and_then(|own| edit::entries(&own.bytes));
                entries.map_err(|error| self.refuse(causes(&error)))?;
            }
            Present::Nothing => {}
        }
        // Nothing is written that would not be shown: a signature must not get lost.
        view::check(&*self.base, &self.overlay, addition)
            .map_err(|problem| self.refuse(problem))?;
        edit::entries(&self.base.index()?.bytes)?;
        let (held, fsyncs) = self.overlay.make()?;
        let mut committed = held.directory.commit(addition)?;
        committed.fsyncs += fsyncs;
        self.refuse_left()?;
        let view = self.view()?;
        for entry in &addition.entries {
            if !view.lists(entry) {
                return Err(self.refuse("what was added to it is not shown".to_owned()));
            }
        }
        Ok(committed)
    }
}

#[cfg(test)]
mod tests;
