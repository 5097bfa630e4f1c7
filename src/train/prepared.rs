//! Data and model of a run, before any device is involved.

use std::sync::Arc;

use crate::{
    data::{DataError, DataSource, Dataset, LabelNoise, Parts, SampleShape, Split, Targets, TextError},
    graph::{LossFunction, ValueShape},
    nn::{Model, Signature},
    ops::Layers,
};

use super::{RunConfig, TrainError, TrainEval, Validation};

/// Data and model of a configuration, loaded and checked against each other.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Training (subset and validation part taken) and test data.
    pub split: Split,
    /// The part of the training data, or of their subset, that is kept apart to choose by.
    pub validation: Option<Dataset>,
    /// The model.
    pub model: Model,
    /// The loss: the configuration's, or one of the caller's own in its place.
    pub loss: Arc<dyn LossFunction>,
    /// What was replaced of the training labels, where the configuration says so.
    pub label_noise: Option<LabelNoise>,
}

/// Makes data and model of a configuration: [`Prepared::load`], or [`Prepared::from_split`] of data in memory.
pub type Prepare<'a> = dyn Fn(&RunConfig) -> Result<Prepared, TrainError> + 'a;

impl Prepared {
    /// Loads the data of a configuration and checks that the model fits them.
    ///
    /// # Errors
    /// [`TrainError::Data`], [`TrainError::Model`], [`TrainError::Features`], [`TrainError::Classes`].
    pub fn load(config: &RunConfig) -> Result<Self, TrainError> {
        let source: DataSource = config.data.parse()?;
        Self::from_split(config, source.load()?)
    }

    /// As [`Prepared::load`], of data in memory: what the configuration says of subsets, validation and label noise holds, its
    /// `data` is not read.
    ///
    /// # Errors
    /// As [`Prepared::load`].
    pub fn from_split(config: &RunConfig, split: Split) -> Result<Self, TrainError> {
        let signature = signature_for(&split, config.block);
        let model = Model::build_with(&config.model, &signature, &Layers::standard(), config.model_options())?;
        Self::with_model(config, split, model)
    }

    /// As [`Prepared::from_split`], with a model in the place of the one that the configuration names.
    ///
    /// # Errors
    /// As [`Prepared::load`].
    pub fn with_model(config: &RunConfig, split: Split, model: Model) -> Result<Self, TrainError> {
        let mut split = in_windows(config, split, &model)?;
        split.train.check()?;
        split.test.check()?;
        if let Some(count) = config.subset {
            let seed = config.subset_seed;
            split.train = match config.stratified {
                true => split.train.stratified_subset(count, seed)?,
                false => split.train.subset(count, seed)?,
            };
        }
        if let Some(count) = config.test_subset {
            split.test = split.test.stratified_subset(count, config.subset_seed)?;
        }
        let validation = config.validation.map(|share| set_apart(&mut split.train, share, config)).transpose()?;
        // Of a text the parts to choose and to judge by are windows that are the same at each evaluation.
        split.test = config.scored(&split.test);
        let validation = validation.map(|part| config.scored(&part));
        if let TrainEval::Samples(samples) = config.train_eval
            && samples > split.train.len()
        {
            let reason = format!("{samples} samples are more than the {} that there are", split.train.len());
            return Err(TrainError::Config { key: "train-eval".to_owned(), reason });
        }
        for data in [&split.train, &split.test] {
            if model.features() != data.features() {
                let shape = &data.shape;
                return Err(TrainError::Features {
                    model: model.description.clone(),
                    data: data.name.clone(),
                    expected: model.features(),
                    found: data.features(),
                    shape: format!("{} x {} x {}", shape.channels, shape.height, shape.width),
                });
            }
            expect_outputs(&model, data)?;
        }
        config.check_model(&model)?;
        // Last, so that the labels of every other part are the true ones.
        let label_noise = replace_labels(config, &mut split.train)?;
        Ok(Self { split, validation, model, loss: config.loss.into(), label_noise })
    }

    /// The labels `[samples]` that the training data have in an epoch, counted from 0, where the rule draws some anew.
    #[must_use]
    pub fn labels_of_epoch(&self, config: &RunConfig, epoch: u64) -> Option<Vec<u32>> {
        let (fresh, targets) = (config.fresh_labels()?, &self.split.train.targets);
        let mut labels = targets.labels().to_vec();
        fresh.replace(epoch, 0..labels.len() as u32, &mut labels, targets.outputs());
        Some(labels)
    }

    /// The training data in a line, such as `digits, 600 samples, 30 % of labels replaced (162 changed)`.
    #[must_use]
    pub fn training_data(&self) -> String {
        let train = &self.split.train;
        let samples = train.len();
        let noise = self.label_noise.map_or(String::new(), |LabelNoise { drawn, changed }| {
            let permille = (1000.0 * drawn as f64 / samples as f64).round();
            format!(", {} % of labels replaced ({changed} changed)", permille / 10.0)
        });
        format!("{}, {samples} samples{noise}", train.name)
    }
}

