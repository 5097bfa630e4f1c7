//! Every pipeline that a training step takes on a GPU, as the compiler of AMD's GPUs makes it, on a machine without one: Mesa's
//! RADV opens "null hardware" where `RADV_FORCE_FAMILY` names a chip, compiles as for the real one, and says how many registers
//! a pipeline takes, what did not fit, and how many subgroups run side by side. Nothing runs.

pub mod baseline;
pub mod family;
pub mod pipelines;
pub mod radv;
pub mod report;
pub mod statistics;

#[cfg(test)]
mod tests;
