//! Names read at once: nothing is called `of`, which would have a reader parse a preposition where a noun should be.

use std::fs;

use crate::common::places::{root, rust_files};

/// Where names are looked at.
const SOURCES: [&str; 4] = ["src", "tests", "benches/kernels.rs", "fuzz/fuzz_targets"];

/// Where a part of the text that is no code ends: a comment, a string or a character; `None` where code begins.
fn prose_end(text: &str) -> Option<usize> {
    let after = |start: usize, end: &str| text[start..].find(end).map_or(text.len(), |at| start + at + end.len());
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(after(2, "*/"));
    }
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let is_string = raw[hashes..].starts_with('"');
        return is_string.then(|| after(hashes + 2, &format!("\"{}", "#".repeat(hashes))));
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            // a lifetime has no second quote
            _ if quote == '\'' && at > 1 && !text[1..].starts_with('\\') => return None,
            _ => {}
        }
    }
    None
}

/// Lines on which something is given the name `of`. A path or a field (`Class::of`, `x.of`) was named elsewhere.
fn lines_that_name_of(text: &str) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(c) = text[at..].chars().next() {
        let (before, rest) = text.split_at(at);
        if let Some(end) = prose_end(rest) {
            at += end;
        } else if c.is_alphanumeric() || c == '_' {
            let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let is_member = before.ends_with("::") || (before.ends_with('.') && !before.ends_with(".."));
            if word == "of" && !is_member {
                found.push(before.matches('\n').count() + 1);
            }
            at += word.len();
        } else {
            at += c.len_utf8();
        }
    }
    found
}

#[test]
fn nothing_is_called_of() {
    let files: Vec<_> = SOURCES.iter().flat_map(|place| rust_files(&root().join(place))).collect();
    assert!(files.len() > 100, "the test looked in the wrong place: {files:?}");
    let named = files.iter().flat_map(|file| {
        let lines = lines_that_name_of(&fs::read_to_string(file).unwrap());
        lines.into_iter().map(move |line| format!("{}:{line}", file.display()))
    });
    let named: Vec<_> = named.collect();
    assert!(named.is_empty(), "say what it is instead of `of`: {}", named.join(", "));
}

#[test]
fn this_test_sees_what_it_looks_for() {
    for given in [
        "let of = 3;",
        "fn of(x: u32) {}",
        "|of| x",
        "|(at, of): (usize, u32)| at",
        "Quantity { name, of: |end| end }",
        "&of",
        "0..of",
        "let quote = '\"'; let of = quote;",
        "fn f<'a>(of: &'a str) {}",
        "let text = r#\"\"\"#; let of = text;",
        "let escaped = \"\\\"\"; let of = escaped;",
        "'\\'' /* a */ of",
    ] {
        assert_eq!(lines_that_name_of(&format!("\n{given}")), [2], "{given}");
    }
    for fine in [
        "// what is made of it",
        "/* out\nof it */",
        "\"one of {of}\"",
        "\"over\n lines, of two\"",
        "r#\"a \"word\" of it\"#",
        "Class::of(x)",
        "gain.of",
        "let offset = of_all + a_of;",
    ] {
        assert!(lines_that_name_of(fine).is_empty(), "{fine}");
    }
}
