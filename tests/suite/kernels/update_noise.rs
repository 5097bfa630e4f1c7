//! Updates fused with the next step's noise: it is that of the kernel by itself, and changes nothing that is kept.

use std::ops::Range;

use crate::common::{assert_close, bits, classes, device, network::perturb, samples, wide};
use jostle::{
    gpu::Buffer,
    kernels::{AdapterClass, Arena, ArenaLayout, Lanes, NoiseRange, NoiseStep, NoiseUnit, Perturb},
    noise::{Distribution, StepNoise},
    optim::{Optimizer, OptimizerConfig, OptimizerKind},
};

/// More than a workgroup of each variant, and ends within one.
const SIZES: [usize; 3] = [5000, 3000, 70];

/// Of an arena of these.
const BLOCKS: u32 = 130;

/// What an update with noise on `noisy` of the arena's blocks leaves: weights and state, and what the network sees.
fn updated(class: AdapterClass, kind: OptimizerKind, noisy: Range<u32>) -> [Vec<Vec<f32>>; 2] {
    let gpu = device();
    let layout = ArenaLayout::new(SIZES.each_ref().map(std::slice::from_ref));
    let words = layout.words();
    assert_eq!(layout.blocks(), BLOCKS);
    let arena = Arena::new(gpu, layout, &[1.0, 0.5, 2.0]).unwrap();
    let config = OptimizerConfig { kind, momentum: 0.9, weight_decay: 0.1, ..OptimizerConfig::default() };
    let code = Distribution::Gaussian.code();
    let mut optimizer = Optimizer::new(gpu, class, config, &arena, code, false).unwrap();
    gpu.write(&arena.weights.view(), &samples(5, words, 0.5)).unwrap();
    let ranges = [(0..noisy.start, false), (noisy.clone(), true), (noisy.end..BLOCKS, false)];
    let ranges = ranges.map(|(blocks, noisy)| NoiseRange { blocks, noisy }).to_vec();
    let values = NoiseStep { seed_low: 7, seed_high: 8, step: 9, sigma: 0.25, ..NoiseStep::default() };
    let next = StepNoise { ranges, edges: Vec::new(), values, group: None };
    for step in 0..3 {
        gpu.write(&arena.grads.view(), &samples(6 + step, words, 1.0)).unwrap();
        let mut recorder = gpu.record();
        optimizer.record(gpu, &mut recorder, optimizer.rate(0.05), &next.clone().into()).unwrap();
        recorder.submit().unwrap();
    }
    let read = |buffer: &Buffer| gpu.read::<f32>(&buffer.view()).unwrap();
    let kept = [&arena.weights].into_iter().chain(optimizer.state()).map(read).collect();
    let fused = read(&arena.weights_eff);
    gpu.write(&arena.weights_eff.view(), &vec![f32::NAN; words]).unwrap();
    perturb(gpu, &Perturb::new(gpu, class, &arena, code, NoiseUnit::Absolute).unwrap(), &next);
    [kept, vec![fused, read(&arena.weights_eff)]]
}

/// However a class shares out the weights, noise on any of them changes what the network sees and nothing that is kept, and is
/// that of the kernel by itself.
#[test]
fn noise_changes_nothing_that_is_kept() {
    for kind in [OptimizerKind::Sgd, OptimizerKind::AdamW, OptimizerKind::Lion] {
        let reference = updated(AdapterClass::Software(Lanes::Eight), kind, 0..0);
        for class in classes() {
            for noisy in [0..0, 0..BLOCKS, 1..BLOCKS - 1, 3..4, 33..100] {
                let [kept, seen] = updated(class, kind, noisy.clone());
                let name = format!("{kind} {class:?}, noise on {noisy:?}");
                assert_eq!(bits(&seen[0]), bits(&seen[1]), "{name}: not as the kernel by itself");
                let moved = |block: u32| {
                    let range = 64 * block as usize..64 * (block as usize + 1);
                    kept[0][range.clone()] != seen[0][range]
                };
                assert!((0..BLOCKS).all(|block| moved(block) == noisy.contains(&block)), "{name}: noise elsewhere");
                let clean = updated(class, kind, 0..0);
                for ((found, clean), other) in kept.iter().zip(&clean[0]).zip(&reference[0]) {
                    assert_eq!(bits(found), bits(clean), "{name}: the update is another one");
                    // Classes differ where a compiler contracts a * b + c in one kernel only.
                    assert_close(&name, found, &wide(other), 1e-6, 1e-6);
                }
            }
        }
    }
}
