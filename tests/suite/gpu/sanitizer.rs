//! A training step's kernels, by the variants of GPUs, under the sanitizer: see `common::sanitize`, by which all of the suite can run.

use crate::common::{
    device, elements, network,
    sanitize::{wanted, watch},
};
use jostle::{
    gpu::{After, DeviceMemory, Element, Family, Faults, Gpu, Watch, Watched},
    graph::{PlanMode, Schedule, ValueShape},
    nn::{Model, Signature},
    ops::Loss,
};

const BATCH: usize = 6;
const SIDE: usize = 6;

/// Gradients of a small residual network with batch norms, every dispatch watched.
fn step(gpu: &Gpu, element: Element) {
    let input = ValueShape::Image { channels: 3, height: SIDE, width: SIDE };
    let graph = Model::build("resnet20:2", &Signature { input, classes: 10 }).unwrap().graph;
    let schedule = Schedule::suited(&graph, BATCH, PlanMode::Train, Loss::Nll, element, gpu).unwrap();
    let gradients = network::gradients(gpu, &graph, &schedule, SIDE, 1);
    assert!(gradients.iter().all(|gradient| gradient.is_finite()));
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
