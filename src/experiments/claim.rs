//! Claims: a statement with its measurement and its bar, and what became of it.

use serde::{Serialize, Serializer};

use super::{
    numbers::short,
    statistics::{CONFIDENCE, bonferroni, student},
    verdict::{Bar, Evidence, Measured, Verdict},
};

/// A setting that buys more samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// As `--set` takes it.
    pub key: String,
    /// Its value now.
    pub now: u64,
}

/// A verdict that the figures alone do not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
}

/// A statement with the figure behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// For programs.
    pub id: String,
    /// In words.
    pub statement: String,
    /// What was measured.
    pub measured: Measured,
    /// What it is compared with.
    pub bar: Bar,
    /// Whether the experiment is undecided where this claim is.
    pub essential: bool,
    /// What would make the interval narrower.
    pub more: Vec<Setting>,
    /// In place of the figures' own verdict.
    pub ruling: Option<Ruling>,
}

/// The level of tests.
const SIGNIFICANCE: f64 = 0.05;

/// Times as many samples beyond which more of them are not advised.
const MOST_TIMES: f64 = 1000.0;

impl Claim {
    /// A claim about a measurement.
    #[must_use]
    pub fn new(id: impl Into<String>, statement: impl Into<String>, measured: Measured, bar: Bar) -> Self {
        let (id, statement) = (id.into(), statement.into());
        Self { id, statement, measured, bar, essential: false, more: Vec::new(), ruling: None }
    }

    /// Without it the experiment is undecided.
    #[must_use]
    pub fn essential(self) -> Self {
        Self { essential: true, ..self }
    }

    /// A setting that buys more samples, with its value now.
    #[must_use]
    pub fn more_by(mut self, key: &str, now: usize) -> Self {
        self.more.push(Setting { key: key.to_owned(), now: now as u64 });
        self
    }

    /// Not applicable, if there is a reason.
    #[must_use]
    pub fn unless(self, reason: Option<&str>) -> Self {
        match reason {
            Some(reason) => self.ruled(Verdict::DoesNotApply, reason),
            None => self,
        }
    }

    /// With a verdict that the figures alone do not give, such as the failure of runs that diverged.
    #[must_use]
    pub fn ruled(self, verdict: Verdict, reason: impl Into<String>) -> Self {
        Self { ruling: Some(Ruling { verdict, reason: reason.into() }), ..self }
    }

    /// What became of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if let Some(ruling) = &self.ruling {
            return ruling.verdict;
        }
        let Measured { value, evidence } = &self.measured;
        match evidence {
            Evidence::Sampled { interval } => self.bar.judge(*interval),
            Evidence::Adjusted { p, .. } if *p <= SIGNIFICANCE => self.bar.judge([*value; 2]),
            Evidence::Exact => self.bar.judge([*value; 2]),
            Evidence::Adjusted { .. } | Evidence::Nothing { .. } => Verdict::Inconclusive,
        }
    }

    /// Why it does not simply hold or fail, and what would decide it.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        if let Some(ruling) = &self.ruling {
            return Some(ruling.reason.clone());
        }
        match &self.measured.evidence {
            Evidence::Nothing { reason } => Some(reason.clone()),
            _ if self.verdict() == Verdict::Inconclusive => Some(self.would_decide()),
            _ => None,
        }
    }

    /// How many more samples would.
    fn would_decide(&self) -> String {
        let half = self.measured.interval().map_or(f64::NAN, |[low, high]| (high - low) / 2.0);
        if half.is_infinite() {
            return "its interval has no end yet: more samples would give it one".to_owned();
        }
        let confidence = match self.measured.evidence {
            Evidence::Adjusted { comparisons, .. } => bonferroni(comparisons),
            _ => CONFIDENCE,
        };
        let times = times_as_many(self.more.first(), half, self.bar.gap(self.measured.value), confidence);
        if times.is_nan() || times > MOST_TIMES {
            return "too near the bar for more samples to decide".to_owned();
        }
        if self.more.is_empty() {
            return format!("{} times as many samples would decide", short(times));
        }
        let needed = |setting: &Setting| {
            format!("{}={} (now {})", setting.key, (setting.now as f64 * times).ceil().max(2.0), setting.now)
        };
        format!("about {} would decide", self.more.iter().map(needed).collect::<Vec<_>>().join(", "))
    }

    /// Statement, measurement, bar and verdict, for a table; an essential claim is marked.
    pub(super) fn row(&self) -> Vec<String> {
        let mark = if self.essential { "essential" } else { "" };
        let verdict = match self.reason() {
            Some(reason) => format!("{}: {reason}", self.verdict().name()),
            None => self.verdict().name().to_owned(),
        };
        vec![self.statement.clone(), mark.to_owned(), self.measured.text(), self.bar.text(), verdict]
    }
}

