//! Training runs checked against PyTorch: every step's loss and every final weight.
//!
//! The fixtures are made by scripts/make_parity_fixtures.py, which takes each step's noise from `jostle noise`; here the
//! training loop draws its own. Loss per step agrees within 1e-5 relative, weights within 1e-5.

use crate::common::parity_file;
use jostle::{
    gpu::{AdapterChoice, Gpu},
    kernels::Arena,
    nn::{self, read_tensors},
    train::{Control, Evaluator, Event, Prepared, RunConfig, Trainer, run},
};

const TOLERANCE: f64 = 1e-5;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    initial: String,
    config: RunConfig,
    losses: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct Manifest {
    cases: Vec<Case>,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(parity_file("cases.json")).unwrap();
    serde_json::from_str::<Manifest>(&text).unwrap().cases
}

/// Trains a case; returns the loss of every step and the final weights by name.
fn train(gpu: &Gpu, case: &Case) -> (Vec<f64>, Vec<(String, Vec<f32>)>) {
    let config = RunConfig { init: Some(parity_file(&case.initial)), log_every: 1, ..case.config.clone() };
    let prepared = Prepared::load(&config).unwrap();
    let mut trainer = Trainer::new(gpu, &config, &prepared).unwrap();
    let mut losses = Vec::new();
    run(&mut trainer, &config, None, &mut |event| {
        if let Event::Step(record) = event {
            losses.push(record.loss);
        }
        Ok(Control::Continue)
    })
    .unwrap();
    let params = trainer.model.graph.params().iter().enumerate();
    let weights = params.map(|(tensor, param)| {
        let view = trainer.arena.tensor(&trainer.arena.weights, tensor).unwrap();
        (param.name.clone(), gpu.read(&view).unwrap())
    });
    (losses, weights.collect())
}

#[test]
fn losses_and_weights_follow_pytorch() {
    let gpu = Gpu::new(&AdapterChoice::from_environment()).unwrap();
    let cases = cases();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let (losses, weights) = train(&gpu, case);
        assert!(case.losses.len() >= 20, "{}: {} steps", case.name, case.losses.len());
        assert_eq!(losses.len(), case.losses.len(), "{}", case.name);
        let relative = |(found, expected): (&f64, &f64)| ((found - expected) / expected).abs();
        let worst_loss = losses.iter().zip(&case.losses).map(relative).fold(0.0, f64::max);
        let expected = read_tensors(&parity_file(&format!("final-{}.safetensors", case.name))).unwrap();
        let mut worst_weight = 0.0f64;
        for tensor in &expected {
            let (_, found) = weights.iter().find(|(name, _)| *name == tensor.name).unwrap();
            assert_eq!(found.len(), tensor.values.len(), "{} {}", case.name, tensor.name);
            for (found, expected) in found.iter().zip(&tensor.values) {
                assert!(found.is_finite(), "{} {}", case.name, tensor.name);
                worst_weight = worst_weight.max(f64::from((found - expected).abs()));
            }
        }
        println!("{:>22}: loss {worst_loss:.1e} relative, weights {worst_weight:.1e}", case.name);
        // Not `>`: a NaN fails.
        if !(worst_loss <= TOLERANCE && worst_weight <= TOLERANCE) {
            failures.push(format!("{}: loss {worst_loss:.2e}, weights {worst_weight:.2e}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_network_trained_in_pytorch_gives_the_same_logits() {
    let gpu = Gpu::new(&AdapterChoice::from_environment()).unwrap();
    let case = cases().into_iter().find(|case| case.name == "momentum-none").unwrap();
    let prepared = Prepared::load(&case.config).unwrap();
    let layout = prepared.model.graph.layout();
    let scales = vec![0.0; layout.spans().len()];
    let arena = Arena::new(&gpu, layout, &scales).unwrap();
    nn::load(&gpu, &prepared.model, &arena, &parity_file("final-momentum-none.safetensors")).unwrap();
    let test = prepared.split.test.clone();
    let evaluator = Evaluator::new(&gpu, &prepared.model, &arena, test, &[[0.0, 1.0]], case.config.loss).unwrap();
    let (_, found) = evaluator.outputs(&gpu).unwrap();
    let expected = &read_tensors(&parity_file("logits-momentum-none.safetensors")).unwrap()[0];
    assert_eq!(expected.shape, [500, 10]);
    let worst = found.iter().zip(&expected.values).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
    // Three sums of at most 64 f32 products of size 1, one after the other.
    assert!(worst <= 1e-4 && found.iter().all(|value| value.is_finite()), "{worst}");
}
