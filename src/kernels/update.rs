//! An optimizer's update fused with the next step's noise: what the host sides of its kernels, one for each kind of optimizer, share.

use std::marker::PhantomData;

use crate::gpu::{Buffer, Gpu, GpuError, KernelSpec, Launch, Recorder};

use super::{AdapterClass, Arena, Constant, NoiseRange, NoiseStep, Sweep, Target, flag, sweep::sweep_launches};

/// What an optimizer's update is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct UpdateVariant {
    /// The code of the noise's distribution.
    pub noise: u32,
    /// Gradients are multiplied by the factor of the arena's `scaling`.
    pub scaled: bool,
    /// Weight decay is on tensors of two dimensions or more alone.
    pub decay_matrices: bool,
    /// SGD's weight decay is that of the weights that the network saw.
    pub decay_seen: bool,
    /// Adam's hidden matrices move by what their gradients hold, as it is.
    pub orthogonal: bool,
    /// What the network sees is not written: a sweep of its own follows that does.
    pub separate: bool,
}

impl UpdateVariant {
    /// The overrides with noise; those without have `noise` 0.
    pub(super) fn constants(self) -> [Constant; 4] {
        let Self { noise, scaled, decay_matrices, separate, .. } = self;
        let flags = [flag("SCALED", scaled), flag("DECAY_MATRICES", decay_matrices), flag("SEPARATE", separate)];
        [("NOISE", f64::from(noise)), flags[0], flags[1], flags[2]]
    }

    pub(super) fn clean(self) -> Self {
        Self { noise: 0, ..self }
    }
}

/// The values of one step of a kind of optimizer: the immediates of its kernel.
pub trait UpdateValues: bytemuck::Pod {
    /// The kernel: it binds the gradients, the state, the weights, the effective weights, then blocks and scaling.
    const SPEC: &'static KernelSpec;

    /// The noise of the next step, the head of the values.
    fn noise(&self) -> NoiseStep;

    /// The same values with another head.
    #[must_use]
    fn with_noise(self, noise: NoiseStep) -> Self;

    /// The overrides of a variant, by name.
    #[must_use]
    fn constants(variant: UpdateVariant) -> Vec<(&'static str, f64)> {
        variant.constants().to_vec()
    }
}

/// The compiled update of one network by one kind of optimizer.
#[derive(Debug)]
pub struct FusedUpdate<V>(Sweep, PhantomData<V>);

impl<V: UpdateValues> FusedUpdate<V> {
    /// Plans the update; `state` are arenas like the others, in the kernel's order, and hold what they begin as.
    ///
    /// # Errors
    /// As [`Sweep::new`], and where the kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        state: &[&Buffer],
        variant: UpdateVariant,
    ) -> Result<Self, GpuError> {
        let arenas = [&[&arena.grads], state, &[&arena.weights]].concat();
        let constants = [variant.clean(), variant].map(V::constants);
        let constants = [&constants[0][..], &constants[1]];
        let tables = [&arena.blocks.view(), &arena.scaling.view()];
        Ok(Self(Sweep::new(gpu, class, V::SPEC, constants, &arenas, arena, &tables)?, PhantomData))
    }

    /// What an update of `words` weights launches, all of them getting noise.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the adapter's grid.
    pub fn launches(target: &Target, words: usize, variant: UpdateVariant) -> Result<Vec<Launch>, GpuError> {
        let parts = sweep_launches(target, V::SPEC, &V::constants(variant), words)?;
        Ok(parts.into_iter().map(|(_, launch)| launch).collect())
    }

    /// Records one update; the values' noise holds seed, step and sigma.
    ///
    /// # Errors
    /// As [`Sweep::record`].
    pub fn record(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        values: V,
    ) -> Result<(), GpuError> {
        self.0.record(gpu, recorder, ranges, values.noise(), |noise| values.with_noise(noise))
    }
}
