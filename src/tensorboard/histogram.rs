//! How values spread.

/// Buckets of one width between the least and the largest value: as many as TensorBoard's own `summary.histogram` makes.
const BUCKETS: usize = 30;

/// How the finite ones of some values spread.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) sum_squares: f64,
    /// The upper end of each bucket.
    pub(super) limits: Vec<f64>,
    /// Values in each.
    pub(super) counts: Vec<f64>,
}

impl Histogram {
    /// Of values, those left out that are not finite; `None` where none is left.
    pub(crate) fn new(values: &[f32]) -> Option<Self> {
        let finite = || values.iter().map(|value| f64::from(*value)).filter(|value| value.is_finite());
        let count = finite().count();
        if count == 0 {
            return None;
        }
        let (min, max) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        // Equal values have one bucket, which is as wide as they are apart.
        let buckets = if min < max { BUCKETS } else { 1 };
        let width = (max - min) / buckets as f64;
        let mut counts = vec![0.0; buckets];
        for value in finite() {
            // 0 / 0 is bucket 0.
            let bucket = ((value - min) / width) as usize;
            counts[bucket.min(buckets - 1)] += 1.0;
        }
        let end = |bucket: usize| if bucket == buckets { max } else { min + width * bucket as f64 };
        Some(Self {
            min,
            max,
            count: count as f64,
            sum: finite().sum(),
            sum_squares: finite().map(|value| value * value).sum(),
            limits: (1..=buckets).map(end).collect(),
            counts,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_in_one_bucket() {
        let values: Vec<f32> = (0..=60).map(|i| i as f32).chain([f32::NAN, f32::INFINITY, -f32::INFINITY]).collect();
        let histogram = Histogram::new(&values).unwrap();
        assert_eq!((histogram.min, histogram.max, histogram.count), (0.0, 60.0, 61.0));
        assert_eq!((histogram.sum, histogram.sum_squares), (1830.0, 73_810.0));
        assert_eq!(histogram.limits, (1..=30).map(|i| f64::from(2 * i)).collect::<Vec<_>>());
        // The largest value is in the last bucket, not after it.
        assert_eq!(histogram.counts, [vec![2.0; 29], vec![3.0]].concat());
    }

    #[test]
    fn equal_values_are_one_bucket_and_none_are_no_histogram() {
        let histogram = Histogram::new(&[0.5; 7]).unwrap();
        assert_eq!((histogram.limits, histogram.counts), (vec![0.5], vec![7.0]));
        assert_eq!(Histogram::new(&[f32::NAN]), None);
        assert_eq!(Histogram::new(&[]), None);
        let extremes = Histogram::new(&[f32::MIN, f32::MAX]).unwrap();
        assert_eq!((extremes.counts[0], extremes.counts[29]), (1.0, 1.0));
    }
}
