//! The width from which on a mode is of no use: a place between two measured widths for each seed, and the median's interval.

use statrs::distribution::{Binomial, DiscreteCDF};

use crate::experiments::statistics::{CONFIDENCE, Estimate};

/// Where a width lies: above one that was measured, and not above another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// A width that is too narrow; 0 where none was measured.
    pub(super) above: f64,
    /// The narrowest measured one that is wide enough; infinite where none was.
    pub(super) at: f64,
}

/// From which of the widths on, in order, everything is `useless`.
pub(super) fn place(widths: &[usize], useless: impl Fn(usize) -> bool) -> Place {
    let first = widths.iter().rposition(|width| !useless(*width)).map_or(0, |last| last + 1);
    let width = |at: usize| widths.get(at).map(|width| *width as f64);
    let above = first.checked_sub(1).and_then(width).unwrap_or(0.0);
    Place { above, at: width(first).unwrap_or(f64::INFINITY) }
}

/// The median of some places, with the interval by order statistics whose confidence is at least [`CONFIDENCE`], from the
/// lower end of a place to the upper end of another; `None` for so few that there is none.
///
/// Of n independent values the median is below the k-th smallest, or above the k-th largest, with probability
/// 2 P(B < k), B binomial of n trials at 1/2, at most.
pub(super) fn median(places: &[Place]) -> Option<Estimate> {
    let n = places.len();
    let binomial = Binomial::new(0.5, n as u64).ok()?;
    let outside = |rank: usize| 2.0 * binomial.cdf(rank as u64);
    let rank = (0..n.div_ceil(2)).take_while(|rank| outside(*rank) <= 1.0 - CONFIDENCE).last()?;
    let (mut above, mut at): (Vec<f64>, Vec<f64>) = places.iter().map(|place| (place.above, place.at)).unzip();
    above.sort_by(f64::total_cmp);
    at.sort_by(f64::total_cmp);
    Some(Estimate { value: at[(n - 1) / 2], interval: [above[rank], at[n - 1 - rank]] })
}

/// The fewest values whose median has an interval.
pub(super) const LEAST: usize = 6;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn it_lies_above_the_last_width_that_is_of_use() {
        let widths = [64, 128, 256, 512];
        let place = |useless: &[usize]| place(&widths, |width| useless.contains(&width));
        assert_eq!(place(&[512]), Place { above: 256.0, at: 512.0 });
        assert_eq!(place(&[128, 512]), Place { above: 256.0, at: 512.0 }, "128 is an exception: 256 is of use");
        assert_eq!(place(&[64, 128, 256, 512]), Place { above: 0.0, at: 64.0 });
        assert_eq!(place(&[64]), Place { above: 512.0, at: f64::INFINITY });
        assert_eq!(super::place(&[], |_| true), Place { above: 0.0, at: f64::INFINITY });
    }

    /// Ranks as in David and Nagaraja, Order Statistics, table 7.1: 6 to 8 values have the extremes, 9 to 11 the second ones.
    #[test]
    fn the_interval_has_the_confidence_of_its_ranks() {
        let places = |n: usize| -> Vec<Place> {
            (1..=n).map(|at| Place { above: at as f64 - 0.5, at: at as f64 }).rev().collect()
        };
        for (n, low, high) in [(6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (11, 2, 10), (12, 3, 10), (20, 6, 15)] {
            let found = median(&places(n)).unwrap();
            assert_eq!(found.interval, [low as f64 - 0.5, high as f64], "{n}");
            assert_eq!(found.value, n.div_ceil(2) as f64, "{n}");
        }
        assert!(median(&places(LEAST)).is_some() && median(&places(LEAST - 1)).is_none() && median(&[]).is_none());
    }
}
