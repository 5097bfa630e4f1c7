//! Draws from the Gaussians that rules leave against the formulas of their rules.

use std::{collections::HashMap, path::Path};

use crate::common::{
    assert_close, samples,
    supervised::{begin, checkpoints, config, every, open},
};
use jostle::{
    graph::Param,
    kernels::Activation,
    nn::{Model, NamedTensor, read_tensors, write_tensors},
    noise::Mode,
    rules::RuleKind,
    train::{Control, Gaussian, Message, POSTERIOR, Prepared, RunConfig, RunResult, Trainer},
};

fn model() -> Model {
    Model::mlp(&[2, 2], Activation::Relu).unwrap()
}

/// A file of tensors of each parameter, by what follows its name and how many such tensors one holds.
fn write(path: &Path, roles: &[(&str, Option<usize>)], metadata: &[(&str, &str)], value: impl Fn(&str, usize) -> f32) {
    let mut tensors = Vec::new();
    let graph = model().graph;
    for Param { name, shape, .. } in graph.params() {
        for (role, count) in roles {
            let shape: Vec<usize> = count.iter().chain(shape).copied().collect();
            let values = (0..shape.iter().product()).map(|i| value(&format!("{name}{role}"), i)).collect();
            tensors.push(NamedTensor { name: format!("{name}{role}"), shape, values });
        }
    }
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    write_tensors(path, &tensors, metadata).unwrap();
}

const SWAG: [(&str, Option<usize>); 3] = [("/mean", None), ("/second_moment", None), ("/deviations", Some(3))];
const SWAG_METADATA: [(&str, &str); 3] = [("rule", "swag"), ("snapshots", "3"), ("rank", "5")];

/// Numbers of a name: some for each tensor.
fn numbers(name: &str, i: usize) -> f32 {
    let seed = name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let value = samples(seed, i + 1, 1.0)[i];
    match name {
        // Second moments leave a variance of some size; that of one weight is less than its mean's square, by rounding.
        name if name.ends_with("/second_moment") => numbers(&name.replace("second_moment", "mean"), i).powi(2) + value,
        _ => value,
    }
}

fn flat(tensors: &[NamedTensor]) -> Vec<f64> {
    tensors.iter().flat_map(|tensor| tensor.values.iter().map(|value| f64::from(*value))).collect()
}

/// The mean and covariance of so many draws.
fn moments(posterior: &Gaussian, draws: u32) -> (Vec<f64>, Vec<Vec<f64>>) {
    let draws: Vec<Vec<f64>> = (0..draws).map(|number| flat(&posterior.draw(3, number))).collect();
    let (count, dimensions) = (draws.len() as f64, draws[0].len());
    let mean: Vec<f64> = (0..dimensions).map(|i| draws.iter().map(|draw| draw[i]).sum::<f64>() / count).collect();
    let product =
        |i: usize, j: usize| draws.iter().map(|draw| (draw[i] - mean[i]) * (draw[j] - mean[j])).sum::<f64>() / count;
    let covariance = (0..dimensions).map(|i| (0..dimensions).map(|j| product(i, j)).collect()).collect();
    (mean, covariance)
}

/// Compares with expected moments, to five standard errors of a Gaussian's.
fn assert_moments(posterior: &Gaussian, mean: &[f64], covariance: &[Vec<f64>]) {
    const DRAWS: u32 = 20_000;
    let (found_mean, found) = moments(posterior, DRAWS);
    assert_eq!(flat(&posterior.mean()), mean);
    for i in 0..mean.len() {
        let error = 5.0 * (covariance[i][i] / f64::from(DRAWS)).sqrt();
        assert!((found_mean[i] - mean[i]).abs() <= error + 1e-12, "mean {i}: {} {}", found_mean[i], mean[i]);
        for j in 0..mean.len() {
            let expected = covariance[i][j];
            let spread = covariance[i][i] * covariance[j][j] + expected * expected;
            let error = 5.0 * (spread / f64::from(DRAWS)).sqrt();
            assert!((found[i][j] - expected).abs() <= error + 1e-12, "{i}, {j}: {} {expected}", found[i][j]);
        }
    }
}

/// Maddox et al., equation 1 of section 3.2: half of the diagonal and half of D D' / (K - 1).
#[test]
fn draws_of_swag_have_its_mean_and_covariance() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("posterior.safetensors");
    write(&path, &SWAG, &SWAG_METADATA, numbers);
    let graph = model().graph;
    let elements: Vec<(String, usize, usize)> = graph
        .params()
        .iter()
        .flat_map(|Param { name, shape, .. }| {
            let len: usize = shape.iter().product();
            (0..len).map(move |i| (name.clone(), len, i))
        })
        .collect();
    let value = |role: &str, (name, _, i): &(String, usize, usize)| f64::from(numbers(&format!("{name}/{role}"), *i));
    let mean: Vec<f64> = elements.iter().map(|element| value("mean", element)).collect();
    let variances: Vec<f64> = elements
        .iter()
        .zip(&mean)
        .map(|(element, mean)| (value("second_moment", element) - mean * mean).max(1e-30))
        .collect();
    assert!(variances.contains(&1e-30) && variances.iter().any(|variance| *variance > 0.1));
    let deviation = |(name, len, i): &(String, usize, usize), k: usize| {
        f64::from(numbers(&format!("{name}/deviations"), k * len + i))
    };
    let covariance: Vec<Vec<f64>> = (0..mean.len())
        .map(|i| {
            let entry = |j: usize| {
                let products = (0..3).map(|k| deviation(&elements[i], k) * deviation(&elements[j], k));
                0.5 * (products.sum::<f64>() / 4.0 + if i == j { variances[i] } else { 0.0 })
            };
            (0..mean.len()).map(entry).collect()
        })
        .collect();
    let posterior = Gaussian::read(&path, &model()).unwrap();
    assert_moments(&posterior, &mean, &covariance);
    assert_eq!(posterior.draw(3, 5), posterior.draw(3, 5));
    assert_ne!(posterior.draw(3, 5), posterior.draw(3, 6));
    assert_ne!(posterior.draw(4, 5), posterior.draw(3, 5));
}

