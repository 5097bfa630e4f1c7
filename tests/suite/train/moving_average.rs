//! The moving average of the weights against its closed form.

use crate::common::{assert_close, device, supervised::config};
use jostle::{
    noise::Mode,
    train::{Prepared, RunConfig, TrainStep, Trainer},
};

/// `torch.optim.swa_utils.AveragedModel` copies the weights at its first update, whatever they were before; after k updates
/// with `get_ema_multi_avg_fn(d)` it is d^(k - 1) w_1 + (1 - d) sum over i from 2 of d^(k - i) w_i.
#[test]
fn it_begins_with_the_weights_after_the_first_step() {
    let gpu = device();
    let decay: f64 = 0.75;
    let config = RunConfig { noise: Mode::None, ema: Some(decay), ..config() };
    let mut trainer = Trainer::new(gpu, &config, &Prepared::load(&config).unwrap()).unwrap();
    trainer.begin_epoch(0, (0..trainer.samples() as u32).collect()).unwrap();
    let read = |buffer: &jostle::gpu::Buffer| -> Vec<f32> { gpu.read(&buffer.view()).unwrap() };
    let start = read(&trainer.arena.weights);
    assert_eq!(read(trainer.average().unwrap()), start, "before the first step it is the weights");
    let mut after: Vec<Vec<f32>> = Vec::new();
    for step in 0..4 {
        let first = step * 100;
        let step = TrainStep { first, valid: 100, rate: trainer.rate(1.0) };
        trainer.train_step(step, None).unwrap();
        after.push(read(&trainer.arena.weights));
        let closed = |i: usize| {
            let late = |(k, weights): (usize, &Vec<f32>)| {
                let share = if k == 0 { 1.0 } else { 1.0 - decay };
                share * decay.powi((after.len() - 1 - k) as i32) * f64::from(weights[i])
            };
            after.iter().enumerate().map(late).sum::<f64>()
        };
        let expected: Vec<f64> = (0..start.len()).map(closed).collect();
        assert_close("average", &read(trainer.average().unwrap()), &expected, 1e-6, 1e-6);
    }
    assert_ne!(after[0], start, "the first step moves the weights");
}
