//! A Gaussian as it is read from its file, and draws from it.

use std::{cell::Cell, collections::HashMap, path::Path};

use crate::{
    gpu::{Buffer, Gpu, GpuError, Recorder},
    graph::Param,
    input,
    kernels::{Arena, EffectiveWeights},
    nn::{self, Model, NamedTensor, TensorFile, WeightsError},
    noise::posterior_normals,
    rules::RuleKind,
    train::Posterior,
};

use super::format::{
    DEVIATION, DEVIATIONS, MEAN, RANK, RULE, SECOND_MOMENT, SNAPSHOTS, held, malformed, metadata_number, stacked,
};

/// What SWAG's covariance, that of its diagonal and that of its deviations added up, is multiplied by.
const SWAG_SCALE: f64 = 0.5;

/// The least variance of a weight in SWAG.
const SWAG_VARIANCE: f64 = 1e-30;

/// A Gaussian over the weights of a model: a mean, a standard deviation of each, and directions in which all vary together.
#[derive(Clone, Debug)]
pub struct Gaussian {
    rule: RuleKind,
    factors: Vec<Factor>,
    /// What a direction is multiplied by, beside its normal.
    share: f64,
}

/// Of a parameter.
#[derive(Clone, Debug)]
struct Factor {
    name: String,
    shape: Vec<usize>,
    mean: Vec<f32>,
    /// The standard deviation of what each weight has of its own.
    deviation: Vec<f32>,
    directions: Vec<Vec<f32>>,
}

impl Gaussian {
    /// Reads a run's; every tensor of the model must be there, in shape, and no other.
    ///
    /// # Errors
    /// [`WeightsError`] naming file and tensor.
    pub fn read(path: &Path, model: &Model) -> Result<Self, WeightsError> {
        let bytes = input::bytes(path).map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
        let metadata = nn::parse_metadata(path, &bytes)?;
        let mut file = TensorFile::new(path, nn::parse_tensors(path, &bytes)?);
        let params = model.graph.params();
        let rule = metadata.get(RULE);
        let gaussian = match rule.and_then(|rule| rule.parse().ok()) {
            Some(RuleKind::Swag) => Self::swag(params, &mut file, (&metadata, path))?,
            Some(RuleKind::Ivon) => Self::independent(params, &mut file)?,
            _ => {
                let found = rule.map_or("none".to_owned(), |rule| format!("{rule:?}"));
                return Err(malformed(path, format!("expected metadata with the rule swag or ivon, found {found}")));
            }
        };
        file.finish()?;
        Ok(gaussian)
    }

    fn swag(
        params: &[Param],
        file: &mut TensorFile<'_>,
        (metadata, path): (&HashMap<String, String>, &Path),
    ) -> Result<Self, WeightsError> {
        let (snapshots, rank) = (metadata_number(metadata, SNAPSHOTS, path)?, metadata_number(metadata, RANK, path)?);
        if snapshots < 2 || rank < 2 {
            let reason = format!("expected moments of 2 weights or more, found {snapshots} with a rank of {rank}");
            return Err(malformed(path, reason));
        }
        let count = held(snapshots, rank);
        let factor = |param: &Param| {
            let mut take = |role: &str, shape: &[usize]| file.take(&format!("{}{role}", param.name), shape);
            let mean = take(MEAN, &param.shape)?.values;
            let second = take(SECOND_MOMENT, &param.shape)?.values;
            let stack = take(DEVIATIONS, &stacked(count, &param.shape))?.values;
            let deviation = mean.iter().zip(second).map(|(mean, second)| {
                let variance = f64::from(second) - f64::from(*mean) * f64::from(*mean);
                (SWAG_SCALE * variance.max(SWAG_VARIANCE)).sqrt() as f32
            });
            Ok(Factor {
                name: param.name.clone(),
                shape: param.shape.clone(),
                deviation: deviation.collect(),
                directions: stack.chunks_exact(mean.len().max(1)).map(<[f32]>::to_vec).collect(),
                mean,
            })
        };
        let factors = params.iter().map(factor).collect::<Result<_, WeightsError>>()?;
        Ok(Self { rule: RuleKind::Swag, factors, share: (SWAG_SCALE / (rank - 1) as f64).sqrt() })
    }

