//! What a run writes down: JSON Lines, one object a line, told apart by `kind`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::input;

use super::{
    Quality, TrainError,
    growing::GrowingFile,
    null::{measured, number},
};

/// Mean loss and accuracy over a data set, on clean weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Share of samples, or of their positions, whose largest output is the label's; NaN where the targets are vectors.
    pub accuracy: f64,
}

impl Evaluation {
    /// The accuracy, where there is one.
    fn known_accuracy(self) -> Option<f64> {
        Some(self.accuracy).filter(|accuracy| !accuracy.is_nan())
    }
}

/// Mean loss and accuracy over each part of the data; what was not scored is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean loss over the training data, or the part of them that is scored.
    #[serde(default, deserialize_with = "measured", skip_serializing_if = "Option::is_none")]
    pub train_loss: Option<f64>,
    /// Accuracy over them.
    #[serde(default, deserialize_with = "measured", skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// Mean loss over the validation part.
    #[serde(default, deserialize_with = "measured", skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Accuracy over it.
    #[serde(default, deserialize_with = "measured", skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// Mean loss over the test data.
    #[serde(default, deserialize_with = "measured", skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    /// Accuracy over them.
    #[serde(default, deserialize_with = "measured", skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
}

impl Scores {
    /// Of an evaluation of each part, where there is one.
    #[must_use]
    pub fn new(train: Option<Evaluation>, validation: Option<Evaluation>, test: Option<Evaluation>) -> Self {
        let loss = |part: Evaluation| part.loss;
        Self {
            train_loss: train.map(loss),
            train_accuracy: train.and_then(Evaluation::known_accuracy),
            validation_loss: validation.map(loss),
            validation_accuracy: validation.and_then(Evaluation::known_accuracy),
            test_loss: test.map(loss),
            test_accuracy: test.and_then(Evaluation::known_accuracy),
        }
    }

    /// With those over the test data.
    #[must_use]
    pub fn with_test(self, test: Evaluation) -> Self {
        Self { test_loss: Some(test.loss), test_accuracy: test.known_accuracy(), ..self }
    }

    /// The mean of several over the same parts; `None` of none.
    #[must_use]
    pub fn mean(scores: &[Self]) -> Option<Self> {
        let mean = |field: fn(&Self) -> Option<f64>| {
            let values: Option<Vec<f64>> = scores.iter().map(field).collect();
            values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        (!scores.is_empty()).then(|| Self {
            train_loss: mean(|scores| scores.train_loss),
            train_accuracy: mean(|scores| scores.train_accuracy),
            validation_loss: mean(|scores| scores.validation_loss),
            validation_accuracy: mean(|scores| scores.validation_accuracy),
            test_loss: mean(|scores| scores.test_loss),
            test_accuracy: mean(|scores| scores.test_accuracy),
        })
    }
}

/// One logged step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Step, from 0.
    pub step: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Learning rate.
    pub lr: f64,
    /// Momentum, or Adam's beta1, where the schedule moves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Standard deviation of the noise on each noisy weight.
    pub sigma: f64,
    /// The noisy group in mode `layer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// Mean loss of the batch at the noisy weights.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Slope of the loss along the step's draw, where the rule moves the weights by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slope: Option<f32>,
}

/// One evaluation, after an epoch or within one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epochs begun: those done, and the one that the evaluation is within.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// At the clean weights.
    #[serde(flatten)]
    pub scores: Scores,
    /// At noisy weights, the mean over a few draws, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noisy: Option<Scores>,
    /// At the moving average of the weights, where it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<Scores>,
    /// At the clean weights over the test data, where these are scored and there are probabilities of classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// In f16: what the gradient of the loss is multiplied by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    /// In f16, and where non-finite gradients are to be skipped: updates left out so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_steps: Option<u32>,
    /// Sum of the weights' magnitudes.
    #[serde(deserialize_with = "number")]
    pub l1_norm: f64,
    /// Root of the sum of the weights' squares.
    #[serde(deserialize_with = "number")]
    pub l2_norm: f64,
    /// Training samples a second since the evaluation before, evaluations and checkpoints left out.
    pub samples_per_second: f64,
}

