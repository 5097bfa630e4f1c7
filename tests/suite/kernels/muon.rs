//! Muon: orthogonal updates of hidden matrices, AdamW on all else.

use crate::common::{ROUNDOFF, assert_within, bits, classes, device, network::*, samples, wide};
use jostle::{
    gpu::Gpu,
    kernels::{AdapterClass, Arena, ArenaLayout, GradientScaling},
    noise::{Distribution, Point},
    optim::{AdjustLr, Optimizer, OptimizerConfig, OptimizerKind},
};
use nalgebra::DMatrix;

/// A first layer, a tall matrix, one that is wide, and a last layer; two of them hidden.
const TENSORS: [&[usize]; 5] = [&[12, 9], &[30, 12], &[30], &[7, 30], &[3, 7]];
const HIDDEN: [bool; 5] = [false, true, false, true, false];
const STEPS: u64 = 4;
const RATE: f64 = 0.05;

fn config() -> OptimizerConfig {
    let kind = OptimizerKind::Muon;
    OptimizerConfig { kind, momentum: 0.9, weight_decay: 0.1, nesterov: true, ..OptimizerConfig::default() }
}

fn drawn(seed: u64) -> Vec<Vec<f32>> {
    let one = |(i, shape): (usize, &&[usize])| samples(100 * seed + i as u64, shape.iter().product(), 1.0);
    TENSORS.iter().enumerate().map(one).collect()
}

fn started(gpu: &Gpu) -> Arena {
    let arena = Arena::new(gpu, ArenaLayout::new(TENSORS).with_hidden(&HIDDEN), &[1.0; 5]).unwrap();
    set(gpu, &arena, &arena.weights, &drawn(1));
    arena
}

fn step(gpu: &Gpu, arena: &Arena, optimizer: &mut Optimizer, grads: &[Vec<f32>]) {
    set(gpu, arena, &arena.grads, grads);
    let mut recorder = gpu.record();
    optimizer.record(gpu, &mut recorder, optimizer.rate(RATE), &Point::Clean).unwrap();
    recorder.submit().unwrap();
}

fn optimizer(gpu: &Gpu, class: AdapterClass, config: OptimizerConfig, arena: &Arena, scaled: bool) -> Optimizer {
    Optimizer::new(gpu, class, config, arena, Distribution::Gaussian.code(), scaled).unwrap()
}

/// The weights after some steps.
fn trained(class: AdapterClass, config: OptimizerConfig) -> Vec<Vec<f32>> {
    let gpu = device();
    let arena = started(gpu);
    let mut optimizer = optimizer(gpu, class, config, &arena, false);
    (0..STEPS).for_each(|number| step(gpu, &arena, &mut optimizer, &drawn(2 + number)));
    let state = optimizer.state().iter().chain([&arena.weights, &arena.weights_eff]);
    assert!(state.flat_map(|buffer| padding(gpu, &arena, buffer)).all(|x| x == 0.0), "padding stays 0");
    let left = get(gpu, &arena, &arena.weights);
    assert_eq!(left, get(gpu, &arena, &arena.weights_eff));
    left
}

/// U p(p(p(p(p(S / norm))))) V' of a matrix U S V', p as in `torch.optim.Muon`.
fn orthogonal(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let mut parts = (matrix / matrix.norm()).svd(true, true);
    for _ in 0..5 {
        parts.singular_values.apply(|s| *s = 3.4445 * *s - 4.775 * s.powi(3) + 2.0315 * s.powi(5));
    }
    parts.recompose().unwrap()
}

/// `torch.optim.Muon`'s rule for one matrix, in f64.
fn by_hand(config: &OptimizerConfig, tensor: usize) -> Vec<f64> {
    let (rows, columns) = (TENSORS[tensor][0], TENSORS[tensor][1]);
    let matrix = |values: &[f32]| DMatrix::from_row_slice(rows, columns, &wide(values));
    let mut weight = matrix(&drawn(1)[tensor]);
    let mut average = DMatrix::zeros(rows, columns);
    let scale = match config.adjust_lr {
        AdjustLr::Original => (rows as f64 / columns as f64).max(1.0).sqrt(),
        AdjustLr::MatchRmsAdamw => 0.2 * (rows.max(columns) as f64).sqrt(),
    };
    for number in 0..STEPS {
        let gradient = matrix(&drawn(2 + number)[tensor]);
        average = config.momentum * average + (1.0 - config.momentum) * &gradient;
        let update = if config.nesterov {
            (1.0 - config.momentum) * gradient + config.momentum * &average
        } else {
            average.clone()
        };
        weight = weight * (1.0 - RATE * config.weight_decay) - RATE * scale * orthogonal(&update);
    }
    weight.transpose().as_slice().to_vec() // row-major
}

/// The error of an orthogonal matrix is up to 485 roundings of its largest element (`orthogonalise.rs`), which is below 1.
const ERROR: f64 = 485.0;

#[test]
fn hidden_matrices_move_orthogonally_and_all_else_by_adamw() {
    let variants = [
        config(),
        OptimizerConfig { nesterov: false, ..config() },
        OptimizerConfig { adjust_lr: AdjustLr::MatchRmsAdamw, momentum: 0.5, ..config() },
    ];
    for class in classes() {
        let adamw = trained(class, OptimizerConfig { kind: OptimizerKind::AdamW, ..config() });
        for config in &variants {
            let found = trained(class, config.clone());
            for tensor in 0..TENSORS.len() {
                let name = format!("{class:?} {config:?}, tensor {tensor}");
                if HIDDEN[tensor] {
                    let expected = by_hand(config, tensor);
                    let bound = |w: &f64| STEPS as f64 * ROUNDOFF * (w.abs() + RATE * 2.0 * ERROR);
                    let bounds: Vec<f64> = expected.iter().map(bound).collect();
                    assert_within(&name, &found[tensor], &expected, &bounds);
                } else {
                    assert_eq!(bits(&found[tensor]), bits(&adamw[tensor]), "{name}");
                }
            }
        }
    }
}

#[test]
fn an_update_left_out_leaves_weights_and_momentum() {
    let gpu = device();
    for class in classes() {
        let arena = started(gpu);
        let mut optimizer = optimizer(gpu, class, config(), &arena, true);
        let mut left = |factor: f32, grads: &[Vec<f32>]| {
            let state = GradientScaling { factor, ..GradientScaling::initial(arena.element) };
            gpu.write(&arena.scaling.view(), &[state]).unwrap();
            step(gpu, &arena, &mut optimizer, grads);
            let buffers: Vec<_> = [&arena.weights].into_iter().chain(optimizer.state()).collect();
            buffers.into_iter().map(|buffer| get(gpu, &arena, buffer)).collect::<Vec<_>>()
        };
        let first = left(0.5, &drawn(2));
        let mut broken = drawn(3);
        broken[1][5] = f32::NAN;
        assert_eq!(left(0.0, &broken), first, "{class:?}");
        // The factor is of the gradients: half of them is all that the momentum has seen.
        let expected: Vec<f64> = drawn(2)[1].iter().map(|gradient| 0.1 * 0.5 * f64::from(*gradient)).collect();
        let bounds: Vec<f64> = expected.iter().map(|value| 4.0 * ROUNDOFF * value.abs()).collect();
        assert_within("momentum", &first[1][1], &expected, &bounds);
        assert_ne!(left(0.5, &drawn(4)), first);
    }
}
