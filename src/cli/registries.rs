//! Registry references for the commands that read: `HOST/REPOSITORY:TAG` opens as the layout of that one image.

use std::sync::Arc;

use super::answer::Failure;
use super::exit::Exit;
use super::flags::Reading;
use super::layouts::{self, Kind, Layout, looks_like_registry};
use crate::audit::Content;
use crate::layout::Source;
use crate::oci::{Name, Reference};
use crate::registry::{Access, Depth, RegistryReference, Remote};
use crate::settings::ConfigDir;

/// Is what a command reads.
pub enum Opened {
    /// A layout on disk.
    Layout(Layout),
    /// An image of a registry.
    Remote(Box<Remote>),
}

impl Opened {
    /// Returns the layout to read from.
    #[must_use]
    pub fn source(&self) -> &dyn Source {
        match self {
            Self::Layout(layout) => layout.source(),
            Self::Remote(remote) => remote.as_ref(),
        }
    }

    /// Fails where a verdict that does not pass may come of answers that did not.
    ///
    /// # Errors
    /// Says which answer the network or the registry's door withheld.
    pub fn complete(&self) -> Result<(), Failure> {
        match self {
            Self::Layout(_) => Ok(()),
            Self::Remote(remote) => Ok(remote.complete()?),
        }
    }

    /// Returns how much content is judged: layers in a registry are not read.
    #[must_use]
    pub fn content(&self) -> Content {
        match self {
            Self::Layout(_) => Content::Full,
            Self::Remote(_) => Content::Manifests,
        }
    }
}

/// Opens what a reference names.
///
/// # Errors
/// Says why it cannot be opened, and what to type instead.
pub fn open(
    text: &str,
    reading: &Reading,
    config: &ConfigDir,
) -> Result<(Reference, Opened), Failure> {
    if !is_registry(text, reading.kind()) {
        let reference = layouts::reference(text, reading.kind())?;
        let layout = Layout::open_with(&reference.path, reading.overlay())?;
        return Ok((reference, Opened::Layout(layout)));
    }
    if reading.overlay().is_some() {
        return Err(Failure::usage(
            format!("{text} is in a registry and has no overlay"),
            "leave --overlay out",
        ));
    }
    let usage = |problem: String| {
        Failure::usage(
            problem,
            "write HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST, or ./PATH for a layout",
        )
    };
    let named = RegistryReference::parse(text).map_err(|error| usage(error.to_string()))?;
    let name = named
        .name()
        .ok_or_else(|| usage(format!("{text} names no tag and no digest")))?;
    let reference = Reference {
        path: named.scope(),
        name: match (&named.digest, &named.tag) {
            (Some(digest), _) => Some(Name::Digest(digest.clone())),
            (None, tag) => tag.clone().map(Name::Tag),
        },
    };
    let registry = reading
        .connection()
        .open(named, Access::Pull, &[], config)?;
    match Remote::open(Arc::new(registry), &name, Depth::Image)? {
        Some(remote) => Ok((reference, Opened::Remote(Box::new(remote)))),
        None => Err(Failure::new(
            Exit::CouldNot,
            format!("{text} is not in the registry"),
            "push it first: signetfs sync LAYOUT:TAG HOST/REPOSITORY:TAG",
        )),
    }
}

/// Returns whether a reference can only be a registry's.
fn is_registry(text: &str, kind: Kind) -> bool {
    let exists = |path: &str| std::path::Path::new(path).exists();
    let is_path = exists(text)
        || Reference::parse(text, &exists).is_ok_and(|reference| exists(&reference.path))
        || ["/", "./", "../"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
    kind == Kind::Any && !is_path && looks_like_registry(text)
}