impl Verdict {
    /// Of an experiment: it fails if a claim fails; else it is inconclusive if an essential claim is; else it holds if
    /// some claim does. Where none does, nothing was shown: inconclusive, or not applicable if every claim is that.
    #[must_use]
    pub fn overall(claims: &[Claim]) -> Self {
        let some = |verdict: Self| claims.iter().any(|claim| claim.verdict() == verdict);
        let undecided = |claim: &Claim| claim.essential && claim.verdict() == Self::Inconclusive;
        if some(Self::Fails) {
            Self::Fails
        } else if claims.iter().any(undecided) {
            Self::Inconclusive
        } else if some(Self::Holds) {
            Self::Holds
        } else if some(Self::Inconclusive) || claims.is_empty() {
            Self::Inconclusive
        } else {
            Self::DoesNotApply
        }
    }
}

/// How many times as many samples make an interval's half smaller than the gap to the bar: it goes as Student's quantile over
/// the root of their number, where that is known.
fn times_as_many(now: Option<&Setting>, half: f64, gap: f64, confidence: f64) -> f64 {
    let Some(now) = now.map(|setting| setting.now as f64).filter(|now| *now >= 2.0) else {
        return (half / gap).powi(2);
    };
    let factor = |samples: f64| student(confidence, samples - 1.0) / samples.sqrt();
    let enough = |samples: f64| half * factor(samples) < gap * factor(now);
    let mut samples = now;
    while !enough(samples) && samples <= MOST_TIMES * now {
        samples = (samples + 1.0).max((samples * 1.01).floor());
    }
    if enough(samples) { samples / now } else { f64::NAN }
}

