//! What puts given weights, without noise, where the network reads them.

use crate::gpu::{Buffer, Dispatch, Element, Gpu, GpuError, Recorder, View};

use super::{Arena, Elementwise, arena_parts, elementwise};

/// A planned `weights_eff = weights`, rounded to f16 where the network sees f16.
#[derive(Debug)]
pub struct EffectiveWeights(Plan);

#[derive(Debug)]
enum Plan {
    Copy(Box<[View; 2]>),
    Cast(Vec<Dispatch>),
}

impl EffectiveWeights {
    /// Plans the copy of `weights` (laid out as the arena's, in f32) to the arena's `weights_eff`.
    ///
    /// # Errors
    /// [`GpuError::Length`] for weights of another length, and where the kernel does not compile.
    pub fn new(gpu: &Gpu, arena: &Arena, weights: &Buffer) -> Result<Self, GpuError> {
        weights.view().expect_len("effective weights", "weights", arena.layout.words())?;
        if arena.element == Element::Word {
            return Ok(Self(Plan::Copy(Box::new([weights.view(), arena.weights_eff.view()]))));
        }
        let cast = |(start, len): (usize, usize)| {
            let views = [&weights.part(start, len)?, &gpu.unused(0)?, &arena.effective_part(start, len)?];
            elementwise(gpu, Elementwise::Copy, views, false)
        };
        Ok(Self(Plan::Cast(arena_parts(gpu.limits(), weights.len()).map(cast).collect::<Result<_, _>>()?)))
    }

    /// Records it.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        match &self.0 {
            Plan::Copy(views) => recorder.copy(&views[0], &views[1]),
            Plan::Cast(dispatches) => dispatches.iter().for_each(|dispatch| recorder.run(dispatch)),
        }
    }
}
