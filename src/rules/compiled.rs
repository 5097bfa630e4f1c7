//! From a program to what is recorded: buffers for its gradients, and two peepholes: the update's sweep perturbs, and the other side of a
//! draw is a reflection.

use std::{collections::BTreeMap, fmt};

use super::{
    Command, Draw, GradientSlot, Gradients, Instruction, Part, Place, Program, StatisticsPass, program::is_read,
};

/// Whether an update writes the effective weights of the next step in its own sweep over memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateFusion {
    /// It does: noise then costs arithmetic only.
    #[default]
    Fused,
    /// It does not: noise in units of filter norms is known only once every weight is written.
    Separate,
}

/// A pass over the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Whether it takes the gradient, or the loss alone.
    pub backward: bool,
    /// Whether its loss is the step's.
    pub tells: bool,
    /// Whether it moves running statistics of batch norms.
    pub moves_statistics: bool,
    /// The part of the step's samples that it is over; all where there is none.
    pub part: Option<Part>,
    /// Which of the two probes its loss is, if any.
    pub probe: Option<u32>,
}

impl Pass {
    /// One that takes the loss alone: the step's, or a probe, of which the first is the step's.
    fn loss(probe: Option<u32>) -> Self {
        Self {
            backward: false,
            tells: probe.is_none_or(|number| number == 0),
            moves_statistics: false,
            part: None,
            probe,
        }
    }
}

/// A pass over the batch and what is recorded after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// The pass.
    pub pass: Pass,
    /// What follows it.
    pub after: Vec<Command>,
}

/// A program as it is recorded: passes over the batch, and what comes after each.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    name: String,
    start: Place,
    phases: Vec<Phase>,
    kept: usize,
    parts: u32,
    statistics: StatisticsPass,
}

impl Compiled {
    /// Compiles a program.
    #[must_use]
    pub fn new(program: &Program, fusion: UpdateFusion) -> Self {
        let instructions = program.instructions();
        let (start, first) = match instructions.first() {
            Some(Instruction::Perturb { draw }) => (Place::Draw(*draw), 1),
            Some(Instruction::LookAhead { rho }) => (Place::Ahead(*rho), 1),
            Some(Instruction::Clean) => (Place::Clean, 1),
            _ => (Place::Clean, 0),
        };
        let tells_loss = instructions.contains(&Instruction::Loss);
        let weighed = false;
        let (phases, slots, at) = (Vec::new(), BTreeMap::new(), Some(start));
        let mut compiler = Compiler { phases, slots, kept: 0, tells_loss, weighed, at };
        for (index, instruction) in instructions.iter().enumerate().skip(first) {
            compiler.compile(*instruction, &instructions[index + 1..]);
        }
        compiler.finish(start, fusion, instructions.last() == Some(&Instruction::Descend));
        let mut phases = compiler.phases;
        move_statistics(&mut phases, program.statistics());
        let parts = phases.iter().filter_map(|phase| phase.pass.part).map(|part| part.parts).max().unwrap_or(1);
        let (name, statistics) = (program.name().to_owned(), program.statistics());
        Self { name, start, phases, kept: compiler.kept, parts, statistics }
    }

    /// Where the effective weights have to be when a step begins: where the update of the step before leaves them.
    #[must_use]
    pub fn start(&self) -> Place {
        self.start
    }

    /// The passes over the batch, with what is recorded after each.
    #[must_use]
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// Whether a pass takes the loss alone.
    #[must_use]
    pub fn takes_loss(&self) -> bool {
        self.phases.iter().any(|phase| !phase.pass.backward)
    }

    /// Whether a pass takes a gradient.
    #[must_use]
    pub fn takes_gradients(&self) -> bool {
        self.phases.iter().any(|phase| phase.pass.backward)
    }

    /// Gradients of a step over all of its samples: one over a part of them counts as its share.
    #[must_use]
    pub fn gradients(&self) -> f64 {
        self.shares(|pass| pass.backward)
    }

    /// Losses of a step over all of its samples, without a gradient.
    #[must_use]
    pub fn losses(&self) -> f64 {
        self.shares(|pass| !pass.backward)
    }

    fn shares(&self, counts: impl Fn(&Pass) -> bool) -> f64 {
        let passes = self.phases.iter().map(|phase| phase.pass).filter(counts);
        passes.map(|pass| pass.part.map_or(1.0, |part| 1.0 / f64::from(part.parts))).fold(0.0, |sum, share| sum + share)
    }

    /// Whether passes without a gradient go by the running statistics of batch norms.
    #[must_use]
    pub fn goes_by_running_statistics(&self) -> bool {
        !self.takes_gradients() && self.statistics == StatisticsPass::None
    }

