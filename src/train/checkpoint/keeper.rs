//! Writes a run down as it goes: its journal, and checkpoints when they are due.

use std::{collections::BTreeSet, ops::Deref, time::Instant};

use crate::train::{Best, Event, RunConfig, TrainError, Trainer, journal::Journal};

use super::{CheckpointError, CheckpointFolder, Identity, Interval, KeepOptions, Manifest, Position, manifest, state};

/// An identity that is worked out when it is first asked for: it takes a hash of all data.
pub type LateIdentity<'a> = dyn Deref<Target = Identity> + 'a;

/// The files of a run under way.
pub struct Keeper<'a> {
    folder: &'a CheckpointFolder,
    options: KeepOptions,
    config: &'a RunConfig,
    identity: &'a LateIdentity<'a>,
    journal: Journal,
    /// Steps of the checkpoints that are worth keeping, oldest first.
    steps: BTreeSet<u64>,
    /// As of the checkpoint gone on from.
    best: Option<Best>,
    last: Instant,
}

impl<'a> Keeper<'a> {
    /// Begins, or resumes after the checkpoint of `from`.
    pub fn new(
        folder: &'a CheckpointFolder,
        options: KeepOptions,
        run: (&'a RunConfig, &'a LateIdentity<'a>),
        journal: Journal,
        from: Option<&Manifest>,
    ) -> Result<Self, CheckpointError> {
        // Those after it, if any, could not be read: the next one written takes their place.
        let reached = from.map_or(0, |manifest| manifest.position.step);
        let steps = folder.list()?.into_iter().map(|(step, _)| step).filter(|step| *step <= reached).collect();
        let best = from.and_then(|manifest| manifest.best);
        let (config, identity) = run;
        Ok(Self { folder, options, config, identity, journal, steps, best, last: Instant::now() })
    }

    /// Writes down what the loop tells.
    pub fn record(&mut self, event: &Event) -> Result<(), TrainError> {
        self.journal.record(event)
    }

    /// Writes down the slope of the next step, where the rule moves by it.
    pub fn slope(&mut self, slope: f32) -> Result<(), TrainError> {
        self.journal.slope(slope)
    }

    /// As [`Journal::weights`].
    pub fn weights(&mut self, trainer: &Trainer<'_>) -> Result<(), TrainError> {
        self.journal.weights(trainer)
    }

    /// Whether it is time for a checkpoint after so many steps.
    pub fn is_due(&self, step: u64) -> bool {
        match self.options.checkpoint_every {
            Interval::Never => false,
            Interval::Steps(steps) => step.is_multiple_of(steps),
            Interval::Time(time) => self.last.elapsed() >= time,
        }
    }

    /// The best evaluation as of the checkpoint that was gone on from, or of the last one written.
    pub fn best(&self) -> Option<Best> {
        self.best
    }

    /// Writes a checkpoint before the next step, then removes those that are neither the last few nor the best.
    pub fn save(&mut self, trainer: &Trainer<'_>, position: Position, best: Option<Best>) -> Result<(), TrainError> {
        let step = position.step;
        if self.steps.last() == Some(&step) {
            return Ok(());
        }
        let refused = |name: &str, reason: String| {
            let path = self.folder.path(step).join(name);
            CheckpointError::Content { path, reason }
        };
        let config = toml::to_string(self.config).map_err(|error| refused(manifest::CONFIG, error.to_string()))?;
        let mut manifest = Manifest::new((self.config, &config), self.identity, position, trainer.scaling()?);
        let mut files = state::files(trainer)?;
        files.push((manifest::CONFIG, config.into_bytes()));
        manifest.files = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        self.best = best;
        manifest.best = best;
        // What is written down is durable before the checkpoint that counts on it is.
        self.journal.sync(&mut manifest)?;
        let bytes = manifest.to_bytes().map_err(|error| refused(manifest::NAME, error.to_string()))?;
        files.push((manifest::NAME, bytes));
        self.folder.write(step, files)?;
        self.steps.insert(step);
        self.last = Instant::now();
        self.prune()?;
        Ok(())
    }

    fn prune(&mut self) -> Result<(), CheckpointError> {
        let last = self.steps.iter().rev().take(self.options.keep_checkpoints);
        let keep: BTreeSet<u64> = last.copied().chain(self.best.map(|best| best.step)).collect();
        self.steps.retain(|step| keep.contains(step));
        for (step, _) in self.folder.list()? {
            if !self.steps.contains(&step) {
                self.folder.remove(step)?;
            }
        }
        Ok(())
    }
}