#[test]
fn draws_of_ivon_are_independent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("posterior.safetensors");
    let value = |name: &str, i: usize| if name.ends_with("deviation") { 0.5 + i as f32 } else { numbers(name, i) };
    write(&path, &[("/mean", None), ("/deviation", None)], &[("rule", "ivon")], value);
    let values_of = |role: &str| -> Vec<f64> {
        let graph = model().graph;
        let values = graph.params().iter().flat_map(|Param { name, shape, .. }| {
            let name = format!("{name}/{role}");
            (0..shape.iter().product()).map(move |i| f64::from(value(&name, i)))
        });
        values.collect()
    };
    let (mean, deviations) = (values_of("mean"), values_of("deviation"));
    let diagonal = |i: usize| (0..mean.len()).map(|j| if i == j { deviations[i].powi(2) } else { 0.0 }).collect();
    let covariance: Vec<Vec<f64>> = (0..mean.len()).map(diagonal).collect();
    assert_moments(&Gaussian::read(&path, &model()).unwrap(), &mean, &covariance);
}

#[test]
fn files_that_are_no_posterior_of_the_model_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("posterior.safetensors");
    let refusal = |roles: &[(&str, Option<usize>)], metadata: &[(&str, &str)]| {
        write(&path, roles, metadata, |_, _| 0.0);
        let error = Gaussian::read(&path, &model()).unwrap_err().to_string();
        error.replace(&path.display().to_string(), "FILE")
    };
    let sound = "FILE: not a sound safetensors file: expected";
    assert_eq!(refusal(&SWAG, &[]), format!("{sound} metadata with the rule swag or ivon, found none"));
    let other = format!("{sound} metadata with the rule swag or ivon, found \"sam\"");
    assert_eq!(refusal(&SWAG, &[("rule", "sam")]), other);
    let number = refusal(&SWAG, &[("rule", "swag"), ("snapshots", "-1"), ("rank", "5")]);
    assert_eq!(number, format!("{sound} metadata with a number snapshots, found Some(\"-1\")"));
    let few = refusal(&SWAG, &[("rule", "swag"), ("snapshots", "1"), ("rank", "5")]);
    assert_eq!(few, format!("{sound} moments of 2 weights or more, found 1 with a rank of 5"));
    let huge = u64::MAX.to_string();
    for (snapshots, rank) in [("4", "5"), (&huge, &huge)] {
        let found = refusal(&SWAG, &[("rule", "swag"), ("snapshots", snapshots), ("rank", rank)]);
        assert!(found.contains("/deviations") && found.contains("[3, 2"), "{found}");
    }
    assert!(refusal(&SWAG[..2], &SWAG_METADATA).contains("no tensor"));
    assert!(refusal(&SWAG, &[("rule", "ivon")]).contains("/deviation"));
    let weights: HashMap<String, String> = HashMap::new();
    write_tensors(&path, &[], weights).unwrap();
    assert!(Gaussian::read(&path, &model()).is_err());
    assert!(Gaussian::read(&dir.path().join("none"), &model()).is_err());
}

/// Its deviations are 1 / sqrt(ess (h + weight decay)), h as it is in the last checkpoint.
#[test]
fn ivon_leaves_its_weights_and_deviations() {
    let dir = tempfile::tempdir().unwrap();
    let plain = RunConfig { noise: Mode::None, steps: Some(5), ..config() };
    let config =
        RunConfig { rule: RuleKind::Ivon, ess: Some(300.0), hess_init: Some(0.5), weight_decay: 0.01, ..plain };
    let mut write = |trainer: &Trainer<'_>, _: &RunResult, _| trainer.save_weights(dir.path());
    let mut observe = |_: Message<'_>| Ok(Control::Continue);
    begin(dir.path(), &config, every(5)).run(&open, false, &mut observe, &mut write).unwrap();
    let tensors = |path: &Path| -> HashMap<String, Vec<f32>> {
        read_tensors(path).unwrap().into_iter().map(|tensor| (tensor.name, tensor.values)).collect()
    };
    let state = tensors(&checkpoints(dir.path()).pop().unwrap().join("state.safetensors"));
    let weights = tensors(&dir.path().join("weights.safetensors"));
    let posterior = tensors(&dir.path().join(POSTERIOR));
    assert_eq!(posterior.len(), 2 * weights.len());
    for (name, mean) in &weights {
        assert_eq!(&posterior[&format!("{name}/mean")], mean);
        let hess = &state[&format!("hess.{name}")];
        let expected = hess.iter().map(|hess| (300.0 * (f64::from(*hess) + 0.01)).powf(-0.5));
        let expected: Vec<f64> = expected.collect();
        assert_close(name, &posterior[&format!("{name}/deviation")], &expected, 0.0, 1e-6);
        assert!(hess.iter().any(|hess| *hess != 0.5), "h has moved");
    }
    let model = Prepared::load(&config).unwrap().model;
    assert_eq!(Gaussian::read(&dir.path().join(POSTERIOR), &model).unwrap().rule(), RuleKind::Ivon);
}
