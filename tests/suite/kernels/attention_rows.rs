//! Softmax of attention's scores, its derivative and the tangent of that against f64, within their own roundings.

use super::attention::{Case, cases};
use crate::common::{
    ROUNDOFF, assert_within, classes, device, guarded, poisoned, poisoned_as, rounding, run, samples, stored,
};
use jostle::{
    gpu::Element,
    ops::{attention_softmax, attention_softmax_curvature, attention_softmax_gradient},
};

impl Case {
    /// f of each row, its seen elements' places.
    fn by_row(&self, mut f: impl FnMut(&[usize])) {
        for row in 0..self.shape.rows() {
            let start = row * self.shape.length;
            let seen: Vec<usize> = (start..start + self.shape.length).filter(|place| self.is_seen(*place)).collect();
            f(&seen);
        }
    }

    pub(super) fn check_softmax(&self) {
        let (gpu, count, length) = (device(), self.shape.scores(), self.shape.length as f64);
        // Masked scores are anything: here what would be the largest by far.
        let mut scores = samples(4, count, 8.0);
        (0..count).filter(|place| !self.is_seen(*place)).for_each(|place| scores[place] = 1e9);
        let (mut expected, mut bounds) = (vec![0.0; count], vec![0.0; count]);
        self.by_row(|seen| {
            let largest = seen.iter().map(|place| f64::from(scores[*place])).fold(f64::MIN, f64::max);
            let weight = |place: &usize| (f64::from(scores[*place]) - largest).exp();
            let sum: f64 = seen.iter().map(weight).sum();
            for place in seen {
                let distance = largest - f64::from(scores[*place]);
                expected[*place] = weight(place) / sum;
                // The argument's rounding, a handful of the exponential's, and those of a sum of the row's terms.
                bounds[*place] = expected[*place] * ROUNDOFF * (16.0 + 2.0 * distance + length)
                    + rounding(self.element, expected[*place]);
            }
        });
        let (scores, found) = (guarded(gpu, &scores), poisoned_as(gpu, count, self.element));
        run(gpu, &[attention_softmax(gpu, self.class, &self.shape, [&scores.view, &found.view]).unwrap()]);
        assert_within(&self.name("softmax"), &found.read(gpu), &expected, &bounds);
    }

    pub(super) fn check_softmax_gradient(&self) {
        let (gpu, count) = (device(), self.shape.scores());
        let probabilities = stored(self.element, &samples(5, count, 1.0));
        let mut upstream = samples(6, count, 1.0);
        (0..count).filter(|place| !self.is_seen(*place)).for_each(|place| upstream[place] = f32::NAN);
        let (mut expected, mut bounds) = (vec![0.0; count], vec![0.0; count]);
        self.by_row(|seen| {
            let product = |place: &usize| f64::from(probabilities[*place]) * f64::from(upstream[*place]);
            let [mean, size]: [f64; 2] =
                [seen.iter().map(product).sum(), seen.iter().map(|place| product(place).abs()).sum()];
            for place in seen {
                let [p, g] = [probabilities[*place], upstream[*place]].map(f64::from);
                expected[*place] = p * (g - mean);
                bounds[*place] = ROUNDOFF * (seen.len() as f64 + 4.0) * p.abs() * (g.abs() + size)
                    + rounding(self.element, expected[*place]);
            }
        });
        let (p, g, found) =
            (self.upload(&probabilities), guarded(gpu, &upstream), poisoned_as(gpu, count, self.element));
        let views = [&p.view, &g.view, &found.view];
        run(gpu, &[attention_softmax_gradient(gpu, self.class, &self.shape, views).unwrap()]);
        assert_within(&self.name("softmax gradient"), &found.read(gpu), &expected, &bounds);
    }

    /// The tangent of the gradient, against central differences of that in f64.
    pub(super) fn check_softmax_curvature(&self) {
        const STEP: f64 = 1e-4;
        let (gpu, count) = (device(), self.shape.scores());
        let [p, g, p_tangent, g_tangent] = [5, 6, 7, 8].map(|seed| {
            let mut values = samples(seed, count, 1.0);
            (0..count).filter(|place| !self.is_seen(*place)).for_each(|place| values[place] = f32::NAN);
            values
        });
        let (mut expected, mut bounds) = (vec![0.0; count], vec![0.0; count]);
        self.by_row(|seen| {
            let at = |step: f64| {
                let moved = |from: &[f32], by: &[f32]| -> Vec<f64> {
                    seen.iter().map(|place| f64::from(from[*place]) + step * f64::from(by[*place])).collect()
                };
                let (p, g) = (moved(&p, &p_tangent), moved(&g, &g_tangent));
                let mean: f64 = p.iter().zip(&g).map(|(p, g)| p * g).sum();
                p.iter().zip(&g).map(|(p, g)| p * (g - mean)).collect::<Vec<f64>>()
            };
            for ((place, ahead), behind) in seen.iter().zip(at(STEP)).zip(at(-STEP)) {
                expected[*place] = (ahead - behind) / (2.0 * STEP);
                // Truncation: a cubic in the step, whose third derivative is at most 6 times the row's length. Roundings: every
                // factor is at most 1, and a row's sums have so many terms.
                let length = seen.len() as f64;
                bounds[*place] =
                    STEP * STEP * length + 1e-11 * length + ROUNDOFF * (length + 8.0) * (2.0 + 3.0 * length);
            }
        });
        let found = poisoned(gpu, count);
        let inputs = [&p, &g, &p_tangent, &g_tangent].map(|values| guarded(gpu, values));
        let [p, g, p_tangent, g_tangent] = inputs.each_ref().map(|input| &input.view);
        let views = [p, g, p_tangent, g_tangent, &found.view];
        run(gpu, &[attention_softmax_curvature(gpu, self.class, &self.shape, views).unwrap()]);
        assert_within(&self.name("softmax curvature"), &found.read(gpu), &expected, &bounds);
    }
}

#[test]
fn softmax_and_its_derivatives_agree_with_f64() {
    for case in cases() {
        case.check_softmax();
        case.check_softmax_gradient();
        if case.element == Element::Word {
            case.check_softmax_curvature();
        }
    }
}

/// A row that holds a NaN among what a query sees has to show it; a masked one must not.
#[test]
fn what_is_no_number_shows() {
    let gpu = device();
    for class in classes() {
        for at in [0, 3, 6] {
            let case = Case::new([1, 8, 1, 4], true, class, Element::Word);
            let mut scores = samples(4, 64, 1.0);
            (0..8).for_each(|row| scores[row * 8 + at] = f32::NAN);
            let (scores, found) = (guarded(gpu, &scores), poisoned(gpu, 64));
            run(gpu, &[attention_softmax(gpu, class, &case.shape, [&scores.view, &found.view]).unwrap()]);
            for (row, values) in found.read(gpu).chunks(8).enumerate() {
                let seen = &values[..=row];
                assert!(if row >= at { seen.iter().all(|x| x.is_nan()) } else { seen.iter().all(|x| x.is_finite()) });
                assert!(values[row + 1..].iter().all(|x| *x == 0.0));
            }
        }
    }
}
