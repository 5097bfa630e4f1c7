//! What a schedule is said to launch, without a device, against what a plan binds on one and what the WGSL declares.

use std::fs;

use jostle::{
    gpu::{CooperativeMatrix, Element, Family, Faults, Gpu, Launch, Scalar},
    graph::{Plan, PlanMode, PlannedLaunch, Schedule, TangentArenas},
    kernels::{Arena, Target},
    nn::{self, Model},
    ops::Loss,
    train::DeviceData,
};
use naga::{BinaryOperator, Expression, Handle, Literal, Module, front::wgsl};

use crate::common::{device, images::hashed_images, listing, own_device};

const BATCH: usize = 16;
const SAMPLE: [usize; 3] = [3, 32, 32];

/// Norms of a sample, grouped convolutions, average pools.
const NORMS: &str = r#"
layers = [
    { type = "conv", channels = 16, kernel = 3, padding = 1, stride = 2 },
    { type = "group-norm", groups = 4 },
    { type = "gelu" },
    { type = "conv", channels = 16, kernel = 3, padding = 1, groups = 16 },
    { type = "layer-norm" },
    { type = "tanh" },
    { type = "average-pool", kernel = 2 },
    { type = "flatten" },
    { type = "linear" },
]
"#;

/// What transformers are made of beside attention.
const PATCHES: &str = r#"
layers = [
    { type = "conv", channels = 30, kernel = 4, stride = 4 },
    { type = "sequence" },
    { type = "class-token" },
    { type = "positions" },
    { type = "rms-norm" },
    { type = "linear", features = 40, bias = false },
    { type = "swiglu" },
    { type = "layer-norm", bias = false },
    { type = "linear", name = "square", features = 20 },
    { type = "gelu_tanh" },
    { type = "tied-linear", weight = "square.weight" },
    { type = "token" },
    { type = "linear" },
]
"#;

fn models() -> Vec<Model> {
    let folder = tempfile::tempdir().unwrap();
    let norms = folder.path().join("norms.toml");
    fs::write(&norms, NORMS).unwrap();
    let patches = folder.path().join("patches.toml");
    fs::write(&patches, PATCHES).unwrap();
    let names = ["mlp:3072-33-10:gelu", "cnn1", "resnet20:8", "vgg11-bn:4"];
    let names = names.into_iter().chain([&norms, &patches].map(|path| path.to_str().unwrap()));
    names.map(|name| Model::build(name, &nn::Signature::default()).unwrap()).collect()
}

fn launches(schedule: &Schedule, target: &Target) -> Vec<Launch> {
    let planned = schedule.launches(target, SAMPLE).unwrap();
    planned.into_iter().map(|PlannedLaunch { launch, .. }| launch).collect()
}

/// A kernel with its bindings, constants and workgroup, that does nothing: a driver has it compiled at once.
fn without_body(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(entry) = rest.find("@compute") {
        let body = entry + rest[entry..].find('{').unwrap();
        let mut depth = 0;
        let end = rest[body..].char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        });
        kept += &format!("{}{{}}", &rest[..body]);
        rest = &rest[body + end.unwrap().0 + 1..];
    }
    kept + rest
}

/// (kernel, workgroups) of what a plan binds on the device.
fn bound(gpu: &Gpu, model: &Model, schedule: &Schedule) -> Vec<(String, [u32; 3])> {
    let layout = model.graph.layout();
    let words = layout.words();
    let arena = Arena::stored(gpu, layout, &vec![0.0; model.graph.params().len()], schedule.element).unwrap();
    let data = DeviceData::new(gpu, hashed_images(1, BATCH), BATCH, &[[0.0, 1.0]]).unwrap();
    let metrics = gpu.buffer("metrics", 2).unwrap();
    let tangents = TangentArenas {
        direction: gpu.buffer("direction", words).unwrap(),
        product: gpu.buffer("product", words).unwrap(),
    };
    let plan = Plan::with_tangents(gpu, schedule, &arena, Some(&tangents), data.views(), &metrics.view()).unwrap();
    plan.dispatches().iter().map(|dispatch| (dispatch.kernel_name().to_owned(), dispatch.grid().0)).collect()
}