    /// Whether the effective weights of the next step are put in place by a sweep of its own after the update.
    pub(super) fn is_prepared(&self) -> bool {
        self.phases.last().is_some_and(|phase| matches!(phase.after.last(), Some(Command::Prepare(_))))
    }

    /// Whether it keeps something of past gradients.
    pub(super) fn remembers(&self) -> bool {
        let remembers = |command: &Command| matches!(command, Command::Remember(_));
        self.phases.iter().any(|phase| phase.after.iter().any(remembers))
    }

    /// The share of each draw in what is weighed by draws.
    pub(super) fn share_of_draws(&self) -> f64 {
        let weighs = |command: &&Command| matches!(command, Command::Weigh { .. });
        1.0 / self.phases.iter().flat_map(|phase| &phase.after).filter(weighs).count().max(1) as f64
    }

    /// Distances that a step looks ahead at, each once.
    pub(super) fn distances_ahead(&self) -> Vec<f64> {
        let placed = |command: &Command| match command {
            Command::Put(place) | Command::Update(place) | Command::Prepare(place) => Some(*place),
            _ => None,
        };
        let places = self.phases.iter().flat_map(|phase| &phase.after).filter_map(placed);
        let mut distances: Vec<f64> = Vec::new();
        for place in places.chain([self.start]) {
            match place {
                Place::Ahead(rho) if !distances.contains(&rho) => distances.push(rho),
                _ => {}
            }
        }
        distances
    }

    /// Parts that gradients are taken over; 1 where they are over all samples of a step.
    #[must_use]
    pub fn parts(&self) -> u32 {
        self.parts
    }

    /// Gradient evaluations of a step, over all of its samples: a forward and a backward pass are 1, a forward pass alone is 1/3,
    /// as each of the two products of a backward pass costs about what the forward one does; a pass over a part of the samples
    /// counts by its share.
    #[must_use]
    pub fn gradient_evaluations(&self) -> f64 {
        self.gradients() + self.losses() / 3.0
    }

    /// Buffers for gradients beside the arena's, each as long as the weights.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// What it does, a line for each pass and each operation.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.start != Place::Clean {
            lines.push(format!("perturb: effective <- {}, unless the step before has", self.start));
        }
        for phase in &self.phases {
            let what = if phase.pass.backward { "gradient at effective" } else { "loss at effective" };
            lines.push(phase.pass.part.map_or(what.to_owned(), |part| format!("{what}, {part}")));
            lines.extend(phase.after.iter().map(Command::to_string));
        }
        lines
    }
}

/// The state of a compilation.
struct Compiler {
    phases: Vec<Phase>,
    /// Where the gradients lie that are still to be read.
    slots: BTreeMap<Gradients, GradientSlot>,
    kept: usize,
    /// Whether an instruction tells the step's loss.
    tells_loss: bool,
    /// Whether a gradient was weighed by a draw before.
    weighed: bool,
    /// Where the effective weights were put last; an ascent leaves them elsewhere.
    at: Option<Place>,
}

/// Marks the passes that move running statistics: of those that take gradients, or of a rule's without any of all.
fn move_statistics(phases: &mut [Phase], statistics: StatisticsPass) {
    let without = phases.iter().all(|phase| !phase.pass.backward);
    let counts = |pass: &Pass| pass.backward || (without && pass.probe.is_some());
    let is_loss = |pass: &Pass| !pass.backward && pass.probe.is_none();
    let mut counted: Vec<&mut Pass> = phases.iter_mut().map(|phase| &mut phase.pass).collect();
    let clean = statistics == StatisticsPass::Clean && counted.iter().any(|pass| is_loss(pass));
    counted.retain(|pass| if clean { is_loss(pass) } else { counts(pass) });
    let last = counted.len().saturating_sub(1);
    let mut parts = Vec::new();
    for (index, pass) in counted.into_iter().enumerate() {
        let part = pass.part.map(|part| part.index);
        let begins = !parts.contains(&part);
        parts.push(part);
        pass.moves_statistics = match statistics {
            StatisticsPass::First => begins && (part.is_some() || index == 0),
            StatisticsPass::Clean => index == 0,
            StatisticsPass::Last => index == last,
            StatisticsPass::All => true,
            StatisticsPass::None => false,
        };
    }
}

impl Compiler {
    fn push(&mut self, command: Command) {
        if let Some(phase) = self.phases.last_mut() {
            phase.after.push(command);
        }
    }

    /// Puts the effective weights at a place: the other side of the draw where they are is a reflection, and nothing is drawn again.
    fn put(&mut self, place: Place) {
        let mirrors = |draw: Draw| self.at == Some(Place::Draw(draw.mirrored()));
        let command = match place {
            Place::Draw(draw) if mirrors(draw) => Command::Mirror,
            place => Command::Put(place),
        };
        self.at = Some(place);
        self.push(command);
    }

