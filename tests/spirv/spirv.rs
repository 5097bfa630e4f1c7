//! Every kernel as naga writes it in SPIR-V, checked against spirv-val for Vulkan 1.3: all that can be said of cooperative
//! matrices where no adapter has them. spirv-val is compiled from its sources, because those that distributions have may
//! be too old to know them: minutes of C++, and so a package of its own, `cargo test -p jostle-spirv`.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet};

use jostle::{
    all_specs,
    gpu::{ElementTypes, KernelSpec},
};
use jostle_compilers::{
    F16, F16_TO_F32, F32, Overrides, Source,
    spirv::{self, Checks},
};
use spirv_tools::{
    TargetEnv,
    val::{Validator as _, compiled::CompiledValidator},
};

/// Those of `names` that the kernel declares, with their values.
fn declared(source: &Source, names: &[(&'static str, f64)]) -> Overrides<'static> {
    let declares =
        |name: &str| source.module.overrides.iter().any(|(_, declared)| declared.name.as_deref() == Some(name));
    names.iter().copied().filter(|(name, _)| declares(name)).collect()
}

fn check(source: &Source, overrides: &Overrides<'_>) {
    for checks in [Checks::AsTrained, Checks::All] {
        if let Err(error) = validate(&spirv::write(source, overrides, checks).unwrap()) {
            panic!("{} with {overrides:?}, {checks:?}: {error}", source.name());
        }
    }
}

fn validate(words: &[u32]) -> Result<(), spirv_tools::error::Error> {
    CompiledValidator::with_env(TargetEnv::Vulkan_1_3).validate(without_stray_layouts(words), None)
}

const OP_CAPABILITY: u32 = 17;
const OP_TYPE_ARRAY: u32 = 28;
const OP_TYPE_RUNTIME_ARRAY: u32 = 29;
const OP_TYPE_STRUCT: u32 = 30;
const OP_TYPE_POINTER: u32 = 32;
const OP_DECORATE: u32 = 71;
const OP_MEMBER_DECORATE: u32 = 72;
const OP_TYPE_COOPERATIVE_MATRIX: u32 = 4456;

/// Opcode and operands of each instruction.
fn instructions(words: &[u32]) -> Vec<(u32, &[u32])> {
    let (mut all, mut rest) = (Vec::new(), &words[5..]); // behind the header
    while let Some(first) = rest.first() {
        let (instruction, behind) = rest.split_at((first >> 16) as usize);
        all.push((first & 0xFFFF, &instruction[1..]));
        rest = behind;
    }
    all
}

/// The module without ArrayStride, Offset and the layout of matrices on types that lie in workgroup and function memory only.
///
/// naga 30 decorates these too, which Vulkan forbids (VUID-StandaloneSpirv-None-10684; gfx-rs/wgpu #7696) and drivers
/// overlook; spirv-val would stop at it and say nothing of the rest.
fn without_stray_layouts(words: &[u32]) -> Vec<u32> {
    const ARRAY_STRIDE: u32 = 6;
    // Of members: ColMajor, MatrixStride, Offset.
    const OF_MEMBERS: [u32; 3] = [5, 7, 35];
    const WORKGROUP_PRIVATE_FUNCTION: [u32; 3] = [4, 6, 7];
    let all = instructions(words);
    let mut parts: HashMap<u32, &[u32]> = HashMap::new();
    let (mut with_layout, mut without) = (Vec::new(), Vec::new());
    for (opcode, operands) in &all {
        match *opcode {
            OP_TYPE_ARRAY | OP_TYPE_RUNTIME_ARRAY => drop(parts.insert(operands[0], &operands[1..2])),
            OP_TYPE_STRUCT => drop(parts.insert(operands[0], &operands[1..])),
            OP_TYPE_POINTER if WORKGROUP_PRIVATE_FUNCTION.contains(&operands[1]) => without.push(operands[2]),
            OP_TYPE_POINTER => with_layout.push(operands[2]),
            _ => {}
        }
    }
    let (with_layout, without) = (reachable(&parts, with_layout), reachable(&parts, without));
    let stray = |opcode: u32, operands: &[u32]| {
        let layout = (opcode == OP_DECORATE && operands[1] == ARRAY_STRIDE)
            || (opcode == OP_MEMBER_DECORATE && OF_MEMBERS.contains(&operands[2]));
        layout && without.contains(&operands[0]) && !with_layout.contains(&operands[0])
    };
    let mut kept = words[..5].to_vec();
    for (opcode, operands) in all.into_iter().filter(|(opcode, operands)| !stray(*opcode, operands)) {
        kept.push((operands.len() as u32 + 1) << 16 | opcode);
        kept.extend(operands);
    }
    kept
}

/// `types` and all that they consist of.
fn reachable(parts: &HashMap<u32, &[u32]>, mut types: Vec<u32>) -> HashSet<u32> {
    let mut found = HashSet::new();
    while let Some(id) = types.pop() {
        if found.insert(id) {
            types.extend(parts.get(&id).copied().unwrap_or_default());
        }
    }
    found
}

/// The product of choices: one of each.
fn product(choices: &[&[&[(&'static str, f64)]]]) -> Vec<Overrides<'static>> {
    let mut all = vec![Overrides::new()];
    for options in choices {
        let longer = |one: &Overrides<'static>| {
            let one = one.clone();
            options.iter().map(move |option| [&one, *option].concat()).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

const NO_OR_YES: [f64; 2] = [0.0, 1.0];

/// Kernels by cooperative matrices with the types that they are compiled for: those of 16 x 16 take f16 only.
fn cooperative() -> Vec<(&'static KernelSpec, Vec<ElementTypes>)> {
    let specs = all_specs().into_iter().filter(|spec| spec.source.contains("enable wgpu_cooperative_matrix;"));
    let with_types = |spec: &'static KernelSpec| {
        let sixteen = spec.source.contains("coop_mat16x16");
        (spec, if sixteen { vec![F16, F16_TO_F32] } else { vec![F32, F16, F16_TO_F32] })
    };
    specs.map(with_types).collect()
}

/// Every epilogue; what an activation changes is checked apart.
const EPILOGUES: &[&[(&str, f64)]] = &[
    &[("EPILOGUE", 0.0)],
    &[("EPILOGUE", 1.0), ("ACTIVATION", 2.0)],
    &[("EPILOGUE", 1.0), ("ACTIVATION", 2.0), ("STORE_PRE", 1.0)],
    &[("EPILOGUE", 2.0), ("ACTIVATION", 2.0)],
];

/// Layouts of a matrix product, with operands that line up and that do not; passes of a convolution, as by octets and by quads.
const LAYOUTS: &[&[(&str, f64)]] = &[
    &[
        ("PASS", 0.0),
        ("COOP_A_ACROSS", 0.0),
        ("COOP_B_ACROSS", 1.0),
        ("A_ALIGNED", 0.0),
        ("B_ALIGNED", 1.0),
        ("WHOLE", 0.0),
    ],
    &[
        ("PASS", 0.0),
        ("COOP_A_ACROSS", 0.0),
        ("COOP_B_ACROSS", 1.0),
        ("A_ALIGNED", 1.0),
        ("B_ALIGNED", 1.0),
        ("WHOLE", 1.0),
    ],
    &[
        ("PASS", 1.0),
        ("COOP_A_ACROSS", 0.0),
        ("COOP_B_ACROSS", 0.0),
        ("A_ALIGNED", 1.0),
        ("B_ALIGNED", 0.0),
        ("WHOLE", 0.0),
    ],
    &[
        ("PASS", 1.0),
        ("COOP_A_ACROSS", 0.0),
        ("COOP_B_ACROSS", 0.0),
        ("A_ALIGNED", 1.0),
        ("B_ALIGNED", 1.0),
        ("WHOLE", 1.0),
    ],
    &[
        ("PASS", 2.0),
        ("COOP_A_ACROSS", 1.0),
        ("COOP_B_ACROSS", 1.0),
        ("A_ALIGNED", 0.0),
        ("B_ALIGNED", 0.0),
        ("WHOLE", 0.0),
    ],
    &[
        ("PASS", 2.0),
        ("COOP_A_ACROSS", 1.0),
        ("COOP_B_ACROSS", 1.0),
        ("A_ALIGNED", 1.0),
        ("B_ALIGNED", 1.0),
        ("WHOLE", 1.0),
    ],
];

/// Every tile, for subgroups of the sizes that adapters have.
const TILES: &[&[(&str, f64)]] = &[
    &[("COOP_SHARE", 4.0), ("COOP_THREADS", 128.0)],
    &[("COOP_SHARE", 4.0), ("COOP_THREADS", 32.0)],
    &[("COOP_SHARE", 2.0), ("COOP_THREADS", 128.0)],
    &[("COOP_SHARE", 2.0), ("COOP_THREADS", 256.0)],
];

/// What the kernel of a row of taps is asked for, whose tiles are the last two.
const ROW: &[&[(&str, f64)]] =
    &[&[("PASS", 2.0), ("COOP_A_ACROSS", 1.0), ("COOP_B_ACROSS", 1.0), ("COOP_BEHIND", 2.0)]];

#[test]
fn every_kernel_is_valid_spirv() {
    for source in jostle_compilers::sources().unwrap() {
        for overrides in source.variants() {
            check(&source, &overrides);
        }
    }
}

#[test]
fn cooperative_matrices_are_valid_spirv_with_every_choice() {
    let accumulate = NO_OR_YES.map(|value| [("ACCUMULATE", value)]);
    let accumulate: Vec<&[(&'static str, f64)]> = accumulate.iter().map(AsRef::as_ref).collect();
    let all = product(&[LAYOUTS, TILES, EPILOGUES, &accumulate]);
    let rows = product(&[ROW, &TILES[2..], &accumulate]);
    let mut checked = 0;
    for (spec, element_types) in cooperative() {
        for types in element_types {
            let source = Source::new(spec, types).unwrap();
            let is_row = spec.entry == "conv_coop_row";
            for overrides in if is_row { &rows } else { &all } {
                check(&source, &declared(&source, overrides));
                checked += 1;
            }
            if is_row {
                continue;
            }
            for activation in 0..6 {
                for epilogue in [1.0, 2.0] {
                    check(&source, &vec![("EPILOGUE", epilogue), ("ACTIVATION", f64::from(activation))]);
                }
            }
        }
    }
    // matrix product and convolution, by how results are stored, and rows of taps; 8 x 8 for three pairs of types, 16 x 16 for two
    assert_eq!(checked, 5 * (4 * all.len() + rows.len()));
    assert_eq!((all.len(), rows.len()), (LAYOUTS.len() * TILES.len() * EPILOGUES.len() * 2, 4));
}

/// The module with one operand of one instruction changed.
fn with_operand(words: &[u32], number: usize, operand: usize, value: u32) -> Vec<u32> {
    let before: usize = instructions(words)[..number].iter().map(|(_, operands)| operands.len() + 1).sum();
    let mut changed = words.to_vec();
    changed[5 + before + 1 + operand] = value;
    changed
}

#[test]
fn broken_modules_are_refused() {
    const SHADER: u32 = 1;
    const COOPERATIVE_MATRIX: u32 = 6022;
    const USE: usize = 5; // of a matrix type: as A, as B or as the sum
    for (spec, element_types) in cooperative() {
        let words =
            spirv::write(&Source::new(spec, element_types[0]).unwrap(), &Overrides::new(), Checks::AsTrained).unwrap();
        validate(&words).unwrap();
        let all = instructions(&words);

        let capability =
            all.iter().position(|(opcode, operands)| *opcode == OP_CAPABILITY && operands[0] == COOPERATIVE_MATRIX);
        let undeclared = with_operand(&words, capability.unwrap(), 0, SHADER);
        assert!(validate(&undeclared).is_err(), "{}: no capability", spec.entry);

        let matrices: Vec<_> = (0..all.len()).filter(|i| all[*i].0 == OP_TYPE_COOPERATIVE_MATRIX).collect();
        assert_eq!(matrices.len(), 3, "{}: A, B and the sum", spec.entry);
        let misused = with_operand(&words, matrices[0], USE, all[matrices[1]].1[USE]);
        assert!(validate(&misused).is_err(), "{}: one matrix used as another", spec.entry);
    }
}
