//! What `scripts/gpu.sh` leaves behind: a line a piece of work, and the files that hold its output.

use std::{fs, io, path::Path};

use serde::Serialize;

/// The stages, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Adapters, limits, features.
    Adapters,
    /// The tests of the kernels, a process a room.
    Correctness,
    /// Every kernel of a step against the adapter's ceilings.
    Roofline,
    /// Every variant of the products.
    Variants,
    /// Training steps and what noise costs them.
    Steps,
    /// The same in PyTorch.
    Torch,
    /// Training runs against a committed trace.
    Trace,
    /// An experiment.
    Experiment,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Adapters,
        Self::Correctness,
        Self::Roofline,
        Self::Variants,
        Self::Steps,
        Self::Torch,
        Self::Trace,
        Self::Experiment,
    ];

    /// What ledger and tables call it.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Adapters => "a",
            Self::Correctness => "b",
            Self::Roofline => "c",
            Self::Variants => "d",
            Self::Steps => "e",
            Self::Torch => "f",
            Self::Trace => "g",
            Self::Experiment => "h",
        }
    }

    /// What it does.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Adapters => "adapters, limits, features",
            Self::Correctness => "correctness: the tests of the kernels",
            Self::Roofline => "roofline",
            Self::Variants => "variants of the products",
            Self::Steps => "training steps, cost of noise",
            Self::Torch => "PyTorch and Meganeura beside it",
            Self::Trace => "training runs against llvmpipe's",
            Self::Experiment => "experiment fmnist-mlp",
        }
    }

    fn parse(letter: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.letter() == letter)
    }
}

/// What a piece's output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON of `jostle adapters`.
    Adapters,
    /// The text of Rust's test harness.
    Tests,
    /// JSON of `jostle bench --roofline`.
    Roofline,
    /// JSON of `jostle bench --variants`.
    Variants,
    /// JSON of `jostle bench`.
    Step,
    /// A JSON object a line, of `torch_step.py` or another peer.
    Torch,
    /// JSON of `jostle experiment`.
    Experiment,
}

impl Kind {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "adapters" => Self::Adapters,
            "tests" => Self::Tests,
            "roofline" => Self::Roofline,
            "variants" => Self::Variants,
            "step" => Self::Step,
            "torch" => Self::Torch,
            "experiment" => Self::Experiment,
            _ => return None,
        })
    }
}

/// How a piece ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With this exit status.
    Exit(i32),
    /// It was not begun, for this reason.
    Skipped(String),
}

/// A piece of work.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) stage: Stage,
    pub(super) kind: Kind,
    pub(super) title: String,
    pub(super) ending: Ending,
    pub(super) seconds: f64,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// What is known of the run as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Run {
    /// When it began, UTC.
    pub started: String,
    /// The machine: its system and the number of its cores, what `nvidia-smi` says.
    pub machine: Vec<String>,
    /// Seconds that it may take.
    pub budget: f64,
    /// Seconds that it has taken.
    pub seconds: f64,
    /// Whether shapes are those of a rehearsal.
    pub toy: bool,
    /// Whether the last stage has ended: if not, the run is still going or was cut.
    pub finished: bool,
}

/// The names of the suite's tests, one a line; they show which ones a crash took along.
pub(super) const LIST: &str = "list.txt";

/// The ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) run: Run,
    pub(super) entries: Vec<Entry>,
    /// Names of the suite's tests.
    pub(super) tests: Vec<String>,
}

impl Ledger {
    /// Reads `ledger.tsv` in `folder` and the files that it names. Fields are separated by tabs:
    ///
    /// - `run`, key, value
    /// - letter of the stage, kind, title, exit status, seconds, name of the output's files without `.out` and `.err`
    /// - letter of the stage, kind, title, `skipped`, 0, reason
    ///
    /// # Errors
    /// The file system's; `InvalidData` for a line of another form, with the line.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(folder.join("ledger.tsv"))?;
        let mut ledger = Self::default();
        // A line that was being written when the run was cut has no end, and is left out.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("no line of a ledger: {line:?}"));
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["run", key, value] => ledger.run.set(key, value).ok_or_else(wrong)?,
                [stage, kind, title, ending, seconds, last] => {
                    let entry = Entry::parse(folder, [stage, kind, title, ending, seconds, last]);
                    ledger.entries.push(entry.ok_or_else(wrong)?);
                }
                _ => return Err(wrong()),
            }
        }
        let list = fs::read_to_string(folder.join(LIST)).unwrap_or_default();
        ledger.tests = list.lines().map(str::to_owned).collect();
        Ok(ledger)
    }
}

impl Run {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "started" => self.started = value.to_owned(),
            "machine" => self.machine.push(value.to_owned()),
            "budget" => self.budget = value.parse().ok()?,
            "seconds" => self.seconds = value.parse().ok()?,
            "toy" => self.toy = value == "1",
            "finished" => self.finished = true,
            _ => return None,
        }
        Some(())
    }
}

impl Entry {
    fn parse(folder: &Path, [stage, kind, title, ending, seconds, last]: [&str; 6]) -> Option<Self> {
        let (stage, kind) = (Stage::parse(stage)?, Kind::parse(kind)?);
        let skipped = ending == "skipped";
        let ending = if skipped { Ending::Skipped(last.to_owned()) } else { Ending::Exit(ending.parse().ok()?) };
        // A test may print any bytes, and what was killed may have printed nothing.
        let output = |suffix: &str| match fs::read(folder.join(format!("{last}.{suffix}"))) {
            Ok(bytes) if !skipped => String::from_utf8_lossy(&bytes).into_owned(),
            _ => String::new(),
        };
        let (stdout, stderr) = (output("out"), output("err"));
        Some(Self { stage, kind, title: title.to_owned(), ending, seconds: seconds.parse().ok()?, stdout, stderr })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Ledger> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ledger.tsv"), text).unwrap();
        fs::write(folder.path().join("one.out"), b"out\xff").unwrap();
        Ledger::read(folder.path())
    }

    #[test]
    fn lines_become_entries() {
        let ledger =
            read("run\tbudget\t420\nb\ttests\tkernels::conv\t101\t3.5\tone\nf\ttorch\tall\tskipped\t0\tnone\n");
        let ledger = ledger.unwrap();
        assert_eq!(ledger.run.budget, 420.0);
        let [tests, torch] = &ledger.entries[..] else { panic!("{:?}", ledger.entries) };
        assert_eq!((tests.stage, tests.kind, &tests.ending), (Stage::Correctness, Kind::Tests, &Ending::Exit(101)));
        assert_eq!((tests.seconds, tests.stdout.as_str(), tests.stderr.as_str()), (3.5, "out\u{fffd}", ""));
        assert_eq!(torch.ending, Ending::Skipped("none".to_owned()));
    }

    #[test]
    fn a_line_that_was_cut_is_left_out() {
        assert_eq!(read("run\ttoy\t1\nb\ttests\tkernels::conv\t10").unwrap().entries.len(), 0);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in
            ["x\ttests\tt\t0\t1\tone", "b\tother\tt\t0\t1\tone", "b\ttests\tt\tno\t1\tone", "b\ttests", "run\tx\t1"]
        {
            assert!(read(&format!("{line}\n")).is_err(), "{line}");
        }
    }
}
