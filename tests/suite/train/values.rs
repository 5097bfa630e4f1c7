//! Whole runs on texts, sequences and vectors: what is between the data and the loss beside a plan.

use crate::common::{device, own_device, samples};
use jostle::{
    data::{Dataset, SampleShape, Split, Targets},
    graph::ValueShape,
    kernels::Target,
    nn::{Model, Sequential},
    noise::Mode,
    ops::Loss,
    train::{Control, Event, Footprint, Precision, Prepared, RunConfig, Scores, TrainError, Trainer, run},
};

const VOCABULARY: u32 = 11;
const LENGTH: usize = 6;

const fn row(width: usize) -> SampleShape {
    SampleShape { channels: 1, height: 1, width }
}

/// Each token follows from the one before it.
fn texts(beginnings: impl Iterator<Item = u32>) -> Dataset {
    let (mut tokens, mut next) = (Vec::new(), Vec::new());
    for mut token in beginnings {
        for _ in 0..LENGTH {
            tokens.push(token);
            token = (7 * token + 3) % VOCABULARY;
            next.push(token);
        }
    }
    Dataset::from_arrays("texts", tokens, Targets::tokens(next, LENGTH), row(LENGTH)).unwrap()
}

fn text_split() -> Split {
    Split { train: texts((0..8).cycle().take(96)), test: texts(8..VOCABULARY) }
}

fn language_model() -> Model {
    let input = ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY as usize };
    Sequential::with_input(input).embedding(16).linear(32).relu().linear(VOCABULARY as usize).build().unwrap()
}

fn config() -> RunConfig {
    let noise = RunConfig { noise: Mode::Layer, sigma: 0.02, ..RunConfig::default() };
    RunConfig { epochs: 20, batch: 32, lr: 0.1, log_every: 0, ..noise }
}

/// The scores of each epoch of a run.
fn scores(config: &RunConfig, prepared: &Prepared) -> Vec<Scores> {
    let mut trainer = Trainer::new(device(), config, prepared).unwrap();
    let mut all = Vec::new();
    run(&mut trainer, config, None, &mut |event| {
        if let Event::Epoch(epoch) = event {
            all.push(epoch.scores);
        }
        Ok(Control::Continue)
    })
    .unwrap();
    all
}

#[test]
fn the_next_token_is_learned_in_f32_and_f16() {
    let precisions = [Precision::F32, Precision::F16].into_iter().take(if device().has_f16() { 2 } else { 1 });
    for precision in precisions {
        let config = RunConfig { precision, ..config() };
        let prepared = Prepared::with_model(&config, text_split(), language_model()).unwrap();
        let found = scores(&config, &prepared);
        let last = found.last().unwrap();
        assert!(found[0].test_accuracy < Some(0.9), "{:?}", found[0]);
        assert_eq!(last.test_accuracy, Some(1.0), "{precision:?}: {last:?}");
        // Sums over samples and positions, divided by both: the loss of the first epoch is about that of a guess.
        assert!(
            found[0].train_loss.unwrap() < f64::from(VOCABULARY).ln() && last.train_loss.unwrap() < 0.3,
            "{last:?}"
        );
    }
}

/// With a batch norm whose statistics are taken anew: the plan that does so has a loss too.
#[test]
fn vectors_of_samples_and_of_positions_are_fitted() {
    let values = samples(311, 64 * 8, 1.0);
    let sums = |width: usize| -> Vec<f32> { values.chunks(width).map(|row| row.iter().sum()).collect() };
    let cases = [
        (Sequential::new(8), row(8), Targets::vectors(sums(8), 1)),
        (
            Sequential::with_input(ValueShape::Sequence { length: 4, features: 2 }),
            SampleShape { channels: 1, height: 4, width: 2 },
            Targets::vectors(sums(2), 4),
        ),
    ];
    for (model, shape, targets) in cases {
        let data = Dataset::from_arrays("sums", values.clone(), targets, shape).unwrap();
        let model = model.linear(16).batch_norm().relu().linear(1).build().unwrap();
        let config = RunConfig { loss: Loss::Mse, bn_recalibrate: true, epochs: 40, ..config() };
        let split = Split { train: data.clone(), test: data };
        let found = scores(&config, &Prepared::with_model(&config, split, model).unwrap());
        let [first, last] = [found.first(), found.last()].map(|scores| scores.unwrap().train_loss.unwrap());
        assert!(last < 0.1 * first, "{first} {last}");
        assert!(found.iter().all(|scores| scores.train_accuracy.is_none() && scores.test_accuracy.is_none()));
    }
}

