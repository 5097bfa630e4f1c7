//! The attention layer that is measured, and the data that it is measured on.

use serde::{Deserialize, Serialize};

use crate::{
    data::{Dataset, SampleShape, Targets},
    experiments::ExperimentError,
    graph::{Graph, GraphError, ParamInit, ValueShape},
    nn::Model,
    noise::{Distribution, unit_noise},
    ops::{AttentionOptions, LinearOptions},
};

/// An attention layer without biases, whatever its width.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layer {
    /// Elements of a query and of a key of a head.
    pub(super) head_dim: usize,
    /// Tokens of a sequence.
    pub(super) length: usize,
    /// Sequences.
    pub(super) samples: usize,
    /// Outputs of a token, of which one is right.
    pub(super) vocabulary: usize,
}

/// The layer at a width, as far as two places. Both have their parameters in the same order, the first has the first of them.
pub(super) struct Models {
    /// [samples, length, 3 C]: queries, keys and values.
    pub(super) packed: Model,
    /// [samples, length, vocabulary], behind attention, projection and head.
    pub(super) whole: Model,
}

impl Layer {
    /// The layer at a width, each weight N(0, 1/C).
    ///
    /// # Errors
    /// Those of the graph.
    pub(super) fn models(&self, width: usize) -> Result<Models, GraphError> {
        let normal = ParamInit::Normal { std: (1.0 / width as f32).sqrt() };
        let linear = |graph: &mut Graph, input, name: &str, features: usize| {
            let output = graph.linear_with(input, name, LinearOptions { features, bias: false })?;
            graph.set_init(&format!("{name}.weight"), normal)?;
            Ok::<_, GraphError>(output)
        };
        let (mut graph, input) = Graph::with_input(ValueShape::Sequence { length: self.length, features: width })?;
        let packed = linear(&mut graph, input, "attn.qkv", 3 * width)?;
        graph.set_projections("attn.qkv.weight", &["q", "k", "v"])?;
        let model = |graph: &Graph| Model { description: format!("attention:{width}"), graph: graph.clone() };
        let packed_model = model(&graph);
        let options = AttentionOptions { heads: width / self.head_dim, causal: false, dropout: 0.0 };
        let attended = graph.attention(packed, options)?;
        let projected = linear(&mut graph, attended, "attn.proj", width)?;
        linear(&mut graph, projected, "head", self.vocabulary)?;
        Ok(Models { packed: packed_model, whole: model(&graph) })
    }

    /// Normal draws behind a layer norm: each token has mean 0 and squared norm C.
    ///
    /// # Errors
    /// Those of the data.
    pub(super) fn data(&self, width: usize, seed: u64) -> Result<Dataset, ExperimentError> {
        let tokens = self.samples * self.length;
        // Another seed than the noise's, or the first step's noise would be the data once more.
        let draw = |i| f64::from(unit_noise(Distribution::Gaussian, !seed, 0, 0, i));
        let mut values = Vec::with_capacity(tokens * width);
        for token in 0..tokens {
            let drawn: Vec<f64> = (0..width).map(|channel| draw(token * width + channel)).collect();
            let mean = drawn.iter().sum::<f64>() / width as f64;
            let variance = drawn.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / width as f64;
            values.extend(drawn.iter().map(|value| ((value - mean) / variance.sqrt()) as f32));
        }
        let Self { length, vocabulary, .. } = *self;
        let targets = Targets::Tokens {
            tokens: (0..tokens).map(|token| (token % vocabulary) as u32).collect(),
            length,
            vocabulary,
        };
        let shape = SampleShape { channels: 1, height: length, width };
        Ok(Dataset::from_arrays("normal tokens", values, targets, shape)?)
    }

    /// S = q k' / sqrt(d) of every head and every pair of tokens, from packed queries, keys and values of C channels each.
    pub(super) fn logits(&self, packed: &[f32], width: usize) -> Vec<f64> {
        let Self { head_dim, length, .. } = *self;
        let scale = 1.0 / (head_dim as f64).sqrt();
        let mut logits = Vec::with_capacity(packed.len() / 3 / head_dim * length);
        for sequence in packed.chunks_exact(length * 3 * width) {
            let part = |token: usize, first: usize| &sequence[token * 3 * width + first..][..head_dim];
            for head in (0..width).step_by(head_dim) {
                for (query, key) in (0..length).flat_map(|query| (0..length).map(move |key| (query, key))) {
                    let pairs = part(query, head).iter().zip(part(key, width + head));
                    logits.push(scale * pairs.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>());
                }
            }
        }
        logits
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const LAYER: Layer = Layer { head_dim: 2, length: 2, samples: 1, vocabulary: 3 };

    /// Two heads of two channels; queries (1, 2 | 3, 4) and (0, 1 | 1, 0), keys (5, 6 | 7, 8) and (1, 1 | 2, 2).
    #[test]
    fn logits_are_those_of_each_head() {
        let packed = [
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 9.0, 9.0, 9.0],
            [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 2.0, 2.0, 9.0, 9.0, 9.0, 9.0],
        ];
        let expected = [17.0, 3.0, 6.0, 1.0, 53.0, 14.0, 7.0, 2.0];
        let found = LAYER.logits(packed.as_flattened(), 4);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected / 2f64.sqrt()).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn tokens_are_normalised() {
        let data = Layer { samples: 3, ..LAYER }.data(64, 1).unwrap();
        let crate::data::Samples::F32(values) = &data.samples else { unreachable!("numbers") };
        assert_eq!(values.len(), 3 * 2 * 64);
        for token in values.chunks(64) {
            let [sum, squares] = [1, 2].map(|power| token.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>());
            assert!(sum.abs() < 1e-4 && (squares - 64.0).abs() < 1e-4, "{sum} {squares}");
        }
    }
}
