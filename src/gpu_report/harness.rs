//! The text of Rust's test harness: which tests passed, which failed and why, and which never came to an end.

use serde::Serialize;

/// Characters of a panic's message that are kept.
const MESSAGE: usize = 300;

/// What the harness adds to the name of a test that has to panic.
const SHOULD_PANIC: &str = " - should panic";

/// A test that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its name, with its room's.
    pub name: String,
    /// The panic's message, shortened.
    pub message: String,
}

/// A process of the test harness.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TestRun {
    /// Tests that passed.
    pub passed: Vec<String>,
    /// Tests that failed.
    pub failed: Vec<Failure>,
    /// Tests that are marked as ignored.
    pub ignored: usize,
    /// Tests that were to run and are not heard of: the process was killed, or died.
    pub unfinished: Vec<String>,
    /// Relative differences of losses that a test printed.
    pub losses_within: Vec<f64>,
}

impl TestRun {
    /// From what a process printed that was to run `expected`.
    pub(super) fn parse(text: &str, expected: &[&str]) -> Self {
        let mut run = Self::default();
        for line in text.lines() {
            let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) else {
                run.losses_within.extend(losses_within(line));
                continue;
            };
            let name = name.strip_suffix(SHOULD_PANIC).unwrap_or(name);
            match result {
                "ok" => run.passed.push(name.to_owned()),
                "FAILED" => run.failed.push(Failure { name: name.to_owned(), message: message(text, name) }),
                result if result.starts_with("ignored") => run.ignored += 1,
                _ => {}
            }
        }
        let line = |name: &str, kind: &str| text.contains(&format!("test {name}{kind} ... "));
        let heard_of = |name: &str| line(name, "") || line(name, SHOULD_PANIC);
        run.unfinished = expected.iter().filter(|name| !heard_of(name)).map(|name| (*name).to_owned()).collect();
        run
    }

    /// Tests that ran to their end.
    pub(super) fn finished(&self) -> usize {
        self.passed.len() + self.failed.len()
    }
}

/// The number of a line such as `cnn1, noise all: losses within 1.1e-7, ...`.
fn losses_within(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("losses within ")?;
    rest.split([' ', ',']).next()?.parse().ok()
}

/// Why a test failed: the lines after the panic's place, or the last ones where nothing panicked.
fn message(text: &str, name: &str) -> String {
    let head = format!("---- {name} stdout ----");
    let Some((_, section)) = text.split_once(&head) else { return "no output of it".to_owned() };
    let lines: Vec<_> = section
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("---- ") && *line != "failures:" && *line != "successes:")
        .filter(|line| !line.is_empty() && !line.starts_with("note: "))
        .collect();
    let panic = lines.iter().position(|line| line.contains(" panicked at "));
    let trace = lines.iter().position(|line| *line == "stack backtrace:").unwrap_or(lines.len());
    let why = match panic {
        Some(at) => lines[at + 1..trace.max(at + 1)].join(" "),
        None => lines.last().map_or_else(String::new, |line| (*line).to_owned()),
    };
    why.chars().take(MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
running 4 tests
test kernels::conv::good ... ok
test kernels::conv::panics - should panic ... ok
test kernels::conv::slow ... ignored, takes a minute
test kernels::conv::wrong ... FAILED

successes:

---- kernels::conv::good stdout ----
perceptron, noise none: losses within 1.2e-7, weights within 3.1e-8
cnn1, noise all: losses within NaN of llvmpipe's

failures:

---- kernels::conv::wrong stdout ----

thread 'kernels::conv::wrong' (12) panicked at tests/suite/kernels/conv.rs:7:5:
Block64 Forward: 3 of 12 wrong;
worst is element 5
stack backtrace:
   0: core::panicking::panic_fmt
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    kernels::conv::wrong

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 90 filtered out; finished in 0.01s
";

    #[test]
    fn results_messages_and_figures_are_read() {
        let run = TestRun::parse(TEXT, &["kernels::conv::good", "kernels::conv::panics", "kernels::conv::gone"]);
        assert_eq!(run.passed, ["kernels::conv::good", "kernels::conv::panics"]);
        assert_eq!(run.failed[0].name, "kernels::conv::wrong");
        assert_eq!(run.failed[0].message, "Block64 Forward: 3 of 12 wrong; worst is element 5");
        assert_eq!((run.ignored, run.finished()), (1, 3));
        assert_eq!(run.unfinished, ["kernels::conv::gone"]);
        assert_eq!(run.losses_within[0], 1.2e-7);
        assert!(run.losses_within[1].is_nan());
    }

    #[test]
    fn a_process_that_died_leaves_all_its_tests_unfinished() {
        let run = TestRun::parse("running 2 tests\n", &["a::b", "a::c"]);
        assert_eq!((run.finished(), run.unfinished.len()), (0, 2));
    }

    #[test]
    fn a_failure_without_a_panic_has_its_last_line() {
        let text = "test a::b ... FAILED\n---- a::b stdout ----\nError: no adapter\n";
        assert_eq!(TestRun::parse(text, &[]).failed[0].message, "Error: no adapter");
        assert_eq!(TestRun::parse("test a::b ... FAILED\n", &[]).failed[0].message, "no output of it");
    }
}
