//! What a run writes down as it goes: its metrics, where asked for TensorBoard's events, and the slopes of a rule that moves by
//! them.

use std::path::{Path, PathBuf};

use super::{Event, Manifest, MetricsFile, RunConfig, TrainError, Trainer, event_file::EventFile, slopes::SlopesFile};

/// The metrics' file in a run's folder.
const METRICS: &str = "metrics.jsonl";

/// The files of a run that grow.
#[derive(Debug)]
pub(super) struct Journal {
    metrics: MetricsFile,
    events: Option<EventFile>,
    slopes: Option<SlopesFile>,
}

impl Journal {
    /// Where the metrics of a run are.
    pub(super) fn metrics_path(run: &Path) -> PathBuf {
        run.join(METRICS)
    }

    /// Of a new run; what there is of one before it goes.
    pub(super) fn begin(run: &Path, config: &RunConfig) -> Result<Self, TrainError> {
        let metrics = MetricsFile::create(&Self::metrics_path(run))?;
        Ok(Self { metrics, events: EventFile::begin(run, config)?, slopes: SlopesFile::begin(run, config)? })
    }

    /// Resumes where a checkpoint stands: what was written of steps after it is cut off.
    pub(super) fn resume(run: &Path, config: &RunConfig, manifest: &Manifest) -> Result<Self, TrainError> {
        let path = Self::metrics_path(run);
        let metrics = MetricsFile::resume(&path, manifest.metrics_bytes)?;
        let events = EventFile::resume(run, config, manifest, &path)?;
        Ok(Self { metrics, events, slopes: SlopesFile::resume(run, config, manifest.position.step)? })
    }

    /// Writes down what the loop tells.
    pub(super) fn record(&mut self, event: &Event) -> Result<(), TrainError> {
        match event {
            Event::Progress { .. } => return Ok(()),
            Event::Step(record) => self.metrics.step(record)?,
            Event::Epoch(record) => self.metrics.epoch(record)?,
        }
        match (event, &mut self.events) {
            (Event::Step(record), Some(events)) => events.step(record),
            (Event::Epoch(record), Some(events)) => events.epoch(record),
            _ => Ok(()),
        }
    }

    /// Writes down the slope of the next step, where the rule moves by it.
    pub(super) fn slope(&mut self, slope: f32) -> Result<(), TrainError> {
        self.slopes.as_mut().map_or(Ok(()), |slopes| slopes.push(slope))
    }

    /// Writes down how the weights are after an epoch, where somebody wants to know: they have to be read back for it.
    pub(super) fn weights(&mut self, trainer: &Trainer<'_>) -> Result<(), TrainError> {
        self.events.as_mut().map_or(Ok(()), |events| events.weights(trainer))
    }

    /// Makes what was written durable; a manifest then says how much belongs to the steps done.
    pub(super) fn sync(&mut self, manifest: &mut Manifest) -> Result<(), TrainError> {
        manifest.metrics_bytes = self.metrics.sync()?;
        self.slopes.as_mut().map_or(Ok(()), SlopesFile::sync)?;
        manifest.events_bytes = self.events.as_mut().map(EventFile::sync).transpose()?;
        Ok(())
    }
}
