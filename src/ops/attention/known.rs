//! Attention on the host in f64, with its gradient and the tangents of both: what kernels are tested against on a device.

use super::{bounded::Dual, shape::AttentionShape};

/// All that the kernels of the linear form make of a packed input and a gradient.
pub(super) struct Known {
    /// [batch, heads, length], L with mu
    pub(super) lse: Vec<Dual>,
    /// [batch, length, heads, d]
    pub(super) output: Vec<Dual>,
    /// [batch, heads, length], D
    pub(super) means: Vec<Dual>,
    /// [batch, length, 3, heads, d], the packed input's gradient
    pub(super) gradient: Vec<Dual>,
}

/// Where the vectors of one head lie.
struct Head {
    shape: AttentionShape,
    sample: usize,
    head: usize,
}

impl Head {
    fn output(&self, position: usize) -> usize {
        (self.sample * self.shape.length + position) * self.shape.channels() + self.head * self.shape.head_dim
    }

    /// Of queries (0), keys (1) or values (2).
    fn packed(&self, part: usize, position: usize) -> usize {
        let line = (self.sample * self.shape.length + position) * self.shape.packed_channels();
        line + part * self.shape.channels() + self.head * self.shape.head_dim
    }

    fn row(&self, position: usize) -> usize {
        (self.sample * self.shape.heads + self.head) * self.shape.length + position
    }
}

fn dot(a: &[Dual], b: &[Dual]) -> Dual {
    a.iter().zip(b).map(|(a, b)| *a * *b).sum()
}

fn add_scaled(sums: &mut [Dual], by: Dual, terms: &[Dual]) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += by * *term);
}

impl Known {
    /// Of a packed input and the gradient of the output; what dropout keeps, which is everything, it multiplies by `kept`.
    pub(super) fn new(shape: AttentionShape, kept: f64, qkv: &[Dual], grad: &[Dual]) -> Self {
        let zeros = |len| vec![Dual::default(); len];
        let mut known = Self {
            lse: zeros(shape.rows()),
            output: zeros(shape.outputs()),
            means: zeros(shape.rows()),
            gradient: zeros(shape.inputs()),
        };
        let heads = (0..shape.batch).flat_map(|sample| (0..shape.heads).map(move |head| (sample, head)));
        for (sample, head) in heads {
            let head = Head { shape, sample, head };
            for query in 0..shape.length {
                known.add_row(&head, query, Dual::exact(kept, 0.0), [qkv, grad]);
            }
        }
        known
    }

    /// The row of a query: its results, and what it adds to the gradients of keys and values.
    fn add_row(&mut self, head: &Head, query: usize, kept: Dual, [qkv, grad]: [&[Dual]; 2]) {
        let shape = &head.shape;
        let (size, scale) = (shape.head_dim, Dual::exact(f64::from(shape.scale()), 0.0));
        let part = |part, position| &qkv[head.packed(part, position)..][..size];
        let (queries, seen) = (part(0, query), if shape.causal { query + 1 } else { shape.length });
        let scores: Vec<Dual> = (0..seen).map(|key| scale * dot(queries, part(1, key))).collect();
        let most = scores.iter().map(|score| score.value.value).fold(f64::MIN, f64::max);
        let most = Dual::exact(most, 0.0);
        let lse = most + scores.iter().map(|score| (*score - most).exp()).sum::<Dual>().ln();
        self.lse[head.row(query)] = lse;
        let share = |score: Dual| (score - lse.stored()).exp();

        let (line, grad) = (head.output(query), &grad[head.output(query)..][..size]);
        for (key, score) in scores.iter().enumerate() {
            add_scaled(&mut self.output[line..][..size], kept * share(*score), part(2, key));
        }
        let output: Vec<Dual> = self.output[line..][..size].iter().map(|output| output.stored()).collect();
        let mean = dot(grad, &output);
        self.means[head.row(query)] = mean;
        for (key, score) in scores.iter().enumerate() {
            let probability = share(*score);
            let slope = probability * (kept * dot(grad, part(2, key)) - mean.stored());
            let mut add = |to, position, by, terms| {
                add_scaled(&mut self.gradient[head.packed(to, position)..][..size], by, terms)
            };
            add(0, query, scale * slope, part(1, key));
            add(1, key, scale * slope, queries);
            add(2, key, kept * probability, grad);
        }
    }
}
