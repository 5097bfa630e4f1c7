//! Verdicts on the width: slopes of measured variances against what they should be, without a device.

use crate::noise::Mode;

use super::{
    Bar, Claim, Measured,
    width_measurements::{Bars, Measurements, Quantity, SECOND_ORDER, TOTALS},
    width_training as training,
};

/// Widths that a slope is over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Over {
    /// The widest decade.
    Decade,
    /// All from this on.
    From(usize),
}

/// What a slope should be.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    pub(super) mode: Mode,
    pub(super) id: String,
    pub(super) statement: String,
    pub(super) quantity: Quantity,
    /// What the quantity is a part of: where it is no more than rounding of that, nothing was measured.
    pub(super) part_of: Option<Quantity>,
    pub(super) over: Over,
    pub(super) bar: Bar,
    pub(super) essential: bool,
}

/// Modes model and all explode; mode layer's output stays, and its gradient does not grow (an element of it gets smaller
/// where most parameters are between hidden layers). Whether its loss stays is measured, and not essential: its variance
/// is too uncertain to be decided everywhere.
pub(super) fn expectations(bars: &Bars) -> Vec<Expectation> {
    let mut expected = Vec::new();
    let [output, loss, gradient] = TOTALS;
    for mode in [Mode::Model, Mode::All] {
        let explodes = |id: String, part: String, quantity: Quantity, part_of: Option<Quantity>| Expectation {
            mode,
            id,
            statement: format!("slope of {part} over the width, widest decade"),
            quantity,
            part_of,
            over: Over::Decade,
            bar: Bar::AtLeast(bars.explodes),
            essential: true,
        };
        for ((name, quantity), (_, whole)) in SECOND_ORDER.into_iter().zip(TOTALS) {
            let part = format!("the variance of the {name}'s second-order part");
            expected.push(explodes(format!("{name}-second"), part, quantity, Some(whole)));
        }
        expected.push(explodes("gradient".to_owned(), "the variance of the gradient".to_owned(), gradient.1, None));
    }
    let stays = Bar::Within { target: 0.0, margin: bars.stays };
    for ((name, quantity), bar, essential) in
        [(output, stays, true), (loss, stays, false), (gradient, Bar::AtMost(bars.stays), true)]
    {
        expected.push(Expectation {
            mode: Mode::Layer,
            id: name.to_owned(),
            statement: format!("slope of the variance of the {name} over the width, from {} on", bars.settled),
            quantity,
            part_of: None,
            over: Over::From(bars.settled),
            bar,
            essential,
        });
    }
    expected
}

/// The claims. A pure function: the device is not asked again.
pub(super) fn judge(
    measurements: &Measurements,
    expected: &[Expectation],
    training: &training::Settings,
) -> Vec<Claim> {
    let mut claims = Vec::new();
    for family in &measurements.variances {
        let blocks = family.points.iter().map(|point| point.blocks.len()).max().unwrap_or(0);
        for expectation in expected {
            let Expectation { mode, id, statement, quantity, part_of, over, bar, essential } = expectation;
            let from = match over {
                Over::Decade => family.decade(),
                Over::From(width) => *width,
            };
            let (id, statement) =
                (format!("{}.{mode}.{id}", family.label), format!("{}, {mode}: {statement}", family.label));
            let measured = if family.points.is_empty() {
                Measured::nothing("no width was measured")
            } else if part_of.is_some_and(|whole| family.is_rounding(*mode, *quantity, whole)) {
                Measured::nothing("it is no more than rounding")
            } else {
                family.slope(*mode, *quantity, from)
            };
            let claim = Claim::new(id, statement, measured, *bar).more_by("blocks", blocks);
            claims.push(Claim { essential: *essential, ..claim });
        }
    }
    claims.extend(training::judge(&measurements.training, training));
    claims
}
