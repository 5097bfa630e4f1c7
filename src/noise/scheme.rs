//! From the configuration to what one step does: which blocks are noisy, and how strong.

use crate::{
    kernels::{ArenaLayout, NoiseEdge, NoiseRange, NoiseStep},
    schedule::Moment,
};

use super::{
    GroupOrder, Mode, NoiseConfig, NoisePart, NoiseTensor, StepNoise, Stream,
    draw::{key, philox},
    step_noise::{split, values},
};

/// The noise of a run: pure in the step.
#[derive(Clone, Debug)]
pub struct Scheme {
    config: NoiseConfig,
    seed: u64,
    /// Parts of tensors of each group.
    groups: Vec<Vec<NoisePart>>,
    /// Blocks of each group, neighbours merged, and those that it has in part.
    places: Vec<(Vec<NoiseRange>, Vec<NoiseEdge>)>,
    /// The whole arena, clean and noisy.
    blocks: u32,
    tensors: usize,
}

impl Scheme {
    /// Groups the tensors of a model; `tensors` in the order of `layout`.
    #[must_use]
    pub fn new(config: NoiseConfig, layout: &ArenaLayout, tensors: &[NoiseTensor], seed: u64) -> Self {
        let groups = config.groups.groups(layout, tensors);
        Self::with_parts(config, layout, groups, seed)
    }

    /// Groups given outright, each a list of tensors of `layout`; a tensor may be in several.
    #[must_use]
    pub fn with_groups(config: NoiseConfig, layout: &ArenaLayout, groups: Vec<Vec<usize>>, seed: u64) -> Self {
        let whole = |group: Vec<usize>| group.into_iter().map(|tensor| NoisePart::whole(layout, tensor)).collect();
        Self::with_parts(config, layout, groups.into_iter().map(whole).collect(), seed)
    }

    fn with_parts(config: NoiseConfig, layout: &ArenaLayout, groups: Vec<Vec<NoisePart>>, seed: u64) -> Self {
        let places = groups.iter().map(|group| split(layout, group)).collect();
        Self { config, seed, groups, places, blocks: layout.blocks(), tensors: layout.spans().len() }
    }

    /// The choices it was made from.
    #[must_use]
    pub fn config(&self) -> &NoiseConfig {
        &self.config
    }

    /// The parts of tensors of each group; M is the number of groups.
    #[must_use]
    pub fn groups(&self) -> &[Vec<NoisePart>] {
        &self.groups
    }

    /// Per tensor the factor of its noise: 0 for those in no group.
    #[must_use]
    pub fn scales(&self) -> Vec<f32> {
        let mut scales = vec![0.0; self.tensors];
        for part in self.groups.iter().flatten() {
            scales[part.tensor] = 1.0;
        }
        scales
    }

    /// The noise of a step, as strong as scheduled for the moment `when`: that of the step, or another where the noise is
    /// drawn anew at the same strength. A step beyond 2^32 starts the counters anew.
    #[must_use]
    pub fn at(&self, step: u64, when: Moment) -> StepNoise {
        let count = self.groups.len();
        let scheduled = self.config.sigma_at(when);
        let sigma = match self.config.mode {
            Mode::All => scheduled / (count.max(1) as f64).sqrt(),
            Mode::None => 0.0,
            Mode::Layer | Mode::Model => scheduled,
        };
        let values = values(self.seed, step, sigma);
        if sigma == 0.0 || count == 0 {
            return self.whole(false, values);
        }
        if self.config.mode != Mode::Layer {
            return self.whole(true, values);
        }
        let group = self.group_at(step);
        let (ranges, edges) = self.places[group].clone();
        StepNoise { ranges, edges, values, group: Some(group) }
    }

    fn whole(&self, noisy: bool, values: NoiseStep) -> StepNoise {
        let ranges = vec![NoiseRange { blocks: 0..self.blocks, noisy }];
        StepNoise { ranges, edges: Vec::new(), values, group: None }
    }

