//! DirectX 12: HLSL as wgpu has it written, for DXC.

use naga::{
    ResourceBinding, ShaderStage,
    back::hlsl::{BindTarget, Options, PipelineOptions, ShaderModel, Writer},
};

use crate::{Overrides, Source};

/// What DXC is given.
#[derive(Debug)]
pub struct Hlsl {
    /// The text.
    pub text: String,
    /// Its entry point, which naga may have renamed.
    pub entry: String,
    /// The oldest profile that it compiles for.
    pub profile: &'static str,
}

/// The HLSL of one choice, with or without run-time checks.
///
/// # Errors
/// naga's words; of kernels by cooperative matrices, that it has none.
pub fn write(source: &Source, overrides: &Overrides<'_>, checked: bool) -> Result<Hlsl, String> {
    if source.is_cooperative() {
        // Its writer would panic.
        return Err("naga 30 writes no HLSL of cooperative matrices".to_owned());
    }
    let resolved = source.resolved(overrides)?;
    let (shader_model, profile) =
        if source.has_f16() { (ShaderModel::V6_2, "cs_6_2") } else { (ShaderModel::V6_0, "cs_6_0") };
    let target = |space, register| BindTarget { space, register, restrict_indexing: checked, ..BindTarget::default() };
    let binding = |number: usize| {
        let number = number as u32;
        (ResourceBinding { group: 0, binding: number }, target(0, number))
    };
    let options = Options {
        shader_model,
        binding_map: (0..source.spec.bindings.len()).map(binding).collect(),
        fake_missing_bindings: false,
        special_constants_binding: Some(target(0, 1)), // of the grid's size
        immediates_target: Some(target(0, 0)),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: checked,
        force_loop_bounding: checked,
        ..Options::default()
    };
    let pipeline = PipelineOptions { entry_point: Some((ShaderStage::Compute, source.spec.entry.to_owned())) };
    let mut text = String::new();
    let with_name = |error: &dyn std::fmt::Debug| format!("{}: {error:?}", source.name());
    let reflected = Writer::new(&mut text, &options, &pipeline)
        .write(&resolved.module, &resolved.info, None)
        .map_err(|error| with_name(&error))?;
    let entries: Result<Vec<_>, _> = reflected.entry_point_names.into_iter().collect();
    let entry = entries.map_err(|error| with_name(&error))?.pop().ok_or_else(|| with_name(&"no entry point"))?;
    Ok(Hlsl { text, entry, profile })
}
