//! docs/SEMANTICS.md is a list of promises: each is one sentence, and names a test that exists.

use std::collections::BTreeSet;
use std::fs;

use super::{assert_none, files_below, root};

/// Is one promise: an item of a list, or a row of a table.
struct Promise {
    line: usize,
    text: String,
    tests: Vec<String>,
}

/// Returns the names of all tests: the path of their file, then that of their module in it, then theirs.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["src", "mount-tests"] {
        for path in files_below(&root().join(folder), "rs") {
            let inside = path.strip_prefix(root().join(folder)).unwrap();
            let module = inside.with_extension("").display().to_string();
            found.extend(tests_of(
                &module.replace('/', "::"),
                &fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    found
}

/// Returns the tests of one file, relying on rustfmt's layout.
fn tests_of(module: &str, text: &str) -> Vec<String> {
    let mut inner = "";
    let mut is_test = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let code = line.trim_start();
        if line == "mod tests {" {
            inner = "::tests";
        }
        if code.starts_with("#[test]") {
            is_test = true;
        } else if let (true, Some(rest)) = (is_test, code.strip_prefix("fn ")) {
            let name = rest.split('(').next().unwrap();
            found.push(format!("{module}{inner}::{name}"));
            is_test = false;
        }
    }
    found
}

/// Splits a text into what it says and the tests that its brackets at the end name.
fn split(line: usize, text: &str) -> Promise {
    let mut rest = text.trim();
    let mut tests = Vec::new();
    while let Some((before, tag)) = rest
        .strip_suffix(']')
        .and_then(|inside| inside.rsplit_once('['))
    {
        tests.push(tag.to_owned());
        rest = before.trim_end();
    }
    Promise {
        line,
        text: rest.to_owned(),
        tests,
    }
}

/// Returns the promises of the document, and what is in no promise although it says something.
fn read(text: &str) -> (Vec<Promise>, Vec<String>) {
    let (mut promises, mut loose) = (Vec::new(), Vec::new());
    let mut item: Option<(usize, String)> = None;
    let mut is_begun = false;
    let mut paragraph = String::new();
    for (position, line) in text.lines().chain([""]).enumerate() {
        let number = position + 1;
        if let (Some((_, joined)), Some(more)) = (&mut item, line.strip_prefix("  ")) {
            joined.push(' ');
            joined.push_str(more.trim());
            continue;
        }
        if let Some((start, joined)) = item.take() {
            promises.push(split(start, &joined));
        }
        is_begun |= line.starts_with("## ");
        if let Some(first) = line.strip_prefix("- ") {
            item = Some((number, first.to_owned()));
        } else if line.starts_with("| ") {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            let last = cells.last().unwrap().trim();
            if last != "test" {
                let text = format!("{}. {last}", cells[..cells.len() - 1].join(": "));
                promises.push(split(number, &text));
            }
        } else if !line.starts_with(['#', '|']) && !line.starts_with("    ") && is_begun {
            // A paragraph leads to a list or a table, so that it ends with a colon.
            if line.is_empty() && !paragraph.is_empty() && !paragraph.ends_with(':') {
                loose.push(format!("{number}: {paragraph}"));
            }
            paragraph = line.to_owned();
        }
    }
    (promises, loose)
}

/// Returns whether a text is one sentence: it ends with a period and has none before another word in capitals, code apart.
fn is_one_sentence(text: &str) -> bool {
    let outside: String = text.split('`').step_by(2).collect::<Vec<_>>().join("x");
    let parts: Vec<&str> = outside.split(". ").collect();
    let begins = |part: &&str| part.starts_with(|first: char| first.is_ascii_uppercase());
    outside.ends_with('.') && !parts[1..].iter().any(begins)
}

#[test]
fn every_promise_names_its_test() {
    let text = fs::read_to_string(root().join("docs/SEMANTICS.md")).unwrap();
    let (promises, mut wrong) = read(&text);
    assert!(promises.len() > 100, "{}", promises.len());
    let known = tests();
    for promise in promises {
        let Promise { line, text, tests } = promise;
        if !is_one_sentence(&text) {
            wrong.push(format!("{line}: not one sentence: {text}"));
        }
        if tests.is_empty() {
            wrong.push(format!("{line}: no test: {text}"));
        }
        let missing = tests.iter().filter(|test| !known.contains(*test));
        wrong.extend(missing.map(|test| format!("{line}: there is no test {test}")));
    }
    assert_none("docs/SEMANTICS.md", &wrong);
}

#[test]
fn what_is_no_promise_with_a_test_is_found() {
    let (promises, loose) = read("intro.\n## A\n- One\n  two. [a::b] [c]\n- No.\n\nLoose.\n\n");
    let seen: Vec<(usize, &str, usize)> = promises
        .iter()
        .map(|promise| (promise.line, promise.text.as_str(), promise.tests.len()))
        .collect();
    assert_eq!(seen, [(3, "One two.", 2), (5, "No.", 0)]);
    assert_eq!(loose, ["8: Loose."]);
    let (rows, _) = read("## A\n| x | test |\n|---|---|\n| y | [a::b] |\n| z | none |\n");
    assert_eq!(rows[0].tests, ["a::b"]);
    assert!(rows[1].tests.is_empty() && rows.len() == 2);
    assert!(!is_one_sentence("One. Two.") && !is_one_sentence("No end"));
    assert!(is_one_sentence("With `code. Of` its own, in 2.0 s."));
    let code = "#[test]\nfn a() {}\nmod tests {\n    #[test]\n    fn b() {}\n    fn c() {}\n";
    assert_eq!(tests_of("m", code), ["m::a", "m::tests::b"]);
}
