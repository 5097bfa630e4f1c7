//! Norms in f64: one reference for batch, group, layer and RMS norm, which differ in who is normalised with whom.

use super::ROUNDOFF;

/// Which elements are normalised together, and which weight and bias they take.
pub struct Norm {
    /// The set of each element: its mean and biased variance are the set's.
    pub sets: Vec<usize>,
    /// The weight and bias of each element.
    pub params: Vec<usize>,
    pub eps: f64,
    /// Whether means are taken for 0, as RMS norm does.
    pub about_zero: bool,
}

/// Gradients of sum(upstream * output), or bounds of their errors.
pub struct NormGradients {
    pub x: Vec<f64>,
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
}

#[derive(Clone, Copy, Default)]
pub struct Moments {
    pub count: f64,
    pub mean: f64,
    /// Biased.
    pub var: f64,
    pub largest: f64,
}

impl Norm {
    pub fn moments(&self, x: &[f64]) -> Vec<Moments> {
        let mut moments = vec![Moments::default(); self.sets.iter().max().map_or(0, |set| set + 1)];
        for (x, set) in x.iter().zip(&self.sets) {
            let moments = &mut moments[*set];
            moments.count += 1.0;
            if !self.about_zero {
                moments.mean += (x - moments.mean) / moments.count;
            }
            moments.largest = moments.largest.max(x.abs());
        }
        for (x, set) in x.iter().zip(&self.sets) {
            let moments = &mut moments[*set];
            moments.var += (x - moments.mean).powi(2) / moments.count;
        }
        moments
    }

    fn inv_std(&self, moments: &Moments) -> f64 {
        1.0 / (moments.var + self.eps).sqrt()
    }

    pub fn normalised(&self, x: &[f64]) -> Vec<f64> {
        let moments = self.moments(x);
        let one = |(x, set): (&f64, &usize)| (x - moments[*set].mean) * self.inv_std(&moments[*set]);
        x.iter().zip(&self.sets).map(one).collect()
    }

    pub fn forward(&self, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let xhat = self.normalised(x);
        xhat.iter().zip(&self.params).map(|(xhat, param)| xhat * weight[*param] + bias[*param]).collect()
    }

    /// x: `inv_std (w g - mean(w g) - xhat mean(w g xhat))`; with `sign` 1 the same sum of magnitudes.
    fn pulled_back(&self, x: &[f64], xhat: &[f64], weight: &[f64], upstream: &[f64], sign: f64) -> NormGradients {
        let moments = self.moments(x);
        let mut means = vec![[0.0; 2]; moments.len()];
        let [mut grad_weight, mut grad_bias] = [(); 2].map(|()| vec![0.0; weight.len()]);
        for i in 0..x.len() {
            let (set, param) = (self.sets[i], self.params[i]);
            grad_weight[param] += upstream[i] * xhat[i];
            grad_bias[param] += upstream[i];
            let share = upstream[i] * weight[param] / moments[set].count;
            if !self.about_zero {
                means[set][0] += share;
            }
            means[set][1] += share * xhat[i];
        }
        let grad_x = |i: usize| {
            let (set, param) = (self.sets[i], self.params[i]);
            let along = means[set][0] + xhat[i] * means[set][1];
            self.inv_std(&moments[set]) * (upstream[i] * weight[param] + sign * along)
        };
        NormGradients { x: (0..x.len()).map(grad_x).collect(), weight: grad_weight, bias: grad_bias }
    }

    pub fn backward(&self, x: &[f64], weight: &[f64], upstream: &[f64]) -> NormGradients {
        self.pulled_back(x, &self.normalised(x), weight, upstream, -1.0)
    }

    /// How far an f32 kernel's xhat may be from the truth, relative to 1 + |xhat|, if its sums are `depth` additions deep.
    ///
    /// A mean is then off by `depth` roundings of the largest element, in units of the standard deviation; so is every
    /// xhat, and to first order the variance, taken about that mean, by twice as much.
    pub fn errors(&self, x: &[f64], depth: f64) -> Vec<f64> {
        let error = |moments: &Moments| 2.0 * ROUNDOFF * depth * (1.0 + moments.largest * self.inv_std(moments));
        let errors: Vec<f64> = self.moments(x).iter().map(error).collect();
        self.sets.iter().map(|set| errors[*set]).collect()
    }

    pub fn magnitudes(&self, x: &[f64]) -> Vec<f64> {
        self.normalised(x).iter().map(|xhat| 1.0 + xhat.abs()).collect()
    }

    /// Bounds of the errors of an f32 kernel's output.
    pub fn forward_bounds(&self, x: &[f64], weight: &[f64], bias: &[f64], depth: f64) -> Vec<f64> {
        let (errors, xhat) = (self.errors(x, depth), self.magnitudes(x));
        let bound = |i: usize| errors[i] * (xhat[i] * weight[self.params[i]].abs() + bias[self.params[i]].abs());
        (0..x.len()).map(bound).collect()
    }

    /// Bounds of the errors of an f32 kernel's gradients: each term's error is that of its xhat, and where an activation
    /// is undone by what it saved, once more that.
    pub fn backward_bounds(&self, x: &[f64], weight: &[f64], upstream: &[f64], depth: f64) -> NormGradients {
        let (errors, xhat) = (self.errors(x, depth), self.magnitudes(x));
        let upstream: Vec<f64> = (0..x.len()).map(|i| 2.0 * errors[i] * upstream[i].abs() * xhat[i]).collect();
        let weight: Vec<f64> = weight.iter().map(|w| w.abs()).collect();
        self.pulled_back(x, &xhat, &weight, &upstream, 1.0)
    }
}
