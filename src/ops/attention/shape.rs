//! How attention sees its input: its checks, and how many elements there are of everything.

use crate::{
    gpu::GpuError,
    graph::{GraphError, Inputs, ValueShape},
    kernels::index_u32,
};

/// Attention over a batch of sequences.
///
/// The packed input is [batch, length, 3 C] with C = heads head_dim: the queries of a vector, then its keys, then its values, the
/// heads one after the other in each. The output is [batch, length, C]. Scores and probabilities are
/// [batch, heads, length of queries, length of keys].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionShape {
    /// Samples.
    pub batch: usize,
    /// Vectors of a sample, T.
    pub length: usize,
    /// Heads.
    pub heads: usize,
    /// Elements of a query, a key and a value of one head, d.
    pub head_dim: usize,
    /// Whether a query sees its own position and those before it alone.
    pub causal: bool,
}

/// Elements of a packed vector for each channel of the output: a query's, a key's and a value's.
pub(super) const PARTS: usize = 3;

impl AttentionShape {
    /// # Errors
    /// [`GpuError::Shape`] for an empty side, or a packed input past 2^32 elements.
    pub fn new([batch, length, heads, head_dim]: [usize; 4], causal: bool) -> Result<Self, GpuError> {
        let kernel = "attention";
        if [batch, length, heads, head_dim].contains(&0) {
            let shape = format!("{batch} x {length}, {heads} heads of {head_dim}");
            return Err(GpuError::Shape { kernel, shape, reason: "a side is empty" });
        }
        index_u32(kernel, &[batch, length, PARTS, heads, head_dim])?;
        Ok(Self { batch, length, heads, head_dim, causal })
    }

    /// Channels of the output, C.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Channels of the packed input.
    #[must_use]
    pub fn packed_channels(&self) -> usize {
        PARTS * self.channels()
    }

    /// Elements of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.batch * self.length * self.channels()
    }

    /// Elements of the packed input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        PARTS * self.outputs()
    }

    /// Heads of all samples.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.batch * self.heads
    }

    /// Queries of all heads: rows of the scores.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sequences() * self.length
    }

    /// Elements of the scores, those that are masked included. Dropout knows the probability of query i and key j in head h of
    /// sample n as element ((n heads + h) length + i) length + j.
    #[must_use]
    pub fn scores(&self) -> usize {
        self.rows() * self.length
    }

    /// Fails unless the scores can be kept in memory, where shaders index them by u32; in the form that is linear in the length only
    /// dropout numbers them, and its masks come again.
    ///
    /// # Errors
    /// [`GpuError::Shape`] past 2^32 elements.
    pub(super) fn expect_scores(&self, kernel: &'static str) -> Result<(), GpuError> {
        index_u32(kernel, &[self.rows(), self.length]).map(|_| ())
    }

    /// Scores that are not masked.
    #[must_use]
    pub fn seen(&self) -> usize {
        let of_head = if self.causal { self.length * (self.length + 1) / 2 } else { self.length * self.length };
        self.sequences() * of_head
    }

    /// What queries are multiplied by keys with: 1 / sqrt(d).
    #[must_use]
    pub fn scale(&self) -> f32 {
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }
}

/// Length of the sequence that an attention of so many heads takes, and the elements of a head.
///
/// # Errors
/// [`GraphError::Shape`] for what is no sequence of packed queries, keys and values of so many heads.
pub(super) fn packed(inputs: &Inputs<'_>, heads: usize) -> Result<[usize; 2], GraphError> {
    let ValueShape::Sequence { length, features } = inputs.first() else {
        return Err(inputs.refusal("it needs a sequence of queries, keys and values"));
    };
    if !features.is_multiple_of(PARTS) {
        return Err(inputs.refusal(format!("{features} features are no queries, keys and values of one width")));
    }
    let channels = features / PARTS;
    if heads == 0 || !channels.is_multiple_of(heads) {
        return Err(inputs.refusal(format!("{heads} heads do not divide {channels} channels")));
    }
    Ok([length, channels / heads])
}
