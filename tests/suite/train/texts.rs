//! Runs on texts: windows on the device, what is learned, what is scored, what resumes.

use std::{fs, path::Path};

use crate::common::{
    device, hash, own_device,
    supervised::{begin, every, go, left, resume},
};
use jostle::{
    data::{BatchOrder, Dataset, SampleShape, Split, Targets, Vocabulary},
    graph::{BatchInfo, Plan, PlanMode, Schedule, ValueShape},
    kernels::{Arena, Target},
    nn::{self, Model, Sequential},
    noise::Mode,
    ops::Loss,
    train::{
        Control, DeviceData, EvalEvery, Event, Footprint, Prepared, RunConfig, Scores, TrainError, TrainEval, Trainer,
        Validation, run,
    },
};
use tempfile::TempDir;

const SIZE: usize = 9;
const BLOCK: usize = 6;

/// Each token follows from the one before it, but for one in eight that is random.
fn text(count: usize) -> Dataset {
    let mut token = 1u32;
    let tokens = (0..count as u64).map(|i| {
        token = if hash(401, i).is_multiple_of(8) { hash(402, i) as u32 } else { 2 * token + 3 } % SIZE as u32;
        token
    });
    let vocabulary = Vocabulary::Numbers { size: SIZE };
    Dataset::from_text("text", tokens.collect(), vocabulary).unwrap()
}

fn split(train: usize, test: usize) -> Split {
    Split { train: text(train), test: text(test) }
}

fn model(block: usize) -> Model {
    let input = ValueShape::Tokens { length: block, vocabulary: SIZE };
    Sequential::with_input(input).embedding(8).layer("layer-norm", toml::Table::new()).linear(SIZE).build().unwrap()
}

fn config() -> RunConfig {
    RunConfig { noise: Mode::Layer, sigma: 0.02, epochs: 2, batch: 7, lr: 0.2, log_every: 1, ..RunConfig::default() }
}

/// The windows that begin at these tokens, each a sample of its own.
fn materialised(text: &Dataset, places: &[u32]) -> Dataset {
    let windows = places.iter().map(|place| text.windows().unwrap().window(*place as usize).unwrap());
    let [tokens, next] =
        [0, 1].map(|part| windows.clone().flat_map(|window| window[part].to_vec()).collect::<Vec<_>>());
    let shape = SampleShape { channels: 1, height: 1, width: BLOCK };
    Dataset::from_arrays("text", tokens, Targets::Tokens { tokens: next, length: BLOCK, vocabulary: SIZE }, shape)
        .unwrap()
}

/// Gradients and (loss, correct) sums of the batches of 5 of an order.
fn passes(data: &DeviceData, loss: Loss) -> Vec<Vec<f32>> {
    let (gpu, model) = (device(), model(BLOCK));
    let arena = Arena::new(gpu, model.graph.layout(), &vec![1.0; model.graph.params().len()]).unwrap();
    nn::initialise(gpu, &model, &arena, 3).unwrap();
    let mut recorder = gpu.record();
    recorder.copy(&arena.weights.view(), &arena.weights_eff.view());
    recorder.submit().unwrap();
    let schedule = Schedule::new(&model.graph, 5, PlanMode::Train, loss).unwrap();
    let sums = gpu.buffer("sums", 2).unwrap();
    let plan = Plan::new(gpu, &schedule, &arena, data.views(), &sums.view()).unwrap();
    let mut all = Vec::new();
    for first in (0..data.len()).step_by(5) {
        let valid = 5.min(data.len() - first);
        let staged = data.stage(gpu, first, valid).unwrap();
        let mut recorder = gpu.record();
        plan.record(&mut recorder, BatchInfo::new(staged, valid as u32, 0));
        recorder.submit().unwrap();
        all.push(gpu.read(&arena.grads.view()).unwrap());
        all.push(gpu.read(&sums.view()).unwrap());
    }
    all
}

