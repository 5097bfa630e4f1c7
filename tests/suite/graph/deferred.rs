//! Sums of parts that are put off: gradients are the same bits with and without, and results are there before they are used.

use crate::common::{bits, device, elements, listing, network, sanitize};
use jostle::{
    gpu::{CooperativeMatrix, Element, Family, Faults, Gpu, Scalar},
    graph::{OperandAccess, PlanMode, Schedule, Tensor, ValueShape},
    kernels::{AdapterClass, Target},
    nn::{Model, Signature},
    ops::Loss,
};

const BATCH: usize = 64;
const SIDE: usize = 8;

fn model() -> Model {
    let input = ValueShape::Image { channels: 3, height: SIDE, width: SIDE };
    Model::build("resnet20:4", &Signature { input, classes: 10 }).unwrap()
}

/// The bits of all gradients after two batches.
fn gradients(gpu: &Gpu, model: &Model, schedule: &Schedule) -> Vec<u32> {
    let found = network::gradients(gpu, &model.graph, schedule, SIDE, 2);
    assert!(found.iter().all(|gradient| gradient.is_finite()), "{model}");
    bits(&found)
}

fn kinds(schedule: &Schedule, kind: &str) -> usize {
    schedule.steps.iter().filter(|step| step.call.kernel.kind() == kind).count()
}

/// Written, and added to what is there.
fn check(gpu: &Gpu, elements: impl Iterator<Item = Element>) {
    let (model, class) = (model(), AdapterClass::for_device(gpu));
    for element in elements {
        for mode in [PlanMode::Train, PlanMode::Accumulate] {
            let at_once = Schedule::stored(&model.graph, BATCH, mode, Loss::Nll, element).unwrap();
            let deferred = at_once.clone().with_deferred_sums(class).unwrap();
            assert!(kinds(&deferred, "sums") > 0, "{class:?}: nothing is put off");
            let same = gradients(gpu, &model, &at_once) == gradients(gpu, &model, &deferred);
            assert!(same, "{mode:?}, {element:?}, {class:?}");
        }
    }
}

#[test]
fn gradients_are_the_same_bits() {
    check(device(), elements(device()));
}

/// On the same device as a GPU, whose products are cut otherwise, in f32: what is put off is the same in f16.
#[test]
fn gradients_are_the_same_bits_by_the_variants_of_gpus() {
    let gpu = device().again().with_faults(Faults { family: Some(Family::Gpu), ..sanitize::faults() });
    check(&gpu, [Element::Word].into_iter());
}

/// What waits for its sums stays within 128 MiB, so that those of many large layers are added up in several times.
#[test]
fn parts_that_wait_are_bounded() {
    const MOST: usize = 128 << 20;
    let model = Model::build("resnet18", &Signature::default()).unwrap();
    let class = listing([32, 32], CooperativeMatrix::square(16, Scalar::F16));
    let schedule = Schedule::stored(&model.graph, 128, PlanMode::Train, Loss::Nll, Element::Half).unwrap();
    let deferred = schedule.with_deferred_sums(class).unwrap();
    let lives = deferred.lives();
    let parts = |step: usize| {
        let slots = deferred.slots.iter().zip(&lives).filter(|(slot, _)| slot.name == "parts");
        slots.filter(|(_, life)| life.first <= step && step <= life.last).map(|(slot, _)| 4 * slot.words()).sum()
    };
    let waiting: Vec<usize> = (0..deferred.steps.len()).map(parts).collect();
    let (sums, most) = (kinds(&deferred, "sums"), waiting.iter().max().unwrap());
    println!("{sums} times, {most} bytes at most");
    assert!(sums > 1 && (MOST / 2..=MOST).contains(most), "{sums} times, {most} bytes at most");
}

#[test]
fn only_steps_of_training_put_sums_off() {
    let model = model();
    for mode in [PlanMode::Evaluate, PlanMode::Calibrate, PlanMode::HessianProduct, PlanMode::GaussNewtonProduct] {
        let schedule = Schedule::new(&model.graph, BATCH, mode, Loss::Mse).unwrap();
        let steps = schedule.steps.len();
        let deferred = schedule.with_deferred_sums(Target::GENERIC.class).unwrap();
        assert_eq!((deferred.steps.len(), kinds(&deferred, "sums")), (steps, 0), "{mode:?}");
    }
}

/// A parameter that is used twice, as by an operation that unrolls a loop: its gradient is written, then added to.
#[test]
fn a_result_is_there_before_it_is_used() {
    let model = model();
    let mut schedule = Schedule::new(&model.graph, BATCH, PlanMode::Train, Loss::Nll).unwrap();
    let gradient_of = |step: &jostle::graph::PlanStep| {
        let mut gradients = step.call.operands.iter().filter(|operand| matches!(operand.tensor, Tensor::Grad(_)));
        gradients.next().map(|operand| operand.tensor)
    };
    let last = schedule.steps.iter().rposition(|step| step.name.ends_with("weight gradient")).unwrap();
    let mut again = schedule.steps[last].clone();
    let gradient = gradient_of(&again).unwrap();
    again.name = "again".to_owned();
    for operand in again.call.operands.iter_mut().filter(|operand| operand.tensor == gradient) {
        operand.access = OperandAccess::Add;
    }
    schedule.steps.push(again);
    let deferred = schedule.with_deferred_sums(Target::GENERIC.class).unwrap();
    let writes = |step: &jostle::graph::PlanStep| {
        step.call.operands.iter().any(|operand| operand.tensor == gradient && operand.access == OperandAccess::Write)
    };
    let place = |found: &dyn Fn(&jostle::graph::PlanStep) -> bool| deferred.steps.iter().position(found);
    let (written, product) = (place(&writes).unwrap(), place(&|step| step.name == "again").unwrap());
    assert!(written < product, "written in step {written}, used again in {product}");
    assert_eq!(deferred.steps[written].name, "sums");
    let last = deferred.steps.last().unwrap();
    assert!(
        last.name == "sums" && last.call.operands.iter().any(|operand| operand.tensor == gradient && operand.adds())
    );
}
