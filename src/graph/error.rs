//! What can be wrong with a graph.

/// A graph that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two values that have to be of one shape are not.
    #[error("{operation}: left has {left}, right has {right}")]
    Features {
        /// What was being added to the graph.
        operation: String,
        /// Shape of the left value.
        left: String,
        /// Shape of the right value.
        right: String,
    },
    /// An operation that cannot take this input.
    #[error("{operation} cannot take {input}: {reason}")]
    Shape {
        /// What was being added to the graph.
        operation: String,
        /// What it was given.
        input: String,
        /// Why not.
        reason: String,
    },
    /// A width of 0.
    #[error("{operation}: a width of 0 features")]
    Empty {
        /// What was being added to the graph.
        operation: String,
    },
    /// A value or parameter of more elements than the kernels can index.
    #[error("{operation}: {shape} has more than {} elements", u32::MAX)]
    TooLarge {
        /// What was being added to the graph.
        operation: String,
        /// Its shape.
        shape: String,
    },
    /// A parameter's name is taken.
    #[error("two parameters are called {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// No parameter has this name.
    #[error("no parameter is called {name:?}")]
    Param {
        /// The name.
        name: String,
    },
    /// Rows that are no multiple of the projections that a parameter is to pack.
    #[error("{name}: {rows} rows cannot be parted into {parts} equal projections")]
    Projections {
        /// The parameter's name.
        name: String,
        /// Its rows.
        rows: usize,
        /// Projections.
        parts: usize,
    },
    /// A call that the derivative of a batch has no rule for.
    #[error("no derivative is known of the call {call:?}")]
    NoDerivative {
        /// The call's name.
        call: String,
    },
    /// No operation at all, or no parameters to train.
    #[error("the model has no layers")]
    NoLayers,
    /// A batch of 0.
    #[error("a batch needs at least one sample")]
    NoBatch,
}

impl GraphError {
    /// That a tangent rule cannot take a call of this name.
    #[must_use]
    pub fn no_derivative(call: &str) -> Self {
        Self::NoDerivative { call: call.to_owned() }
    }
}
