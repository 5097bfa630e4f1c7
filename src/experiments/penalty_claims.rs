//! Verdicts of the experiments on the three simple models: measurements against convex problems, without a device.

use crate::{noise::Mode, report::Table};

use super::{
    Bar, Claim, Measured, Verdict,
    numbers::short,
    penalty_measurements::{ArmMeasurements, Bars, CaseMeasurements, CaseRun, Part},
    simple::{ArmSettings, Distance, NOISY, SimpleModel, SolvedCase, Steps},
    statistics::{Estimate, fit, mean},
    unfinished::{OnTheWay, advice},
};

const THETA: Part = |distance| distance.theta;
const OBJECTIVE: Part = |distance| distance.objective;

/// Statements of the essential claims.
const NEAR: &str = "relative distance in theta";
const FURTHER: &str = "times that plain gradient descent is further away";

/// Why claims about the noise, and about its absence, do not apply.
fn caveats(solved: &SolvedCase) -> [Option<&'static str>; 2] {
    let zero = solved.targets.first().is_some_and(|target| target.solution.norm() == 0.0);
    if solved.units.sigma <= 0.0 {
        return [Some("sigma is 0: nothing is added to the loss"); 2];
    }
    if zero {
        return [Some("at this sigma the solution is 0: there is no relative distance"); 2];
    }
    let (samples, coefficients) = solved.case.problem.x.shape();
    let sparse = !matches!(solved.case.model, SimpleModel::TwoLayer { .. });
    let determined = sparse && samples >= coefficients;
    [None, determined.then_some("no fewer samples than coefficients: least squares has one solution, and is not lost")]
}

/// The claims of a case. A pure function: the device is not asked again.
pub(super) fn judge(
    measured: &CaseMeasurements,
    solved: &SolvedCase,
    bars: &Bars,
    settings: &ArmSettings,
) -> Vec<Claim> {
    let mut claims = Vec::new();
    for mode in NOISY {
        let bar = if mode == Mode::Model { bars.model } else { bars.others };
        claims.extend(Judge { measured, solved, settings, mode }.claims(bar, bars.plain));
    }
    claims
}

/// One mode of a case.
struct Judge<'a> {
    measured: &'a CaseMeasurements,
    solved: &'a SolvedCase,
    settings: &'a ArmSettings,
    mode: Mode,
}

impl Judge<'_> {
    fn claims(&self, bar: Distance, plain: f64) -> Vec<Claim> {
        let [noise, absence] = caveats(self.solved);
        let Some(finest) = self.measured.finest(self.mode) else {
            let [theta, further] = self.unmeasured(bar, plain);
            return vec![theta.unless(noise), further.unless(absence)];
        };
        let mut claims = vec![
            self.distance("theta", NEAR, finest, (THETA, bar.theta)).essential(),
            self.distance("objective", "relative gap of the objective", finest, (OBJECTIVE, bar.objective)),
            self.step_size(),
        ];
        for arm in self.measured.arm(self.mode, |steps| matches!(steps, Steps::Decaying(_))) {
            let statement = "relative distance in theta with decaying steps";
            claims.push(self.distance("decaying", statement, arm, (THETA, bar.theta)));
        }
        let mut claims: Vec<Claim> = claims.into_iter().map(|claim| claim.unless(noise)).collect();
        claims.push(self.plain(finest, plain).essential().unless(absence));
        claims
    }

    /// The essential claims where no arm has constant steps: left out, the other claims would decide without them.
    fn unmeasured(&self, bar: Distance, plain: f64) -> [Claim; 2] {
        let nothing = || Measured::nothing("no run of constant steps was measured");
        [
            self.claim("theta", NEAR, nothing(), Bar::AtMost(bar.theta)).essential(),
            self.claim("plain", FURTHER, nothing(), Bar::AtLeast(plain)).essential(),
        ]
    }

    fn claim(&self, id: &str, statement: &str, measured: Measured, bar: Bar) -> Claim {
        let label = &self.solved.case.label;
        let id = format!("{label}.{}.{id}", self.mode);
        Claim::new(id, format!("{label}, {}: {statement}", self.mode), measured, bar)
            .more_by("arms.seeds", self.settings.seeds)
    }

    /// The mean over the runs; above the bar and still on the way down it is not a failure.
    fn distance(&self, id: &str, statement: &str, arm: &ArmMeasurements, (part, bar): (Part, f64)) -> Claim {
        let values: Vec<f64> = arm.distances(self.solved).iter().map(part).collect();
        let claim = self.claim(id, statement, Measured::sampled(mean(&values)), Bar::AtMost(bar));
        let diverged = values.iter().filter(|value| !value.is_finite()).count();
        if diverged > 0 {
            return claim.ruled(Verdict::Fails, format!("{diverged} of {} runs diverged", values.len()));
        }
        let undecided = matches!(claim.verdict(), Verdict::Fails | Verdict::Inconclusive);
        let found = claim.measured.value;
        if undecided && found > bar {
            let way = OnTheWay {
                measured: self.measured,
                solved: self.solved,
                settings: self.settings,
                mode: self.mode,
                arm,
            };
            if let Some(reason) = advice(&way, part, bar) {
                return claim.ruled(Verdict::Inconclusive, reason);
            }
        }
        claim
    }

    /// Of runs at all constant step sizes, by least squares in both logarithms.
    fn step_size(&self) -> Claim {
        let (mut rows, mut distances) = (Vec::new(), Vec::new());
        for (size, arm) in self.measured.constant(self.mode) {
            for distance in arm.distances(self.solved) {
                rows.push(vec![1.0, size.ln()]);
                distances.push(distance.theta.ln());
            }
        }
        let slope = fit(&rows, &distances).and_then(|estimates| estimates.last().copied());
        let measured = slope.map_or_else(|| Measured::nothing("one step size has no slope"), Measured::sampled);
        let statement = "exponent with which the distance falls with the step size";
        self.claim("step-size", statement, measured, Bar::AtLeast(0.0))
    }

    /// Plain gradient descent has no noise and one run, whose distance is that to this mode's solution, as the noisy runs' is;
    /// the interval is theirs.
    fn plain(&self, finest: &ArmMeasurements, bar: f64) -> Claim {
        let coefficients = self.solved.case.model.coefficients();
        let end = self.measured.finest(Mode::None).and_then(|arm| Some(arm.ends.first()?.theta(coefficients)));
        let far = end.map(|theta| self.solved.distance(self.mode, &theta).theta);
        let near: Vec<f64> = finest.distances(self.solved).iter().map(THETA).collect();
        let near = mean(&near);
        let measured = far.filter(|far| far.is_finite()).map_or_else(
            || Measured::nothing("plain gradient descent has no finite distance"),
            |far| {
                let [low, high] = near.interval;
                let most = if low > 0.0 { far / low } else { f64::INFINITY };
                Measured::sampled(Estimate { value: far / near.value, interval: [far / high, most] })
            },
        );
        self.claim("plain", FURTHER, measured, Bar::AtLeast(bar))
    }
}

