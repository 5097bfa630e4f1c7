//! Contenders that take turns, round by round, so that a machine whose speed drifts favours none.

use std::time::Instant;

use super::{median_error, quantile, sorted};

/// Rounds below which a median says nothing.
const MIN_ROUNDS: u32 = 3;

/// How long contenders take turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    /// At the most, and at least one.
    pub(super) most: u32,
    /// No further one begins after this long, once there are three.
    pub(super) seconds: f64,
}

/// Milliseconds of contenders in order, round by round; the same rounds of each.
#[derive(Clone, Debug)]
pub(super) struct Turns(Vec<Vec<f64>>);

impl Turns {
    /// Lets so many contenders take turns; `ms` takes one's turn.
    pub(super) fn take<E>(
        contenders: usize,
        rounds: Rounds,
        mut ms: impl FnMut(usize) -> Result<f64, E>,
    ) -> Result<Self, E> {
        let mut taken = vec![Vec::new(); contenders];
        let started = Instant::now();
        for round in 0..rounds.most.max(1) {
            if round >= MIN_ROUNDS && started.elapsed().as_secs_f64() > rounds.seconds {
                break;
            }
            for turn in 0..contenders {
                // The order turns round too.
                let contender = if round % 2 == 0 { turn } else { contenders - 1 - turn };
                taken[contender].push(ms(contender)?);
            }
        }
        Ok(Self(taken))
    }

    /// Rounds that there were.
    pub(super) fn rounds(&self) -> u32 {
        self.0.first().map_or(0, Vec::len) as u32
    }

    /// A contender's milliseconds, sorted.
    pub(super) fn sorted(&self, contender: usize) -> Vec<f64> {
        sorted(self.0[contender].clone())
    }

    /// A contender's median.
    pub(super) fn median(&self, contender: usize) -> f64 {
        quantile(&self.sorted(contender), 0.5)
    }

    /// One contender's time over another's: the median over the rounds, with its standard error.
    pub(super) fn ratio(&self, contender: usize, base: usize) -> (f64, f64) {
        let ratios = sorted(self.0[contender].iter().zip(&self.0[base]).map(|(ms, base)| ms / base).collect());
        (quantile(&ratios, 0.5), median_error(&ratios))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_contender_has_every_round_and_ratios_are_of_pairs() {
        let mut order = Vec::new();
        let turns = Turns::take(3, Rounds { most: 4, seconds: 60.0 }, |contender| {
            order.push(contender);
            // Twice and three times the first's, on a machine that gets slower by the turn.
            Ok::<_, ()>((contender + 1) as f64 * (1.0 + ((order.len() - 1) / 3) as f64))
        });
        assert_eq!(order, [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]);
        let turns = turns.unwrap_or_else(|()| panic!("no turn fails"));
        assert_eq!((turns.rounds(), turns.sorted(1)), (4, vec![2.0, 4.0, 6.0, 8.0]));
        assert_eq!([turns.ratio(1, 0), turns.ratio(2, 0)], [(2.0, 0.0), (3.0, 0.0)]);
        assert_eq!(turns.ratio(0, 1), (0.5, 0.0));
        // At least one round, and no more than three once the time is up.
        let rounds = |most| Turns::take(1, Rounds { most, seconds: 0.0 }, |_| Ok::<_, ()>(1.0)).map(|it| it.rounds());
        assert_eq!([rounds(0), rounds(2), rounds(9)], [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(Turns::take(2, Rounds { most: 3, seconds: 1.0 }, |_| Err::<f64, _>(7)).err(), Some(7));
    }
}