#[test]
fn a_text_s_vocabulary_is_that_of_both_parts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.toml");
    let layer = |text: &str| format!("[[layers]]\n{text}\n");
    let layers = [layer("type = \"embedding\"\nfeatures = 4"), layer("type = \"linear\"")].concat();
    std::fs::write(&file, layers).unwrap();
    let config = RunConfig { model: file.display().to_string(), ..config() };
    // No training text holds the last token, neither as sample nor as target.
    let few = Dataset::from_arrays("few", vec![0u32; 8], Targets::tokens(vec![1; 8], 4), row(4)).unwrap();
    let test = Dataset::from_arrays("few", vec![2u32; 8], Targets::tokens(vec![4; 8], 4), row(4)).unwrap();
    let prepared = Prepared::from_split(&config, Split { train: few, test }).unwrap();
    assert_eq!(prepared.model.graph.params()[0].shape, [5, 4]);
    assert_eq!((prepared.model.positions(), prepared.model.classes()), (4, 5));
}

#[test]
fn models_that_do_not_answer_what_is_asked_are_refused() {
    let config = config();
    let refusal = |split: Split, model: Model, config: &RunConfig| {
        Prepared::with_model(config, split, model).map(|_| ()).unwrap_err().to_string()
    };
    let input = ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY as usize };
    let narrow = Sequential::with_input(input).embedding(8).linear(10).build().unwrap();
    let expected = "model custom:6 tokens below 11-embedding8-10 gives 6 x 10 outputs a sample, but the targets of texts are 6 x one \
                    of 11 tokens";
    assert_eq!(refusal(text_split(), narrow, &config), expected);
    let flat = Sequential::with_input(input).embedding(8).flatten().linear(11).build().unwrap();
    assert!(refusal(text_split(), flat, &config).contains("gives 1 x 11 outputs"));
    let vectors = |width: usize| {
        let targets = Targets::vectors(vec![0.0; 4 * width], width);
        let data = Dataset::from_arrays("numbers", vec![0.0f32; 8], targets, row(2)).unwrap();
        Split { train: data.clone(), test: data }
    };
    let three = || Sequential::new(2).linear(3).build().unwrap();
    assert!(refusal(vectors(2), three(), &config).ends_with("the targets of numbers are 2 numbers"));
    let noisy = RunConfig { label_noise: 0.3, ..config.clone() };
    assert!(refusal(vectors(3), three(), &noisy).contains("the targets of numbers are no classes"));
    let mut wrong = vectors(3);
    wrong.train.targets = Targets::Classes { labels: vec![0, 1, 2, 7], classes: 3 };
    let found = Prepared::with_model(&RunConfig { subset: Some(2), ..config }, wrong, three());
    assert!(matches!(found, Err(TrainError::Data(_))), "a label past the classes is no index: {found:?}");
}

/// Targets take as much of the device as the texts themselves, and count.
#[test]
fn a_run_on_texts_allocates_its_footprint() {
    let gpu = &own_device();
    let config = RunConfig { batch: 8, ..config() };
    let split = Split { train: texts((0..8).cycle().take(200_000)), ..text_split() };
    let prepared = Prepared::with_model(&config, split, language_model()).unwrap();
    let target = Target::for_device(gpu);
    let expected = Footprint::for_run(&config, &prepared, config.batch, &target).unwrap().total_bytes as f64;
    let before = gpu.allocated_bytes();
    let _trainer = Trainer::new(gpu, &config, &prepared).unwrap();
    let beyond = (gpu.allocated_bytes() - before) as f64 / expected - 1.0;
    assert!((-0.001..0.05).contains(&beyond), "{expected} bytes expected ({beyond:+.4})");
}
