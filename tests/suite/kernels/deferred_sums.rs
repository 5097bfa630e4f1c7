//! Sums of parts that were put off, against additions on the host in the documented order: the same bits.

use crate::common::{Guarded, bits, device, guarded, run, samples, sanitize};
use jostle::{
    gpu::{Faults, Gpu, Limits, View},
    kernels::{DeferredSum, SplitSum, deferred_sums},
};

/// Parts, elements, and whether the result is added: either way of sharing a sum out, edges of workgroups.
const SUMS: [(usize, usize, bool); 7] = [
    (1, 64, false),
    (5, 1000, false),
    (16, 63, true),
    (17, 65, false),
    (7, 4099, true),
    (250, 33, true),
    (2, 1, false),
];

/// As `shaders/split_sum.wgsl` adds: up to 16 parts one after the other, more by eight lanes and a tree.
fn added(parts: &[f32]) -> f32 {
    if parts.len() <= 16 {
        return parts.iter().fold(0.0, |sum, part| sum + part);
    }
    let mut lanes: Vec<f32> = (0..8).map(|lane| parts.iter().skip(lane).step_by(8).fold(0.0, |a, b| a + b)).collect();
    for half in [4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

fn part(all: &Guarded, start: usize, words: usize) -> View {
    all.view.part(start, words).unwrap()
}

/// Adds up all of [`SUMS`], whose parts lie in one buffer and results in another, and checks all of it: how many dispatches.
fn sums(gpu: &Gpu) -> usize {
    let room = |words: usize| words.next_multiple_of(64) + 64;
    let partials = guarded(gpu, &samples(71, SUMS.iter().map(|(parts, count, _)| room(parts * count)).sum(), 3.0));
    let results = guarded(gpu, &samples(72, SUMS.iter().map(|(_, count, _)| room(*count)).sum(), 3.0));
    let (mut from, mut to) = (0, 0);
    let (mut jobs, mut views, mut expected) = (Vec::new(), Vec::new(), results.read(gpu));
    let values = partials.read(gpu);
    for (parts, count, accumulate) in SUMS {
        let sum = SplitSum { parts: parts as u32, count: count as u32, n: count as u32 };
        jobs.push(DeferredSum { sum, accumulate });
        // There may be more room than parts.
        views.push([part(&partials, from, parts * count + 3), part(&results, to, count)]);
        for at in 0..count {
            let terms: Vec<f32> = (0..parts).map(|part| values[from + part * count + at]).collect();
            let before = if accumulate { expected[to + at] } else { 0.0 };
            expected[to + at] = if accumulate { added(&terms) + before } else { added(&terms) };
        }
        (from, to) = (from + room(parts * count), to + room(count));
    }
    let views: Vec<[&View; 2]> = views.iter().map(|job| job.each_ref()).collect();
    let dispatches = deferred_sums(gpu, &jobs, &views).unwrap();
    run(gpu, &dispatches);
    let found = results.read(gpu);
    assert_eq!(bits(&found), bits(&expected), "in {} dispatches", dispatches.len());
    assert_eq!(bits(&partials.read(gpu)), bits(&values), "parts are read alone");
    dispatches.len()
}

#[test]
fn sums_are_those_of_products_one_by_one() {
    let gpu = device();
    assert_eq!(sums(gpu), 2, "sums of few parts, and of many");
    // Enough for the parts of the largest sum.
    let limits = Limits { binding_bytes: 4 * 29_000, ..gpu.limits() };
    let narrow = gpu.again().with_faults(Faults { limits: Some(limits), ..sanitize::faults() });
    assert!(sums(&narrow) > 2);
}