#[test]
fn a_plan_binds_what_the_schedule_says() {
    // Nothing runs here.
    for family in [None, Some(Family::Gpu)] {
        let faults = Faults { misread: Some(without_body), family, ..Faults::default() };
        let kernels = compared(&own_device().with_faults(faults));
        assert!(kernels > 1000, "{kernels} dispatches compared");
    }
}

/// Plans every model on the device: how many dispatches were as the schedule says.
fn compared(gpu: &Gpu) -> usize {
    let target = Target::for_device(gpu);
    let mut kernels = 0;
    for model in models() {
        let precisions = [
            (PlanMode::Train, Element::Word),
            (PlanMode::HessianProduct, Element::Word),
            (PlanMode::Train, Element::Half),
        ];
        for (mode, element) in precisions {
            if element == Element::Half && !gpu.has_f16() {
                continue;
            }
            let loss = if mode == PlanMode::Train { Loss::Nll } else { Loss::Mse };
            let schedule = Schedule::stored(&model.graph, BATCH, mode, loss, element).unwrap();
            let schedule = schedule.with_deferred_sums(target.class).unwrap();
            let said: Vec<_> = launches(&schedule, &target)
                .iter()
                .map(|launch| (launch.spec.entry.to_owned(), launch.grid.0))
                .collect();
            assert_eq!(said, bound(gpu, &model, &schedule), "{model}, {mode:?}, {element:?}");
            kernels += said.len();
        }
    }
    kernels
}

