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
    /// The axis around `values`, those without a place left out; `None` if none has one.
    pub(super) fn around(scale: AxisScale, values: impl Iterator<Item = f64>, most_ticks: usize) -> Option<Self> {
        let placed: Vec<(f64, f64)> = values.filter_map(|value| Some((value, scale.place(value)?))).collect();
        let (low, high) =
            placed.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (_, p)| (l.min(*p), h.max(*p)));
        if low > high {
            return None;
        }
        // A constant still needs a range to be drawn in.
        let pad = if high > low { 0.04 * (high - low) } else { low.abs().max(1.0) * 0.05 };
        let (low, high) = (low - pad, high + pad);
        // Epochs are whole numbers: no tick between them.
        let least_step = if placed.iter().all(|(value, _)| value.fract() == 0.0) { 1.0 } else { 0.0 };
        let ticks = match scale {
            AxisScale::Linear => linear_ticks(low, high, most_ticks, least_step),
            AxisScale::Log => log_ticks(low, high, most_ticks),
        };
        Some(Self { low, high, ticks })
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, and of `least_step` or more.
fn linear_ticks(low: f64, high: f64, most: usize, least_step: f64) -> Vec<(f64, String)> {
    let rough = ((high - low) / most.max(2) as f64).max(least_step);
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(10.0 * power);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|k| k as f64 * step).map(|value| (value, format_tick(value, decimals))).collect()
}

fn format_tick(value: f64, decimals: usize) -> String {
    if value.abs() >= 1e5 || decimals > 4 {
        format!("{value:.1e}").replace(".0e", "e")
    } else {
        format!("{value:.decimals$}")
    }
}

/// Powers of ten, thinned out where many; 1, 2 and 5 times them within two decades; round values within one.
fn log_ticks(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let decades = high - low;
    if decades < 1.0 {
        let round = linear_ticks(10f64.powf(low), 10f64.powf(high), most, 0.0);
        return round.into_iter().map(|(value, label)| (value.log10(), label)).collect();
    }
    let stride = (decades / most.max(2) as f64).ceil().max(1.0) as i32;
    let multiples: &[u8] = if decades < 2.0 { &[1, 2, 5] } else { &[1] };
    let mut ticks = Vec::new();
    for power in low.floor() as i32..=high.ceil() as i32 {
        for multiple in multiples {
            let place = f64::from(power) + f64::from(*multiple).log10();
            if (low..=high).contains(&place) && power % stride == 0 {
                ticks.push((place, log_label(*multiple, power)));
            }
        }
    }
    ticks
}

/// `0.05`, `200`, and beyond these `5e-4`, `1e6`.
fn log_label(multiple: u8, power: i32) -> String {
    if (-2..=3).contains(&power) {
        let decimals = (-power).max(0) as usize;
        format!("{:.decimals$}", f64::from(multiple) * 10f64.powi(power))
    } else {
        format!("{multiple}e{power}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: AxisScale, values: [f64; 2]) -> Vec<String> {
        let axis = Axis::around(scale, values.into_iter(), 5);
        axis.unwrap().ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(AxisScale::Linear, [0.0, 10.0]), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(AxisScale::Linear, [0.912, 0.968]), ["0.92", "0.94", "0.96"]);
        assert_eq!(labels(AxisScale::Log, [0.001, 1000.0]), ["1e-3", "0.1", "10", "1000"].map(str::to_owned).to_vec());
        assert_eq!(labels(AxisScale::Log, [0.3, 3.1]), ["0.5", "1", "2"]);
        assert_eq!(labels(AxisScale::Log, [0.5, 0.9]), ["0.5", "0.6", "0.7", "0.8", "0.9"]);
        assert_eq!(labels(AxisScale::Linear, [1.0, 2.0]), ["1", "2"]);
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