/// One copy of the tokens, a batch at a time, and samples of their own: the same numbers to the bit.
#[test]
fn windows_on_the_device_are_those_of_the_host() {
    let gpu = device();
    let text = text(83).with_block(BLOCK).unwrap();
    for order in [BatchOrder::Shuffled, BatchOrder::Sequential] {
        let places = text.places(order, 5, 2);
        assert_eq!(places.len(), 13);
        for loss in [Loss::Nll, Loss::Mse] {
            let expected = passes(&DeviceData::new(gpu, materialised(&text, &places), 5, &[]).unwrap(), loss);
            assert!(expected.iter().flatten().all(|value| value.is_finite()) && expected.len() == 6);
            for resident in [true, false] {
                let mut data = DeviceData::with_residency(gpu, text.clone(), 5, &[], resident).unwrap();
                assert_eq!(data.views().samples.shares_buffer(&data.views().targets), resident);
                data.set_order(gpu, places.clone()).unwrap();
                assert!(passes(&data, loss) == expected, "{order} {loss}, resident: {resident}");
            }
        }
    }
    let mut data = DeviceData::new(gpu, text, 5, &[]).unwrap();
    let refused = data.set_order(gpu, vec![77; 13]).unwrap_err().to_string();
    assert!(refused.contains("77") && data.set_order(gpu, vec![76; 13]).is_ok(), "{refused}");
}

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

/// Seven in eight of the tokens follow from the one before: a model that has learnt it is far below what the tokens' own
/// frequencies give, which are about equal.
#[test]
fn the_next_token_is_learned_from_random_windows_and_consecutive_ones() {
    for batch_order in [BatchOrder::Shuffled, BatchOrder::Sequential] {
        let config = RunConfig { batch_order, epochs: 6, ..config() };
        let prepared = Prepared::with_model(&config, split(1500, 400), model(BLOCK)).unwrap();
        let all = scores(&config, &prepared);
        let last = all.last().unwrap();
        let unigram = (SIZE as f64).ln();
        // The entropy of a token after another is 0.62.
        assert!(last.test_loss.unwrap() < 0.5 * unigram && last.train_loss.unwrap() < 0.5 * unigram, "{last:?}");
        assert!(last.test_accuracy.unwrap() > 0.8, "{last:?}");
    }
}

#[test]
fn the_block_is_the_model_s_and_the_option_s() {
    let base = config();
    let prepared = Prepared::with_model(&base, split(300, 100), model(11)).unwrap();
    assert_eq!((prepared.split.train.features(), prepared.split.train.len(), prepared.split.test.len()), (11, 27, 9));
    let refusal = |config: &RunConfig, split: Split, model: Model| {
        Prepared::with_model(config, split, model).map(|_| ()).unwrap_err().to_string()
    };
    let other = RunConfig { block: Some(12), ..base.clone() };
    let message = refusal(&other, split(300, 100), model(11));
    assert!(
        message.starts_with("block: ") && message.ends_with("takes windows of 11 tokens and no others"),
        "{message}"
    );
    assert_eq!(
        refusal(&base, split(300, 11), model(11)),
        "test part of text: expected at least 12 tokens, a window of 11 and the next one, found 11; a smaller --block takes \
         shorter texts"
    );
    let rows = Sequential::new(BLOCK).linear(SIZE).build().unwrap();
    assert!(matches!(Prepared::with_model(&base, split(300, 100), rows), Err(TrainError::NoTokens { .. })));
    let images = RunConfig { block: Some(12), ..RunConfig::default() };
    assert_eq!(
        Prepared::load(&images).map(|_| ()).unwrap_err().to_string(),
        "block: digits is no text, and has no windows"
    );

    // A file has no length of its own.
    let (folder, run) = on_disk();
    let of_file = |block| Prepared::load(&RunConfig { block, ..run.clone() }).unwrap().split.train.features();
    assert_eq!((of_file(None), of_file(Some(12))), (64, 12));
    drop(folder);
}

