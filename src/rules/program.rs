//! A step as a list of instructions.

use std::fmt;

use super::{Gradients, Instruction, RuleError, StatisticsPass};

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
    pub(super) name: String,
    pub(super) instructions: Vec<Instruction>,
    pub(super) statistics: StatisticsPass,
}

impl Program {
    /// Checks a list of instructions: a step ends with its one update; gradients are written before they are read, and read
    /// after they are written; wherever the effective weights are moved to, a gradient or the loss is taken.
    ///
    /// # Errors
    /// [`RuleError`] with the line that is wrong.
    pub fn new(name: impl Into<String>, instructions: Vec<Instruction>) -> Result<Self, RuleError> {
        let program = Self { name: name.into(), instructions, statistics: StatisticsPass::First };
        program.check()?;
        Ok(program)
    }

    /// The same, with running statistics of batch norms moved by other passes than the first. For
    /// [`StatisticsPass::Clean`] a program without a gradient at the clean weights has the loss there as well, in a pass of its own.
    #[must_use]
    pub fn with_statistics(mut self, statistics: StatisticsPass) -> Self {
        let is_clean = |instructions: &[Instruction]| {
            !instructions.iter().take_while(|instruction| !instruction.looks()).any(|instruction| instruction.moves())
        };
        if statistics == StatisticsPass::Clean && !is_clean(&self.instructions) {
            self.instructions.insert(0, Instruction::Loss);
        }
        Self { statistics, ..self }
    }

    /// Which passes move running statistics of batch norms.
    #[must_use]
    pub fn statistics(&self) -> StatisticsPass {
        self.statistics
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
            if instruction.ends() != (index == last) {
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
        self.check_parts()?;
        if self.instructions.is_empty() { Err(RuleError::Update { line: 1 }) } else { Ok(()) }
    }

    /// Parts are of one number, and each is one of them.
    fn check_parts(&self) -> Result<(), RuleError> {
        let parts = self.instructions.iter().enumerate().filter_map(|(index, instruction)| match instruction {
            Instruction::PartGradient { part, .. } => Some((index + 1, part)),
            _ => None,
        });
        let mut first = None;
        for (line, part) in parts {
            let expected = *first.get_or_insert(part.parts);
            if part.parts != expected || part.index >= part.parts {
                return Err(RuleError::Part { line, index: part.index, found: part.parts, expected });
            }
        }
        Ok(())
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
        Instruction::Ascend { rho, .. } | Instruction::LookAhead { rho } => (vec![("rho", rho)], false),
        Instruction::AscendAdaptively { rho, eta, .. } => (vec![("rho", rho), ("eta", eta)], false),
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
