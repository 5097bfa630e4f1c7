//! What is wrong with a program.

use super::Gradients;

/// Why a list of instructions is no program. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// There is no update, or something follows it.
    #[error("a step ends with its one update, line {line} does not fit")]
    Update {
        /// The line that is no update where one has to be, or one where none may be.
        line: usize,
    },
    /// A gradient is read before anything was written to it.
    #[error("line {line} reads {buffer}, which nothing has written in this step")]
    Unwritten {
        /// The line that reads.
        line: usize,
        /// What it reads.
        buffer: Gradients,
    },
    /// A gradient is written and nothing reads it.
    #[error("line {line} writes {buffer}, which nothing reads")]
    Unread {
        /// The line that writes.
        line: usize,
        /// What it writes.
        buffer: Gradients,
    },
    /// The effective weights are moved and nothing looks at the network there.
    #[error("line {line} moves the effective weights, and neither a gradient nor the loss is taken there")]
    Unseen {
        /// The line that moves them.
        line: usize,
    },
    /// A second loss.
    #[error("line {line} tells the step's loss a second time")]
    Losses {
        /// The line.
        line: usize,
    },
    /// Parts of different sizes, or one past the last.
    #[error("line {line} takes part {} of {found}, where there are {expected}", index + 1)]
    Part {
        /// The line.
        line: usize,
        /// Its number, from 0.
        index: u32,
        /// How many it says there are.
        found: u32,
        /// How many the first part says.
        expected: u32,
    },
    /// A combination of a gradient with itself.
    #[error("line {line} combines {buffer} with itself")]
    Same {
        /// The line.
        line: usize,
        /// The gradient.
        buffer: Gradients,
    },
    /// A number that is not finite, or a factor of noise that is 0.
    #[error("line {line}: {name} is {value}, expected a finite number{}", if *.nonzero { " other than 0" } else { "" })]
    Number {
        /// The line.
        line: usize,
        /// Which number.
        name: &'static str,
        /// The number as text.
        value: String,
        /// Whether 0 is none either.
        nonzero: bool,
    },
}