pub(super) fn notes(solved: &SolvedCase) -> Vec<String> {
    let SolvedCase { case, units, targets, loss } = solved;
    let (samples, coefficients) = case.problem.x.shape();
    let violation = targets.iter().map(|target| target.violation).fold(0.0, f64::max) / loss.linear.amax();
    let mut notes = vec![format!(
        "{}: {samples} samples, {coefficients} coefficients, sigma {} (the solution is 0 from {} on), step size 1 is {:.2e}; \
         the solver's optimality conditions hold within {violation:.1e} of the gradient at 0.",
        case.label,
        short(units.sigma),
        short(units.largest_sigma),
        units.step,
    )];
    notes.extend(norm_note(solved));
    notes
}

/// Where the norm is not the plain one: what it is.
fn norm_note(solved: &SolvedCase) -> Option<String> {
    let h = &solved.loss.hessian;
    let label = &solved.case.label;
    let uneven = |matrix: &nalgebra::DMatrix<f64>| {
        let mean = matrix.trace() / matrix.nrows() as f64;
        (matrix - nalgebra::DMatrix::identity(matrix.nrows(), matrix.nrows()) * mean).amax() / mean
    };
    match &solved.case.model {
        SimpleModel::Diagonal { .. } => None,
        SimpleModel::Group { groups } => {
            let uneven_block = |group: &std::ops::Range<usize>| {
                uneven(&h.view((group.start, group.start), (group.len(), group.len())).into_owned())
            };
            let worst = groups.iter().map(uneven_block).fold(0.0, f64::max);
            (worst > 1e-6).then(|| {
                format!(
                    "{label}: the groups are not orthonormal (H_gg differs from a multiple of I by up to {}). The claim that the \
                     penalty is the group Lasso's no longer applies; compared with what the noise adds exactly, \
                     sigma^2 sum_g sqrt(tr H_gg) |H_gg^(1/2) theta_g|.",
                    short(worst)
                )
            })
        }
        SimpleModel::TwoLayer { rows, columns, width } => {
            let [q, p] = solved.case.model.two_layer_blocks(h)?;
            let worst = uneven(&q).max(uneven(&p));
            let narrow = *width < *rows.min(columns);
            (worst > 1e-6 || narrow).then(|| {
                let plain = solved.plain_nuclear_distance().map_or_else(String::new, |distance| {
                    format!(" The minimiser with the plain norm of the same mean weight is {} away from it.", short(distance))
                });
                format!(
                    "{label}: the measurements do not weigh all rows and columns alike (by up to {}). The plain nuclear norm no \
                     longer applies exactly; compared with what the noise adds, sigma^2 |Q^(1/2) Theta P^(1/2)|_*.{plain}",
                    short(worst)
                )
            })
        }
    }
}

pub(super) fn table(run: &CaseRun) -> Table {
    let row = |arm: &ArmMeasurements| {
        let steps = match arm.steps {
            Steps::Constant(size) => format!("constant {size}"),
            Steps::Decaying(size) => format!("decaying from {size}"),
        };
        let distances = arm.distances(&run.solved);
        let percent =
            |part: Part| format!("{:.3}", 100.0 * mean(&distances.iter().map(part).collect::<Vec<_>>()).value);
        vec![arm.mode.to_string(), steps, arm.ends.len().to_string(), percent(THETA), percent(OBJECTIVE)]
    };
    let headers = ["mode", "step size", "runs", "theta: distance %", "objective: gap %"];
    let title = format!("Averaged iterates, {}", run.solved.case.label);
    Table::new(&title, &headers, run.measured.arms.iter().map(row).collect())
}
