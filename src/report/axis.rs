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

impl AxisScale {
    /// A value's place on the axis; `None` if it has none.
    pub(super) fn place(self, value: f64) -> Option<f64> {
        match self {
            Self::Linear => value.is_finite().then_some(value),
            Self::Log => (value.is_finite() && value > 0.0).then(|| value.log10()),
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
    /// The axis around `places`, which are finite; `None` without any.
    pub(super) fn around(scale: AxisScale, places: impl Iterator<Item = f64>, most_ticks: usize) -> Option<Self> {
        let (low, high) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p), h.max(p)));
        if low > high {
            return None;
        }
        // A constant still needs a range to be drawn in.
        let pad = if high > low { 0.04 * (high - low) } else { low.abs().max(1.0) * 0.05 };
        let (low, high) = (low - pad, high + pad);
        let ticks = match scale {
            AxisScale::Linear => linear_ticks(low, high, most_ticks),
            AxisScale::Log => log_ticks(low, high, most_ticks),
        };
        Some(Self { low, high, ticks })
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / most.max(2) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(10.0 * power);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|k| k as f64 * step).map(|value| (value, format_tick(value, decimals))).collect()
}

fn format_tick(value: f64, decimals: usize) -> String {
    if value.abs() >= 1e5 || decimals > 4 { short_exponent(value) } else { format!("{value:.decimals$}") }
}

fn short_exponent(value: f64) -> String {
    let text = format!("{value:.1e}");
    text.replace(".0e", "e")
}

/// Powers of ten, thinned out where many; 1, 2 and 5 within less than two decades.
fn log_ticks(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let decades = high - low;
    if decades < 2.0 {
        let mut ticks = Vec::new();
        for power in low.floor() as i32..=high.ceil() as i32 {
            for (m, log) in [(1, 0.0), (2, 2f64.log10()), (5, 5f64.log10())] {
                let place = f64::from(power) + log;
                if (low..=high).contains(&place) {
                    let label = format!("{m}e{power}").parse::<f64>().map_or_else(|_| String::new(), log_label);
                    ticks.push((place, label));
                }
            }
        }
        return ticks;
    }
    let stride = (decades / most.max(2) as f64).ceil().max(1.0) as i32;
    (low.ceil() as i32..=high.floor() as i32)
        .filter(|power| power % stride == 0)
        .map(|power| (f64::from(power), log_label(10f64.powi(power))))
        .collect()
}

fn log_label(value: f64) -> String {
    if (0.01..=9999.0).contains(&value) { format!("{value}") } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: AxisScale, values: [f64; 2]) -> Vec<String> {
        let axis = Axis::around(scale, values.into_iter().filter_map(|v| scale.place(v)), 5);
        axis.unwrap().ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(AxisScale::Linear, [0.0, 10.0]), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(AxisScale::Linear, [0.912, 0.968]), ["0.92", "0.94", "0.96"]);
        assert_eq!(labels(AxisScale::Log, [0.001, 1000.0]), ["1e-3", "0.1", "10", "1000"].map(str::to_owned).to_vec());
        assert_eq!(labels(AxisScale::Log, [0.3, 3.0]), ["0.5", "1", "2"]);
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        assert_eq!(AxisScale::Log.place(0.0), None);
        assert_eq!(AxisScale::Linear.place(f64::NAN), None);
        assert_eq!(Axis::around(AxisScale::Linear, std::iter::empty(), 5), None);
        let constant = Axis::around(AxisScale::Linear, [3.0, 3.0].into_iter(), 5).unwrap();
        assert!(constant.low < 3.0 && constant.high > 3.0);
    }
}