    fn group_at(&self, step: u64) -> usize {
        let count = self.groups.len() as u64;
        match self.config.order {
            GroupOrder::Cyclic => (step % count) as usize,
            GroupOrder::Random => {
                let [bits, ..] = philox([0, 0, step as u32, Stream::Group as u32], key(self.seed));
                ((u64::from(bits) * count) >> 32) as usize
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        noise::{Grouping, SigmaSchedule},
        schedule::{Drops, RunLength, ScheduleUnit},
    };

    fn scheme(config: NoiseConfig) -> Scheme {
        let shapes: [&[usize]; 4] = [&[10, 20], &[10], &[3, 10], &[3]];
        let layout = ArenaLayout::new(shapes);
        let tensors = [(0, true), (0, false), (1, true), (1, false)];
        let tensors = tensors.map(|(module, is_weight)| NoiseTensor { module, is_weight, ..NoiseTensor::default() });
        Scheme::new(config, &layout, &tensors, 7)
    }

    fn tensors_of(scheme: &Scheme) -> Vec<Vec<usize>> {
        scheme.groups().iter().map(|group| group.iter().map(|part| part.tensor).collect()).collect()
    }

    fn layer(groups: Grouping, order: GroupOrder) -> Scheme {
        scheme(NoiseConfig { mode: Mode::Layer, sigma: 0.5, groups, order, ..NoiseConfig::default() })
    }

    fn noisy(step: &StepNoise) -> Vec<std::ops::Range<u32>> {
        step.ranges.iter().filter(|range| range.noisy).map(|range| range.blocks.clone()).collect()
    }

    #[test]
    fn layer_takes_one_group_a_step_in_turn() {
        let scheme = layer(Grouping::Tensor, GroupOrder::Cyclic);
        // 200, 10, 30 and 3 elements in pairs of blocks of 64
        let expected = [0..4, 4..6, 6..8, 8..10];
        for step in 0..8 {
            let at = scheme.at(step, Moment::START);
            assert_eq!(at.group, Some(step as usize % 4));
            assert_eq!(noisy(&at), vec![expected[step as usize % 4].clone()]);
            assert_eq!(at.values.sigma, 0.5);
            let covered: u32 = at.ranges.iter().map(|range| range.blocks.len() as u32).sum();
            assert_eq!(covered, 10, "every block exactly once");
        }
    }

    #[test]
    fn groupings_join_and_leave_out() {
        let module = layer(Grouping::Module, GroupOrder::Cyclic);
        assert_eq!(tensors_of(&module), [vec![0, 1], vec![2, 3]]);
        assert_eq!(noisy(&module.at(0, Moment::START)), vec![0..6]);
        let weights = layer(Grouping::Weights, GroupOrder::Cyclic);
        assert_eq!(tensors_of(&weights), [vec![0], vec![2]]);
        assert_eq!(weights.scales(), [1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn random_groups_are_pure_in_the_step_and_even() {
        let scheme = layer(Grouping::Tensor, GroupOrder::Random);
        let draw = |step| scheme.at(step, Moment::START).group.unwrap_or(usize::MAX);
        let mut counts = [0u32; 4];
        for step in 0..4000 {
            assert_eq!(draw(step), draw(step));
            counts[draw(step)] += 1;
        }
        // 1000 each, standard deviation sqrt(4000 * 3/16) = 27: five of them
        assert!(counts.iter().all(|count| count.abs_diff(1000) < 137), "{counts:?}");
    }

    #[test]
    fn all_divides_sigma_by_the_root_of_the_groups() {
        let config = |mode| NoiseConfig { mode, sigma: 0.5, ..NoiseConfig::default() };
        assert_eq!(scheme(config(Mode::All)).at(0, Moment::START).values.sigma, 0.25);
        assert_eq!(scheme(config(Mode::Model)).at(0, Moment::START).values.sigma, 0.5);
        assert!(noisy(&scheme(config(Mode::None)).at(0, Moment::START)).is_empty());
    }

    /// The first step of an epoch out of ten, each of four steps.
    fn epoch(epoch: u64) -> Moment {
        RunLength::of_epochs(10, 4).moment(4 * epoch)
    }

    #[test]
    fn sigma_follows_its_schedule() {
        let base = NoiseConfig { mode: Mode::Model, sigma: 2.0, ..NoiseConfig::default() };
        let linear = NoiseConfig { schedule: SigmaSchedule::Linear, ..base.clone() };
        let cosine = NoiseConfig { schedule: SigmaSchedule::Cosine, ..base.clone() };
        let rising = NoiseConfig { schedule: SigmaSchedule::CosineUp, growth: 6.0, ..base.clone() };
        assert_eq!([0, 10].map(|at| rising.sigma_at(epoch(at))), [2.0, 14.0]);
        assert!((rising.sigma_at(epoch(5)) - 8.0).abs() < 1e-12);
        let off = NoiseConfig { off_from_epoch: Some(3), ..base };
        assert_eq!([0, 5, 10].map(|at| linear.sigma_at(epoch(at))), [2.0, 1.0, 0.0]);
        assert!((cosine.sigma_at(epoch(5)) - 1.0).abs() < 1e-12);
        assert_eq!([2, 3, 4].map(|at| off.sigma_at(epoch(at))), [2.0, 0.0, 0.0]);
    }

    #[test]
    fn sigma_drops_in_the_unit_of_its_schedule() {
        let drops = Drops { every: 2, milestones: vec![1, 7], gamma: 0.5 };
        let base = NoiseConfig { mode: Mode::Model, sigma: 8.0, drops, ..NoiseConfig::default() };
        let with = |schedule, schedule_unit| NoiseConfig { schedule, schedule_unit, ..base.clone() };
        let course = |config: &NoiseConfig, steps: [u64; 5]| {
            steps.map(|step| config.sigma_at(RunLength::of_steps(12, 3).moment(step)))
        };
        let by_step = with(SigmaSchedule::Step, ScheduleUnit::Step);
        assert_eq!(course(&by_step, [0, 1, 2, 3, 4]), [8.0, 8.0, 4.0, 4.0, 2.0]);
        let by_epoch = with(SigmaSchedule::Step, ScheduleUnit::Epoch);
        assert_eq!(course(&by_epoch, [0, 3, 5, 6, 11]), [8.0, 8.0, 8.0, 4.0, 4.0]);
        let milestones = with(SigmaSchedule::MultiStep, ScheduleUnit::Step);
        assert_eq!(course(&milestones, [0, 1, 6, 7, 11]), [8.0, 4.0, 4.0, 2.0, 2.0]);
        let linear = with(SigmaSchedule::Linear, ScheduleUnit::Step);
        assert_eq!(course(&linear, [0, 3, 6, 9, 12]), [8.0, 6.0, 4.0, 2.0, 0.0]);
        let cosine = with(SigmaSchedule::Cosine, ScheduleUnit::Step);
        assert!((course(&cosine, [0, 1, 6, 9, 12])[2] - 4.0).abs() < 1e-12);
        let off = NoiseConfig { off_from_step: Some(5), ..base };
        assert_eq!(course(&off, [3, 4, 5, 6, 11]), [8.0, 8.0, 0.0, 0.0, 0.0]);
    }

    /// The formulas of version 0.1, which counted epochs alone.
    #[test]
    fn sigmas_by_the_epoch_are_those_of_old_to_the_last_bit() {
        for epochs in [1, 3, 7, 50, 150] {
            for at in 0..=epochs {
                let t = at as f64 / epochs as f64;
                let expected = [
                    (SigmaSchedule::Constant, 0.03),
                    (SigmaSchedule::Linear, 0.03 * (1.0 - t).max(0.0)),
                    (SigmaSchedule::Cosine, 0.03 * 0.5 * (1.0 + (std::f64::consts::PI * t.min(1.0)).cos())),
                ];
                for (schedule, sigma) in expected {
                    let config = NoiseConfig { mode: Mode::Layer, sigma: 0.03, schedule, ..NoiseConfig::default() };
                    let found = config.sigma_at(RunLength::of_epochs(epochs, 5).moment(5 * at));
                    assert_eq!(found.to_bits(), sigma.to_bits(), "{schedule}, epoch {at} of {epochs}");
                }
            }
        }
    }
}
