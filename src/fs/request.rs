//! The lines that are written to `sign`.

use std::collections::BTreeMap;

use crate::audit::Selection;
use crate::notary::EnvelopeFormat;
use crate::signing::{Children, Repeat, Request};

/// Is what one line asks for.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    /// The name of the key; none for the default one.
    pub(super) key: Option<String>,
    /// The format; none for the preferred one.
    pub(super) format: Option<EnvelopeFormat>,
    /// What is to be signed.
    pub(super) request: Request,
}

impl Asking {
    /// Returns what a touch asks for: every image, the default key.
    pub(super) fn touch() -> Self {
        Self {
            key: None,
            format: None,
            request: Request {
                images: Selection::All,
                format: EnvelopeFormat::Jws,
                expiry_seconds: None,
                metadata: BTreeMap::new(),
                children: Children::No,
                repeat: Repeat::LeaveAlone,
            },
        }
    }

    /// Reads a line; nothing for an empty one and for a comment.
    ///
    /// # Errors
    /// Says which word is not understood.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let mut asking = Self::touch();
        for word in line.split_ascii_whitespace() {
            asking.take(word)?;
        }
        Ok(Some(asking))
    }

    fn take(&mut self, word: &str) -> Result<(), String> {
        let request = &mut self.request;
        match word.split_once('=') {
            None if word == "recursive" => request.children = Children::Recursive,
            None if word == "force" => request.repeat = Repeat::Another,
            Some(("tag", tag)) if !tag.is_empty() => {
                request.images = Selection::Tag(tag.to_owned());
            }
            Some(("key", name)) if !name.is_empty() => self.key = Some(name.to_owned()),
            Some(("format", "jws")) => self.format = Some(EnvelopeFormat::Jws),
            Some(("format", "cose")) => self.format = Some(EnvelopeFormat::Cose),
            Some(("expiry", text)) => {
                let seconds = duration_seconds(text)
                    .ok_or_else(|| format!("{text:?} is not a duration such as 24h"))?;
                request.expiry_seconds = Some(seconds);
            }
            Some((name, value)) if name.len() > 11 && name.starts_with("annotation.") => {
                let key = name.trim_start_matches("annotation.").to_owned();
                if request.metadata.insert(key, value.to_owned()).is_some() {
                    return Err(format!("{name:?} is given twice"));
                }
            }
            _ => return Err(format!("unknown word {word:?}")),
        }
        Ok(())
    }
}

/// Reads a duration such as `24h`, `90m` or `1h30m`, in whole seconds.
fn duration_seconds(text: &str) -> Option<i64> {
    let mut total = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let number: i64 = number.parse().ok()?;
        let unit = after.chars().next()?;
        let factor = match unit {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = after.get(1..)?;
    }
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_ask_for_nothing() {
        for line in ["", "  ", "# no signing key", "#tag=v1"] {
            assert!(Asking::parse(line).unwrap().is_none(), "{line}");
        }
    }

    #[test]
    fn every_word_is_understood() {
        let line = "tag=v1 key=k format=cose expiry=1h30m recursive force annotation.a=b=c";
        let asking = Asking::parse(line).unwrap().unwrap();
        assert_eq!(asking.key.as_deref(), Some("k"));
        assert_eq!(asking.request.images, Selection::Tag("v1".to_owned()));
        assert_eq!(asking.format, Some(EnvelopeFormat::Cose));
        assert_eq!(asking.request.expiry_seconds, Some(5400));
        assert_eq!(asking.request.children, Children::Recursive);
        assert_eq!(asking.request.repeat, Repeat::Another);
        assert_eq!(asking.request.metadata.get("a").unwrap(), "b=c");
    }

    #[test]
    fn unknown_words_are_refused() {
        for line in [
            "sign",
            "tag=",
            "tag",
            "format=pgp",
            "expiry=24",
            "expiry=-1h",
            "expiry=0s",
            "expiry=99999999999999999999h",
            "annotation.=x",
            "annotation.a=1 annotation.a=2",
            "tag=v1 now",
        ] {
            assert!(Asking::parse(line).is_err(), "{line}");
        }
    }
}
