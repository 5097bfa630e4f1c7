//! A training step's kernels, by the variants of GPUs, under the sanitizer: see `common::sanitize`, by which all of the suite can run.

use crate::common::{
    device, elements,
    images::hashed_squares,
    network, samples,
    sanitize::{wanted, watch},
};
use jostle::{
    gpu::{After, DeviceMemory, Element, Family, Faults, Gpu, Watch, Watched},
    graph::{BatchInfo, Plan, PlanMode, Schedule, ValueShape},
    kernels::{Arena, EffectiveWeights},
    nn::{Model, Signature},
    ops::Loss,
    train::DeviceData,
};

const BATCH: usize = 6;
const SIDE: usize = 6;

/// Gradients of a small residual network with batch norms, every dispatch watched.
fn step(gpu: &Gpu, element: Element) {
    let input = ValueShape::Image { channels: 3, height: SIDE, width: SIDE };
    let graph = Model::build("resnet20:2", &Signature { input, classes: 10 }).unwrap().graph;
    let arena = Arena::stored(gpu, graph.layout(), &vec![0.0; graph.params().len()], element).unwrap();
    let values = graph.params().iter().enumerate();
    let values: Vec<_> = values.map(|(seed, param)| samples(seed as u64, param.shape.iter().product(), 0.1)).collect();
    network::set(gpu, &arena, &arena.weights, &values);
    let data = DeviceData::new(gpu, hashed_squares(1, BATCH, SIDE), BATCH, &[[1.0 / 255.0, -0.5]; 3]).unwrap();
    let metrics = gpu.buffer("metrics", 2).unwrap();
    let schedule = Schedule::suited(&graph, BATCH, PlanMode::Train, Loss::Nll, element, gpu).unwrap();
    let plan = Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view()).unwrap();
    let first = data.stage(gpu, 0, BATCH).unwrap();
    let mut recorder = gpu.record();
    EffectiveWeights::new(gpu, &arena, &arena.weights).unwrap().record(&mut recorder);
    plan.record(&mut recorder, BatchInfo::new(first, BATCH as u32, 0));
    recorder.submit().unwrap();
}

fn watched(watch: Watch) -> Gpu {
    device().again().with_faults(Faults { family: Some(Family::Gpu), watch: Some(watch), ..Faults::default() })
}

/// In f16 too where all of the suite is watched.
#[test]
fn a_step_leaves_nothing_to_chance() {
    let gpu = watched(watch);
    let tried = elements(&gpu).filter(|element| *element == Element::Word || wanted().is_some());
    tried.for_each(|element| step(&gpu, element));
}

#[test]
#[should_panic(expected = "Race at line")]
fn missing_barriers_are_found() {
    fn without_barriers(gpu: &dyn DeviceMemory, watched: &Watched<'_>) -> Option<After> {
        watch(gpu, &Watched { wgsl: watched.wgsl.replace("workgroupBarrier();", ""), ..*watched })
    }
    step(&watched(without_barriers), Element::Word);
}
