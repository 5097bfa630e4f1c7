//! What documents name is there.

use std::fs;

use crate::common::places::root;

/// What stands between backquotes and is a path of this repository; capitals stand for a name to be chosen.
fn paths(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path = |quoted: &&str| {
        let known = ["src/", "shaders/", "tests/", "examples/", "docs/", "fuzz/", "assets/", "scripts/"];
        known.iter().any(|folder| quoted.starts_with(folder)) && !quoted.contains("NAME") && !quoted.contains(' ')
    };
    quoted.filter(is_path).map(str::to_owned).collect()
}

#[test]
fn files_that_contributors_are_sent_to_exist() {
    for document in ["CONTRIBUTING.md", "docs/architecture.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for path in paths(&text) {
            assert!(root().join(&path).exists(), "{document} names {path}, which is not there");
        }
    }
    let named = paths(&fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap());
    assert!(named.len() > 20, "the test looked in the wrong place: {named:?}");
}

#[test]
fn this_test_sees_what_it_looks_for() {
    assert_eq!(
        paths("see `src/ops/add.rs`, `shaders/NAME.wgsl`, `Op` and `docs/no.md`"),
        ["src/ops/add.rs", "docs/no.md"]
    );
}
