//! What a typed reference means: a layout on disk or a registry, which image of it, under which scope.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::answer::Failure;
use super::progress::Bar;
use super::stdin;
use crate::audit::{Selection, Survey};
use crate::fs::Layout as Mountable;
use crate::layout::{Directory, Overlay, Source, Store, Tar, Union};
use crate::oci::{Digest, Name, Reference, Scope};
use crate::report::ScopeOrigin;

/// Tells whether `--oci-layout` was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was: the reference is a path.
    Layout,
    /// It was not: the rule decides.
    Any,
}

/// Is an open layout.
pub enum Layout {
    /// A folder that takes signatures itself.
    Directory(Directory),
    /// A tar, or a folder that is not written to, with the overlay that takes its signatures.
    Overlaid(Union),
    /// A tar on standard input, without a place for signatures.
    Stdin(Tar),
}

impl Layout {
    /// Opens a layout with the overlay that the user names; without one a tar has the one beside it. Writes nothing.
    ///
    /// # Errors
    /// Says why it cannot be opened, and what to type instead.
    pub fn open_with(path: &str, overlay: Option<&Path>) -> Result<Self, Failure> {
        if stdin::is_meant(path) {
            let tar = stdin::open()?;
            return Ok(match overlay {
                None => Self::Stdin(tar),
                Some(overlay) => {
                    Self::Overlaid(Union::new(Arc::new(tar), Overlay::named(overlay, None)?))
                }
            });
        }
        let typed = Path::new(path);
        match (std::fs::metadata(typed), overlay) {
            (Ok(facts), None) if facts.is_dir() => Ok(Self::Directory(Directory::open(typed)?)),
            (Ok(facts), Some(overlay)) if facts.is_dir() => {
                refuse_nesting(typed, overlay)?;
                let base = Arc::new(Directory::open(typed)?);
                Ok(Self::Overlaid(Union::new(
                    base,
                    Overlay::named(overlay, None)?,
                )))
            }
            (Ok(_), overlay) => {
                let base = Arc::new(Tar::open_watched(typed, &Bar::named("unpacking"))?);
                let overlay = match overlay {
                    Some(overlay) => Overlay::named(overlay, Some(typed))?,
                    None => Overlay::beside(typed)?,
                };
                Ok(Self::Overlaid(Union::new(base, overlay)))
            }
            (Err(error), _) => {
                if let Some(failure) = super::status::hidden(typed, &error) {
                    return Err(failure);
                }
                let mut failure = Failure::because(
                    &error,
                    "name a folder or tar that holds an OCI image layout, as PATH, PATH:TAG or PATH@DIGEST",
                );
                failure.message = format!("opening {path}: {}", failure.message);
                Err(failure)
            }
        }
    }

    /// Returns the layout to read from.
    #[must_use]
    pub fn source(&self) -> &dyn Source {
        match self {
            Self::Directory(directory) => directory,
            Self::Overlaid(union) => union,
            Self::Stdin(tar) => tar,
        }
    }

    /// Returns the layout to add to.
    ///
    /// # Errors
    /// Refuses standard input without an overlay.
    pub fn store(&self) -> Result<&dyn Store, Failure> {
        match self {
            Self::Directory(directory) => Ok(directory),
            Self::Overlaid(union) => Ok(union),
            Self::Stdin(_) => Err(stdin::takes_no_signatures()),
        }
    }

    /// Returns the layout as a mount takes it.
    #[must_use]
    pub fn into_mountable(self) -> Mountable {
        match self {
            Self::Directory(directory) => Mountable::Writable(Arc::new(directory)),
            Self::Overlaid(union) => Mountable::Writable(Arc::new(union)),
            Self::Stdin(tar) => Mountable::ReadOnly(Arc::new(tar)),
        }
    }

    /// Returns where new signatures go, where that is not the layout itself.
    #[must_use]
    pub fn overlay(&self) -> Option<&Path> {
        match self {
            Self::Directory(_) | Self::Stdin(_) => None,
            Self::Overlaid(union) => Some(union.overlay_path()),
        }
    }
}

