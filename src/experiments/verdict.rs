//! Claims and their verdicts: a measurement with its interval, compared with a bar.
//!
//! A claim holds if its whole interval meets the bar, fails if its whole interval misses it, and is inconclusive
//! otherwise; so more data make a true claim easier to pass, and fewer never do. Equality ("the slope is 0") is a
//! two-sided equivalence test with a stated margin: the 95 % interval has to lie within it, which is two one-sided tests
//! at 2.5 % each (Schuirmann, J. Pharmacokinet. Biopharm. 1987, has 5 %, the 90 % interval).

use serde::Serialize;

use super::{numbers::short, statistics::Estimate};

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The measurement shows it.
    Holds,
    /// The measurement refutes it.
    Fails,
    /// The measurement decides nothing.
    Inconclusive,
    /// It is not about this input.
    DoesNotApply,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Inconclusive => "inconclusive",
            Self::DoesNotApply => "does not apply",
        }
    }
}

/// What a measurement is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bar {
    /// Measured <= bar.
    AtMost(f64),
    /// Measured >= bar.
    AtLeast(f64),
    /// |measured - target| <= margin: equality, as far as a measurement can show it.
    Within {
        /// What it should be.
        target: f64,
        /// How far from that still counts as equal.
        margin: f64,
    },
}

impl Bar {
    /// What it allows, from and to.
    fn allowed(self) -> [f64; 2] {
        match self {
            Self::AtMost(bar) => [f64::NEG_INFINITY, bar],
            Self::AtLeast(bar) => [bar, f64::INFINITY],
            Self::Within { target, margin } => [target - margin, target + margin],
        }
    }

    /// Where an interval lies. NaN decides nothing.
    pub(super) fn judge(self, [low, high]: [f64; 2]) -> Verdict {
        let [from, to] = self.allowed();
        if low >= from && high <= to {
            Verdict::Holds
        } else if high < from || low > to {
            Verdict::Fails
        } else {
            Verdict::Inconclusive
        }
    }

    /// From a value to the nearest border between what is allowed and what is not.
    pub(super) fn gap(self, value: f64) -> f64 {
        self.allowed().map(|border| (border - value).abs()).into_iter().fold(f64::INFINITY, f64::min)
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::AtMost(bar) => format!("at most {}", short(bar)),
            Self::AtLeast(bar) => format!("at least {}", short(bar)),
            Self::Within { target, margin } => format!("{} within {}", short(target), short(margin)),
        }
    }
}

/// How well a value is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// From samples, with the 95 % interval.
    Sampled {
        /// Lower and upper end.
        interval: [f64; 2],
    },
    /// One of several comparisons read together: Holm's p decides, the interval is at Bonferroni's level.
    Adjusted {
        /// Lower and upper end.
        interval: [f64; 2],
        /// Holm's p value, two-sided, of the bar's being the truth.
        p: f64,
        /// How many comparisons.
        comparisons: usize,
    },
    /// Without sampling error: the same every time that it is measured, an interval of one point.
    Exact,
    /// Nothing was measured.
    Nothing {
        /// Why.
        reason: String,
    },
}

/// A value with what it is known by.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The value; NaN where there is none.
    pub value: f64,
    /// How well it is known.
    pub evidence: Evidence,
}

impl Measured {
    /// Without sampling error; a value that is NaN is nothing measured.
    #[must_use]
    pub fn exact(value: f64) -> Self {
        if value.is_nan() {
            Self::nothing("the value is not a number")
        } else {
            Self { value, evidence: Evidence::Exact }
        }
    }

    /// Nothing, and why.
    #[must_use]
    pub fn nothing(reason: impl Into<String>) -> Self {
        Self { value: f64::NAN, evidence: Evidence::Nothing { reason: reason.into() } }
    }

    /// From samples. An interval that is NaN, unbounded on both sides or a single point says nothing of the spread, so
    /// that nothing was measured.
    #[must_use]
    pub fn sampled(estimate: Estimate) -> Self {
        let Estimate { value, interval } = estimate;
        let [low, high] = interval;
        let reason = if value.is_nan() || low.is_nan() || high.is_nan() {
            "a value is missing or not finite"
        } else if low.is_infinite() && high.is_infinite() {
            "fewer than 2 samples have no interval"
        } else if low == high {
            "the samples are all equal: their spread is not known"
        } else {
            return Self { value, evidence: Evidence::Sampled { interval } };
        };
        Self { value, evidence: Evidence::Nothing { reason: reason.to_owned() } }
    }

    pub(super) fn interval(&self) -> Option<[f64; 2]> {
        match self.evidence {
            Evidence::Sampled { interval } | Evidence::Adjusted { interval, .. } => Some(interval),
            Evidence::Exact | Evidence::Nothing { .. } => None,
        }
    }

    /// Value, interval, and what kind of evidence it is.
    #[must_use]
    pub fn text(&self) -> String {
        let value = short(self.value);
        match &self.evidence {
            Evidence::Sampled { interval: [low, high] } => format!("{value} ({} to {})", short(*low), short(*high)),
            Evidence::Adjusted { interval: [low, high], p, comparisons } => {
                format!("{value} ({} to {}; Holm's p {} of {comparisons})", short(*low), short(*high), short(*p))
            }
            Evidence::Exact => format!("{value} (exact)"),
            Evidence::Nothing { .. } => value,
        }
    }
}
