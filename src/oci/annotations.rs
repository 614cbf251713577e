//! Annotations: nearly always none, or one or two, and a large layout holds tens of thousands of them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Is a few texts by key, sorted by key, in no more memory than they need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations {
    members: Vec<(String, String)>,
}

impl Annotations {
    /// None.
    pub const NONE: Self = Self {
        members: Vec::new(),
    };

    /// Returns the text of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&String> {
        let found = self
            .members
            .binary_search_by(|(known, _)| known.as_str().cmp(key));
        self.members.get(found.ok()?).map(|(_, text)| text)
    }

    /// Returns whether there is a text of a key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Returns keys and texts, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.members.iter().map(|(key, text)| (key, text))
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns a map of the same.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.members.iter().cloned().collect()
    }
}

impl From<BTreeMap<String, String>> for Annotations {
    fn from(map: BTreeMap<String, String>) -> Self {
        let mut members: Vec<_> = map.into_iter().collect();
        members.shrink_to_fit();
        Self { members }
    }
}

impl PartialEq<BTreeMap<String, String>> for Annotations {
    fn eq(&self, other: &BTreeMap<String, String>) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl Serialize for Annotations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_what_a_map_of_the_same_is() {
        let pairs = [("b", "2"), ("a", "1"), ("c", "")];
        let map: BTreeMap<String, String> = pairs
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .into();
        let annotations = Annotations::from(map.clone());
        assert_eq!(annotations, map);
        assert_eq!(annotations.to_map(), map);
        for key in ["", "a", "aa", "b", "c", "d"] {
            assert_eq!(annotations.get(key), map.get(key), "{key}");
            assert_eq!(annotations.contains_key(key), map.contains_key(key));
        }
        assert_eq!(
            serde_json::to_string(&annotations).unwrap(),
            r#"{"a":"1","b":"2","c":""}"#
        );
        assert_ne!(annotations, BTreeMap::default());
        assert_eq!(Annotations::NONE, BTreeMap::default());
    }
}
