//! Activations: the host's names for `shaders/shared/activation.wgsl`.

use std::{fmt, str::FromStr};

/// An elementwise activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// x
    Identity,
    /// max(x, 0)
    #[default]
    Relu,
    /// x Phi(x), exact
    Gelu,
    /// tanh x
    Tanh,
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// x / (1 + exp(-x))
    Silu,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Identity, Self::Relu, Self::Gelu, Self::Tanh, Self::Sigmoid, Self::Silu];

    /// The override's value.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Identity => 0,
            Self::Relu => 1,
            Self::Gelu => 2,
            Self::Tanh => 3,
            Self::Sigmoid => 4,
            Self::Silu => 5,
        }
    }

    /// Whether backward needs the pre-activation; the others need the output.
    #[must_use]
    pub fn saves_input(self) -> bool {
        matches!(self, Self::Gelu | Self::Silu)
    }

    /// Whether its second derivative is 0 wherever it exists.
    #[must_use]
    pub fn is_piecewise_linear(self) -> bool {
        matches!(self, Self::Identity | Self::Relu)
    }

    /// The name used in model descriptions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Gelu => "gelu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Silu => "silu",
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Activation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|activation| activation.name() == text)
            .ok_or_else(|| format!("unknown activation {text:?}, expected one of {names}"))
    }
}
