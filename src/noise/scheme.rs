//! From the configuration to what one step does: which blocks are noisy, and how strong.

use crate::{
    kernels::{ArenaLayout, NoiseRange, NoiseStep},
    schedule::Moment,
};

use super::{
    GroupOrder, Grouping, Mode, NoiseConfig, Stream,
    draw::{key, philox},
};

/// What the noise has to know of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseTensor {
    /// Number of the module it belongs to.
    pub module: usize,
    /// A weight proper: neither bias nor normalisation.
    pub is_weight: bool,
}

/// The noise of a run: pure in the step.
#[derive(Clone, Debug)]
pub struct Scheme {
    config: NoiseConfig,
    seed: u64,
    /// Tensors of each group.
    groups: Vec<Vec<usize>>,
    /// Blocks of each group, neighbours merged.
    ranges: Vec<Vec<NoiseRange>>,
    /// The whole arena, clean and noisy.
    blocks: u32,
    tensors: usize,
}

/// What one step does.
#[derive(Clone, Debug, PartialEq)]
pub struct StepNoise {
    /// The arena in order, split where noise begins and ends.
    pub ranges: Vec<NoiseRange>,
    /// Seed, step and standard deviation for the kernels.
    pub values: NoiseStep,
    /// The noisy group in mode `layer`.
    pub group: Option<usize>,
}

impl StepNoise {
    /// Standard deviation of the noise on each noisy weight, negative where it is mirrored; 0 where none is.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        if self.ranges.iter().any(|range| range.noisy) { f64::from(self.values.sigma) } else { 0.0 }
    }

    /// The block after the last, where the ranges are in order and without a gap from block 0 on.
    #[must_use]
    pub fn end(&self) -> Option<u32> {
        self.ranges.iter().try_fold(0, |end, range| (range.blocks.start == end).then_some(range.blocks.end))
    }

    /// No noise on any tensor of a layout.
    #[must_use]
    pub fn none(layout: &ArenaLayout) -> Self {
        let ranges = vec![NoiseRange { blocks: 0..layout.blocks(), noisy: false }];
        Self { ranges, values: NoiseStep::default(), group: None }
    }

    /// Noise of standard deviation `sigma` on some tensors of a layout, drawn by seed and step: for schemes of one's own. A step
    /// beyond 2^32 starts the counters anew.
    #[must_use]
    pub fn on_tensors(layout: &ArenaLayout, tensors: &[usize], seed: u64, step: u64, sigma: f64) -> Self {
        Self { ranges: split(layout, tensors), values: values(seed, step, sigma), group: None }
    }

    /// The same tensors and the same strength with the numbers of draw `number` of the step.
    ///
    /// Draw 0 is the noise as it is. Any other has a key of its own, which Philox makes of the seed and the draw's number, so
    /// that the draws of a step, and those of different steps and tensors, are independent of each other: what
    /// `jax.random.fold_in` does.
    #[must_use]
    pub fn draw(self, number: u32) -> Self {
        if number == 0 {
            return self;
        }
        let key = [self.values.seed_low, self.values.seed_high];
        let [seed_low, seed_high, ..] = philox([number, 0, 0, Stream::Draw as u32], key);
        Self { values: NoiseStep { seed_low, seed_high, ..self.values }, ..self }
    }

    /// The same noise times a factor: exactly mirrored at -1.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let sigma = (f64::from(self.values.sigma) * factor) as f32;
        Self { values: NoiseStep { sigma, ..self.values }, ..self }
    }
}

/// What the kernels need beside the ranges.
fn values(seed: u64, step: u64, sigma: f64) -> NoiseStep {
    let [seed_low, seed_high] = key(seed);
    NoiseStep { seed_low, seed_high, step: step as u32, sigma: sigma as f32, ..NoiseStep::default() }
}

