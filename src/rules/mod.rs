//! What a training step is, as data.
//!
//! A [`Program`] is a list of [`Instruction`]s: perturb, gradient, loss, ascend, combine, update. [`Compiled`] is what is recorded
//! of it: which gradients need a buffer of their own, and two peepholes, by which the update writes the noisy weights of the next
//! step in its own sweep, and the other side of a draw is a reflection. A [`Machine`] is a compiled program bound to the arenas of a
//! network; what the effective weights hold is a type, [`Effective`], and a step that needs them elsewhere puts them there. So
//! nobody has to know what comes after what, and a step is right after an evaluation, a resumption, or a change of the noise.

mod bound;
mod command;
mod compiled;
mod effective;
mod error;
mod family;
mod instruction;
mod kind;
mod machine;
mod mover;
mod nearby;
mod program;
mod rule;

pub use command::{Command, GradientSlot, Place};
pub use compiled::{Compiled, Pass, Phase, UpdateFusion};
pub use effective::Effective;
pub use error::RuleError;
pub use instruction::{Draw, Gradients, Instruction, Part, PartMean};
pub use kind::{RuleKind, StatisticsPass};
pub use machine::{Machine, Updates};
pub use mover::DescentConfig;
pub use program::Program;
pub use rule::Rule;