/// As `verdict.json` has it.
#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    statement: &'a str,
    measured: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<[f64; 2]>,
    exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    holm_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparisons: Option<usize>,
    bar: Bar,
    essential: bool,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (holm_p, comparisons) = match self.measured.evidence {
            Evidence::Adjusted { p, comparisons, .. } => (Some(p), Some(comparisons)),
            _ => (None, None),
        };
        let record = Record {
            id: &self.id,
            statement: &self.statement,
            measured: self.measured.value,
            interval: self.measured.interval(),
            exact: self.measured.evidence == Evidence::Exact,
            holm_p,
            comparisons,
            bar: self.bar,
            essential: self.essential,
            verdict: self.verdict(),
            reason: self.reason(),
        };
        record.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::statistics::Estimate;

    fn sampled(value: f64, half: f64) -> Measured {
        Measured::sampled(Estimate { value, interval: [value - half, value + half] })
    }

    fn verdict(measured: Measured, bar: Bar) -> Verdict {
        Claim::new("a", "b", measured, bar).verdict()
    }

    #[test]
    fn the_interval_decides() {
        use Verdict::{Fails, Holds, Inconclusive};
        for (value, half, at_most, at_least) in
            [(0.5, 0.4, Holds, Fails), (0.5, 0.6, Inconclusive, Inconclusive), (1.5, 0.4, Fails, Holds)]
        {
            assert_eq!(verdict(sampled(value, half), Bar::AtMost(1.0)), at_most);
            assert_eq!(verdict(sampled(value, half), Bar::AtLeast(1.0)), at_least);
        }
    }

    /// A claim of before: 0.0440 (-0.135 to 0.223) "at most 0.1" held, and a slope of -1.09 counted as "stays".
    #[test]
    fn equality_needs_the_whole_interval_within_the_margin() {
        let stays = Bar::Within { target: 0.0, margin: 0.1 };
        assert_eq!(verdict(sampled(0.044, 0.179), stays), Verdict::Inconclusive);
        assert_eq!(verdict(sampled(-1.09, 0.04), stays), Verdict::Fails);
        assert_eq!(verdict(sampled(0.01, 0.03), stays), Verdict::Holds);
        // More data: as far from the target, the interval narrower. Never from holding to something else.
        let halves = [0.4, 0.2, 0.1, 0.05, 0.025];
        let verdicts = halves.map(|half| verdict(sampled(0.04, half), stays));
        let first = verdicts.iter().position(|verdict| *verdict == Verdict::Holds);
        assert_eq!(first, Some(3));
        assert!(verdicts[3..].iter().all(|verdict| *verdict == Verdict::Holds));
    }

    #[test]
    fn nothing_measured_never_holds() {
        let estimate = |value, low, high| Measured::sampled(Estimate { value, interval: [low, high] });
        for measured in [
            Measured::nothing("no value"),
            Measured::exact(f64::NAN),
            estimate(f64::NAN, f64::NAN, f64::NAN),
            estimate(0.0, f64::NEG_INFINITY, f64::INFINITY),
            estimate(0.0, 0.0, 0.0),
        ] {
            let claim = Claim::new("a", "b", measured, Bar::AtMost(1.0));
            assert_eq!(claim.verdict(), Verdict::Inconclusive, "{claim:?}");
            assert!(claim.reason().is_some_and(|reason| !reason.is_empty()));
        }
        assert_eq!(verdict(Measured::exact(1.0), Bar::AtMost(1.0)), Verdict::Holds);
        assert_eq!(verdict(Measured::exact(1.1), Bar::AtMost(1.0)), Verdict::Fails);
    }

    #[test]
    fn an_experiment_is_as_good_as_its_essential_claims() {
        let claim = |value, half| Claim::new("a", "b", sampled(value, half), Bar::AtMost(1.0));
        let (holds, fails, open) = (claim(0.5, 0.1), claim(2.0, 0.1), claim(0.5, 0.6));
        let none = holds.clone().unless(Some("no"));
        for (claims, expected) in [
            (vec![holds.clone(), none.clone()], Verdict::Holds),
            (vec![holds.clone(), open.clone()], Verdict::Holds),
            (vec![holds.clone(), open.clone().essential()], Verdict::Inconclusive),
            (vec![holds, open.clone().essential(), fails], Verdict::Fails),
            (vec![open], Verdict::Inconclusive),
            (vec![none], Verdict::DoesNotApply),
            (vec![], Verdict::Inconclusive),
        ] {
            assert_eq!(Verdict::overall(&claims), expected, "{claims:?}");
        }
    }

    #[test]
    fn what_would_decide_is_said() {
        let estimate = |interval| Measured::sampled(Estimate { value: 0.5, interval });
        // Twice the distance to the bar: from t = 4.303 over the root of 3 to t = 2.776 over that of 5.
        let claim = Claim::new("a", "b", sampled(0.5, 1.0), Bar::AtMost(1.0)).more_by("arms.seeds", 3);
        assert_eq!(claim.reason().as_deref(), Some("about arms.seeds=5 (now 3) would decide"));
        let equal = Claim::new("a", "b", sampled(0.5, 1.0), Bar::Within { target: 0.0, margin: 1.0 });
        assert!(equal.reason().is_some_and(|reason| reason.starts_with("4.00 times as many")));
        let open = Claim::new("a", "b", estimate([0.1, f64::INFINITY]), Bar::AtLeast(0.2));
        assert!(open.reason().is_some_and(|reason| reason.contains("no end")));
        let hopeless = Claim::new("a", "b", sampled(1.0, 1.0), Bar::AtMost(1.0));
        assert!(hopeless.reason().is_some_and(|reason| reason.contains("too near")));
    }
}
