//! The WGSL as naga reads it against the specs that the host binds by, and the rules that shared parts keep.

use std::{collections::BTreeSet, fs};

use crate::common::places::root;
use jostle::{
    all_specs,
    gpu::{Access, ElementTypes, KernelSpec},
};
use naga::{
    AddressSpace, Block, Expression, Function, Handle, Module, Statement, StorageAccess, TypeInner,
    front::wgsl,
    proc::Layouter,
    valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator},
};

/// (stem, text) of the WGSL files of a folder.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} holds no WGSL");
    files
}

fn parsed(spec: &KernelSpec) -> Module {
    parsed_as(spec, ElementTypes::default())
}

fn parsed_as(spec: &KernelSpec, types: ElementTypes) -> Module {
    validated(&types.source(spec), &format!("{} with {types:?}", spec.entry)).0
}

fn validated(source: &str, name: &str) -> (Module, ModuleInfo) {
    let module = wgsl::parse_str(source).unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
    match Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module) {
        Ok(info) => (module, info),
        Err(error) => panic!("{name}: {}", error.emit_to_string(source)),
    }
}

#[test]
fn every_kernel_is_valid_with_f16() {
    for spec in all_specs() {
        for (real_is_half, out_is_half) in [(true, true), (true, false)] {
            parsed_as(spec, ElementTypes { real_is_half, out_is_half });
        }
    }
}

#[test]
fn every_kernel_is_valid_and_has_one_entry_point() {
    for spec in all_specs() {
        let module = parsed(spec);
        let entries: Vec<_> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(entries, [spec.entry]);
        let workgroup = module.entry_points[0].workgroup_size;
        assert!(workgroup.iter().product::<u32>() <= 256, "{}: WebGPU grants 256 invocations a workgroup", spec.entry);
    }
}

#[test]
fn bindings_are_those_of_the_specs() {
    for spec in all_specs() {
        let module = parsed(spec);
        let mut found: Vec<(u32, String, Access)> = Vec::new();
        for (_, variable) in module.global_variables.iter() {
            let Some(binding) = &variable.binding else { continue };
            let name = variable.name.clone().unwrap();
            assert_eq!(binding.group, 0, "{}: {name}", spec.entry);
            let access = match variable.space {
                AddressSpace::Storage { access } if access == StorageAccess::LOAD => Access::Read,
                AddressSpace::Storage { access } if access == StorageAccess::LOAD | StorageAccess::STORE => {
                    Access::ReadWrite
                }
                other => panic!("{}: {name} is in {other:?}", spec.entry),
            };
            found.push((binding.binding, name, access));
        }
        found.sort_by_key(|(binding, ..)| *binding);
        let declared = |(binding, (name, access)): (usize, &(&str, Access))| {
            let access = match access {
                Access::Read | Access::Index => Access::Read,
                Access::ReadWrite | Access::Real | Access::Out => Access::ReadWrite,
            };
            (binding as u32, (*name).to_owned(), access)
        };
        let expected: Vec<_> = spec.bindings.iter().enumerate().map(declared).collect();
        assert_eq!(found, expected, "{}", spec.entry);
        // what every adapter of WebGPU's defaults grants a stage
        assert!(found.len() <= 8, "{} binds {} buffers", spec.entry, found.len());
    }
}

/// Integers in buffers that kernels without bounds checks read, each with why they cannot lead it astray.
const ARGUED_INTEGERS: [(&str, &str, &str); 48] = [
    ("mse", "labels", "compared with the number of an output, or bits of numbers: values"),
    ("gather_tokens", "samples", "values, which the kernels that index by them cut to their tables"),
    ("gather_tokens", "output", "as its samples"),
    ("gather", "samples", "bytes or bits of numbers: values"),
    ("gather", "ids", "counters of Philox"),
    ("embedding", "tokens", "cut to the vocabulary where they lead"),
    ("embedding_gradient", "order", "cut to the rows where they lead"),
    ("embedding_gradient", "starts", "cut to the rows: where loops over `order` begin and end"),
    ("token_order", "tokens", "cut to the vocabulary and compared: values"),
    ("token_order", "keys", "compared: values"),
    ("token_order", "order", "written alone"),
    ("token_order", "starts", "written alone"),
    ("ascend", "blocks", "written by Arena: a tensor's number, which `marked` has an entry for"),
    ("ascend", "marked", "compared: values"),
    ("adaptive_norms", "blocks", "written by Arena: a tensor's number, which `marked` has an entry for"),
    ("adaptive_norms", "marked", "compared: values"),
    ("descend", "blocks", "counters of Philox, and a tensor's number, which `lens` has an entry for"),
    ("descend", "lens", "compared: values"),
    ("update_ivon", "blocks", "counters of Philox"),
    ("update_ivon", "scaling", "counts of steps"),
    ("weigh", "blocks", "counters of Philox"),
    ("gradient_factor", "scaling", "counts of steps"),
    ("mse", "scaling", "counts of steps"),
    ("softmax_nll", "scaling", "counts of steps"),
    ("nll_part_gradient", "scaling", "counts of steps"),
    ("update_sgd", "scaling", "counts of steps"),
    ("update_adam", "scaling", "counts of steps"),
    ("update_lion", "scaling", "counts of steps"),
    ("update_free", "scaling", "counts of steps"),
    ("conv_pack", "table", "written by the host, of tensors that it has bound"),
    ("deferred_sums", "table", "written by the host, of tensors that it has bound"),
    ("perturb", "blocks", "written by Arena: a tensor's number, which `filters` has a row for, and counters of Philox"),
    ("perturb", "filters", "written by Arena; what they lead to is cut to `norms`"),
    ("matmul_coop", "a", "the bits of f16 values"),
    ("matmul_coop", "b", "the bits of f16 values"),
    ("conv_coop", "a", "the bits of f16 values"),
    ("conv_coop", "b", "the bits of f16 values"),
    ("conv_coop_row", "a", "the bits of f16 values"),
    ("conv_coop_row", "b", "the bits of f16 values"),
    ("update_sgd", "blocks", "counters of Philox"),
    ("update_adam", "blocks", "counters of Philox"),
    ("update_lion", "blocks", "counters of Philox"),
    ("update_free", "blocks", "counters of Philox"),
    ("matrix_momentum", "blocks", "compared: values"),
    ("matrix_momentum", "scaling", "counts of steps"),
    ("filter_norm", "filters", "written by the host: ranges of the tensors that it has bound"),
    ("pool_gradient", "chosen", "compared with the number of a pixel"),
    ("pool", "chosen", "written by the max pool before it, and cut to the image where it leads"),
];

