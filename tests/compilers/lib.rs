//! Every kernel, in every form and with each of its choices, as the compilers of other systems than this one get it: what
//! can be said of Metal, DirectX 12 and browsers without any of them. tests/spirv and tests/isa judge what Vulkan gets.

use jostle::{
    all_specs,
    gpu::{Access, ElementTypes, KernelSpec},
};
use naga::{
    Expression, Literal, Module, ShaderStage,
    back::{PipelineConstants, pipeline_constants::process_overrides},
    front::wgsl,
    valid::{Capabilities, ModuleInfo, ValidationFlags, Validator},
};

pub mod hlsl;
pub mod msl;
pub mod spirv;
pub mod web;

/// Values of overrides by name.
pub type Overrides<'a> = Vec<(&'a str, f64)>;

/// All tensors f32.
pub const F32: ElementTypes = ElementTypes { real_is_half: false, out_is_half: false };
/// All tensors f16 that can be.
pub const F16: ElementTypes = ElementTypes { real_is_half: true, out_is_half: true };
/// f16 read, f32 written.
pub const F16_TO_F32: ElementTypes = ElementTypes { real_is_half: true, out_is_half: false };

/// Values of overrides that choose between more than two things, beside their default.
const CHOICES: &[(&str, &[f64])] = &[
    ("BLOCK_COLUMN_HALVES", &[2.0]),
    ("BLOCK_DEPTH", &[8.0]),
    ("BLOCK_ROW_HALVES", &[2.0]),
    ("COLUMN_BLOCKS", &[2.0]),
    ("COLUMN_QUADS", &[4.0, 8.0]),
    ("EPILOGUE", &[1.0, 2.0]),
    ("FLASH_PARTS", &[1.0, 4.0]),
    ("LANES", &[4.0]),
    ("MODE", &[1.0, 2.0, 3.0]),
    ("NARROW_QUADS", &[1.0, 4.0]),
    ("NOISE", &[1.0, 2.0]),
    ("OPERANDS", &[0.0, 1.0]),
    ("OPERATION", &[1.0, 2.0, 3.0, 4.0, 5.0]),
    ("PASS", &[1.0, 2.0]),
    ("RESIDUAL", &[1.0, 2.0]),
];

/// A kernel in one form, which naga has read and found valid.
#[derive(Debug)]
pub struct Source {
    /// The kernel.
    pub spec: &'static KernelSpec,
    /// Its form.
    pub types: ElementTypes,
    /// Its WGSL.
    pub text: String,
    /// What naga read.
    pub module: Module,
    /// What naga found out about it.
    pub info: ModuleInfo,
}

/// A module without overrides, of which one choice was made.
#[derive(Debug)]
pub struct Resolved {
    /// The module.
    pub module: Module,
    /// What naga found out about it.
    pub info: ModuleInfo,
}

impl Source {
    /// Reads a kernel.
    ///
    /// # Errors
    /// naga's words where it refuses the WGSL.
    pub fn new(spec: &'static KernelSpec, types: ElementTypes) -> Result<Self, String> {
        let text = types.source(spec);
        let module = wgsl::parse_str(&text).map_err(|error| error.emit_to_string(&text))?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
        let info = validator.validate(&module).map_err(|error| error.emit_to_string(&text))?;
        Ok(Self { spec, types, text, module, info })
    }

    /// Kernel and form, unlike those of any other; good for the name of a file.
    #[must_use]
    pub fn name(&self) -> String {
        let side = match (self.is_cooperative(), self.text.contains("coop_mat16x16")) {
            (false, _) => "",
            (true, false) => "-8x8",
            (true, true) => "-16x16",
        };
        let form = match self.types {
            F32 => "f32",
            F16 => "f16",
            _ => "f16-to-f32",
        };
        let stores = if self.text.contains("const STORE_WHOLE: bool = false;") { "-elements" } else { "" };
        let tiles = if self.text.contains("const WINOGRAD_PIXELS: u32 = 4u;") { "-4x4" } else { "" };
        format!("{}{side}{tiles}{stores}-{form}", self.spec.entry)
    }

    /// Whether it multiplies by cooperative matrices, which WGSL has as an extension of naga alone.
    #[must_use]
    pub fn is_cooperative(&self) -> bool {
        self.text.contains("enable wgpu_cooperative_matrix;")
    }

    /// Whether it holds any f16.
    #[must_use]
    pub fn has_f16(&self) -> bool {
        self.types.real_is_half || self.types.out_is_half
    }

    /// The defaults, then each flag turned over and each other value of a choice.
    #[must_use]
    pub fn variants(&self) -> Vec<Overrides<'_>> {
        let mut all = vec![Overrides::new()];
        for (_, declared) in self.module.overrides.iter() {
            let Some(name) = declared.name.as_deref() else { continue };
            let default = declared.init.map(|init| &self.module.global_expressions[init]);
            if let Some(Expression::Literal(Literal::Bool(default))) = default {
                all.push(vec![(name, f64::from(u8::from(!default)))]);
            } else if let Some((_, values)) = CHOICES.iter().find(|(choice, _)| *choice == name) {
                all.extend(values.iter().map(|value| vec![(name, *value)]));
            }
        }
        // Large tiles where much workgroup memory is granted, and where little is.
        if all.iter().flatten().any(|(name, _)| *name == "BLOCK_DEPTH") {
            let large = [("BLOCK_ROW_HALVES", 2.0), ("BLOCK_COLUMN_HALVES", 2.0)];
            all.extend([16.0, 8.0].map(|depth| [&large[..], &[("BLOCK_DEPTH", depth)]].concat()));
        }
        all
    }

    /// The module of one choice, as wgpu makes it before any back end writes it.
    ///
    /// # Errors
    /// naga's words.
    pub fn resolved(&self, overrides: &Overrides<'_>) -> Result<Resolved, String> {
        let constants: PipelineConstants = overrides.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let entry = Some((ShaderStage::Compute, self.spec.entry));
        let (module, info) = process_overrides(&self.module, &self.info, entry, &constants)
            .map_err(|error| format!("{} with {overrides:?}: {error:?}", self.name()))?;
        Ok(Resolved { module: module.into_owned(), info: info.into_owned() })
    }
}

/// The forms in which a kernel differs.
#[must_use]
pub fn forms(spec: &KernelSpec) -> Vec<ElementTypes> {
    let binds = |access| spec.bindings.iter().any(|(_, declared)| *declared == access);
    match (binds(Access::Real), binds(Access::Out)) {
        (false, false) => vec![F32],
        (true, true) => vec![F32, F16, F16_TO_F32],
        _ => vec![F32, F16],
    }
}

/// Every kernel in every form.
///
/// # Errors
/// naga's words where it refuses one.
pub fn sources() -> Result<Vec<Source>, String> {
    let forms_of = |spec| forms(spec).into_iter().map(move |types| Source::new(spec, types));
    all_specs().into_iter().flat_map(forms_of).collect()
}

/// `EPILOGUE=1 PASS=2`, or nothing for the defaults.
#[must_use]
pub fn shown(overrides: &Overrides<'_>) -> String {
    overrides.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
