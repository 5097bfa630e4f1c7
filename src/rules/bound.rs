//! Commands bound to the arenas of a network.

use crate::{
    gpu::{Buffer, Gpu, GpuError},
    kernels::{AdapterClass, Arena, Ascend, Combine, Metric, Mirror, Weigh},
};

use super::{Command, Compiled, GradientSlot, Place, Rule};

/// An operation with the kernels that do it.
#[derive(Debug)]
pub(super) enum BoundCommand {
    Put(Place),
    Mirror(Mirror),
    Copy { from: Buffer, to: Buffer },
    Combine(Combine),
    Ascend(Ascend),
    Remember,
    Weigh { draw: u32, share: f64, weigh: Weigh, first: bool },
    Update(Place),
    Prepare(Place),
}

/// What the commands of a program are bound to.
pub(super) struct Buffers<'a> {
    arena: &'a Arena,
    kept: Vec<Buffer>,
    rule: &'a Rule,
    /// Of each draw in what is weighed by draws.
    share: f64,
    /// What noise times gradients is summed up in.
    products: Option<&'a Buffer>,
}

impl<'a> Buffers<'a> {
    pub(super) fn new(
        gpu: &Gpu,
        arena: &'a Arena,
        rule: &'a Rule,
        compiled: &Compiled,
        products: Option<&'a Buffer>,
    ) -> Result<Self, GpuError> {
        let buffer = || gpu.buffer("kept gradients", arena.layout.words());
        let kept = (0..compiled.kept()).map(|_| buffer()).collect::<Result<_, _>>()?;
        Ok(Self { arena, kept, rule, share: compiled.share_of_draws(), products })
    }

    /// Per tensor 1 where an adaptive ascent goes by its weights' magnitudes.
    fn marked(&self, gpu: &Gpu) -> Result<Buffer, GpuError> {
        let is_marked = |tensor| u32::from(self.rule.adaptive.get(tensor).is_some_and(|marked| *marked));
        let marked: Vec<u32> = (0..self.arena.layout.spans().len()).map(is_marked).collect();
        gpu.upload("adaptive tensors", &marked)
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
            Command::Mirror => BoundCommand::Mirror(Mirror::new(gpu, arena)?),
            Command::Keep(number) => copy(GradientSlot::Arena, GradientSlot::Kept(number)),
            Command::Restore(number) => copy(GradientSlot::Kept(number), GradientSlot::Arena),
            Command::Combine { into, keep, other, add } => {
                BoundCommand::Combine(Combine::new(gpu, (gradients(into), keep), (gradients(other), add))?)
            }
            Command::Ascend { along, rho } => {
                BoundCommand::Ascend(Ascend::new(gpu, arena, gradients(along), rho, Metric::Plain)?)
            }
            Command::AscendAdaptively { along, rho, eta } => {
                let metric = Metric::Adaptive { eta, marked: &self.marked(gpu)? };
                BoundCommand::Ascend(Ascend::new(gpu, arena, gradients(along), rho, metric)?)
            }
            // The arena's gradients are those of the step's one pass, where noise goes by the past.
            Command::Remember(_) => BoundCommand::Remember,
            Command::Weigh { draw, along, first } => {
                let products = self.products.unwrap_or(&arena.grads);
                let (class, views) = (AdapterClass::for_device(gpu), [gradients(along), products]);
                let weigh = Weigh::new(gpu, class, arena, views, self.rule.scheme.distribution().code())?;
                BoundCommand::Weigh { draw, share: self.share, weigh, first }
            }
            Command::Update(place) | Command::Descend(place) => BoundCommand::Update(place),
            Command::Prepare(place) => BoundCommand::Prepare(place),
        })
    }
}
