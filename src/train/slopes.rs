//! `slopes.txt`: what a run that moves by slopes of the loss can be replayed from, without its data.

use std::path::{Path, PathBuf};

use crate::{input, rules::RuleKind};

use super::{RunConfig, TrainError, growing::GrowingFile};

const SLOPES: &str = "slopes.txt";

/// Bytes of a line: the eight hexadecimal digits of a f32's bits, and the line's end.
const LINE: u64 = 9;

/// The file, a line for each step.
#[derive(Debug)]
pub(super) struct SlopesFile(GrowingFile);

impl SlopesFile {
    fn path(run: &Path) -> PathBuf {
        run.join(SLOPES)
    }

    fn is_kept(config: &RunConfig) -> bool {
        config.rule == RuleKind::Mezo
    }

    /// Of a new run, where its rule moves by slopes.
    pub(super) fn begin(run: &Path, config: &RunConfig) -> Result<Option<Self>, TrainError> {
        let create = || GrowingFile::create(&Self::path(run)).map(Self);
        Self::is_kept(config).then(create).transpose()
    }

    /// Resumes after so many steps.
    pub(super) fn resume(run: &Path, config: &RunConfig, steps: u64) -> Result<Option<Self>, TrainError> {
        let resume = || GrowingFile::resume(&Self::path(run), LINE.saturating_mul(steps)).map(Self);
        Self::is_kept(config).then(resume).transpose()
    }

    pub(super) fn push(&mut self, slope: f32) -> Result<(), TrainError> {
        self.0.write(format!("{:08x}\n", slope.to_bits()).as_bytes())
    }

    pub(super) fn sync(&mut self) -> Result<(), TrainError> {
        self.0.sync().map(|_| ())
    }
}

/// The slopes of a run's steps, in order; a last line without its end, of a run that was killed, is left out.
///
/// # Errors
/// [`TrainError::Io`]; [`TrainError::Metrics`] for a line that is no slope, with its number.
pub fn read_slopes(run: &Path) -> Result<Vec<f32>, TrainError> {
    let path = SlopesFile::path(run);
    let text =
        input::bytes(&path).and_then(input::utf8).map_err(|source| TrainError::Io { path: path.clone(), source })?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    parse(whole).map_err(|reason| TrainError::Metrics { path, reason })
}

fn parse(text: &str) -> Result<Vec<f32>, String> {
    let slope = |(index, line): (usize, &str)| {
        // A sign would be read too.
        let is_slope = line.len() as u64 + 1 == LINE && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = is_slope.then(|| u32::from_str_radix(line, 16).ok()).flatten();
        bits.map(f32::from_bits)
            .ok_or_else(|| format!("line {}: {line:?}, expected eight hexadecimal digits", index + 1))
    };
    text.lines().enumerate().map(slope).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn slopes_are_read_to_the_bit_and_other_lines_refused() {
        assert_eq!(parse("3f800000\nbf000000"), Ok(vec![1.0, -0.5]));
        assert_eq!(parse(""), Ok(vec![]));
        for line in ["3f8000", "3f80000g", "+f800000", "3f8000000"] {
            let error = parse(&format!("3f800000\n{line}"));
            assert!(error.as_ref().is_err_and(|reason| reason.starts_with("line 2")), "{line}: {error:?}");
        }
    }
}