/// The value of an override expression where the host has set `constants`.
fn value(module: &Module, constants: &[(&'static str, f64)], expression: Handle<Expression>) -> f64 {
    match module.global_expressions[expression] {
        Expression::Literal(Literal::U32(literal)) => f64::from(literal),
        Expression::Literal(Literal::I32(literal)) => f64::from(literal),
        Expression::Literal(Literal::AbstractInt(literal)) => literal as f64,
        Expression::Constant(constant) => value(module, constants, module.constants[constant].init),
        Expression::Override(handle) => {
            let declared = &module.overrides[handle];
            let set = constants.iter().find(|(name, _)| Some(*name) == declared.name.as_deref());
            set.map_or_else(|| value(module, constants, declared.init.unwrap()), |(_, value)| *value)
        }
        Expression::Binary { op: BinaryOperator::Multiply, left, right } => {
            value(module, constants, left) * value(module, constants, right)
        }
        ref other => panic!("a workgroup's size by {other:?}"),
    }
}

fn declared_threads(launch: &Launch) -> u32 {
    let module = wgsl::parse_str(&jostle::gpu::ElementTypes::default().source(launch.spec)).unwrap();
    let entry = &module.entry_points[0];
    let Some(overrides) = entry.workgroup_size_overrides else { return entry.workgroup_size.iter().product() };
    let side = |axis: usize| {
        overrides[axis].map_or(f64::from(entry.workgroup_size[axis]), |side| value(&module, &launch.constants, side))
    };
    (side(0) * side(1) * side(2)) as u32
}

#[test]
fn workgroups_have_the_invocations_that_launches_say() {
    let mut seen: Vec<Launch> = Vec::new();
    for model in models() {
        for mode in [PlanMode::Train, PlanMode::HessianProduct] {
            let schedule = Schedule::new(&model.graph, BATCH, mode, Loss::Nll).unwrap();
            for target in [Target::for_device(device()), Target::GENERIC] {
                seen.extend(launches(&schedule.clone().with_deferred_sums(target.class).unwrap(), &target));
            }
        }
    }
    seen.sort_by_key(|launch| (launch.spec.entry, format!("{:?}", launch.constants), launch.threads));
    seen.dedup_by_key(|launch| (launch.spec.entry, format!("{:?}", launch.constants), launch.threads));
    assert!(seen.len() > 30, "{} pipelines", seen.len());
    for launch in seen {
        assert_eq!(declared_threads(&launch), launch.threads, "{} with {:?}", launch.spec.entry, launch.constants);
    }
}

/// Batch norm of ResNet-18's first layers on a large GPU: every multiprocessor has work, and no invocation much of it.
#[test]
fn batch_norm_fills_a_large_gpu() {
    let model = Model::build("resnet18", &nn::Signature::default()).unwrap();
    let schedule = Schedule::new(&model.graph, 128, PlanMode::Train, Loss::Nll).unwrap();
    let planned = schedule.launches(&Target::GENERIC, SAMPLE).unwrap();
    let norms: Vec<_> = planned.iter().filter(|planned| planned.launch.spec.entry.starts_with("batch_norm")).collect();
    assert_eq!(norms.len(), 20 * 4, "20 batch norms, two dispatches in either direction");
    for PlannedLaunch { step, launch } in norms {
        let (name, kernel) = (&schedule.steps[*step].name, launch.spec.entry);
        assert!(launch.chain <= 64, "{name}, {kernel}: a chain of {}", launch.chain);
        assert!(launch.workgroups() >= 264, "{name}, {kernel}: {} workgroups", launch.workgroups());
    }
}

/// ResNet-18's step on a large GPU, and in f16 on one with cooperative matrices: weights are packed once, weight gradients'
/// sums are added up together, and with the update there are at most 330 dispatches, and 180.
#[test]
fn small_jobs_of_many_layers_go_together() {
    let model = Model::build("resnet18", &nn::Signature::default()).unwrap();
    let matrices = listing([32, 32], CooperativeMatrix::square(16, Scalar::F16));
    for (element, class, deferred, at_once, all) in
        [(Element::Word, Target::GENERIC.class, 2, 2, 329), (Element::Half, matrices, 4, 8, 179)]
    {
        let schedule = Schedule::stored(&model.graph, 128, PlanMode::Train, Loss::Nll, element).unwrap();
        let schedule = schedule.with_deferred_sums(class).unwrap();
        let launches = launches(&schedule, &Target { class, ..Target::GENERIC });
        let count = |entry: &str| launches.iter().filter(|launch| launch.spec.entry == entry).count();
        println!("{element:?}: {} dispatches, {} of deferred sums", launches.len(), count("deferred_sums"));
        assert_eq!(count("conv_pack"), 1, "{element:?}");
        assert!(count("deferred_sums") <= deferred, "{element:?}: {}", count("deferred_sums"));
        // Of the classifier, and of convolutions that have few tiles: forward and data gradients, which are needed at once.
        assert!(count("split_sum") <= at_once, "{element:?}: {}", count("split_sum"));
        assert!(launches.len() <= all, "{element:?}: {} dispatches", launches.len());
    }
}

/// Every byte and operation that the schedule counts belongs to a dispatch.
#[test]
fn dispatches_share_out_the_work() {
    for model in models() {
        let schedule = Schedule::new(&model.graph, BATCH, PlanMode::Train, Loss::Nll).unwrap();
        let schedule = schedule.with_deferred_sums(Target::GENERIC.class).unwrap();
        let planned = launches(&schedule, &Target::GENERIC);
        assert!(planned.iter().all(|launch| launch.work.bytes > 0), "{model}: a dispatch that touches nothing");
        let flops: u64 = planned.iter().map(|launch| launch.work.flops).sum();
        // Winograd's products save more than half of the operations that they stand for.
        assert!(flops as f64 > 0.4 * schedule.flops() as f64, "{model}: {flops} of {}", schedule.flops());
        assert!(planned.iter().map(|launch| launch.work.bytes).sum::<u64>() >= schedule.bytes(Target::GENERIC.class));
    }
}
