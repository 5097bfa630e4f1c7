//! Texts that a trained model writes.

use std::path::{Path, PathBuf};

use crate::{
    data::{BLOCK, Dataset, Vocabulary},
    gpu::{Buffer, Element, Gpu, View},
    graph::{BatchInfo, Plan, PlanMode, Schedule, ValueShape},
    kernels::{Arena, EffectiveWeights},
    nn::{self, Model, Signature},
    noise::{Stream, philox},
    ops::Loss,
};

use super::{DeviceData, Options, RunConfig, TrainError, checkpoint, supervisor::CONFIG, vocabulary_file};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// What the outputs are divided by before the softmax; 0 takes the most likely token.
    pub temperature: f64,
    /// Only so many of the most likely tokens, and those as likely as the last of them; 0 for all.
    pub top_k: usize,
    /// The seed of the draws.
    pub seed: u64,
}

impl Sampling {
    /// The token that these outputs give at a place of the text: by the softmax of outputs / temperature, drawn by seed and place
    /// alone. `None` where no output is a number.
    #[must_use]
    pub fn choose(&self, outputs: &[f32], place: u64) -> Option<u32> {
        let known = || outputs.iter().copied().enumerate().filter(|(_, output)| !output.is_nan());
        // The first of the largest.
        let (best, largest) = known().reduce(|best, other| if other.1 > best.1 { other } else { best })?;
        if self.temperature <= 0.0 || !largest.is_finite() {
            return Some(best as u32);
        }
        let mut sorted: Vec<f32> = known().map(|(_, output)| output).collect();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let least = self.top_k.checked_sub(1).and_then(|last| sorted.get(last)).copied().unwrap_or(f32::NEG_INFINITY);
        let weight = |output: f32| (f64::from(output - largest) / self.temperature).exp();
        let likely = || known().filter(|(_, output)| *output >= least).map(|(token, output)| (token, weight(output)));
        let mut left = self.uniform(place) * likely().map(|(_, weight)| weight).sum::<f64>();
        let mut chosen = best;
        for (token, weight) in likely() {
            chosen = token;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        Some(chosen as u32)
    }

    /// A number in [0, 1) of 53 random bits.
    fn uniform(&self, place: u64) -> f64 {
        let halves = |word: u64| [word as u32, (word >> 32) as u32];
        let [low, high] = halves(place);
        let [a, b, ..] = philox([low, high, 0, Stream::Sampling as u32], halves(self.seed));
        (u64::from(a >> 5) << 26 | u64::from(b >> 6)) as f64 * 2f64.powi(-53)
    }
}

/// A trained model over a text, ready to write on.
#[derive(Debug)]
pub struct Generator<'g> {
    gpu: &'g Gpu,
    vocabulary: Vocabulary,
    /// Tokens that the model sees at once.
    block: usize,
    plan: Plan,
    text: View,
    /// What the plan is bound to.
    _bound: (Arena, DeviceData, Buffer),
    /// The text so far.
    tokens: Vec<u32>,
    sampling: Sampling,
}

impl<'g> Generator<'g> {
    /// The model of the run in a folder, at the weights of a file, or else of its best checkpoint by validation loss, or else of
    /// its newest.
    ///
    /// # Errors
    /// [`TrainError::Io`] or [`TrainError::Config`] for a folder without a configuration, a vocabulary or a
    /// checkpoint; those of the model, its weights and the device.
    pub fn open(gpu: &'g Gpu, run: &Path, weights: Option<&Path>, sampling: Sampling) -> Result<Self, TrainError> {
        let config = RunConfig::resolve(Some(&run.join(CONFIG)), &Options::default())?;
        let vocabulary = vocabulary_file::read(run)?;
        let size = vocabulary.size();
        let input = ValueShape::Tokens { length: config.block.unwrap_or(BLOCK), vocabulary: size };
        let model = Model::build(&config.model, &Signature { input, classes: size })?;
        let weights = match weights {
            Some(path) => path.to_owned(),
            None => chosen_weights(run)?,
        };
        Self::new(gpu, &model, &weights, vocabulary, sampling)
    }

    /// A model at the weights of a file.
    ///
    /// # Errors
    /// [`TrainError::Outputs`] or [`TrainError::NoTokens`] for a model that does not give an output for each token of the vocabulary
    /// at each position of a text; those of the weights and the device.
    pub fn new(
        gpu: &'g Gpu,
        model: &Model,
        weights: &Path,
        vocabulary: Vocabulary,
        sampling: Sampling,
    ) -> Result<Self, TrainError> {
        let block = expect_text_model(model, &vocabulary)?;
        let layout = model.graph.layout();
        let scales = vec![0.0; layout.spans().len()];
        let arena = Arena::new(gpu, layout, &scales)?;
        nn::load(gpu, model, &arena, weights)?;
        let size = vocabulary.size();
        let window = Dataset::from_text("prompt", vec![0; block + 1], Vocabulary::Numbers { size })?;
        let data = DeviceData::with_residency(gpu, window.with_block(block)?, 1, &[], true)?;
        let sums = gpu.buffer("sums", 2)?;
        let schedule = Schedule::suited(&model.graph, 1, PlanMode::Evaluate, Loss::Nll, Element::Word, gpu)?;
        let plan = Plan::new(gpu, &schedule, &arena, data.views(), &sums.view())?;
        let mut recorder = gpu.record();
        EffectiveWeights::new(gpu, &arena, &arena.weights)?.record(&mut recorder);
        recorder.submit()?;
        let text = data.views().samples.clone();
        let bound = (arena, data, sums);
        Ok(Self { gpu, vocabulary, block, plan, text, _bound: bound, tokens: Vec::new(), sampling })
    }

