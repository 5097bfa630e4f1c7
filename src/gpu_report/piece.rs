//! A piece of work with what was made of its output.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Stage,
    harness::TestRun,
    ledger::{Ending, Entry, Kind},
    measured::{Adapter, Experiment, Roofline, Step, TorchLine, Variants},
};

/// Exit statuses of `timeout`: the limit was reached; its last resort was SIGKILL.
const CUT: [i32; 2] = [124, 137];

/// Exit statuses of `jostle experiment` where a claim fails or is undecided: results, no failures.
const RESULTS: [i32; 2] = [5, 6];

/// How a piece ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PieceStatus {
    /// In order.
    Passed,
    /// A test failed, the program crashed, or its output makes no sense.
    Failed,
    /// Its time limit was reached.
    Cut,
    /// It was not begun.
    Skipped,
}

/// What a piece gave.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Adapters.
    Adapters(Vec<Adapter>),
    /// Tests.
    Tests(TestRun),
    /// A roofline.
    Roofline(Roofline),
    /// Variants of products.
    Variants(Variants),
    /// A training step.
    Step(Step),
    /// PyTorch's steps and products.
    Torch(Vec<TorchLine>),
    /// An experiment.
    Experiment(Experiment),
    /// Nothing that can be read.
    Nothing,
}

/// A piece of work.
#[derive(Clone, Debug, Serialize)]
pub struct Piece {
    /// Its stage.
    pub stage: Stage,
    /// What it is.
    pub title: String,
    /// How it ended.
    pub status: PieceStatus,
    /// Why it is not in order; empty where it is.
    pub note: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// What it gave.
    pub finding: Finding,
}

fn json<T: DeserializeOwned>(text: &str, wrap: impl Fn(T) -> Finding) -> Result<Finding, String> {
    serde_json::from_str(text.trim()).map(wrap).map_err(|error| format!("its output cannot be read: {error}"))
}

/// The lines of PyTorch that are whole; the last may have been cut.
fn torch(text: &str) -> Finding {
    Finding::Torch(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn read(entry: &Entry, tests: &[String]) -> Result<Finding, String> {
    match entry.kind {
        Kind::Adapters => json(&entry.stdout, Finding::Adapters),
        Kind::Roofline => json(&entry.stdout, Finding::Roofline),
        Kind::Variants => json(&entry.stdout, Finding::Variants),
        Kind::Step => json(&entry.stdout, Finding::Step),
        Kind::Experiment => json(&entry.stdout, Finding::Experiment),
        Kind::Torch => Ok(torch(&entry.stdout)),
        Kind::Tests => {
            // A title is the name of a test, or of a room: all tests whose names begin with it.
            let belongs = |test: &&str| **test == entry.title || test.starts_with(&format!("{}::", entry.title));
            let expected: Vec<_> = tests.iter().map(String::as_str).filter(belongs).collect();
            Ok(Finding::Tests(TestRun::parse(&entry.stdout, &expected)))
        }
    }
}

/// What an exit status says beyond its number.
fn exit_words(status: i32) -> String {
    let signal = match status {
        129..=192 => status - 128,
        _ => return format!("exit status {status}"),
    };
    let name = match signal {
        4 => " (illegal instruction)",
        6 => " (abort)",
        7 => " (bus error)",
        9 => " (killed)",
        11 => " (segmentation fault)",
        _ => "",
    };
    format!("ended by signal {signal}{name}")
}

impl Piece {
    pub(super) fn new(entry: Entry, tests: &[String]) -> Self {
        let status = match &entry.ending {
            Ending::Skipped(reason) => {
                let (stage, title, note) = (entry.stage, entry.title, reason.clone());
                return Self {
                    stage,
                    title,
                    status: PieceStatus::Skipped,
                    note,
                    seconds: 0.0,
                    finding: Finding::Nothing,
                };
            }
            Ending::Exit(status) => *status,
        };
        let finding = read(&entry, tests);
        let (status, note) = Self::judge(&entry, status, &finding);
        let Entry { stage, title, seconds, .. } = entry;
        Self { stage, title, status, note, seconds, finding: finding.unwrap_or(Finding::Nothing) }
    }

    fn judge(entry: &Entry, exit: i32, finding: &Result<Finding, String>) -> (PieceStatus, String) {
        let last_words = entry.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let limit = format!("stopped after {:.0} s", entry.seconds);
        let unheard = |run: &TestRun| match run.unfinished.len() {
            0 => String::new(),
            _ => format!("; not heard of: {}", run.unfinished.join(", ")),
        };
        match (exit, finding) {
            (exit, Ok(Finding::Tests(run))) => match exit {
                exit if CUT.contains(&exit) => (PieceStatus::Cut, limit + &unheard(run)),
                0 if run.finished() == 0 => (PieceStatus::Failed, "no test ran".to_owned()),
                0 => (PieceStatus::Passed, String::new()),
                101 if !run.failed.is_empty() => {
                    (PieceStatus::Failed, format!("{} failed", run.failed.len()) + &unheard(run))
                }
                exit => (PieceStatus::Failed, format!("{}: {last_words}", exit_words(exit)) + &unheard(run)),
            },
            (exit, _) if CUT.contains(&exit) => (PieceStatus::Cut, limit),
            (0, Ok(Finding::Torch(lines))) if !lines.iter().any(|line| matches!(line, TorchLine::Timed(_))) => {
                (PieceStatus::Failed, "it timed nothing".to_owned())
            }
            (0, Err(why)) => (PieceStatus::Failed, why.clone()),
            (0, Ok(_)) => (PieceStatus::Passed, String::new()),
            (exit, Ok(Finding::Experiment(_))) if RESULTS.contains(&exit) => (PieceStatus::Passed, String::new()),
            (exit, _) => (PieceStatus::Failed, format!("{}: {last_words}", exit_words(exit))),
        }
    }

    pub(super) fn tests(&self) -> Option<&TestRun> {
        if let Finding::Tests(run) = &self.finding { Some(run) } else { None }
    }

    pub(super) fn torch(&self) -> &[TorchLine] {
        if let Finding::Torch(lines) = &self.finding { lines } else { &[] }
    }

    /// What went wrong, by name. PyTorch's failures are not the program's.
    pub(super) fn failures(&self) -> Vec<String> {
        let failed = self.tests().map_or(&[][..], |run| &run.failed);
        let mut lines: Vec<_> = failed.iter().map(|record| format!("{}: {}", record.name, record.message)).collect();
        if self.status == PieceStatus::Failed && lines.is_empty() && self.stage != Stage::Torch {
            lines.push(format!("{}: {}", self.title, self.note));
        } else if let (PieceStatus::Failed, Some(run)) = (self.status, self.tests()) {
            // Those that a crash took along are suspects too.
            lines.extend(run.unfinished.iter().map(|name| format!("{name}: not heard of, {}", self.note)));
        }
        lines
    }
}
