//! A program bound to the arenas of a network.

use std::{cell::RefCell, sync::Arc};

use crate::{
    gpu::{Buffer, Gpu, GpuError, Recorder},
    kernels::{AdapterClass, Arena, Ascend, Combine, EffectiveWeights, FactorRules, GradientFactor, Perturb},
    noise::{NoiseScheme, Point, Scale, StepNoise},
    optim::{Optimizer, OptimizerConfig, StepRate},
    schedule::Clock,
};

use super::{Command, Compiled, Effective, GradientSlot, Place, Program, UpdateFusion};

/// What a step does, and with which noise.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The step.
    pub program: Program,
    /// The noise of each step.
    pub scheme: Arc<dyn NoiseScheme>,
}

impl Rule {
    /// Weight noise of a scheme: [`Program::noise`].
    #[must_use]
    pub fn noise(scheme: impl NoiseScheme + 'static) -> Self {
        Self { program: Program::noise(), scheme: Arc::new(scheme) }
    }

    /// As it is recorded: fused where the unit of its noise allows that.
    #[must_use]
    pub fn compiled(&self) -> Compiled {
        let fusion = if self.scheme.scale() == Scale::Filter { UpdateFusion::Separate } else { UpdateFusion::Fused };
        Compiled::new(&self.program, fusion)
    }
}

/// How the clean weights are updated.
#[derive(Clone, Debug, Default)]
pub struct Updates {
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// What is done to gradients before it, if anything.
    pub factor: Option<FactorRules>,
}

/// An operation with the kernels that do it.
#[derive(Debug)]
enum BoundCommand {
    Put(Place),
    Copy { from: Buffer, to: Buffer },
    Combine(Combine),
    Ascend(Ascend),
    Update(Place),
    Prepare(Place),
}

/// A program on a device: it records everything of a step but the passes over the batch.
///
/// A step is: [`Machine::begin`]; then for each phase of the program its pass, backward into the arena's gradients, and
/// [`Machine::after_pass`]; then [`Machine::end`].
#[derive(Debug)]
pub struct Machine {
    compiled: Compiled,
    scheme: Arc<dyn NoiseScheme>,
    clock: Clock,
    perturb: Perturb,
    clean: EffectiveWeights,
    factor: Option<GradientFactor>,
    optimizer: Optimizer,
    /// What follows each pass.
    after: Vec<Vec<BoundCommand>>,
    /// Of the arena.
    blocks: u32,
    /// The noise last asked for, and its step: what leaves the weights there, the pass that needs them there and whoever logs
    /// the step ask for the same.
    noise: RefCell<Option<(u64, StepNoise)>>,
    /// Whoever has a network to look at may have it evaluated, so it is a cell, as the buffer is.
    effective: RefCell<Effective>,
}

impl Machine {
    /// Binds a rule to an arena.
    ///
    /// # Errors
    /// Those of the device, and where a kernel does not compile.
    pub fn new(gpu: &Gpu, arena: &Arena, rule: &Rule, updates: Updates, clock: Clock) -> Result<Self, GpuError> {
        Self::from_compiled(gpu, arena, (rule.compiled(), Arc::clone(&rule.scheme)), updates, clock)
    }

    /// As [`Machine::new`], of a program that is compiled already.
    ///
    /// # Errors
    /// As [`Machine::new`].
    pub fn from_compiled(
        gpu: &Gpu,
        arena: &Arena,
        (compiled, scheme): (Compiled, Arc<dyn NoiseScheme>),
        updates: Updates,
        clock: Clock,
    ) -> Result<Self, GpuError> {
        let (class, distribution) = (AdapterClass::for_device(gpu), scheme.distribution().code());
        let factor = updates.factor.map(|rules| GradientFactor::new(gpu, arena, rules)).transpose()?;
        let kept = || gpu.buffer("kept gradients", arena.layout.words());
        let kept = (0..compiled.kept()).map(|_| kept()).collect::<Result<Vec<_>, _>>()?;
        let bound = |command: &Command| bind(gpu, arena, &kept, *command);
        let phases = compiled.phases().iter().map(|phase| phase.after.iter().map(bound).collect());
        let after = phases.collect::<Result<_, _>>()?;
        Ok(Self {
            perturb: Perturb::new(gpu, class, arena, distribution, scheme.scale() == Scale::Filter)?,
            clean: EffectiveWeights::new(gpu, arena, &arena.weights)?,
            optimizer: Optimizer::new(gpu, class, updates.optimizer, arena, distribution, factor.is_some())?,
            factor,
            compiled,
            scheme,
            clock,
            after,
            blocks: arena.layout.blocks(),
            noise: RefCell::default(),
            effective: RefCell::default(),
        })
    }

    /// What it records.
    #[must_use]
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The noise of every step.
    #[must_use]
    pub fn scheme(&self) -> &dyn NoiseScheme {
        &*self.scheme
    }

    /// The optimizer with its state.
    #[must_use]
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// What scales gradients before the update, where something does.
    #[must_use]
    pub fn factor(&self) -> Option<&GradientFactor> {
        self.factor.as_ref()
    }

