//! The passes of a step: over which samples, and what is done after each.

use crate::{
    gpu::{GpuError, Profile, Recorder},
    graph::{BatchInfo, LossTerms},
    rules::Pass,
};

use super::{
    TrainStep, Trainer,
    shares::Taken,
    trainer::{RING, UNREAD},
};

impl Trainer<'_> {
    /// Takes a whole step of the rule: its passes over the step's samples, batch by batch, and what it does after each. A step
    /// without samples is none.
    ///
    /// Where `weights_eff` is not what the first pass needs (after an evaluation, a measurement, a resumption, at another
    /// sigma), it is made so first.
    ///
    /// # Errors
    /// As [`Recorder::submit`].
    pub fn train_step(&mut self, step: TrainStep, mut profile: Option<&mut Profile>) -> Result<(), GpuError> {
        if step.valid == 0 {
            return Ok(());
        }
        let mut told = false;
        for phase in 0..self.rule().phases().len() {
            let tells = self.pass(step, phase, told, profile.as_deref_mut())?;
            told |= tells;
        }
        self.machine.end(self.step);
        self.step += 1;
        Ok(())
    }

    /// A pass over the step's samples, or over a part of them, and what the rule does after that; whether it told a loss, as one
    /// before may have.
    fn pass(
        &mut self,
        step: TrainStep,
        phase: usize,
        told: bool,
        mut profile: Option<&mut Profile>,
    ) -> Result<bool, GpuError> {
        let gpu = self.gpu;
        let pass = self.rule().phases()[phase].pass;
        let taken = Taken::new((step.first, step.valid), pass, self.shares);
        if taken.samples.is_empty() {
            let mut recorder = gpu.record_with(profile);
            self.machine.after_no_pass(gpu, &mut recorder, phase, self.step, step.rate)?;
            self.end_phase(&mut recorder, phase);
            recorder.submit()?;
            return Ok(false);
        }
        for start in taken.samples.clone().step_by(self.shares.planned) {
            let samples = self.shares.planned.min(taken.samples.end - start);
            let is_first = start == taken.samples.start;
            let staged = self.data.stage(gpu, start, samples)?;
            let mut recorder = gpu.record_with(profile.as_deref_mut());
            if phase == 0 && is_first {
                self.machine.begin(gpu, &mut recorder, self.step)?;
            }
            if self.shares.accumulates && is_first && pass.backward {
                recorder.clear(&self.arena.grads.view());
            }
            let batch = BatchInfo::new(staged, samples as u32, 0);
            let batch = BatchInfo { slot_adds: !is_first || (told && taken.tells), ..batch };
            let number = (start - step.first) / self.shares.planned;
            let plan = self.forward.as_ref().filter(|_| !pass.backward).unwrap_or(&self.plan);
            plan.record(&mut recorder, self.batch_info(batch, pass, &taken, number));
            if start + samples == taken.samples.end {
                if pass.probe == Some(1) {
                    let answers = taken.mean_over * self.model.positions();
                    self.machine.record_slope(&mut recorder, self.step, [self.slot(), UNREAD as u32], answers);
                }
                self.machine.after_pass(gpu, &mut recorder, phase, self.step, step.rate)?;
                self.end_phase(&mut recorder, phase);
            }
            recorder.submit()?;
        }
        Ok(taken.tells)
    }

    /// Where this step's loss goes.
    fn slot(&self) -> u32 {
        (self.step % RING as u64) as u32
    }

    /// What a batch is told beside its samples: it is number `number` of its step. Every gradient of a step draws the same dropout.
    fn batch_info(&self, batch: BatchInfo, pass: Pass, taken: &Taken, number: usize) -> BatchInfo {
        BatchInfo {
            slot: if taken.tells { self.slot() } else { UNREAD as u32 },
            terms: LossTerms { mean_over: taken.mean_over as u32, label_smoothing: self.label_smoothing },
            epoch: self.epoch as u32,
            step: self.step * self.shares.batches() + number as u64,
            seed: self.seed,
            stats_momentum: if pass.moves_statistics { batch.stats_momentum } else { 0.0 },
            ..batch
        }
    }

    /// After the last pass the weights' moving average, where it is kept.
    fn end_phase(&self, recorder: &mut Recorder<'_>, phase: usize) {
        if phase + 1 < self.rule().phases().len() {
            return;
        }
        match &self.average {
            Some(average) if self.step == 0 => average.begin(recorder, &self.arena),
            Some(average) => average.update.record(recorder),
            None => {}
        }
    }
}