    /// Where a gradient lies: a checked program reads none that was not written.
    fn slot(&self, buffer: Gradients) -> GradientSlot {
        self.slots.get(&buffer).copied().unwrap_or(GradientSlot::Arena)
    }

    fn compile(&mut self, instruction: Instruction, rest: &[Instruction]) {
        match instruction {
            Instruction::Clean => self.put(Place::Clean),
            Instruction::Perturb { draw } => self.put(Place::Draw(draw)),
            Instruction::LookAhead { rho } => self.put(Place::Ahead(rho)),
            Instruction::Ascend { along, rho } => {
                let along = self.slot(along);
                self.at = None;
                self.push(Command::Ascend { along, rho });
            }
            Instruction::AscendAdaptively { along, rho, eta } => {
                let along = self.slot(along);
                self.at = None;
                self.push(Command::AscendAdaptively { along, rho, eta });
            }
            Instruction::Remember { along } => self.push(Command::Remember(self.slot(along))),
            Instruction::Weigh { draw, along } => {
                let (along, first) = (self.slot(along), !self.weighed);
                self.weighed = true;
                self.push(Command::Weigh { draw, along, first });
            }
            Instruction::Gradient { into } => self.pass(into, None, rest),
            Instruction::PartGradient { into, part } => self.pass(into, Some(part), rest),
            Instruction::Loss => self.look(Pass::loss(None)),
            Instruction::Probe { number } => self.look(Pass::loss(Some(number))),
            Instruction::Combine { into, keep, other, add } => self.combine([into, other], [keep, add], rest),
            Instruction::Update { along } => {
                if let GradientSlot::Kept(kept) = self.slot(along) {
                    self.push(Command::Restore(kept));
                }
            }
            Instruction::Descend => {}
        }
    }

    /// A pass writes the arena's gradients: what lies there is kept if it is read later.
    fn pass(&mut self, into: Gradients, part: Option<Part>, rest: &[Instruction]) {
        self.slots.retain(|buffer, _| *buffer != into && is_read(rest, *buffer));
        let there = self.slots.iter().find(|(_, slot)| **slot == GradientSlot::Arena).map(|(buffer, _)| *buffer);
        if let Some(buffer) = there {
            let taken = |kept: usize| self.slots.values().any(|slot| *slot == GradientSlot::Kept(kept));
            let kept = (0..self.kept).find(|kept| !taken(*kept)).unwrap_or(self.kept);
            self.kept = self.kept.max(kept + 1);
            self.push(Command::Keep(kept));
            self.slots.insert(buffer, GradientSlot::Kept(kept));
        }
        let index = part.map(|part| part.index);
        let first = |phase: &Phase| !phase.pass.backward || phase.pass.part.map(|part| part.index) != index;
        let tells = !self.tells_loss && self.phases.iter().all(first);
        self.look(Pass { backward: true, tells, moves_statistics: false, part, probe: None });
        self.slots.insert(into, GradientSlot::Arena);
    }

    fn look(&mut self, pass: Pass) {
        self.phases.push(Phase { pass, after: Vec::new() });
    }

    /// A sum that is read from the arena is best made there: where the other gradient lies there and is not read again, it
    /// gives its place.
    fn combine(&mut self, [into, other]: [Gradients; 2], [keep, add]: [f64; 2], rest: &[Instruction]) {
        let [place, from] = [into, other].map(|buffer| self.slot(buffer));
        if from == GradientSlot::Arena && !is_read(rest, other) {
            self.push(Command::Combine { into: from, keep: add, other: place, add: keep });
            self.slots.remove(&other);
            self.slots.insert(into, GradientSlot::Arena);
        } else {
            self.push(Command::Combine { into: place, keep, other: from, add });
        }
    }

    /// The update, and the peephole: where the next step begins at noisy weights, the update's sweep writes them.
    fn finish(&mut self, start: Place, fusion: UpdateFusion, descends: bool) {
        let update = if descends { Command::Descend } else { Command::Update };
        // The momentum that the next step looks ahead along is known only once all of it is written.
        let fused = fusion == UpdateFusion::Fused && !matches!(start, Place::Ahead(_));
        match fused {
            true => self.push(update(start)),
            false => {
                self.push(update(Place::Clean));
                if start != Place::Clean {
                    self.push(Command::Prepare(start));
                }
            }
        }
    }
}

impl fmt::Display for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}, as it is recorded", self.name)?;
        self.lines().iter().enumerate().try_for_each(|(index, line)| write!(f, "\n  {} {line}", index + 1))
    }
}
