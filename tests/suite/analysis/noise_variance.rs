//! Variance under noise against its exact value, and the smoothed loss against a direct average.

use crate::common::{device, samples, wide};
use jostle::{
    analysis::{NoisyLoss, Subject, VarianceOptions, noise_variance},
    data::DataSource,
    kernels::{Activation, Arena},
    nn::Model,
    noise::{Grouping, Mode, NoiseConfig, Scheme},
    ops::Loss,
    schedule::Moment,
    train::DeviceData,
};

const SAMPLES: usize = 5;
const WIDTH: usize = 24;

/// Calls `with` the subject of a two-layer linear network with zero biases, its weights (U [m, in], V [out, m]) and inputs.
fn with_network<T>(config: NoiseConfig, with: impl FnOnce(&Subject<'_>, &Scheme, &[f64], &[f64], &[f64]) -> T) -> T {
    let gpu = device();
    let data = DataSource::Digits.load().unwrap().train.subset(SAMPLES, 3).unwrap();
    let model = Model::mlp(&[64, WIDTH, 10], Activation::Identity).unwrap();
    let layout = model.graph.layout();
    let scheme = Scheme::new(config, &layout, &model.noise_tensors(), 11);
    let arena = Arena::new(gpu, layout, &scheme.scales()).unwrap();
    let [u, v] = [(0, WIDTH * 64, 1), (2, 10 * WIDTH, 2)].map(|(tensor, len, seed)| {
        let values = samples(seed, len, 0.3);
        gpu.write(&arena.tensor(&arena.weights, tensor).unwrap(), &values).unwrap();
        wide(&values)
    });
    let x: Vec<f64> = data.samples.as_bytes().iter().map(|pixel| f64::from(*pixel) / 16.0).collect();
    let device = DeviceData::new(gpu, data, SAMPLES, &[[0.0, 1.0]]).unwrap();
    let subject = Subject { model: &model, arena: &arena, loss: Loss::Mse.into(), label_smoothing: 0.0, data: &device };
    with(&subject, &scheme, &u, &v, &x)
}

fn config(mode: Mode) -> NoiseConfig {
    NoiseConfig { mode, sigma: 0.2, groups: Grouping::Weights, ..NoiseConfig::default() }
}

/// f = (V + F)(U + E) x with noise of variance s^2 in E and t^2 in F: an output's variance is, exactly,
/// s^2 |v|^2 |x|^2 + t^2 |U x|^2 + m s^2 t^2 |x|^2, of which the last is of second order.
#[test]
fn the_output_of_a_linear_network_has_the_exact_variance() {
    let exact = |u: &[f64], v: &[f64], x: &[f64], [s2, t2]: [f64; 2]| {
        let mean_v: f64 = v.iter().map(|v| v * v).sum::<f64>() / 10.0;
        let (mut first, mut second) = (0.0, 0.0);
        for x in x.chunks(64) {
            let x2: f64 = x.iter().map(|x| x * x).sum();
            let hidden: f64 = u.chunks(64).map(|row| row.iter().zip(x).map(|(u, x)| u * x).sum::<f64>().powi(2)).sum();
            first += (s2 * mean_v * x2 + t2 * hidden) / SAMPLES as f64;
            second += WIDTH as f64 * s2 * t2 * x2 / SAMPLES as f64;
        }
        [first + second, second]
    };
    let options = VarianceOptions { draws: 100, blocks: 4 };
    for mode in [Mode::Model, Mode::All, Mode::Layer] {
        with_network(config(mode), |subject, scheme, u, v, x| {
            let blocks = noise_variance(device(), subject, scheme, options).unwrap();
            let mean = |quantity: fn(&jostle::analysis::BlockVariance) -> f64| {
                blocks.iter().map(quantity).sum::<f64>() / blocks.len() as f64
            };
            let sigma2 = 0.04;
            let [total, second] = match mode {
                Mode::Model => exact(u, v, x, [sigma2, sigma2]),
                Mode::All => exact(u, v, x, [sigma2 / 2.0, sigma2 / 2.0]),
                // half of the steps each; the mean output is the same in both
                _ => exact(u, v, x, [sigma2, 0.0])
                    .into_iter()
                    .zip(exact(u, v, x, [0.0, sigma2]))
                    .map(|(a, b)| (a + b) / 2.0)
                    .collect::<Vec<_>>()
                    .try_into()
                    .unwrap(),
            };
            let (found, found_second) = (mean(|block| block.output), mean(|block| block.output_second));
            println!("{mode}: {found:.4} for {total:.4}, second order {found_second:.5} for {second:.5}");
            // 400 draws of 50 outputs that are correlated within a sample: some 3 % of standard deviation
            assert!((found / total - 1.0).abs() < 0.06, "{mode}: {found} for {total}");
            if mode == Mode::Layer {
                assert!(found_second < 1e-9 * total, "one layer at a time has no second order: {found_second}");
            } else {
                assert!((found_second / second - 1.0).abs() < 0.06, "{mode}: {found_second} for {second}");
            }
        });
    }
}

/// The mean squared error of a linear network has E L(w + noise) - L(w) = the mean variance of its outputs.
#[test]
fn the_smoothed_loss_of_a_linear_network_is_exact() {
    with_network(config(Mode::Model), |subject, scheme, _, _, _| {
        let loss = NoisyLoss::new(device(), subject).unwrap();
        let excess = loss.excess(scheme, 0, 400).unwrap();
        let mean = excess.iter().sum::<f64>() / 400.0;
        let deviation = (excess.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 399.0).sqrt() / 20.0;
        let options = VarianceOptions { draws: 100, blocks: 4 };
        let blocks = noise_variance(device(), subject, scheme, options).unwrap();
        let variance = blocks.iter().map(|block| block.output).sum::<f64>() / 4.0;
        println!("{mean} ± {deviation} for {variance}");
        assert!((mean - variance).abs() < 4.0 * deviation, "{mean} ± {deviation} for {variance}");
        let mut clean = scheme.at(0, Moment::START);
        clean.values.sigma = 0.0;
        assert_eq!(loss.at(&clean).unwrap(), loss.at(&clean).unwrap());
    });
}