/// That the model gives what the targets ask for.
fn expect_outputs(model: &Model, data: &Dataset) -> Result<(), TrainError> {
    let [positions, width] = [model.positions(), model.classes()];
    let (fits, wanted) = match data.targets {
        Targets::Classes { classes, .. } if positions == 1 => {
            let (model, data, outputs) = (model.description.clone(), data.name.clone(), width);
            return if classes <= width { Ok(()) } else { Err(TrainError::Classes { model, data, outputs, classes }) };
        }
        Targets::Classes { classes, .. } => (false, format!("one of {classes} classes")),
        Targets::Tokens { length, vocabulary, .. } | Targets::Next { length, vocabulary, .. } => {
            (length == positions && vocabulary <= width, format!("{length} x one of {vocabulary} tokens"))
        }
        Targets::Vectors { width: numbers, .. } => (numbers == positions * width, format!("{numbers} numbers")),
    };
    let (model, data, found) = (model.description.clone(), data.name.clone(), format!("{positions} x {width}"));
    if fits { Ok(()) } else { Err(TrainError::Outputs { model, data, found, wanted }) }
}

/// Replaces labels of the training data as configured; arms that share their data share these labels too.
fn replace_labels(config: &RunConfig, train: &mut Dataset) -> Result<Option<LabelNoise>, TrainError> {
    let keys = [("fresh-label-noise", config.fresh_labels().is_some()), ("label-noise", config.label_noise > 0.0)];
    let needs_classes = keys.into_iter().find(|(_, asked)| *asked);
    if let (Some((key, _)), false) = (needs_classes, matches!(train.targets, Targets::Classes { .. })) {
        let reason = format!("the targets of {} are no classes", train.name);
        return Err(TrainError::Config { key: key.to_owned(), reason });
    }
    if config.label_noise <= 0.0 {
        return Ok(None);
    }
    let seed = config.label_noise_seed.unwrap_or(config.subset_seed);
    Ok(Some(train.replace_labels(config.label_noise, seed)))
}

/// A text in windows of the length that the model takes; other data as they are.
fn in_windows(config: &RunConfig, Split { train, test }: Split, model: &Model) -> Result<Split, TrainError> {
    let wrong = |reason: String| Err(TrainError::Config { key: "block".to_owned(), reason });
    if train.windows().is_none() {
        return match config.block {
            Some(_) => wrong(format!("{} is no text, and has no windows", train.name)),
            None => Ok(Split { train, test }),
        };
    }
    let length = match model.graph.shape(model.graph.input()) {
        ValueShape::Tokens { length, .. } => length,
        input => {
            let (model, data, input) = (model.description.clone(), train.name, input.to_string());
            return Err(TrainError::NoTokens { model, data, input });
        }
    };
    if config.block.is_some_and(|block| block != length) {
        return wrong(format!("model {} takes windows of {length} tokens and no others", model.description));
    }
    let part = |data: Dataset, part: &str| match data.with_block(length) {
        Err(DataError::Text(TextError::Short { name, length, expected, found })) => {
            let name = format!("{part} part of {name}");
            Err(DataError::from(TextError::Short { name, length, expected, found }))
        }
        found => found,
    };
    Ok(Split { train: part(train, "training")?, test: part(test, "test")? })
}

/// The signature of a model that learns these data, in windows of `block` where they are a text.
pub(super) fn signature_for(split: &Split, block: Option<usize>) -> Signature {
    let parts = [&split.train, &split.test];
    let most = |count: fn(&Dataset) -> usize| parts.into_iter().map(count).max().unwrap_or(0);
    let (kinds, outputs) = (most(|data| data.samples.vocabulary()), most(|data| data.targets.outputs()));
    let shape = &split.train.shape;
    if kinds == 0 {
        return signature(shape, outputs);
    }
    // A text's next tokens are of the vocabulary of its tokens.
    let is_text = matches!(split.train.targets, Targets::Tokens { .. } | Targets::Next { .. });
    let vocabulary = if is_text { kinds.max(outputs) } else { kinds };
    let classes = if is_text { vocabulary } else { outputs };
    let length = block.filter(|_| split.train.windows().is_some()).unwrap_or(shape.features());
    Signature { input: ValueShape::Tokens { length, vocabulary }, classes }
}

/// The signature of a model that classifies samples of a shape.
#[must_use]
pub fn signature(shape: &SampleShape, classes: usize) -> Signature {
    let SampleShape { channels, height, width } = *shape;
    Signature { input: ValueShape::Image { channels, height, width }, classes }
}

/// Takes the validation part out of the training data.
fn set_apart(train: &mut Dataset, share: Validation, config: &RunConfig) -> Result<Dataset, TrainError> {
    let samples = share.samples(train.len());
    let wrong = |reason: String| TrainError::Config { key: "validation".to_owned(), reason };
    if samples == 0 || samples >= train.len() {
        let found = train.len();
        return Err(wrong(format!("{samples} of {found} training samples leave nothing to train on or to choose by")));
    }
    let Parts { rest, apart } = train.set_apart(samples, config.subset_seed)?;
    if rest.is_empty() {
        return Err(wrong(format!("the last {samples} of {} windows leave none to train on", train.len())));
    }
    for (part, name) in [(&rest, "to train on"), (&apart, "to choose by")] {
        let empty = part.class_counts().iter().zip(train.class_counts()).position(|(left, all)| *left == 0 && all > 0);
        if let Some(class) = empty {
            let found = train.len();
            return Err(wrong(format!("{samples} of {found} training samples leave none of class {class} {name}")));
        }
    }
    *train = rest;
    Ok(apart)
}