    fn independent(params: &[Param], file: &mut TensorFile<'_>) -> Result<Self, WeightsError> {
        let factor = |param: &Param| {
            let mut take = |role: &str| file.take(&format!("{}{role}", param.name), &param.shape);
            let (mean, deviation) = (take(MEAN)?.values, take(DEVIATION)?.values);
            let (name, shape) = (param.name.clone(), param.shape.clone());
            Ok(Factor { name, shape, mean, deviation, directions: Vec::new() })
        };
        let factors = params.iter().map(factor).collect::<Result<_, WeightsError>>()?;
        Ok(Self { rule: RuleKind::Ivon, factors, share: 0.0 })
    }

    /// The rule that left it.
    #[must_use]
    pub fn rule(&self) -> RuleKind {
        self.rule
    }

    /// The mean, as the model's parameters.
    #[must_use]
    pub fn mean(&self) -> Vec<NamedTensor> {
        let tensor = |factor: &Factor| NamedTensor {
            name: factor.name.clone(),
            shape: factor.shape.clone(),
            values: factor.mean.clone(),
        };
        self.factors.iter().map(tensor).collect()
    }

    /// Draw `number` of a seed, as the model's parameters: a function of the two and of the Gaussian alone.
    #[must_use]
    pub fn draw(&self, seed: u64, number: u32) -> Vec<NamedTensor> {
        // The normals of the directions are those of a tensor after the last.
        let directions = self.factors.first().map_or(0, |factor| factor.directions.len());
        let along: Vec<f64> = posterior_normals(seed, number, self.factors.len() as u32, directions)
            .map(|normal| self.share * f64::from(normal))
            .collect();
        let tensor = |(index, factor): (usize, &Factor)| NamedTensor {
            name: factor.name.clone(),
            shape: factor.shape.clone(),
            values: factor.draw(posterior_normals(seed, number, index as u32, factor.mean.len()), &along),
        };
        self.factors.iter().enumerate().map(tensor).collect()
    }
}

impl Factor {
    fn draw(&self, normals: impl Iterator<Item = f32>, along: &[f64]) -> Vec<f32> {
        let own = self.mean.iter().zip(&self.deviation).zip(normals);
        let mut values: Vec<f64> = own
            .map(|((mean, deviation), normal)| f64::from(*mean) + f64::from(*deviation) * f64::from(normal))
            .collect();
        for (direction, share) in self.directions.iter().zip(along) {
            for (value, element) in values.iter_mut().zip(direction) {
                *value += share * f64::from(*element);
            }
        }
        values.into_iter().map(|value| value as f32).collect()
    }
}

/// Draws from a Gaussian on a device.
#[derive(Debug)]
pub struct GaussianPosterior {
    gaussian: Gaussian,
    seed: u64,
    arena: Arena,
    weights: Buffer,
    effective: EffectiveWeights,
    /// The draw that `weights` holds.
    holds: Cell<Option<u32>>,
}

impl GaussianPosterior {
    /// Draws by a seed, for the network whose weights an arena holds.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(gpu: &Gpu, arena: &Arena, gaussian: Gaussian, seed: u64) -> Result<Self, GpuError> {
        let weights = gpu.buffer("drawn weights", arena.weights.len())?;
        let effective = EffectiveWeights::new(gpu, arena, &weights)?;
        Ok(Self { gaussian, seed, arena: arena.clone(), weights, effective, holds: Cell::new(None) })
    }
}

impl Posterior for GaussianPosterior {
    fn put(&self, gpu: &Gpu, recorder: &mut Recorder<'_>, number: u32) -> Result<(), GpuError> {
        if self.holds.get() != Some(number) {
            for (index, tensor) in self.gaussian.draw(self.seed, number).iter().enumerate() {
                gpu.write(&self.arena.tensor(&self.weights, index)?, &tensor.values)?;
            }
            self.holds.set(Some(number));
        }
        self.effective.record(recorder);
        Ok(())
    }
}
