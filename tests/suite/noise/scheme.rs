//! Which weights are noisy, how strong, and that the clean ones come back exactly.

use crate::common::{
    ROUNDOFF, assert_within, bits, classes, device,
    network::{SHAPES, arena, get, perturb, scheme, set},
    samples,
};
use jostle::{
    kernels::{AdapterClass, NoiseUnit, Perturb},
    noise::{Distribution, GroupOrder, Grouping, Mode, NoiseConfig, Scale, deltas, unit_noise},
    optim::{Optimizer, OptimizerConfig, OptimizerKind},
    schedule::Moment,
};

const SEED: u64 = 0xFEED_0000_0001;

fn weights(scale: f32) -> Vec<Vec<f32>> {
    SHAPES.iter().enumerate().map(|(i, shape)| samples(61 + i as u64, shape.iter().product(), scale)).collect()
}

fn all_bits(tensors: &[Vec<f32>]) -> Vec<Vec<u32>> {
    tensors.iter().map(|tensor| bits(tensor)).collect()
}

/// Filters' norms in f64, spread over their elements.
fn norms(tensor: usize, values: &[f32]) -> Vec<f64> {
    let filters = if SHAPES[tensor].len() > 1 { SHAPES[tensor][0] } else { 1 };
    let len = values.len() / filters;
    let norm = |filter: &[f32]| filter.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    values.chunks_exact(len).flat_map(|filter| vec![norm(filter); len]).collect()
}

/// Holds the noisy weights of every mode, order, grouping and scale against f64 and the host's unit noise.
#[test]
fn each_mode_adds_its_noise_to_its_groups_alone() {
    classes().into_iter().for_each(check_modes);
}

fn check_modes(class: AdapterClass) {
    let gpu = device();
    let clean = weights(0.5);
    for mode in Mode::ALL {
        for groups in Grouping::ALL {
            for scale in Scale::ALL {
                let order = if scale == Scale::Filter { GroupOrder::Random } else { GroupOrder::Cyclic };
                let sigma = 0.125;
                let config = NoiseConfig { mode, sigma, groups, scale, order, ..NoiseConfig::default() };
                let scheme = scheme(config, SEED);
                let arena = arena(gpu, &scheme, &clean);
                let kernel = Perturb::new(
                    gpu,
                    class,
                    &arena,
                    Distribution::Gaussian.code(),
                    NoiseUnit::filter_scaled(scale == Scale::Filter),
                )
                .unwrap();
                let count = scheme.groups().len();
                for step in 0..2 * count as u64 {
                    let at = scheme.at(step, Moment::START);
                    perturb(gpu, &kernel, &at);
                    let found = get(gpu, &arena, &arena.weights_eff);
                    let parts = match mode {
                        Mode::None => Vec::new(),
                        Mode::Layer => scheme.groups()[at.group.unwrap()].clone(),
                        Mode::All | Mode::Model => scheme.groups().concat(),
                    };
                    for (tensor, weights) in clean.iter().enumerate() {
                        let name = format!("{class:?} {mode} {groups} {scale}, step {step}, tensor {tensor}");
                        let noisy =
                            |i: &usize| parts.iter().any(|part| part.tensor == tensor && part.elements.contains(i));
                        let same = |i: &usize| found[tensor][*i].to_bits() == weights[*i].to_bits();
                        let elements = 0..weights.len();
                        assert!(elements.clone().filter(|i| !noisy(i)).all(|i| same(&i)), "{name}: must be clean");
                        if !elements.clone().any(|i| noisy(&i)) {
                            continue;
                        }
                        let sigma = if mode == Mode::All { sigma / (count as f64).sqrt() } else { sigma };
                        let unit =
                            |i| f64::from(unit_noise(Distribution::Gaussian, SEED, step as u32, tensor as u32, i));
                        let norms =
                            if scale == Scale::Filter { norms(tensor, weights) } else { vec![1.0; weights.len()] };
                        let delta: Vec<f64> = elements
                            .clone()
                            .map(|i| if noisy(&i) { sigma * norms[i] * unit(i) } else { 0.0 })
                            .collect();
                        let expected: Vec<f64> = weights.iter().zip(&delta).map(|(w, d)| f64::from(*w) + d).collect();
                        // device and host noise differ by 6 ulp, sigma, norm (16 terms) and products round: 32
                        // roundoffs of the delta, one of the sum
                        let bounds: Vec<f64> =
                            expected.iter().zip(&delta).map(|(e, d)| ROUNDOFF * (32.0 * d.abs() + e.abs())).collect();
                        assert_within(&name, &found[tensor], &expected, &bounds);
                        assert!(!elements.filter(noisy).all(|i| same(&i)), "{name}: must be noisy");
                    }
                }
                assert_eq!(
                    all_bits(&get(gpu, &arena, &arena.weights)),
                    all_bits(&clean),
                    "clean weights are read only"
                );
            }
        }
    }
}

