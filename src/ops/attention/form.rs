//! Which form of attention for which adapter and shape.

use crate::kernels::{AdapterClass, Target};

use super::{flash::Flash, shape::AttentionShape};

/// What an attention computes by: the results differ by roundings alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionForm {
    /// Batched products and a softmax over scores in memory, which grows with the square of the length.
    Materialised,
    /// Tiles of scores, made again wherever they are needed: memory grows with the length.
    Linear,
}

/// How the form is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FormChoice {
    /// By a table for adapters of a class.
    Suited(AdapterClass),
    /// This one.
    Only(AttentionForm),
}

impl Default for FormChoice {
    fn default() -> Self {
        Self::Suited(Target::GENERIC.class)
    }
}

/// Scores of a batch that are kept in memory at most: 128 MiB, what WebGPU lets every adapter bind.
const MOST_SCORES: usize = 1 << 25;

/// Positions up to which scores are kept in memory, where they are not too many.
fn longest_materialised(class: AdapterClass) -> usize {
    match class {
        // Not measured: by what is published of other engines dense attention is ahead to about so many.
        AdapterClass::Gpu(_) => 256,
        // The linear form's tiles lie in workgroup memory, which llvmpipe reads an element of a lane at a time: 0.5 GFLOP/s.
        AdapterClass::Software(_) => 1024,
    }
}

impl FormChoice {
    /// The form for a batch.
    #[must_use]
    pub fn form(self, shape: &AttentionShape) -> AttentionForm {
        let class = match self {
            Self::Only(form) => return form,
            Self::Suited(class) => class,
        };
        let wants_linear = shape.length > longest_materialised(class) || shape.scores() > MOST_SCORES;
        let takes = Flash { shape: *shape, dropout: None }.check(class).is_ok();
        if wants_linear && takes { AttentionForm::Linear } else { AttentionForm::Materialised }
    }
}
