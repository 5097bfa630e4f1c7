//! A sanitizer of compute kernels: runs a kernel's WGSL invocation by invocation, with subgroups of any size, and finds what a GPU may
//! punish and a software adapter does not show, because it runs a workgroup's subgroups one after the other.
//!
//! - a race: two invocations touch the same bytes, one of them writes, and no barrier lies between; or two workgroups do;
//! - a read of workgroup memory that the workgroup has not written: Jostle has none of it zeroed;
//! - an index outside of a binding or an array: Jostle's kernels run without bounds checks;
//! - a barrier that not all invocations of a workgroup reach, or an operation of a subgroup that not all of its invocations do.
//!
//! NVIDIA's Compute Sanitizer calls these checks racecheck, initcheck, memcheck and synccheck, and makes them for CUDA. This one needs no
//! GPU: it runs what naga, wgpu's compiler, reads.

use std::fmt;

use naga::{
    Module, Scalar, ShaderStage,
    back::{PipelineConstants, pipeline_constants::process_overrides},
    front::wgsl,
    valid::{Capabilities, ModuleInfo, ValidationFlags, Validator},
};

mod arithmetic;
mod expressions;
mod layout;
mod machine;
mod math;
mod memory;
mod shadow;
mod statements;
mod subgroups;
mod value;

#[cfg(test)]
mod tests;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two invocations touch the same bytes, one of them writes, and nothing orders them.
    Race,
    /// Workgroup memory is read before it is written.
    Unwritten,
    /// An index is outside of a binding.
    Outside,
    /// An index is past the end of an array, a vector or a variable.
    PastEnd,
    /// Invocations that have to come together do not.
    Apart,
}

/// Something wrong with a kernel: the first of its kind on its line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// Line of the WGSL, from 1 on, and its text.
    pub line: u32,
    /// The line.
    pub source: String,
    /// Which bytes and invocations.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at line {}, `{}`: {}", self.kind, self.line, self.source, self.what)
    }
}

/// Why a kernel cannot be run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// naga's words, or what the kernel has that is not known here.
    Unknown(String),
    /// It takes more than [`Launch::steps`]; a run ends there.
    TooLong,
}

impl Fault {
    pub(crate) fn unknown(what: impl fmt::Display) -> Self {
        Self::Unknown(format!("unknown here: {what}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(what) => f.write_str(what),
            Self::TooLong => f.write_str("it takes too many steps"),
        }
    }
}

impl std::error::Error for Fault {}

/// A kernel, its overrides in place.
#[derive(Debug)]
pub struct Kernel {
    module: Module,
    info: ModuleInfo,
    text: String,
}

impl Kernel {
    /// Reads WGSL and puts the overrides in.
    ///
    /// # Errors
    /// naga's words where it refuses them.
    pub fn new(text: &str, entry: &str, overrides: &[(&str, f64)]) -> Result<Self, Fault> {
        let module = wgsl::parse_str(text).map_err(|error| Fault::Unknown(error.emit_to_string(text)))?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
        let info = validator.validate(&module).map_err(|error| Fault::Unknown(error.emit_to_string(text)))?;
        let constants: PipelineConstants = overrides.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let (module, info) = process_overrides(&module, &info, Some((ShaderStage::Compute, entry)), &constants)
            .map_err(|error| Fault::Unknown(format!("{error:?}")))?;
        Ok(Self { module: module.into_owned(), info: info.into_owned(), text: text.to_owned() })
    }

    /// Runs some workgroups of a launch, one after the other, as far as [`Launch::steps`] lets it.
    ///
    /// Where an invocation reads what another one writes at once, all is run again with nonsense in place of what it reads: if the
    /// kernel writes the same with any, the value was for nobody, as of invocations past the end that repeat the last element, and the
    /// race is not told of.
    ///
    /// # Errors
    /// [`Fault::Unknown`] for what is not known here.
    pub fn run(&self, launch: &Launch<'_>, workgroups: &[[u32; 3]]) -> Result<Outcome, Fault> {
        let run = |spoilt: memory::Spoilt| {
            let mut machine = machine::Machine::new(self, launch)?;
            machine.spoilt = spoilt;
            let ended = workgroups.iter().try_for_each(|id| machine.run(*id));
            let findings: Vec<_> = std::mem::take(&mut machine.findings).into_iter().collect();
            match ended {
                Ok(()) => Ok((findings, machine, true)),
                Err(Fault::TooLong) => Ok((findings, machine, false)),
                Err(fault) => Err(fault),
            }
        };
        let (mut findings, machine, is_whole) = run(memory::Spoilt::default())?;
        if is_whole && !machine.races.is_empty() && !machine.is_torn {
            let mut is_harmless = true;
            for nonsense in memory::NONSENSE {
                let (others, again, ends) = run(memory::Spoilt { races: machine.races.clone(), nonsense })?;
                let is_same = machine.buffers.iter().zip(&again.buffers).all(|(a, b)| a.bytes == b.bytes);
                is_harmless &= ends && is_same && findings == others;
            }
            if is_harmless {
                findings.retain(|finding| finding.kind != Kind::Race);
            }
        }
        let buffers = machine
            .buffers
            .into_iter()
            .map(|buffer| Written { written: buffer.shadows.written().collect(), bytes: buffer.bytes });
        Ok(Outcome { findings, is_whole, buffers: buffers.collect() })
    }

    /// What each binding is an array of, by its number: the scalar, and how many of them an element has.
    #[must_use]
    pub fn bindings(&self) -> Vec<(u32, Scalar, u32)> {
        let globals = self.module.global_variables.iter();
        let found = globals.filter_map(|(_, global)| {
            let (scalar, count) = layout::element(&self.module, global.ty)?;
            Some((global.binding?.binding, scalar, count))
        });
        found.collect()
    }

    /// Whether the size of subgroups can matter.
    #[must_use]
    pub fn has_subgroups(&self) -> bool {
        let mut code = self.text.lines().map(|line| line.split("//").next().unwrap_or_default());
        code.any(|code| code.contains("subgroup") || code.contains("coop"))
    }
}

/// A part of a buffer that a binding sees.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Which of the buffers.
    pub buffer: usize,
    /// First byte.
    pub start: usize,
    /// Bytes that are bound.
    pub bound: usize,
    /// Of these those that the kernel may touch: a tensor need not end with the last vec4.
    pub len: usize,
}

/// What a kernel is run on.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Invocations of a subgroup.
    pub subgroup: u32,
    /// Workgroups.
    pub grid: [u32; 3],
    /// The immediates.
    pub immediates: &'a [u8],
    /// The bytes of each buffer.
    pub buffers: &'a [Vec<u8>],
    /// What of which each binding sees, in the order of the bindings.
    pub bindings: &'a [Part],
    /// Values of expressions, of all invocations, that a run may take; without end where not said.
    pub steps: u64,
}

impl<'a> Launch<'a> {
    /// A launch.
    #[must_use]
    pub fn new(
        subgroup: u32,
        grid: [u32; 3],
        immediates: &'a [u8],
        buffers: &'a [Vec<u8>],
        bindings: &'a [Part],
    ) -> Self {
        Self { subgroup, grid, immediates, buffers, bindings, steps: u64::MAX }
    }
}

/// A buffer after a run.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Which two bytes the kernel has written, numbered from 0 on.
    pub written: Vec<usize>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is wrong, by kind and line.
    pub findings: Vec<Finding>,
    /// Whether all was run; the buffers are half done where not.
    pub is_whole: bool,
    /// The buffers.
    pub buffers: Vec<Written>,
}
