//! An operation of one's own, on the bundled digits: an activation with its own WGSL, trained with noise, its product with
//! the Hessian checked.
//!
//!     cargo run --example custom_op
//!
//! `op.rs` and `arctan.wgsl` are all that it takes: shapes, forward, backward and the tangent rule without which the Hessian
//! would refuse it by its name. The check holds v'Hv from the engine's exact product against a second difference of the loss,
//!
//!     (L(w + e v) - 2 L(w) + L(w - e v)) / e^2,
//!
//! along three directions of +-1 at the trained weights; it fails the program where they differ by more than 2 %.

mod op;

use std::{error::Error, process::ExitCode, sync::Arc};

use jostle::{
    gpu::{AdapterChoice, Gpu},
    graph::Graph,
    kernels::Activation,
    nn::Model,
    noise::Mode,
    train::{Control, Event, Prepared, RunConfig, Trainer, run},
};

use op::Arctan;

/// 64-32-10 with an arcus tangens between.
fn model() -> Result<Model, Box<dyn Error>> {
    let (mut graph, input) = Graph::new(64)?;
    let hidden = graph.linear(input, "fc1", 32, Activation::Identity)?;
    let hidden = graph.add_op(Arc::new(Arctan), "", &[hidden])?;
    graph.linear(hidden, "fc2", 10, Activation::Identity)?;
    Ok(Model { description: "64-32-10, arctan".to_owned(), graph })
}

/// A sign for each parameter, as hashed from its number and the direction's; 0 in the arena's padding.
fn direction(trainer: &Trainer<'_>, number: u64) -> Vec<f32> {
    let layout = &trainer.arena.layout;
    let mut direction = vec![0.0; layout.words()];
    for span in layout.spans() {
        for (i, element) in direction[span.start..span.start + span.len].iter_mut().enumerate() {
            let hash = ((span.start + i) as u64 + (number << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            *element = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        }
    }
    direction
}

/// v'Hv by the exact product and by a second difference of the training loss.
fn curvatures(trainer: &Trainer<'_>, v: &[f32]) -> Result<[f64; 2], Box<dyn Error>> {
    let product = trainer.hessian_product(v)?;
    let exact = product.iter().zip(v).map(|(h, v)| h * f64::from(*v)).sum();
    let gpu = trainer.gpu();
    let weights: Vec<f32> = gpu.read(&trainer.arena.weights.view())?;
    let step = 0.01;
    let loss = |factor: f32| -> Result<f64, Box<dyn Error>> {
        let moved: Vec<f32> = weights.iter().zip(v).map(|(w, v)| w + factor * step * v).collect();
        gpu.write(&trainer.arena.weights.view(), &moved)?;
        Ok(trainer.scores(false)?.train_loss.unwrap_or(f64::NAN))
    };
    let [ahead, here, behind] = [loss(1.0)?, loss(0.0)?, loss(-1.0)?];
    Ok([exact, (ahead - 2.0 * here + behind) / f64::from(step).powi(2)])
}

fn train_and_check() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::new(&AdapterChoice::from_environment())?;
    let config = RunConfig {
        noise: Mode::Layer,
        sigma: 0.1,
        epochs: 6,
        batch: 64,
        lr: 0.1,
        log_every: 0,
        ..RunConfig::default()
    };
    let prepared = Prepared { model: model()?, ..Prepared::load(&config)? };
    let mut trainer = Trainer::new(&gpu, &config, &prepared)?;
    println!("{} on {}, on {}", prepared.model, prepared.training_data(), gpu.adapter_name());
    run(&mut trainer, &config, None, &mut |event| {
        if let Event::Epoch(epoch) = event {
            let accuracy = 100.0 * epoch.scores.test_accuracy.unwrap_or(f64::NAN);
            println!("epoch {}: test accuracy {accuracy:.1} %", epoch.epoch);
        }
        Ok(Control::Continue)
    })?;
    for number in 0..3 {
        let [exact, difference] = curvatures(&trainer, &direction(&trainer, number))?;
        println!("v'Hv {exact:.3}, by a second difference {difference:.3}");
        let apart = (exact - difference).abs();
        if apart.is_nan() || apart > 0.02 * exact.abs() {
            return Err(format!("the product along direction {number} is wrong").into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match train_and_check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
