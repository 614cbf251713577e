//! An error as people read it.

use std::error::Error;

/// Returns the text of an error and of its causes in one line, joined by colons.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Self>>);

    impl fmt::Display for Layer {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            let inner = self.1.as_deref()?;
            Some(inner)
        }
    }

    #[test]
    fn every_cause_is_told_in_order() {
        let root = Layer("no space", None);
        assert_eq!(causes(&root), "no space");
        let middle = Layer("writing a", Some(Box::new(root)));
        let top = Layer("signing", Some(Box::new(middle)));
        assert_eq!(causes(&top), "signing: writing a: no space");
    }
}
