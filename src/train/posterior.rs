//! Predictions averaged over draws of weights.

use std::{fmt, sync::Arc};

use crate::{
    gpu::{Buffer, Gpu, GpuError, Recorder},
    kernels::{AdapterClass, Arena, EffectiveWeights, NoiseUnit, Perturb},
    names::named,
    noise::{NoiseScheme, Scale, StepNoise},
    schedule::Moment,
};

use super::{
    Evaluation, Evaluator, QualitySums, Recalibration, Scored,
    quality::{self, log_add},
};

/// A distribution of weights that predictions are averaged over, draw by draw.
pub trait Posterior: fmt::Debug {
    /// Records what puts draw `number`, counted from 0, into `weights_eff`; the same number is the same draw.
    ///
    /// # Errors
    /// Those of the device.
    fn put(&self, gpu: &Gpu, recorder: &mut Recorder<'_>, number: u32) -> Result<(), GpuError>;
}

named!("posterior",
    /// Whose draws `jostle eval --posterior` averages predictions over.
    PosteriorOf {
        /// The weights with the configuration's noise, as training adds it.
        Noise = "noise",
        /// The moving average of the weights: one point, with batch norms' statistics estimated there.
        Ema = "ema",
        /// The Gaussian of SWAG around the mean of late weights, with batch norms' statistics estimated at each draw.
        Swag = "swag",
        /// The Gaussian of IVON around the weights.
        Ivon = "ivon",
    }
);

/// The clean weights with noise of a scheme: draw k is the scheme's step k at one strength.
#[derive(Debug)]
pub struct NoisePosterior {
    scheme: Arc<dyn NoiseScheme>,
    when: Moment,
    perturb: Perturb,
}

impl NoisePosterior {
    /// Noise of `scheme` on the weights of an arena, as strong as it is scheduled for the moment `when`; which steps they are
    /// that training has taken, its seed decides.
    ///
    /// # Errors
    /// Those of the device; [`GpuError::Length`] for a scheme that has not a scale for each tensor.
    pub fn new(gpu: &Gpu, arena: &Arena, scheme: Arc<dyn NoiseScheme>, when: Moment) -> Result<Self, GpuError> {
        let (scales, expected) = (scheme.scales(), arena.layout.spans().len());
        if scales.len() != expected {
            let found = scales.len();
            return Err(GpuError::Length { kernel: "noise scheme", argument: "scales of tensors", expected, found });
        }
        let arena = arena.with_noise_scales(gpu, &scales)?;
        let (class, unit) = (AdapterClass::for_device(gpu), NoiseUnit::filter_scaled(scheme.scale() == Scale::Filter));
        let perturb = Perturb::new(gpu, class, &arena, scheme.distribution().code(), unit)?;
        Ok(Self { scheme, when, perturb })
    }
}

impl Posterior for NoisePosterior {
    fn put(&self, gpu: &Gpu, recorder: &mut Recorder<'_>, number: u32) -> Result<(), GpuError> {
        let StepNoise { ranges, edges, values, .. } = self.scheme.at(number.into(), self.when);
        self.perturb.record(gpu, recorder, &ranges, &edges, values)
    }
}

/// Weights in a buffer of their own, such as a moving average: each draw is the same.
#[derive(Debug)]
pub struct WeightsPosterior {
    effective: EffectiveWeights,
}

impl WeightsPosterior {
    /// `weights` are laid out as the arena's, in f32.
    ///
    /// # Errors
    /// As [`EffectiveWeights::new`].
    pub fn new(gpu: &Gpu, arena: &Arena, weights: &Buffer) -> Result<Self, GpuError> {
        Ok(Self { effective: EffectiveWeights::new(gpu, arena, weights)? })
    }
}

impl Posterior for WeightsPosterior {
    fn put(&self, _gpu: &Gpu, recorder: &mut Recorder<'_>, _number: u32) -> Result<(), GpuError> {
        self.effective.record(recorder);
        Ok(())
    }
}

/// Probabilities added up over draws.
#[derive(Debug)]
struct Mixture {
    width: usize,
    /// [samples, positions, width]
    probabilities: Vec<f64>,
    /// [samples, positions]: logarithms of the sums of the labels' probabilities.
    log_likelihoods: Vec<f64>,
    labels: Vec<u32>,
    row: Vec<f64>,
}

impl Mixture {
    fn new(width: usize, labels: Vec<u32>) -> Self {
        let probabilities = vec![0.0; labels.len() * width];
        let log_likelihoods = vec![f64::NEG_INFINITY; labels.len()];
        Self { width, probabilities, log_likelihoods, labels, row: Vec::with_capacity(width) }
    }

