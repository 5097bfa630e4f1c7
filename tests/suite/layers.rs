//! Dependencies point downwards: which module of the library names which other.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::common::places::{root, rust_files};

/// Each module with those it may name; `None` for all. Modules not listed fail the test: they have to find their place.
const LAYERS: &[(&str, Option<&[&str]>)] = &[
    ("input", Some(&[])),
    ("durable", Some(&[])),
    ("digest", Some(&[])),
    ("names", Some(&[])),
    ("schedule", Some(&["names"])),
    ("gpu", Some(&["digest"])),
    ("data", Some(&["names"])),
    ("report", Some(&[])),
    ("tensorboard", Some(&[])),
    ("kernels", Some(&["names", "gpu"])),
    ("graph", Some(&["kernels", "gpu"])),
    ("estimate", Some(&["kernels", "gpu", "input"])),
    ("device_data", Some(&["data", "graph", "noise", "kernels", "gpu"])),
    ("ops", Some(&["graph", "names", "kernels", "gpu"])),
    ("specs", Some(&["ops", "kernels", "gpu"])),
    ("noise", Some(&["schedule", "names", "kernels", "gpu"])),
    ("optim", Some(&["noise", "schedule", "names", "kernels", "gpu"])),
    ("rules", Some(&["optim", "noise", "schedule", "names", "kernels", "gpu"])),
    ("nn", Some(&["ops", "graph", "names", "noise", "kernels", "gpu", "input", "durable"])),
    ("analysis", Some(&["device_data", "nn", "ops", "graph", "noise", "schedule", "kernels", "gpu"])),
    (
        "train",
        Some(&[
            "analysis",
            "device_data",
            "data",
            "nn",
            "ops",
            "rules",
            "graph",
            "optim",
            "noise",
            "schedule",
            "names",
            "kernels",
            "gpu",
            "tensorboard",
            "input",
            "durable",
            "digest",
        ]),
    ),
    (
        "bench",
        Some(&[
            "train",
            "analysis",
            "device_data",
            "data",
            "nn",
            "ops",
            "rules",
            "graph",
            "optim",
            "noise",
            "schedule",
            "kernels",
            "gpu",
        ]),
    ),
    (
        "experiments",
        Some(&[
            "train", "analysis", "data", "report", "nn", "ops", "rules", "graph", "optim", "noise", "schedule",
            "kernels", "gpu", "input",
        ]),
    ),
    ("fuzzing", None),
    ("gpu_report", Some(&["bench", "report", "train", "gpu", "noise", "durable"])),
    ("cli", None),
];

fn source() -> PathBuf {
    root().join("src")
}

/// The code without its comments; `//` within a string only hides the rest of that line.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn identifier(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first names after each `root::`, braces included: `crate::{a::B, c}` names a and c.
fn named(code: &str, root: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + root.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.insert(identifier(rest));
            continue;
        };
        let mut depth = 1;
        names.insert(identifier(list));
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    names.insert(identifier(&list[i + 1..]));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names.remove("");
    names
}

#[test]
fn modules_name_only_those_below_them() {
    let mut modules = BTreeSet::new();
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if module == "lib" || module == "main" {
            continue;
        }
        let layer = LAYERS.iter().find(|(name, _)| *name == module);
        let (_, allowed) = layer.unwrap_or_else(|| panic!("src/{module} has no place in the layers of this test"));
        for file in rust_files(&path) {
            let text = code(&fs::read_to_string(&file).unwrap());
            for name in named(&text, "crate::").into_iter().chain(named(&text, "jostle::")) {
                let known = LAYERS.iter().any(|(layer, _)| *layer == name);
                let fine = name == module || !known || allowed.is_none_or(|allowed| allowed.contains(&name.as_str()));
                assert!(fine, "{}: {module} must not use {name}", file.display());
            }
        }
        modules.insert(module);
    }
    assert!(modules.len() >= 8, "the test looked in the wrong place: {modules:?}");
}

#[test]
fn only_the_gpu_layer_names_wgpu() {
    for file in rust_files(&source()) {
        let inside = file.strip_prefix(source()).unwrap();
        let is_gpu = inside.starts_with("gpu");
        let text = code(&fs::read_to_string(&file).unwrap());
        assert!(is_gpu || named(&text, "wgpu::").is_empty(), "{}: wgpu outside of src/gpu", inside.display());
        assert!(!text.contains("@compute"), "{}: WGSL belongs into shaders/", inside.display());
    }
}

/// Kernels share by `super` or `shaders/shared` only, and references under `tests/` check nothing with itself.
#[test]
fn references_do_not_call_what_they_check() {
    let path = root().join("tests/suite/common/reference.rs");
    let text = code(&fs::read_to_string(path).unwrap());
    assert_eq!(text.matches("jostle::").count(), 1, "only the names of activations");
    assert!(text.contains("use jostle::kernels::Activation;"));
}

#[test]
fn this_test_sees_what_it_looks_for() {
    let names = |text: &str| named(&code(text), "crate::").into_iter().collect::<Vec<_>>();
    assert_eq!(names("use crate::{gpu::{Gpu, View},\n kernels::Arena, noise};"), ["gpu", "kernels", "noise"]);
    assert_eq!(names("pub fn f(x: crate::gpu::Gpu) {} // crate::cli"), ["gpu"]);
    assert_eq!(names("use crate::train::{self, run};"), ["train"]);
    assert!(names("mycrate::x; $crate::y").is_empty());
}
