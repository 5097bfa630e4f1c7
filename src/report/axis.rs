//! Ranges and ticks of linear and logarithmic axes. A logarithmic axis is drawn as a linear one of log10.

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AxisScale {
    /// Evenly.
    #[default]
    Linear,
    /// By their logarithm; values of 0 or less are left out.
    Log,
}

/// Beyond this a range's width would overflow; such a value has diverged anyway.
const LARGEST: f64 = 1e300;

impl AxisScale {
    /// A value's place on the axis; `None` if it has none.
    pub(super) fn place(self, value: f64) -> Option<f64> {
        let drawable = value.is_finite() && value.abs() < LARGEST;
        match self {
            Self::Linear => drawable.then_some(value),
            Self::Log => (drawable && value > 0.0).then(|| value.log10()),
        }
    }
}

/// An axis: its range in places, and its ticks as (place, label).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// The axis around `places`, which are finite, with at most so many ticks; `None` without places.
    pub(super) fn around(scale: AxisScale, places: &[f64], most_ticks: usize) -> Option<Self> {
        let (low, high) = places.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(*p), h.max(*p)));
        if low > high {
            return None;
        }
        let pad = padding(scale, low, high);
        let (low, high) = (low - pad, high + pad);
        let ticks = match scale {
            AxisScale::Linear => {
                // Nothing lies between two epochs or two counts.
                let finest = if places.iter().all(|place| place.fract() == 0.0) { 1.0 } else { 0.0 };
                linear_ticks(low, high, most_ticks, finest)
            }
            AxisScale::Log => log_ticks(low, high, most_ticks),
        };
        Some(Self { low, high, ticks })
    }

    /// A linear axis with these names at 1, 2 and so on.
    pub(super) fn named(names: &[String]) -> Self {
        let ticks = (1..).zip(names).map(|(place, name)| (f64::from(place), name.clone())).collect();
        Self { low: 0.5, high: names.len() as f64 + 0.5, ticks }
    }
}

fn padding(scale: AxisScale, low: f64, high: f64) -> f64 {
    let largest = low.abs().max(high.abs());
    // Values that differ by rounding alone are a constant, and a constant still needs a range to be drawn in.
    if high - low > 1e-12 * largest && high - low > 1e-300 {
        0.04 * (high - low)
    } else if scale == AxisScale::Log || largest < 1e-300 {
        0.05
    } else {
        0.05 * largest
    }
}

/// Multiples of 1, 2 or 5 times a power of ten: the finest that gives no more than `most`, and none below `finest`.
fn linear_ticks(low: f64, high: f64, most: usize, finest: f64) -> Vec<(f64, String)> {
    let start = ((high - low) / most.max(1) as f64).max(finest).log10().floor();
    // Outside this range powers of ten are not exact enough to count with.
    if !(-290.0..=300.0).contains(&start) {
        return Vec::new();
    }
    let start = start as i32;
    let steps = (start - 1..=start + 1).flat_map(|power| [1.0, 2.0, 5.0].map(|m| (m * 10f64.powi(power), power)));
    for (step, power) in steps.filter(|(step, _)| *step >= finest) {
        let (first, last) = ((low / step).ceil(), (high / step).floor());
        if last - first < most as f64 {
            let count = (last - first).max(-1.0) as i64;
            let values: Vec<f64> = (0..=count).map(|k| (first + k as f64) * step).collect();
            let largest = values.iter().fold(0.0f64, |l, v| l.max(v.abs()));
            return values.into_iter().map(|value| (value, format_tick(value, power, largest))).collect();
        }
    }
    Vec::new()
}