    /// Adds a draw's predictions from row `first` on.
    fn add(&mut self, first: usize, outputs: &[f32]) {
        for (at, logits) in (first..).zip(outputs.chunks_exact(self.width)) {
            let log_likelihood = quality::softmax(logits, self.labels[at] as usize, &mut self.row);
            self.log_likelihoods[at] = log_add(self.log_likelihoods[at], log_likelihood);
            let sums = &mut self.probabilities[at * self.width..][..self.width];
            sums.iter_mut().zip(&self.row).for_each(|(sum, probability)| *sum += probability);
        }
    }

    /// The quality of the means over so many draws.
    fn scored(mut self, draws: u32) -> Scored {
        let (count, mut sums) = (f64::from(draws), QualitySums::default());
        self.probabilities.iter_mut().for_each(|sum| *sum /= count);
        let rows = self.probabilities.chunks_exact(self.width).zip(self.log_likelihoods).zip(self.labels);
        for ((row, log_sum), label) in rows {
            sums.add_probabilities(row, log_sum - count.ln(), label as usize);
        }
        let quality = sums.quality();
        let evaluation = Evaluation { loss: quality.nll, accuracy: sums.accuracy() };
        Scored { evaluation, quality: Some(quality) }
    }
}

impl Evaluator {
    /// Scores the mean of the probabilities over the first so many draws of a posterior: its negative log likelihood as the loss,
    /// its accuracy and quality. `None` where the predictions have no quality ([`has_quality`](super::has_quality)), and of no
    /// draws. With `recalibration` batch norms' statistics are estimated anew at each draw, and put back in the end. Leaves the
    /// last draw in `weights_eff`.
    ///
    /// The probabilities are held in host memory, 8 bytes each.
    ///
    /// # Errors
    /// Those of the device and of the posterior.
    pub fn score_mean(
        &self,
        gpu: &Gpu,
        posterior: &dyn Posterior,
        draws: u32,
        recalibration: Option<Recalibration<'_>>,
    ) -> Result<Option<Scored>, GpuError> {
        if draws == 0 || !self.has_quality() {
            return Ok(None);
        }
        let mixed = || self.mixture(gpu, posterior, draws, recalibration);
        let mixture = match recalibration {
            Some(recalibration) => recalibration.undone_after(gpu, mixed)?,
            None => mixed()?,
        };
        Ok(Some(mixture.scored(draws)))
    }

    fn mixture(
        &self,
        gpu: &Gpu,
        posterior: &dyn Posterior,
        draws: u32,
        recalibration: Option<Recalibration<'_>>,
    ) -> Result<Mixture, GpuError> {
        let positions = self.outputs.positions;
        let mut mixture = Mixture::new(self.outputs.width, self.data().labels(0, self.data().len()));
        for number in 0..draws {
            let put = |recorder: &mut Recorder<'_>| posterior.put(gpu, recorder, number);
            if let Some(recalibration) = recalibration {
                recalibration.run_at(gpu, &put)?;
            }
            self.read_at(gpu, &put, |first, outputs| mixture.add(first * positions, outputs))?;
        }
        Ok(mixture)
    }
}
