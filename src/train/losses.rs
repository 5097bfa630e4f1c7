//! The losses of steps on their way back from the device, read while later steps are submitted.

use crate::gpu::PendingRead;

use super::{
    StepRecord, TrainError, Trainer,
    trainer::{READ_EVERY, RING},
};

/// A step whose loss is still on the device.
#[derive(Clone, Copy, Debug)]
struct Sent {
    record: StepRecord,
    valid: usize,
}

/// Steps submitted whose losses are not known yet.
///
/// A read begins after every [`READ_EVERY`] steps, and is waited for when the next one begins: by then the device has had as
/// many steps to do, and a loss is known before twice as many were submitted after it.
#[derive(Debug, Default)]
pub(super) struct Losses {
    sent: Vec<Sent>,
    reading: Option<Reading>,
}

/// A read on its way: of the losses, and where steps have some of their slopes.
#[derive(Debug)]
struct Reading {
    losses: PendingRead,
    slopes: Option<PendingRead>,
    sent: Vec<Sent>,
}

impl Losses {
    /// A step was submitted, of so many samples; returns the steps whose losses are known now.
    pub(super) fn push(
        &mut self,
        trainer: &Trainer<'_>,
        record: StepRecord,
        valid: usize,
    ) -> Result<Vec<StepRecord>, TrainError> {
        self.sent.push(Sent { record, valid });
        if self.sent.len() < READ_EVERY { Ok(Vec::new()) } else { self.flush(trainer) }
    }

    /// Waits for the losses of all steps submitted.
    pub(super) fn drain(&mut self, trainer: &Trainer<'_>) -> Result<Vec<StepRecord>, TrainError> {
        let mut known = self.flush(trainer)?;
        known.extend(self.settle(trainer)?);
        Ok(known)
    }

    /// Waits for the read on its way, and begins one of the steps submitted since.
    fn flush(&mut self, trainer: &Trainer<'_>) -> Result<Vec<StepRecord>, TrainError> {
        let known = self.settle(trainer)?;
        if !self.sent.is_empty() {
            let (losses, slopes) = (trainer.read_metrics()?, trainer.read_slopes()?);
            self.reading = Some(Reading { losses, slopes, sent: std::mem::take(&mut self.sent) });
        }
        Ok(known)
    }

    fn settle(&mut self, trainer: &Trainer<'_>) -> Result<Vec<StepRecord>, TrainError> {
        let Some(Reading { losses, slopes, sent }) = self.reading.take() else { return Ok(Vec::new()) };
        let sums: Vec<[f32; 2]> = losses.wait(trainer.gpu())?;
        let slopes: Option<Vec<f32>> = slopes.map(|slopes| slopes.wait(trainer.gpu())).transpose()?;
        let positions = trainer.model.positions();
        let known = sent.into_iter().map(|Sent { record, valid }| {
            let slot = (record.step % RING as u64) as usize;
            let slope = slopes.as_ref().map(|slopes| slopes[slot]);
            StepRecord { loss: f64::from(sums[slot][0]) / (valid * positions) as f64, slope, ..record }
        });
        Ok(known.collect())
    }
}
