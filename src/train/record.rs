//! What a run writes down: JSON Lines, one object a line, told apart by `kind`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::TrainError;

/// Mean loss and accuracy over a data set, on clean weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Share of samples whose largest output is the label's.
    pub accuracy: f64,
}

/// Mean loss and accuracy over both parts of the data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Mean loss over the training data.
    pub train_loss: f64,
    /// Accuracy over the training data.
    pub train_accuracy: f64,
    /// Mean loss over the test data.
    pub test_loss: f64,
    /// Accuracy over the test data.
    pub test_accuracy: f64,
}

impl Scores {
    /// Of one evaluation each.
    #[must_use]
    pub fn new(train: Evaluation, test: Evaluation) -> Self {
        Self {
            train_loss: train.loss,
            train_accuracy: train.accuracy,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
        }
    }

    /// The mean of several; `None` of none.
    #[must_use]
    pub fn mean(of: &[Self]) -> Option<Self> {
        let mean = |field: fn(&Self) -> f64| of.iter().map(field).sum::<f64>() / of.len() as f64;
        (!of.is_empty()).then(|| Self {
            train_loss: mean(|scores| scores.train_loss),
            train_accuracy: mean(|scores| scores.train_accuracy),
            test_loss: mean(|scores| scores.test_loss),
            test_accuracy: mean(|scores| scores.test_accuracy),
        })
    }
}

/// One logged step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepRecord {
    /// Step, from 0.
    pub step: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Learning rate.
    pub lr: f64,
    /// Standard deviation of the noise on each noisy weight.
    pub sigma: f64,
    /// The noisy group in mode `layer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// Mean loss of the batch at the noisy weights.
    pub loss: f64,
}

/// One epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EpochRecord {
    /// Epochs done.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Mean loss over the training data, clean weights.
    pub train_loss: f64,
    /// Accuracy over the training data, clean weights.
    pub train_accuracy: f64,
    /// Mean loss over the test data, clean weights.
    pub test_loss: f64,
    /// Accuracy over the test data, clean weights.
    pub test_accuracy: f64,
    /// At noisy weights, the mean over a few draws, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noisy: Option<Scores>,
    /// At the moving average of the weights, where it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<Scores>,
    /// In f16: what the gradient of the loss is multiplied by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    /// In f16: updates left out so far because a gradient had overflowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_steps: Option<u32>,
    /// Sum of the weights' magnitudes.
    pub l1_norm: f64,
    /// Root of the sum of the weights' squares.
    pub l2_norm: f64,
    /// Training samples a second, evaluation left out.
    pub samples_per_second: f64,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Step(&'a StepRecord),
    Epoch(&'a EpochRecord),
}

/// `metrics.jsonl`.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl MetricsFile {
    /// # Errors
    /// [`TrainError::Io`] if the file cannot be made.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        let path = path.to_owned();
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file: BufWriter::new(file) }),
            Err(source) => Err(TrainError::Io { path, source }),
        }
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), TrainError> {
        let written = serde_json::to_writer(&mut self.file, line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|source| TrainError::Io { path: self.path.clone(), source })
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
        self.file.flush().map_err(|source| TrainError::Io { path: self.path.clone(), source })
    }
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
    pub fn of(&mut self, name: &str) -> Result<&mut MetricsFile, TrainError> {
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
