//! What a model gives and a loss takes.

use std::fmt;

use super::{GraphError, ValueShape};

/// The outputs that a loss compares with the targets: [batch, positions, width].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputShape {
    /// Samples.
    pub batch: usize,
    /// Rows of a sample: the length of a sequence, else 1.
    pub positions: usize,
    /// Width of a row: classes, or whatever there is to predict.
    pub width: usize,
}

impl OutputShape {
    /// Of a batch of values.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for images and tokens.
    pub(super) fn new(batch: usize, value: ValueShape) -> Result<Self, GraphError> {
        match value {
            ValueShape::Features(width) => Ok(Self { batch, positions: 1, width }),
            ValueShape::Sequence { length, features } => Ok(Self { batch, positions: length, width: features }),
            ValueShape::Image { .. } | ValueShape::Tokens { .. } => {
                let (operation, reason) =
                    ("the loss".to_owned(), "the model has to end in features, or in a sequence of them".to_owned());
                Err(GraphError::Shape { operation, input: value.to_string(), reason })
            }
        }
    }

    /// Rows of a batch.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch * self.positions
    }

    /// [batch, positions, width]
    #[must_use]
    pub fn sides(&self) -> [usize; 3] {
        [self.batch, self.positions, self.width]
    }
}

impl fmt::Display for OutputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.positions {
            1 => write!(f, "batch {}", self.batch),
            positions => write!(f, "batch {} x {positions} positions", self.batch),
        }
    }
}
