//! A step as a list of instructions.

use std::fmt;

use super::{Draw, Gradients, Instruction, RuleError};

/// A training step as data: what is done with weights, noise and gradients, in order.
///
/// ```
/// use jostle::rules::{Gradients, Instruction, Program, RuleError};
///
/// let g = Gradients(0);
/// let plain = Program::new("plain", vec![Instruction::Gradient { into: g }, Instruction::Update { along: g }])?;
/// assert_eq!(plain.instructions().len(), 2);
/// let wrong = Program::new("wrong", vec![Instruction::Update { along: g }]);
/// assert_eq!(wrong, Err(RuleError::Unwritten { line: 1, buffer: g }));
/// # Ok::<(), RuleError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    name: String,
    instructions: Vec<Instruction>,
}

/// The gradients of programs that need one or two.
const G: [Gradients; 2] = [Gradients(0), Gradients(1)];

impl Program {
    /// Checks a list of instructions: a step ends with its one update; gradients are written before they are read, and read
    /// after they are written; wherever the effective weights are moved to, a gradient or the loss is taken.
    ///
    /// # Errors
    /// [`RuleError`] with the line that is wrong.
    pub fn new(name: impl Into<String>, instructions: Vec<Instruction>) -> Result<Self, RuleError> {
        let program = Self { name: name.into(), instructions };
        program.check()?;
        Ok(program)
    }

    /// Weight noise: the gradient is taken at noisy weights and moves the clean ones.
    ///
    /// Source: Orvieto, Raj, Kersting and Bach, *Explicit Regularization in Overparametrized Models via Noise Injection*,
    /// AISTATS 2023.
    #[must_use]
    pub fn noise() -> Self {
        Self {
            name: "noise".to_owned(),
            instructions: vec![
                Instruction::Perturb { draw: Draw::FIRST },
                Instruction::Gradient { into: G[0] },
                Instruction::Update { along: G[0] },
            ],
        }
    }

    /// Noise of both signs: the mean of the gradients at the weights with a step's noise and with its mirror image.
    ///
    /// Source: Zhang, Li and Ju, *Noise Stability Optimization for Finding Flat Minima*, TMLR 2024.
    #[must_use]
    pub fn antithetic() -> Self {
        Self {
            name: "antithetic noise".to_owned(),
            instructions: vec![
                Instruction::Perturb { draw: Draw::FIRST },
                Instruction::Gradient { into: G[0] },
                Instruction::Perturb { draw: Draw::FIRST.mirrored() },
                Instruction::Gradient { into: G[1] },
                Instruction::Combine { into: G[0], keep: 0.5, other: G[1], add: 0.5 },
                Instruction::Update { along: G[0] },
            ],
        }
    }

    /// Sharpness-aware minimisation: the gradient is taken at a distance `rho` up the gradient.
    ///
    /// Source: Foret, Kleiner, Mobahi and Neyshabur, *Sharpness-aware minimization*, ICLR 2021.
    ///
    /// # Errors
    /// [`RuleError::Number`] for a distance that is not finite.
    pub fn sharpness_aware(rho: f64) -> Result<Self, RuleError> {
        let instructions = vec![
            Instruction::Gradient { into: G[0] },
            Instruction::Ascend { along: G[0], rho },
            Instruction::Gradient { into: G[0] },
            Instruction::Update { along: G[0] },
        ];
        Self::new("sharpness-aware", instructions)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its instructions in order.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    fn check(&self) -> Result<(), RuleError> {
        let last = self.instructions.len().saturating_sub(1);
        for (index, instruction) in self.instructions.iter().enumerate() {
            if matches!(instruction, Instruction::Update { .. }) != (index == last) {
                return Err(RuleError::Update { line: index + 1 });
            }
            self.check_gradients(index, *instruction)?;
            let next = self.instructions[index + 1..].iter().find(|later| later.moves() || later.looks());
            if instruction.moves() && !next.is_some_and(|later| later.looks()) {
                return Err(RuleError::Unseen { line: index + 1 });
            }
            if *instruction == Instruction::Loss && self.instructions[..index].contains(&Instruction::Loss) {
                return Err(RuleError::Losses { line: index + 1 });
            }
            check_numbers(index + 1, *instruction)?;
        }
        if self.instructions.is_empty() { Err(RuleError::Update { line: 1 }) } else { Ok(()) }
    }

    fn check_gradients(&self, index: usize, instruction: Instruction) -> Result<(), RuleError> {
        let line = index + 1;
        let written = |buffer: &Gradients| self.instructions[..index].iter().any(|done| done.writes() == Some(*buffer));
        if let Some(buffer) = instruction.reads().find(|buffer| !written(buffer)) {
            return Err(RuleError::Unwritten { line, buffer });
        }
        if let Instruction::Combine { into, other, .. } = instruction
            && into == other
        {
            return Err(RuleError::Same { line, buffer: into });
        }
        match instruction.writes() {
            Some(buffer) if !is_read(&self.instructions[index + 1..], buffer) => {
                Err(RuleError::Unread { line, buffer })
            }
            _ => Ok(()),
        }
    }
}

/// Whether what a gradient's buffer holds is read before it is written anew.
pub(super) fn is_read(rest: &[Instruction], buffer: Gradients) -> bool {
    for instruction in rest {
        if instruction.reads().any(|read| read == buffer) {
            return true;
        }
        if instruction.writes() == Some(buffer) {
            return false;
        }
    }
    false
}

fn check_numbers(line: usize, instruction: Instruction) -> Result<(), RuleError> {
    let (numbers, nonzero) = match instruction {
        Instruction::Perturb { draw } => (vec![("the factor of the noise", draw.factor)], true),
        Instruction::Ascend { rho, .. } => (vec![("rho", rho)], false),
        Instruction::Combine { keep, add, .. } => {
            (vec![("the factor of what is kept", keep), ("the factor of what is added", add)], false)
        }
        _ => return Ok(()),
    };
    let wrong = |value: f64| !value.is_finite() || (nonzero && value == 0.0);
    match numbers.into_iter().find(|(_, value)| wrong(*value)) {
        Some((name, value)) => Err(RuleError::Number { line, name, value: value.to_string(), nonzero }),
        None => Ok(()),
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.name)?;
        for (index, instruction) in self.instructions.iter().enumerate() {
            write!(f, "\n  {} {instruction}", index + 1)?;
        }
        Ok(())
    }
}