/// A tick of a step of order 10^`power` on an axis that reaches to `largest`.
fn format_tick(value: f64, power: i32, largest: f64) -> String {
    let decimals = (-power).max(0) as usize;
    if value == 0.0 && !(1e-3..1e6).contains(&largest) {
        return "0".to_owned();
    }
    if decimals <= 6 && (1e-3..1e6).contains(&largest) {
        return format!("{value:.decimals$}");
    }
    // As many digits as tell neighbours apart.
    let digits = (value.abs().log10().floor() as i32 - power).max(0) as usize;
    let text = format!("{value:.digits$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => {
            format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// Powers of ten, thinned out where many; 1, 2 and 5 within two decades; even steps where those are too few.
fn log_ticks(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    if high - low >= 2.0 {
        let stride = (1..).find(|stride| powers(low, high, *stride).count() <= most.max(1)).unwrap_or(1);
        return powers(low, high, stride).map(|power| (f64::from(power), log_label(1, power))).collect();
    }
    let mut ticks = Vec::new();
    for power in low.floor() as i32..=high.ceil() as i32 {
        for (m, log) in [(1, 0.0), (2, 2f64.log10()), (5, 5f64.log10())] {
            let place = f64::from(power) + log;
            if (low..=high).contains(&place) {
                ticks.push((place, log_label(m, power)));
            }
        }
    }
    if ticks.len() < 3 {
        let even = linear_ticks(10f64.powf(low), 10f64.powf(high), most, 0.0);
        let even = even.into_iter().filter(|(value, _)| *value > 0.0).map(|(value, label)| (value.log10(), label));
        return even.collect();
    }
    ticks
}

fn powers(low: f64, high: f64, stride: i32) -> impl Iterator<Item = i32> {
    (low.ceil() as i32..=high.floor() as i32).filter(move |power| power % stride == 0)
}

fn log_label(mantissa: i32, power: i32) -> String {
    match power {
        0..=3 => format!("{}", mantissa * 10i32.pow(power.unsigned_abs())),
        -2..=-1 => format!("{:.*}", power.unsigned_abs() as usize, f64::from(mantissa) * 10f64.powi(power)),
        _ => format!("{mantissa}e{power}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn labels(scale: AxisScale, values: &[f64]) -> Vec<String> {
        let places: Vec<f64> = values.iter().filter_map(|value| scale.place(*value)).collect();
        Axis::around(scale, &places, 6).unwrap().ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        use AxisScale::Linear;
        assert_eq!(labels(Linear, &[0.0, 10.0]), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(Linear, &[0.912, 0.968]), ["0.92", "0.94", "0.96"]);
        assert_eq!(labels(Linear, &[1.0, 3.0]), ["1", "2", "3"], "no epoch 1.5");
        assert_eq!(labels(Linear, &[1.0, 2.0]), ["1", "2"]);
        assert_eq!(labels(Linear, &[-1.5, 1.25]), ["-1.5", "-1.0", "-0.5", "0.0", "0.5", "1.0"]);
    }

    #[test]
    fn neighbouring_ticks_read_differently() {
        let ranges =
            [[0.0, 6e-6], [1e5, 100_004.5], [3e-8, 3.1e-8], [0.999_91, 0.999_95], [-2e9, 2.5e9], [1e299, 9e299]];
        for range in ranges {
            let labels = labels(AxisScale::Linear, &range);
            let unique: std::collections::BTreeSet<_> = labels.iter().collect();
            assert!(labels.len() >= 3 && unique.len() == labels.len(), "{range:?}: {labels:?}");
        }
        assert_eq!(labels(AxisScale::Linear, &[0.5e-6, 6e-6]), ["1e-6", "2e-6", "3e-6", "4e-6", "5e-6", "6e-6"]);
    }

    #[test]
    fn logarithmic_ticks_are_powers_or_near() {
        use AxisScale::Log;
        assert_eq!(labels(Log, &[0.001, 1.0]), ["1e-3", "0.01", "0.1", "1"]);
        assert_eq!(labels(Log, &[1e-5, 1e5]).len(), 5);
        assert_eq!(labels(Log, &[0.3, 3.1]), ["0.5", "1", "2"]);
        assert_eq!(labels(Log, &[0.5, 0.9]), ["0.5", "0.6", "0.7", "0.8", "0.9"]);
        assert!(labels(Log, &[0.30, 0.38]).len() >= 3, "a narrow range has ticks too");
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        assert_eq!(AxisScale::Log.place(0.0), None);
        assert_eq!(AxisScale::Linear.place(f64::NAN), None);
        assert_eq!(AxisScale::Linear.place(f64::MAX), None);
        assert_eq!(Axis::around(AxisScale::Linear, &[], 5), None);
    }

    #[test]
    fn every_range_is_drawable() {
        let values = [0.0, 5e-324, 1e-310, 1e-300, 3e-8, 3.0, 1.0 + f64::EPSILON, 1e17, 9.9e299, -9.9e299];
        for scale in [AxisScale::Linear, AxisScale::Log] {
            for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
                let places: Vec<f64> = [a, b].into_iter().filter_map(|value| scale.place(value)).collect();
                let Some(axis) = Axis::around(scale, &places, 6) else { continue };
                assert!(axis.low < axis.high && axis.high.is_finite() && axis.low.is_finite(), "{a} {b}: {axis:?}");
                assert!(axis.ticks.len() <= 8, "{a} {b}: {axis:?}");
                assert!(axis.ticks.iter().all(|(p, _)| *p >= axis.low - 1e-9 && p.is_finite()), "{a} {b}: {axis:?}");
            }
        }
    }
}
