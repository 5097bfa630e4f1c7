//! GPUs by their data sheets.

use std::path::Path;

use crate::{
    gpu::{CooperativeMatrix, Scalar},
    input,
    kernels::Target,
};

use super::{
    DescriptionError,
    fields::{BANDWIDTH, BYTES, BYTES_A_CLOCK, FREQUENCY, Fields, RATE, TIME},
};

/// The largest file.
const MAX_BYTES: u64 = 1 << 16;

/// Cooperative matrices with f16 operands and f32 sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matrices {
    /// Their side: 8 or 16.
    pub side: u32,
    /// Operations a second without loads.
    pub rate: f64,
    /// Whether there are such of f32 operands too, with 8 on a side.
    pub of_words: bool,
}

/// A GPU as far as a step's time depends on it. In seconds, bytes and operations, all above zero.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuDescription {
    /// What it is called.
    pub name: String,
    /// Where the figures come from.
    pub sources: Vec<String>,
    /// Units that run a workgroup: multiprocessors, compute units, cores.
    pub multiprocessors: u32,
    /// Invocations of a subgroup.
    pub subgroup: u32,
    /// Invocations that a multiprocessor holds at most.
    pub threads: u32,
    /// Workgroups that it holds at most.
    pub workgroups: u32,
    /// Bytes of its registers.
    pub registers: f64,
    /// Bytes of its workgroup memory.
    pub workgroup_memory: f64,
    /// Bytes of workgroup memory that one workgroup may have.
    pub workgroup_limit: f64,
    /// Bytes of memory.
    pub memory: f64,
    /// Cycles a second under load.
    pub clock: f64,
    /// Bytes a second from and to memory.
    pub bandwidth: f64,
    /// Bytes a second from the last cache.
    pub cache_bandwidth: f64,
    /// Bytes a cycle from and to a multiprocessor's workgroup memory.
    pub workgroup_bandwidth: f64,
    /// Operations a second in f32, two for a multiply-add.
    pub f32_rate: f64,
    /// Cooperative matrices, where it has some that there are kernels for.
    pub matrices: Option<Matrices>,
    /// From the end of a dispatch to the work of the next.
    pub launch: f64,
    /// A round that waits for memory.
    pub round: f64,
}

macro_rules! known {
    ($($name:literal),+) => {
        &[$(($name, include_str!(concat!("../../assets/gpus/", $name, ".toml")))),+]
    };
}

/// Those that come with the program.
const KNOWN: &[(&str, &str)] = known!["h100", "h200", "a100", "rtx4090", "rx7900xtx", "m2-max", "arc-a770"];

impl GpuDescription {
    /// The names of those that come with the program.
    pub fn known() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|(name, _)| *name)
    }

    /// The GPU of this name, or of this file if it ends in `.toml`.
    ///
    /// # Errors
    /// [`DescriptionError`] saying which key is missing, zero or of another unit.
    pub fn named(name: &str) -> Result<Self, DescriptionError> {
        if let Some((_, text)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return Self::parse(Path::new(&format!("{name}.toml")), text);
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|extension| extension != "toml") {
            let known: Vec<_> = Self::known().collect();
            return Err(DescriptionError::Unknown { found: name.to_owned(), known: known.join(", ") });
        }
        let text = input::text(path, MAX_BYTES)
            .map_err(|error| DescriptionError::File { path: path.to_owned(), reason: error.to_string() })?;
        Self::parse(path, &text)
    }

    /// The GPU that a text describes; `path` is for messages.
    ///
    /// # Errors
    /// As [`GpuDescription::named`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, DescriptionError> {
        let table = toml::from_str(text)
            .map_err(|error| DescriptionError::File { path: path.to_owned(), reason: error.to_string() })?;
        let mut fields = Fields::new(path, table);
        let matrices = fields.table("matrices", "matrices.")?.map(Matrices::read).transpose()?;
        let description = Self {
            name: fields.text("name")?,
            sources: fields.texts("sources")?,
            multiprocessors: fields.count("multiprocessors")?,
            subgroup: fields.count("subgroup")?,
            threads: fields.count("threads")?,
            workgroups: fields.count("workgroups")?,
            registers: fields.quantity("registers", BYTES)?,
            workgroup_memory: fields.quantity("workgroup-memory", BYTES)?,
            workgroup_limit: fields.quantity("workgroup-limit", BYTES)?,
            memory: fields.quantity("memory", BYTES)?,
            clock: fields.quantity("clock", FREQUENCY)?,
            bandwidth: fields.quantity("bandwidth", BANDWIDTH)?,
            cache_bandwidth: fields.quantity("cache-bandwidth", BANDWIDTH)?,
            workgroup_bandwidth: fields.quantity("workgroup-bandwidth", BYTES_A_CLOCK)?,
            f32_rate: fields.quantity("f32", RATE)?,
            matrices,
            launch: fields.quantity("launch", TIME)?,
            round: fields.quantity("round", TIME)?,
        };
        fields.done()?;
        Ok(description)
    }

    /// What plans for it go by.
    #[must_use]
    pub fn target(&self) -> Target {
        let half = self.matrices.map(|matrices| CooperativeMatrix::square(matrices.side, Scalar::F16));
        let words = self.matrices.filter(|matrices| matrices.of_words);
        let word = words.map(|_| CooperativeMatrix::square(8, Scalar::F32));
        let matrices: Vec<_> = half.into_iter().chain(word).collect();
        Target::described(self.subgroup, &matrices, self.workgroup_limit as u32, self.memory as u64)
    }
}

impl Matrices {
    fn read(mut fields: Fields<'_>) -> Result<Self, DescriptionError> {
        let side = fields.count("side")?;
        let operands = fields.texts("operands")?;
        let rate = fields.quantity("rate", RATE)?;
        let known = operands.iter().all(|operand| ["f16", "f32"].contains(&operand.as_str()));
        let of_words = operands.iter().any(|operand| operand == "f32");
        if !matches!(side, 8 | 16) {
            return Err(fields.refused("side", "8 or 16", &side.to_string()));
        }
        if !known || !operands.iter().any(|operand| operand == "f16") || (of_words && side != 8) {
            let expected = "[\"f16\"], or [\"f16\", \"f32\"] with 8 on a side";
            return Err(fields.refused("operands", expected, &format!("{operands:?}")));
        }
        fields.done()?;
        Ok(Self { side, rate, of_words })
    }
}
