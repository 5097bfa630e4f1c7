//! Moments of the weights that a run goes through late: SWAG's mean, diagonal and deviations.
//!
//! Source: Maddox, Garipov, Izmailov, Vetrov and Wilson, *A Simple Baseline for Bayesian Uncertainty in Deep Learning*,
//! NeurIPS 2019, and its code (wjmaddox/swa_gaussian, `swag/posteriors/swag.py`).

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
};

use crate::{
    graph::Param,
    kernels::ArenaLayout,
    nn::{NamedTensor, TensorFile, WeightsError},
    rules::RuleKind,
    schedule::RunLength,
    train::TrainError,
};

use super::format::{DEVIATIONS, MEAN, RANK, RULE, SECOND_MOMENT, SNAPSHOTS, held, metadata_number, stacked};

/// Which weights of a run are taken into the moments, and how many deviations are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::train) struct SwagOptions {
    /// The share of the run, in [0, 1), after which weights are taken.
    pub(in crate::train) start: f64,
    /// Epochs from one taken to the next.
    pub(in crate::train) every: u64,
    /// Deviations that are kept: the rank of the part of the covariance that is not diagonal.
    pub(in crate::train) rank: usize,
}

impl Default for SwagOptions {
    /// Those of the published runs: from epoch 161 of 300 on, each epoch, 20 deviations.
    fn default() -> Self {
        Self { start: 0.537, every: 1, rank: 20 }
    }
}

/// The moments so far, in host memory, laid out as an arena of weights.
#[derive(Clone, Debug)]
pub(in crate::train) struct Swag {
    options: SwagOptions,
    /// Epochs done before the first that counts.
    from: u64,
    /// Weights taken so far.
    snapshots: u64,
    mean: Vec<f32>,
    second_moment: Vec<f32>,
    /// Of the last weights from the mean as it was with them, oldest first.
    deviations: VecDeque<Vec<f32>>,
}

impl Swag {
    /// Before any weights are taken.
    ///
    /// # Errors
    /// [`TrainError::Config`] where a run of this length takes fewer than two.
    pub(in crate::train) fn new(options: SwagOptions, length: RunLength) -> Result<Self, TrainError> {
        let epochs = length.steps as f64 / length.steps_per_epoch as f64;
        // A share such as 0.29 of 100 is 29 epochs, though its product is a little less.
        let from = (options.start * epochs + 1e-9).floor() as u64;
        let taken = (length.steps / length.steps_per_epoch).saturating_sub(from) / options.every.max(1);
        if taken < 2 {
            let key = "swag-start, swag-every".to_owned();
            let whole = length.steps / length.steps_per_epoch;
            let reason = format!("of a run of {whole} whole epochs they take weights {taken} times, 2 are the least");
            return Err(TrainError::Config { key, reason });
        }
        let (mean, second_moment) = (Vec::new(), Vec::new());
        Ok(Self { options, from, snapshots: 0, mean, second_moment, deviations: VecDeque::new() })
    }

    /// Whether the weights after so many epochs are to be taken.
    pub(in crate::train) fn is_due(&self, epochs: u64) -> bool {
        epochs > self.from && (epochs - self.from).is_multiple_of(self.options.every.max(1))
    }

    /// Takes weights: mean and second moment are those of all so far, and the deviation is that from the new mean.
    pub(in crate::train) fn take(&mut self, weights: &[f32]) {
        let before = self.snapshots as f64;
        let running = |moment: f32, value: f64| ((before * f64::from(moment) + value) / (before + 1.0)) as f32;
        self.mean.resize(weights.len(), 0.0);
        self.second_moment.resize(weights.len(), 0.0);
        for ((mean, second), weight) in self.mean.iter_mut().zip(&mut self.second_moment).zip(weights) {
            let weight = f64::from(*weight);
            *mean = running(*mean, weight);
            *second = running(*second, weight * weight);
        }
        self.deviations.push_back(weights.iter().zip(&self.mean).map(|(weight, mean)| weight - mean).collect());
        if self.deviations.len() > self.options.rank {
            self.deviations.pop_front();
        }
        self.snapshots += 1;
    }

    /// Whether there is a covariance yet.
    pub(in crate::train) fn is_known(&self) -> bool {
        self.snapshots >= 2
    }

    /// The moments as tensors under the names of the parameters, and what the file says of them; `None` before there are some.
    pub(in crate::train) fn tensors(
        &self,
        params: &[Param],
        layout: &ArenaLayout,
    ) -> Option<(Vec<NamedTensor>, HashMap<String, String>)> {
        if self.snapshots == 0 {
            return None;
        }
        let mut tensors = Vec::new();
        for (param, span) in params.iter().zip(layout.spans()) {
            let part = |values: &[f32]| values[span.start..span.start + span.len].to_vec();
            let mut add = |role: &str, shape: &[usize], values: Vec<f32>| {
                tensors.push(NamedTensor { name: format!("{}{role}", param.name), shape: shape.to_vec(), values });
            };
            add(MEAN, &param.shape, part(&self.mean));
            add(SECOND_MOMENT, &param.shape, part(&self.second_moment));
            let deviations: Vec<f32> = self.deviations.iter().flat_map(|deviation| part(deviation)).collect();
            add(DEVIATIONS, &stacked(self.deviations.len(), &param.shape), deviations);
        }
        let numbers = [(SNAPSHOTS, self.snapshots.to_string()), (RANK, self.options.rank.to_string())];
        let rule = (RULE, RuleKind::Swag.name().to_owned());
        let metadata = numbers.into_iter().chain([rule]).map(|(key, value)| (key.to_owned(), value)).collect();
        Some((tensors, metadata))
    }

