//! What each command lists: the options that it reads, and no others.

use std::{collections::BTreeMap, process::Command};

use crate::common::places::program;
use jostle::train::{Options, RunConfig};

const DATA: &str = "data subset subset-seed stratified test-subset label-noise label-noise-seed normalise validation block \
                    eval-windows";
const NOISE: &str = "noise sigma noise-order noise-scale noise-distribution groups";
const RULE: &str = "rule rho eta sam-parts pairs nso-lambda sub-batches arwp-eta arwp-beta rwp-lambda ess hess-init mc-samples \
                    mezo-eps fresh-label-noise swag-start swag-every swag-rank rule-stats";
const SIGMA_SCHEDULE: &str =
    "noise-schedule noise-milestones-every noise-milestones noise-gamma noise-growth noise-off-epoch noise-off-step";
const OPTIMIZER: &str =
    "optimizer momentum dampening nesterov weight-decay decay adjust-lr beta1 beta2 eps clip-norm ema";
const AUGMENTATION: &str = "crop-padding crop-reflect flip cutout";

/// Commands, the options of their own, and the keys of a configuration that they read.
const TAKEN: [(&str, &str, &[&str]); 5] = [
    (
        "eval",
        "config weights weights-format train-data validation-data logits posterior posterior-of posterior-file posterior-seed",
        &[DATA, NOISE, "model loss bn-recalibrate"],
    ),
    (
        "hessian",
        "config weights weights-format test-data probes probe-seed tolerance top lanczos-steps starts out",
        &[DATA, "model loss label-smoothing groups"],
    ),
    (
        "noise",
        "config step epoch weights out",
        &[
            NOISE,
            SIGMA_SCHEDULE,
            "rule pairs sub-batches mc-samples fresh-label-noise data block model seed epochs steps schedule-unit",
            "subset subset-seed stratified label-noise label-noise-seed validation",
        ],
    ),
    (
        "bench",
        "timed-steps rounds seconds matmul variants profile roofline hessian rules out",
        &[
            RULE,
            NOISE,
            OPTIMIZER,
            AUGMENTATION,
            "data block model dropout precision loss label-smoothing batch seed on-nan",
        ],
    ),
    ("plan", "gpu", &["data block model dropout precision optimizer batch"]),
];
const TRAIN: &str =
    "config out overwrite resume force checkpoint-every keep-checkpoints on-device-lost profile hessian";
const COMPARE: &str = "config modes sigmas lrs rules equal grid grid-seeds seeds hessian out overwrite";

/// Options that a command lists, in the order of their names, with their defaults.
fn listed(command: &str) -> BTreeMap<String, Option<String>> {
    let output = Command::new(program()).args([command, "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let mut options = BTreeMap::<String, Option<String>>::new();
    let mut last = String::new();
    for line in help.lines() {
        if let Some((name, _)) = line.trim_start().strip_prefix("--").map(|rest| {
            rest.split_at(rest.find(|c: char| c != '-' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len()))
        }) {
            last = name.to_owned();
            assert!(options.insert(last.clone(), None).is_none(), "{last} twice");
        }
        if let Some((default, _)) = line.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']')) {
            options.insert(last.clone(), Some(default.to_owned()));
        }
    }
    // Those of every command.
    for name in ["adapter", "json"] {
        assert!(options.remove(name).is_some(), "{command} lists no {name}");
    }
    options
}

fn words<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut words: Vec<&str> = texts.into_iter().flat_map(str::split_whitespace).collect();
    words.sort_unstable();
    words
}

#[test]
fn commands_list_what_they_read() {
    let keys = RunConfig::arguments();
    let keys: Vec<&str> = keys.iter().map(|key| key.get_long().unwrap()).collect();
    let names = |command: &str| listed(command).into_keys().collect::<Vec<_>>();
    assert_eq!(names("train"), words(keys.iter().copied().chain([TRAIN])));
    let compared = keys.iter().copied().filter(|key| !["noise", "tensorboard"].contains(key));
    assert_eq!(names("compare"), words(compared.chain([COMPARE])));
    for (command, own, taken) in TAKEN {
        assert_eq!(names(command), words(taken.iter().copied().chain([own])), "{command}");
    }
}

/// The defaults that help shows make the default configuration, and keys without one are none of its.
#[test]
fn help_shows_the_defaults_of_the_configuration() {
    let default = RunConfig::default();
    let written = toml::Table::try_from(&default).unwrap();
    let listed = listed("train");
    let mut given = Vec::new();
    for key in RunConfig::arguments() {
        let key = key.get_long().unwrap();
        match &listed[key] {
            Some(value) => given.push(format!("--{key}={value}")),
            None => assert!(!written.contains_key(key), "{key}"),
        }
    }
    // Those that say how long a run is, given, would overrule others, were there any.
    assert_eq!(default.with(&Options::parse(given).unwrap()).unwrap(), default);
    let scrambled = RunConfig { lr: 0.5, batch: 7, flip: true, data: "mnist".to_owned(), ..default.clone() };
    let given = ["lr", "batch", "flip", "data"].map(|key| format!("--{key}={}", listed[key].clone().unwrap()));
    assert_eq!(scrambled.with(&Options::parse(given).unwrap()).unwrap(), default);
}

/// A build with debug assertions also has clap look at what each command takes: no two options of one name, say.
#[test]
fn every_command_shows_its_help() {
    let help = |arguments: &[&str]| {
        let output = Command::new(program()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let all = help(&["--help"]);
    let commands = all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() >= 9 && commands.contains(&"adapters"), "{all}");
    for command in commands.into_iter().filter(|command| *command != "help").chain(["gpu-report"]) {
        let text = help(&[command, "--help"]);
        assert!(text.contains(&format!("Usage: jostle {command}")), "{text}");
    }
}

#[test]
fn bench_and_plan_show_the_defaults_that_they_have() {
    let bench = listed("bench");
    let default = |name: &str| bench[name].as_deref();
    assert_eq!((default("model"), default("noise"), default("data")), (Some("mlp1"), Some("layer"), None));
    let plan = listed("plan");
    assert_eq!((&plan["model"], &plan["data"], plan["batch"].as_deref()), (&None, &None, Some("128")));
}

#[test]
fn an_option_that_a_command_does_not_read_is_unknown_to_it() {
    for (command, needed, option) in [
        ("hessian", &["--weights", "w"][..], "--momentum=0.5"),
        ("hessian", &["--weights", "w"], "--seed=3"),
        ("eval", &["--weights", "w"], "--epochs=3"),
        ("noise", &["--step", "0", "--out", "o"], "--lr=0.1"),
        ("compare", &[], "--noise=all"),
        ("bench", &[], "--schedule=cosine"),
        ("plan", &["--model", "mlp1"], "--sigma=0.1"),
        ("adapters", &[], "--data=digits"),
    ] {
        let output = Command::new(program()).arg(command).args(needed).arg(option).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command} {option}: {errors}");
        let name = option.split('=').next().unwrap();
        assert!(errors.contains(&format!("unexpected argument '{name}' found")), "{command}: {errors}");
    }
}
