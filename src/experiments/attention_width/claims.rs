//! Verdicts on attention over the width: slopes of measured variances against what they should be, without a device.

use serde::{Deserialize, Serialize};

use crate::experiments::{
    Bar, Claim, Measured,
    statistics::{CONFIDENCE, Uncertain, log_log_slope},
};

use super::measurements::{Arm, Grouped, Measurements, Quantity, Unit};

/// What measurements are compared with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bars {
    /// How far a slope may be from the one that it should have.
    slope: f64,
    /// Largest share of a variance that is rounding.
    rounding: f64,
    /// How far a quotient by a formula may be from 1.
    formula: f64,
    /// Least slope of the output's variance under noise on all weights.
    explodes: f64,
    /// How many times the output's even part is at least, packed against apart.
    packed: f64,
    /// Slopes of outputs and losses are over the widths from this on.
    settled: usize,
}

/// What is compared with a bar.
#[derive(Clone, Copy, Debug)]
pub(super) enum Figure {
    /// The slope over the widths from `from` on.
    Slope { quantity: Quantity, from: usize },
    /// The largest share of a block's variance, whatever the width.
    LargestShare { quantity: Quantity, in_all: Quantity },
    /// At the widest, over the same under another noise.
    Over { quantity: Quantity, other: Arm },
    /// At the widest, over factor C^power.
    OverPower { quantity: Quantity, factor: f64, power: i32 },
}

/// What a measurement should be.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    pub(super) arm: Arm,
    id: &'static str,
    statement: String,
    figure: Figure,
    bar: Bar,
    essential: bool,
}

const LOGITS_ODD: Quantity = |block| block.logits.odd;
const LOGITS_EVEN: Quantity = |block| block.logits.even;
const LOGITS: Quantity = |block| block.logits.total();
const OUTPUT: Quantity = |block| block.output.total();
const OUTPUT_EVEN: Quantity = |block| block.output.even;
const LOSS: Quantity = |block| block.loss.total();

/// The logits' are derived and essential, the output's follow from them; what the loss does is measured and not essential.
pub(super) fn expectations(bars: &Bars, sigma: f64) -> Vec<Expectation> {
    [logits(bars), formulas(bars, sigma), outputs(bars), losses(bars)].concat()
}

fn slope(arm: Arm, id: &'static str, quantity: (&str, Quantity), from: usize, bar: Bar) -> Expectation {
    let over = if from > 0 { format!(", from {from} on") } else { String::new() };
    let statement = format!("slope of the variance of {} over C{over}", quantity.0);
    Expectation { arm, id, statement, figure: Figure::Slope { quantity: quantity.1, from }, bar, essential: true }
}

fn logits(bars: &Bars) -> Vec<Expectation> {
    let near = |target| Bar::Within { target, margin: bars.slope };
    let odd = |arm, target| slope(arm, "logits-odd", ("the logits' odd part", LOGITS_ODD), 0, near(target));
    let even = |arm, target| slope(arm, "logits-even", ("the logits' even part", LOGITS_EVEN), 0, near(target));
    let mut expected = Vec::new();
    for (unit, powers) in [(Unit::Absolute, [1.0, 2.0]), (Unit::Share, [0.0, 0.0])] {
        for grouped in Grouped::ALL {
            let arm = Arm { unit, grouped };
            expected.push(odd(arm, powers[0]));
            expected.push(match grouped {
                Grouped::All | Grouped::Tensor => even(arm, powers[1]),
                Grouped::Projection => Expectation {
                    arm,
                    id: "logits-even",
                    statement: "largest share of the logits' variance that is even".to_owned(),
                    figure: Figure::LargestShare { quantity: LOGITS_EVEN, in_all: LOGITS },
                    bar: Bar::AtMost(bars.rounding),
                    essential: true,
                },
            });
        }
    }
    expected.push(odd(Arm { unit: Unit::Filter, grouped: Grouped::Projection }, 1.0));
    expected
}

