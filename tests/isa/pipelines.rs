//! The pipelines that training steps take: those of the plan, each once.

use std::collections::{BTreeMap, BTreeSet};

use jostle::{
    gpu::{CooperativeMatrix, Element, ElementTypes, KernelSpec, Launch, Scalar},
    graph::{PlanMode, Schedule},
    kernels::{AdapterClass, CoopMatrices, Target},
    nn::Model,
    ops::Loss,
    optim::{OptimizerConfig, OptimizerKind},
};
use jostle_compilers::{F32, Overrides, Source, forms, shown};

/// Networks whose training steps are judged: those that are measured on GPUs, transformers, and one whose texts are long enough for
/// attention that keeps no scores.
const MODELS: [&str; 6] = ["mlp2", "cnn2", "resnet18", "gpt-mini", "gpt:2x4x128@512", "vit-tiny"];

/// As they are measured.
const BATCH: usize = 128;

/// f32 and f16, with their names.
const PRECISIONS: [(&str, Element); 2] = [("f32", Element::Word), ("f16", Element::Half)];

/// The cooperative matrices that AMD's GPUs have and there are kernels for.
pub const SIXTEEN: CooperativeMatrix = CooperativeMatrix::square(16, Scalar::F16);

/// Which pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All.
    All,
    /// Those that multiply by cooperative matrices.
    Cooperative,
}

/// A pipeline: a kernel in one form, with its overrides.
#[derive(Debug)]
pub struct Pipeline {
    /// The kernel in its form.
    pub source: Source,
    /// The overrides that the plan gives it.
    pub overrides: Overrides<'static>,
    /// The training steps that take it, such as `resnet18 f16`.
    pub steps: BTreeSet<String>,
}

/// A kernel by its address, for two may share an entry point; its form and its overrides.
type Key = (usize, [bool; 2], Vec<(&'static str, u64)>);

fn key(launch: &Launch, types: ElementTypes) -> Key {
    let overrides = launch.constants.iter().map(|(name, value)| (*name, value.to_bits())).collect();
    (std::ptr::from_ref(launch.spec).addr(), [types.real_is_half, types.out_is_half], overrides)
}

/// A GPU of which nothing is said; with `coop`, the sizes of its subgroups, one that has matrices of 16 x 16 in f16.
fn target(coop: Option<[u32; 2]>) -> Target {
    let class = |sizes| AdapterClass::Gpu(CoopMatrices::preferred(&[SIXTEEN], sizes));
    Target { class: coop.map_or(Target::GENERIC.class, class), ..Target::GENERIC }
}

/// Every dispatch of a training step, with the update of each optimizer.
fn launches(model: &str, element: Element, target: &Target) -> Result<Vec<Launch>, String> {
    let in_words = |error: &dyn std::fmt::Display| format!("{model}: {error}");
    let graph = model.parse::<Model>().map_err(|error| in_words(&error))?.graph;
    let schedule = Schedule::suited(&graph, BATCH, PlanMode::Train, Loss::Nll, element, target)
        .map_err(|error| in_words(&error))?;
    let schedule = schedule.with_deferred_sums(target.class).map_err(|error| in_words(&error))?;
    let sample = graph.shape(graph.input()).sample_sides();
    let planned = schedule.launches(target, sample).map_err(|error| in_words(&error))?;
    let mut launches: Vec<Launch> = planned.into_iter().map(|planned| planned.launch).collect();
    for kind in [OptimizerKind::Sgd, OptimizerKind::Adam] {
        let optimizer = OptimizerConfig { kind, ..OptimizerConfig::default() };
        let update = optimizer.launches(target, &graph.layout(), element);
        launches.extend(update.map_err(|error| in_words(&error))?);
    }
    Ok(launches)
}

/// The forms that a kernel may take in a step; which of them it is, only its buffers say. Of a step in f16 those that read f16:
/// what stays f32 there, as partial sums do, has the pipelines of a step in f32.
fn forms_in(element: Element, spec: &KernelSpec) -> Vec<ElementTypes> {
    let all = forms(spec);
    if element == Element::Word || all.len() == 1 {
        return vec![F32];
    }
    all.into_iter().filter(|types| types.real_is_half).collect()
}

/// The pipelines of every step, on a GPU without cooperative matrices and, with the sizes of its subgroups, on one that has
/// them.
///
/// # Errors
/// Words of the plan or of naga.
pub fn pipelines(coop: Option<[u32; 2]>, selection: Selection) -> Result<Vec<Pipeline>, String> {
    let mut found: BTreeMap<Key, Pipeline> = BTreeMap::new();
    let targets = [Some(target(None)), coop.map(|sizes| target(Some(sizes)))];
    for (model, (precision, element), target) in steps(&targets) {
        for launch in launches(model, element, target)? {
            for types in forms_in(element, launch.spec) {
                let key = key(&launch, types);
                if !found.contains_key(&key) {
                    let source = Source::new(launch.spec, types)?;
                    let (overrides, steps) = (launch.constants.clone(), BTreeSet::new());
                    found.insert(key.clone(), Pipeline { source, overrides, steps });
                }
                found.get_mut(&key).map(|pipeline| pipeline.steps.insert(format!("{model} {precision}")));
            }
        }
    }
    let is_selected = |pipeline: &Pipeline| selection == Selection::All || pipeline.source.is_cooperative();
    Ok(found.into_values().filter(is_selected).collect())
}

type Step<'a> = (&'static str, (&'static str, Element), &'a Target);

fn steps(targets: &[Option<Target>]) -> impl Iterator<Item = Step<'_>> {
    let precisions = |model| PRECISIONS.into_iter().map(move |precision| (model, precision));
    let each = MODELS.into_iter().flat_map(precisions);
    each.flat_map(|(model, precision)| targets.iter().flatten().map(move |target| (model, precision, target)))
}

impl Pipeline {
    /// Kernel, form, and the overrides that are not 0.
    #[must_use]
    pub fn name(&self) -> String {
        let given = self.overrides.iter().copied().filter(|(_, value)| *value != 0.0).collect();
        format!("{} {}", self.source.name(), shown(&given)).trim_end().to_owned()
    }
}
