//! One finding, and what to do about it.

use std::path::{Path, PathBuf};

use crate::oci::Digest;
use crate::report::Verdict;

/// Tells where a layout is, for what to type.
pub(super) enum Place {
    /// In this folder.
    Folder(PathBuf),
    /// In an archive, where nothing can be removed.
    Archive {
        /// The folder beside it, where it can.
        overlay: Option<PathBuf>,
    },
}

/// Is something about a layout.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// Which check found it; programs go by it.
    pub(super) kind: &'static str,
    /// What `verify` makes of it; `None` for a note.
    pub(super) verdict: Option<Verdict>,
    /// The path below the layout's root.
    pub(super) path: String,
    /// The digest, where it is about one.
    pub(super) digest: Option<Digest>,
    /// What is found.
    pub(super) problem: String,
    /// What to do.
    pub(super) advice: String,
}

impl Finding {
    /// Returns something that is wrong.
    pub(super) fn wrong(
        kind: &'static str,
        verdict: Verdict,
        path: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            verdict: Some(verdict),
            path: path.into(),
            digest: None,
            problem: problem.into(),
            advice: String::new(),
        }
    }

    /// Returns something that is good to know.
    pub(super) fn note(
        kind: &'static str,
        path: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Self {
            verdict: None,
            ..Self::wrong(kind, Verdict::Verified, path, problem)
        }
    }

    /// Adds the digest that it is about.
    pub(super) fn about(mut self, digest: &Digest) -> Self {
        self.digest = Some(digest.clone());
        self
    }

    /// Adds what to do about it.
    pub(super) fn advised(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// Adds what to do where nothing said so yet, by kind and place.
    pub(super) fn advise(&mut self, place: &Place) {
        if self.advice.is_empty() {
            self.advice = self.usual(place);
        }
    }

    fn usual(&self, place: &Place) -> String {
        let remove = match place {
            Place::Folder(folder) => remove(&folder.join(&self.path)),
            Place::Archive {
                overlay: Some(overlay),
            } if Path::new(&self.path).starts_with(overlay) => remove(Path::new(&self.path)),
            Place::Archive { .. } => "write the archive again without it".to_owned(),
        };
        match self.kind {
            "digest" | "size" => {
                "write the image into the layout again, or copy that blob from where it is sound"
                    .to_owned()
            }
            "missing" => {
                "copy the whole image into the layout: signetfs sync HOST/REPOSITORY:TAG LAYOUT"
                    .to_owned()
            }
            "orphan" => format!("it harms nothing; to have the space: {remove}"),
            "leftover" => format!("once no tool writes to the layout: {remove}"),
            "irregular" => format!("no reader of layouts uses it: {remove}"),
            "overlay" => "nobody is shown it: remove the entry from the index.json of the overlay".to_owned(),
            "tag" => "name one of them otherwise, or remove the older entry from index.json".to_owned(),
            "subject" => "it is a signature (or the like) of an image that is not here: copy that image too, or remove the entry from index.json".to_owned(),
            _ => "write the layout again with the tool that made it".to_owned(),
        }
    }

    /// Returns what findings are listed by: the worst first, notes last.
    pub(super) fn order(&self) -> (bool, Option<Verdict>, &'static str, &str) {
        (self.verdict.is_none(), self.verdict, self.kind, &self.path)
    }
}

/// Returns the command that removes a path. The name comes from the layout: one that a shell could take for more is not repeated.
fn remove(path: &Path) -> String {
    let is_plain = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '/' | '.' | '-' | '_' | '+' | '@')
    };
    match path.to_str() {
        Some(text) if text.chars().all(is_plain) => format!("rm -r -- {text}"),
        _ => "remove it (its name has characters that a shell would read otherwise)".to_owned(),
    }
}
