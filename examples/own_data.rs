//! Data of one's own in memory: three spiral arms in the plane, told apart by a small network with noise on one layer a step.
//!
//!     cargo run --example own_data
//!
//! Samples are numbers [len, channels, height, width], here one row of two, or bytes. What a configuration says of subsets,
//! validation, normalisation and label noise holds for them as for any other data.

use std::{error::Error, process::ExitCode};

use jostle::{
    data::{DataError, Dataset, SampleShape, Split},
    gpu::{AdapterChoice, Gpu},
    noise::Mode,
    train::{Control, Event, Prepared, RunConfig, Trainer, run},
};

const ARMS: u32 = 3;
const POINT: SampleShape = SampleShape { channels: 1, height: 1, width: 2 };

/// Points of every arm at equal steps along it, `offset` of a step further.
fn spirals(count: usize, offset: f64) -> Result<Dataset, DataError> {
    let (mut samples, mut labels) = (Vec::new(), Vec::new());
    for arm in 0..ARMS {
        for i in 0..count {
            let along = (i as f64 + offset) / count as f64;
            let angle = 4.0 * along + std::f64::consts::TAU * f64::from(arm) / f64::from(ARMS);
            let radius = 0.1 + 0.9 * along;
            samples.extend([angle.cos(), angle.sin()].map(|coordinate| (radius * coordinate) as f32));
            labels.push(arm);
        }
    }
    Dataset::from_arrays("spirals", samples, labels, POINT)
}

fn train() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::new(&AdapterChoice::from_environment())?;
    let config = RunConfig {
        model: "mlp:2-64-64-3".to_owned(),
        noise: Mode::Layer,
        sigma: 0.02,
        epochs: 60,
        batch: 32,
        lr: 0.1,
        log_every: 0,
        ..RunConfig::default()
    };
    let split = Split { train: spirals(200, 0.0)?, test: spirals(200, 0.5)? };
    let prepared = Prepared::from_split(&config, split)?;
    let mut trainer = Trainer::new(&gpu, &config, &prepared)?;
    println!("{}, on {}", prepared.training_data(), gpu.adapter_name());
    run(&mut trainer, &config, None, &mut |event| {
        if let Event::Epoch(epoch) = event
            && epoch.epoch % 10 == 0
        {
            let accuracy = 100.0 * epoch.scores.test_accuracy.unwrap_or(f64::NAN);
            println!("epoch {}: test accuracy {accuracy:.1} %", epoch.epoch);
        }
        Ok(Control::Continue)
    })?;
    Ok(())
}

fn main() -> ExitCode {
    match train() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
