//! The keys of a configuration: each is written down once, and so is the same in files, in options and in the library.

use std::collections::BTreeSet;

use clap::{Arg, Command};
use jostle::{
    noise::Mode,
    train::{EvalEvery, Normalise, Options, RunConfig, TrainError, TrainEval},
};

fn options(words: &[&str]) -> Options {
    Options::parse(words.iter().copied()).unwrap()
}

fn file(text: &str) -> RunConfig {
    toml::from_str(text).unwrap()
}

/// Checkpoints hold the bytes of their `config.toml`: keys keep their order, and what is not written means the default.
#[test]
fn the_default_configuration_is_written_as_ever() {
    assert_eq!(toml::to_string(&RunConfig::default()).unwrap(), DEFAULT);
    assert_eq!(file(DEFAULT), RunConfig::default());
    assert_eq!(file(""), RunConfig::default());
}

/// The keys of a file, which its reader lists where it meets another.
fn keys() -> Vec<String> {
    let error = toml::from_str::<RunConfig>("no-key = 1").unwrap_err().to_string();
    let (_, list) = error.split_once("expected one of ").unwrap();
    list.split('`').skip(1).step_by(2).filter(|key| *key != "step-epochs").map(str::to_owned).collect()
}

#[test]
fn every_key_is_one_option_with_help_and_a_topic() {
    let arguments = RunConfig::arguments();
    let name = |key: &Arg| key.get_long().unwrap().to_owned();
    assert_eq!(arguments.iter().map(name).collect::<Vec<_>>(), keys());
    assert_eq!(keys().len(), keys().into_iter().collect::<BTreeSet<_>>().len());
    for key in &arguments {
        assert!(key.get_help().is_some() && key.get_help_heading().is_some(), "{}", name(key));
    }
}

#[test]
fn options_override_the_file_and_the_file_the_defaults() {
    let run = file("nesterov = true\nsigma = 0.25\nnormalise = true\nmilestones = [2]");
    assert_eq!((run.sigma, run.lr, run.normalise), (0.25, 0.01, Normalise::Data));
    let given = run.with(&options(&["--sigma", "0.5", "--nesterov=false", "--milestones", "3,5"])).unwrap();
    assert_eq!((given.sigma, given.nesterov, given.milestones), (0.5, false, vec![3, 5]));
    assert!(run.with(&options(&[])).unwrap().nesterov);
    assert!(RunConfig::default().with(&options(&["--nesterov"])).unwrap().nesterov);
    assert_eq!(run.with(&options(&["--normalise=false"])).unwrap().normalise, Normalise::None);
    assert_eq!(RunConfig::default().with(&options(&["--normalise"])).unwrap().normalise, Normalise::Data);
}

/// A default that is given is given: it overrides the file as any other value does.
#[test]
fn a_default_that_is_given_overrides_the_file() {
    let run = file("eval-every = 2\ntrain-eval = 'none'\nnoise = 'all'\nbatch = 'auto'");
    let given = run.with(&options(&["--eval-every", "1", "--train-eval", "all", "--noise", "none", "--batch", "128"]));
    let given = given.unwrap();
    assert_eq!((given.eval_every, given.train_eval), (EvalEvery::Epochs(1), TrainEval::All));
    assert_eq!((given.noise, given.batch), (Mode::None, 128));
}

/// A command that takes some of the keys gives what it was given, and nothing of its defaults.
#[test]
fn a_command_takes_the_keys_that_it_names() {
    let names = ["lr", "milestones", "milestones-every", "flip", "init"];
    let keys: Vec<Arg> =
        RunConfig::arguments().into_iter().filter(|key| names.contains(&key.get_long().unwrap())).collect();
    let command = Command::new("some").args(&keys).arg(Arg::new("own").long("own"));
    let words = ["some", "--own=2", "--milestones=3,5", "--milestones", "9", "--step-epochs", "4", "--flip"];
    let given = Options::given(&command.clone().get_matches_from(words), &keys).unwrap();
    let run = file("lr = 0.5\nsteps = 7").with(&given).unwrap();
    let expected =
        RunConfig { lr: 0.5, steps: Some(7), milestones: vec![3, 5, 9], milestones_every: 4, flip: true, ..file("") };
    assert_eq!(run, expected);
    let gives = |key| given.gives(key);
    assert!(gives("milestones-every") && gives("flip") && !gives("lr") && !gives("epochs") && !gives("own"));
    assert!(command.try_get_matches_from(["some", "--sigma", "1"]).is_err());
}

#[test]
fn options_that_are_none_are_refused_in_a_sentence() {
    for (words, part) in [
        (&["--learning-rate", "1"][..], "unexpected argument '--learning-rate' found"),
        (&["--loss", "l1"], "unknown loss \"l1\", expected one of nll, mse"),
        (&["--on-nan", "go"], "expected one of stop, skip, halve-sigma"),
        (&["--epochs", "1", "--steps", "2"], "'--steps <STEPS>'"),
    ] {
        let TrainError::Config { reason, .. } = Options::parse(words.iter().copied()).unwrap_err() else {
            panic!("{words:?}")
        };
        assert!(reason.contains(part) && !reason.contains('\n'), "{reason}");
    }
}

const DEFAULT: &str = "\
data = \"digits\"
model = \"mlp:64-256-256-10\"
precision = \"f32\"
loss = \"nll\"
noise = \"none\"
sigma = 0.05
noise-order = \"cyclic\"
noise-scale = \"absolute\"
noise-distribution = \"gaussian\"
noise-schedule = \"constant\"
noise-milestones-every = 30
noise-gamma = 0.1
groups = \"tensor\"
optimizer = \"sgd\"
lr = 0.01
schedule = \"constant\"
schedule-unit = \"epoch\"
milestones-every = 30
gamma = 0.1
momentum = 0.9
dampening = 0.0
nesterov = false
weight-decay = 0.0005
beta1 = 0.9
beta2 = 0.999
eps = 0.00000001
epochs = 10
batch = 128
seed = 0
subset-seed = 0
stratified = false
label-noise = 0.0
normalise = \"auto\"
crop-padding = 0
crop-reflect = false
flip = false
cutout = 0
label-smoothing = 0.0
on-nan = \"stop\"
accumulate = 1
warmup-steps = 0
eval-noisy = 0
bn-recalibrate = false
batch-order = \"shuffled\"
log-every = 10
";
