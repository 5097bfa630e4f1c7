//! Weighted sums of gradients, ascents along them and reflections against f64, over arenas of many parts of a norm.

use crate::common::{ROUNDOFF, assert_within, device, elements, guarded, network, rounding, samples, stored, wide};
use jostle::{
    gpu::{Element, GpuError},
    kernels::{Arena, ArenaLayout, Ascend, Combine, Metric, Mirror},
};

#[test]
fn sums_match_f64() {
    let gpu = device();
    for count in [4, 256, 300, 70_000] {
        let [sum, other] = [1, 2].map(|seed| samples(seed, count, 2.0));
        for (keep, add) in [(0.5, 0.5), (1.0, -0.25), (0.0, 3.0), (-2.0, 0.0)] {
            let [into, from] = [&sum, &other].map(|values| gpu.upload("gradient", values).unwrap());
            let combine = Combine::new(gpu, (&into, keep), (&from, add)).unwrap();
            let mut recorder = gpu.record();
            combine.record(&mut recorder);
            recorder.submit().unwrap();
            let terms: Vec<[f64; 2]> =
                wide(&sum).iter().zip(wide(&other)).map(|(sum, other)| [keep * sum, add * other]).collect();
            let expected: Vec<f64> = terms.iter().map(|terms| terms[0] + terms[1]).collect();
            // Two products and a sum, each rounded.
            let bounds: Vec<f64> = terms.iter().map(|[a, b]| 2.0 * ROUNDOFF * (a.abs() + b.abs())).collect();
            let found: Vec<f32> = gpu.read(&into.view()).unwrap();
            assert_within(&format!("{keep} x + {add} y of {count}"), &found, &expected, &bounds);
            assert_eq!(gpu.read::<f32>(&from.view()).unwrap(), other, "what is added stays");
        }
    }
}

/// The last vec4 holds more than the tensor.
#[test]
fn sums_of_tensors_leave_what_is_behind_them() {
    let gpu = device();
    for count in [1, 6, 7, 8, 321] {
        let [sum, other] = [3, 4].map(|seed| guarded(gpu, &samples(seed, count, 2.0)));
        let combine = Combine::tensors(gpu, (&sum.view, 2.0), (&other.view, -0.5)).unwrap();
        let mut recorder = gpu.record();
        combine.record(&mut recorder);
        recorder.submit().unwrap();
        // Powers of two: the sum alone is rounded.
        let terms = samples(3, count, 2.0).into_iter().zip(samples(4, count, 2.0));
        let expected: Vec<f32> = terms.map(|(x, y)| 2.0 * x - 0.5 * y).collect();
        assert_eq!(sum.read(gpu), expected, "{count}");
        other.read(gpu); // its guards
    }
}

#[test]
fn sums_refuse_other_lengths() {
    let gpu = device();
    let [short, long] = [4, 8].map(|count| gpu.buffer("gradient", count).unwrap());
    let refused = Combine::new(gpu, (&short, 1.0), (&long, 1.0));
    assert!(matches!(refused, Err(GpuError::Length { kernel: "combine", expected: 4, found: 8, .. })), "{refused:?}");
}

/// Roundings of the norm, of the factor's two divisions and of the sum.
const ASCENT_ERROR: f64 = 64.0;

fn ascended(arena: &Arena, rho: f64) -> Vec<f32> {
    let gpu = device();
    let ascend = Ascend::new(gpu, arena, &arena.grads, rho, Metric::Plain).unwrap();
    let mut recorder = gpu.record();
    // Twice, as in two steps: the first leaves nothing behind.
    ascend.record(&mut recorder);
    ascend.record(&mut recorder);
    recorder.submit().unwrap();
    let view = arena.weights_eff.view().read_as(arena.element, arena.layout.words()).unwrap();
    gpu.read_floats(&view).unwrap()
}

#[test]
fn ascents_match_f64() {
    let gpu = device();
    let layouts = [network::layout(), ArenaLayout::new([&[300, 70][..], &[300], &[1]])];
    for (layout, element) in layouts.iter().flat_map(|layout| elements(gpu).map(move |element| (layout, element))) {
        let arena = Arena::stored(gpu, layout.clone(), &vec![0.0; layout.spans().len()], element).unwrap();
        let values = |seed, scale| -> Vec<Vec<f32>> {
            layout.spans().iter().map(|span| samples(seed + span.start as u64, span.len, scale)).collect()
        };
        for (size, rho) in [(1.0, 0.05), (1e-3, 2.0), (1e4, -0.5)] {
            network::set(gpu, &arena, &arena.weights, &values(1, 0.5));
            network::set(gpu, &arena, &arena.grads, &values(2, size));
            let [weights, grads] =
                [&arena.weights, &arena.grads].map(|buffer| wide(&gpu.read::<f32>(&buffer.view()).unwrap()));
            let norm = grads.iter().map(|g| g * g).sum::<f64>().sqrt();
            let rise: Vec<f64> = grads.iter().map(|g| rho * g / (norm + 1e-12)).collect();
            let expected: Vec<f64> = weights.iter().zip(&rise).map(|(weight, rise)| weight + rise).collect();
            let exact = |(expected, rise): (&f64, &f64)| {
                let stored = if element == Element::Half { 1.01 * rounding(element, *expected) } else { 0.0 };
                ROUNDOFF * (expected.abs() + ASCENT_ERROR * rise.abs()) + stored
            };
            let bounds: Vec<f64> = expected.iter().zip(&rise).map(exact).collect();
            assert_within(&format!("{element:?}, rho {rho}"), &ascended(&arena, rho), &expected, &bounds);
        }
    }
}

/// Both sides are rounded once: what is left is exact where sums in f32 are stored as they are.
#[test]
fn reflections_are_on_the_other_side() {
    let gpu = device();
    for element in elements(gpu) {
        let arena = Arena::stored(gpu, network::layout(), &[0.0; 5], element).unwrap();
        let words = arena.layout.words();
        let (weights, away) = (samples(1, words, 0.5), samples(2, words, 0.1));
        gpu.write(&arena.weights.view(), &weights).unwrap();
        let held: Vec<f32> = weights.iter().zip(&away).map(|(weight, away)| weight + away).collect();
        let held = stored(element, &held);
        let view = arena.weights_eff.view().read_as(element, words).unwrap();
        match element {
            Element::Half => {
                let halves: Vec<half::f16> = held.iter().map(|value| half::f16::from_f32(*value)).collect();
                gpu.write(&arena.weights_eff.view(), &halves).unwrap();
            }
            _ => gpu.write(&view, &held).unwrap(),
        }
        let mirror = Mirror::new(gpu, &arena).unwrap();
        let mut recorder = gpu.record();
        mirror.record(&mut recorder);
        recorder.submit().unwrap();
        let reflected: Vec<f32> = weights.iter().zip(&held).map(|(weight, held)| weight + (weight - held)).collect();
        assert_eq!(gpu.read_floats(&view).unwrap(), stored(element, &reflected), "{element:?}");
        assert_eq!(gpu.read::<f32>(&arena.weights.view()).unwrap(), weights, "{element:?}");
    }
}

#[test]
fn a_gradient_of_0_leaves_the_weights() {
    let gpu = device();
    let arena = Arena::new(gpu, network::layout(), &[0.0; 5]).unwrap();
    let weights = samples(3, arena.layout.words(), 1.0);
    gpu.write(&arena.weights.view(), &weights).unwrap();
    assert_eq!(ascended(&arena, 0.5), weights);
}