/// The logits' variances at a fixed sigma against their formulas: of all draws of mode layer one in M has noise on what packs queries
/// and keys, two where they are apart; mode all divides sigma^2 by M.
fn formulas(bars: &Bars, sigma: f64) -> Vec<Expectation> {
    let close = |grouped: Grouped, id, part: &str, quantity, (factor, power, formula): (f64, i32, &str)| Expectation {
        arm: Arm { unit: Unit::Absolute, grouped },
        id,
        statement: format!("variance of the logits' {part} part at the widest over {formula}"),
        figure: Figure::OverPower { quantity, factor, power },
        bar: Bar::Within { target: 1.0, margin: bars.formula },
        essential: true,
    };
    let odd = |grouped: Grouped| (2.0 * sigma.powi(2) / grouped.groups(), 1, "2 sigma^2 C / M");
    let even = [
        (Grouped::All, ((sigma * sigma / Grouped::All.groups()).powi(2), 2, "sigma^4 C^2 / M^2")),
        (Grouped::Tensor, (sigma.powi(4) / Grouped::Tensor.groups(), 2, "sigma^4 C^2 / M")),
    ];
    let odd = Grouped::ALL.map(|grouped| close(grouped, "logits-odd-size", "odd", LOGITS_ODD, odd(grouped)));
    let even = even.map(|(grouped, formula)| close(grouped, "logits-even-size", "even", LOGITS_EVEN, formula));
    odd.into_iter().chain(even).collect()
}

fn outputs(bars: &Bars) -> Vec<Expectation> {
    let near = |target| Bar::Within { target, margin: bars.slope };
    let output = |unit, grouped, bar| slope(Arm { unit, grouped }, "output", ("the output", OUTPUT), bars.settled, bar);
    let apart = Arm { unit: Unit::Absolute, grouped: Grouped::Projection };
    let mut expected = vec![
        output(Unit::Absolute, Grouped::All, Bar::AtLeast(bars.explodes)),
        output(Unit::Absolute, Grouped::Projection, near(1.0)),
        Expectation {
            arm: Arm { grouped: Grouped::Tensor, ..apart },
            id: "output-even",
            statement: format!(
                "variance of the output's even part at the widest over that of {}",
                apart.grouped.words()
            ),
            figure: Figure::Over { quantity: OUTPUT_EVEN, other: apart },
            bar: Bar::AtLeast(bars.packed),
            essential: true,
        },
    ];
    expected.extend(Grouped::ALL.map(|grouped| output(Unit::Share, grouped, near(0.0))));
    expected
}

fn losses(bars: &Bars) -> Vec<Expectation> {
    let stays = Bar::Within { target: 0.0, margin: bars.slope };
    let loss = |grouped| {
        let arm = Arm { unit: Unit::Share, grouped };
        Expectation { essential: false, ..slope(arm, "loss", ("the loss", LOSS), bars.settled, stays) }
    };
    Grouped::ALL.map(loss).into()
}

/// The claims. A pure function: the device is not asked again.
pub(super) fn judge(measured: &Measurements, expected: &[Expectation]) -> Vec<Claim> {
    let judged = |Expectation { arm, id, statement, figure, bar, essential }: &Expectation| {
        let Arm { unit, grouped } = arm;
        let blocks = measured.under(*arm).map(|point| point.blocks.len()).max().unwrap_or(0);
        let claim = Claim::new(
            format!("{}.{}.{id}", unit.name(), grouped.name()),
            format!("{}, {}: {statement}", unit.words(), grouped.words()),
            figure.measured(measured, *arm),
            *bar,
        );
        Claim { essential: *essential, ..claim.more_by("blocks", blocks) }
    };
    expected.iter().map(judged).collect()
}

const NO_WIDTH: &str = "no width was measured";

impl Figure {
    fn measured(self, measured: &Measurements, arm: Arm) -> Measured {
        match self {
            Self::Slope { quantity, from } => {
                let points = measured.under(arm).filter(|point| point.width >= from);
                let points: Vec<_> = points.map(|point| (point.width as f64, point.values(quantity))).collect();
                match points.len() {
                    0 | 1 => Measured::nothing(format!("{} widths have no slope", points.len())),
                    _ => Measured::sampled(log_log_slope(&points)),
                }
            }
            Self::LargestShare { quantity, in_all } => {
                let blocks = measured.under(arm).flat_map(|point| &point.blocks);
                let share = blocks.map(|block| quantity(block) / in_all(block)).reduce(f64::max);
                share.map_or_else(|| Measured::nothing(NO_WIDTH), Measured::exact)
            }
            Self::Over { quantity, other } => match (measured.widest(arm), measured.widest(other)) {
                (Some(point), Some(under)) => {
                    let [point, under] = [point, under].map(|point| Uncertain::mean(&point.values(quantity)));
                    Measured::sampled(point.over(under).at(CONFIDENCE))
                }
                _ => Measured::nothing(NO_WIDTH),
            },
            Self::OverPower { quantity, factor, power } => match measured.widest(arm) {
                Some(point) => {
                    let formula = factor * (point.width as f64).powi(power);
                    Measured::sampled(Uncertain::mean(&point.values(quantity)).times(1.0 / formula).at(CONFIDENCE))
                }
                None => Measured::nothing(NO_WIDTH),
            },
        }
    }
}
