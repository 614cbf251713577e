//! Tables and trees as notation prints them. Pure.

use crate::text::escape_line;

/// Spaces after the widest cell of a column, the last column included.
const PADDING: usize = 3;

/// Returns rows as aligned columns, each cell padded, one row a line.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| escape_line(cell)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).saturating_add(PADDING))
        .collect();
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("{cell:<width$}"));
        }
        text.push('\n');
    }
    text
}

/// Is a tree of lines.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    value: String,
    children: Vec<Tree>,
}

impl Tree {
    /// Returns a tree of one line.
    pub fn new(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            children: Vec::new(),
        }
    }

    /// Adds a line below and returns it.
    pub fn add(&mut self, value: impl Into<String>) -> &mut Self {
        self.children.push(Self::new(value));
        self.children.last_mut().expect("one was pushed just now")
    }

    /// Adds `name: value` below.
    pub fn pair(&mut self, name: &str, value: &str) -> &mut Self {
        self.add(format!("{name}: {value}"))
    }

    /// Returns the lines: the first as it is (a path as typed), those below escaped.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("{}\n", self.value);
        self.below("", &mut text);
        text
    }

    fn below(&self, prefix: &str, text: &mut String) {
        for (position, child) in self.children.iter().enumerate() {
            let last = position.saturating_add(1) == self.children.len();
            let (branch, stem) = match last {
                true => ("\u{2514}\u{2500}\u{2500} ", "    "),
                false => ("\u{251c}\u{2500}\u{2500} ", "\u{2502}   "),
            };
            text.push_str(&format!("{prefix}{branch}{}\n", escape_line(&child.value)));
            child.below(&format!("{prefix}{stem}"), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_every_column_by_three() {
        let rows = [["KEY", "VALUE"], ["a", "long value"], ["long key", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let expected = "KEY        VALUE        \n\
                        a          long value   \n\
                        long key                \n";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn draws_trees_as_notation_does() {
        let mut tree = Tree::new("p@d");
        let first = tree.add("type");
        first.add("one").pair("k", "v\n");
        first.add("two").add("x");
        tree.add("last");
        let expected = "p@d\n\
                        \u{251c}\u{2500}\u{2500} type\n\
                        \u{2502}   \u{251c}\u{2500}\u{2500} one\n\
                        \u{2502}   \u{2502}   \u{2514}\u{2500}\u{2500} k: v\\x0a\n\
                        \u{2502}   \u{2514}\u{2500}\u{2500} two\n\
                        \u{2502}       \u{2514}\u{2500}\u{2500} x\n\
                        \u{2514}\u{2500}\u{2500} last\n";
        assert_eq!(tree.render(), expected);
    }
}
