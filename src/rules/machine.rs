//! A program bound to the arenas of a network.

use std::{cell::RefCell, sync::Arc};

use crate::{
    gpu::{Buffer, Gpu, GpuError, Recorder},
    kernels::{AdapterClass, Arena, Ascend, FactorRules, GradientFactor, Metric, NoiseUnit},
    noise::{NoiseScheme, Point, Scale, StepNoise},
    optim::{Optimizer, OptimizerConfig, StepRate, UpdateUse},
    schedule::Clock,
};

use super::{
    Command, Compiled, DescentConfig, Effective, Place, Rule,
    bound::{BoundCommand, Buffers},
    mover::{Descent, Mover},
    nearby::Nearby,
    rule::point,
};

/// How the clean weights are updated.
#[derive(Clone, Debug, Default)]
pub struct Updates {
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// What is done to gradients before it, if anything.
    pub factor: Option<FactorRules>,
    /// What a program without gradients descends by, in the optimizer's place.
    pub descent: Option<DescentConfig>,
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
    /// Around the weights that gradients are taken around.
    lead: Nearby,
    /// Around the clean weights, where they are others.
    clean: Option<Nearby>,
    /// Distances to look ahead at, with what does.
    ahead: Vec<(f64, Ascend)>,
    factor: Option<GradientFactor>,
    mover: Mover,
    /// What follows each pass.
    after: Vec<Vec<BoundCommand>>,
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
        Self::from_compiled(gpu, arena, (rule.compiled(), rule), updates, clock)
    }

    /// As [`Machine::new`], of a rule whose program is compiled already.
    ///
    /// # Errors
    /// As [`Machine::new`].
    pub fn from_compiled(
        gpu: &Gpu,
        arena: &Arena,
        (compiled, rule): (Compiled, &Rule),
        updates: Updates,
        clock: Clock,
    ) -> Result<Self, GpuError> {
        let scheme = Arc::clone(&rule.scheme);
        let (class, distribution) = (AdapterClass::for_device(gpu), scheme.distribution().code());
        let factor = updates.factor.map(|rules| GradientFactor::new(gpu, arena, rules)).transpose()?;
        let mover = match updates.descent {
            Some(config) => Mover::Descent(Descent::new(gpu, class, arena, config, distribution)?),
            None => {
                let (scaled, separate) = (factor.is_some(), compiled.is_prepared());
                let purpose = UpdateUse { noise: distribution, scaled, separate };
                Mover::Optimizer(Optimizer::for_use(gpu, class, updates.optimizer, arena, purpose)?)
            }
        };
        let filters = NoiseUnit::filter_scaled(scheme.scale() == Scale::Filter);
        let [eta, beta] = rule.history;
        let unit = match mover.optimizer().and_then(Optimizer::unit) {
            Some(posterior) => posterior,
            None if compiled.remembers() => NoiseUnit::History { eta, beta },
            None => filters,
        };
        let products = mover.optimizer().and_then(Optimizer::products);
        let lead = mover.optimizer().and_then(Optimizer::lead);
        let clean = lead.map(|_| Nearby::new(gpu, class, arena, distribution, unit.clone())).transpose()?;
        let arena = &lead.map_or_else(|| arena.clone(), |lead| Arena { weights: lead.clone(), ..arena.clone() });
        let buffers = Buffers::new(gpu, arena, rule, &compiled, products)?;
        let bound = |command: &Command| buffers.bind(gpu, *command);
        let phases = compiled.phases().iter().map(|phase| phase.after.iter().map(bound).collect());
        let after = phases.collect::<Result<_, _>>()?;
        let first_moment = mover.optimizer().and_then(|optimizer| optimizer.state().first()).unwrap_or(&arena.grads);
        let ahead = |rho: f64| Ok((rho, Ascend::new(gpu, arena, first_moment, -rho, Metric::Plain)?));
        Ok(Self {
            lead: Nearby::new(gpu, class, arena, distribution, unit)?,
            clean,
            ahead: compiled.distances_ahead().into_iter().map(ahead).collect::<Result<_, GpuError>>()?,
            mover,
            factor,
            compiled,
            scheme,
            clock,
            after,
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

    /// The optimizer with its state, where it is one that moves the weights.
    #[must_use]
    pub fn optimizer(&self) -> Option<&Optimizer> {
        self.mover.optimizer()
    }

    /// This learning rate with the momentum, or beta1, of the optimizer: for what has no schedule.
    #[must_use]
    pub fn rate(&self, learning_rate: f64) -> StepRate {
        let none = StepRate { learning_rate, momentum: 0.0 };
        self.optimizer().map_or(none, |optimizer| optimizer.rate(learning_rate))
    }

    /// What is kept of the past gradients of filters, where the noise goes by them.
    #[must_use]
    pub fn history(&self) -> Option<&Buffer> {
        self.lead.perturb.history().map(|history| &history.history)
    }

    /// One slope of the loss a step, a ring, where the weights move by it.
    #[must_use]
    pub fn slopes(&self) -> Option<&Buffer> {
        self.mover.descent().map(Descent::slopes)
    }

    /// Records the slope of a step between the losses in two slots of the metrics, sums over so many answers, where the weights
    /// move by it.
    pub fn record_slope(&self, recorder: &mut Recorder<'_>, step: u64, probes: [u32; 2], answers: usize) {
        if let Some(descent) = self.mover.descent() {
            descent.record_slope(recorder, step, probes, answers);
        }
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
        if let Mover::Optimizer(optimizer) = &mut self.mover {
            optimizer.set_steps_done(steps);
        }
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
        point(place, || self.noise(step))
    }

    /// Whether `weights_eff` holds what a step needs that begins at a point.
    #[must_use]
    pub fn holds(&self, start: &Point) -> bool {
        *self.effective.borrow() == self.led(start.clone())
    }

    /// What `weights_eff` holds where a step begins at a point.
    #[must_use]
    pub fn led(&self, start: Point) -> Effective {
        if self.clean.is_some() { Effective::Led(start) } else { Effective::At(start) }
    }

    /// What `weights_eff` was made to hold; to be told by whoever else writes it.
    pub fn now_holds(&self, effective: Effective) {
        self.effective.replace(effective);
    }

    /// Records `weights_eff = weights` at a point near them, the clean ones; what it holds is for the caller to tell.
    ///
    /// # Errors
    /// As [`Perturb::record`](crate::kernels::Perturb::record); [`GpuError::Length`] for noise whose ranges are not the arena.
    pub fn put(&self, gpu: &Gpu, recorder: &mut Recorder<'_>, point: &Point) -> Result<(), GpuError> {
        match &self.clean {
            Some(clean) => clean.put(gpu, recorder, point),
            None => self.put_for_step(gpu, recorder, point),
        }
    }

    /// As [`Machine::put`], near the weights that gradients are taken around.
    fn put_for_step(&self, gpu: &Gpu, recorder: &mut Recorder<'_>, point: &Point) -> Result<(), GpuError> {
        if let Point::Ahead(rho) = point
            && let Some((_, ascend)) = self.ahead.iter().find(|(known, _)| known == rho)
        {
            ascend.record(recorder);
            return Ok(());
        }
        self.lead.put(gpu, recorder, point)
    }

    /// Begins a step: where `weights_eff` is not what its first pass needs (after an evaluation, a measurement, a resumption, at
    /// another sigma), records what makes it so.
    ///
    /// # Errors
    /// As [`Machine::put`].
    pub fn begin(&self, gpu: &Gpu, recorder: &mut Recorder<'_>, step: u64) -> Result<(), GpuError> {
        if let Some(optimizer) = self.optimizer().filter(|_| step == 0) {
            optimizer.begin(recorder);
        }
        let start = self.start(step);
        let held = self.holds(&start);
        self.now_holds(Effective::Other);
        if held { Ok(()) } else { self.put_for_step(gpu, recorder, &start) }
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
        self.record_after(gpu, recorder, (pass, 0), step, rate)
    }

    /// As [`Machine::after_pass`] where the pass was left out, as a part of the step's samples that is empty is: of what follows
    /// it the update alone.
    ///
    /// # Errors
    /// As [`Machine::after_pass`].
    pub fn after_no_pass(
        &mut self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        pass: usize,
        step: u64,
        rate: StepRate,
    ) -> Result<(), GpuError> {
        let is_update = |command: &BoundCommand| matches!(command, BoundCommand::Update(_));
        let commands = self.after.get(pass).map_or(&[][..], Vec::as_slice);
        let first = commands.iter().position(is_update).unwrap_or(commands.len());
        self.record_after(gpu, recorder, (pass, first), step, rate)
    }

    /// Records what follows a pass, from command number `first` on.
    fn record_after(
        &mut self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        (pass, first): (usize, usize),
        step: u64,
        rate: StepRate,
    ) -> Result<(), GpuError> {
        for command in self.after.get(pass).into_iter().flatten().skip(first) {
            match command {
                BoundCommand::Put(place) => self.put_for_step(gpu, recorder, &self.point(*place, step))?,
                BoundCommand::Prepare(place) => self.put_for_step(gpu, recorder, &self.point(*place, step + 1))?,
                BoundCommand::Mirror(mirror) => mirror.record(recorder),
                BoundCommand::Copy { from, to } => recorder.copy(&from.view(), &to.view()),
                BoundCommand::Combine(combine) => combine.record(recorder),
                BoundCommand::Ascend(ascend) => ascend.record(recorder),
                BoundCommand::Remember => {
                    if let Some(history) = self.lead.perturb.history() {
                        history.remember(recorder);
                    }
                }
                BoundCommand::Weigh { draw, share, weigh, first } => {
                    let noise = self.noise(step).draw(*draw);
                    weigh.record(gpu, recorder, &noise.ranges, (noise.values, *share), *first)?;
                }
                BoundCommand::Update(place) => {
                    // In this order, or the noise of the step would be worked out a second time.
                    let then = self.noise(step);
                    let leaves = self.point(*place, step + 1);
                    self.lead.check(&leaves)?;
                    if let Some(factor) = &self.factor {
                        factor.record(recorder);
                    }
                    self.mover.record(gpu, recorder, rate, (step, &then), &leaves)?;
                    if let Point::Noisy(noise) = &leaves {
                        self.lead.perturb.record_edges(gpu, recorder, &noise.edges, noise.values)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends a step whose last pass was recorded: `weights_eff` is where the next one begins.
    pub fn end(&self, step: u64) {
        self.now_holds(self.led(self.start(step + 1)));
    }
}