    /// Goes on from the moments of a file that [`Swag::tensors`] made.
    ///
    /// # Errors
    /// [`WeightsError`] for tensors that are not as the model's.
    pub(in crate::train) fn restore(
        &mut self,
        (params, layout): (&[Param], &ArenaLayout),
        mut file: TensorFile<'_>,
        (metadata, path): (&HashMap<String, String>, &Path),
    ) -> Result<(), WeightsError> {
        let snapshots = metadata_number(metadata, SNAPSHOTS, path)?;
        let rank = metadata_number(metadata, RANK, path)?;
        let count = held(snapshots, rank);
        let (mut mean, mut second_moment) = (vec![0.0; layout.words()], vec![0.0; layout.words()]);
        let mut deviations: Vec<Vec<f32>> = Vec::new();
        for (param, span) in params.iter().zip(layout.spans()) {
            let mut take = |role: &str, shape: &[usize]| file.take(&format!("{}{role}", param.name), shape);
            let place = span.start..span.start + span.len;
            mean[place.clone()].copy_from_slice(&take(MEAN, &param.shape)?.values);
            second_moment[place.clone()].copy_from_slice(&take(SECOND_MOMENT, &param.shape)?.values);
            let stack = take(DEVIATIONS, &stacked(count, &param.shape))?.values;
            // Only now is it known that the file holds as many as it says.
            deviations.resize_with(count, || vec![0.0; layout.words()]);
            for (deviation, values) in deviations.iter_mut().zip(stack.chunks_exact(span.len.max(1))) {
                deviation[place.clone()].copy_from_slice(values);
            }
        }
        *self = Self { snapshots, mean, second_moment, deviations: deviations.into(), ..*self };
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn swag(options: SwagOptions, epochs: u64) -> Result<Swag, TrainError> {
        Swag::new(options, RunLength::of_epochs(epochs, 7))
    }

    #[test]
    fn moments_are_those_of_the_weights_taken() {
        let mut found = swag(SwagOptions { rank: 3, ..SwagOptions::default() }, 100).unwrap();
        let weights: Vec<[f32; 2]> = vec![[1.0, -2.0], [3.0, 0.5], [-0.25, 7.0], [0.125, 1.5], [2.0, 2.0]];
        for (index, taken) in weights.iter().enumerate() {
            assert_eq!(found.is_known(), index >= 2);
            found.take(taken);
        }
        let mean_of_first = |count: usize, element: usize| {
            weights[..count].iter().map(|weights| f64::from(weights[element])).sum::<f64>() / count as f64
        };
        let close =
            |found: f32, expected: f64| assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
        for element in 0..2 {
            close(found.mean[element], mean_of_first(5, element));
            let squares = weights.iter().map(|weights| f64::from(weights[element]).powi(2));
            close(found.second_moment[element], squares.sum::<f64>() / 5.0);
            for (deviation, last) in found.deviations.iter().zip(2..5) {
                let own = f64::from(weights[last][element]);
                close(deviation[element], own - mean_of_first(last + 1, element));
            }
        }
        assert_eq!((found.snapshots, found.deviations.len()), (5, 3));
    }

    #[test]
    fn weights_are_taken_after_a_share_of_the_run() {
        let taken = |start: f64, every: u64, epochs: u64| {
            let swag = swag(SwagOptions { start, every, rank: 20 }, epochs).unwrap();
            (0..=epochs).filter(|epochs| swag.is_due(*epochs)).collect::<Vec<_>>()
        };
        assert_eq!(taken(0.5, 1, 6), [4, 5, 6]);
        assert_eq!(taken(0.75, 1, 10), [8, 9, 10]);
        assert_eq!(taken(0.0, 2, 7), [2, 4, 6]);
        assert_eq!(taken(0.29, 30, 100), [59, 89], "the product of 0.29 and 100 is less than 29");
        // The published runs, whose first is the 162nd of 300 epochs.
        let published = taken(SwagOptions::default().start, 1, 300);
        assert_eq!((published.first(), published.len()), (Some(&162), 139));
    }

    #[test]
    fn fewer_than_two_are_refused() {
        for (start, every, epochs) in [(0.9, 1, 10), (0.5, 3, 10), (0.0, 1, 1), (0.999, 1, 100)] {
            let error = swag(SwagOptions { start, every, rank: 20 }, epochs).unwrap_err().to_string();
            assert!(error.starts_with("swag-start, swag-every: of a run of"), "{error}");
        }
    }
}
