//! Rules and optimizers checked against PyTorch in float64: the losses of twenty steps, and weights, running statistics and moments after
//! them.
//!
//! `scripts/make_rule_parity.py` makes the fixtures, with the noise of `jostle noise --rule`. Weights and images are drawn on both
//! sides by the same formulas.

use crate::common::{device, images::hashed_images, parity_file};
use jostle::{
    data::Split,
    nn::{Model, NamedTensor, Signature, read_tensors},
    rules::RuleKind,
    train::{Control, Event, Prepared, RunConfig, TrainEval, Trainer, run},
};

/// The bar: losses relative, weights and statistics absolute.
const TOLERANCE: f64 = 1e-5;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    /// Keys of `jostle train` beside those of the manifest.
    config: serde_json::Map<String, serde_json::Value>,
    /// Where each pass of a step is taken.
    passes: Vec<String>,
    /// The loss of each pass of each step.
    losses: Vec<Vec<f64>>,
}

#[derive(serde::Deserialize)]
struct Manifest {
    /// Seed and number of the images.
    images: (u64, usize),
    config: serde_json::Map<String, serde_json::Value>,
    parameters: std::collections::BTreeMap<String, Vec<(String, Vec<usize>)>>,
    cases: Vec<Case>,
}

impl Case {
    fn rule(&self) -> &str {
        self.config["rule"].as_str().unwrap()
    }

    fn config(&self, shared: &serde_json::Map<String, serde_json::Value>) -> RunConfig {
        let mut keys: serde_json::Map<_, _> =
            shared.iter().chain(&self.config).map(|(k, v)| (k.clone(), v.clone())).collect();
        // In units of filter norms, as published; and a step of m-rwp has two batches of PyTorch's.
        if ["lpf", "arwp", "m-rwp"].contains(&self.rule()) {
            keys.insert("noise-scale".to_owned(), "filter".into());
        }
        if self.rule() == "mezo" {
            keys.insert("decay".to_owned(), "matrices".into());
        }
        let config: RunConfig = serde_json::from_value(serde_json::Value::Object(keys)).unwrap();
        config.check().unwrap();
        let batches = if self.rule() == "m-rwp" { 2 } else { 1 };
        RunConfig { batch: batches * config.batch, log_every: 1, train_eval: TrainEval::None, ..config }
    }

    /// The loss that is logged of a step: the mean over its parts of the first that is taken of each.
    fn logged(&self, losses: &[f64], has_statistics: bool) -> f64 {
        let at = |where_: &str| -> Vec<f64> {
            self.passes.iter().zip(losses).filter(|(pass, _)| *pass == where_).map(|(_, loss)| *loss).collect()
        };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        match self.rule() {
            "m-sam" => mean(&at("clean")),
            "lpf" => mean(&at("perturbed")),
            "m-rwp" => mean(losses),
            // Without statistics, and without a share of the clean gradient, there is no clean pass.
            "nso" if !has_statistics && self.config["nso-lambda"] == 0.0 => at("perturbed")[0],
            _ => losses[0],
        }
    }
}

fn prepared(config: &RunConfig, (seed, samples): (u64, usize)) -> Prepared {
    if config.model.starts_with("mlp") {
        return Prepared::load(config).unwrap();
    }
    let model = Model::build(&parity_file(&config.model).display().to_string(), &Signature::default()).unwrap();
    let split = Split { train: hashed_images(seed, samples), test: hashed_images(seed, 2) };
    Prepared { split, validation: None, model, loss: config.loss.into(), label_noise: None }
}

/// The loss of every step, and what is left after them: weights, running statistics, and moments where the rule takes some.
fn train(config: &RunConfig, prepared: &Prepared) -> (Vec<f64>, Vec<NamedTensor>) {
    let gpu = device();
    let mut trainer = Trainer::new(gpu, config, prepared).unwrap();
    let mut losses = Vec::new();
    run(&mut trainer, config, None, &mut |event| {
        if let Event::Step(record) = event {
            losses.push(record.loss);
        }
        Ok(Control::Continue)
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    trainer.save_weights(folder.path()).unwrap();
    let files = ["weights.safetensors", "posterior.safetensors"].map(|name| folder.path().join(name));
    // Of the other rules that leave a posterior it is made of weights and state.
    let count = if config.rule == RuleKind::Swag { 2 } else { 1 };
    (losses, files[..count].iter().flat_map(|path| read_tensors(path).unwrap()).collect())
}

fn follow(wanted: impl Fn(&Case) -> bool) {
    let Manifest { images, config: shared, cases, .. } =
        serde_json::from_str(&std::fs::read_to_string(parity_file("rules.json")).unwrap()).unwrap();
    let expected = read_tensors(&parity_file("rules.safetensors")).unwrap();
    let cases: Vec<Case> = cases.into_iter().filter(|case| wanted(case)).collect();
    assert!(cases.len() > 1);
    let mut failures = Vec::new();
    for case in cases {
        let config = case.config(&shared);
        let prepared = prepared(&config, images);
        let has_statistics = !prepared.model.graph.stats().is_empty();
        let (losses, tensors) = train(&config, &prepared);
        assert_eq!(losses.len(), 20, "{}", case.name);
        let relative = |(found, expected): (&f64, f64)| ((found - expected) / expected).abs();
        let logged = case.losses.iter().map(|losses| case.logged(losses, has_statistics));
        let loss = losses.iter().zip(logged).map(relative).fold(0.0, f64::max);
        let own = expected.iter().filter_map(|tensor| {
            let name = tensor.name.strip_prefix(case.name.as_str())?.strip_prefix('/')?;
            Some((name, &tensor.values))
        });
        let (mut worst, mut compared) = (0.0f64, 0);
        for (name, values) in own {
            let found =
                tensors.iter().find(|found| found.name == name).unwrap_or_else(|| panic!("{}: {name}", case.name));
            assert_eq!(found.values.len(), values.len(), "{} {name}", case.name);
            let apart = found.values.iter().zip(values).map(|(f, e)| f64::from((f - e).abs()));
            worst = apart.fold(worst, |worst, apart| if apart <= worst { worst } else { apart });
            compared += 1;
        }
        assert_eq!(compared, tensors.len(), "{}: every tensor has its counterpart", case.name);
        let line = format!("{:>16}: losses {loss:.1e} relative, weights {worst:.1e}", case.name);
        println!("{line}");
        if !(loss <= TOLERANCE && worst <= TOLERANCE) {
            failures.push(line);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn rules_follow_pytorch_on_a_small_mlp() {
    follow(|case| case.name.starts_with("mlp-"));
}

#[test]
fn rules_follow_pytorch_through_batch_norms() {
    follow(|case| case.name.starts_with("net-"));
}

#[test]
fn parameters_have_pytorchs_names_and_shapes() {
    let manifest: Manifest =
        serde_json::from_str(&std::fs::read_to_string(parity_file("rules.json")).unwrap()).unwrap();
    for (name, parameters) in manifest.parameters {
        let text = if name.ends_with(".toml") { parity_file(&name).display().to_string() } else { name };
        let model = Model::build(&text, &Signature::default()).unwrap();
        let found: Vec<_> = model.graph.params().iter().map(|p| (p.name.clone(), p.shape.clone())).collect();
        assert_eq!(found, parameters, "{text}");
    }
}
