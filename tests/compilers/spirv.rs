//! Vulkan: SPIR-V as wgpu has it written.

use naga::{
    ShaderStage,
    back::spv::{Options, PipelineOptions, ZeroInitializeWorkgroupMemoryMode, write_vec},
    proc::{BoundsCheckPolicies, BoundsCheckPolicy},
};

use crate::{Overrides, Source};

/// Which run-time checks are written into a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// Those that the engine leaves in: bounds of kernels that index by values of a buffer, on a device whose buffers check
    /// theirs (VK_EXT_robustness2).
    AsTrained,
    /// All of them.
    All,
}

/// The SPIR-V of one choice, for Vulkan 1.3.
///
/// # Errors
/// naga's words.
pub fn write(source: &Source, overrides: &Overrides<'_>, checks: Checks) -> Result<Vec<u32>, String> {
    let resolved = source.resolved(overrides)?;
    let policy = |checked| if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    let all = checks == Checks::All;
    let bounds_check_policies = BoundsCheckPolicies {
        index: policy(all || source.spec.indexes_by_values()),
        buffer: policy(all),
        ..BoundsCheckPolicies::default()
    };
    let options = Options {
        lang_version: (1, 6),
        bounds_check_policies,
        zero_initialize_workgroup_memory: ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: all,
        emit_int_div_checks: all,
        ..Options::default()
    };
    let pipeline = PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: source.spec.entry.to_owned() };
    write_vec(&resolved.module, &resolved.info, &options, Some(&pipeline))
        .map_err(|error| format!("{} with {overrides:?}: {error:?}", source.name()))
}
