//! Experiments end to end, short: verdicts, files, one's own problems, and what bad input gets.

use std::{collections::HashMap, path::Path};

use crate::common::{device, samples};
use jostle::{
    experiments::{Choices, Definition, ExperimentError, Outcome, Provenance, Surroundings, Verdict, run},
    nn::{NamedTensor, read_tensors, write_tensors},
};

/// Short runs: the verdicts need not hold.
const SHORT: [&str; 4] = ["arms.steps=40", "arms.seeds=1", "path.steps=20", "path.seeds=1"];

fn short(name: &str, more: &[&str], problem: Option<&Path>, out: &Path) -> Result<Outcome, ExperimentError> {
    let definition = Definition::find(name)?;
    let mut overrides: Vec<String> = more.iter().map(|text| (*text).to_owned()).collect();
    let declared = if name == "l1" { &SHORT[..] } else { &SHORT[..2] };
    overrides.splice(0..0, declared.iter().map(|text| (*text).to_owned()));
    let mut around = Surroundings {
        gpu: device(),
        problem: problem.map(Path::to_owned),
        run: None,
        out: out.to_owned(),
        progress: &mut |_, _| Ok(()),
    };
    let outcome = run(&definition, &Choices { scale: None, overrides }, &mut around)?;
    let by = Provenance { adapter: "test".to_owned(), command: "test".to_owned(), seconds: 1.0 };
    outcome.write(out, &definition, &by)?;
    Ok(outcome)
}

fn tensor(name: &str, shape: &[usize], seed: u64) -> NamedTensor {
    NamedTensor { name: name.to_owned(), shape: shape.to_vec(), values: samples(seed, shape.iter().product(), 1.0) }
}

fn file(folder: &Path, tensors: &[NamedTensor]) -> std::path::PathBuf {
    let path = folder.join("problem.safetensors");
    write_tensors(&path, tensors, HashMap::new()).unwrap();
    path
}

/// A file with an integer tensor, by the format's own layout: length of the header, header, data.
fn grouped_file(folder: &Path, labels: &[i64]) -> std::path::PathBuf {
    let (n, d) = (6, labels.len());
    let [x, y] = [samples(1, n * d, 1.0), samples(2, n, 1.0)];
    let mut data: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    let mut header = format!("{{\"groups\":{{\"dtype\":\"I64\",\"shape\":[{d}],\"data_offsets\":[0,{}]}}", data.len());
    for (name, shape, values) in [("X", format!("[{n},{d}]"), &x), ("y", format!("[{n}]"), &y)] {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header.push_str(&format!(
            ",\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{start},{}]}}",
            data.len()
        ));
    }
    header.push('}');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    let path = folder.join("grouped.safetensors");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn verdict(folder: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("verdict.json")).unwrap()).unwrap()
}

#[test]
fn a_short_run_writes_everything_and_does_not_claim_what_it_has_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["problem={samples=10,features=20,nonzeros=2,label_noise=0.1}", "path.points=3"];
    let outcome = short("l1", &small, None, folder.path()).unwrap();
    assert_ne!(outcome.verdict(), Verdict::Holds, "40 steps go nowhere near the Lasso");
    for name in ["report.md", "report.html", "metrics.json", "l1.png", "l1.svg", "theta-independent.safetensors"] {
        assert!(folder.path().join(name).metadata().unwrap().len() > 100, "{name}");
    }
    let verdict = verdict(folder.path());
    assert_ne!(verdict["verdict"], "holds");
    let claims = verdict["claims"].as_array().unwrap();
    assert_eq!(claims.len(), outcome.claims.len());
    assert!(claims.iter().all(|claim| claim["verdict"].is_string() && claim["bar"].is_object()), "{claims:?}");
}

/// The solver's answer is in the file, in the file's own layout: the convex conditions hold for it.
#[test]
fn ones_own_problem_comes_back_solved() {
    let folder = tempfile::tempdir().unwrap();
    let (n, d) = (8, 12);
    let [x, y] = [tensor("X", &[n, d], 1), tensor("y", &[n], 2)];
    let path = file(folder.path(), &[x.clone(), y.clone()]);
    let sigma = 0.1;
    short("l1", &["path.points=0", "arms.sigma=0.1"], Some(&path), folder.path()).unwrap();
    let found = read_tensors(&folder.path().join("theta.safetensors")).unwrap();
    let named = |name: &str| &found.iter().find(|tensor| tensor.name == name).unwrap().values;
    assert_eq!(named("theta"), named("theta.model"));
    let theta = named("solution.model");
    let residual = |k: usize| -> f64 {
        (0..d).map(|j| f64::from(x.values[k * d + j] * theta[j])).sum::<f64>() - f64::from(y.values[k])
    };
    for (i, theta_i) in theta.iter().enumerate() {
        let column = |k: usize| f64::from(x.values[k * d + i]);
        let gradient = (0..n).map(|k| column(k) * residual(k)).sum::<f64>() / n as f64;
        let weight = 2.0 * sigma * sigma * (0..n).map(|k| column(k).powi(2)).sum::<f64>() / n as f64;
        let off = if *theta_i == 0.0 {
            (gradient.abs() - weight).max(0.0)
        } else {
            (gradient + weight * f64::from(theta_i.signum())).abs()
        };
        assert!(off < 1e-5, "coefficient {i}: {off}");
    }
}

