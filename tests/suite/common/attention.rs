//! Multi-head attention in f64, written out by hand: it shares nothing with `src/` or `shaders/` but the layout.

/// Attention over packed queries, keys and values [batch, length, 3, heads, head_dim].
#[derive(Clone)]
pub struct Attention {
    pub batch: usize,
    pub length: usize,
    pub heads: usize,
    pub head_dim: usize,
    pub causal: bool,
    /// What each probability [batch, heads, length, length] is multiplied by, where dropout does.
    pub mask: Option<Vec<f64>>,
}

impl Attention {
    pub fn channels(&self) -> usize {
        self.heads * self.head_dim
    }

    pub fn scores_len(&self) -> usize {
        self.batch * self.heads * self.length * self.length
    }

    pub fn output_len(&self) -> usize {
        self.batch * self.length * self.channels()
    }

    pub fn scale(&self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }

    /// Whether query i sees key j.
    pub fn sees(&self, i: usize, j: usize) -> bool {
        !self.causal || j <= i
    }

    /// Every (sample, head).
    pub fn heads_of_samples(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let heads = self.heads;
        (0..self.batch * heads).map(move |n| [n / heads, n % heads])
    }

    /// Place of a score.
    pub fn score(&self, [n, h]: [usize; 2], i: usize, j: usize) -> usize {
        ((n * self.heads + h) * self.length + i) * self.length + j
    }

    /// Place of element `e` of a head's output at position `t`.
    pub fn output(&self, [n, h]: [usize; 2], t: usize, e: usize) -> usize {
        (n * self.length + t) * self.channels() + h * self.head_dim + e
    }

    /// The same of the query (part 0), key (1) or value (2).
    pub fn packed(&self, part: usize, [n, h]: [usize; 2], t: usize, e: usize) -> usize {
        (n * self.length + t) * 3 * self.channels() + part * self.channels() + h * self.head_dim + e
    }

    fn dot(&self, f: impl Fn(usize) -> f64) -> f64 {
        (0..self.head_dim).map(f).sum()
    }

    fn factor(&self, place: usize) -> f64 {
        self.mask.as_ref().map_or(1.0, |mask| mask[place])
    }

    /// Before dropout; those of masked keys are 0.
    pub fn probabilities(&self, packed: &[f64]) -> Vec<f64> {
        let mut probabilities = vec![0.0; self.scores_len()];
        for head in self.heads_of_samples() {
            for i in 0..self.length {
                let score = |j: usize| {
                    let product = |e| packed[self.packed(0, head, i, e)] * packed[self.packed(1, head, j, e)];
                    self.scale() * self.dot(product)
                };
                let seen: Vec<usize> = (0..self.length).filter(|j| self.sees(i, *j)).collect();
                let row: Vec<f64> = seen.iter().map(|j| score(*j)).collect();
                for (j, p) in seen.iter().zip(super::reference::softmax(&row)) {
                    probabilities[self.score(head, i, *j)] = p;
                }
            }
        }
        probabilities
    }

    pub fn forward(&self, packed: &[f64]) -> Vec<f64> {
        let probabilities = self.probabilities(packed);
        let mut output = vec![0.0; self.output_len()];
        for head in self.heads_of_samples() {
            for i in 0..self.length {
                for j in 0..self.length {
                    let place = self.score(head, i, j);
                    let p = probabilities[place] * self.factor(place);
                    for e in 0..self.head_dim {
                        output[self.output(head, i, e)] += p * packed[self.packed(2, head, j, e)];
                    }
                }
            }
        }
        output
    }

    /// The gradient of sum(grad * output).
    pub fn backward(&self, packed: &[f64], grad: &[f64]) -> Vec<f64> {
        let probabilities = self.probabilities(packed);
        let mut result = vec![0.0; packed.len()];
        for head in self.heads_of_samples() {
            for i in 0..self.length {
                let upstream = |j: usize| {
                    let product = |e| grad[self.output(head, i, e)] * packed[self.packed(2, head, j, e)];
                    self.factor(self.score(head, i, j)) * self.dot(product)
                };
                let mean: f64 = (0..self.length).map(|j| probabilities[self.score(head, i, j)] * upstream(j)).sum();
                for j in 0..self.length {
                    let place = self.score(head, i, j);
                    let p = probabilities[place];
                    let score = self.scale() * p * (upstream(j) - mean);
                    for e in 0..self.head_dim {
                        let [q, k, v] = [(0, i), (1, j), (2, j)].map(|(part, t)| self.packed(part, head, t, e));
                        result[q] += score * packed[k];
                        result[k] += score * packed[q];
                        result[v] += p * self.factor(place) * grad[self.output(head, i, e)];
                    }
                }
            }
        }
        result
    }
}
