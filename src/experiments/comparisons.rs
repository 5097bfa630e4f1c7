//! Comparisons that are read together: differences paired by seed, p values adjusted after Holm.

use super::{
    Bar, Claim,
    statistics::{Estimate, Uncertain, bonferroni, holm},
    verdict::{Evidence, Measured},
};

/// One of several comparisons.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// For programs.
    pub id: String,
    /// In words.
    pub statement: String,
    /// With less without, a value a pair; NaN where a run diverged. See
    /// [`paired_differences`](super::statistics::paired_differences).
    pub differences: Vec<f64>,
    /// What the mean difference is claimed to be: `AtLeast(0.0)` for "higher", `AtMost(0.0)` for "lower", `Within` for
    /// "as good".
    pub bar: Bar,
}

/// The claims of a family of comparisons.
///
/// A one-sided claim is decided by its two-sided p value (Student's t on the differences) after Holm's adjustment over the
/// whole family, an equality by its interval; intervals are at Bonferroni's level. Where a difference is not finite, there
/// are fewer than two, or all are equal, nothing was measured, but the comparison counts in the family.
#[must_use]
pub fn judge_family(comparisons: &[Comparison]) -> Vec<Claim> {
    let p: Vec<f64> = comparisons.iter().map(p_value).collect();
    let claim = |(comparison, p): (&Comparison, f64)| {
        let estimate = Uncertain::mean(&comparison.differences).at(bonferroni(comparisons.len()));
        let Comparison { id, statement, .. } = comparison;
        Claim::new(id, statement, measured(comparison, estimate, p, comparisons.len()), comparison.bar)
    };
    comparisons.iter().zip(holm(&p)).map(claim).collect()
}

/// NaN for an equality, whose verdict is its interval's, and where nothing was measured.
fn p_value(comparison: &Comparison) -> f64 {
    let mean = Uncertain::mean(&comparison.differences);
    match comparison.bar {
        Bar::AtMost(bar) | Bar::AtLeast(bar) if mean.error.is_finite() && mean.error > 0.0 => mean.p_value(bar),
        _ => f64::NAN,
    }
}

fn measured(comparison: &Comparison, estimate: Estimate, p: f64, comparisons: usize) -> Measured {
    let values = &comparison.differences;
    let missing = values.iter().filter(|value| !value.is_finite()).count();
    if missing > 0 {
        return Measured::nothing(format!("{missing} of {} pairs have no finite difference", values.len()));
    }
    let measured = Measured::sampled(estimate);
    match (measured.evidence, comparison.bar) {
        (Evidence::Sampled { interval }, Bar::AtMost(_) | Bar::AtLeast(_)) => {
            Measured { value: measured.value, evidence: Evidence::Adjusted { interval, p, comparisons } }
        }
        (evidence, _) => Measured { value: measured.value, evidence },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::Verdict;

    fn comparison(differences: &[f64], bar: Bar) -> Comparison {
        Comparison { id: "a".to_owned(), statement: "b".to_owned(), differences: differences.to_vec(), bar }
    }

    const CLEAR: [f64; 5] = [1.0, 1.2, 0.9, 1.1, 1.05];
    /// p = 0.027 alone, more than 0.05 of six.
    const DOUBTFUL: [f64; 5] = [0.3, 1.4, 0.5, 1.5, 0.6];

    #[test]
    fn a_family_is_adjusted_and_a_wrong_sign_fails() {
        let alone = judge_family(&[comparison(&DOUBTFUL, Bar::AtLeast(0.0))]);
        assert_eq!(alone[0].verdict(), Verdict::Holds);
        let mut family = vec![comparison(&CLEAR, Bar::AtLeast(0.0)), comparison(&CLEAR, Bar::AtMost(0.0))];
        family.extend(vec![comparison(&DOUBTFUL, Bar::AtLeast(0.0)); 4]);
        let verdicts: Vec<Verdict> = judge_family(&family).iter().map(Claim::verdict).collect();
        assert_eq!(verdicts[..2], [Verdict::Holds, Verdict::Fails]);
        assert!(verdicts[2..].iter().all(|verdict| *verdict == Verdict::Inconclusive), "{verdicts:?}");
    }

    #[test]
    fn what_was_not_measured_is_not_decided() {
        let nan = [1.0, f64::NAN, 1.1];
        let equality = Bar::Within { target: 1.0, margin: 0.5 };
        let family = [&nan[..], &[1.0], &[], &[1.0, 1.0, 1.0], &[0.1, 0.1, 0.1]]
            .map(|values| comparison(values, Bar::AtLeast(0.0)));
        for claim in judge_family(&family) {
            assert_eq!(claim.verdict(), Verdict::Inconclusive, "{claim:?}");
        }
        assert!(judge_family(&family)[0].reason().is_some_and(|reason| reason.contains("1 of 3 pairs")));
        assert_eq!(judge_family(&[comparison(&CLEAR, equality)])[0].verdict(), Verdict::Holds);
    }
}