/// A text and a model as files, and a run over them.
fn on_disk() -> (TempDir, RunConfig) {
    let folder = tempfile::tempdir().unwrap();
    let [text, model] = ["text.txt", "model.toml"].map(|name| folder.path().join(name));
    let characters = |i: u64| if hash(403, i).is_multiple_of(8) { 'x' } else { (b'a' + (i % 7) as u8) as char };
    fs::write(&text, (0..1500).map(characters).collect::<String>()).unwrap();
    let layers = [
        "type = \"embedding\"\nfeatures = 8",
        "type = \"layer-norm\"",
        "type = \"dropout\"\nprobability = 0.1",
        "type = \"linear\"",
    ];
    fs::write(&model, layers.map(|layer| format!("[[layers]]\n{layer}\n")).concat()).unwrap();
    let show = |path: &Path| path.display().to_string();
    let config = RunConfig { data: format!("text:{}", show(&text)), model: show(&model), ..config() };
    (folder, config)
}

#[test]
fn a_run_over_a_text_resumes_bit_by_bit() {
    let (folder, config) = on_disk();
    for batch_order in [BatchOrder::Shuffled, BatchOrder::Sequential] {
        let eval_every = EvalEvery::Steps(9);
        // 106 windows an epoch, 16 steps, the last of them of one window.
        let config = RunConfig {
            batch_order,
            block: Some(12),
            steps: Some(40),
            validation: Some(Validation::Share(0.05)),
            eval_every,
            eval_windows: Some(5),
            ..config.clone()
        };
        let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(format!("{name} {batch_order}")));
        let mut supervisor = begin(&whole, &config, every(0));
        assert_eq!(supervisor.prepared().split.train.len(), 106);
        go(&mut supervisor, None, &mut Vec::new()).unwrap();
        go(&mut begin(&parts, &config, every(7)), Some(5), &mut Vec::new()).unwrap();
        for stop in [Some(16), Some(23), None] {
            go(&mut resume(&parts, every(7)), stop, &mut Vec::new()).unwrap();
        }
        assert!(left(&parts) == left(&whole), "{batch_order}");
        assert_eq!(left(&whole).steps.len(), 40);
        let vocabulary = Vocabulary::parse(&fs::read(parts.join("vocabulary.json")).unwrap()).unwrap();
        assert_eq!(vocabulary, Vocabulary::of_characters("abcdefgx"));
    }
}

/// What is scored goes by the seed of subsets alone, and is the same at each evaluation.
#[test]
fn evaluations_are_deterministic() {
    let base = RunConfig { eval_windows: Some(15), ..config() };
    let prepared = |config: &RunConfig| Prepared::with_model(config, split(1500, 400), model(BLOCK)).unwrap();
    assert_eq!(prepared(&base).split.test.len(), 15);
    assert_eq!(prepared(&config()).split.test.len(), 66, "all of a short text");
    let scores = |config: &RunConfig| {
        let trainer = Trainer::new(device(), config, &prepared(config)).unwrap();
        let all = trainer.scores(true).unwrap();
        assert_eq!(trainer.scores(true).unwrap(), all);
        all
    };
    let first = scores(&base);
    let samples = |samples| RunConfig { train_eval: TrainEval::Samples(samples), ..base.clone() };
    assert_eq!(scores(&samples(15)), first, "so many windows by either key");
    assert_ne!(scores(&samples(16)).train_loss, first.train_loss);
    let other = scores(&RunConfig { subset_seed: 1, ..base.clone() });
    assert!(other.test_loss != first.test_loss && other.train_loss != first.train_loss);
    assert_eq!(scores(&RunConfig { train_eval: TrainEval::None, ..base }).train_loss, None);
}

#[test]
fn a_run_over_a_text_allocates_its_footprint() {
    let gpu = &own_device();
    let config = config();
    let prepared = Prepared::with_model(&config, split(1_500_000, 200_000), model(BLOCK)).unwrap();
    let expected = Footprint::for_run(&config, &prepared, config.batch, &Target::for_device(gpu)).unwrap();
    let before = gpu.allocated_bytes();
    let _trainer = Trainer::new(gpu, &config, &prepared).unwrap();
    let beyond = (gpu.allocated_bytes() - before) as f64 / expected.total_bytes as f64 - 1.0;
    assert!((-0.001..0.05).contains(&beyond), "{expected:?} ({beyond:+.4})");
}
