//! A training rule and a noise scheme of one's own, on the bundled digits:
//!
//!     cargo run --example custom_rule
//!
//! The rule is a program: a step perturbs the weights, takes a gradient, mirrors the perturbation, takes another gradient of
//! the same batch, and updates the clean weights along the mean of both. What is odd in the noise cancels, so that the mean
//! differs from the gradient at the clean weights by curvature alone (noise stability optimisation: Zhang, Li and Ju, TMLR
//! 2024). Of each step the loss at the clean weights is logged.
//!
//! The noise scheme falls on one tensor, by its name, and at odd steps only; at even steps both gradients are those at the
//! clean weights.
//!
//! It prints the program, what is recorded of it, and the losses of both this rule and plain descent.

use std::{error::Error, process::ExitCode, sync::Arc};

use jostle::{
    gpu::{AdapterChoice, Gpu},
    kernels::ArenaLayout,
    noise::{NoiseScheme, StepNoise},
    rules::{Draw, Gradients, Instruction, Program, Rule, RuleError},
    schedule::Moment,
    train::{Control, Event, Prepared, RunConfig, Trainer, run},
};

/// The tensor that gets noise, by the name that its file of weights has for it too.
const TENSOR: &str = "fc1.weight";

/// Gaussian noise on one tensor at odd steps.
#[derive(Debug)]
struct OddSteps {
    layout: ArenaLayout,
    tensor: usize,
    sigma: f64,
    seed: u64,
}

impl NoiseScheme for OddSteps {
    /// Pure in the step, so that a run can be repeated, and measured between any two steps.
    fn at(&self, step: u64, _: Moment) -> StepNoise {
        if step.is_multiple_of(2) {
            return StepNoise::none(&self.layout);
        }
        StepNoise::on_tensors(&self.layout, &[self.tensor], self.seed, step, self.sigma)
    }

    /// One factor for each tensor of the model, in its order.
    fn scales(&self) -> Vec<f32> {
        vec![1.0; self.layout.spans().len()]
    }
}

/// The mean of the gradients at both ends of a perturbation.
fn antithetic_pair() -> Result<Program, RuleError> {
    let [there, back] = [Gradients(0), Gradients(1)];
    let draw = Draw { number: 0, factor: 1.0 };
    Program::new(
        "antithetic pair",
        vec![
            Instruction::Loss,
            Instruction::Perturb { draw },
            Instruction::Gradient { into: there },
            Instruction::Perturb { draw: draw.mirrored() },
            Instruction::Gradient { into: back },
            Instruction::Combine { into: there, keep: 0.5, other: back, add: 0.5 },
            Instruction::Update { along: there },
        ],
    )
}

/// Trains a few epochs and prints the loss of each.
fn train(gpu: &Gpu, config: &RunConfig, prepared: &Prepared, rule: &Rule) -> Result<(), Box<dyn Error>> {
    let mut trainer = Trainer::with_rule(gpu, config, prepared, rule)?;
    println!("{}\n{}", rule.program, trainer.rule());
    run(&mut trainer, config, None, &mut |event| {
        match event {
            Event::Step(step) => println!("step {:3}: sigma {:.2}, loss {:.4}", step.step, step.sigma, step.loss),
            Event::Epoch(epoch) => {
                let [train, test] =
                    [epoch.scores.train_loss, epoch.scores.test_loss].map(|loss| loss.unwrap_or(f64::NAN));
                println!("epoch {}: train loss {train:.4}, test loss {test:.4}", epoch.epoch);
            }
            Event::Progress { .. } => {}
        }
        Ok(Control::Continue)
    })?;
    println!();
    Ok(())
}

fn compare() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::new(&AdapterChoice::from_environment())?;
    let model = "mlp:64-64-10".to_owned();
    let config = RunConfig { model, epochs: 4, batch: 64, lr: 0.2, log_every: 7, ..RunConfig::default() };
    let prepared = Prepared::load(&config)?;
    let layout = prepared.model.graph.layout();
    let tensor = prepared.model.graph.params().iter().position(|param| param.name == TENSOR);
    let tensor = tensor.ok_or("the model has no such tensor")?;
    println!("noise on {TENSOR} at odd steps, on {}\n", gpu.adapter_name());
    for (program, sigma) in [(Program::noise(), 0.0), (antithetic_pair()?, 0.2)] {
        let scheme = OddSteps { layout: layout.clone(), tensor, sigma, seed: config.seed };
        train(&gpu, &config, &prepared, &Rule::new(program, Arc::new(scheme)))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
