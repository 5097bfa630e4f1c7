//! A loss of one's own, on the bundled digits: the Brier score of a softmax, with its own WGSL.
//!
//!     cargo run --example custom_loss
//!
//! Before it trains it checks the gradient: a plain step w' = w - r g over all samples lowers the loss by r |g|^2 = |w' - w|^2 / r
//! to first order, whichever factor a wrong gradient would be off by. It fails the program where that misses by more than 5 %.

mod loss;

use std::{error::Error, process::ExitCode, sync::Arc};

use jostle::{
    gpu::{AdapterChoice, Gpu},
    noise::Mode,
    train::{Control, Event, Prepared, RunConfig, Trainer, run},
};

use loss::Brier;

fn prepared(config: &RunConfig) -> Result<Prepared, Box<dyn Error>> {
    Ok(Prepared { loss: Arc::new(Brier), ..Prepared::load(config)? })
}

/// Loss lost in a plain step over all samples, and |w' - w|^2 / r.
fn first_order(gpu: &Gpu) -> Result<[f64; 2], Box<dyn Error>> {
    let rate = 0.5;
    let plain = RunConfig { momentum: 0.0, weight_decay: 0.0, lr: rate, steps: Some(1), ..config() };
    let prepared = prepared(&plain)?;
    let whole = RunConfig { batch: prepared.split.train.len(), noise: Mode::None, ..plain };
    let mut trainer = Trainer::new(gpu, &whole, &prepared)?;
    let state = |trainer: &Trainer<'_>| -> Result<(Vec<f32>, f64), Box<dyn Error>> {
        let loss = trainer.scores(false)?.train_loss.unwrap_or(f64::NAN);
        Ok((gpu.read(&trainer.arena.weights.view())?, loss))
    };
    let (before, loss_before) = state(&trainer)?;
    run(&mut trainer, &whole, None, &mut |_| Ok(Control::Continue))?;
    let (after, loss_after) = state(&trainer)?;
    let moved: f64 = before.iter().zip(&after).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    Ok([loss_before - loss_after, moved / rate])
}

fn config() -> RunConfig {
    let model = "mlp:64-64-10".to_owned();
    RunConfig {
        model,
        noise: Mode::Layer,
        sigma: 0.1,
        epochs: 6,
        batch: 64,
        lr: 0.1,
        log_every: 0,
        ..RunConfig::default()
    }
}

fn check_and_train() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::new(&AdapterChoice::from_environment())?;
    let [lost, expected] = first_order(&gpu)?;
    println!("a step lowers the loss by {lost:.5}, to first order {expected:.5}, on {}", gpu.adapter_name());
    let apart = (lost - expected).abs();
    if apart.is_nan() || apart > 0.05 * expected {
        return Err("the gradient is not that of the loss".into());
    }
    let config = config();
    let mut trainer = Trainer::new(&gpu, &config, &prepared(&config)?)?;
    run(&mut trainer, &config, None, &mut |event| {
        if let Event::Epoch(epoch) = event {
            let [loss, accuracy] =
                [epoch.scores.test_loss, epoch.scores.test_accuracy].map(|score| score.unwrap_or(f64::NAN));
            println!("epoch {}: test Brier score {loss:.4}, accuracy {:.1} %", epoch.epoch, 100.0 * accuracy);
        }
        Ok(Control::Continue)
    })?;
    Ok(())
}

fn main() -> ExitCode {
    match check_and_train() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
