//! Every kernel through naga's writers: no other compiler is needed for these.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashSet;

use super::*;

/// Calls `check` for every choice of every kernel in every form, and returns how many there are.
fn every_choice(mut check: impl FnMut(&Source, &Overrides<'_>)) -> usize {
    let mut choices = 0;
    for source in sources().unwrap() {
        for overrides in source.variants() {
            check(&source, &overrides);
            choices += 1;
        }
    }
    choices
}

#[test]
fn every_kernel_is_written_in_msl() {
    let choices = every_choice(|source, overrides| {
        for version in msl::VERSIONS {
            for checked in [false, true] {
                let text = msl::write(source, overrides, version, checked).unwrap();
                assert!(text.contains("kernel void"), "{}: {text}", source.name());
            }
        }
    });
    assert!(choices > all_specs().len());
}

#[test]
fn every_kernel_but_the_cooperative_is_written_in_hlsl() {
    let mut refused = HashSet::new();
    every_choice(|source, overrides| {
        for checked in [false, true] {
            match hlsl::write(source, overrides, checked) {
                Ok(hlsl) => assert!(hlsl.text.contains(&format!("void {}(", hlsl.entry)), "{}", hlsl.text),
                Err(_) if source.is_cooperative() => drop(refused.insert(source.spec.entry)),
                Err(words) => panic!("{words}"),
            }
        }
    });
    assert_eq!(refused, HashSet::from(["conv_coop", "conv_coop_row", "matmul_coop"]));
}

#[test]
fn names_differ() {
    let sources = sources().unwrap();
    let names: HashSet<_> = sources.iter().map(Source::name).collect();
    assert_eq!(names.len(), sources.len());
}

#[test]
fn every_choice_is_of_an_override_and_every_bool_is_turned_over() {
    let sources = sources().unwrap();
    let variants = |entry: &str| sources.iter().find(|source| source.spec.entry == entry).unwrap().variants();
    for (name, values) in CHOICES {
        let declares =
            |source: &&Source| source.variants().iter().any(|one| one.iter().any(|(declared, _)| declared == name));
        assert!(sources.iter().any(|source| declares(&source)), "no kernel has {name} {values:?}");
    }
    assert!(variants("matmul_block").contains(&vec![("A_ALIGNED", 0.0)]));
    assert!(variants("matmul_block").contains(&vec![("A_TRANSPOSED", 1.0)]));
    assert_eq!(variants("empty"), [Overrides::new()]);
}

#[test]
fn a_faulty_kernel_is_refused_in_naga_s_words() {
    static BROKEN: KernelSpec = KernelSpec {
        entry: "broken",
        source: "@compute @workgroup_size(1) fn broken() { let x: u32 = 1.0; }",
        bindings: &[],
        immediate_bytes: 0,
    };
    let words = Source::new(&BROKEN, F32).unwrap_err();
    assert!(words.contains("u32"), "{words}");

    // A binding that the spec lacks has no place in MSL or HLSL.
    static UNBOUND: KernelSpec = KernelSpec {
        entry: "unbound",
        source: "@group(0) @binding(0) var<storage, read_write> c: array<f32>;
            @compute @workgroup_size(1) fn unbound() { c[0] = 1.0; }",
        bindings: &[],
        immediate_bytes: 0,
    };
    let source = Source::new(&UNBOUND, F32).unwrap();
    let words = msl::write(&source, &vec![], msl::VERSIONS[0], false).unwrap_err();
    assert!(words.contains("MissingBind"), "{words}");
    let words = hlsl::write(&source, &vec![], false).unwrap_err();
    assert!(words.contains("MissingBinding"), "{words}");
}

#[test]
fn subgroups_are_seen_in_code_and_not_in_comments() {
    assert!(web::uses_subgroups("fn f() { let a = subgroupAdd(1u); } // so"));
    assert!(web::uses_subgroups("@builtin(subgroup_size) size: u32,"));
    assert!(!web::uses_subgroups("// by a subgroup\nfn f() {} // of subgroups"));
}
