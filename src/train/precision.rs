//! In which precision a network computes.

use crate::{
    gpu::{Element, Gpu, GpuError},
    names::named,
};

named!("precision",
    /// How activations, their gradients and the weights that the network sees are stored. Sums, batch norms, losses, the
    /// clean weights and the optimizer's state are f32 in either.
    #[derive(Default)]
    Precision {
        /// f32 throughout.
        #[default]
        F32 = "f32",
        /// Mixed precision: f16, with a loss scale that moves by itself.
        F16 = "f16",
    }
);

impl Precision {
    /// How that is stored.
    #[must_use]
    pub fn element(self) -> Element {
        match self {
            Self::F32 => Element::Word,
            Self::F16 => Element::Half,
        }
    }

    /// Whether the adapter computes in it.
    ///
    /// # Errors
    /// [`GpuError::MissingFeature`] for f16 on an adapter without.
    pub fn expect(self, gpu: &Gpu) -> Result<(), GpuError> {
        if self == Self::F16 && !gpu.has_f16() {
            let (adapter, feature) = (gpu.adapter_name().to_owned(), "f16 in shaders (for --precision f16)");
            return Err(GpuError::MissingFeature { adapter, feature });
        }
        Ok(())
    }
}
