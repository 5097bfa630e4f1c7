//! Metal: MSL as wgpu has it written.

use jostle::gpu::Access;
use naga::{
    ResourceBinding, ShaderStage,
    back::msl::{BindTarget, EntryPointResources, Options, PipelineOptions, Slot, write_string},
    proc::{BoundsCheckPolicies, BoundsCheckPolicy},
};

use crate::{Overrides, Source};

/// The versions of the language that wgpu asks for on macOS 12 and on macOS 26.
pub const VERSIONS: [(u8, u8); 2] = [(2, 4), (4, 0)];

/// The MSL of one choice, with or without run-time checks.
///
/// # Errors
/// naga's words.
pub fn write(source: &Source, overrides: &Overrides<'_>, version: (u8, u8), checked: bool) -> Result<String, String> {
    let resolved = source.resolved(overrides)?;
    let entry = source.spec.entry;
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    let options = Options {
        lang_version: version,
        per_entry_point_map: [(entry.to_owned(), resources(source))].into(),
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies { index: policy, buffer: policy, ..BoundsCheckPolicies::default() },
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..Options::default()
    };
    let pipeline =
        PipelineOptions { entry_point: Some((ShaderStage::Compute, entry.to_owned())), ..PipelineOptions::default() };
    let with_name = |error: &dyn std::fmt::Debug| format!("{}: {error:?}", source.name());
    let (text, info) =
        write_string(&resolved.module, &resolved.info, &options, &pipeline).map_err(|error| with_name(&error))?;
    info.entry_point_names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| with_name(&error))?;
    Ok(text)
}

/// Slots as wgpu deals them out: immediates, then the bindings, then the lengths of the buffers.
fn resources(source: &Source) -> EntryPointResources {
    let bindings = source.spec.bindings;
    let slot = |number: usize| (number + 1) as Slot;
    let target = |(number, (_, access)): (usize, &(&str, Access))| {
        let target =
            BindTarget { buffer: Some(slot(number)), mutable: !access.is_read_only(), ..BindTarget::default() };
        (ResourceBinding { group: 0, binding: number as u32 }, target)
    };
    EntryPointResources {
        resources: bindings.iter().enumerate().map(target).collect(),
        immediates_buffer: Some(0),
        sizes_buffer: Some(slot(bindings.len())),
    }
}
