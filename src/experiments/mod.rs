//! The paper's experiments: what noisy gradient descent should reach, and what it does reach.

pub mod convex;
mod diagonal;

pub use diagonal::{DiagonalConfig, DiagonalRuns};
