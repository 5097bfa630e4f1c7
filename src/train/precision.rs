//! In which precision a network computes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::gpu::{Element, Gpu, GpuError};

/// How activations, their gradients and the weights that the network sees are stored. Sums, batch norms, losses, the
/// clean weights and the optimizer's state are f32 in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Mixed precision: f16, with a loss scale that moves by itself.
    F16,
}

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

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::F16 { "f16" } else { "f32" })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            _ => Err(format!("unknown precision {text:?}, expected one of f32, f16")),
        }
    }
}