    /// What tokens stand for.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The text so far.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Begins a text.
    ///
    /// # Errors
    /// [`TrainError::Config`] for a prompt with a part that the vocabulary has no token for, without a token, or with more than
    /// the model sees at once.
    pub fn begin(&mut self, prompt: &str) -> Result<(), TrainError> {
        let wrong = |reason: String| TrainError::Config { key: "prompt".to_owned(), reason };
        let tokens = self.vocabulary.encode(prompt).map_err(|error| wrong(error.to_string()))?;
        let (found, most) = (tokens.len(), self.block);
        if found == 0 || found > most {
            return Err(wrong(format!("expected from 1 to {most} tokens, which is the model's window, found {found}")));
        }
        self.tokens = tokens;
        Ok(())
    }

    /// The next token of the text, which goes on with it: the model sees the last tokens, as many as its window has. A text that
    /// is not yet as long has zeros after its end, which a causal model does not look at.
    ///
    /// # Errors
    /// Those of the device; [`TrainError::Config`] where the outputs are no numbers, or the text has not begun.
    pub fn next_token(&mut self) -> Result<u32, TrainError> {
        let wrong = |key: &str, reason: &str| TrainError::Config { key: key.to_owned(), reason: reason.to_owned() };
        let seen = &self.tokens[self.tokens.len().saturating_sub(self.block)..];
        let position = seen.len().checked_sub(1).ok_or_else(|| wrong("prompt", "the text has not begun"))?;
        let mut window = seen.to_vec();
        window.resize(self.block + 1, 0);
        self.gpu.write(&self.text, &window)?;
        let mut recorder = self.gpu.record();
        self.plan.record(&mut recorder, BatchInfo::new(0, 1, 0));
        recorder.submit()?;
        let outputs = self.plan.read_output_row(self.gpu, position)?;
        // Outputs past the vocabulary, by which some models are padded, stand for nothing.
        let outputs = &outputs[..self.vocabulary.size()];
        let token = self.sampling.choose(outputs, self.tokens.len() as u64);
        let token = token.ok_or_else(|| wrong("weights", "the outputs of the model are no numbers"))?;
        self.tokens.push(token);
        Ok(token)
    }
}

/// Tokens of a window of a model that gives an output for each token of the vocabulary at each position.
fn expect_text_model(model: &Model, vocabulary: &Vocabulary) -> Result<usize, TrainError> {
    let (description, size) = (model.description.clone(), vocabulary.size());
    let data = vocabulary_file::NAME.to_owned();
    let (length, known) = match model.graph.shape(model.graph.input()) {
        ValueShape::Tokens { length, vocabulary } => (length, vocabulary),
        input => return Err(TrainError::NoTokens { model: description, data, input: input.to_string() }),
    };
    let (positions, width) = (model.positions(), model.classes());
    if positions == length && width >= size && known >= size {
        return Ok(length);
    }
    let wanted = format!("{length} x one of {size} tokens");
    Err(TrainError::Outputs { model: description, data, found: format!("{positions} x {width}"), wanted })
}

/// The weights of a run's checkpoint with the lowest validation loss, or of its newest.
fn chosen_weights(run: &Path) -> Result<PathBuf, TrainError> {
    let folder = checkpoint::CheckpointFolder::in_run(run);
    let newest = checkpoint::newest(&folder, &mut |text| log::warn!("{text}"))?;
    let none = || TrainError::Config {
        key: "run".to_owned(),
        reason: format!("expected a checkpoint in {}, found none; --weights takes a file's", folder.root().display()),
    };
    let (stored, manifest) = newest.ok_or_else(none)?;
    let best = manifest.best.map(|best| folder.path(best.step)).filter(|path| path.is_dir());
    Ok(best.unwrap_or(stored.path).join(checkpoint::WEIGHTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(temperature: f64, top_k: usize) -> Sampling {
        Sampling { temperature, top_k, seed: 7 }
    }

    #[test]
    fn draws_follow_the_softmax_and_seed_and_place_alone() {
        let outputs = [0.0, 2.0, f32::NAN, -1.0, 2.0];
        assert_eq!(sampling(0.0, 0).choose(&outputs, 3), Some(1));
        assert_eq!(sampling(1.0, 0).choose(&[f32::NAN; 3], 3), None);
        let draws = |sampling: Sampling| (0..20_000).map(move |place| sampling.choose(&outputs, place).unwrap_or(9));
        let share =
            |sampling: Sampling, token: u32| draws(sampling).filter(|drawn| *drawn == token).count() as f64 / 2e4;
        let weights = [0.0, 2.0, f64::NEG_INFINITY, -1.0, 2.0].map(|x: f64| (x / 0.5).exp());
        for (token, weight) in weights.iter().enumerate() {
            let expected = weight / weights.iter().sum::<f64>();
            // Four standard deviations of 20,000 draws.
            let near = 4.0 * (expected * (1.0 - expected) / 2e4).sqrt() + 1e-9;
            assert!((share(sampling(0.5, 0), token as u32) - expected).abs() < near, "{token}");
        }
        // Those as likely as the last are in.
        assert!(draws(sampling(1.0, 1)).all(|token| token == 1 || token == 4) && share(sampling(1.0, 1), 4) > 0.4);
        assert!(draws(sampling(1.0, 0)).eq(draws(sampling(1.0, 0))));
        assert!(!draws(sampling(1.0, 0)).eq(draws(Sampling { seed: 8, ..sampling(1.0, 0) })));
    }
}