#[test]
fn matrices_come_back_in_their_own_layout() {
    let folder = tempfile::tempdir().unwrap();
    let y = tensor("Y", &[3, 5], 3);
    let path = file(folder.path(), std::slice::from_ref(&y));
    // Hardly any noise: the solution is nearly Y itself.
    short("nuclear", &["arms.shrinkage=1e-8"], Some(&path), folder.path()).unwrap();
    let found = read_tensors(&folder.path().join("theta.safetensors")).unwrap();
    let solution = found.iter().find(|tensor| tensor.name == "solution.model").unwrap();
    assert_eq!(solution.shape, [3, 5]);
    assert!(solution.values.iter().zip(&y.values).all(|(found, y)| (found - y).abs() < 1e-3), "{:?}", solution.values);
    let sensing = file(folder.path(), &[tensor("A", &[9, 2, 3], 4), tensor("y", &[9], 5)]);
    assert!(short("nuclear", &[], Some(&sensing), folder.path()).is_ok());
}

/// Labels in any order; groups that are not orthonormal run, and the report says what does not apply.
#[test]
fn assumptions_not_met_run_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = grouped_file(folder.path(), &[7, -1, 7, 3, -1, 3, 3, 7]);
    let outcome = short("group-l1", &[], Some(&path), folder.path()).unwrap();
    assert!(outcome.notes.iter().any(|note| note.contains("not orthonormal") && note.contains("no longer applies")));
    // no noise: nothing to hold the runs against
    let silent = short("group-l1", &["arms.sigma=0.0"], Some(&path), folder.path()).unwrap();
    assert!(silent.claims.iter().all(|claim| claim.verdict() == Verdict::DoesNotApply));
    assert_eq!(silent.verdict(), Verdict::DoesNotApply);
    assert!(std::fs::read_to_string(folder.path().join("report.md")).unwrap().contains("does not apply: sigma is 0"));
    // more samples than coefficients: plain gradient descent is not lost
    let tall = file(folder.path(), &[tensor("X", &[9, 4], 1), tensor("y", &[9], 2)]);
    let outcome = short("l1", &["path.points=0"], Some(&tall), folder.path()).unwrap();
    let plain = outcome.claims.iter().filter(|claim| claim.id.ends_with(".plain"));
    assert!(plain.map(|claim| claim.verdict()).all(|verdict| verdict == Verdict::DoesNotApply));
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, more: &[&str], problem: Option<&Path>| {
        short(name, more, problem, folder.path()).map(|_| ()).unwrap_err().to_string()
    };
    for (setting, part) in [
        ("arms.steps=0", "arms.steps"),
        ("arms.seeds=0", "arms.seeds"),
        ("arms.step_sizes=[]", "arms.step_sizes"),
        ("arms.sigma=-1.0", "arms.sigma"),
        ("arms.stepz=1", "stepz"),
        ("problem.groups=0", "problem.groups"),
        ("problem.sizes=[]", "problem.sizes"),
        ("problem.scales=[-1.0]", "problem.scales"),
    ] {
        let message = refused("group-l1", &[setting], None);
        assert!(message.contains(part), "{setting}: {message}");
    }
    assert!(refused("l1", &["problem.features=0"], None).contains("problem.features"));
    assert!(refused("l1", &["correlations=[1.5]"], None).contains("correlations"));
    assert!(refused("nuclear", &["problem.rank=0"], None).contains("rank"));
    let mut broken = tensor("X", &[4, 3], 1);
    broken.values[5] = f32::NAN;
    for (tensors, part) in [
        (vec![tensor("X", &[4, 3], 1)], "no tensor y"),
        (vec![tensor("X", &[4, 3], 1), tensor("y", &[5], 1)], "y has 5 elements, X has 4"),
        (vec![tensor("X", &[12], 1), tensor("y", &[4], 1)], "X has the shape [12]"),
        (vec![broken, tensor("y", &[4], 1)], "X: element 5"),
    ] {
        let message = refused("l1", &[], Some(&file(folder.path(), &tensors)));
        assert!(message.contains(part) && message.contains("problem.safetensors"), "{message}");
    }
    let message = refused("nuclear", &[], Some(&file(folder.path(), &[tensor("Y", &[80, 80], 1)])));
    assert!(message.contains("Y is 80 x 80, expected at most 4096 elements"), "{message}");
    std::fs::write(folder.path().join("junk"), b"no tensors at all").unwrap();
    assert!(refused("l1", &[], Some(&folder.path().join("junk"))).contains("junk"));
}

/// Whoever hears of the progress may end it: the experiment ends there, and says so.
#[test]
fn a_listener_may_stop_an_experiment() {
    let few = ["arms.steps=40", "arms.seeds=1"].map(str::to_owned).to_vec();
    let convex = ["l1", "group-l1", "nuclear", "convergence"].map(|name| (name, None, few.clone()));
    let networks = [
        ("width", None),
        ("attention-width", Some("short")),
        ("generalisation", None),
        ("smoothed-loss", Some("short")),
    ];
    let networks = networks.map(|(name, scale)| (name, scale, Vec::new()));
    for (name, scale, overrides) in convex.into_iter().chain(networks) {
        let folder = tempfile::tempdir().unwrap();
        let definition = Definition::find(name).unwrap();
        let mut heard = 0;
        let mut around = Surroundings {
            gpu: device(),
            problem: None,
            run: None,
            out: folder.path().to_owned(),
            progress: &mut |_, _| {
                heard += 1;
                Err(ExperimentError::Stopped)
            },
        };
        let choices = Choices { scale: scale.map(str::to_owned), overrides };
        let found = run(&definition, &choices, &mut around).map(|_| ());
        assert!(matches!(found, Err(ExperimentError::Stopped)), "{name}: {found:?}");
        assert_eq!(heard, 1, "{name}");
    }
}