#[test]
fn layer_takes_every_group_in_turn() {
    let config = NoiseConfig { mode: Mode::Layer, sigma: 1.0, ..NoiseConfig::default() };
    let scheme = scheme(config, SEED);
    let taken: Vec<_> = (0..10).map(|step| scheme.at(step, Moment::START).group.unwrap()).collect();
    assert_eq!(taken, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
}

/// deltas = weights_eff - weights, bit for bit where the weights are 0 and to one rounding elsewhere.
#[test]
fn exported_deltas_are_what_training_adds() {
    let gpu = device();
    let class = AdapterClass::for_device(gpu);
    for distribution in Distribution::ALL {
        for mode in [Mode::Layer, Mode::All] {
            for scale in Scale::ALL {
                let config = NoiseConfig { mode, sigma: 0.25, scale, distribution, ..NoiseConfig::default() };
                let scheme = scheme(config, SEED);
                for clean in [weights(0.5), weights(0.0)] {
                    let arena = arena(gpu, &scheme, &clean);
                    let kernel = Perturb::new(
                        gpu,
                        class,
                        &arena,
                        distribution.code(),
                        NoiseUnit::filter_scaled(scale == Scale::Filter),
                    )
                    .unwrap();
                    let at = scheme.at(7, Moment::START);
                    perturb(gpu, &kernel, &at);
                    let noisy = get(gpu, &arena, &arena.weights_eff);
                    let found = deltas(gpu, &arena, &scheme, &at).unwrap();
                    assert_eq!(all_bits(&get(gpu, &arena, &arena.weights)), all_bits(&clean), "weights are put back");
                    for tensor in 0..SHAPES.len() {
                        let name = format!("{distribution} {mode} {scale}, tensor {tensor}");
                        if clean[0][0] == 0.0 {
                            // 0 + delta is delta; -0 + 0 is 0, so signs of zeros are let go by + 0.0
                            let [a, b] =
                                [&found, &noisy].map(|tensors| tensors[tensor].iter().map(|x| (x + 0.0).to_bits()));
                            assert!(a.eq(b), "{name}");
                        }
                        let sums: Vec<f64> = clean[tensor]
                            .iter()
                            .zip(&found[tensor])
                            .map(|(w, d)| f64::from(*w) + f64::from(*d))
                            .collect();
                        let bounds: Vec<f64> = sums
                            .iter()
                            .zip(&found[tensor])
                            .map(|(sum, d)| {
                                // the sum's rounding, and the delta's own where the adapter contracts a * b + c
                                ROUNDOFF * (sum.abs() + f64::from(d.abs()))
                            })
                            .collect();
                        assert_within(&name, &noisy[tensor], &sums, &bounds);
                    }
                }
            }
        }
    }
}

/// The update writes the next step's noisy weights itself; the stand-alone kernel must give the same bits.
#[test]
fn fused_noise_is_the_standalone_noise() {
    let gpu = device();
    let kinds = [OptimizerKind::Sgd, OptimizerKind::AdamW];
    for (kind, class) in kinds.into_iter().flat_map(|kind| classes().map(|class| (kind, class))) {
        for distribution in Distribution::ALL {
            for mode in Mode::ALL {
                let noise = NoiseConfig { mode, sigma: 0.25, distribution, ..NoiseConfig::default() };
                let scheme = scheme(noise, SEED);
                let arena = arena(gpu, &scheme, &weights(0.5));
                set(gpu, &arena, &arena.grads, &weights(1.0));
                let config = OptimizerConfig { kind, momentum: 0.9, weight_decay: 0.01, ..OptimizerConfig::default() };
                let mut optimizer = Optimizer::new(gpu, class, config, &arena, distribution.code(), false).unwrap();
                let kernel = Perturb::new(gpu, class, &arena, distribution.code(), NoiseUnit::Absolute).unwrap();
                for step in 0..6 {
                    let next = scheme.at(step + 1, Moment::START);
                    let mut recorder = gpu.record();
                    optimizer.record(gpu, &mut recorder, optimizer.rate(0.01), &next.clone().into()).unwrap();
                    recorder.submit().unwrap();
                    let fused: Vec<Vec<f32>> = get(gpu, &arena, &arena.weights_eff);
                    gpu.write(&arena.weights_eff.view(), &vec![f32::NAN; arena.layout.words()]).unwrap();
                    perturb(gpu, &kernel, &next);
                    let alone = get(gpu, &arena, &arena.weights_eff);
                    assert_eq!(
                        all_bits(&fused),
                        all_bits(&alone),
                        "{kind} {class:?} {distribution} {mode}, step {step}"
                    );
                }
            }
        }
    }
}

/// With a learning rate of 0 nothing but noise happens, and noise leaves nothing behind.
#[test]
fn clean_weights_survive_any_noise_exactly() {
    let gpu = device();
    let clean = weights(0.5);
    let kinds = [OptimizerKind::Sgd, OptimizerKind::Adam, OptimizerKind::AdamW];
    for (kind, class) in kinds.into_iter().flat_map(|kind| classes().map(|class| (kind, class))) {
        for mode in Mode::ALL {
            let scheme = scheme(NoiseConfig { mode, sigma: 1e3, ..NoiseConfig::default() }, SEED);
            let arena = arena(gpu, &scheme, &clean);
            set(gpu, &arena, &arena.grads, &weights(1.0));
            let config = OptimizerConfig { kind, momentum: 0.9, weight_decay: 0.1, ..OptimizerConfig::default() };
            let mut optimizer =
                Optimizer::new(gpu, class, config, &arena, Distribution::Gaussian.code(), false).unwrap();
            for step in 0..7 {
                let next = scheme.at(step + 1, Moment::START);
                let mut recorder = gpu.record();
                optimizer.record(gpu, &mut recorder, optimizer.rate(0.0), &next.clone().into()).unwrap();
                recorder.submit().unwrap();
                let name = format!("{kind} {class:?} {mode}, step {step}");
                assert_eq!(all_bits(&get(gpu, &arena, &arena.weights)), all_bits(&clean), "{name}");
                let noisy = get(gpu, &arena, &arena.weights_eff);
                for (tensor, values) in noisy.iter().enumerate() {
                    let chosen = match mode {
                        Mode::None => false,
                        Mode::Layer => next.group == Some(tensor),
                        Mode::All | Mode::Model => true,
                    };
                    assert_eq!(bits(values) != bits(&clean[tensor]), chosen, "{name}, tensor {tensor}");
                }
            }
        }
    }
}
