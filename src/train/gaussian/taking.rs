//! What a run's posterior is made of: weights after epochs, or the state of its optimizer.

use std::{collections::HashMap, path::Path};

use crate::{
    kernels::NoiseUnit,
    nn::{self, NamedTensor, TensorFile},
    optim::Optimizer,
    rules::RuleKind,
    schedule::RunLength,
    train::{RunConfig, TrainError, Trainer},
};

use super::{
    format::{DEVIATION, MEAN, POSTERIOR, RULE},
    swag::{Swag, SwagOptions},
};

/// Tensors, and what their file says beside them.
type Tensors = (Vec<NamedTensor>, HashMap<String, String>);

impl RunConfig {
    /// The moments that a run of this length takes of its weights, where its rule does.
    ///
    /// # Errors
    /// As [`Swag::new`].
    pub(in crate::train) fn swag(&self, length: RunLength) -> Result<Option<Swag>, TrainError> {
        if self.rule != RuleKind::Swag {
            return Ok(None);
        }
        let published = SwagOptions::default();
        let options = SwagOptions {
            start: self.swag_start.unwrap_or(published.start),
            every: self.swag_every.unwrap_or(published.every),
            rank: self.swag_rank.map_or(published.rank, |rank| rank as usize),
        };
        Swag::new(options, length).map(Some)
    }
}

impl Trainer<'_> {
    /// Takes the weights after so many epochs into the moments, where the rule says so; whether all that it takes is finite.
    ///
    /// # Errors
    /// Those of the device.
    pub(in crate::train) fn take_weights(&mut self, epochs: u64) -> Result<bool, TrainError> {
        let (gpu, arena) = (self.gpu(), &self.arena);
        let Some(swag) = self.swag.as_mut().filter(|swag| swag.is_due(epochs)) else { return Ok(true) };
        let weights: Vec<f32> = gpu.read(&arena.weights.view())?;
        if !weights.iter().all(|weight| weight.is_finite()) {
            return Ok(false);
        }
        swag.take(&weights);
        Ok(true)
    }

    /// The moments so far, where there are some.
    pub(in crate::train) fn moments(&self) -> Option<Tensors> {
        let (tensors, mut metadata) = self.swag.as_ref()?.tensors(self.model.graph.params(), &self.arena.layout)?;
        metadata.extend(nn::metadata(&self.model));
        Some((tensors, metadata))
    }

    /// Goes on from the moments in a file's bytes.
    ///
    /// # Errors
    /// [`WeightsError`](nn::WeightsError) for tensors that are not as the model's.
    pub(in crate::train) fn restore_moments(&mut self, bytes: &[u8], path: &Path) -> Result<(), TrainError> {
        let Some(swag) = &mut self.swag else { return Ok(()) };
        let metadata = nn::parse_metadata(path, bytes)?;
        let file = TensorFile::new(path, nn::parse_tensors(path, bytes)?);
        Ok(swag.restore((self.model.graph.params(), &self.arena.layout), file, (&metadata, path))?)
    }

    /// Writes `posterior.safetensors` into a folder, where the rule leaves one and enough was done for it.
    ///
    /// # Errors
    /// Those of the device, and [`WeightsError`](nn::WeightsError) naming the file.
    pub(in crate::train) fn save_posterior(&self, folder: &Path) -> Result<(), TrainError> {
        let found = match &self.swag {
            Some(swag) => self.moments().filter(|_| swag.is_known()),
            None => self.deviations()?,
        };
        match found {
            Some((tensors, metadata)) => nn::write_tensors(&folder.join(POSTERIOR), &tensors, metadata)?,
            None if self.swag.is_some() => {
                log::warn!("{POSTERIOR} is not written: the run ended before it had taken weights twice");
            }
            None => {}
        }
        Ok(())
    }

    /// The weights, which are the mean of the posterior that the optimizer keeps, and its standard deviations; where it keeps one.
    fn deviations(&self) -> Result<Option<Tensors>, TrainError> {
        let (gpu, arena) = (self.gpu(), &self.arena);
        let Some(NoiseUnit::Posterior { hess, ess, delta }) = self.machine.optimizer().and_then(Optimizer::unit) else {
            return Ok(None);
        };
        let deviation = |hess: f32| (ess * (f64::from(hess) + delta)).sqrt().recip() as f32;
        let mut tensors = Vec::new();
        for (index, param) in self.model.graph.params().iter().enumerate() {
            let hess: Vec<f32> = gpu.read(&arena.tensor(&hess, index)?)?;
            let roles = [
                (MEAN, gpu.read(&arena.tensor(&arena.weights, index)?)?),
                (DEVIATION, hess.into_iter().map(deviation).collect()),
            ];
            tensors.extend(roles.map(|(role, values)| NamedTensor {
                name: format!("{}{role}", param.name),
                shape: param.shape.clone(),
                values,
            }));
        }
        let mut metadata = nn::metadata(&self.model);
        metadata.insert(RULE.to_owned(), RuleKind::Ivon.name().to_owned());
        Ok(Some((tensors, metadata)))
    }
}
