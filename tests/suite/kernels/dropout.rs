//! Dropout: masks against the host's Philox, forward and backward alike, fresh every step, kept in the mean.

use crate::common::{ROUNDOFF, assert_close, bits, device, guarded, hash, keeps, poisoned, samples};
use jostle::{
    gpu::GpuError,
    graph::{Call, Graph, PlanMode, Schedule},
    kernels::Activation,
    ops::{Dropout, DropoutDispatch, DropoutMask, Loss},
};

/// Which mask.
#[derive(Clone, Copy, Debug)]
struct Draw {
    probability: f32,
    seed: u64,
    step: u64,
    layer: usize,
}

const DRAW: Draw = Draw { probability: 0.4, seed: 0x1234_5678_9ABC_DEF0, step: 7, layer: 2 };

fn drop(draw: Draw, input: &[f32], start: Option<&[f32]>) -> Vec<f32> {
    let gpu = device();
    let output = start.map_or_else(|| poisoned(gpu, input.len()), |start| guarded(gpu, start));
    let input = guarded(gpu, input);
    let views = [&input.view, &output.view];
    let dropout = DropoutDispatch::new(gpu, views, draw.layer, draw.probability, start.is_some()).unwrap();
    let mut recorder = gpu.record();
    dropout.record(&mut recorder, draw.seed, draw.step);
    recorder.submit().unwrap();
    output.read(gpu)
}

fn mask(draw: Draw, count: usize) -> Vec<bool> {
    drop(draw, &vec![1.0; count], None).iter().map(|value| *value != 0.0).collect()
}

fn expected(draw: Draw, count: usize) -> Vec<bool> {
    (0..count).map(|i| keeps(draw.probability, [draw.seed, draw.step], draw.layer, i)).collect()
}

#[test]
fn masks_are_those_of_the_host() {
    // one; no whole vec4s; past a workgroup of vec4s; the largest and the smallest words
    for (count, probability) in [(1, 0.5), (3, 0.25), (259, 0.5), (1030, 0.1), (4096, 0.9), (64, 0.0)] {
        for seed in [0, DRAW.seed, u64::MAX] {
            let draw = Draw { probability, seed, ..DRAW };
            let input = samples(1, count, 1.0);
            let scale = 1.0 / (1.0 - probability);
            let kept = expected(draw, count);
            let value = |i: usize| if kept[i] { input[i] * scale } else { 0.0 };
            // one product in f32 on both sides
            assert_eq!(bits(&drop(draw, &input, None)), bits(&(0..count).map(value).collect::<Vec<_>>()), "{draw:?}");

            let start = samples(2, count, 1.0);
            let sums: Vec<f64> = (0..count).map(|i| f64::from(value(i)) + f64::from(start[i])).collect();
            let bound = 2.0 * ROUNDOFF * f64::from(scale + 1.0); // the product's rounding and the sum's
            assert_close("accumulated", &drop(draw, &input, Some(&start)), &sums, bound, 0.0);
        }
    }
}

#[test]
fn nothing_is_dropped_at_probability_0() {
    let input = samples(3, 77, 1.0);
    assert_eq!(drop(Draw { probability: 0.0, ..DRAW }, &input, None), input);
}

/// Backward is the same call on the gradient: what the model sees of it is that the same elements pass, as much scaled.
#[test]
fn forward_and_backward_have_one_mask() {
    let count = 513;
    let [forward, backward] = [4, 5].map(|seed| (samples(seed, count, 1.0), seed));
    let [forward, backward] = [forward, backward].map(|(input, _)| (drop(DRAW, &input, None), input));
    for i in 0..count {
        let [forward, backward] = [&forward, &backward].map(|(output, input)| output[i] / input[i]);
        // a division undoes a product to two roundings
        assert!((forward - backward).abs() <= 4.0 * f32::EPSILON, "{i}: {forward} and {backward}");
    }
}

/// Masks of other steps, layers and seeds agree as often as independent ones do.
#[test]
fn steps_layers_and_seeds_have_masks_of_their_own() {
    let count = 8192;
    let at = mask(DRAW, count);
    let others = [
        Draw { step: DRAW.step + 1, ..DRAW },
        Draw { layer: DRAW.layer + 1, ..DRAW },
        Draw { step: DRAW.layer as u64, layer: DRAW.step as usize, ..DRAW },
        Draw { seed: DRAW.seed + 1, ..DRAW },
        Draw { seed: DRAW.seed ^ 1 << 32, ..DRAW },
    ];
    let p = f64::from(DRAW.probability);
    let chance = p * p + (1.0 - p) * (1.0 - p);
    for other in others {
        let agreeing = mask(other, count).iter().zip(&at).filter(|(a, b)| a == b).count() as f64;
        let deviation = (count as f64 * chance * (1.0 - chance)).sqrt();
        assert!((agreeing - count as f64 * chance).abs() < 4.0 * deviation, "{other:?}: {agreeing} of {count} agree");
    }
    assert_eq!(mask(DRAW, count), at, "and the same again");
}

#[test]
fn means_are_kept() {
    let count = 1 << 14;
    for (i, probability) in [0.1, 0.5, 0.9_f32].into_iter().enumerate() {
        let draw = Draw { probability, step: hash(6, i as u64) & 0xFFFF, ..DRAW };
        let mean = drop(draw, &vec![1.0; count], None).iter().map(|y| f64::from(*y)).sum::<f64>() / count as f64;
        // each element is 1/(1-p) with chance 1-p: variance p/(1-p); four deviations of their mean
        let deviation = f64::from(probability / (1.0 - probability) / count as f32).sqrt();
        assert!((mean - 1.0).abs() < 4.0 * deviation, "{probability}: {mean}");
    }
}

#[test]
fn a_model_drops_in_training_only() {
    let (mut graph, mut value) = Graph::new(5).unwrap();
    for (name, probability) in [("a", 0.3), ("b", 0.6)] {
        value = graph.linear(value, name, 6, Activation::Relu).unwrap();
        value = graph.dropout(value, probability).unwrap();
    }
    graph.linear(value, "c", 2, Activation::Identity).unwrap();
    let dropouts = |mode: PlanMode| {
        let schedule = Schedule::new(&graph, 4, mode, Loss::Nll).unwrap();
        let dropout = |call: &Call| {
            let DropoutMask(Dropout { probability, layer }) = call.kernel_as::<DropoutMask>()?;
            Some((*layer, *probability))
        };
        schedule.steps.iter().filter_map(|step| dropout(&step.call)).collect::<Vec<_>>()
    };
    // forward in order, backward in reverse
    assert_eq!(dropouts(PlanMode::Train), [(0, 0.3), (1, 0.6), (1, 0.6), (0, 0.3)]);
    assert_eq!(dropouts(PlanMode::Accumulate), dropouts(PlanMode::Train));
    for mode in [PlanMode::Evaluate, PlanMode::Calibrate, PlanMode::HessianProduct] {
        assert_eq!(dropouts(mode), [], "{mode:?}");
    }
}

#[test]
fn probabilities_and_lengths_that_cannot_be_are_refused() {
    let gpu = device();
    let [short, long] = [7, 8].map(|count| poisoned(gpu, count));
    let plan = |input, probability| DropoutDispatch::new(gpu, [input, &long.view], 0, probability, false);
    for probability in [1.0, -0.1, f32::NAN] {
        assert!(matches!(plan(&long.view, probability), Err(GpuError::Shape { .. })), "{probability}");
    }
    let wrong = plan(&short.view, 0.5);
    assert!(matches!(wrong, Err(GpuError::Length { argument: "input", expected: 8, found: 7, .. })));
}