impl Scheme {
    /// Groups the tensors of a model; `tensors` in the order of `layout`.
    #[must_use]
    pub fn new(config: NoiseConfig, layout: &ArenaLayout, tensors: &[NoiseTensor], seed: u64) -> Self {
        let groups = group(config.groups, tensors);
        Self::with_groups(config, layout, groups, seed)
    }

    /// Groups given outright, each a list of tensors of `layout`; a tensor may be in several.
    #[must_use]
    pub fn with_groups(config: NoiseConfig, layout: &ArenaLayout, groups: Vec<Vec<usize>>, seed: u64) -> Self {
        let ranges = groups.iter().map(|group| split(layout, group)).collect();
        Self { config, seed, groups, ranges, blocks: layout.blocks(), tensors: layout.spans().len() }
    }

    /// The choices it was made from.
    #[must_use]
    pub fn config(&self) -> &NoiseConfig {
        &self.config
    }

    /// Tensors of each group; M is their number.
    #[must_use]
    pub fn groups(&self) -> &[Vec<usize>] {
        &self.groups
    }

    /// Per tensor the factor of its noise: 0 for those in no group.
    #[must_use]
    pub fn scales(&self) -> Vec<f32> {
        let mut scales = vec![0.0; self.tensors];
        for tensor in self.groups.iter().flatten() {
            scales[*tensor] = 1.0;
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
            return StepNoise { ranges: self.whole(false), values, group: None };
        }
        if self.config.mode != Mode::Layer {
            return StepNoise { ranges: self.whole(true), values, group: None };
        }
        let group = self.group_at(step);
        StepNoise { ranges: self.ranges[group].clone(), values, group: Some(group) }
    }

    fn whole(&self, noisy: bool) -> Vec<NoiseRange> {
        vec![NoiseRange { blocks: 0..self.blocks, noisy }]
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

fn group(grouping: Grouping, tensors: &[NoiseTensor]) -> Vec<Vec<usize>> {
    match grouping {
        Grouping::Tensor => (0..tensors.len()).map(|tensor| vec![tensor]).collect(),
        Grouping::Weights => (0..tensors.len()).filter(|t| tensors[*t].is_weight).map(|t| vec![t]).collect(),
        Grouping::Module => {
            let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
            for (tensor, noisy) in tensors.iter().enumerate() {
                match groups.iter_mut().find(|(module, _)| *module == noisy.module) {
                    Some((_, members)) => members.push(tensor),
                    None => groups.push((noisy.module, vec![tensor])),
                }
            }
            groups.into_iter().map(|(_, members)| members).collect()
        }
    }
}

/// The arena in order, noisy in `group` and clean elsewhere.
fn split(layout: &ArenaLayout, group: &[usize]) -> Vec<NoiseRange> {
    let mut ranges: Vec<NoiseRange> = Vec::new();
    for (tensor, span) in layout.spans().iter().enumerate() {
        let (blocks, noisy) = (span.blocks(), group.contains(&tensor));
        match ranges.last_mut() {
            Some(last) if last.noisy == noisy => last.blocks.end = blocks.end,
            _ => ranges.push(NoiseRange { blocks, noisy }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        noise::SigmaSchedule,
        schedule::{Drops, RunLength, ScheduleUnit},
    };

    fn scheme(config: NoiseConfig) -> Scheme {
        let shapes: [&[usize]; 4] = [&[10, 20], &[10], &[3, 10], &[3]];
        let layout = ArenaLayout::new(shapes);
        let tensors =
            [(0, true), (0, false), (1, true), (1, false)].map(|(module, is_weight)| NoiseTensor { module, is_weight });
        Scheme::new(config, &layout, &tensors, 7)
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
        assert_eq!(module.groups(), [vec![0, 1], vec![2, 3]]);
        assert_eq!(noisy(&module.at(0, Moment::START)), vec![0..6]);
        let weights = layer(Grouping::Weights, GroupOrder::Cyclic);
        assert_eq!(weights.groups(), [vec![0], vec![2]]);
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
