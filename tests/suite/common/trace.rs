//! What a training run leaves, to be compared with another run's.

use jostle::{
    gpu::Gpu,
    train::{Control, EpochRecord, Event, Prepared, RunConfig, Status, StepRecord, Trainer, run},
};

use super::{bits, device};

/// What a run leaves, wall-clock time aside.
#[derive(Debug, PartialEq)]
pub struct Trace {
    pub weights: Vec<u32>,
    /// Running statistics of batch norms.
    pub stats: Vec<u32>,
    pub steps: Vec<StepRecord>,
    pub epochs: Vec<EpochRecord>,
    pub status: Status,
}

pub fn weights(trainer: &Trainer<'_>) -> Vec<u32> {
    bits(&trainer.gpu().read::<f32>(&trainer.arena.weights.view()).unwrap())
}

impl Trace {
    pub fn new(config: &RunConfig, prepared: &Prepared) -> Self {
        Self::on(device(), config, prepared)
    }

    pub fn on(gpu: &Gpu, config: &RunConfig, prepared: &Prepared) -> Self {
        let mut trainer = Trainer::new(gpu, config, prepared).unwrap();
        let mut steps = Vec::new();
        let result = run(&mut trainer, config, None, &mut |event| {
            if let Event::Step(record) = event {
                steps.push(record);
            }
            Ok(Control::Continue)
        });
        let result = result.unwrap();
        let timeless = |record: EpochRecord| EpochRecord { samples_per_second: 0.0, ..record };
        let epochs = result.epochs.into_iter().map(timeless).collect();
        let stats = bits(&trainer.gpu().read::<f32>(&trainer.arena.stats.view()).unwrap());
        Self { weights: weights(&trainer), stats, steps, epochs, status: result.status }
    }
}