    /// Another clock: that of a run which is longer or shorter.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.noise = RefCell::default();
    }

    /// Resumes as after so many updates.
    pub fn set_steps_done(&mut self, steps: u64) {
        self.optimizer.set_steps_done(steps);
    }

    /// The noise of a step, at the strength that its schedule has by the clock.
    #[must_use]
    pub fn noise(&self, step: u64) -> StepNoise {
        let mut known = self.noise.borrow_mut();
        if let Some((_, noise)) = known.as_ref().filter(|(known, _)| *known == step) {
            return noise.clone();
        }
        let noise = self.scheme.at(step, self.clock.moment(step));
        *known = Some((step, noise.clone()));
        noise
    }

    /// Where the first pass of a step is taken, and so where the step before leaves the effective weights.
    #[must_use]
    pub fn start(&self, step: u64) -> Point {
        self.point(self.compiled.start(), step)
    }

    fn point(&self, place: Place, step: u64) -> Point {
        match place {
            Place::Clean => Point::Clean,
            Place::Draw(draw) => self.noise(step).draw(draw.number).scaled(draw.factor).into(),
        }
    }

    /// Whether `weights_eff` holds the weights at a point.
    #[must_use]
    pub fn holds(&self, point: &Point) -> bool {
        self.effective.borrow().holds(point)
    }

    /// What `weights_eff` was made to hold; to be told by whoever else writes it.
    pub fn now_holds(&self, effective: Effective) {
        self.effective.replace(effective);
    }

    /// Records `weights_eff = weights` at a point near them; what it holds is for the caller to tell.
    ///
    /// # Errors
    /// As [`Perturb::record`]; [`GpuError::Length`] for noise whose ranges are not the arena.
    pub fn put(&self, gpu: &Gpu, recorder: &mut Recorder<'_>, point: &Point) -> Result<(), GpuError> {
        self.check(point)?;
        match point {
            Point::Clean => self.clean.record(recorder),
            Point::Noisy(StepNoise { ranges, edges, values, .. }) => {
                self.perturb.record(gpu, recorder, ranges, edges, *values)?;
            }
        }
        Ok(())
    }

    /// What ranges leave out would not be updated either: a scheme of a user's own may be wrong.
    fn check(&self, point: &Point) -> Result<(), GpuError> {
        let Point::Noisy(noise) = point else { return Ok(()) };
        let end = noise.end().unwrap_or(0);
        if end == self.blocks {
            return Ok(());
        }
        let (expected, found) = (self.blocks as usize, end as usize);
        Err(GpuError::Length { kernel: "noise scheme", argument: "blocks that ranges cover", expected, found })
    }

    /// Begins a step: where `weights_eff` is not what its first pass needs (after an evaluation, a measurement, a resumption, at
    /// another sigma), records what makes it so.
    ///
    /// # Errors
    /// As [`Machine::put`].
    pub fn begin(&self, gpu: &Gpu, recorder: &mut Recorder<'_>, step: u64) -> Result<(), GpuError> {
        let start = self.start(step);
        let held = self.holds(&start);
        self.now_holds(Effective::Other);
        if held { Ok(()) } else { self.put(gpu, recorder, &start) }
    }

    /// Records what a step does after one of its passes, whose gradient, if it took one, the arena holds.
    ///
    /// # Errors
    /// Those of the sweeps over the arena.
    pub fn after_pass(
        &mut self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        pass: usize,
        step: u64,
        rate: StepRate,
    ) -> Result<(), GpuError> {
        for command in self.after.get(pass).into_iter().flatten() {
            match command {
                BoundCommand::Put(place) => self.put(gpu, recorder, &self.point(*place, step))?,
                BoundCommand::Prepare(place) => self.put(gpu, recorder, &self.point(*place, step + 1))?,
                BoundCommand::Copy { from, to } => recorder.copy(&from.view(), &to.view()),
                BoundCommand::Combine(combine) => combine.record(recorder),
                BoundCommand::Ascend(ascend) => ascend.record(recorder),
                BoundCommand::Update(place) => {
                    let leaves = self.point(*place, step + 1);
                    self.check(&leaves)?;
                    if let Some(factor) = &self.factor {
                        factor.record(recorder);
                    }
                    self.optimizer.record(gpu, recorder, rate, &leaves)?;
                    if let Point::Noisy(noise) = &leaves {
                        self.perturb.record_edges(gpu, recorder, &noise.edges, noise.values)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends a step whose last pass was recorded: `weights_eff` is where the next one begins.
    pub fn end(&self, step: u64) {
        self.now_holds(Effective::At(self.start(step + 1)));
    }
}

/// The kernels of an operation.
fn bind(gpu: &Gpu, arena: &Arena, kept: &[Buffer], command: Command) -> Result<BoundCommand, GpuError> {
    let buffer = |slot: GradientSlot| match slot {
        GradientSlot::Arena => &arena.grads,
        GradientSlot::Kept(number) => &kept[number],
    };
    Ok(match command {
        Command::Put(place) => BoundCommand::Put(place),
        Command::Keep(number) => BoundCommand::Copy { from: arena.grads.clone(), to: kept[number].clone() },
        Command::Restore(number) => BoundCommand::Copy { from: kept[number].clone(), to: arena.grads.clone() },
        Command::Combine { into, keep, other, add } => {
            BoundCommand::Combine(Combine::new(gpu, (buffer(into), keep), (buffer(other), add))?)
        }
        Command::Ascend { along, rho } => BoundCommand::Ascend(Ascend::new(gpu, arena, buffer(along), rho)?),
        Command::Update(place) => BoundCommand::Update(place),
        Command::Prepare(place) => BoundCommand::Prepare(place),
    })
}
