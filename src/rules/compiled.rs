//! From a program to what is recorded: buffers for its gradients, and the peephole that fuses update and perturbation.

use std::{collections::BTreeMap, fmt};

use super::{Draw, Gradients, Instruction, Program, program::is_read};

/// Whether an update writes the effective weights of the next step in its own sweep over memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateFusion {
    /// It does: noise then costs arithmetic only.
    #[default]
    Fused,
    /// It does not: noise in units of filter norms is known only once every weight is written.
    Separate,
}

/// Where the effective weights are put, without knowing the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// At the clean weights.
    Clean,
    /// At the clean weights with a draw of the step's noise.
    Draw(Draw),
}

/// Where a gradient lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientSlot {
    /// In the arena's gradients, which every pass writes and the optimizer reads.
    Arena,
    /// In a buffer of its own, kept over another pass.
    Kept(usize),
}

/// What is recorded after a pass over the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    /// effective <- a place
    Put(Place),
    /// kept <- the arena's gradients
    Keep(usize),
    /// the arena's gradients <- kept
    Restore(usize),
    /// into <- keep into + add other
    Combine {
        /// What is changed.
        into: GradientSlot,
        /// The factor of what it holds.
        keep: f64,
        /// What is added.
        other: GradientSlot,
        /// Its factor.
        add: f64,
    },
    /// effective <- clean + rho along / norm(along)
    Ascend {
        /// The direction.
        along: GradientSlot,
        /// The distance.
        rho: f64,
    },
    /// clean <- the optimizer's step along the arena's gradients, and effective <- a place of the next step.
    Update(Place),
    /// effective <- a place of the next step
    Prepare(Place),
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
}

impl Compiled {
    /// Compiles a program.
    #[must_use]
    pub fn new(program: &Program, fusion: UpdateFusion) -> Self {
        let instructions = program.instructions();
        let (start, first) = match instructions.first() {
            Some(Instruction::Perturb { draw }) => (Place::Draw(*draw), 1),
            Some(Instruction::Clean) => (Place::Clean, 1),
            _ => (Place::Clean, 0),
        };
        let tells_loss = instructions.contains(&Instruction::Loss);
        let mut compiler = Compiler { phases: Vec::new(), slots: BTreeMap::new(), kept: 0, tells_loss };
        for (index, instruction) in instructions.iter().enumerate().skip(first) {
            compiler.compile(*instruction, &instructions[index + 1..]);
        }
        compiler.finish(start, fusion);
        Self { name: program.name().to_owned(), start, phases: compiler.phases, kept: compiler.kept }
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
            lines.push(if phase.pass.backward { "gradient at effective" } else { "loss at effective" }.to_owned());
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
}

impl Compiler {
    fn push(&mut self, command: Command) {
        if let Some(phase) = self.phases.last_mut() {
            phase.after.push(command);
        }
    }

    /// Where a gradient lies: a checked program reads none that was not written.
    fn slot(&self, buffer: Gradients) -> GradientSlot {
        self.slots.get(&buffer).copied().unwrap_or(GradientSlot::Arena)
    }

    fn compile(&mut self, instruction: Instruction, rest: &[Instruction]) {
        match instruction {
            Instruction::Clean => self.push(Command::Put(Place::Clean)),
            Instruction::Perturb { draw } => self.push(Command::Put(Place::Draw(draw))),
            Instruction::Ascend { along, rho } => {
                let along = self.slot(along);
                self.push(Command::Ascend { along, rho });
            }
            Instruction::Gradient { into } => self.pass(into, rest),
            Instruction::Loss => self.look(Pass { backward: false, tells: true, moves_statistics: false }),
            Instruction::Combine { into, keep, other, add } => self.combine([into, other], [keep, add], rest),
            Instruction::Update { along } => {
                if let GradientSlot::Kept(kept) = self.slot(along) {
                    self.push(Command::Restore(kept));
                }
            }
        }
    }

    /// A pass writes the arena's gradients: what lies there is kept if it is read later.
    fn pass(&mut self, into: Gradients, rest: &[Instruction]) {
        self.slots.retain(|buffer, _| *buffer != into && is_read(rest, *buffer));
        let there = self.slots.iter().find(|(_, slot)| **slot == GradientSlot::Arena).map(|(buffer, _)| *buffer);
        if let Some(buffer) = there {
            let taken = |kept: usize| self.slots.values().any(|slot| *slot == GradientSlot::Kept(kept));
            let kept = (0..self.kept).find(|kept| !taken(*kept)).unwrap_or(self.kept);
            self.kept = self.kept.max(kept + 1);
            self.push(Command::Keep(kept));
            self.slots.insert(buffer, GradientSlot::Kept(kept));
        }
        let first = self.phases.iter().all(|phase| !phase.pass.backward);
        self.look(Pass { backward: true, tells: first && !self.tells_loss, moves_statistics: first });
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
    fn finish(&mut self, start: Place, fusion: UpdateFusion) {
        match fusion {
            UpdateFusion::Fused => self.push(Command::Update(start)),
            UpdateFusion::Separate => {
                self.push(Command::Update(Place::Clean));
                if start != Place::Clean {
                    self.push(Command::Prepare(start));
                }
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => write!(f, "clean"),
            Self::Draw(draw) => write!(f, "clean {draw}"),
        }
    }
}

impl fmt::Display for GradientSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arena => write!(f, "grads"),
            Self::Kept(kept) => write!(f, "kept {kept}"),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(Place::Clean) => write!(f, "clean: effective <- clean"),
            Self::Put(place) => write!(f, "perturb: effective <- {place}"),
            Self::Keep(kept) => write!(f, "keep: {} <- grads", GradientSlot::Kept(*kept)),
            Self::Restore(kept) => write!(f, "restore: grads <- {}", GradientSlot::Kept(*kept)),
            Self::Combine { into, keep, other, add } => write!(f, "combine: {into} <- {keep} {into} + {add} {other}"),
            Self::Ascend { along, rho } => write!(f, "ascend: effective <- clean + {rho} {along} / norm({along})"),
            Self::Update(Place::Clean) => write!(f, "update"),
            Self::Update(_) => write!(f, "update, and perturb of the next step"),
            Self::Prepare(_) => write!(f, "perturb of the next step"),
        }
    }
}

impl fmt::Display for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}, as it is recorded", self.name)?;
        self.lines().iter().enumerate().try_for_each(|(index, line)| write!(f, "\n  {} {line}", index + 1))
    }
}