/// Whether a buffer's elements are integers, alone, in vectors or in rows of a table.
fn holds_integers(module: &Module, ty: naga::Handle<naga::Type>) -> bool {
    use naga::{Scalar, ScalarKind, TypeInner};
    match module.types[ty].inner {
        TypeInner::Array { base, .. } => holds_integers(module, base),
        TypeInner::Struct { ref members, .. } => members.iter().any(|member| holds_integers(module, member.ty)),
        TypeInner::Scalar(Scalar { kind, .. }) | TypeInner::Vector { scalar: Scalar { kind, .. }, .. } => {
            matches!(kind, ScalarKind::Uint | ScalarKind::Sint)
        }
        _ => false,
    }
}

#[test]
fn integers_in_buffers_are_checked_or_argued() {
    let argued: BTreeSet<_> = ARGUED_INTEGERS.iter().map(|(entry, name, _)| (*entry, (*name).to_owned())).collect();
    let mut found = BTreeSet::new();
    for spec in all_specs() {
        let module = parsed(spec);
        let integers = module
            .global_variables
            .iter()
            .map(|(_, variable)| variable)
            .filter(|variable| variable.binding.is_some() && holds_integers(&module, variable.ty));
        for name in integers.filter_map(|variable| variable.name.clone()) {
            let (_, access) = spec.bindings.iter().find(|(declared, _)| *declared == name).unwrap();
            if *access != Access::Index {
                assert!(argued.contains(&(spec.entry, name.clone())), "{}: {name} is not argued", spec.entry);
                found.insert((spec.entry, name));
            }
        }
    }
    assert_eq!(argued, found, "argued, but there is no such binding");
}

/// The name of the variable that a pointer leads into; naga refuses arguments that point into shared memory.
fn origin(module: &Module, function: &Function, pointer: Handle<Expression>) -> String {
    match &function.expressions[pointer] {
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => origin(module, function, *base),
        Expression::GlobalVariable(variable) => module.global_variables[*variable].name.clone().unwrap(),
        other => panic!("a pointer from {other:?}"),
    }
}

/// Adds what of `block` stores to a component of a vector in memory that invocations share. A pointer to a component is
/// what naga calls a value pointer without a size.
fn component_stores(
    module: &Module,
    function: &Function,
    info: &FunctionInfo,
    block: &Block,
    found: &mut BTreeSet<String>,
) {
    for statement in block {
        let within: Vec<&Block> = match statement {
            Statement::Store { pointer, .. } => {
                if let TypeInner::ValuePointer { size: None, space, .. } = info[*pointer].ty.inner_with(&module.types)
                    && matches!(space, AddressSpace::WorkGroup | AddressSpace::Storage { .. })
                {
                    let name = function.name.as_deref().unwrap_or("the entry point");
                    found.insert(format!("{name} writes a component of {}", origin(module, function, *pointer)));
                }
                continue;
            }
            Statement::Block(block) => vec![block],
            Statement::If { accept, reject, .. } => vec![accept, reject],
            Statement::Switch { cases, .. } => cases.iter().map(|case| &case.body).collect(),
            Statement::Loop { body, continuing, .. } => vec![body, continuing],
            _ => continue,
        };
        within.into_iter().for_each(|block| component_stores(module, function, info, block, found));
    }
}

fn all_component_stores((module, info): &(Module, ModuleInfo)) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (handle, function) in module.functions.iter() {
        component_stores(module, function, &info[handle], &function.body, &mut found);
    }
    for (number, entry) in module.entry_points.iter().enumerate() {
        let function = &entry.function;
        component_stores(module, function, info.get_entry_point(number), &function.body, &mut found);
    }
    found
}

