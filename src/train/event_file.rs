//! TensorBoard's events of a run.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::tensorboard::{Histogram, Value, event, version};

use super::{
    EpochRecord, Manifest, MetricsFile, RunConfig, StepRecord, TrainError, Trainer,
    columns::{Column, EPOCH_COLUMNS, STEP_COLUMNS},
    growing::GrowingFile,
};

/// The file in a run's folder. TensorBoard takes every file with `tfevents` in its name; where others have the time and the host,
/// by which they would be new files with each resumption, this one is always called the same.
const NAME: &str = "events.out.tfevents.0.jostle";

/// Under what the configuration stands.
const CONFIGURATION: &str = "configuration";

/// The column that is the event's own step, not a scalar beside it.
const STEP: &str = "step";

/// The events of a run under way.
#[derive(Debug)]
pub(super) struct EventFile {
    file: GrowingFile,
}

impl EventFile {
    fn path(run: &Path) -> PathBuf {
        run.join(NAME)
    }

    /// Those of a new run, if it is to have some; those of one before it in its folder go.
    pub(super) fn begin(run: &Path, config: &RunConfig) -> Result<Option<Self>, TrainError> {
        let path = Self::path(run);
        if !config.tensorboard {
            return match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => Err(TrainError::Io { path, source }),
                _ => Ok(None),
            };
        }
        let mut events = Self { file: GrowingFile::create(&path)? };
        events.file.write(&version(now()))?;
        events.configuration(0, config)?;
        Ok(Some(events))
    }

    /// Those of a run that resumes, its metrics being cut back already. Where it had none up to its checkpoint, what its metrics
    /// hold is written first.
    pub(super) fn resume(
        run: &Path,
        config: &RunConfig,
        manifest: &Manifest,
        metrics: &Path,
    ) -> Result<Option<Self>, TrainError> {
        if !config.tensorboard {
            return Ok(None);
        }
        let Some(bytes) = manifest.events_bytes else {
            let mut events = Self::begin(run, config)?;
            if let Some(events) = &mut events {
                let (steps, epochs) = MetricsFile::read(metrics)?;
                steps.iter().try_for_each(|record| events.step(record))?;
                epochs.iter().try_for_each(|record| events.epoch(record))?;
            }
            return Ok(events);
        };
        let mut events = Self { file: GrowingFile::resume(&Self::path(run), bytes)? };
        if manifest.config != *config {
            events.configuration(manifest.position.step, config)?;
        }
        Ok(Some(events))
    }

    /// Appends a picture to the events of a run that has ended.
    pub(super) fn picture(run: &Path, tag: &str, step: u64, image: Value<'_>) -> Result<(), TrainError> {
        let mut file = GrowingFile::append(&Self::path(run))?;
        file.write(&event(now(), step, [(tag, image)]))?;
        file.flush()
    }

    /// The configuration as a block of code in Markdown.
    fn configuration(&mut self, step: u64, config: &RunConfig) -> Result<(), TrainError> {
        let refused = |reason: String| TrainError::Config { key: CONFIGURATION.to_owned(), reason };
        let text = toml::to_string(config).map_err(|error| refused(error.to_string()))?;
        let text: String = text.lines().map(|line| format!("    {line}\n")).collect();
        self.file.write(&event(now(), step, [(CONFIGURATION, Value::Text(&text))]))
    }

    pub(super) fn step(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        self.row("step", &STEP_COLUMNS, record, record.step)
    }

    pub(super) fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        self.row("epoch", &EPOCH_COLUMNS, record, record.step)?;
        self.file.flush()
    }

    fn row<R>(&mut self, kind: &str, columns: &[Column<R>], row: &R, step: u64) -> Result<(), TrainError> {
        let columns = columns.iter().filter(|column| column.name != STEP);
        let values =
            columns.filter_map(|column| Some((format!("{kind}/{}", column.name), (column.value)(row)?.single())));
        let values: Vec<_> = values.collect();
        let values = values.iter().map(|(tag, value)| (tag.as_str(), Value::Scalar(*value)));
        self.file.write(&event(now(), step, values))
    }

    /// How the clean weights of each tensor spread, read back for that.
    pub(super) fn weights(&mut self, trainer: &Trainer<'_>) -> Result<(), TrainError> {
        let arena = &trainer.arena;
        let weights: Vec<f32> = trainer.gpu().read(&arena.weights.view())?;
        let spans = arena.layout.spans().iter().zip(trainer.model.graph.params());
        let histograms = spans.filter_map(|(span, param)| {
            let values = weights.get(span.start..span.start + span.len)?;
            Some((format!("weights/{}", param.name), Histogram::new(values)?))
        });
        let histograms: Vec<_> = histograms.collect();
        let values = histograms.iter().map(|(tag, histogram)| (tag.as_str(), Value::Histogram(histogram)));
        self.file.write(&event(now(), trainer.steps_done(), values))
    }

    /// As [`GrowingFile::sync`].
    pub(super) fn sync(&mut self) -> Result<u64, TrainError> {
        self.file.sync()
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
