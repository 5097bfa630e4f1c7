//! Sums of two values: residual connections.
//!
//! ```text
//! output[i] = left[i] + right[i]
//! ```

use std::sync::Arc;

use crate::{
    graph::{
        Backward, Forward, Fusion, Graph, GraphError, Inputs, Op, ParamId, ParamSpec, Saved, StatId, ValueId,
        ValueShape,
    },
    kernels::Elementwise,
};

use super::elementwise::ElementwiseStep;

/// left + right
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        "add".to_owned()
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        match inputs.shapes {
            [left, right] if left == right => Ok(*left),
            [left, right] => Err(GraphError::Features {
                operation: inputs.operation.to_owned(),
                left: left.to_string(),
                right: right.to_string(),
            }),
            _ => Err(inputs.refusal("it needs two values")),
        }
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn fusion(&self) -> Fusion {
        Fusion::Sum
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let operands = [pass.input(0), pass.output(), pass.input(1)];
        pass.push("add forward", Arc::new(ElementwiseStep(Elementwise::Add)), operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        for place in [0, 1] {
            if let Some(result) = pass.hand_on_gradient(place) {
                pass.push("gradient", Arc::new(ElementwiseStep(Elementwise::Copy)), [pass.gradient(), result]);
            }
        }
        Ok(())
    }
}

impl Graph {
    /// Adds a sum of two values, a residual connection.
    ///
    /// # Errors
    /// [`GraphError::Features`] if they differ in shape.
    pub fn add(&mut self, left: ValueId, right: ValueId) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Add), "", &[left, right])
    }
}
