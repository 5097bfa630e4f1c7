//! The network at given weights, with noise or without.

use crate::{
    gpu::{Gpu, GpuError, Recorder},
    kernels::{AdapterClass, Arena, EffectiveWeights, NoiseUnit, Perturb},
    noise::{Point, StepNoise},
};

/// What puts `weights_eff` at a point near the weights of an arena.
#[derive(Debug)]
pub(super) struct Nearby {
    pub(super) perturb: Perturb,
    clean: EffectiveWeights,
    /// Of the arena.
    blocks: u32,
}

impl Nearby {
    /// Plans it; `noise` is the distribution's code.
    pub(super) fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        noise: u32,
        unit: NoiseUnit,
    ) -> Result<Self, GpuError> {
        let perturb = Perturb::new(gpu, class, arena, noise, unit)?;
        let clean = EffectiveWeights::new(gpu, arena, &arena.weights)?;
        Ok(Self { perturb, clean, blocks: arena.layout.blocks() })
    }

    /// Records it; what lies ahead is not near, and is taken for the weights themselves.
    pub(super) fn put(&self, gpu: &Gpu, recorder: &mut Recorder<'_>, point: &Point) -> Result<(), GpuError> {
        self.check(point)?;
        match point {
            Point::Clean | Point::Ahead(_) => self.clean.record(recorder),
            Point::Noisy(StepNoise { ranges, edges, values, .. }) => {
                self.perturb.record(gpu, recorder, ranges, edges, *values)?;
            }
        }
        Ok(())
    }

    /// What ranges leave out would not be updated either: a scheme of a user's own may be wrong.
    pub(super) fn check(&self, point: &Point) -> Result<(), GpuError> {
        let Point::Noisy(noise) = point else { return Ok(()) };
        let end = noise.end().unwrap_or(0);
        if end == self.blocks {
            return Ok(());
        }
        let (expected, found) = (self.blocks as usize, end as usize);
        Err(GpuError::Length { kernel: "noise scheme", argument: "blocks that ranges cover", expected, found })
    }
}
