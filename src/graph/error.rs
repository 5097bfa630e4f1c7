//! What can be wrong with a graph.

/// A graph that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two values that have to be of one width are not.
    #[error("{operation}: left has {left} features, right has {right}")]
    Features {
        /// What was being added to the graph.
        operation: String,
        /// Features of the left value.
        left: usize,
        /// Features of the right value.
        right: usize,
    },
    /// A width of 0.
    #[error("{operation}: a width of 0 features")]
    Empty {
        /// What was being added to the graph.
        operation: String,
    },
    /// A parameter's name is taken.
    #[error("two parameters are called {name:?}")]
    Name {
        /// The name.
        name: String,
    },
    /// No operation at all, or no parameters to train.
    #[error("the model has no layers")]
    NoLayers,
    /// A batch of 0.
    #[error("a batch needs at least one sample")]
    NoBatch,
}