/// WGSL lets the store of a component write the whole vector, and compilers for Metal and D3D do: of two invocations that
/// write to one vector, one may undo what the other did.
#[test]
fn no_component_of_a_vector_in_shared_memory_is_written() {
    let mut found = BTreeSet::new();
    for spec in all_specs() {
        let stores = all_component_stores(&validated(&ElementTypes::default().source(spec), spec.entry));
        found.extend(stores.into_iter().map(|store| format!("{}: {store}", spec.entry)));
    }
    assert!(found.is_empty(), "{}", found.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn writes_of_components_are_found_wherever_they_stand() {
    let source = "
        var<workgroup> tile: array<vec4<f32>, 4>;
        var<workgroup> scalars: array<f32, 4>;
        @group(0) @binding(0) var<storage, read_write> output: array<vec4<f32>>;
        fn by_argument(own: ptr<function, vec4<f32>>) { (*own).x = 1.0; }
        fn in_a_loop(i: u32) { for (var j = 0u; j < i; j++) { if j == 2u { output[i][j] += 1.0; } } }
        fn in_a_switch(i: u32) { let cell = &tile[i]; switch i { case 1u: { (*cell).y = 2.0; } default: {} } }
        fn in_order(i: u32) {
            var own = output[i];
            own.x = 1.0;
            by_argument(&own);
            scalars[i] = own.y;
            tile[i] = own;
            output[i] = own;
        }
        @compute @workgroup_size(4)
        fn probe(@builtin(local_invocation_index) i: u32) {
            in_a_loop(i);
            in_a_switch(i);
            in_order(i);
            output[0].w = 3.0;
        }";
    let found = all_component_stores(&validated(source, "probe"));
    let expected = [
        "in_a_loop writes a component of output",
        "in_a_switch writes a component of tile",
        "probe writes a component of output",
    ];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn immediates_are_as_large_as_the_specs_say() {
    for spec in all_specs() {
        let module = parsed(spec);
        let mut layouter = Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let immediate_bytes = |variable: &naga::GlobalVariable| {
            (variable.space == AddressSpace::Immediate).then(|| layouter[variable.ty].size)
        };
        let bytes: u32 = module.global_variables.iter().filter_map(|(_, variable)| immediate_bytes(variable)).sum();
        assert_eq!(bytes, spec.immediate_bytes, "{}", spec.entry);
        assert!(bytes <= 64, "{}: WebGPU grants 64 bytes of immediates", spec.entry);
    }
}

#[test]
fn every_file_is_a_kernel_and_every_kernel_a_file() {
    let files = files("shaders");
    for (stem, text) in &files {
        let owner = all_specs().into_iter().find(|spec| spec.source.starts_with(text.as_str()));
        let spec = owner.unwrap_or_else(|| panic!("{stem}.wgsl belongs to no kernel of all_specs()"));
        assert!(spec.entry.starts_with(stem.as_str()), "{stem}.wgsl has the entry point {}", spec.entry);
        assert!(text.starts_with("//"), "{stem}.wgsl has to say what it computes");
        assert!(text.contains("Shapes") && text.contains("Dispatch"), "{stem}.wgsl: shapes and dispatch in its header");
    }
}

/// The name that a module-scope line declares.
fn declared(line: &str) -> Option<(&str, &str)> {
    let (keyword, rest) = line.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    let keywords = ["fn", "const", "struct", "alias", "override"];
    (keywords.contains(&keyword) || keyword.starts_with("var")).then_some((keyword, name))
}

/// What names of a shared part begin with: its file's name, less the number by which files of one choice differ.
fn prefix(stem: &str) -> &str {
    stem.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_')
}

#[test]
fn shared_parts_keep_to_their_prefix_and_declare_no_bindings() {
    for (stem, text) in files("shaders/shared") {
        let mut names = 0;
        let prefix = prefix(&stem);
        for line in text.lines() {
            assert!(!line.starts_with('@') && !line.starts_with("var<storage"), "{stem}.wgsl: {line}");
            let Some((keyword, name)) = declared(line) else { continue };
            names += 1;
            let lower = name.to_lowercase();
            let prefixed = match keyword {
                "fn" | "var<workgroup>" => name == prefix || name.starts_with(&format!("{prefix}_")),
                "const" | "override" => name == name.to_uppercase() && lower.starts_with(&format!("{prefix}_")),
                "struct" | "alias" => lower.starts_with(&prefix.replace('_', "")),
                _ => false,
            };
            assert!(prefixed, "shared/{stem}.wgsl declares {keyword} {name}");
        }
        assert!(names > 0, "shared/{stem}.wgsl declares nothing that this test sees");
    }
}

#[test]
fn every_shared_part_is_used() {
    for (stem, text) in files("shaders/shared") {
        assert!(all_specs().iter().any(|spec| spec.source.contains(&text)), "shared/{stem}.wgsl is in no kernel");
    }
}