impl EpochRecord {
    /// Whether some of these but the last are within an epoch, so that curves go by steps.
    #[must_use]
    pub fn by_steps(records: &[Self]) -> bool {
        let product = |steps: &Self, epochs: &Self| u128::from(steps.step) * u128::from(epochs.epoch);
        let ends = |pair: &[Self]| product(&pair[0], &pair[1]) == product(&pair[1], &pair[0]);
        let before_last = records.split_last().map_or(&[][..], |(_, others)| others);
        !before_last.windows(2).all(ends) || records.windows(2).any(|pair| pair[0].epoch == pair[1].epoch)
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Step(&'a StepRecord),
    Epoch(&'a EpochRecord),
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "taken apart as it is read")]
enum OwnedLine {
    Step(StepRecord),
    Epoch(EpochRecord),
}

/// `metrics.jsonl`.
#[derive(Debug)]
pub struct MetricsFile {
    file: GrowingFile,
}

impl MetricsFile {
    /// # Errors
    /// [`TrainError::Io`] if the file cannot be made.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        Ok(Self { file: GrowingFile::create(path)? })
    }

    /// Resumes after the first `bytes` of a file; what follows them, rows of steps that are to be taken again, is cut off.
    ///
    /// # Errors
    /// [`TrainError::Io`]; [`TrainError::Metrics`] for a file that is shorter.
    pub fn resume(path: &Path, bytes: u64) -> Result<Self, TrainError> {
        Ok(Self { file: GrowingFile::resume(path, bytes)? })
    }

    /// The rows of a file.
    ///
    /// # Errors
    /// [`TrainError::Io`]; [`TrainError::Metrics`] for a line that is no row, with its number.
    pub fn read(path: &Path) -> Result<(Vec<StepRecord>, Vec<EpochRecord>), TrainError> {
        Self::parse(&text(path)?).map_err(metrics(path))
    }

    /// The rows of a file that a run may be writing, or was killed at: a last line without its end is left out. Whether there was
    /// none.
    ///
    /// # Errors
    /// As [`MetricsFile::read`].
    pub fn read_so_far(path: &Path) -> Result<(Vec<StepRecord>, Vec<EpochRecord>, bool), TrainError> {
        let text = text(path)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let (steps, epochs) = Self::parse(&text[..whole]).map_err(metrics(path))?;
        Ok((steps, epochs, whole == text.len()))
    }

    /// The rows of a text.
    ///
    /// # Errors
    /// The line that is none, in words.
    pub fn parse(text: &str) -> Result<(Vec<StepRecord>, Vec<EpochRecord>), String> {
        let (mut steps, mut epochs) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(OwnedLine::Step(record)) => steps.push(record),
                Ok(OwnedLine::Epoch(record)) => epochs.push(record),
                Err(error) => return Err(format!("line {}: {error}", index + 1)),
            }
        }
        Ok((steps, epochs))
    }

    /// Makes what was written durable; returns the bytes of the file.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn sync(&mut self) -> Result<u64, TrainError> {
        self.file.sync()
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), TrainError> {
        let text = serde_json::to_string(line).map_err(|error| self.file.refused(error.into()))?;
        self.file.write(text.as_bytes())?;
        self.file.write(b"\n")
    }

    /// # Errors
    /// [`TrainError::Io`] if the file cannot be written.
    pub fn step(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        self.write(&Line::Step(record))
    }

    /// Writes an epoch and flushes, so that a run that dies later leaves it.
    ///
    /// # Errors
    /// [`TrainError::Io`] if the file cannot be written.
    pub fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        self.write(&Line::Epoch(record))?;
        self.file.flush()
    }
}

fn text(path: &Path) -> Result<String, TrainError> {
    let text = input::bytes(path).and_then(input::utf8);
    text.map_err(|source| TrainError::Io { path: path.to_owned(), source })
}

fn metrics(path: &Path) -> impl FnOnce(String) -> TrainError {
    move |reason| TrainError::Metrics { path: path.to_owned(), reason }
}

/// The metrics of several runs, one after the other: `NAME.jsonl` for each in one folder.
#[derive(Debug)]
pub struct MetricsFiles {
    folder: PathBuf,
    open: Option<(String, MetricsFile)>,
    begun: u64,
}

impl MetricsFiles {
    /// Files in `folder`, none yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: None, begun: 0 }
    }

    /// The file of the run named, a new one when the name changes.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it cannot be made.
    pub fn file(&mut self, name: &str) -> Result<&mut MetricsFile, TrainError> {
        let open = match self.open.take() {
            Some(open) if open.0 == name => open,
            _ => {
                self.begun += 1;
                (name.to_owned(), MetricsFile::create(&self.folder.join(format!("{name}.jsonl")))?)
            }
        };
        Ok(&mut self.open.insert(open).1)
    }

    /// Runs finished: those begun but for the last.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.begun.saturating_sub(1)
    }
}