/// Refuses an overlay that is the layout, lies in it or holds it.
fn refuse_nesting(layout: &Path, overlay: &Path) -> Result<(), Failure> {
    let (Ok(layout), Ok(place)) = (layout.canonicalize(), canonical_place(overlay)) else {
        return Ok(());
    };
    if !place.starts_with(&layout) && !layout.starts_with(&place) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("--overlay {} overlaps with the layout", overlay.display()),
        "name a folder beside it: --overlay LAYOUT.signetfs",
    ))
}

/// Returns the canonical form of a path whose last component need not be there.
pub(super) fn canonical_place(path: &Path) -> std::io::Result<PathBuf> {
    path.canonicalize().or_else(|_| {
        let absolute = std::path::absolute(path)?;
        match (absolute.parent(), absolute.file_name()) {
            (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
            _ => Ok(absolute),
        }
    })
}

/// Returns the lines that say what an overlay holds that is not shown, as warnings in notation's form.
#[must_use]
pub fn overlay_warnings(survey: &Survey) -> Vec<String> {
    let ignored = ignored_in_overlay(survey).into_iter();
    ignored.map(|line| format!("Warning: {line}")).collect()
}

/// Returns what an overlay holds that is not shown, each in words.
#[must_use]
pub fn ignored_in_overlay(survey: &Survey) -> Vec<String> {
    let ignored = survey.listing.ignored.iter();
    ignored
        .map(|ignored| {
            let path = ignored.path.display();
            let digest = ignored
                .digest
                .as_ref()
                .map_or_else(String::new, |digest| format!(" {digest}"));
            format!("overlay {path}:{digest} is ignored: {}", ignored.problem)
        })
        .collect()
}

/// Splits a typed reference to a layout.
///
/// A path begins with `/`, `./` or `../`, or exists, or is declared by `--oci-layout`; a registry has a first component with `.` or `:`, or `localhost`.
///
/// # Errors
/// Refuses malformed references, those that are both, and registries (not in this version).
pub fn reference(text: &str, kind: Kind) -> Result<Reference, Failure> {
    let exists = |path: &str| stdin::is_meant(path) || Path::new(path).exists();
    let refused = |error: &crate::oci::ReferenceError| {
        let mut failure = Failure::because(error, "write PATH, PATH:TAG or PATH@DIGEST");
        failure.exit = super::exit::Exit::Usage;
        failure
    };
    let declared = kind == Kind::Layout
        || ["/", "./", "../"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
    let parsed = Reference::parse(text, &exists);
    if declared {
        return parsed.map_err(|error| refused(&error));
    }
    let present = parsed
        .as_ref()
        .is_ok_and(|reference| exists(&reference.path));
    match (present, looks_like_registry(text)) {
        (true, true) => Err(Failure::usage(
            format!("{text} can be a path and a registry"),
            format!("write ./{text} for the path"),
        )),
        (false, true) => {
            let words = "is in a registry, and only layouts on disk are written to";
            Err(Failure::usage(
                format!("{text} {words}"),
                "bring it into a layout with signetfs sync --allow unsigned REF LAYOUT:TAG, sign that, and sync it back",
            ))
        }
        (_, false) => parsed.map_err(|error| refused(&error)),
    }
}

/// Returns whether a text begins with what only a registry has: a host and a slash.
pub(super) fn looks_like_registry(text: &str) -> bool {
    text.split_once('/').is_some_and(|(host, _)| {
        host == "localhost" || (host.contains(['.', ':']) && host != "." && host != "..")
    })
}

/// Returns what a reference selects.
#[must_use]
pub fn selection(reference: &Reference) -> Selection {
    match &reference.name {
        None => Selection::All,
        Some(Name::Tag(tag)) => Selection::Tag(tag.clone()),
        Some(Name::Digest(digest)) => Selection::Digest(digest.clone()),
    }
}

/// Returns notation's warning about a tag.
#[must_use]
pub fn tag_warning(operation: &str, reference: &Reference) -> Option<String> {
    let Some(Name::Tag(tag)) = &reference.name else {
        return None;
    };
    Some(format!(
        "Warning: Always {operation} the artifact using digest(@sha256:...) rather than a tag(:{tag}) because resolved digest may not point to the same signed artifact, as tags are mutable."
    ))
}

/// Returns the scope: the flag's, else `local/NAME` after the path's last component; `None` where that makes no scope.
///
/// # Errors
/// Refuses a malformed flag.
pub fn scope(path: &str, flag: Option<&str>) -> Result<(Option<Scope>, ScopeOrigin), Failure> {
    if let Some(text) = flag {
        return match Scope::parse(text) {
            Ok(scope) => Ok((Some(scope), ScopeOrigin::Flag)),
            Err(error) => Err(Failure::usage(
                error.to_string(),
                "write it like --scope local/hello-world",
            )),
        };
    }
    if stdin::is_meant(path) {
        return Ok((None, ScopeOrigin::Name));
    }
    let typed = Path::new(path);
    if looks_like_registry(path) && !typed.exists() {
        return Ok((Scope::parse(path).ok(), ScopeOrigin::Name));
    }
    let name = match typed.file_name() {
        Some(name) if !path.ends_with("/.") => Some(name.to_owned()),
        _ => std::fs::canonicalize(typed)
            .ok()
            .and_then(|full| full.file_name().map(ToOwned::to_owned)),
    };
    let scope = name
        .as_deref()
        .and_then(|name| name.to_str())
        .and_then(|name| Scope::of_path(name).ok());
    Ok((scope, ScopeOrigin::Name))
}

/// Returns the digests and media types that a selection names, each once.
///
/// # Errors
/// Refuses an invalid layout, a name on two digests, and what is not there.
pub fn resolve(
    survey: &Survey,
    selection: &Selection,
) -> Result<Vec<crate::oci::Descriptor>, Failure> {
    use super::exit::Exit;
    use crate::report::Verdict;

    if let Some(problem) = &survey.invalid {
        return Err(Failure::new(
            Exit::Verdict(Verdict::LayoutInvalid),
            format!("the layout is not valid: {problem}"),
            "write the layout again, or repair index.json",
        ));
    }
    let mut found: Vec<crate::oci::Descriptor> = Vec::new();
    for image in &survey.graph.images {
        let wanted = match selection {
            Selection::All => true,
            Selection::Tag(tag) => image.name.as_ref() == Some(tag),
            Selection::Digest(digest) => image.descriptor.digest == *digest,
        };
        if wanted
            && !found
                .iter()
                .any(|known| known.digest == image.descriptor.digest)
        {
            found.push(image.descriptor.clone());
        }
    }
    match (selection, found.len()) {
        (Selection::Tag(tag), 2..) => Err(Failure::new(
            Exit::Verdict(Verdict::Ambiguous),
            format!("the tag {tag:?} is on two digests"),
            "name the image by digest: PATH@DIGEST",
        )),
        (Selection::Digest(digest), 0) => below(survey, digest).map(|found| vec![found]),
        (Selection::Tag(tag), 0) => Err(not_there(tag)),
        _ => Ok(found),
    }
}

/// Returns a manifest that is not an image of its own, such as a platform child.
fn below(survey: &Survey, digest: &Digest) -> Result<crate::oci::Descriptor, Failure> {
    survey
        .graph
        .images
        .iter()
        .flat_map(|image| survey.graph.closure(&image.descriptor).manifests)
        .find(|manifest| manifest.digest == *digest)
        .ok_or_else(|| not_there(&digest.to_string()))
}

fn not_there(name: &str) -> Failure {
    crate::audit::AuditError::NotFound {
        name: name.to_owned(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_registries_by_their_first_component() {
        for text in [
            "localhost/x:v1",
            "localhost:5000/x:v1",
            "registry.example/x@sha256:00",
            "127.0.0.1:5000/a/b",
        ] {
            assert!(looks_like_registry(text), "{text}");
        }
        for text in [
            "hello:v1",
            "hello.tar:v1",
            "hello.tar",
            "hello/world:v1",
            "./hello:v1",
            "../hello:v1",
        ] {
            assert!(!looks_like_registry(text), "{text}");
        }
    }

    #[test]
    fn names_the_scope_after_the_last_component() {
        for (path, expected) in [
            ("a/hello-world.tar", "local/hello-world"),
            ("hello/", "local/hello"),
            ("/x/hello.tar.gz", "local/hello"),
        ] {
            let (scope, origin) = scope(path, None).unwrap();
            assert_eq!(scope.unwrap().as_str(), expected);
            assert_eq!(origin, ScopeOrigin::Name);
        }
        let (none, _) = scope("a/Hello World", None).unwrap();
        assert_eq!(none, None);
        assert!(scope("hello", Some("Hello World")).is_err());
    }
}
