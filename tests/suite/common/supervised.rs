//! Runs in folders: begun, stopped, gone on with, and what they leave.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jostle::{
    gpu::Gpu,
    noise::Mode,
    train::{
        Control, EpochRecord, Event, Interval, KeepOptions, Manifest, Message, MetricsFile, Options, RunConfig,
        RunResult, StepRecord, Supervisor, SupervisorOptions, TrainError, Trainer,
    },
};

use super::device;

/// Two epochs of 13 steps, the last of each partial, and 4 more.
pub fn config() -> RunConfig {
    RunConfig {
        model: "mlp:64-24-10".to_owned(),
        noise: Mode::Layer,
        batch: 100,
        steps: Some(30),
        seed: 5,
        log_every: 1,
        ..RunConfig::default()
    }
}

pub fn every(steps: u64) -> SupervisorOptions {
    let keep = KeepOptions { checkpoint_every: Interval::Steps(steps), keep_checkpoints: 2 };
    SupervisorOptions { keep, ..SupervisorOptions::default() }
}

/// All that a run leaves: weights with running statistics, state, and metrics, wall-clock time aside.
#[derive(Debug, PartialEq)]
pub struct Left {
    pub weights: Vec<u8>,
    pub files: Vec<(String, Vec<u8>)>,
    pub steps: Vec<StepRecord>,
    pub epochs: Vec<EpochRecord>,
}

/// This process' device, on which every run after the first finds its kernels compiled; that a run goes on in another
/// process is `cli::processes`' matter, on another device that of `train::faults`.
pub fn open() -> Result<Gpu, TrainError> {
    Ok(device().again())
}

/// Runs until the end, or until so many steps are done.
pub fn go(
    supervisor: &mut Supervisor,
    stop_after: Option<u64>,
    notices: &mut Vec<String>,
) -> Result<RunResult, TrainError> {
    let mut observe = |message: Message<'_>| {
        let mut control = Control::Continue;
        match message {
            Message::Notice(text) => notices.push(text.to_owned()),
            Message::Event(Event::Progress { step, .. }) if Some(step) == stop_after => control = Control::Stop,
            Message::Event(_) => {}
        }
        Ok(control)
    };
    let mut finish = |_: &Trainer<'_>, _: &RunResult, _| Ok(());
    supervisor.run(&open, false, &mut observe, &mut finish).map(|(result, ())| result)
}

pub fn begin(dir: &Path, config: &RunConfig, options: SupervisorOptions) -> Supervisor {
    fs::create_dir_all(dir).unwrap();
    Supervisor::new(dir, config.clone(), options).unwrap()
}

pub fn resume(dir: &Path, options: SupervisorOptions) -> Supervisor {
    Supervisor::resume(dir, &Options::default(), options, false, &mut |notice| panic!("{notice}")).unwrap()
}

pub fn left(dir: &Path) -> Left {
    let newest = checkpoints(dir).pop().unwrap();
    let read = |name: &str| fs::read(newest.join(name)).unwrap();
    let (steps, epochs) = MetricsFile::read(&dir.join("metrics.jsonl")).unwrap();
    let timeless = |record: EpochRecord| EpochRecord { samples_per_second: 0.0, ..record };
    let names = ["state.safetensors", "weights-average.safetensors", "moments.safetensors"];
    let there = names.into_iter().filter(|name| newest.join(name).exists());
    Left {
        weights: read("weights.safetensors"),
        files: there.map(|name| (name.to_owned(), read(name))).collect(),
        steps,
        epochs: epochs.into_iter().map(timeless).collect(),
    }
}

/// Folders of the checkpoints, oldest first.
pub fn checkpoints(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("checkpoints")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

pub fn manifest(checkpoint: &Path) -> Manifest {
    Manifest::open(checkpoint).unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Changes `checkpoint.json`; the checksums are then wrong.
pub fn edit_manifest(checkpoint: &Path, edit: impl Fn(&mut serde_json::Value)) {
    let path = checkpoint.join("checkpoint.json");
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Makes the checksums of a changed checkpoint right again.
pub fn mend_sums(checkpoint: &Path) {
    let path = checkpoint.join("SHA256SUMS");
    let names = fs::read_to_string(&path).unwrap();
    let names = names.lines().map(|line| line.split_once("  ").unwrap().1);
    let sum = |name: &str| format!("{}  {name}\n", sha256(&fs::read(checkpoint.join(name)).unwrap()));
    fs::write(&path, names.map(sum).collect::<String>()).unwrap();
}
