//! Commands bound to the arenas of a network.

use crate::{
    gpu::{Buffer, Gpu, GpuError},
    kernels::{AdapterClass, Arena, Ascend, Combine, Metric, Weigh},
};

use super::{Command, GradientSlot, Place, Rule};

/// An operation with the kernels that do it.
#[derive(Debug)]
pub(super) enum BoundCommand {
    Put(Place),
    Copy { from: Buffer, to: Buffer },
    Combine(Combine),
    Ascend(Ascend),
    Remember,
    Weigh { draw: u32, weigh: Weigh, first: bool },
    Update(Place),
    Prepare(Place),
}

/// What the commands of a program are bound to.
pub(super) struct Buffers<'a> {
    arena: &'a Arena,
    kept: Vec<Buffer>,
    /// Per tensor 1 where an adaptive ascent goes by its weights' magnitudes.
    marked: Buffer,
    /// What noise times gradients is summed up in, with the code of the noise's distribution.
    products: Option<&'a Buffer>,
    noise: u32,
}

impl<'a> Buffers<'a> {
    pub(super) fn new(
        gpu: &Gpu,
        arena: &'a Arena,
        rule: &Rule,
        kept: usize,
        products: Option<&'a Buffer>,
    ) -> Result<Self, GpuError> {
        let noise = rule.scheme.distribution().code();
        let kept = (0..kept).map(|_| gpu.buffer("kept gradients", arena.layout.words())).collect::<Result<_, _>>()?;
        let is_marked = |tensor| u32::from(rule.adaptive.get(tensor).is_some_and(|marked| *marked));
        let marked: Vec<u32> = (0..arena.layout.spans().len()).map(is_marked).collect();
        Ok(Self { arena, kept, marked: gpu.upload("adaptive tensors", &marked)?, products, noise })
    }

    fn gradients(&self, slot: GradientSlot) -> &Buffer {
        match slot {
            GradientSlot::Arena => &self.arena.grads,
            GradientSlot::Kept(number) => &self.kept[number],
        }
    }

    /// The kernels of a command.
    pub(super) fn bind(&self, gpu: &Gpu, command: Command) -> Result<BoundCommand, GpuError> {
        let (arena, gradients) = (self.arena, |slot| self.gradients(slot));
        let copy =
            |from, to| BoundCommand::Copy { from: Buffer::clone(gradients(from)), to: Buffer::clone(gradients(to)) };
        Ok(match command {
            Command::Put(place) => BoundCommand::Put(place),
            Command::Keep(number) => copy(GradientSlot::Arena, GradientSlot::Kept(number)),
            Command::Restore(number) => copy(GradientSlot::Kept(number), GradientSlot::Arena),
            Command::Combine { into, keep, other, add } => {
                BoundCommand::Combine(Combine::new(gpu, (gradients(into), keep), (gradients(other), add))?)
            }
            Command::Ascend { along, rho } => {
                BoundCommand::Ascend(Ascend::new(gpu, arena, gradients(along), rho, Metric::Plain)?)
            }
            Command::AscendAdaptively { along, rho, eta } => {
                let metric = Metric::Adaptive { eta, marked: &self.marked };
                BoundCommand::Ascend(Ascend::new(gpu, arena, gradients(along), rho, metric)?)
            }
            // The arena's gradients are those of the step's one pass, where noise goes by the past.
            Command::Remember(_) => BoundCommand::Remember,
            Command::Weigh { draw, along, first } => {
                let products = self.products.unwrap_or(&arena.grads);
                let (class, views) = (AdapterClass::for_device(gpu), [gradients(along), products]);
                BoundCommand::Weigh { draw, weigh: Weigh::new(gpu, class, arena, views, self.noise)?, first }
            }
            Command::Update(place) | Command::Descend(place) => BoundCommand::Update(place),
            Command::Prepare(place) => BoundCommand::Prepare(place),
        })
    }
}
