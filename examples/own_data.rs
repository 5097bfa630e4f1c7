//! Data of one's own in memory, with noise on one layer a step: classes (three spiral arms in the plane), vectors (a curve) and
//! tokens (the next one of a text).
//!
//!     cargo run --example own_data
//!
//! Samples are numbers [len, channels, height, width], here one row, or bytes, or tokens. What a configuration says of subsets,
//! validation, normalisation and label noise holds for them as for any other data.

use std::{error::Error, f64::consts::TAU, process::ExitCode};

use jostle::{
    data::{DataError, Dataset, SampleShape, Split, Targets},
    gpu::{AdapterChoice, Gpu},
    graph::ValueShape,
    nn::Sequential,
    noise::Mode,
    ops::Loss,
    train::{Control, Event, Prepared, RunConfig, Scores, Trainer, run},
};

const fn row(width: usize) -> SampleShape {
    SampleShape { channels: 1, height: 1, width }
}

const ARMS: u32 = 3;

/// Points of every spiral arm at equal steps along it, `offset` of a step further; the arm is the class.
fn spirals(count: usize, offset: f64) -> Result<Dataset, DataError> {
    let (mut samples, mut labels) = (Vec::new(), Vec::new());
    for arm in 0..ARMS {
        for i in 0..count {
            let along = (i as f64 + offset) / count as f64;
            let angle = 4.0 * along + TAU * f64::from(arm) / f64::from(ARMS);
            let radius = 0.1 + 0.9 * along;
            samples.extend([angle.cos(), angle.sin()].map(|coordinate| (radius * coordinate) as f32));
            labels.push(arm);
        }
    }
    Dataset::from_arrays("spirals", samples, labels, row(2))
}

/// Places on a line, and sine and cosine there as vectors to fit.
fn curve(count: usize, offset: f64) -> Result<Dataset, DataError> {
    let places: Vec<f64> = (0..count).map(|i| 2.0 * (i as f64 + offset) / count as f64 - 1.0).collect();
    let values = places.iter().flat_map(|x| [(3.0 * x).sin() as f32, (3.0 * x).cos() as f32]).collect();
    let samples: Vec<f32> = places.iter().map(|x| *x as f32).collect();
    Dataset::from_arrays("curve", samples, Targets::vectors(values, 2), row(1))
}

const VOCABULARY: u32 = 11;
const LENGTH: usize = 8;

/// Texts in which each token follows from the one before it, one for each of these beginnings; the targets are the texts a token
/// further.
fn texts(beginnings: impl Iterator<Item = u32>) -> Result<Dataset, DataError> {
    let (mut samples, mut next) = (Vec::new(), Vec::new());
    for mut token in beginnings {
        for _ in 0..LENGTH {
            samples.push(token);
            token = (7 * token + 3) % VOCABULARY;
            next.push(token);
        }
    }
    Dataset::from_arrays("texts", samples, Targets::tokens(next, LENGTH), row(LENGTH))
}

/// Trains and prints what `score` says of the test data, the first epoch and the last.
fn train(
    gpu: &Gpu,
    config: &RunConfig,
    prepared: &Prepared,
    score: impl Fn(&Scores) -> String,
) -> Result<(), Box<dyn Error>> {
    let mut trainer = Trainer::new(gpu, config, prepared)?;
    println!("{}, {}, on {}", prepared.training_data(), prepared.model, gpu.adapter_name());
    run(&mut trainer, config, None, &mut |event| {
        if let Event::Epoch(epoch) = event
            && [1, config.epochs].contains(&epoch.epoch)
        {
            println!("epoch {}: test {}", epoch.epoch, score(&epoch.scores));
        }
        Ok(Control::Continue)
    })?;
    Ok(())
}

fn accuracy(scores: &Scores) -> String {
    format!("accuracy {:.1} %", 100.0 * scores.test_accuracy.unwrap_or(f64::NAN))
}

/// Vectors have no right and wrong answers, and so no accuracy.
fn loss(scores: &Scores) -> String {
    format!("mean squared error {:.5}", scores.test_loss.unwrap_or(f64::NAN))
}

fn all() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::new(&AdapterChoice::from_environment())?;
    let common =
        RunConfig { noise: Mode::Layer, sigma: 0.02, batch: 32, lr: 0.1, log_every: 0, ..RunConfig::default() };

    let config = RunConfig { model: "mlp:2-64-64-3".to_owned(), epochs: 60, ..common.clone() };
    let split = Split { train: spirals(200, 0.0)?, test: spirals(200, 0.5)? };
    train(&gpu, &config, &Prepared::from_split(&config, split)?, accuracy)?;

    let model = "mlp:1-64-64-2:tanh".to_owned();
    let config = RunConfig { model, epochs: 60, loss: Loss::Mse, ..common.clone() };
    let split = Split { train: curve(200, 0.0)?, test: curve(200, 0.5)? };
    train(&gpu, &config, &Prepared::from_split(&config, split)?, loss)?;

    // A model by hand: a vector for each token, and a network of its own at every position.
    let input = ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY as usize };
    let model = Sequential::with_input(input).embedding(16).linear(32).relu().linear(VOCABULARY as usize).build()?;
    let config = RunConfig { epochs: 20, ..common };
    let split = Split { train: texts((0..VOCABULARY - 3).cycle().take(96))?, test: texts(VOCABULARY - 3..VOCABULARY)? };
    train(&gpu, &config, &Prepared::with_model(&config, split, model)?, accuracy)
}

fn main() -> ExitCode {
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
